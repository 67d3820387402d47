//! The way of a call through the exchange, on one page:
//!
//! ```text
//! arrive ─► screen ─► ask live bidders ─► auction ─► ring (hold money + capacity) ─► connect ─► hang up ─► settle
//!             │        (only if any)         │            │  ▲ failed: release,         │ early: release,
//!             ▼                              ▼            ▼  │ next in the plan ─────────┘ next in the plan
//!        screened out                    no bidder   unanswered / abandoned
//! ```
//!
//! A ping goes the same way as far as the auction; what it wins is reserved until the call comes ([`reserve`]).
//!
//! [`step`] is the only way in. It changes the book and returns what must be written and done; it does nothing itself.

use crate::auction::contest::{Contest, hold};
use crate::auction::matching::{CallFacts, Refusal, standing_refusal};
use crate::auction::receipt::{AuctionReceipt, Receipt, Versions};
use crate::bid::live::{BidNotice, BidRequest, LiveAnswer, LiveSaid, NoLiveBid};
use crate::book::Book;
use crate::call::{
    Arrival, Attempt, Call, CallState, EndedBy, FailedAttempt, FailureCause, Outcome, Planned,
};
use crate::compliance::verdict::Check;
use crate::effect::{Action, Effect, EndReason, Input, Record};
use crate::event::{Event, Fact, Subject};
use crate::fraud::score;
use crate::id::{BidProfileId, CallId};
use crate::ledger::money::Micros;
use crate::ledger::settle;
use crate::ledger::transfer::Transfer;
use crate::ping::{PingAnswer, PingRejection, PingRequest, Reservation};
use crate::recent_calls::RecentCall;
use crate::time::Timestamp;
use crate::track_record::Ending;

/// At most this many live bidders are asked about one call.
pub const LIVE_BIDDERS_MAX: usize = 64;

/// An input that no call can have at this point: a defect of the shell, not of the outside world.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IllegalInput {
    /// The call exists already.
    #[error("call {0} arrived twice")]
    ArrivedTwice(CallId),
    /// The target answered or failed on an attempt that was never made.
    #[error("call {call} has no attempt {attempt}")]
    NoSuchAttempt {
        /// The call.
        call: CallId,
        /// The attempt named.
        attempt: u8,
    },
}

/// One call, one input: what becomes of it. Inputs to a call that has ended, or that come too late, change nothing and
/// ask for nothing.
pub fn step(book: &mut Book, id: CallId, input: Input, now: Timestamp) -> Result<Vec<Effect>, IllegalInput> {
    let Some(call) = book.calls.remove(&id) else {
        return Ok(match input {
            Input::Arrived(arrival) => arrive(book, id, arrival, now),
            Input::Pinged(request) => ping(book, id, request, now),
            _ => Vec::new(),
        });
    };
    match illegal(&call, &input) {
        Some(error) => {
            book.calls.insert(id, call);
            Err(error)
        }
        None => Ok(go_on(book, call, input, now)),
    }
}

fn illegal(call: &Call, input: &Input) -> Option<IllegalInput> {
    let made = call.held_attempt().map_or(0, |attempt| attempt.number);
    match *input {
        Input::Arrived(_) | Input::Pinged(_) => Some(IllegalInput::ArrivedTwice(call.id)),
        Input::TargetAnswered { attempt }
        | Input::TargetFailed { attempt, .. }
        | Input::RingTimedOut { attempt }
            if attempt == 0 || attempt > made =>
        {
            Some(IllegalInput::NoSuchAttempt { call: call.id, attempt })
        }
        _ => None,
    }
}

