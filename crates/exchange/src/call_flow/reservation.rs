//! Pings: what they win is held until the call comes, or until it expires.

use super::bidding::{auction, tell_start};
use super::decision::decide;
use super::effects::Effects;
use super::ending::{give_up, turn_away};
use super::ringing::take;
use super::{keep, screen};
use crate::auction::matching::Refusal;
use crate::book::Book;
use crate::call::{Attempt, Call, CallState, Outcome, Planned};
use crate::compliance::verdict::Check;
use crate::effect::{Action, Effect, EndReason, Input, Record};
use crate::event::Fact;
use crate::id::CallId;
use crate::ping::{PingAnswer, PingRejection, PingRequest, Reservation};
use crate::time::Timestamp;

/// A seller asks what a call would bring. The same question again is answered with what it won the first time; while live bidders
/// are still being asked, nothing is known yet.
pub(super) fn ping(book: &mut Book, id: CallId, request: PingRequest, now: Timestamp) -> Vec<Effect> {
    let PingRequest { arrival, expires_in_ms } = request;
    let mut out = Effects::of(id, now);
    let Some(number) = book.tracking_numbers.get(&arrival.called).filter(|number| number.active) else {
        out.answer(PingAnswer::Rejected(PingRejection::UnknownNumber));
        return out.decided;
    };
    let call = Call { is_ping: true, ..Call::received(id, arrival, number, now) };
    if call.caller.number().is_none() {
        out.answer(PingAnswer::Rejected(PingRejection::CallerMissing));
        return out.decided;
    }
    if let Some(reserved) = book.reservation(&call, now) {
        let first = reservation(book, reserved, true);
        out.decided.extend(first.map(|first| Effect::Act(Action::AnswerPing(Box::new(first)))));
        return out.decided;
    }
    if book.is_being_decided(&call) {
        out.answer(PingAnswer::Rejected(PingRejection::BeingDecided));
        return out.decided;
    }
    let Some((call, screening)) = screen(book, call, &mut out) else { return out.decided };
    let reserve_ms = expires_in_ms.unwrap_or(book.policy.reservation_ms).min(book.policy.reservation_ms_max);
    let asked = call.clone();
    auction(book, call, screening, Some(reserve_ms), &mut out);
    if book.calls.contains_key(&id) {
        book.note_ping(&asked);
    }
    out.decided
}

/// Holds what the ping won until the call comes.
pub(super) fn reserve(book: &mut Book, call: Call, plan: Vec<Planned>, reserve_ms: u64, out: &mut Effects) {
    let taken = plan.into_iter().find_map(|planned| {
        let attempt = take(book, &call, &planned, 1, out)?;
        Some((attempt, planned))
    });
    let Some((attempt, planned)) = taken else {
        let rejection = PingRejection::NoMatch { closest: Refusal::InsufficientFunds };
        turn_away(call, Outcome::NoBidder, rejection, EndReason::NoBidder, out);
        return;
    };
    let expires_at = out.now.plus_ms(reserve_ms);
    out.tell(Fact::PingReserved {
        bid: attempt.bid,
        buyer: attempt.buyer,
        hold_micros: attempt.hold_micros,
        expires_at,
    });
    out.act(Action::StartReservationTimer { after_ms: reserve_ms });
    let call = Call { state: CallState::Reserved { attempt, planned, expires_at }, ..call };
    let answer = reservation(book, &call, false);
    out.decided.extend(answer.map(|answer| Effect::Act(Action::AnswerPing(Box::new(answer)))));
    out.write(Record::Call(Box::new(call.clone())));
    book.calls.insert(call.id, call);
}

/// A ping that won, until its call comes.
pub(super) struct Reserved {
    pub(super) attempt: Attempt,
    pub(super) planned: Planned,
    pub(super) expires_at: Timestamp,
}

/// The seller was promised the reservation until it expires: a shutdown or a crash before that leaves it as it is.
pub(super) fn while_reserved(
    book: &mut Book,
    call: Call,
    reserved: Reserved,
    input: Input,
    out: &mut Effects,
) {
    let Reserved { attempt, planned, expires_at } = reserved;
    let remaining_us = expires_at - out.now;
    match input {
        Input::ReservationExpired => {
            give_up(book, call, &attempt, Outcome::Expired, None, out);
            return;
        }
        Input::ShutDown | Input::Recovered { .. } if remaining_us <= 0 => {
            give_up(book, call, &attempt, Outcome::Expired, None, out);
            return;
        }
        Input::Recovered { .. } => {
            // The timer went with the process. Rounded up: not a moment before the promise ends.
            let after_ms = u64::try_from(remaining_us).unwrap_or(0).div_ceil(1_000);
            out.act(Action::StartReservationTimer { after_ms });
        }
        _ => {}
    }
    keep(book, call, CallState::Reserved { attempt, planned, expires_at });
}

/// What the seller is told of a reservation.
pub(super) fn reservation(book: &Book, reserved: &Call, is_repeat: bool) -> Option<PingAnswer> {
    let CallState::Reserved { attempt, expires_at, .. } = &reserved.state else { return None };
    Some(PingAnswer::Reserved(Reservation {
        id: reserved.id,
        payout_micros: attempt
            .price
            .expected(book.policy.typical_call_ms())
            .share(reserved.payout_basis_points),
        currency: book.accounts.get(&reserved.seller)?.currency,
        conversion: attempt.conversion,
        number: reserved.called,
        expires_at: *expires_at,
        is_repeat,
    }))
}

/// The call that a ping announced has come: what was reserved goes first. Its hold is given back and taken again for the call, in
/// this one step.
pub(super) fn redeem(
    book: &mut Book,
    call: Call,
    screening: Vec<Check>,
    reserved: CallId,
    out: &mut Effects,
) {
    let reserved_call = book.calls.remove(&reserved).expect("a reservation is an open call");
    let CallState::Reserved { attempt, planned, .. } = reserved_call.state.clone() else {
        unreachable!("found as a reservation")
    };
    let mut of_ping = Effects::of(reserved, out.now);
    give_up(book, reserved_call, &attempt, Outcome::Redeemed { by: call.id }, None, &mut of_ping);
    out.decided.append(&mut of_ping.decided);
    let deals = book.deals(&call);
    tell_start(book, &call, book.facts(&call, &deals).as_ref(), 0, out);
    decide(book, call, screening, &[], None, Some((reserved, planned)), out);
}
