//! `/health/live`, `/health/ready` and `/metrics`: for load balancers, orchestrators and dashboards.

use crate::state::Gateway;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use engine::BookPlace;
use infra::store::StoreHealth;
use serde::Serialize;
use utoipa::ToSchema;

/// Whether the exchange can take calls now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// Whether every check passed.
    ready: bool,
    /// What was looked at.
    checks: Vec<HealthCheck>,
}

/// One thing the exchange depends on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HealthCheck {
    /// Such as `store`.
    name: &'static str,
    /// Whether it works.
    passed: bool,
    /// What was found.
    finding: String,
}

impl HealthCheck {
    fn new(name: &'static str, found: Result<String, String>) -> Self {
        let passed = found.is_ok();
        Self { name, passed, finding: found.unwrap_or_else(|problem| problem) }
    }
}

/// Say that the process answers. Restart it when it does not.
#[utoipa::path(get, path = "/health/live", tag = "health", security(()), responses((status = 200, body = str)))]
pub(crate) async fn live() -> &'static str {
    "live\n"
}

/// Say whether calls can be taken now, and what stands in the way. Send calls elsewhere while it answers 503.
#[utoipa::path(get, path = "/health/ready", tag = "health", security(()),
    responses((status = 200, body = Readiness), (status = 503, body = Readiness)))]
pub(crate) async fn ready(State(gateway): State<Gateway>) -> impl IntoResponse {
    let checks = checks(&gateway);
    let ready = checks.iter().all(|check| check.passed);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, checks }))
}

/// Whether calls can be taken now.
pub(crate) fn is_ready(gateway: &Gateway) -> bool {
    checks(gateway).iter().all(|check| check.passed)
}

fn checks(gateway: &Gateway) -> Vec<HealthCheck> {
    let status = gateway.engine().status();
    let store = match &status.store {
        StoreHealth::Healthy => Ok("commits succeed".to_owned()),
        // The error names paths of this machine: it is for the log, not for the public.
        StoreHealth::Failing { tries, .. } => {
            Err(format!("commits fail, {tries} tries so far; the log has the reason"))
        }
    };
    let waiting = format!("{} messages waiting", status.waiting);
    let engine = match (gateway.engine().book_place(), status.stopping, status.has_room) {
        (BookPlace::Away, ..) => Err("on no node that this one can reach".to_owned()),
        (_, true, _) => Err("stopping".to_owned()),
        (BookPlace::Here, false, true) => Ok(waiting),
        (BookPlace::At(address), false, true) => Ok(format!("at {address}, {waiting}")),
        (_, false, false) => Err(format!("overloaded, {waiting}")),
    };
    let mut checks = vec![HealthCheck::new("store", store), HealthCheck::new("engine", engine)];
    checks.extend(gateway.probes().iter().map(|(name, probe)| HealthCheck::new(name, probe())));
    checks
}

/// Show metrics in the Prometheus text format.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, body = str)))]
pub(crate) async fn metrics(State(gateway): State<Gateway>) -> impl IntoResponse {
    let status = gateway.engine().status();
    metrics::gauge!("dce_live_calls").set(status.live_calls as f64);
    metrics::gauge!("dce_open_pings").set(status.pings as f64);
    metrics::gauge!("dce_bid_profiles").set(status.bid_profiles as f64);
    metrics::gauge!("dce_engine_waiting").set(status.waiting as f64);
    metrics::gauge!("dce_store_healthy").set(f64::from(u8::from(status.store == StoreHealth::Healthy)));
    // Moves what was recorded since the last look out of the recorder's queues.
    gateway.metrics().run_upkeep();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], gateway.metrics().render())
}
