//! `/v1/sessions`: short-lived secrets that an API key makes for itself, for a browser or whatever else must not keep the key. A
//! session's text is shown once, when it begins, and is sent as a key is; it is over at its end, when it is ended, and with its key.

use super::Listed;
use crate::access::Principal;
use crate::api_key::ApiKeyText;
use crate::problem::{Kind, Problem};
use crate::request::{Body, Part, RequestBody};
use crate::state::{Gateway, now};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use engine::CommandError;
use exchange::audit::RoleKind;
use exchange::id::AccountId;
use exchange::refused::FieldError;
use exchange::time::Timestamp;
use infra::store::{ApiKey, SESSIONS_PER_KEY_MAX, SessionTerms};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::ToSchema;
use uuid::Uuid;

/// The longest a session may last, in seconds.
const TTL_S_MAX: u64 = 86_400;

/// A new session.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSession {
    /// How long it lasts, in seconds: 1 to 86400, an hour when absent.
    #[serde(default = "an_hour")]
    ttl_s: u64,
    /// What it may do: what the key may when absent. An admin's session may be an analyst's.
    #[serde(default)]
    role: Option<RoleKind>,
}

fn an_hour() -> u64 {
    3_600
}

impl RequestBody for NewSession {
    fn problems(&self) -> Vec<FieldError> {
        if (1..=TTL_S_MAX).contains(&self.ttl_s) {
            return Vec::new();
        }
        let (problem, fix) = ("is too short or too long", "send 1 to 86400, or leave it out for an hour");
        vec![FieldError { field: "ttl_s".into(), problem: problem.into(), fix: fix.into() }]
    }
}

/// A session, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionView {
    /// Its identity: the second part of its text.
    id: Uuid,
    /// What it may do.
    role: String,
    /// The account it acts for.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<AccountId>,
    /// When it began, in microseconds since 1970.
    began_at: Timestamp,
    /// From when on it is refused, in microseconds since 1970.
    expires_at: Timestamp,
    /// Its text, shown this once: send it as `Authorization: Bearer <secret>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl SessionView {
    fn new(key: ApiKey, text: Option<&ApiKeyText>) -> Option<Self> {
        let ApiKey { id, role, account, created_at: began_at, session, .. } = key;
        let SessionTerms { expires_at, .. } = session?;
        Some(Self { id, role, account, began_at, expires_at, secret: text.map(ToString::to_string) })
    }
}

/// Begin a session of the API key that asks. A key has 20 live ones at most.
#[utoipa::path(post, path = "/v1/sessions", tag = "sessions", request_body = NewSession,
    responses((status = 201, body = SessionView)))]
pub(crate) async fn begin(
    State(gateway): State<Gateway>,
    principal: Principal,
    Body(new): Body<NewSession>,
) -> Result<impl IntoResponse, Problem> {
    let problems = new.problems();
    if !problems.is_empty() {
        return Err(CommandError::Invalid(problems).into());
    }
    let NewSession { ttl_s, role } = new;
    let Principal { key, session: None, role: own } = principal else {
        return Err(Problem::new(Kind::Forbidden, "a session begins no other; use its API key"));
    };
    let role = match (own.kind(), role.unwrap_or(own.kind())) {
        (RoleKind::Admin, RoleKind::Analyst) => RoleKind::Analyst,
        (own, asked) if own == asked => own,
        _ => {
            let problem = "may do what this key may not";
            return Err(Problem::field(Kind::Forbidden, "role", problem, "leave it out"));
        }
    };
    let began_at = now();
    let live = gateway.read(move |reader| reader.live_sessions(key, began_at)).await?;
    if live.len() >= SESSIONS_PER_KEY_MAX {
        let detail = format!(
            "this key has {SESSIONS_PER_KEY_MAX} live sessions, the most there may be; end one first"
        );
        return Err(Problem::new(Kind::Conflict, detail));
    }
    let text = ApiKeyText::mint().map_err(|error| Problem::internal(&error))?;
    let session = ApiKey {
        id: text.id,
        name: "session".to_owned(),
        role: role.name().to_owned(),
        account: own.account(),
        created_at: began_at,
        revoked_at: None,
        session: Some(SessionTerms { key, expires_at: began_at + Duration::from_secs(ttl_s) }),
    };
    let (row, hash) = (session.clone(), text.secret_hash());
    gateway.engine().insert_api_key(row, hash, principal.actor()).await?;
    Ok((StatusCode::CREATED, Json(SessionView::new(session, Some(&text)))))
}

/// List the live sessions of the API key that asks, or of the session's, in the order in which they began.
#[utoipa::path(get, path = "/v1/sessions", tag = "sessions", responses((status = 200, body = Listed<SessionView>)))]
pub(crate) async fn list(
    State(gateway): State<Gateway>,
    principal: Principal,
) -> Result<Json<Listed<SessionView>>, Problem> {
    let live = gateway.read(move |reader| reader.live_sessions(principal.key, now())).await?;
    let items = live.into_iter().filter_map(|session| SessionView::new(session, None)).collect();
    Ok(Json(Listed { items, next: None }))
}

/// End the session that asks, at once.
#[utoipa::path(delete, path = "/v1/sessions/current", tag = "sessions", responses((status = 204)))]
pub(crate) async fn end_current(
    State(gateway): State<Gateway>,
    principal: Principal,
) -> Result<StatusCode, Problem> {
    let Some(session) = principal.session else {
        return Err(Problem::new(
            Kind::NotFound,
            "an API key asks, and no session; name a session by its id",
        ));
    };
    end_one(&gateway, principal, session.id).await
}

/// End a session, at once: one of the API key that asks, or of the session's.
#[utoipa::path(delete, path = "/v1/sessions/{id}", tag = "sessions", params(("id" = Uuid, Path)),
    responses((status = 204)))]
pub(crate) async fn end(
    State(gateway): State<Gateway>,
    principal: Principal,
    Part(id): Part<Uuid>,
) -> Result<StatusCode, Problem> {
    end_one(&gateway, principal, id).await
}

async fn end_one(gateway: &Gateway, principal: Principal, id: Uuid) -> Result<StatusCode, Problem> {
    let session = gateway.read(move |reader| reader.api_key(id)).await?;
    let is_theirs = |session: &ApiKey| session.session.is_some_and(|session| session.key == principal.key);
    let session = session.filter(is_theirs).ok_or_else(|| Problem::not_found("session"))?;
    gateway.revoke_api_key(session, principal.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}
