//! The wall clock, made to never run backwards within a process.

use exchange::time::Timestamp;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Reads the system's clock once and counts on from there, so that a clock set back (or forward) while the exchange runs
/// changes no duration and no bill.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
    started_at: Timestamp,
}

impl Clock {
    /// Starts from the system's time, or from `not_before` when that is later: time never runs back across a restart.
    pub(crate) fn start(not_before: Timestamp) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = Timestamp(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX));
        Self { started: Instant::now(), started_at: wall.max(not_before) }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.started_at + self.started.elapsed()
    }
}
