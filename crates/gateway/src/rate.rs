//! Rate limits: the generic cell rate algorithm (ITU-T I.371), one cell for each key.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Cells kept at most. Past it those that are at rest are dropped, which changes no answer.
const CELLS_MAX: usize = 100_000;

/// A limit for each of many keys.
#[derive(Debug)]
pub(crate) struct Rates<K> {
    /// Requests in a row after a pause.
    burst: u32,
    /// The time one request takes up.
    interval: Duration,
    /// When each key will be at rest again: the algorithm's theoretical arrival time.
    at_rest: Mutex<HashMap<K, Instant>>,
}

/// Whether one more request may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may; this many more could follow at once.
    Passes { remaining: u32 },
    /// It may not, before this long.
    Waits { for_: Duration },
}

impl<K: Hash + Eq> Rates<K> {
    /// `per_minute` on average, `burst` at once; at least 1 each.
    pub(crate) fn new(per_minute: u32, burst: u32) -> Self {
        let interval = Duration::from_mins(1) / per_minute.max(1);
        Self { burst: burst.max(1), interval, at_rest: Mutex::new(HashMap::new()) }
    }

    /// Requests in a row after a pause.
    pub(crate) fn burst(&self) -> u32 {
        self.burst
    }

    /// How long it takes until a whole burst is possible again, in seconds, rounded up.
    pub(crate) fn window_s(&self) -> u64 {
        (self.interval * self.burst).as_millis().div_ceil(1_000).try_into().unwrap_or(u64::MAX)
    }

    /// Counts one request if it may pass.
    pub(crate) fn take(&self, key: K, now: Instant) -> Verdict {
        let mut cells = self.at_rest.lock().unwrap_or_else(PoisonError::into_inner);
        if cells.len() >= CELLS_MAX && !cells.contains_key(&key) {
            cells.retain(|_, at_rest| *at_rest > now);
            if cells.len() >= CELLS_MAX {
                return Verdict::Waits { for_: self.interval };
            }
        }
        let at_rest = cells.get(&key).copied().unwrap_or(now).max(now);
        let after = at_rest + self.interval;
        let tolerance = self.interval * self.burst;
        let ahead = after - now;
        let Some(left) = tolerance.checked_sub(ahead) else {
            return Verdict::Waits { for_: ahead.saturating_sub(tolerance) };
        };
        cells.insert(key, after);
        let room = left.as_nanos() / self.interval.as_nanos().max(1);
        Verdict::Passes { remaining: u32::try_from(room).unwrap_or(u32::MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_one_each_interval() {
        let rates = Rates::new(60, 3);
        let start = Instant::now();
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
            assert_eq!(rates.take("key", at(second)), expected, "step {step}");
        }
        assert_eq!(rates.take("another", at(60)), Verdict::Passes { remaining: 2 }, "keys are apart");
    }

    #[test]
    fn memory_is_bounded_by_dropping_cells_at_rest() {
        let rates = Rates::new(60, 1);
        let now = Instant::now();
        for key in 0..CELLS_MAX {
            rates.take(key, now);
        }
        assert!(matches!(rates.take(CELLS_MAX, now), Verdict::Waits { .. }), "full of busy cells");
        let later = now + Duration::from_secs(2);
        assert!(matches!(rates.take(CELLS_MAX, later), Verdict::Passes { .. }));
        assert_eq!(rates.at_rest.lock().expect("not poisoned").len(), 1);
    }
}
