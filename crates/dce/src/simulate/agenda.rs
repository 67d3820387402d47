//! What will happen, in the order it will.

use exchange::bid::live::LiveAnswer;
use exchange::effect::Command;
use exchange::id::CallId;
use exchange::ping::PingRequest;
use exchange::time::Timestamp;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use telephony::endpoint::CallSpec;

/// Something that will happen.
pub(super) enum Happening {
    Packet {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    Call(CallSpec),
    /// A seller asks; for its first ping or a repeat of it.
    Ping {
        id: CallId,
        request: PingRequest,
    },
    /// A live bidder's answer arrives.
    Answer {
        call: CallId,
        answer: LiveAnswer,
    },
    Command(Command),
    /// The disk finishes writing what had been handed to it, in the life of the exchange that handed it over.
    Commit {
        life: u64,
    },
    Restart,
}

/// What will happen; of things at the same moment, first what was put on first.
#[derive(Default)]
pub(super) struct Agenda {
    order: u64,
    scheduled: BinaryHeap<Reverse<Scheduled>>,
}

impl Agenda {
    pub(super) fn put(&mut self, at: Timestamp, what: Happening) {
        self.order += 1;
        self.scheduled.push(Reverse(Scheduled { at, order: self.order, what }));
    }

    /// When the next thing happens.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.scheduled.peek().map(|Reverse(scheduled)| scheduled.at)
    }

    /// The next thing, if its time has come.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<Happening> {
        if self.next()? > now {
            return None;
        }
        self.scheduled.pop().map(|Reverse(scheduled)| scheduled.what)
    }
}

struct Scheduled {
    at: Timestamp,
    order: u64,
    what: Happening,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}
