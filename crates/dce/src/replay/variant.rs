//! The other course of events: the same arrivals and commands under other rules, with targets and callers doing what they
//! once did.
//!
//! What cannot be known is held constant. A bid that was rung for this call does again what it did then. A bid that was
//! not rung does what the bid did that was connected last; if none was, it fails as the last one failed. Where nobody was
//! rung there is nothing to go by: the caller hangs up at once, and the call is counted as one of an unknown end.

use super::Source;
use super::past::{After, Bidding, Did, History, Past, Rung, Seq, TalkEnd};
use super::side::Side;
use crate::failure::Failure;
use exchange::bid::live::{LiveAnswer, LiveSaid, NoLiveBid};
use exchange::book::Book;
use exchange::call::{Attempt, CallState};
use exchange::call_flow;
use exchange::effect::{Action, Effect, Input, JournalInput, Record};
use exchange::id::CallId;
use exchange::time::Timestamp;
use exchange::trading_rules::RuleOverride;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// What is put in for something that is not in the journal comes after all that is, at the same moment.
const LAST: Seq = Seq::MAX;

/// How much of the variant's course is assumption.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Assumed {
    /// Times a target was rung.
    pub(super) rings: u64,
    /// Of those, targets that were not rung for this call in the past.
    pub(super) not_rung_before: u64,
    /// Calls that rang a target though in the past they rang none: how they would have ended is not known.
    pub(super) unknown_ends: u64,
    /// Commands that were accepted in the past and are refused here, such as a credit limit below what is owed now.
    pub(super) commands_refused: u64,
}

/// The world under other rules.
pub(super) struct Variant<'a> {
    pub(super) book: &'a mut Book,
    pub(super) side: &'a mut Side,
    pub(super) history: &'a History,
    pub(super) rules: RuleOverride,
    pub(super) assumed: Assumed,
    /// What is to come, by its moment, its place in the journal, and the order it was put in.
    agenda: BTreeMap<(Timestamp, Seq, u64), (CallId, Input)>,
    put_in: u64,
    /// What the target that rings, or talks, does in the end.
    talks: HashMap<CallId, Talk>,
}

#[derive(Debug, Clone, Copy)]
struct Talk {
    end: Option<After<TalkEnd>>,
    /// Whether it is this target's own past.
    is_own: bool,
    /// Whether it has answered.
    is_connected: bool,
}

impl<'a> Variant<'a> {
    pub(super) fn new(
        book: &'a mut Book,
        side: &'a mut Side,
        history: &'a History,
        rules: RuleOverride,
    ) -> Self {
        let (agenda, talks) = (BTreeMap::new(), HashMap::new());
        Self { book, side, history, rules, assumed: Assumed::default(), agenda, put_in: 0, talks }
    }

    /// Runs the whole journal, and then whatever is still to come.
    pub(super) fn run(mut self, source: &Source<'_>) -> Result<Assumed, Failure> {
        source.each_entry(&mut |seq, entry| {
            let Some(entry) = entry else { return Ok(()) };
            self.catch_up((entry.at, seq));
            match entry.entry {
                JournalInput::Command(command) => {
                    self.set_rules(entry.at);
                    match self.book.apply(command, entry.at) {
                        Ok(effects) => self.side.note(&effects),
                        Err(_) => self.assumed.commands_refused += 1,
                    }
                }
                JournalInput::Call { call, input } if self.comes_from_outside(call, &input, seq) => {
                    self.step(call, input, (entry.at, seq));
                }
                // What targets and timers did comes from the agenda.
                JournalInput::Call { .. } => {}
            }
            Ok(())
        })?;
        self.catch_up((Timestamp(i64::MAX), LAST));
        Ok(self.assumed)
    }

    /// Everything that comes before a place in the journal.
    fn catch_up(&mut self, (at, seq): (Timestamp, Seq)) {
        while let Some(next) = self.agenda.first_entry() {
            let (due, place, _) = *next.key();
            if (due, place) >= (at, seq) {
                return;
            }
            let (call, input) = next.remove();
            self.step(call, input, (due, place));
        }
    }

    /// Whether an input of the past is one that does not hang on what the exchange did.
    fn comes_from_outside(&self, call: CallId, input: &Input, seq: Seq) -> bool {
        match input {
            Input::Arrived(_)
            | Input::Pinged(_)
            | Input::BidAnswered(_)
            | Input::RevenueWindowClosed
            | Input::ShutDown
            | Input::Resumed
            | Input::Recovered { .. } => true,
            // A caller who once gave up waiting gives up again, unless this time a target is on the line.
            Input::CallerHungUp | Input::PeerLost => {
                let gave_up = self.history.calls.get(&call).and_then(|past| past.given_up);
                let is_connected = self.talks.get(&call).is_some_and(|talk| talk.is_connected);
                gave_up.is_some_and(|(_, place)| place == seq) && !is_connected
            }
            _ => false,
        }
    }

    fn set_rules(&mut self, now: Timestamp) {
        let rules = self.side.window.contains(now).then(|| self.rules.clone());
        self.book.override_rules(rules);
    }

    fn step(&mut self, call: CallId, input: Input, at: (Timestamp, Seq)) {
        self.set_rules(at.0);
        // An input that this course of events has no place for changes nothing.
        let effects = call_flow::step(self.book, call, input, at.0).unwrap_or_default();
        self.side.note(&effects);
        self.look_ahead(call, &effects, at);
    }

