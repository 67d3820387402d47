//! The timers that calls ask for: each comes back as an input when it is due.

use exchange::effect::{Action, Input};
use exchange::id::CallId;
use exchange::time::Timestamp;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Timers by due time. A timer is never cancelled: an input that comes too late changes nothing, and a call sets few.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BinaryHeap<Reverse<Timer>>,
    set: u64,
}

/// Ordered by due time, then by the order they were set.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Timer {
    at: Timestamp,
    order: u64,
    call: CallId,
    kind: Kind,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Bidding,
    Reservation,
    Ring { attempt: u8 },
    Duration { attempt: u8 },
    Revenue,
}

impl Timers {
    /// Sets the timer that an action asks for, if it asks for one.
    pub(crate) fn start_for(&mut self, call: CallId, action: &Action, now: Timestamp) {
        let (kind, after_ms) = match *action {
            Action::StartBiddingTimer { after_ms } => (Kind::Bidding, after_ms),
            Action::StartReservationTimer { after_ms } => (Kind::Reservation, after_ms),
            Action::StartRevenueTimer { after_ms } => (Kind::Revenue, after_ms),
            Action::StartRingTimer { attempt, after_ms } => (Kind::Ring { attempt }, after_ms),
            Action::StartDurationTimer { attempt, after_ms } => (Kind::Duration { attempt }, after_ms),
            _ => return,
        };
        self.start(call, kind, now.plus_ms(after_ms));
    }

    /// Sets again, after a restart, the timer of a call whose buyer may report its revenue until `at`.
    pub(crate) fn await_revenue(&mut self, call: CallId, at: Timestamp) {
        self.start(call, Kind::Revenue, at);
    }

    fn start(&mut self, call: CallId, kind: Kind, at: Timestamp) {
        self.set += 1;
        self.due.push(Reverse(Timer { at, order: self.set, call, kind }));
    }

    /// When the next one is due.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.due.peek().map(|Reverse(timer)| timer.at)
    }

    /// The earliest timer that is due, as the input it stands for.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<(CallId, Input)> {
        if self.next_due()? > now {
            return None;
        }
        let Reverse(timer) = self.due.pop()?;
        let input = match timer.kind {
            Kind::Bidding => Input::BiddingClosed,
            Kind::Reservation => Input::ReservationExpired,
            Kind::Ring { attempt } => Input::RingTimedOut { attempt },
            Kind::Duration { attempt } => Input::MaxDurationReached { attempt },
            Kind::Revenue => Input::RevenueWindowClosed,
        };
        Some((timer.call, input))
    }
}
