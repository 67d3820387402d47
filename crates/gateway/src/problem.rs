//! Errors as the API tells them: RFC 9457 problem details.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::CommandError;
use infra::coordination::CoordinationError;
use infra::store::StoreError;
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;

/// What kind of problem it is. Programs tell problems apart by it, so its name never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    MalformedRequest,
    Invalid,
    NotAuthenticated,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Conflict,
    TooLarge,
    UnsupportedMediaType,
    RateLimited,
    Overloaded,
    Stopping,
    BookAway,
    TimedOut,
    Internal,
}

impl Kind {
    #[cfg(test)]
    const ALL: [Self; 15] = [
        Self::MalformedRequest,
        Self::Invalid,
        Self::NotAuthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Conflict,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::RateLimited,
        Self::Overloaded,
        Self::Stopping,
        Self::BookAway,
        Self::TimedOut,
        Self::Internal,
    ];

    /// Status, `type` and `title`.
    const fn row(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::MalformedRequest => {
                (StatusCode::BAD_REQUEST, "urn:dce:problem:malformed-request", "The request cannot be read")
            }
            Self::Invalid => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "urn:dce:problem:invalid",
                "The request has invalid fields",
            ),
            Self::NotAuthenticated => {
                (StatusCode::UNAUTHORIZED, "urn:dce:problem:not-authenticated", "An API key is needed")
            }
            Self::Forbidden => {
                (StatusCode::FORBIDDEN, "urn:dce:problem:forbidden", "This API key may not do that")
            }
            Self::NotFound => (StatusCode::NOT_FOUND, "urn:dce:problem:not-found", "There is no such thing"),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "urn:dce:problem:method-not-allowed",
                "This cannot be done with that resource",
            ),
            Self::Conflict => {
                (StatusCode::CONFLICT, "urn:dce:problem:conflict", "It contradicts what is there")
            }
            Self::TooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, "urn:dce:problem:too-large", "The request body is too large")
            }
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "urn:dce:problem:unsupported-media-type",
                "The request body is not JSON",
            ),
            Self::RateLimited => {
                (StatusCode::TOO_MANY_REQUESTS, "urn:dce:problem:rate-limited", "Too many requests")
            }
            Self::Overloaded => {
                (StatusCode::SERVICE_UNAVAILABLE, "urn:dce:problem:overloaded", "The exchange is overloaded")
            }
            Self::Stopping => {
                (StatusCode::SERVICE_UNAVAILABLE, "urn:dce:problem:stopping", "The exchange is stopping")
            }
            Self::BookAway => (
                StatusCode::SERVICE_UNAVAILABLE,
                "urn:dce:problem:book-away",
                "The node that decides is away",
            ),
            Self::TimedOut => {
                (StatusCode::SERVICE_UNAVAILABLE, "urn:dce:problem:timed-out", "The answer took too long")
            }
            Self::Internal => {
                (StatusCode::INTERNAL_SERVER_ERROR, "urn:dce:problem:internal", "A defect of the exchange")
            }
        }
    }
}

/// One field's problem and what to send instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FieldProblem {
    /// Such as `price.amount_micros`.
    pub(crate) field: String,
    /// What is wrong with it.
    pub(crate) problem: String,
    /// What to send instead.
    pub(crate) fix: String,
}

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    kind: Kind,
    detail: String,
    errors: Vec<FieldProblem>,
    retry_after_s: Option<u64>,
}

/// A problem as it is sent (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProblemDetails<'a> {
    /// Tells kinds of problems apart; never changes.
    #[serde(rename = "type")]
    kind_uri: &'static str,
    /// The kind, in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// This case, in words, with the fix.
    detail: &'a str,
    /// Every invalid field.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldProblem],
    /// Name it when you ask for help.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