/// An open call and what happened to it.
fn go_on(book: &mut Book, mut call: Call, input: Input, now: Timestamp) -> Vec<Effect> {
    let mut out = Effects::of(call.id, now);
    match std::mem::replace(&mut call.state, CallState::Received) {
        CallState::Bidding { screening, awaited, answers, reserve_ms } => {
            let asking = Asking { screening, awaited, answers, reserve_ms };
            while_bidding(book, call, asking, input, &mut out);
        }
        CallState::Reserved { attempt, planned, expires_at } => match input {
            Input::ReservationExpired => {
                give_up(book, call, &attempt, Outcome::Expired, None, &mut out);
            }
            Input::ShutDown | Input::Recovered { .. } => {
                give_up(book, call, &attempt, Outcome::Interrupted, None, &mut out);
            }
            _ => keep(book, call, CallState::Reserved { attempt, planned, expires_at }),
        },
        CallState::Ringing { attempt, fallbacks, recoveries } => {
            let ringing = Ringing { attempt, fallbacks, recoveries };
            while_ringing(book, call, ringing, input, &mut out);
        }
        CallState::Connected { attempt, answered_at, fallbacks, recoveries } => {
            let (ended_by, ended_at) = match input {
                Input::CallerHungUp => (EndedBy::Caller, now),
                Input::TargetHungUp => (EndedBy::Target, now),
                Input::PeerLost => (EndedBy::PeerLost, now),
                Input::MaxDurationReached { attempt: number } if number == attempt.number => {
                    (EndedBy::MaxDuration, now)
                }
                Input::ShutDown => (EndedBy::Shutdown, now),
                Input::Recovered { last_alive_at } => (EndedBy::Crash, last_alive_at),
                _ => {
                    let state = CallState::Connected { attempt, answered_at, fallbacks, recoveries };
                    keep(book, call, state);
                    return out.decided;
                }
            };
            let connected_ms = ended_at.ms_since(answered_at);
            let can_recover = ended_by == EndedBy::Target && !fallbacks.is_empty();
            if can_recover && is_early(book, &call, &attempt, connected_ms, recoveries) {
                recover(book, call, &attempt, connected_ms, fallbacks, recoveries + 1, &mut out);
            } else {
                hang_up(book, call, attempt, connected_ms, ended_by, &mut out);
            }
        }
        CallState::Received | CallState::Ended { .. } => unreachable!("only open calls stay in the book"),
    }
    out.decided
}

/// A call comes in: screen, then auction, unless a ping has sold it already.
fn arrive(book: &mut Book, id: CallId, arrival: Arrival, now: Timestamp) -> Vec<Effect> {
    let mut out = Effects::of(id, now);
    let Some(number) = book.tracking_numbers.get(&arrival.called).filter(|number| number.active) else {
        out.act(Action::EndCall { reason: EndReason::UnknownNumber });
        return out.decided;
    };
    let call = Call::received(id, arrival, number, now);
    let (call, reserved) = match book.reservation(&call, now) {
        Some(ping) => (call.announced_by(ping), Some(ping.id)),
        None => (call, None),
    };
    let Some((call, screening)) = screen(book, call, &mut out) else { return out.decided };
    match reserved {
        Some(ping) => redeem(book, call, screening, ping, &mut out),
        None => auction(book, call, screening, None, &mut out),
    }
    out.decided
}

/// A seller asks what a call would bring. The same question again is answered with what it won the first time.
fn ping(book: &mut Book, id: CallId, request: PingRequest, now: Timestamp) -> Vec<Effect> {
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
    let Some((call, screening)) = screen(book, call, &mut out) else { return out.decided };
    let reserve_ms = expires_in_ms.unwrap_or(book.policy.reservation_ms).min(book.policy.reservation_ms_max);
    auction(book, call, screening, Some(reserve_ms), &mut out);
    out.decided
}

/// Asks every rule; the call comes back with their answers if it may go on.
fn screen(book: &mut Book, call: Call, out: &mut Effects) -> Option<(Call, Vec<Check>)> {
    out.tell(Fact::CallReceived {
        called: call.called,
        seller: call.seller,
        vertical: call.vertical.clone(),
        origin: call.origin,
        trunk: call.trunk.clone(),
        is_ping: call.is_ping,
    });
    let screening = book.screen(&call, out.now);
    if let Some(refused) = screening.iter().find(|check| !check.passed).cloned() {
        screen_out(call, screening, &refused, out);
        return None;
    }
    out.tell(Fact::ComplianceChecked { rules: count(screening.len()) });
    Some((call, screening))
}

fn screen_out(call: Call, screening: Vec<Check>, refused: &Check, out: &mut Effects) {
    let rule = refused.rule.to_string();
    out.tell(Fact::ComplianceViolated {
        rule: rule.clone(),
        finding: refused.finding.to_string(),
        citation: refused.citation.to_string(),
    });
    out.receipt(screening, None);
    out.refuse(&call, PingRejection::ScreenedOut { rule: rule.clone() });
    let is_ping = call.is_ping;
    end(call, Outcome::ScreenedOut { rule: rule.clone() }, out);
    if !is_ping {
        out.act(Action::EndCall { reason: EndReason::ScreenedOut { rule } });
    }
}

