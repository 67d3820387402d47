//! The way of a call through the exchange, on one page:
//!
//! ```text
//! arrive ─► screen ─► auction ─► ring (hold money + capacity) ─► connect ─► hang up ─► settle
//!             │          │            │  ▲ failed: release, next in the plan
//!             ▼          ▼            ▼
//!        screened out  no bidder   unanswered / abandoned
//! ```
//!
//! [`step`] is the only way in. It changes the book and returns what must be written and done; it does nothing itself.

use crate::auction::clear::{AuctionType, clear};
use crate::auction::matching::refusal;
use crate::auction::receipt::{AuctionReceipt, Receipt};
use crate::book::Book;
use crate::call::{Arrival, Attempt, Call, CallState, EndedBy, FailedAttempt, FailureCause, Outcome};
use crate::compliance::verdict::Check;
use crate::effect::{Action, Effect, EndReason, Input, Record};
use crate::event::{Event, Fact, Subject};
use crate::id::{BidProfileId, CallId};
use crate::ledger::money::Micros;
use crate::ledger::settle;
use crate::ledger::transfer::Transfer;
use crate::time::Timestamp;

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
        Input::Arrived(_) => Some(IllegalInput::ArrivedTwice(call.id)),
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
fn go_on(book: &mut Book, call: Call, input: Input, now: Timestamp) -> Vec<Effect> {
    let mut out = Effects::of(call.id, now);
    match call.state.clone() {
        CallState::Ringing { attempt, fallbacks } => match input {
            Input::TargetAnswered { attempt: number } if number == attempt.number => {
                connect(book, call, attempt, &mut out);
            }
            Input::TargetFailed { attempt: number, cause } if number == attempt.number => {
                fall_back(book, call, &attempt, fallbacks, cause, &mut out);
            }
            Input::RingTimedOut { attempt: number } if number == attempt.number => {
                out.act(Action::CancelTarget { attempt: number });
                fall_back(book, call, &attempt, fallbacks, FailureCause::RingTimeout, &mut out);
            }
            Input::CallerHungUp | Input::PeerLost => {
                give_up(book, call, &attempt, Outcome::Abandoned, EndReason::Abandoned, &mut out);
            }
            Input::ShutDown | Input::Recovered { .. } => {
                give_up(book, call, &attempt, Outcome::Interrupted, EndReason::Stopping, &mut out);
            }
            _ => keep(book, call),
        },
        CallState::Connected { attempt, answered_at } => {
            let (ended_by, ended_at) = match input {
                Input::CallerHungUp => (EndedBy::Caller, now),
                Input::TargetHungUp => (EndedBy::Target, now),
                Input::PeerLost => (EndedBy::PeerLost, now),
                Input::MaxDurationReached => (EndedBy::MaxDuration, now),
                Input::ShutDown => (EndedBy::Shutdown, now),
                Input::Recovered { last_alive_at } => (EndedBy::Crash, last_alive_at),
                _ => {
                    keep(book, call);
                    return out.decided;
                }
            };
            hang_up(book, call, attempt, ended_at.ms_since(answered_at), ended_by, &mut out);
        }
        CallState::Received | CallState::Ended { .. } => unreachable!("only open calls stay in the book"),
    }
    out.decided
}

/// A call comes in: screen, auction, ring the winner.
fn arrive(book: &mut Book, id: CallId, arrival: Arrival, now: Timestamp) -> Vec<Effect> {
    let mut out = Effects::of(id, now);
    let Some(number) = book.tracking_numbers.get(&arrival.called).filter(|number| number.active) else {
        out.act(Action::EndCall { reason: EndReason::UnknownNumber });
        return out.decided;
    };
    let call = Call::received(id, arrival, number, now);
    out.tell(Fact::CallReceived {
        called: call.called,
        seller: call.seller,
        vertical: call.vertical.clone(),
        origin: call.origin,
        trunk: call.trunk.clone(),
    });

    let screening = book.screen(&call, now);
    if let Some(refused) = screening.iter().find(|check| !check.passed).cloned() {
        screen_out(call, screening, &refused, &mut out);
        return out.decided;
    }
    out.tell(Fact::ComplianceChecked { rules: u32::try_from(screening.len()).unwrap_or(u32::MAX) });

    let auction = auction(book, &call, now);
    let plan: Vec<BidProfileId> = auction.ranking.iter().map(|ranked| ranked.bid).collect();
    out.tell(Fact::AuctionCompleted {
        considered: auction.considered,
        ranked: u32::try_from(plan.len()).unwrap_or(u32::MAX),
        winner: plan.first().copied(),
        expected_micros: auction.ranking.first().map(|ranked| ranked.expected_micros),
    });
    out.tell(Fact::RoutingDecision { plan: plan.clone() });
    out.receipt(screening, Some(auction));

    if plan.is_empty() {
        end(call, Outcome::NoBidder, &mut out);
        out.act(Action::EndCall { reason: EndReason::NoBidder });
    } else {
        ring_next(book, call, 1, plan, &mut out);
    }
    out.decided
}