    /// Puts on the agenda what will come of what was just decided.
    fn look_ahead(&mut self, call: CallId, effects: &[Effect], (now, seq): (Timestamp, Seq)) {
        let history = self.history;
        let past = history.calls.get(&call);
        let mut ring_timeout_ms = 0;
        for effect in effects {
            match effect {
                Effect::Act(Action::RequestBid(request))
                    if !past.is_some_and(|past| past.asked.contains(&request.bid)) =>
                {
                    let said = LiveSaid::Nothing { reason: NoLiveBid::NotConnected };
                    let nothing = Input::BidAnswered(LiveAnswer { bid: request.bid, said });
                    self.put(now, seq, call, nothing);
                }
                Effect::Act(Action::StartBiddingTimer { after_ms }) => {
                    let bidding = past.and_then(|past| past.bidding.as_ref());
                    let (at, place) = bidding_closes(bidding, *after_ms, now);
                    self.put(at, place, call, Input::BiddingClosed);
                }
                Effect::Act(Action::StartReservationTimer { after_ms }) => {
                    let expired = past.and_then(|past| past.expired);
                    let (at, place) =
                        expired.map_or((now.plus_ms(*after_ms), LAST), |after| moment(now, after));
                    self.put(at, place, call, Input::ReservationExpired);
                }
                Effect::Act(Action::StartRingTimer { after_ms, .. }) => ring_timeout_ms = *after_ms,
                Effect::Record(Record::Call(changed)) if changed.id == call => match &changed.state {
                    CallState::Ringing { attempt, .. } => {
                        self.ring(call, attempt, ring_timeout_ms, past, (now, seq));
                    }
                    CallState::Connected { attempt, .. } => self.talk(call, attempt, now),
                    CallState::Ended { .. } => {
                        self.talks.remove(&call);
                    }
                    _ => {}
                },
                _ => {}
            }
        }
    }

    /// A target rings: what will it do?
    fn ring(
        &mut self,
        call: CallId,
        attempt: &Attempt,
        ring_timeout_ms: u64,
        past: Option<&Past>,
        (now, seq): (Timestamp, Seq),
    ) {
        let number = attempt.number;
        self.assumed.rings += 1;
        let own = past.and_then(|past| past.rung.iter().find(|rung| rung.bid == attempt.bid));
        let Some(like) = own.or_else(|| past.and_then(stand_in)) else {
            self.assumed.not_rung_before += 1;
            let given_up = past.and_then(|past| past.given_up);
            self.assumed.unknown_ends += u64::from(given_up.is_none());
            // It rings until the caller gives up, as it did then; or no longer at all.
            let (at, place) = given_up.map_or((now, seq), |(at, place)| (at.max(now), place));
            self.put(at, place, call, Input::CallerHungUp);
            return;
        };
        let is_own = own.is_some();
        self.assumed.not_rung_before += u64::from(!is_own);
        self.talks.insert(call, Talk { end: like.talked, is_own, is_connected: false });
        let rings_out = (now.plus_ms(ring_timeout_ms), LAST);
        match like.did {
            Some(after) if is_own || moment(now, after).0 <= rings_out.0 => {
                let (at, place) = moment(now, after);
                let input = match after.what {
                    Did::Answer => Input::TargetAnswered { attempt: number },
                    Did::Fail(cause) => Input::TargetFailed { attempt: number, cause },
                    Did::RingOut => Input::RingTimedOut { attempt: number },
                };
                self.put(at, place, call, input);
            }
            did => {
                let gave_up = past.and_then(|past| past.given_up).filter(|(at, _)| *at <= now);
                if did.is_none() && gave_up.is_some() {
                    // The caller's patience ended while another target was on the line.
                    self.put(now, seq, call, Input::CallerHungUp);
                } else if !is_own {
                    self.put(rings_out.0, rings_out.1, call, Input::RingTimedOut { attempt: number });
                }
            }
        }
    }

    /// A target answered: when, and by whom, does the talk end?
    fn talk(&mut self, call: CallId, attempt: &Attempt, now: Timestamp) {
        let Some(talk) = self.talks.get_mut(&call) else { return };
        talk.is_connected = true;
        // A talk that the exchange itself ended is ended by the journal.
        let Talk { end: Some(after), is_own, .. } = *talk else { return };
        let (at, place) = moment(now, after);
        let longest = now.plus_ms(u64::from(attempt.max_call_s) * 1_000);
        let number = attempt.number;
        if !is_own && at > longest {
            self.put(longest, LAST, call, Input::MaxDurationReached { attempt: number });
            return;
        }
        let input = match after.what {
            TalkEnd::Caller => Input::CallerHungUp,
            TalkEnd::Target => Input::TargetHungUp,
            TalkEnd::PeerLost => Input::PeerLost,
            TalkEnd::MaxDuration => Input::MaxDurationReached { attempt: number },
        };
        self.put(at, place, call, input);
    }

    fn put(&mut self, at: Timestamp, seq: Seq, call: CallId, input: Input) {
        self.put_in += 1;
        self.agenda.insert((at, seq, self.put_in), (call, input));
    }
}

/// Whose behaviour stands in for a bid that was not rung: that of the last bid that was connected, else of the last rung.
fn stand_in(past: &Past) -> Option<&Rung> {
    past.rung.iter().rev().find(|rung| rung.has_answered()).or_else(|| past.rung.last())
}

fn moment<T>(from: Timestamp, after: After<T>) -> (Timestamp, Seq) {
    (Timestamp(from.0.saturating_add(after.us)), after.seq)
}

/// When the time for live bids is over: as it was if it was as long, else after so long.
fn bidding_closes(past: Option<&Bidding>, after_ms: u64, now: Timestamp) -> (Timestamp, Seq) {
    let as_it_was = past.filter(|bidding| bidding.deadline_ms == after_ms).and_then(|bidding| bidding.closed);
    as_it_was.map_or((now.plus_ms(after_ms), LAST), |after| moment(now, after))
}
