//! `/v1/{env}/{rtbId}.json|.xml`: pings as partners send them to Ringba, so that one moves by changing a URL. What is answered,
//! and what its numbers stand for, is in `docs/ringba.md`.

mod answer;
mod fields;

use super::pings;
use crate::ping_endpoint::{NotAdmitted, PingEndpoint, PingSecret};
use crate::problem::{Kind, Problem};
use crate::state::{Gateway, now};
use answer::{Answer, Format, Reject};
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use exchange::phone_number::CallerId;
use exchange::ping::PingAnswer;
use fields::Fields;

/// The largest body of such a ping, in bytes.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// The longest query of such a ping, in bytes.
const QUERY_BYTES_MAX: usize = 8 * 1024;
/// The longest name of an environment, in bytes.
const ENV_BYTES_MAX: usize = 32;

/// Ping as one pings Ringba, with a query string: `CID`, `zipcode`, `State`; all else are tags. `env` is any word, `file` the id of a
/// ping endpoint with `.json` or `.xml`.
#[utoipa::path(get, path = "/v1/{env}/{file}", tag = "pings", security(()),
    params(("env" = String, Path, example = "production"), ("file" = String, Path), ("CID" = Option<String>, Query)),
    responses((status = 200, description = "A bid, or a reject with its number"), (status = 404, description = "No such endpoint")))]
pub(crate) async fn by_get(
    State(gateway): State<Gateway>,
    Path(path): Path<(String, String)>,
    request: Request,
) -> Response {
    ping(&gateway, path, request).await.unwrap_or_else(IntoResponse::into_response)
}

/// Ping as one pings Ringba, with a body: a JSON object, a form, or flat XML, of at most 16 KiB.
#[utoipa::path(post, path = "/v1/{env}/{file}", tag = "pings", security(()),
    params(("env" = String, Path, example = "production"), ("file" = String, Path)),
    responses((status = 200, description = "A bid, or a reject with its number"), (status = 404, description = "No such endpoint")))]
pub(crate) async fn by_post(
    State(gateway): State<Gateway>,
    Path(path): Path<(String, String)>,
    request: Request,
) -> Response {
    ping(&gateway, path, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn ping(
    gateway: &Gateway,
    (env, file): (String, String),
    request: Request,
) -> Result<Response, Problem> {
    let Some((secret, format)) = secret_and_format(&env, &file) else {
        let detail = format!("there is no {}; /openapi.json lists what there is", request.uri().path());
        return Err(Problem::new(Kind::NotFound, detail));
    };
    let client = gateway.wrong_keys().client(&request);
    let endpoint = match PingEndpoint::admit(gateway, &secret, client).await {
        Ok(endpoint) => endpoint,
        Err(NotAdmitted::Unknown) => {
            return Ok(respond(StatusCode::NOT_FOUND, format, &Answer::rejected(None, Reject::unknown())));
        }
        Err(NotAdmitted::TooOften) => {
            return Ok(respond(StatusCode::OK, format, &Answer::rejected(None, Reject::too_often())));
        }
        Err(NotAdmitted::Failed(problem)) => return Ok(answer::problem(problem, format)),
    };
    Ok(match answered(gateway, endpoint, request).await {
        Ok(answer) => respond(StatusCode::OK, format, &answer),
        Err(problem) => answer::problem(problem, format),
    })
}

async fn answered(gateway: &Gateway, endpoint: PingEndpoint, request: Request) -> Result<Answer, Problem> {
    let mut fields = read_fields(request).await?;
    let expires_in_ms = expiry(gateway, &mut fields);
    let ignored = std::mem::take(&mut fields.ignored);
    Ok(ask(gateway, endpoint, fields, expires_in_ms).await?.with_ignored(&ignored))
}

/// How long the bid is to be held, in milliseconds; the exchange's own time where that is longer than may be.
fn expiry(gateway: &Gateway, fields: &mut Fields) -> Option<u64> {
    let expire_in_s = fields.expire_in_s?;
    let most_s = gateway.engine().reservation_ms_max() / 1_000;
    if !(1..=most_s).contains(&expire_in_s) {
        let problem = format!("is not between 1 and {most_s}");
        fields.ignore("expireInSeconds", problem, "send seconds within that, or leave it out");
        return None;
    }
    Some(expire_in_s * 1_000)
}

fn secret_and_format(env: &str, file: &str) -> Option<(PingSecret, Format)> {
    let is_word = (1..=ENV_BYTES_MAX).contains(&env.len())
        && env.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    let (id, suffix) = file.split_once('.').unwrap_or((file, "json"));
    let format = match suffix {
        "json" => Format::Json,
        "xml" => Format::Xml,
        _ => return None,
    };
    Some((PingSecret::read(id)?, format)).filter(|_| is_word)
}

/// Asks the engine. A caller's number that cannot be read is not taken for a missing one.
async fn ask(
    gateway: &Gateway,
    endpoint: PingEndpoint,
    fields: Fields,
    expires_in_ms: Option<u64>,
) -> Result<Answer, Problem> {
    let caller = fields.caller.as_deref().map(CallerId::from_user_part);
    let caller = match caller {
        None => return Ok(Answer::rejected(None, Reject::caller_missing())),
        Some(CallerId::Anonymous | CallerId::Malformed) => {
            return Ok(Answer::rejected(None, Reject::caller_refused()));
        }
        Some(caller) => caller,
    };
    let (role, number) = (endpoint.acts_for(), endpoint.number);
    let (id, answer) = pings::send(gateway, role, number, caller, fields.stated, expires_in_ms).await?;
    Ok(match answer {
        PingAnswer::Reserved(reservation) => {
            let sip_uri = pings::sip_uri(gateway, reservation.number);
            Answer::accepted(&reservation, sip_uri.as_deref(), now())
        }
        PingAnswer::Rejected(rejection) => Answer::rejected(Some(id), Reject::of(&rejection)),
    })
}

async fn read_fields(request: Request) -> Result<Fields, Problem> {
    let (head, body) = request.into_parts();
    let query = head.uri.query().unwrap_or_default();
    if query.len() > QUERY_BYTES_MAX {
        let detail = format!("send a query of at most {QUERY_BYTES_MAX} bytes");
        return Err(Problem::new(Kind::TooLarge, detail));
    }
    let mut fields = Fields::default();
    fields.add_form(query.as_bytes());
    if head.method == Method::POST {
        let content_type = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let body = read_body(body).await?;
        if !body.trim_ascii().is_empty() {
            fields.add_body(content_type.unwrap_or_default(), &body)?;
        }
    }
    Ok(fields)
}

async fn read_body(body: Body) -> Result<Bytes, Problem> {
    let detail = format!("send at most {BODY_BYTES_MAX} bytes, whole");
    to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| Problem::new(Kind::TooLarge, detail))
}

fn respond(status: StatusCode, format: Format, answer: &Answer) -> Response {
    (status, [(header::CONTENT_TYPE, format.content_type())], answer.render(format)).into_response()
}
