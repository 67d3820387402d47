//! Reading requests: JSON bodies, query strings and path parts. Each error names the field, the problem and the fix.

use crate::problem::{Kind, Problem};
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use exchange::ledger::money::Micros;
use infra::store::{MAX_PAGE, Page};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::str::FromStr;

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned + Serialize, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(
                Kind::UnsupportedMediaType,
                "send JSON, with Content-Type: application/json",
            ));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(unread)?;
        let mut reader = serde_json::Deserializer::from_slice(&bytes);
        let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let at = error.path().to_string();
            misread(&at, error.inner())
        })?;
        reader.end().map_err(|error| misread(".", &error))?;
        if bytes.contains(&b'[') {
            let given = serde_json::from_slice(&bytes).map_err(|error| misread(".", &error))?;
            check_lists(&given, &value)?;
        }
        Ok(Self(value))
    }
}

/// Reads a value from the fields of a JSON object, after the handler has added its own.
pub(crate) fn from_fields<T: DeserializeOwned + Serialize>(
    fields: serde_json::Map<String, Value>,
) -> Result<T, Problem> {
    let given = Value::Object(fields);
    let value = serde_path_to_error::deserialize(&given).map_err(|error| {
        let at = error.path().to_string();
        misread(&at, error.inner())
    })?;
    check_lists(&given, &value)?;
    Ok(value)
}

/// serde also reads a list where an object is due, field by field in the order they are written in the code. That order is no
/// promise of the API's, so such a list is refused: it is one that was read as what is written as an object.
fn check_lists(given: &Value, read: &impl Serialize) -> Result<(), Problem> {
    let read = serde_json::to_value(read).map_err(|error| Problem::internal(&error))?;
    let Some(at) = list_for_object(given, &read, "") else { return Ok(()) };
    let field = if at.is_empty() { "body".to_owned() } else { at };
    Err(Problem::field(Kind::Invalid, field, "is a list", "send an object with named fields"))
}

fn list_for_object(given: &Value, read: &Value, at: &str) -> Option<String> {
    match (given, read) {
        (Value::Array(_), Value::Object(_)) => Some(at.to_owned()),
        (Value::Object(given), Value::Object(read)) => given.iter().find_map(|(name, value)| {
            let at = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
            list_for_object(value, read.get(name)?, &at)
        }),
        (Value::Array(given), Value::Array(read)) => {
            let mut pairs = given.iter().zip(read).enumerate();
            pairs.find_map(|(index, (given, read))| list_for_object(given, read, &format!("{at}[{index}]")))
        }
        _ => None,
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|text| text.split(';').next()).unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

fn unread(rejection: BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let limit = crate::config::BODY_BYTES_MAX;
        return Problem::new(Kind::TooLarge, format!("send at most {limit} bytes"));
    }
    Problem::new(Kind::MalformedRequest, "the body broke off; send it again")
}

/// Reads an amount of money in units of its currency: `"12.50"`, or a number, which is read from its text and so never passes through
/// a float.
pub(crate) fn amount(field: &'static str, value: &Value) -> Result<Micros, Problem> {
    let fix = "write it as \"12.50\"";
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return Err(Problem::field(Kind::Invalid, field, "is neither text nor number", fix)),
    };
    text.parse().map_err(|_| Problem::field(Kind::Invalid, field, "is not an amount", fix))
}

/// Turns what `serde_json` says of a field into a problem that names the field.
pub(crate) fn misread(at: &str, error: &serde_json::Error) -> Problem {
    if error.is_syntax() || error.is_eof() {
        return Problem::new(Kind::MalformedRequest, format!("the body is not JSON ({error}); correct it"));
    }
    let message = error.to_string();
    // serde_json appends the place to what serde says.
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    wrong_field(Kind::Invalid, at, message)
}