fn screen_out(call: Call, screening: Vec<Check>, refused: &Check, out: &mut Effects) {
    out.tell(Fact::ComplianceViolated {
        rule: refused.rule.to_string(),
        finding: refused.finding.to_string(),
        citation: refused.citation.to_string(),
    });
    out.receipt(screening, None);
    end(call, Outcome::ScreenedOut { rule: refused.rule.to_string() }, out);
    out.act(Action::EndCall { reason: EndReason::ScreenedOut { rule: refused.rule.to_string() } });
}

fn auction(book: &Book, call: &Call, now: Timestamp) -> AuctionReceipt {
    let number = &book.tracking_numbers[&call.called];
    let Some(facts) = book.facts(call, number) else {
        return clear(
            AuctionType::FirstPrice,
            &book.bids,
            crate::auction::index::Found::default(),
            Micros::ZERO,
        );
    };
    let found = book.bids.search(&facts, &book.market(now), usize::from(book.policy.route_plan_max));
    clear(AuctionType::FirstPrice, &book.bids, found, facts.floor)
}

/// Rings the first target of the plan that can still take the call, holding its money and capacity; ends the call when
/// there is none.
fn ring_next(book: &mut Book, mut call: Call, mut number: u8, plan: Vec<BidProfileId>, out: &mut Effects) {
    let mut plan = plan.into_iter();
    while let Some(bid) = plan.next() {
        let Some(attempt) = take(book, &call, bid, number, out) else {
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
        let (destination, caller) = (profile.destination.clone(), call.caller.clone());
        out.tell(Fact::CallRouted {
            attempt: number,
            bid,
            buyer: attempt.buyer,
            hold_micros: attempt.hold_micros,
        });
        out.act(Action::RingTarget { attempt: number, destination, caller });
        out.act(Action::StartRingTimer { attempt: number, after_ms });
        call.state = CallState::Ringing { attempt, fallbacks: plan.collect() };
        out.write(Record::Call(Box::new(call.clone())));
        book.calls.insert(call.id, call);
        return;
    }
    let last = call.failed_attempts.last().map_or(FailureCause::NoLongerEligible, |failed| failed.cause);
    end(call, Outcome::Unanswered, out);
    out.act(Action::EndCall { reason: EndReason::Unanswered { last } });
}

/// Takes a bid's money and capacity for one attempt: all or nothing.
fn take(book: &mut Book, call: &Call, bid: BidProfileId, number: u8, out: &mut Effects) -> Option<Attempt> {
    let standing = book.bids.get(bid)?;
    let facts = book.facts(call, &book.tracking_numbers[&call.called])?;
    let mut clocks = book.bids.clocks(out.now);
    if refusal(standing, &facts, &book.market(out.now), &mut clocks).is_some() {
        return None;
    }
    let usage = book.capacity.take(bid, clocks.read(standing.zone).day, standing.hold);
    let attempt = Attempt {
        number,
        bid,
        buyer: standing.profile.buyer,
        price: standing.profile.price,
        conversion: standing.profile.conversion,
        max_call_s: standing.max_call_s,
        hold_micros: standing.hold,
        cap_day: usage.day,
        started_at: out.now,
    };
    out.write(Record::DailyUsage(usage));
    out.book(book, settle::hold(call, &attempt, out.now));
    Some(attempt)
}

/// The target answered: connect the caller, start the meter.
fn connect(book: &mut Book, mut call: Call, attempt: Attempt, out: &mut Effects) {
    let number = attempt.number;
    out.tell(Fact::CallBridged { attempt: number, bid: attempt.bid, buyer: attempt.buyer });
    out.act(Action::ConnectCaller { attempt: number });
    out.act(Action::StartDurationTimer { after_ms: u64::from(attempt.max_call_s) * 1_000 });
    call.state = CallState::Connected { attempt, answered_at: out.now };
    out.write(Record::Call(Box::new(call.clone())));
    book.calls.insert(call.id, call);
}

/// The target will not take the call: release it, ring the next.
fn fall_back(
    book: &mut Book,
    mut call: Call,
    attempt: &Attempt,
    fallbacks: Vec<BidProfileId>,
    cause: FailureCause,
    out: &mut Effects,
) {
    release(book, &call, attempt, out);
    out.tell(Fact::CallAttemptFailed { attempt: attempt.number, bid: attempt.bid, failure: cause });
    call.failed_attempts.push(FailedAttempt {
        number: attempt.number,
        bid: attempt.bid,
        buyer: attempt.buyer,
        cause,
        failed_at: out.now,
    });
    ring_next(book, call, attempt.number + 1, fallbacks, out);
}

/// The call ends while a target is ringing: nobody pays.
fn give_up(
    book: &mut Book,
    call: Call,
    attempt: &Attempt,
    outcome: Outcome,
    reason: EndReason,
    out: &mut Effects,
) {
    release(book, &call, attempt, out);
    end(call, outcome, out);
    out.act(Action::EndCall { reason });
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
    let settlement = settle::settle(&call, &attempt, connected_ms);
    let charge = settlement.map_or(Micros::ZERO, |settlement| settlement.charge);
    let usage = book.capacity.finish(attempt.bid, attempt.cap_day, attempt.hold_micros, charge);
    out.decided.extend(usage.map(|usage| Effect::Record(Record::DailyUsage(usage))));
    let outcome = match settlement {
        None => {
            out.book(book, settle::release(&call, &attempt, out.now));
            Outcome::NotConverted { attempt, connected_ms, ended_by }
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
    end(call, outcome, out);
    out.act(Action::EndCall { reason: EndReason::Over { by: ended_by } });
}

fn release(book: &mut Book, call: &Call, attempt: &Attempt, out: &mut Effects) {
    let usage = book.capacity.give_back(attempt.bid, attempt.cap_day, attempt.hold_micros);
    out.decided.extend(usage.map(|usage| Effect::Record(Record::DailyUsage(usage))));
    out.book(book, settle::release(call, attempt, out.now));
}

fn keep(book: &mut Book, call: Call) {
    book.calls.insert(call.id, call);
}

fn end(mut call: Call, outcome: Outcome, out: &mut Effects) {
    let (connected_ms, ended_by) = match &outcome {
        Outcome::NotConverted { connected_ms, ended_by, .. }
        | Outcome::Converted { connected_ms, ended_by, .. } => (Some(*connected_ms), Some(*ended_by)),
        _ => (None, None),
    };
    out.tell(Fact::CallEnded { outcome: outcome.name(), connected_ms, ended_by });
    call.state = CallState::Ended { outcome, ended_at: out.now };
    out.write(Record::Call(Box::new(call)));
}

/// The effects of one step, in the order they were decided.
struct Effects {
    call: CallId,
    now: Timestamp,
    decided: Vec<Effect>,
}

impl Effects {
    fn of(call: CallId, now: Timestamp) -> Self {
        Self { call, now, decided: Vec::with_capacity(12) }
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

    fn receipt(&mut self, screening: Vec<Check>, auction: Option<AuctionReceipt>) {
        let (call, decided_at) = (self.call, self.now);
        self.write(Record::Receipt(Box::new(Receipt {
            call,
            decided_at,
            screening,
            auction,
            decided_in_ns: None,
        })));
    }

    fn book(&mut self, book: &mut Book, transfers: impl IntoIterator<Item = Transfer>) {
        for transfer in transfers {
            book.balances.book(&transfer);
            self.write(Record::Transfer(transfer));
        }
    }
}
