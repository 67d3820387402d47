//! What happened to each call: the journal is stepped through a book under the rules as they were, and what targets and
//! callers did is kept.

use super::Source;
use super::side::Side;
use crate::failure::Failure;
use exchange::book::Book;
use exchange::call::{Attempt, CallState, FailureCause};
use exchange::call_flow;
use exchange::effect::{Action, Effect, Input, JournalInput, Record};
use exchange::id::{BidProfileId, CallId};
use exchange::time::Timestamp;
use std::collections::{HashMap, HashSet};

/// A place in the journal.
pub(super) type Seq = i64;

/// Something that came so many microseconds after what it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct After<T> {
    pub(super) us: i64,
    /// Where it stands in the journal: what happened at the same moment keeps its order.
    pub(super) seq: Seq,
    pub(super) what: T,
}

/// One call's past.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// Live bidders who were asked.
    pub(super) asked: Vec<BidProfileId>,
    pub(super) bidding: Option<Bidding>,
    /// When its reservation ran out, from when it was made.
    pub(super) expired: Option<After<()>>,
    /// Targets that were rung, in order.
    pub(super) rung: Vec<Rung>,
    /// When the caller hung up, or was lost, with no target on the line.
    pub(super) given_up: Option<(Timestamp, Seq)>,
    reserved_at: Timestamp,
}

/// The time for live bids.
#[derive(Debug)]
pub(super) struct Bidding {
    began_at: Timestamp,
    /// How long it was to be, in milliseconds.
    pub(super) deadline_ms: u64,
    /// When it was over without every bidder having answered.
    pub(super) closed: Option<After<()>>,
}

/// A target that was rung.
#[derive(Debug)]
pub(super) struct Rung {
    pub(super) bid: BidProfileId,
    started_at: Timestamp,
    answered_at: Timestamp,
    /// What it did; absent when the caller, or the exchange, stopped the ringing.
    pub(super) did: Option<After<Did>>,
    /// How the talk ended; absent when there was none, or when the exchange itself ended it.
    pub(super) talked: Option<After<TalkEnd>>,
}

/// What a target that was rung did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Did {
    Answer,
    Fail(FailureCause),
    RingOut,
}

/// How a talk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TalkEnd {
    Caller,
    Target,
    PeerLost,
    MaxDuration,
}

impl Rung {
    pub(super) fn has_answered(&self) -> bool {
        matches!(self.did, Some(After { what: Did::Answer, .. }))
    }
}

/// Every call's past, and whether the journal, stepped again, gave what was booked.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) calls: HashMap<CallId, Past>,
    /// Calls whose winner is not the one on the stored receipt, or that did not take an input they once took.
    pub(super) not_reproduced: HashSet<CallId>,
    /// Journal entries that this version cannot read.
    pub(super) unreadable: u64,
}

/// Steps through the whole journal under the rules as they were.
pub(super) fn record(source: &Source<'_>, book: &mut Book, side: &mut Side) -> Result<History, Failure> {
    let mut history = History::default();
    source.each_entry(&mut |seq, entry| {
        let Some(entry) = entry else {
            history.unreadable += 1;
            return Ok(());
        };
        match entry.entry {
            JournalInput::Command(command) => {
                // Only what was accepted is in the journal; should it be refused now, the calls will tell.
                side.note(&book.apply(command, entry.at).unwrap_or_default());
            }
            JournalInput::Call { call, input } => {
                let effects = call_flow::step(book, call, input.clone(), entry.at).unwrap_or_default();
                if effects.is_empty() {
                    history.not_reproduced.insert(call);
                    return Ok(());
                }
                side.note(&effects);
                history.check_receipts(source, side, &effects)?;
                history.keep(call, &input, &effects, (entry.at, seq));
            }
        }
        Ok(())
    })?;
    Ok(history)
}

