//! Live bidders of the demo: small HTTP servers on the loopback interface. Most answer well; one never does, one answers
//! what nobody can read, one answers too late.

use super::terms::LIVE_MOST;
use crate::failure::Failure;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::post;
use fastrand::Rng;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Longer than any auction waits.
const TOO_LATE: Duration = Duration::from_millis(400);

/// How a live bidder answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// With a price, after 1 to 15 ms; one call in eight it does not want.
    Good,
    /// Not at all.
    Hangs,
    /// With something that is no JSON.
    Garbles,
    /// With a price, when the auction is over.
    Late,
}

/// The vertical each bidder buys in, and how it answers.
pub(super) const BIDDERS: [(&str, Manner); 8] = [
    ("medicare", Manner::Good),
    ("medicare", Manner::Good),
    ("medicare", Manner::Good),
    ("medicare", Manner::Hangs),
    ("medicare", Manner::Garbles),
    ("auto_insurance", Manner::Good),
    ("auto_insurance", Manner::Good),
    ("auto_insurance", Manner::Late),
];

/// The servers; they stop when this is dropped.
pub(super) struct LiveBidders {
    /// In the order of [`BIDDERS`].
    pub(super) addresses: Vec<SocketAddr>,
    servers: Vec<JoinHandle<()>>,
}

impl LiveBidders {
    /// Starts them on free ports.
    pub(super) async fn start(seed: u64) -> Result<Self, Failure> {
        let mut started = Self { addresses: Vec::new(), servers: Vec::new() };
        let failed = |error| Failure::environment(format!("no TCP socket on 127.0.0.1: {error}"));
        for ((_, manner), nth) in BIDDERS.iter().zip(1..) {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(failed)?;
            started.addresses.push(listener.local_addr().map_err(failed)?);
            let rng = Rng::with_seed(seed ^ (nth << 32));
            let bidder = Bidder { manner: *manner, rng: Arc::new(Mutex::new(rng)) };
            let router = Router::new().route("/bid", post(answer)).with_state(bidder);
            started.servers.push(tokio::spawn(async move {
                // It serves until the demo ends; a bidder that cannot go on is one that does not answer.
                let _ = axum::serve(listener, router).await;
            }));
        }
        Ok(started)
    }
}

impl Drop for LiveBidders {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

#[derive(Debug, Clone)]
struct Bidder {
    manner: Manner,
    rng: Arc<Mutex<Rng>>,
}

/// The floor, in the request's own words, is the only thing these bidders look at.
#[derive(serde::Deserialize)]
struct Asked {
    floor: String,
}

async fn answer(State(bidder): State<Bidder>, body: String) -> axum::response::Response {
    let (think_ms, percent, declines) = {
        let mut rng = bidder.rng.lock().unwrap_or_else(PoisonError::into_inner);
        (rng.u64(1..=15), rng.u32(150..=420), rng.u32(0..8) == 0)
    };
    match bidder.manner {
        Manner::Good => tokio::time::sleep(Duration::from_millis(think_ms)).await,
        Manner::Hangs => std::future::pending().await,
        Manner::Garbles => return "<html>bid now!</html>".into_response(),
        Manner::Late => tokio::time::sleep(TOO_LATE).await,
    }
    match price(&body, percent) {
        Some(price) if !declines => {
            ([(header::CONTENT_TYPE, "application/json")], format!(r#"{{"bid":"{price}"}}"#)).into_response()
        }
        _ => StatusCode::NO_CONTENT.into_response(),
    }
}

/// So many hundredths of the floor, in whole cents, and no more than its bid profile lets it answer.
fn price(request: &str, percent: u32) -> Option<String> {
    let asked: Asked = serde_json::from_str(request).ok()?;
    let floor: exchange::ledger::money::Micros = asked.floor.parse().ok()?;
    let cents = (floor.0.checked_mul(percent.into())? / 1_000_000).min(LIVE_MOST * 100);
    Some(format!("{}.{:02}", cents / 100, cents % 100))
}

#[cfg(test)]
mod tests {
    use super::price;

    #[test]
    fn prices_are_a_multiple_of_the_floor() {
        let cases = [
            (r#"{"floor":"30.00"}"#, 100, Some("30.00")),
            (r#"{"floor":"12.50","other":1}"#, 150, Some("18.75")),
            (r#"{"floor":"0.01"}"#, 260, Some("0.02")),
            (r#"{"floor":"100.00"}"#, 400, Some("150.00")),
            (r#"{"floor":"free"}"#, 100, None),
            ("not JSON", 100, None),
        ];
        for (request, percent, expected) in cases {
            assert_eq!(price(request, percent).as_deref(), expected, "{request}");
        }
    }
}
