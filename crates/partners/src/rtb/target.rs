//! The state of one bidder: whether it may be asked now, and how it did.

use super::breaker::{Breaker, Circuit};
use super::config::{BreakerConfig, RtbConfig};
use super::connect::{Connector, Origin};
use super::latency::Latency;
use super::pool::Pool;
use super::rate::Rate;
use exchange::bid::live::{LiveBidder, LiveSaid, NoLiveBid};
use exchange::id::BidProfileId;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What bid profiles without bounds of their own have.
const REQUESTS_PER_S_DEFAULT: u32 = 100;
const IN_FLIGHT_MAX_DEFAULT: u32 = 32;

/// How one bidder is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TargetStatus {
    /// Its bid profile.
    pub bid: BidProfileId,
    /// Where it is asked, as scheme, host and port; absent before it was.
    pub origin: Option<String>,
    /// Whether it is asked.
    pub circuit: Circuit,
    /// Requests without an answer.
    pub in_flight: u32,
    /// Connections kept open for the next request.
    pub connections_idle: usize,
    /// How often it said what, since it was first asked; the names are those of the answers and reasons.
    pub results: BTreeMap<&'static str, u64>,
    /// Half of its recent requests took no longer, in milliseconds, as an estimate from above.
    pub latency_p50_ms: Option<u32>,
    /// 99 of 100 recent requests took no longer, in milliseconds, as an estimate from above.
    pub latency_p99_ms: Option<u32>,
}

/// The state of one bidder.
pub(super) struct Target {
    bid: BidProfileId,
    /// Times are counted from here.
    born: Instant,
    lookup_lifetime: Duration,
    state: Mutex<State>,
}

struct State {
    /// As in the bid profile: another one is another bidder, with a fresh circuit.
    url: String,
    rate: Rate,
    breaker: Breaker,
    in_flight: u32,
    notices_in_flight: u32,
    requests: Option<Arc<Pool>>,
    notices: Option<Arc<Pool>>,
    results: BTreeMap<&'static str, u64>,
    latency: Latency,
    used: Instant,
}

/// Which connections: those for notices are apart, so that a bidder slow to take them is asked as fast as ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Requests,
    Notices,
}

impl Target {
    pub(super) fn new(bid: BidProfileId, config: &RtbConfig) -> Self {
        let now = Instant::now();
        let state = State {
            url: String::new(),
            rate: Rate::default(),
            breaker: Breaker::new(breaker_bounds(config.breaker)),
            in_flight: 0,
            notices_in_flight: 0,
            requests: None,
            notices: None,
            results: BTreeMap::new(),
            latency: Latency::default(),
            used: now,
        };
        let lookup_lifetime = Duration::from_millis(config.lookup_lifetime_ms);
        Self { bid, born: now, lookup_lifetime, state: Mutex::new(state) }
    }

    /// Lets one request in, or says why not. `began` is when the request came to the client.
    pub(super) fn admit(
        self: &Arc<Self>,
        bidder: &LiveBidder,
        url: &str,
        began: Instant,
    ) -> Result<Permit, NoLiveBid> {
        let now = Instant::now();
        let since_born = now.duration_since(self.born);
        let now_ms = whole(since_born.as_millis());
        let mut state = self.state();
        let state = &mut *state;
        state.used = now;
        if state.url != url {
            url.clone_into(&mut state.url);
            state.breaker.reset();
        }
        if state.breaker.refuses(now_ms) {
            return Err(NoLiveBid::CircuitOpen);
        }
        if state.in_flight >= bidder.in_flight_max.unwrap_or(IN_FLIGHT_MAX_DEFAULT) {
            return Err(NoLiveBid::Busy);
        }
        let per_s = bidder.requests_per_s.unwrap_or(REQUESTS_PER_S_DEFAULT);
        if !state.rate.take(per_s, whole(since_born.as_nanos())) {
            return Err(NoLiveBid::RateLimited);
        }
        let epoch = state.breaker.admit(now_ms).ok_or(NoLiveBid::CircuitOpen)?;
        state.in_flight += 1;
        Ok(Permit { target: Arc::clone(self), epoch, began, is_finished: false })
    }

    /// Counts what came of a request.
    pub(super) fn count(&self, said: &LiveSaid) {
        *self.state().results.entry(word(said)).or_default() += 1;
    }

    /// Lets one notice go, unless too many are on their way.
    pub(super) fn admit_notice(self: &Arc<Self>, most: u32) -> Option<NoticePermit> {
        let mut state = self.state();
        state.used = Instant::now();
        (state.notices_in_flight < most).then(|| {
            state.notices_in_flight += 1;
            NoticePermit { target: Arc::clone(self) }
        })
    }