/// Opens the auction: asks the live bidders and waits for them, or clears it at once when there are none.
fn auction(book: &mut Book, call: Call, screening: Vec<Check>, reserve_ms: Option<u64>, out: &mut Effects) {
    let deals = book.deals(&call);
    let facts = book.facts(&call, &deals);
    let rules = book.rules(&call);
    let deadline_ms = rules.bidding_deadline_ms;
    let requests = match &facts {
        Some(facts) if deadline_ms > 0 => bid_requests(book, &call, facts, out.now),
        _ => Vec::new(),
    };
    out.tell(Fact::AuctionStarted {
        vertical: call.vertical.clone(),
        auction_type: rules.auction_type,
        floor_micros: facts.map_or(Micros::ZERO, |facts| facts.floor),
        asked: count(requests.len()),
        deadline_ms: if requests.is_empty() { 0 } else { deadline_ms },
    });
    if requests.is_empty() {
        decide(book, call, screening, &[], reserve_ms, None, out);
        return;
    }
    let awaited = requests.iter().map(|request| request.bid).collect();
    out.decided
        .extend(requests.into_iter().map(|request| Effect::Act(Action::RequestBid(Box::new(request)))));
    out.act(Action::StartBiddingTimer { after_ms: deadline_ms.into() });
    let state = CallState::Bidding { screening, awaited, answers: Vec::new(), reserve_ms };
    let call = Call { state, ..call };
    out.write(Record::Call(Box::new(call.clone())));
    book.calls.insert(call.id, call);
}

/// What each live bidder that wants the call, and could take it, is asked.
fn bid_requests(book: &Book, call: &Call, facts: &CallFacts, now: Timestamp) -> Vec<BidRequest> {
    let market = book.market(now);
    let clocks = book.bids.clocks(now);
    let mut asked = Vec::new();
    for slot in book.bids.live(facts.vertical) {
        let standing = book.bids.at(*slot);
        let profile = &standing.profile;
        let Some(bidder) = &profile.live else { continue };
        let hold = profile.price.most(standing.max_call_s);
        let floor_micros = facts.deal_of(profile.buyer).map_or(facts.floor, |deal| deal.floor_micros);
        let takes = floor_micros <= profile.price.amount()
            && profile.criteria.refusal(facts).is_none()
            && standing_refusal(*slot, standing, hold, facts, &market, &clocks).is_none();
        if !takes {
            continue;
        }
        asked.push(BidRequest {
            call: call.id,
            bid: profile.id,
            bidder: bidder.clone(),
            deadline_ms: bidder.timeout_ms.map_or(facts.rules.bidding_deadline_ms, |timeout_ms| {
                timeout_ms.min(facts.rules.bidding_deadline_ms)
            }),
            floor_micros,
            most_micros: profile.price.amount(),
            currency: facts.currency,
            vertical: call.vertical.clone(),
            origin: call.origin,
            state: facts.state,
            zip: facts.zip,
            area_code: facts.area_code,
            language: facts.language,
            attestation: facts.attestation,
            tags: facts.tags.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            caller: call.caller.number(),
        });
        if asked.len() == LIVE_BIDDERS_MAX {
            break;
        }
    }
    asked
}

/// A call whose live bidders are being asked.
struct Asking {
    screening: Vec<Check>,
    awaited: Vec<BidProfileId>,
    answers: Vec<LiveAnswer>,
    reserve_ms: Option<u64>,
}

