//! How calls end: given up, moved on, or settled.

use super::effects::Effects;
use super::revenue::await_revenue;
use super::ringing::ring_after;
use crate::book::Book;
use crate::call::{Attempt, Call, CallState, EndedBy, FailureCause, Outcome, Planned, SharedRevenue};
use crate::effect::{Action, Effect, EndReason, Record};
use crate::event::Fact;
use crate::ledger::money::Micros;
use crate::ledger::settle;
use crate::ping::PingRejection;
use crate::recent_calls::RecentCall;
use crate::time::Timestamp;
use crate::track_record::{Ending, TrackRecord};

/// Whether a target hung up so early that the next in the plan is rung.
pub(super) fn is_early(
    book: &Book,
    call: &Call,
    attempt: &Attempt,
    connected_ms: u64,
    recoveries: u8,
) -> bool {
    let recovery = book.rules(call).recovery;
    recoveries < recovery.attempts_max
        && connected_ms < u64::from(recovery.early_s) * 1_000
        && !attempt.conversion.is_met(connected_ms)
}

/// Revenue recovery: the target's early hang-up is a failure like any other, but the caller is on the line already.
pub(super) fn recover(
    book: &mut Book,
    call: Call,
    attempt: &Attempt,
    connected_ms: u64,
    fallbacks: Vec<Planned>,
    recoveries: u8,
    out: &mut Effects,
) {
    note_end(book, &call, attempt, connected_ms, false, EndedBy::Target, out);
    finish(book, attempt, None, out);
    out.book(book, settle::release(&call, attempt, out.now));
    let cause = FailureCause::HungUpEarly { connected_ms };
    ring_after(book, call, attempt, fallbacks, recoveries, cause, out);
}

/// A call that nobody is rung for ends; a ping is answered, and has no legs to end.
pub(super) fn turn_away(
    call: Call,
    outcome: Outcome,
    rejection: PingRejection,
    reason: EndReason,
    out: &mut Effects,
) {
    let is_ping = call.is_ping;
    out.refuse(&call, rejection);
    end(call, outcome, out);
    if !is_ping {
        out.act(Action::EndCall { reason });
    }
}

/// The call, or its reservation, ends before anybody answered: nobody pays.
pub(super) fn give_up(
    book: &mut Book,
    call: Call,
    attempt: &Attempt,
    outcome: Outcome,
    reason: Option<EndReason>,
    out: &mut Effects,
) {
    book.forget_ping(&call);
    if let Some(slot) = book.bids.slot(attempt.bid) {
        book.usages.change_record(slot, TrackRecord::abandoned);
    }
    release(book, &call, attempt, out);
    end(call, outcome, out);
    out.decided.extend(reason.map(|reason| Effect::Act(Action::EndCall { reason })));
}

/// A connected call ends: settle it, once.
pub(super) fn hang_up(
    book: &mut Book,
    call: Call,
    attempt: Attempt,
    connected_ms: u64,
    ended_by: EndedBy,
    out: &mut Effects,
) {
    let duplicate = duplicate(book, &call, &attempt, out.now);
    let settlement = settle::settle(&call, &attempt, connected_ms, duplicate);
    let revenue = settlement
        .and_then(|settlement| settle::shared_revenue(&call, &attempt, settlement, duplicate, out.now));
    let kept = revenue.as_ref().map_or(Micros::ZERO, SharedRevenue::held_micros);
    note_end(book, &call, &attempt, connected_ms, settlement.is_some(), ended_by, out);
    finish(book, &attempt, settlement.map(|settlement| Micros(settlement.charge.0 + kept.0)), out);
    let outcome = match settlement {
        None => {
            out.book(book, settle::release(&call, &attempt, out.now));
            let is_duplicate =
                duplicate == settle::Duplicate::Charge && attempt.conversion.is_met(connected_ms);
            Outcome::NotConverted { attempt, connected_ms, ended_by, is_duplicate }
        }
        Some(settlement) => {
            out.book(book, settle::capture(&call, &attempt, settlement, kept, out.now));
            out.tell(Fact::CallConverted {
                bid: attempt.bid,
                buyer: attempt.buyer,
                seller: call.seller,
                charge_micros: settlement.charge,
                payout_micros: settlement.payout,
                margin_micros: settlement.margin,
            });
            Outcome::Converted {
                attempt,
                connected_ms,
                ended_by,
                charge_micros: settlement.charge,
                payout_micros: settlement.payout,
                margin_micros: settlement.margin,
                revenue,
            }
        }
    };
    let ended = end(call, outcome, out);
    book.recent_calls.note_if(RecentCall::of(&ended));
    out.act(Action::EndCall { reason: EndReason::Over { by: ended_by } });
    await_revenue(book, ended, out);
}