    /// The connections to an origin. Another origin than last time leaves the old ones behind.
    pub(super) fn pool(&self, lane: Lane, origin: Origin, connector: &Arc<Connector>) -> Arc<Pool> {
        let mut state = self.state();
        let slot = match lane {
            Lane::Requests => &mut state.requests,
            Lane::Notices => &mut state.notices,
        };
        match slot {
            Some(pool) if *pool.origin() == origin => Arc::clone(pool),
            _ => {
                let pool = Arc::new(Pool::new(origin, Arc::clone(connector), self.lookup_lifetime));
                *slot = Some(Arc::clone(&pool));
                pool
            }
        }
    }

    /// Whether nothing was asked of it for so long.
    pub(super) fn is_unused_for(&self, unused: Duration) -> bool {
        let state = self.state();
        state.in_flight == 0 && state.notices_in_flight == 0 && state.used.elapsed() >= unused
    }

    /// Closes connections that were idle for too long.
    pub(super) fn sweep(&self, idle_timeout: Duration) {
        let pools = {
            let state = self.state();
            [state.requests.clone(), state.notices.clone()]
        };
        for pool in pools.iter().flatten() {
            pool.sweep(idle_timeout);
        }
    }

    pub(super) fn status(&self) -> TargetStatus {
        let state = self.state();
        let pools = [&state.requests, &state.notices].into_iter().flatten();
        TargetStatus {
            bid: self.bid,
            origin: state.requests.as_ref().map(|pool| pool.origin().to_string()),
            circuit: state.breaker.circuit(),
            in_flight: state.in_flight,
            connections_idle: pools.map(|pool| pool.idle_count()).sum(),
            results: state.results.clone(),
            latency_p50_ms: state.latency.percentile_ms(50),
            latency_p99_ms: state.latency.percentile_ms(99),
        }
    }

    /// Nothing in here is left half done by a panic: the state is good even if one happened.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request that was let in. Dropped without an end, it counts as a failure.
pub(super) struct Permit {
    target: Arc<Target>,
    epoch: u64,
    began: Instant,
    is_finished: bool,
}

impl Permit {
    /// How it ended.
    pub(super) fn finish(mut self, said: &LiveSaid) {
        self.is_finished = true;
        self.end(is_failure(said));
    }

    fn end(&self, failed: bool) {
        let now = Instant::now();
        let mut state = self.target.state();
        state.in_flight -= 1;
        state.latency.record(now.duration_since(self.began).as_secs_f64() * 1e3);
        let was = state.breaker.circuit();
        state.breaker.record(self.epoch, failed, whole(now.duration_since(self.target.born).as_millis()));
        let is = state.breaker.circuit();
        drop(state);
        if was != is {
            let bid = self.target.bid;
            tracing::warn!(%bid, circuit = ?is, "the circuit of a live bidder changed; open means that it failed too often and is left alone");
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.is_finished {
            self.end(true);
        }
    }
}

/// One notice on its way.
pub(super) struct NoticePermit {
    target: Arc<Target>,
}

impl Drop for NoticePermit {
    fn drop(&mut self) {
        self.target.state().notices_in_flight -= 1;
    }
}

/// What was said, as one word for counters.
pub(super) fn word(said: &LiveSaid) -> &'static str {
    match said {
        LiveSaid::Bid { .. } => "bid",
        LiveSaid::Nothing { reason } => match reason {
            NoLiveBid::Declined => "declined",
            NoLiveBid::TimedOut => "timed_out",
            NoLiveBid::Unreachable => "unreachable",
            NoLiveBid::Failed => "failed",
            NoLiveBid::Garbled => "garbled",
            NoLiveBid::TooLarge => "too_large",
            NoLiveBid::Busy => "busy",
            NoLiveBid::RateLimited => "rate_limited",
            NoLiveBid::CircuitOpen => "circuit_open",
            NoLiveBid::NotConnected => "not_connected",
        },
    }
}

/// Whether it speaks against asking again; being busy is the exchange's own doing.
fn is_failure(said: &LiveSaid) -> bool {
    !matches!(
        said,
        LiveSaid::Bid { .. } | LiveSaid::Nothing { reason: NoLiveBid::Declined | NoLiveBid::Busy }
    )
}

fn breaker_bounds(config: BreakerConfig) -> BreakerConfig {
    BreakerConfig { failures_in_a_row: config.failures_in_a_row.max(1), ..config }
}

/// A time since the start fits: 584 years are as many nanoseconds.
fn whole(time: u128) -> u64 {
    u64::try_from(time).unwrap_or(u64::MAX)
}