fn while_bidding(book: &mut Book, call: Call, mut asking: Asking, input: Input, out: &mut Effects) {
    match input {
        Input::BidAnswered(answer) => {
            // A second answer, or one from somebody who was not asked, changes nothing.
            let awaited = asking.awaited.iter().position(|bid| *bid == answer.bid);
            if let Some(place) = awaited {
                asking.awaited.swap_remove(place);
                asking.answers.push(answered(book, answer, out));
            }
        }
        Input::BiddingClosed => {
            for bid in std::mem::take(&mut asking.awaited) {
                let late = LiveAnswer { bid, said: LiveSaid::Nothing { reason: NoLiveBid::TimedOut } };
                asking.answers.push(answered(book, late, out));
            }
        }
        Input::CallerHungUp | Input::PeerLost => {
            end(call, Outcome::Abandoned, out);
            out.act(Action::EndCall { reason: EndReason::Abandoned });
            return;
        }
        Input::ShutDown | Input::Recovered { .. } => {
            out.refuse(&call, PingRejection::Stopping);
            let is_ping = call.is_ping;
            end(call, Outcome::Interrupted, out);
            if !is_ping {
                out.act(Action::EndCall { reason: EndReason::Stopping });
            }
            return;
        }
        _ => {}
    }
    let Asking { screening, awaited, answers, reserve_ms } = asking;
    if awaited.is_empty() {
        decide(book, call, screening, &answers, reserve_ms, None, out);
    } else {
        keep(book, call, CallState::Bidding { screening, awaited, answers, reserve_ms });
    }
}

/// Tells of an answer, and takes it for what it is: a price above the most its profile allows, or a buffer that no call can
/// reach, is no bid.
fn answered(book: &Book, answer: LiveAnswer, out: &mut Effects) -> LiveAnswer {
    let bid = answer.bid;
    let reason = match (&answer.said, book.bids.get(bid)) {
        (LiveSaid::Bid { price_micros, min_connected_s, .. }, Some(standing))
            if (Micros(1)..=standing.profile.price.amount()).contains(price_micros)
                && min_connected_s.is_none_or(|buffer_s| buffer_s <= standing.max_call_s) =>
        {
            let (buyer, price_micros) = (standing.profile.buyer, *price_micros);
            out.tell(Fact::LiveBidPlaced { bid, buyer, price_micros });
            return answer;
        }
        (LiveSaid::Bid { .. }, _) => NoLiveBid::Garbled,
        (LiveSaid::Nothing { reason }, _) => *reason,
    };
    out.tell(Fact::LiveBidMissed { bid, reason });
    LiveAnswer { bid, said: LiveSaid::Nothing { reason } }
}

/// Clears the auction and acts on it: ring the winner, or reserve it for the call that a ping announced. `sold` is what a
/// ping has won before: it goes first.
fn decide(
    book: &mut Book,
    call: Call,
    screening: Vec<Check>,
    answers: &[LiveAnswer],
    reserve_ms: Option<u64>,
    sold: Option<(CallId, Planned)>,
    out: &mut Effects,
) {
    let deals = book.deals(&call);
    let again = book.again(&call, out.now);
    let places = usize::from(book.policy.route_plan_max);
    let Some(facts) = book.facts(&call, &deals) else {
        // Numbers and accounts are never removed; a call without them is a call nobody can be paid for.
        out.receipt(screening, None);
        out.refuse(&call, PingRejection::UnknownNumber);
        end(call, Outcome::NoBidder, out);
        out.act(Action::EndCall { reason: EndReason::NoBidder });
        return;
    };
    let contest = hold(&book.bids, &facts, &book.market(out.now), answers, again, places);
    let Contest { mut receipt, mut plan, notices, turn } = contest;
    for (bid, result) in notices {
        let bidder = book.bids.get(bid).and_then(|standing| standing.profile.live.clone());
        if let Some(bidder) = bidder {
            out.act(Action::NotifyBidder(Box::new(BidNotice { call: call.id, bid, bidder, result })));
        }
    }
    if let Some((reservation, planned)) = sold {
        receipt.reservation = Some(reservation);
        plan.retain(|other| other.bid != planned.bid);
        plan.insert(0, planned);
        plan.truncate(places);
    } else if let Some((slot, turn)) = turn {
        // A call that a ping sold has had its turn then.
        book.usages.record_mut(slot).took_turn(turn);
    }
    tell_decision(&receipt, &plan, out);
    let live_refused = receipt.live.iter().filter_map(|said| said.refused);
    let closest = receipt.refused.keys().copied().chain(live_refused).max();
    out.receipt(screening, Some(receipt));

    if plan.is_empty() {
        no_bidder(call, closest, out);
    } else if let Some(reserve_ms) = reserve_ms {
        reserve(book, call, plan, reserve_ms, out);
    } else {
        ring_next(book, call, 1, plan, 0, out);
    }
}

