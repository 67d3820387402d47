//! Ringing the targets of the route plan, one after another.

use super::effects::Effects;
use super::ending::{end, give_up, release};
use super::keep;
use crate::auction::matching::standing_refusal;
use crate::book::Book;
use crate::call::{Attempt, Call, CallState, FailedAttempt, FailureCause, Outcome, Planned};
use crate::effect::{Action, EndReason, Input, Record};
use crate::event::{Event, Fact, Subject};
use crate::id::BidProfileId;
use crate::ledger::settle;
use crate::time::Timestamp;
use crate::track_record::TrackRecord;

/// A call whose target is being rung.
pub(super) struct Ringing {
    pub(super) attempt: Attempt,
    pub(super) fallbacks: Vec<Planned>,
    pub(super) recoveries: u8,
}

pub(super) fn while_ringing(book: &mut Book, call: Call, ringing: Ringing, input: Input, out: &mut Effects) {
    let Ringing { attempt, fallbacks, recoveries } = ringing;
    match input {
        Input::TargetAnswered { attempt: number } if number == attempt.number => {
            connect(book, call, attempt, fallbacks, recoveries, out);
        }
        Input::TargetFailed { attempt: number, cause } if number == attempt.number => {
            fall_back(book, call, &attempt, fallbacks, recoveries, cause, out);
        }
        Input::RingTimedOut { attempt: number } if number == attempt.number => {
            out.act(Action::CancelTarget { attempt: number });
            fall_back(book, call, &attempt, fallbacks, recoveries, FailureCause::RingTimeout, out);
        }
        Input::CallerHungUp | Input::PeerLost => {
            give_up(book, call, &attempt, Outcome::Abandoned, Some(EndReason::Abandoned), out);
        }
        Input::ShutDown | Input::Recovered { .. } => {
            give_up(book, call, &attempt, Outcome::Interrupted, Some(EndReason::Stopping), out);
        }
        Input::Resumed => {
            ring_again(book, &call, &attempt, out);
            keep(book, call, CallState::Ringing { attempt, fallbacks, recoveries });
        }
        _ => keep(book, call, CallState::Ringing { attempt, fallbacks, recoveries }),
    }
}

/// Rings the first target of the plan that can still take the call, holding its money and capacity; ends the call when
/// there is none.
pub(super) fn ring_next(
    book: &mut Book,
    mut call: Call,
    mut number: u8,
    plan: Vec<Planned>,
    recoveries: u8,
    out: &mut Effects,
) {
    let mut plan = plan.into_iter();
    while let Some(planned) = plan.next() {
        let bid = planned.bid;
        let Some(attempt) = take(book, &call, &planned, number, out) else {
            let buyer = book.bids.get(bid).map(|standing| standing.profile.buyer);
            call.failed_attempts.extend(buyer.map(|buyer| FailedAttempt {
                number,
                bid,
                buyer,
                cause: FailureCause::NoLongerEligible,
                failed_at: out.now,
            }));
            number += 1;
            continue;
        };
        let standing = book.bids.get(bid).expect("a bid just taken is in the index");
        let profile = &standing.profile;
        let after_ms = ring_timeout_ms(book, bid);
        let destination = planned.destination.unwrap_or_else(|| profile.destination.clone());
        let caller = call.caller.clone();
        out.tell(Fact::CallRouted {
            attempt: number,
            bid,
            buyer: attempt.buyer,
            hold_micros: attempt.hold_micros,
        });
        out.act(Action::RingTarget { attempt: number, destination, caller });
        out.act(Action::StartRingTimer { attempt: number, after_ms });
        call.state = CallState::Ringing { attempt, fallbacks: plan.collect(), recoveries };
        out.write(Record::Call(Box::new(call.clone())));
        book.calls.insert(call.id, call);
        return;
    }
    let last = call.failed_attempts.last().map_or(FailureCause::NoLongerEligible, |failed| failed.cause);
    end(call, Outcome::Unanswered, out);
    out.act(Action::EndCall { reason: EndReason::Unanswered { last } });
}

/// Takes a bid's money and capacity for one attempt: all or nothing.
pub(super) fn take(
    book: &mut Book,
    call: &Call,
    planned: &Planned,
    number: u8,
    out: &mut Effects,
) -> Option<Attempt> {
    let slot = book.bids.slot(planned.bid)?;
    let standing = book.bids.at(slot);
    let deals = book.deals(call);
    let facts = book.facts(call, &deals)?;
    let clocks = book.bids.clocks(out.now);
    let hold_micros = planned.price.most(standing.max_call_s);
    let market = book.market(out.now);
    if standing.profile.criteria.refusal(&facts).is_some()
        || standing_refusal(slot, standing, hold_micros, &facts, &market, &clocks).is_some()
    {
        return None;
    }
    let local = clocks.read(standing.zone);
    let counted = book.usages.take(slot, &standing.profile, &local, hold_micros, out.now);
    book.usages.change_record(slot, |record| record.rang(out.now));
    let attempt = Attempt {
        number,
        bid: planned.bid,
        buyer: standing.profile.buyer,
        price: planned.price,
        conversion: planned.conversion,
        max_call_s: standing.max_call_s,
        hold_micros,
        counted,
        started_at: out.now,
    };
    out.usage(book, slot, &attempt);
    out.book(book, settle::hold(call, &attempt, out.now));
    Some(attempt)
}