impl History {
    /// Compares the winner with that of the receipt in the store.
    fn check_receipts(
        &mut self,
        source: &Source<'_>,
        side: &Side,
        effects: &[Effect],
    ) -> Result<(), Failure> {
        for effect in effects {
            let Effect::Record(Record::Receipt(again)) = effect else { continue };
            if !side.counts(again.call) {
                continue;
            }
            let stored = (source.receipt)(again.call)?;
            let outcome = |receipt: &exchange::auction::receipt::Receipt| {
                let auction = receipt.auction.as_ref()?;
                let winner = auction.ranking.first().map(|winner| (winner.bid, winner.price));
                Some((auction.reservation, winner))
            };
            if stored.as_ref().map(outcome) != Some(outcome(again)) {
                self.not_reproduced.insert(again.call);
            }
        }
        Ok(())
    }

    /// Keeps what one input says of targets and caller, and what it led to.
    fn keep(&mut self, call: CallId, input: &Input, effects: &[Effect], at: (Timestamp, Seq)) {
        self.calls.entry(call).or_default().note_input(input, at);
        for effect in effects {
            match effect {
                Effect::Act(Action::RequestBid(request)) => {
                    self.calls.entry(request.call).or_default().asked.push(request.bid);
                }
                Effect::Act(Action::StartBiddingTimer { after_ms }) => {
                    let bidding = Bidding { began_at: at.0, deadline_ms: *after_ms, closed: None };
                    self.calls.entry(call).or_default().bidding = Some(bidding);
                }
                Effect::Record(Record::Call(now)) => {
                    self.calls.entry(now.id).or_default().note_state(&now.state, at.0);
                }
                _ => {}
            }
        }
    }
}

impl Past {
    fn note_input(&mut self, input: &Input, (at, seq): (Timestamp, Seq)) {
        match input {
            Input::TargetAnswered { .. } => self.did(Did::Answer, at, seq),
            Input::TargetFailed { cause, .. } => self.did(Did::Fail(*cause), at, seq),
            Input::RingTimedOut { .. } => self.did(Did::RingOut, at, seq),
            Input::CallerHungUp => self.ended(TalkEnd::Caller, at, seq),
            Input::TargetHungUp => self.ended(TalkEnd::Target, at, seq),
            Input::PeerLost => self.ended(TalkEnd::PeerLost, at, seq),
            Input::MaxDurationReached { .. } => self.ended(TalkEnd::MaxDuration, at, seq),
            Input::BiddingClosed => {
                if let Some(bidding) = &mut self.bidding {
                    bidding.closed = Some(After { us: at - bidding.began_at, seq, what: () });
                }
            }
            Input::ReservationExpired => {
                self.expired = Some(After { us: at - self.reserved_at, seq, what: () });
            }
            // These come from outside whatever the rules are: the journal itself says when.
            Input::Arrived(_)
            | Input::Pinged(_)
            | Input::BidAnswered(_)
            | Input::RevenueWindowClosed
            | Input::ShutDown
            | Input::Resumed
            | Input::Recovered { .. } => {}
        }
    }

    fn did(&mut self, what: Did, at: Timestamp, seq: Seq) {
        if let Some(rung) = self.rung.last_mut() {
            rung.did = Some(After { us: at - rung.started_at, seq, what });
            rung.answered_at = at;
        }
    }

    fn ended(&mut self, what: TalkEnd, at: Timestamp, seq: Seq) {
        match self.rung.last_mut() {
            Some(rung) if rung.has_answered() => {
                rung.talked = Some(After { us: at - rung.answered_at, seq, what });
            }
            _ => self.given_up = Some((at, seq)),
        }
    }

    fn note_state(&mut self, state: &CallState, at: Timestamp) {
        match state {
            CallState::Ringing { attempt: Attempt { bid, .. }, .. } => {
                let (did, talked) = (None, None);
                self.rung.push(Rung { bid: *bid, started_at: at, answered_at: at, did, talked });
            }
            CallState::Reserved { .. } => self.reserved_at = at,
            _ => {}
        }
    }
}