fn tell_decision(receipt: &AuctionReceipt, plan: &[Planned], out: &mut Effects) {
    let winner = plan.first();
    let ranked = winner.and_then(|winner| receipt.ranking.iter().find(|ranked| ranked.bid == winner.bid));
    out.tell(Fact::AuctionCompleted {
        auction_type: receipt.auction_type,
        considered: receipt.considered,
        ranked: count(receipt.ranking.len()),
        winner: winner.map(|planned| planned.bid),
        expected_micros: ranked.map(|ranked| ranked.expected_micros),
        lost: receipt.lost.clone(),
    });
    let plan = plan.iter().map(|planned| planned.bid).collect();
    out.tell(Fact::RoutingDecision { algorithm: receipt.algorithm, plan });
}

fn no_bidder(call: Call, closest: Option<Refusal>, out: &mut Effects) {
    let rejection = closest.map_or(PingRejection::NoBidder, |closest| PingRejection::NoMatch { closest });
    out.refuse(&call, rejection);
    let is_ping = call.is_ping;
    end(call, Outcome::NoBidder, out);
    if !is_ping {
        out.act(Action::EndCall { reason: EndReason::NoBidder });
    }
}

/// Holds what the ping won until the call comes.
fn reserve(book: &mut Book, call: Call, plan: Vec<Planned>, reserve_ms: u64, out: &mut Effects) {
    let Some(caller) = call.caller.number() else { return };
    let taken = plan.into_iter().find_map(|planned| {
        let attempt = take(book, &call, &planned, 1, out)?;
        Some((attempt, planned))
    });
    let Some((attempt, planned)) = taken else {
        no_bidder(call, Some(Refusal::InsufficientFunds), out);
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
    book.reservations.insert((call.called, caller), call.id);
    book.calls.insert(call.id, call);
}

/// What the seller is told of a reservation.
fn reservation(book: &Book, reserved: &Call, is_repeat: bool) -> Option<PingAnswer> {
    let CallState::Reserved { attempt, expires_at, .. } = &reserved.state else { return None };
    let typical_call_ms = u64::from(book.policy.typical_call_s) * 1_000;
    Some(PingAnswer::Reserved(Reservation {
        id: reserved.id,
        payout_micros: attempt.price.expected(typical_call_ms).share(reserved.payout_basis_points),
        currency: book.accounts.get(&reserved.seller)?.currency,
        conversion: attempt.conversion,
        number: reserved.called,
        expires_at: *expires_at,
        is_repeat,
    }))
}

/// The call that a ping announced has come: what was reserved goes first. Its hold is given back and taken again for the call, in
/// this one step.
fn redeem(book: &mut Book, call: Call, screening: Vec<Check>, reserved: CallId, out: &mut Effects) {
    let reserved_call = book.calls.remove(&reserved).expect("a reservation is an open call");
    let CallState::Reserved { attempt, planned, .. } = reserved_call.state.clone() else {
        unreachable!("found as a reservation")
    };
    let mut of_ping = Effects::of(reserved, out.now);
    give_up(book, reserved_call, &attempt, Outcome::Redeemed { by: call.id }, None, &mut of_ping);
    out.decided.append(&mut of_ping.decided);
    decide(book, call, screening, &[], None, Some((reserved, planned)), out);
}

/// A call whose target is being rung.
struct Ringing {
    attempt: Attempt,
    fallbacks: Vec<Planned>,
    recoveries: u8,
}

fn while_ringing(book: &mut Book, call: Call, ringing: Ringing, input: Input, out: &mut Effects) {
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
        _ => keep(book, call, CallState::Ringing { attempt, fallbacks, recoveries }),
    }
}

