//! Problems as gRPC tells them: a status code, and the same words.

use crate::problem::{Kind, Problem};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use tonic::body::Body;
use tonic::{Code, Status};

/// Whether a request is for gRPC: its answer's errors then are statuses and not problem details.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    content_type.is_some_and(|content_type| content_type.starts_with(b"application/grpc"))
}

/// The problem as a status. When it helps to wait, metadata `retry-after` says for how many seconds.
pub(crate) fn of(problem: &Problem) -> Status {
    let code = match problem.kind() {
        Kind::MalformedRequest | Kind::Invalid => Code::InvalidArgument,
        Kind::NotAuthenticated => Code::Unauthenticated,
        Kind::Forbidden => Code::PermissionDenied,
        // Nothing but methods is looked for by a path here.
        Kind::NotFound | Kind::MethodNotAllowed | Kind::UnsupportedMediaType => Code::Unimplemented,
        Kind::Conflict => Code::FailedPrecondition,
        Kind::TooLarge => Code::OutOfRange,
        Kind::RateLimited => Code::ResourceExhausted,
        Kind::Overloaded | Kind::Stopping | Kind::BookAway | Kind::TimedOut => Code::Unavailable,
        Kind::Internal => Code::Internal,
    };
    let mut status = Status::new(code, problem.detail());
    if let Some(retry_after_s) = problem.retry_after_s() {
        status.metadata_mut().insert("retry-after", retry_after_s.into());
    }
    status
}

/// The response that is nothing but a status.
pub(crate) fn response(problem: &Problem) -> Response {
    of(problem).into_http::<Body>().map(axum::body::Body::new)
}
