//! What sellers are promised: a reservation is honoured once, for its own caller, until it runs out, whatever crashes in between;
//! what was reserved goes first, at the price it was won at.

use exchange::call::{Arrival, Call, CallState, FailureCause, Outcome, Planned};
use exchange::effect::{Input, JournalEntry, JournalInput, Record};
use exchange::id::CallId;
use exchange::snapshot::Snapshot;
use exchange::time::Timestamp;
use infra::store::UnitOfWork;
use std::collections::BTreeMap;

/// Which reservation was used by which call.
#[derive(Debug, Default)]
pub(super) struct Promises {
    used: BTreeMap<CallId, CallId>,
    /// Reservations that ran out.
    pub(super) expired: u64,
}

/// A call that came in with this unit of work.
struct Came<'a> {
    call: CallId,
    arrival: &'a Arrival,
    at: Timestamp,
}

impl Promises {
    /// Reservations that a call used.
    pub(super) fn redeemed(&self) -> u64 {
        self.used.len() as u64
    }

    /// What a unit breaks; `before` is all that is on disk so far.
    pub(super) fn broken_by(&mut self, before: &Snapshot, unit: &UnitOfWork) -> Vec<String> {
        let came = came(unit);
        let mut found: Vec<String> = unit
            .records
            .iter()
            .filter_map(|record| match record {
                Record::Call(call) => self.ended(before, call, came.as_ref()),
                Record::Receipt(receipt) => {
                    let sold = receipt.auction.as_ref()?.reservation?;
                    let is_used = self.used.get(&sold) == Some(&receipt.call);
                    (!is_used).then(|| format!("call {} was sold by ping {sold}, unredeemed", receipt.call))
                }
                _ => None,
            })
            .collect();
        found.extend(came.and_then(|came| self.passed_over(before, unit, &came)));
        found
    }

    /// A reservation that ends was used by its call, or its time was over.
    fn ended(&mut self, before: &Snapshot, now: &Call, came: Option<&Came>) -> Option<String> {
        let reserved = before.open_calls.get(&now.id)?;
        let CallState::Reserved { expires_at, .. } = reserved.state else { return None };
        let CallState::Ended { outcome, ended_at } = &now.state else { return None };
        let id = now.id;
        match outcome {
            Outcome::Expired => {
                self.expired += 1;
                (*ended_at < expires_at).then(|| format!("reservation {id} ran out before its time"))
            }
            Outcome::Redeemed { by } => {
                if let Some(first) = self.used.insert(id, *by) {
                    return Some(format!("reservation {id} was used by {first} and by {by}"));
                }
                let is_its_own = came.is_some_and(|came| {
                    came.call == *by && is_for(reserved, came.arrival) && came.at < expires_at
                });
                (!is_its_own).then(|| format!("reservation {id} was used by {by}, which it was not for"))
            }
            other => Some(format!("reservation {id} ended as {}", other.name())),
        }
    }

    /// A call that comes in time gets what was reserved for it, first and at that price; unless screening turns it away.
    fn passed_over(&self, before: &Snapshot, unit: &UnitOfWork, came: &Came) -> Option<String> {
        let (ping, promised) = before.open_calls.values().find_map(|ping| match &ping.state {
            CallState::Reserved { planned, expires_at, .. }
                if is_for(ping, came.arrival) && came.at < *expires_at =>
            {
                Some((ping.id, planned))
            }
            _ => None,
        })?;
        let call = calls_in(unit).find(|call| call.id == came.call)?;
        if matches!(call.state, CallState::Ended { outcome: Outcome::ScreenedOut { .. }, .. }) {
            return None;
        }
        if self.used.get(&ping) != Some(&call.id) {
            return Some(format!("call {} came in time, and reservation {ping} was not honoured", call.id));
        }
        (!goes_first(call, promised))
            .then(|| format!("call {}: what ping {ping} had won does not go first, as won", call.id))
    }
}

/// Whether what was promised is rung first, on the promised terms, or was found unable to take the call.
fn goes_first(call: &Call, promised: &Planned) -> bool {
    if let Some(failed) = call.failed_attempts.first() {
        return failed.bid == promised.bid && failed.cause == FailureCause::NoLongerEligible;
    }
    call.held_attempt().is_some_and(|attempt| {
        attempt.bid == promised.bid
            && attempt.price == promised.price
            && attempt.conversion == promised.conversion
    })
}

fn came(unit: &UnitOfWork) -> Option<Came<'_>> {
    match unit.journal.as_ref()? {
        JournalEntry { at, entry: JournalInput::Call { call, input: Input::Arrived(arrival) } } => {
            Some(Came { call: *call, arrival, at: *at })
        }
        _ => None,
    }
}

fn is_for(ping: &Call, arrival: &Arrival) -> bool {
    ping.called == arrival.called && ping.caller.number().is_some() && ping.caller == arrival.caller
}

fn calls_in(unit: &UnitOfWork) -> impl Iterator<Item = &Call> {
    unit.records.iter().filter_map(|record| match record {
        Record::Call(call) => Some(&**call),
        _ => None,
    })
}