/// Rings the first target of the plan that can still take the call, holding its money and capacity; ends the call when
/// there is none.
fn ring_next(
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
        let after_ms = profile.ring_timeout_ms.unwrap_or(book.policy.ring_timeout_ms);
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
fn take(book: &mut Book, call: &Call, planned: &Planned, number: u8, out: &mut Effects) -> Option<Attempt> {
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
    book.usages.record_mut(slot).rang(out.now);
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
fn connect(
    book: &mut Book,
    mut call: Call,
    attempt: Attempt,
    fallbacks: Vec<Planned>,
    recoveries: u8,
    out: &mut Effects,
) {
    if let Some(slot) = book.bids.slot(attempt.bid) {
        book.usages.record_mut(slot).answered();
        out.usage(book, slot, &attempt);
    }
    let number = attempt.number;
    out.tell(Fact::CallBridged { attempt: number, bid: attempt.bid, buyer: attempt.buyer });
    out.act(Action::ConnectCaller { attempt: number });
    out.act(Action::StartDurationTimer { attempt: number, after_ms: u64::from(attempt.max_call_s) * 1_000 });
    call.state = CallState::Connected { attempt, answered_at: out.now, fallbacks, recoveries };
    out.write(Record::Call(Box::new(call.clone())));
    book.calls.insert(call.id, call);
}

/// The target will not take the call: release it, ring the next.
fn fall_back(
    book: &mut Book,
    mut call: Call,
    attempt: &Attempt,
    fallbacks: Vec<Planned>,
    recoveries: u8,
    cause: FailureCause,
    out: &mut Effects,
) {
    note_failure(book, &call, attempt, cause, out);
    release(book, &call, attempt, out);
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
    let record = book.usages.record_mut(slot);
    let rings_out = matches!(cause, FailureCause::RingTimeout | FailureCause::Unreachable);
    if !rings_out {
        record.declined();
    } else if record.unanswered(out.now, &protection)
        && let Some(until) = record.rests_until
    {
        let event =
            Event { subject: Subject::BidProfile(attempt.bid), at: out.now, fact: Fact::BidRested { until } };
        out.write(Record::Event(event));
    }
}

/// Whether a target hung up so early that the next in the plan is rung.
fn is_early(book: &Book, call: &Call, attempt: &Attempt, connected_ms: u64, recoveries: u8) -> bool {
    let recovery = book.rules(call).recovery;
    recoveries < recovery.attempts_max
        && connected_ms < u64::from(recovery.early_s) * 1_000
        && !attempt.conversion.is_met(connected_ms)
}

/// Revenue recovery: the target's early hang-up is a failure like any other, but the caller is on the line already.
fn recover(
    book: &mut Book,
    call: Call,
    attempt: &Attempt,
    connected_ms: u64,
    fallbacks: Vec<Planned>,
    recoveries: u8,
    out: &mut Effects,
) {
    note_end(book, &call, attempt, connected_ms, false, EndedBy::Target, out);
    let mut call = call;
    finish(book, attempt, None, out);
    out.book(book, settle::release(&call, attempt, out.now));
    let cause = FailureCause::HungUpEarly { connected_ms };
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

/// The call, or its reservation, ends before anybody answered: nobody pays.
fn give_up(
    book: &mut Book,
    call: Call,
    attempt: &Attempt,
    outcome: Outcome,
    reason: Option<EndReason>,
    out: &mut Effects,
) {
    if let Some(caller) = call.caller.number()
        && book.reservations.get(&(call.called, caller)) == Some(&call.id)
    {
        book.reservations.remove(&(call.called, caller));
    }
    if let Some(slot) = book.bids.slot(attempt.bid) {
        book.usages.record_mut(slot).abandoned();
    }
    release(book, &call, attempt, out);
    end(call, outcome, out);
    out.decided.extend(reason.map(|reason| Effect::Act(Action::EndCall { reason })));
}

/// A connected call ends: settle it, once.
fn hang_up(
    book: &mut Book,
    call: Call,
    attempt: Attempt,
    connected_ms: u64,
    ended_by: EndedBy,
    out: &mut Effects,
) {
    let duplicate = duplicate(book, &call, &attempt, out.now);
    let settlement = settle::settle(&call, &attempt, connected_ms, duplicate);
    note_end(book, &call, &attempt, connected_ms, settlement.is_some(), ended_by, out);
    finish(book, &attempt, settlement.map(|settlement| settlement.charge), out);
    let outcome = match settlement {
        None => {
            out.book(book, settle::release(&call, &attempt, out.now));
            let is_duplicate =
                duplicate == settle::Duplicate::Charge && attempt.conversion.is_met(connected_ms);
            Outcome::NotConverted { attempt, connected_ms, ended_by, is_duplicate }
        }
        Some(settlement) => {
            out.book(book, settle::capture(&call, &attempt, settlement, out.now));
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
            }
        }
    };
    let ended = end(call, outcome, out);
    book.recent_calls.note_if(RecentCall::of(&ended));
    out.act(Action::EndCall { reason: EndReason::Over { by: ended_by } });
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
        book.usages.record_mut(slot).ended(&ending);
    }
    let record = book.seller_records.entry(call.seller).or_default();
    record.ended(&ending);
    out.write(Record::SellerRecord(call.seller, record.clone()));
}

/// Ends the use of a connected target: its money becomes what was charged.
fn finish(book: &mut Book, attempt: &Attempt, charge: Option<Micros>, out: &mut Effects) {
    if let Some(slot) = book.bids.slot(attempt.bid) {
        book.usages.finish(slot, &attempt.counted, attempt.hold_micros, charge);
        out.usage(book, slot, attempt);
    }
}

fn release(book: &mut Book, call: &Call, attempt: &Attempt, out: &mut Effects) {
    if let Some(slot) = book.bids.slot(attempt.bid) {
        book.usages.give_back(slot, &attempt.counted, attempt.hold_micros);
        out.usage(book, slot, attempt);
    }
    out.book(book, settle::release(call, attempt, out.now));
}

fn keep(book: &mut Book, call: Call, state: CallState) {
    book.calls.insert(call.id, Call { state, ..call });
}

fn end(mut call: Call, outcome: Outcome, out: &mut Effects) -> Call {
    let (connected_ms, ended_by) = match &outcome {
        Outcome::NotConverted { connected_ms, ended_by, .. }
        | Outcome::Converted { connected_ms, ended_by, .. } => (Some(*connected_ms), Some(*ended_by)),
        _ => (None, None),
    };
    out.tell(Fact::CallEnded { outcome: outcome.name(), connected_ms, ended_by });
    call.state = CallState::Ended { outcome, ended_at: out.now };
    out.write(Record::Call(Box::new(call.clone())));
    call
}

fn count(things: usize) -> u32 {
    u32::try_from(things).unwrap_or(u32::MAX)
}

/// The effects of one step, in the order they were decided.
struct Effects {
    call: CallId,
    now: Timestamp,
    decided: Vec<Effect>,
}

impl Effects {
    fn of(call: CallId, now: Timestamp) -> Self {
        Self { call, now, decided: Vec::with_capacity(16) }
    }

    fn write(&mut self, record: Record) {
        self.decided.push(Effect::Record(record));
    }

    fn act(&mut self, action: Action) {
        self.decided.push(Effect::Act(action));
    }

    fn tell(&mut self, fact: Fact) {
        self.write(Record::Event(Event { subject: Subject::Call(self.call), at: self.now, fact }));
    }

    fn answer(&mut self, answer: PingAnswer) {
        self.act(Action::AnswerPing(Box::new(answer)));
    }

    /// Answers a ping that won nothing. A call has nobody to answer here.
    fn refuse(&mut self, call: &Call, rejection: PingRejection) {
        if call.is_ping {
            self.answer(PingAnswer::Rejected(rejection));
        }
    }

    fn receipt(&mut self, screening: Vec<Check>, auction: Option<AuctionReceipt>) {
        let (call, decided_at) = (self.call, self.now);
        let versions = Versions { exchange: env!("CARGO_PKG_VERSION").into(), fraud_score: score::VERSION };
        let receipt = Receipt { call, decided_at, versions, screening, auction, decided_in_ns: None };
        self.write(Record::Receipt(Box::new(receipt)));
    }

    /// What a bid, and its group, have taken by now.
    fn usage(&mut self, book: &Book, slot: usize, attempt: &Attempt) {
        self.write(Record::Usage(Box::new(book.usages.of_bid(slot, attempt.bid))));
        let group = attempt.counted.group.and_then(|(group, _)| book.usages.of_group(group));
        self.decided.extend(group.map(|usage| Effect::Record(Record::Usage(Box::new(usage)))));
    }

    fn book(&mut self, book: &mut Book, transfers: impl IntoIterator<Item = Transfer>) {
        for transfer in transfers {
            book.book_transfer(&transfer);
            self.write(Record::Transfer(transfer));
        }
    }
}
