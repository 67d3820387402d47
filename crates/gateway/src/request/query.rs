//! Query strings.

use super::in_words;
use super::wording::{Said, said};
use crate::problem::{FieldProblem, Kind, Problem};
use axum::extract::FromRequestParts;
use axum::http::Uri;
use axum::http::request::Parts;
use exchange::time::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The most parameters whose faults are listed; no operation takes as many.
const PARAMETERS_MAX: usize = 32;

/// A query string.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        read(query).map(Self).map_err(|message| {
            let first = fault(&message);
            let errors = every_fault::<T>(query);
            Problem::fields(Kind::MalformedRequest, if errors.is_empty() { vec![first] } else { errors })
        })
    }
}

/// Reads a query, or says as serde does what it could not read first.
fn read<T: DeserializeOwned>(query: &str) -> Result<T, String> {
    let unreadable = || "the query is not one".to_owned();
    let uri = Uri::builder().path_and_query(format!("/?{query}")).build().map_err(|_| unreadable())?;
    let read = axum::extract::Query::<T>::try_from_uri(&uri);
    read.map(|axum::extract::Query(value)| value).map_err(|rejection| rejection.body_text())
}

/// The parameter and what serde says of it.
fn parts(message: &str) -> (&str, &str) {
    let message = message.strip_prefix("Failed to deserialize query string: ").unwrap_or(message);
    let end = message.find(": ").filter(|end| !message[..*end].contains(' '));
    end.map_or((".", message), |end| (&message[..end], &message[end + 2..]))
}

fn fault(message: &str) -> FieldProblem {
    let (at, message) = parts(message);
    in_words(at, message)
}

/// Everything that is wrong with a query, in the order it was found: what cannot be read is left out, and the rest read again.
fn every_fault<T: DeserializeOwned>(query: &str) -> Vec<FieldProblem> {
    let mut left: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let mut faults: Vec<FieldProblem> = Vec::new();
    for _ in 0..PARAMETERS_MAX {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&left).finish();
        let Err(message) = read::<T>(&query) else { break };
        let this = fault(&message);
        let is_missing = matches!(said(parts(&message).1), Said::Missing(_));
        let before = left.len();
        left.retain(|(name, _)| *name != this.field);
        let is_stuck = left.len() == before;
        if !faults.iter().any(|known| known.field == this.field) {
            faults.push(this);
        }
        if is_missing || is_stuck {
            break;
        }
    }
    faults
}

/// A moment in a query: RFC 3339, or microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Moment(pub(crate) Timestamp);

impl TryFrom<String> for Moment {
    type Error = exchange::time::NotAMoment;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its reading is looked at")]
    struct Wanted {
        limit: Option<u32>,
        active: Option<bool>,
        from: Option<Moment>,
        name: String,
    }

    fn check(query: &str, expected: &[(&str, &str)]) {
        let faults = every_fault::<Wanted>(query);
        let faults: Vec<(&str, &str)> =
            faults.iter().map(|fault| (fault.field.as_str(), fault.problem.as_str())).collect();
        assert_eq!(faults, expected, "{query}");
    }

    #[test]
    fn every_parameter_that_cannot_be_read_is_named() {
        check("name=a&limit=5", &[]);
        check("limit=5", &[("name", "is missing")]);
        check(
            "limit=many&active=yes&from=yesterday&nmae=a",
            &[
                ("limit", "is not a whole number"),
                ("active", "is neither true nor false"),
                ("from", "is not a moment"),
                ("nmae", "is unknown"),
                ("name", "is missing"),
            ],
        );
        check(
            "name=a&name=b&limit=-1",
            &[("name", "is there more than once"), ("limit", "is not a whole number")],
        );
    }
}
