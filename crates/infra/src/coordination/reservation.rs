//! What is asked of a reservation, and what comes of it.

use exchange::bid::BidProfile;
use exchange::bid::caps::CapGroup;
use exchange::call::Call;
use exchange::id::{AccountId, BidProfileId, CallId};
use exchange::ledger::balances::InsufficientFunds;
use exchange::ledger::money::Micros;
use exchange::schedule::LocalTime;
use exchange::time::Timestamp;
use exchange::usage::{CapOwner, CapReached, Counted, Taken};
use std::collections::BTreeMap;
use std::fmt;
use uuid::Uuid;

/// One attempt of one call: what is reserved under it is reserved once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReservationKey {
    /// The call.
    pub call: CallId,
    /// Which attempt of it, from 1.
    pub attempt: u8,
}

impl fmt::Display for ReservationKey {
    /// `<call id>:<attempt>`, as keys in Redis have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.call, self.attempt)
    }
}

/// What one attempt wants. Terms and caps are the node's own; only what is in use is shared.
#[derive(Debug, Clone, Copy)]
pub struct Reservation<'a> {
    /// Which attempt.
    pub key: ReservationKey,
    /// The node that has the call.
    pub node: Uuid,
    /// The bid, whose buyer pays.
    pub bid: &'a BidProfile,
    /// The cap group of the bid, if it has one and that is there.
    pub group: Option<&'a CapGroup>,
    /// How far below zero the buyer's balance may go.
    pub credit_limit: Micros,
    /// The most the call can cost.
    pub hold: Micros,
    /// Now.
    pub now: Timestamp,
    /// Now, on the wall clock of the bid's schedule.
    pub local: LocalTime,
}

/// What comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserved {
    /// All of it is taken; in these periods.
    Granted(Counted),
    /// Nothing is taken.
    Refused(Shortage),
    /// The attempt has ended already.
    Over,
    /// This buyer is not loaded, or as of another epoch: rebuild, or join.
    NotReady,
}

/// What there is too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// Room under a cap.
    Cap(CapReached),
    /// Money.
    Funds(InsufficientFunds),
}

/// What came of ending something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It is done, now.
    Done,
    /// It was done before; nothing changed.
    Already,
    /// There is nothing of the kind; nothing changed.
    Unknown,
}

/// What an attempt has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenReservation {
    /// Which attempt.
    pub key: ReservationKey,
    /// The node that has the call.
    pub node: Uuid,
    /// Who pays.
    pub buyer: AccountId,
    /// The bid.
    pub bid: BidProfileId,
    /// What is held.
    pub hold: Micros,
    /// What it was counted against.
    pub counted: Counted,
}

impl OpenReservation {
    /// What an open call has taken, on the node that has it; nothing while it rings nobody.
    pub(super) fn of(call: &Call, node: Uuid) -> Option<Self> {
        let attempt = call.held_attempt()?;
        Some(Self {
            key: ReservationKey { call: call.id, attempt: attempt.number },
            node,
            buyer: attempt.buyer,
            bid: attempt.bid,
            hold: attempt.hold_micros,
            counted: attempt.counted,
        })
    }
}

/// What a bid or a cap group has in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InUse {
    /// Calls ringing or connected.
    pub concurrent_calls: u32,
    /// What was taken: hour, day, week, month, total.
    pub taken: [Taken; 5],
}

/// All that is known of one buyer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuyerFigures {
    /// What it can still spend, without its credit.
    pub available: Micros,
    /// What its bids and groups have in use.
    pub in_use: BTreeMap<CapOwner, InUse>,
    /// What is reserved, by key.
    pub open: Vec<OpenReservation>,
}