impl Problem {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let retry_after_s = (kind.row().0 == StatusCode::SERVICE_UNAVAILABLE).then_some(2);
        Self { kind, detail: detail.into(), errors: Vec::new(), retry_after_s }
    }

    /// There is no such thing, or this key may not know that there is.
    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(Kind::NotFound, format!("there is no such {what}; check its id"))
    }

    /// One invalid field.
    pub(crate) fn field(
        kind: Kind,
        field: impl Into<String>,
        problem: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::fields(
            kind,
            vec![FieldProblem { field: field.into(), problem: problem.into(), fix: fix.into() }],
        )
    }

    /// All invalid fields, of which there is at least one.
    pub(crate) fn fields(kind: Kind, errors: Vec<FieldProblem>) -> Self {
        let said = |error: &FieldProblem| format!("{} {}: {}", error.field, error.problem, error.fix);
        let detail = errors.iter().map(said).collect::<Vec<_>>().join("; ");
        Self { errors, ..Self::new(kind, detail) }
    }

    /// A defect: the log says what, the caller only that.
    pub(crate) fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "request failed");
        Self::new(Kind::Internal, "the log has the reason, under this request's id")
    }

    #[must_use]
    pub(crate) fn with_retry_after_s(self, retry_after_s: u64) -> Self {
        Self { retry_after_s: Some(retry_after_s), ..self }
    }

    /// In whole seconds, at least one.
    #[must_use]
    pub(crate) fn with_retry_after(self, wait: Duration) -> Self {
        self.with_retry_after_s(whole_seconds(wait))
    }

    /// What kind it is.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// When to try again, in seconds from now.
    pub(crate) fn retry_after_s(&self) -> Option<u64> {
        self.retry_after_s
    }

    /// This case, in words, with the fix.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// Every invalid field.
    pub(crate) fn errors(&self) -> &[FieldProblem] {
        &self.errors
    }

    fn details<'a>(&'a self, request_id: Option<&'a str>) -> ProblemDetails<'a> {
        let (status, kind_uri, title) = self.kind.row();
        let Self { detail, errors, .. } = self;
        ProblemDetails { kind_uri, title, status: status.as_u16(), detail, errors, request_id }
    }

    /// Its members as they are sent, for formats other than JSON.
    pub(crate) fn members(&self) -> serde_json::Value {
        serde_json::to_value(self.details(None)).unwrap_or_default()
    }

    /// The response, with the request's id once it is known.
    pub(crate) fn render(&self, request_id: Option<&str>) -> Response {
        let (status, ..) = self.kind.row();
        let mut response = (status, Json(self.details(request_id))).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(retry_after_s) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after_s));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"dce\""));
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::BadCursor { .. } => {
                let fix = "pass the `next` of the previous page unchanged";
                Self::field(Kind::MalformedRequest, "after", "is not a page cursor", fix)
            }
            StoreError::ReadersBusy { .. } => Self::new(Kind::Overloaded, "try again in a few seconds"),
            StoreError::Stopped => Self::new(Kind::Stopping, "try again when it is back"),
            error => Self::internal(&error),
        }
    }
}

impl From<CoordinationError> for Problem {
    fn from(_: CoordinationError) -> Self {
        // Why is in the log and in `/health/ready`; only where the policy is to refuse does it come to this.
        let detail = "what nodes must agree on cannot be asked for; try again in a few seconds";
        Self::new(Kind::Overloaded, detail)
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        let detail = error.to_string();
        match error {
            CommandError::Invalid(errors) => {
                let errors = errors.into_iter().map(|error| FieldProblem {
                    field: error.field.into_owned(),
                    problem: error.problem.into_owned(),
                    fix: error.fix.into_owned(),
                });
                Self { errors: errors.collect(), ..Self::new(Kind::Invalid, detail) }
            }
            CommandError::NotFound(what) => Self::not_found(&what),
            CommandError::Conflict(why) => Self::new(Kind::Conflict, why),
            CommandError::Overloaded => Self::new(Kind::Overloaded, detail),
            CommandError::Stopping => Self::new(Kind::Stopping, detail),
            CommandError::Away => Self::new(Kind::BookAway, detail),
        }
    }
}

impl IntoResponse for Problem {
    /// The problem also rides along as an extension, so that the outermost layer can add the request's id.
    fn into_response(self) -> Response {
        let mut response = self.render(None);
        response.extensions_mut().insert(self);
        response
    }
}

/// Rounded up, and at least one.
pub(crate) fn whole_seconds(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX).max(1)
}

/// Names the request in answers and logs.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_has_a_type_of_its_own_and_says_when_to_come_back_if_it_helps() {
        let mut types = BTreeSet::new();
        for kind in Kind::ALL {
            let (status, kind_uri, _) = kind.row();
            assert!(types.insert(kind_uri), "{kind_uri} is used twice");
            let response = Problem::new(kind, "detail").into_response();
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), status == 503, "{kind:?}");
        }
    }

    #[test]
    fn a_refused_command_lists_every_field() {
        let errors = ["name", "price.amount_micros"].map(|field| exchange::refused::FieldError {
            field: field.into(),
            problem: "is wrong".into(),
            fix: "make it right".into(),
        });
        let problem = Problem::from(CommandError::Invalid(errors.to_vec()));
        assert_eq!(problem.kind, Kind::Invalid);
        assert_eq!(problem.errors.len(), 2);
        assert_eq!(problem.errors[1].field, "price.amount_micros");
        assert_eq!(problem.errors[1].fix, "make it right");
    }
}
