//! The way of a call through the exchange, on one page:
//!
//! ```text
//! arrive ─► screen ─► ask live bidders ─► auction ─► ring (hold money + capacity) ─► connect ─► hang up ─► settle
//!             │        (only if any)         │            │  ▲ failed: release,         │ early: release,
//!             ▼                              ▼            ▼  │ next in the plan ─────────┘ next in the plan
//!        screened out                    no bidder   unanswered / abandoned
//! ```
//!
//! A call sold for a share of the buyer's revenue has one thing to come after its end: the report of it, or its lapse ([`revenue`]).
//!
//! A ping goes the same way as far as the auction; what it wins is reserved until the call comes ([`reserve`]).
//!
//! [`step`] is the only way in. It changes the book and returns what must be written and done; it does nothing itself.

mod bidding;
mod decision;
mod reservation;
mod ringing;
mod ending;
mod revenue;
mod effects;

pub use bidding::LIVE_BIDDERS_MAX;
pub(crate) use revenue::report_revenue;

use effects::Effects;

use crate::book::Book;
use crate::call::{Arrival, Call, CallState, EndedBy, Outcome};
use crate::compliance::verdict::Check;
use crate::effect::{Action, Effect, EndReason, Input};
use crate::event::{Fact, tell_posted};
use crate::id::CallId;
use crate::ping::PingRejection;
use crate::time::Timestamp;
use bidding::{Asking, auction, while_bidding};
use effects::count;
use ending::{hang_up, is_early, recover, turn_away};
use reservation::{Reserved, ping, redeem, while_reserved};
use ringing::{Ringing, start_duration_timer, while_ringing};

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
    let mut effects = decide(book, id, input, now)?;
    tell_posted(&mut effects, Some(id), now);
    Ok(effects)
}

fn decide(book: &mut Book, id: CallId, input: Input, now: Timestamp) -> Result<Vec<Effect>, IllegalInput> {
    let Some(call) = book.calls.remove(&id) else {
        return Ok(match input {
            Input::Arrived(arrival) => arrive(book, id, arrival, now),
            Input::Pinged(request) => ping(book, id, request, now),
            Input::RevenueWindowClosed => revenue::lapse(book, id, now),
            // It ended meanwhile, or came just when its book went away: its legs are still up.
            Input::Resumed => vec![Effect::Act(Action::EndCall { reason: EndReason::Stopping })],
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
            let asked = call.is_ping.then(|| call.clone());
            while_bidding(book, call, asking, input, &mut out);
            if let Some(ping) = asked.filter(|ping| !book.calls.contains_key(&ping.id)) {
                book.forget_ping(&ping);
            }
        }
        CallState::Reserved { attempt, planned, expires_at } => {
            let reserved = Reserved { attempt, planned, expires_at };
            while_reserved(book, call, reserved, input, &mut out);
        }
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
                Input::Resumed => {
                    out.act(Action::ConnectCaller { attempt: attempt.number });
                    start_duration_timer(&attempt, answered_at, &mut out);
                    keep(book, call, CallState::Connected { attempt, answered_at, fallbacks, recoveries });
                    return out.decided;
                }
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
    let outcome = Outcome::ScreenedOut { rule: rule.clone() };
    let rejection = PingRejection::ScreenedOut { rule: rule.clone() };
    turn_away(call, outcome, rejection, EndReason::ScreenedOut { rule }, out);
}

fn keep(book: &mut Book, call: Call, state: CallState) {
    book.calls.insert(call.id, Call { state, ..call });
}
