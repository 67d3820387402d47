//! The timers of one transaction: when to repeat itself, and when to end.

use exchange::time::Timestamp;

/// RFC 3261's base timers. Everything else is derived from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// Round-trip estimate.
    pub t1_ms: u64,
    /// The longest pause between repeats.
    pub t2_ms: u64,
    /// How long a packet may linger in the network.
    pub t4_ms: u64,
}

impl Timers {
    /// RFC 3261's values, with another T1: 500 ms is its default.
    pub fn with_t1(t1_ms: u64) -> Self {
        Self { t1_ms, t2_ms: 8 * t1_ms, t4_ms: 10 * t1_ms }
    }

    /// 64 * T1: timers B, D, F, H, J, L and M.
    pub fn give_up_ms(&self) -> u64 {
        64 * self.t1_ms
    }
}

/// What one transaction waits for.
#[derive(Debug, Clone, Default)]
pub(super) struct Schedule {
    interval_ms: u64,
    retransmit_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    /// The wake-up that is queued for it.
    pub(super) queued_at: Option<Timestamp>,
}

impl Schedule {
    pub(super) fn repeat_from(&mut self, now: Timestamp, interval_ms: u64) {
        self.interval_ms = interval_ms;
        self.retransmit_at = Some(now.plus_ms(interval_ms));
    }

    pub(super) fn stop_repeating(&mut self) {
        self.retransmit_at = None;
    }

    pub(super) fn expire_at(&mut self, at: Option<Timestamp>) {
        self.expires_at = at;
    }

    pub(super) fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// Whether to repeat now; if so the next pause is twice as long, up to `interval_ms_max`.
    pub(super) fn take_repeat(&mut self, now: Timestamp, interval_ms_max: u64) -> bool {
        let due = self.retransmit_at.is_some_and(|at| at <= now);
        if due {
            self.repeat_from(now, (self.interval_ms * 2).min(interval_ms_max));
        }
        due
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        match (self.retransmit_at, self.expires_at) {
            (Some(repeat), Some(end)) => Some(repeat.min(end)),
            (repeat, end) => repeat.or(end),
        }
    }
}
