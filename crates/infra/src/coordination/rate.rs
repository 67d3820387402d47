//! Rate limits: the generic cell rate algorithm (ITU-T I.371), one cell for each key.
//!
//! The arithmetic is here once, in whole microseconds; `redis/dce.lua` has the same integers for the cells that all nodes share.

use super::{Adapter, Coordination, CoordinationError};
use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Cells kept at most. Past it those that are at rest are dropped, which changes no answer.
const CELLS_MAX: usize = 100_000;

/// How often something may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Times in a row after a pause.
    pub(super) burst: u32,
    /// The time one of them takes up, in microseconds.
    pub(super) interval_us: u64,
}

/// Whether it may be done once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may; this many more could follow at once.
    Passes {
        /// How many.
        remaining: u32,
    },
    /// It may not, before this long.
    Waits {
        /// How long.
        for_: Duration,
    },
}

impl RateLimit {
    /// `per_minute` on average, `burst` at once; at least 1 each. Rates above one a microsecond count as that.
    pub fn new(per_minute: u32, burst: u32) -> Self {
        Self { burst: burst.max(1), interval_us: (60_000_000 / u64::from(per_minute.max(1))).max(1) }
    }

    /// Times in a row after a pause.
    pub fn burst(self) -> u32 {
        self.burst
    }

    /// How long it takes until a whole burst is possible again, in seconds, rounded up.
    pub fn window_s(self) -> u64 {
        self.tolerance_us().div_ceil(1_000_000)
    }

    /// What one of `nodes` may let through, so that all of them together let through no more; at least 1 each.
    fn share(self, nodes: u32) -> Self {
        let nodes = nodes.max(1);
        Self { burst: (self.burst / nodes).max(1), interval_us: self.interval_us * u64::from(nodes) }
    }

    fn tolerance_us(self) -> u64 {
        self.interval_us * u64::from(self.burst)
    }

    /// Decides for a cell that is at rest from `at_rest_us` on (the algorithm's theoretical arrival time), and says from when on
    /// it is at rest afterwards.
    fn decide(self, at_rest_us: u64, now_us: u64) -> (Verdict, u64) {
        let after_us = at_rest_us.max(now_us) + self.interval_us;
        let ahead_us = after_us - now_us;
        match self.tolerance_us().checked_sub(ahead_us) {
            None => {
                let for_ = Duration::from_micros(ahead_us - self.tolerance_us());
                (Verdict::Waits { for_ }, at_rest_us)
            }
            Some(left_us) => {
                let remaining = u32::try_from(left_us / self.interval_us).unwrap_or(u32::MAX);
                (Verdict::Passes { remaining }, after_us)
            }
        }
    }
}

/// A limit for each of many keys, over all nodes.
#[derive(Debug)]
pub struct RateLimiter<K> {
    name: &'static str,
    limit: RateLimit,
    coordination: Coordination,
    cells: Cells<K>,
}

impl<K: Hash + Eq + Display> RateLimiter<K> {
    /// The limit of this name: nodes that use the same one share its cells.
    pub fn new(coordination: &Coordination, name: &'static str, limit: RateLimit) -> Self {
        Self { name, limit, coordination: coordination.clone(), cells: Cells::new(Instant::now()) }
    }

    /// What it lets through.
    pub fn limit(&self) -> RateLimit {
        self.limit
    }

    /// Counts one more of this key if it may be done.
    pub async fn take(&self, key: K) -> Result<Verdict, CoordinationError> {
        match self.coordination.adapter() {
            Adapter::Memory(_) => Ok(self.cells.take(self.limit, key, Instant::now())),
            Adapter::Redis(redis) => match redis.take(self.name, &key, self.limit).await {
                Err(_) if redis.degrades() => {
                    Ok(self.cells.take(self.limit.share(redis.nodes()), key, Instant::now()))
                }
                decided => decided,
            },
        }
    }
}

/// The cells of this process.
#[derive(Debug)]
struct Cells<K> {
    origin: Instant,
    /// From when on each key is at rest again, in microseconds since the origin.
    at_rest_us: Mutex<HashMap<K, u64>>,
}

impl<K: Hash + Eq> Cells<K> {
    fn new(origin: Instant) -> Self {
        Self { origin, at_rest_us: Mutex::new(HashMap::new()) }
    }

    fn take(&self, limit: RateLimit, key: K, now: Instant) -> Verdict {
        let now_us = u64::try_from((now - self.origin).as_micros()).unwrap_or(u64::MAX);
        let mut cells = self.at_rest_us.lock().unwrap_or_else(PoisonError::into_inner);
        if cells.len() >= CELLS_MAX && !cells.contains_key(&key) {
            cells.retain(|_, at_rest_us| *at_rest_us > now_us);
            if cells.len() >= CELLS_MAX {
                return Verdict::Waits { for_: Duration::from_micros(limit.interval_us) };
            }
        }
        let at_rest_us = cells.get(&key).copied().unwrap_or(now_us);
        let (verdict, after_us) = limit.decide(at_rest_us, now_us);
        if matches!(verdict, Verdict::Passes { .. }) {
            cells.insert(key, after_us);
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_one_each_interval() {
        let limit = RateLimit::new(60, 3);
        let start = Instant::now();
        let cells = Cells::new(start);
        let at = |seconds| start + Duration::from_secs(seconds);
        let steps = [
            (0, Verdict::Passes { remaining: 2 }),
            (0, Verdict::Passes { remaining: 1 }),
            (0, Verdict::Passes { remaining: 0 }),
            (0, Verdict::Waits { for_: Duration::from_secs(1) }),
            (1, Verdict::Passes { remaining: 0 }),
            (1, Verdict::Waits { for_: Duration::from_secs(1) }),
            (60, Verdict::Passes { remaining: 2 }),
        ];
        for (step, (second, expected)) in steps.into_iter().enumerate() {
            assert_eq!(cells.take(limit, "key", at(second)), expected, "step {step}");
        }
        assert_eq!(cells.take(limit, "another", at(60)), Verdict::Passes { remaining: 2 }, "keys are apart");
    }

    #[test]
    fn memory_is_bounded_by_dropping_cells_at_rest() {
        let limit = RateLimit::new(60, 1);
        let now = Instant::now();
        let cells = Cells::new(now);
        for key in 0..CELLS_MAX {
            cells.take(limit, key, now);
        }
        assert!(matches!(cells.take(limit, CELLS_MAX, now), Verdict::Waits { .. }), "full of busy cells");
        let later = now + Duration::from_secs(2);
        assert!(matches!(cells.take(limit, CELLS_MAX, later), Verdict::Passes { .. }));
        assert_eq!(cells.at_rest_us.lock().expect("not poisoned").len(), 1);
    }

    #[test]
    fn shares_of_all_nodes_are_no_more_than_the_whole() {
        let whole = RateLimit::new(6_000, 600);
        let share = whole.share(4);
        assert_eq!((share.burst, share.interval_us), (150, 4 * whole.interval_us));
        assert_eq!(whole.share(0), whole, "one node at least");
        assert_eq!(RateLimit::new(60, 1).share(3).burst, 1, "nobody is shut out");
    }
}
