//! What every request goes through, outermost first: it gets an id, is counted and logged; a panic becomes a problem;
//! too many at once or too long a wait become problems too.

use crate::config::BODY_BYTES_MAX;
use crate::grpc::status;
use crate::problem::{Kind, Problem, REQUEST_ID};
use crate::state::Gateway;
use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use std::any::Any;
use std::time::Instant;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;
use uuid::Uuid;

/// Puts the layers around the routes. The one added last is the outermost.
pub(crate) fn around(routes: Router<Gateway>, gateway: &Gateway) -> Router {
    routes
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(gateway.clone(), bound))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(observe))
        .with_state(gateway.clone())
}

async fn no_such_path(uri: Uri) -> Problem {
    // The query may hold anything; the path is the caller's own.
    Problem::new(Kind::NotFound, format!("there is no {}; /openapi.json lists what there is", uri.path()))
}

async fn no_such_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{method} is not for {}; the Allow header lists what is", uri.path());
    Problem::new(Kind::MethodNotAllowed, detail)
}

fn panicked(_panic: Box<dyn Any + Send>) -> Response {
    // The panic hook has logged it.
    Problem::new(Kind::Internal, "the log has the reason, under this request's id").into_response()
}

/// Bounds how many requests are worked on, and for how long.
async fn bound(State(gateway): State<Gateway>, request: Request, next: Next) -> Response {
    let Ok(_permit) = gateway.in_flight().try_acquire() else {
        return Problem::new(Kind::Overloaded, "too many requests at once; try again in a few seconds")
            .into_response();
    };
    tokio::time::timeout(gateway.request_timeout(), next.run(request)).await.unwrap_or_else(|_| {
        let detail = "the answer took too long; a change may still come about: look before trying again";
        Problem::new(Kind::TimedOut, detail).into_response()
    })
}

/// Gives the request an id, logs and counts it. The path is logged as its pattern: a real one may hold a phone number.
async fn observe(request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let is_grpc = status::is_grpc(request.headers());
    let method = request.method().clone();
    let path = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!("request", %id, %method, %path);
    let started = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let rendered = if is_grpc { status::response(&problem) } else { problem.render(Some(&id)) };
        response = with_headers_of(rendered, &response);
    }
    let status = response.status().as_u16();
    let took = started.elapsed();
    span.in_scope(|| tracing::debug!(status, took_us = took.as_micros(), "answered"));
    let labels = [("method", method.to_string()), ("path", path), ("status", status.to_string())];
    metrics::counter!("dce_http_requests_total", &labels).increment(1);
    metrics::histogram!("dce_http_request_seconds", &labels[1..2]).record(took.as_secs_f64());
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::try_from(id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// A problem rendered again, with the headers that other layers have added.
fn with_headers_of(mut rendered: Response, answered: &Response) -> Response {
    for (name, value) in answered.headers() {
        if !matches!(*name, header::CONTENT_LENGTH | header::CONTENT_TYPE) {
            rendered.headers_mut().insert(name, value.clone());
        }
    }
    rendered
}

/// The caller's own id for the request when it is harmless, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let harmless = |id: &&str| {
        (1..=64).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    given.filter(harmless).map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HttpConfig;
    use crate::state::Dependencies;
    use axum::body::{Body, to_bytes};
    use axum::routing::get;
    use engine::{EngineConfig, EngineThread, LiveBidders};
    use exchange::policy::Policy;
    use infra::coordination::Coordination;
    use infra::store::{Store, StoreOptions};
    use metrics_exporter_prometheus::PrometheusBuilder;
    use tempfile::TempDir;
    use tower::ServiceExt;

    /// Routes that misbehave, behind the layers.
    struct Misbehaving {
        router: Router,
        _engine: EngineThread,
        _store: Store,
        _directory: TempDir,
    }

    fn misbehaving(config: &HttpConfig) -> Misbehaving {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(directory.path(), &StoreOptions::default()).expect("a store");
        let (actions, _) = tokio::sync::mpsc::unbounded_channel();
        let (engine, thread) = engine::start(
            &store,
            &EngineConfig::default(),
            Policy::default(),
            LiveBidders::default(),
            actions,
        )
        .expect("an engine");
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let reader = store.reader();
        let coordination = Coordination::in_memory();
        let dependencies = Dependencies { engine, reader, coordination, metrics, probes: Vec::new() };
        let gateway = Gateway::new(config, dependencies);
        let routes = Router::new()
            .route("/panics", get(async || -> () { panic!("on purpose, to see it caught") }))
            .route("/hangs", get(std::future::pending::<()>));
        Misbehaving {
            router: around(routes, &gateway),
            _engine: thread,
            _store: store,
            _directory: directory,
        }
    }

    async fn ask(router: &Router, path: &str) -> (u16, serde_json::Value) {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let response = router.clone().oneshot(request).await.expect("infallible");
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), BODY_BYTES_MAX).await.expect("a body");
        (status, serde_json::from_slice(&bytes).expect("a problem"))
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_and_the_next_request_is_answered() {
        let server = misbehaving(&HttpConfig::default());
        for _ in 0..2 {
            let (status, problem) = ask(&server.router, "/panics").await;
            assert_eq!((status, &problem["type"]), (500, &"urn:dce:problem:internal".into()));
            assert!(problem["request_id"].is_string());
            assert!(!problem.to_string().contains("on purpose"), "what went wrong is for the log");
        }
    }

    #[tokio::test]
    async fn an_answer_that_takes_too_long_is_given_up() {
        let server = misbehaving(&HttpConfig { request_timeout_ms: 1, ..HttpConfig::default() });
        let (status, problem) = ask(&server.router, "/hangs").await;
        assert_eq!((status, &problem["type"]), (503, &"urn:dce:problem:timed-out".into()));
    }

    #[tokio::test]
    async fn too_many_at_once_are_refused_not_queued() {
        let server = misbehaving(&HttpConfig { requests_in_flight_max: 1, ..HttpConfig::default() });
        let hanging = ask(&server.router, "/hangs");
        let refused = async {
            // The first request is polled first, so it has the only place.
            ask(&server.router, "/hangs").await
        };
        let (status, problem) = tokio::select! {
            biased;
            answer = hanging => answer,
            answer = refused => answer,
        };
        assert_eq!((status, &problem["type"]), (503, &"urn:dce:problem:overloaded".into()));
    }

    #[test]
    fn a_harmless_request_id_is_kept() {
        let cases = [
            ("trace-1.a_B", true),
            ("", false),
            ("a b", false),
            ("<script>", false),
            (&"x".repeat(65), false),
        ];
        for (given, kept) in cases {
            let headers = HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_str(given).expect("ASCII"))]);
            assert_eq!(request_id(&headers) == given, kept, "{given}");
        }
    }
}
