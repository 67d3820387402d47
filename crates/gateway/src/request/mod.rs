//! Reading requests: JSON bodies, query strings and path parts. Each error names the field, the problem and the fix, and a body or
//! a query is told all of its errors at once.

mod path;
mod shape;
mod wording;
mod faults;
mod query;

pub(crate) use faults::RequestBody;
pub(crate) use query::{Moment, Query};
pub(crate) use wording::shown;

use crate::problem::{FieldProblem, Kind, Problem};
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use exchange::ledger::money::Micros;
use infra::store::{MAX_PAGE, Page};
use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use wording::{Said, said};

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: RequestBody, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        from_json(&json_bytes(request, state).await?).map(Self)
    }
}

/// Reads a value from the text of a JSON object.
pub(crate) fn from_json<T: RequestBody>(bytes: &[u8]) -> Result<T, Problem> {
    let value = match serde_json::from_slice::<T>(bytes) {
        Ok(value) => value,
        Err(error) => return Err(every_fault::<T>(bytes, &error)),
    };
    if bytes.contains(&b'[') {
        let given = serde_json::from_slice(bytes).map_err(|error| misread(&error))?;
        check_lists(given, &value)?;
    }
    Ok(value)
}

/// A JSON object, to which the handler adds members that may be left out. It stays a text, so that a member that is there twice is
/// noticed.
pub(crate) struct Fields {
    text: Vec<u8>,
    names: BTreeSet<String>,
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let text = json_bytes(request, state).await?.to_vec();
        let members: BTreeMap<String, IgnoredAny> =
            serde_json::from_slice(&text).map_err(|error| misread(&error))?;
        Ok(Self { text, names: members.into_keys().collect() })
    }
}

impl Fields {
    /// Whether there is such a member.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Adds a member where it is left out.
    #[must_use]
    pub(crate) fn or_add(mut self, name: &str, value: &impl Serialize) -> Self {
        if self.has(name) {
            return self;
        }
        let mut member = json!({ name: value }).to_string();
        // Without its braces.
        member.pop();
        member.remove(0);
        if !self.names.is_empty() {
            member.push(',');
        }
        let inside = self.text.iter().position(|byte| *byte == b'{').map_or(0, |brace| brace + 1);
        self.text.splice(inside..inside, member.into_bytes());
        self.names.insert(name.to_owned());
        self
    }

    /// Reads the value.
    pub(crate) fn read<T: RequestBody>(&self) -> Result<T, Problem> {
        from_json(&self.text)
    }

    /// Reads the value that stands at `in_path`: that may be left out of the body, or is the same there.
    pub(crate) fn read_at<T: RequestBody, K: Serialize + PartialEq>(
        self,
        name: &'static str,
        in_path: &K,
        of: impl Fn(&T) -> &K,
    ) -> Result<T, Problem> {
        let value = self.or_add(name, in_path).read()?;
        if of(&value) != in_path {
            let fix = "leave it out, or send what the path says";
            return Err(Problem::field(Kind::Invalid, name, "is not the one in the path", fix));
        }
        Ok(value)
    }
}

async fn json_bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    if !is_json(request.headers()) {
        let fix = "send JSON, with Content-Type: application/json";
        return Err(Problem::new(Kind::UnsupportedMediaType, fix));
    }
    Bytes::from_request(request, state).await.map_err(unread)
}

/// The members of a value that is written as an object.
pub(crate) fn members(value: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    }
}

/// Why a body could not be read: every reason, if it is JSON at all.
fn every_fault<T: RequestBody>(bytes: &[u8], error: &serde_json::Error) -> Problem {
    let given = match serde_json::from_slice(bytes) {
        Ok(given) => given,
        Err(broken) => return misread(&broken),
    };
    let mut errors = faults::find::<T>(given);
    // A member that is there twice is there once in what was read just now.
    if errors.is_empty() || matches!(said(&error.to_string()), Said::Duplicate(_)) {
        errors.insert(0, in_words(".", &error.to_string()));
    }
    Problem::fields(Kind::Invalid, errors)
}

/// serde also reads a list where an object is due, field by field in the order they are written in the code. That order is no
/// promise of the API's, so such a list is refused: it is one that was read as what is written as an object.
fn check_lists<T: RequestBody>(given: Value, read: &T) -> Result<(), Problem> {
    let read = serde_json::to_value(read).map_err(|error| Problem::internal(&error))?;
    let Some(at) = list_for_object(&given, &read, "") else { return Ok(()) };
    let errors = faults::find::<T>(given);
    if !errors.is_empty() {
        return Err(Problem::fields(Kind::Invalid, errors));
    }
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

/// Turns what `serde_json` says of a text into a problem.
fn misread(error: &serde_json::Error) -> Problem {
    if error.is_syntax() || error.is_eof() {
        return Problem::new(Kind::MalformedRequest, format!("the body is not JSON ({error}); correct it"));
    }
    Problem::fields(Kind::Invalid, vec![in_words(".", &error.to_string())])
}

/// Which field serde means by what it says at a place, and that in words.
fn in_words(at: &str, message: &str) -> FieldProblem {
    let said = said(message);
    let field = match (&said, at) {
        (Said::Missing(name) | Said::Unknown { name, .. } | Said::Duplicate(name), at) => match at {
            "." | "" => (*name).to_owned(),
            at if at == *name || at.ends_with(&format!(".{name}")) => at.to_owned(),
            at => format!("{at}.{name}"),
        },
        (_, "." | "") => "body".to_owned(),
        (_, at) => at.to_owned(),
    };
    let wording::Words { problem, fix } = said.words(None);
    FieldProblem { field, problem, fix }
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
            let wording::Words { problem, fix } = said(&error.to_string()).words(None);
            Problem::field(Kind::MalformedRequest, "path", problem, fix)
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
                "write name, or leave it out",
            ),
            (".", "invalid type: null, expected a map", "body", "is null", "send an object"),
        ];
        for (at, message, field, problem, fix) in cases {
            let (field, problem, fix) = (field.to_owned(), problem.to_owned(), fix.to_owned());
            assert_eq!(in_words(at, message), FieldProblem { field, problem, fix }, "{message}");
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