/// The target answered: connect the caller, start the meter.
pub(super) fn connect(
    book: &mut Book,
    mut call: Call,
    attempt: Attempt,
    fallbacks: Vec<Planned>,
    recoveries: u8,
    out: &mut Effects,
) {
    if let Some(slot) = book.bids.slot(attempt.bid) {
        book.usages.change_record(slot, TrackRecord::answered);
        out.usage(book, slot, &attempt);
    }
    let number = attempt.number;
    out.tell(Fact::CallBridged { attempt: number, bid: attempt.bid, buyer: attempt.buyer });
    out.act(Action::ConnectCaller { attempt: number });
    start_duration_timer(&attempt, out.now, out);
    call.state = CallState::Connected { attempt, answered_at: out.now, fallbacks, recoveries };
    out.write(Record::Call(Box::new(call.clone())));
    book.calls.insert(call.id, call);
}

/// Says again which target is to ring: a node that heard it before does nothing. Where a live bidder's answer goes is not kept: that
/// target, if it does not ring yet, fails when its time is over.
fn ring_again(book: &Book, call: &Call, attempt: &Attempt, out: &mut Effects) {
    let standing = book.bids.get(attempt.bid).map(|standing| &standing.profile);
    if let Some(profile) = standing.filter(|profile| profile.live.is_none()) {
        let destination = profile.destination.clone();
        out.act(Action::RingTarget { attempt: attempt.number, destination, caller: call.caller.clone() });
    }
    let after_ms = ring_timeout_ms(book, attempt.bid);
    out.act(Action::StartRingTimer { attempt: attempt.number, after_ms });
}

/// The longest the call may go on, from when it was answered.
pub(super) fn start_duration_timer(attempt: &Attempt, answered_at: Timestamp, out: &mut Effects) {
    let gone_ms = out.now.ms_since(answered_at);
    let after_ms = (u64::from(attempt.max_call_s) * 1_000).saturating_sub(gone_ms);
    out.act(Action::StartDurationTimer { attempt: attempt.number, after_ms });
}

/// How long this bid's target may ring.
fn ring_timeout_ms(book: &Book, bid: BidProfileId) -> u64 {
    let own = book.bids.get(bid).and_then(|standing| standing.profile.ring_timeout_ms);
    own.unwrap_or(book.policy.ring_timeout_ms)
}

/// The target will not take the call: release it, ring the next.
fn fall_back(
    book: &mut Book,
    call: Call,
    attempt: &Attempt,
    fallbacks: Vec<Planned>,
    recoveries: u8,
    cause: FailureCause,
    out: &mut Effects,
) {
    note_failure(book, &call, attempt, cause, out);
    release(book, &call, attempt, out);
    ring_after(book, call, attempt, fallbacks, recoveries, cause, out);
}

/// An attempt failed and holds nothing any more: tells so, and rings the next.
pub(super) fn ring_after(
    book: &mut Book,
    mut call: Call,
    attempt: &Attempt,
    fallbacks: Vec<Planned>,
    recoveries: u8,
    cause: FailureCause,
    out: &mut Effects,
) {
    out.tell(Fact::CallAttemptFailed { attempt: attempt.number, bid: attempt.bid, failure: cause });
    call.failed_attempts.push(FailedAttempt {
        number: attempt.number,
        bid: attempt.bid,
        buyer: attempt.buyer,
        cause,
        failed_at: out.now,
    });
    ring_next(book, call, attempt.number + 1, fallbacks, recoveries, out);
}

/// Puts a failure on the bid's record; a target that lets calls ring out is given a rest.
fn note_failure(book: &mut Book, call: &Call, attempt: &Attempt, cause: FailureCause, out: &mut Effects) {
    let protection = book.rules(call).protection;
    let Some(slot) = book.bids.slot(attempt.bid) else { return };
    let rings_out = matches!(cause, FailureCause::RingTimeout | FailureCause::Unreachable);
    let rests_until = book.usages.change_record(slot, |record| {
        if !rings_out {
            record.declined();
            return None;
        }
        record.unanswered(out.now, &protection).then_some(record.rests_until).flatten()
    });
    if let Some(until) = rests_until {
        let event =
            Event { subject: Subject::BidProfile(attempt.bid), at: out.now, fact: Fact::BidRested { until } };
        out.write(Record::Event(event));
    }
}