/// Turns serde's message about a field into a problem that names the field.
fn wrong_field(kind: Kind, at: &str, message: &str) -> Problem {
    let quoted = message.split('`').nth(1).unwrap_or_default();
    let inner = |name: &str| match at {
        "." | "" => name.to_owned(),
        at if at == name || at.ends_with(&format!(".{name}")) => at.to_owned(),
        at => format!("{at}.{name}"),
    };
    if message.starts_with("missing field") {
        return Problem::field(kind, inner(quoted), "is missing", "add it");
    }
    if message.starts_with("unknown field") {
        let known = message.split_once(", ").map_or("leave it out", |(_, known)| known);
        return Problem::field(kind, inner(quoted), "is unknown", known);
    }
    let field = if at == "." || at.is_empty() { "body" } else { at };
    Problem::field(
        kind,
        field,
        format!("cannot be read ({message})"),
        "send a value as the API's description says",
    )
}

/// A query string.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let read = axum::extract::Query::<T>::try_from_uri(&parts.uri);
        read.map(|axum::extract::Query(query)| Self(query)).map_err(|rejection| {
            let text = rejection.body_text();
            let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
            let at_end = text.find(": ").filter(|end| !text[..*end].contains(' '));
            let (at, message) = at_end.map_or((".", text), |end| (&text[..end], &text[end + 2..]));
            wrong_field(Kind::MalformedRequest, at, message)
        })
    }
}

/// The one variable part of a path: an id or a number.
pub(crate) struct Part<T>(pub(crate) T);

impl<T: FromStr, S: Send + Sync> FromRequestParts<S> for Part<T>
where
    T::Err: std::fmt::Display,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| {
            Problem::field(Kind::MalformedRequest, "path", "is not UTF-8", "encode it as UTF-8")
        })?;
        text.parse().map(Self).map_err(|error: T::Err| {
            Problem::field(
                Kind::MalformedRequest,
                "path",
                format!("cannot be read ({error})"),
                "check the id in the path",
            )
        })
    }
}

/// Reads the paging parameters of a listing.
pub(crate) fn page(after: Option<String>, limit: Option<u32>) -> Result<Page, Problem> {
    let limit = limit.unwrap_or(Page::default().limit);
    if !(1..=MAX_PAGE).contains(&limit) {
        let fix = format!("ask for 1 to {MAX_PAGE} items");
        return Err(Problem::field(Kind::MalformedRequest, "limit", "is out of range", fix));
    }
    Ok(Page { after, limit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serdes_messages_become_fields_with_fixes() {
        let cases = [
            (".", "missing field `name`", "name", "is missing", "add it"),
            ("price", "missing field `rate_micros`", "price.rate_micros", "is missing", "add it"),
            (
                "nmae",
                "unknown field `nmae`, expected `name` or `kind`",
                "nmae",
                "is unknown",
                "expected `name` or `kind`",
            ),
            (
                "limit",
                "invalid digit found in string",
                "limit",
                "cannot be read (invalid digit found in string)",
                "send a value as the API's description says",
            ),
        ];
        for (at, message, field, problem, fix) in cases {
            let expected = Problem::field(Kind::Invalid, field, problem, fix);
            assert_eq!(wrong_field(Kind::Invalid, at, message), expected, "{message}");
        }
    }

    #[test]
    fn a_list_is_no_object_however_deep() {
        let json = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        let read = json(r#"{"price":{"micros":1},"hours":[{"day":"mon"}],"states":["FL"]}"#);
        for (given, at) in [
            (r#"{"price":{"micros":1},"hours":[{"day":"mon"}],"states":["FL"]}"#, None),
            (r#"[[1],[["mon"]],["FL"]]"#, Some("")),
            (r#"{"price":[1]}"#, Some("price")),
            (r#"{"hours":[["mon"]]}"#, Some("hours[0]")),
        ] {
            assert_eq!(list_for_object(&json(given), &read, "").as_deref(), at, "{given}");
        }
    }

    #[test]
    fn pages_have_bounds() {
        assert_eq!(page(None, None).expect("the default").limit, 50);
        for limit in [0, MAX_PAGE + 1] {
            assert!(page(None, Some(limit)).is_err(), "{limit}");
        }
    }
}