/// What the trading rules know of this caller, this buyer and this seller.
fn duplicate(book: &Book, call: &Call, attempt: &Attempt, now: Timestamp) -> settle::Duplicate {
    let windows = book.rules(call).duplicates;
    let Some(caller) = call.caller.number() else { return settle::Duplicate::No };
    let charged = book.recent_calls.latest(caller, windows.charge_window_s, now, |recent| {
        recent.is_charged && recent.buyer == attempt.buyer
    });
    let paid = book.recent_calls.latest(caller, windows.payout_window_s, now, |recent| {
        recent.is_paid && recent.seller == call.seller
    });
    match (charged, paid) {
        (Some(_), _) => settle::Duplicate::Charge,
        (None, Some(_)) => settle::Duplicate::Payout,
        (None, None) => settle::Duplicate::No,
    }
}

/// Puts the end of a connected call on the records of its bid and its seller.
fn note_end(
    book: &mut Book,
    call: &Call,
    attempt: &Attempt,
    connected_ms: u64,
    converted: bool,
    ended_by: EndedBy,
    out: &mut Effects,
) {
    let min_connected_s = attempt.conversion.min_connected_s;
    let ending = Ending { connected_ms, min_connected_s, converted, by_target: ended_by == EndedBy::Target };
    if let Some(slot) = book.bids.slot(attempt.bid) {
        book.usages.change_record(slot, |record| record.ended(&ending));
    }
    let record = book.seller_records.entry(call.seller).or_default();
    record.ended(&ending);
    out.write(Record::SellerRecord(call.seller, record.clone()));
}

/// Ends the use of a connected target: its money becomes what was charged, or is still held.
fn finish(book: &mut Book, attempt: &Attempt, charge: Option<Micros>, out: &mut Effects) {
    if let Some(slot) = book.bids.slot(attempt.bid) {
        book.usages.finish(slot, &attempt.counted, attempt.hold_micros, charge);
        out.usage(book, slot, attempt);
    }
}

pub(super) fn release(book: &mut Book, call: &Call, attempt: &Attempt, out: &mut Effects) {
    if let Some(slot) = book.bids.slot(attempt.bid) {
        book.usages.give_back(slot, &attempt.counted, attempt.hold_micros);
        out.usage(book, slot, attempt);
    }
    out.book(book, settle::release(call, attempt, out.now));
}

pub(super) fn end(mut call: Call, outcome: Outcome, out: &mut Effects) -> Call {
    let (buyer, connected_ms, ended_by) = match &outcome {
        Outcome::NotConverted { attempt, connected_ms, ended_by, .. }
        | Outcome::Converted { attempt, connected_ms, ended_by, .. } => {
            (Some(attempt.buyer), Some(*connected_ms), Some(*ended_by))
        }
        _ => (None, None, None),
    };
    let is_duplicate = matches!(outcome, Outcome::NotConverted { is_duplicate: true, .. });
    out.tell(Fact::CallEnded { outcome: outcome.name(), buyer, connected_ms, ended_by, is_duplicate });
    call.state = CallState::Ended { outcome, ended_at: out.now };
    out.write(Record::Call(Box::new(call.clone())));
    call
}
