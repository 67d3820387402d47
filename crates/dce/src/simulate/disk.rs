//! The simulated disk: what was committed, and everything that must hold after each unit of work.

use exchange::bid::BidProfile;
use exchange::bid::caps::Period;
use exchange::call::{Call, CallState, Outcome};
use exchange::effect::Record;
use exchange::id::{AccountId, BidProfileId, CallId};
use exchange::ledger::money::Micros;
use exchange::ledger::transfer::{LedgerAccount, TransferReason};
use exchange::snapshot::Snapshot;
use exchange::time::Timestamp;
use exchange::usage::{CapOwner, Usage};
use infra::store::UnitOfWork;
use std::collections::{BTreeMap, BTreeSet};

/// What survives a crash.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) snapshot: Snapshot,
    pub(super) ended: BTreeMap<CallId, Call>,
    /// Units of work written so far.
    pub(super) writes: u64,
    transfers: BTreeSet<TransferReason>,
    receipts: BTreeSet<CallId>,
    pub(super) violations: Vec<String>,
}

impl Disk {
    /// Writes one unit, whole.
    pub(super) fn write(&mut self, unit: &UnitOfWork, now: Timestamp) {
        if unit.is_empty() {
            return;
        }
        self.writes += 1;
        self.snapshot.last_alive_at = self.snapshot.last_alive_at.max(now);
        for record in &unit.records {
            self.snapshot.apply(record);
            self.keep(record);
        }
        self.check_books();
    }

    fn violate(&mut self, what: String) {
        // A broken invariant tends to break again with every unit; the first few tell the story.
        if self.violations.len() < 10 {
            self.violations.push(what);
        }
    }

    fn keep(&mut self, record: &Record) {
        match record {
            Record::Transfer(transfer) => {
                if transfer.amount_micros <= Micros::ZERO {
                    self.violate(format!("{} moved {}", transfer.reason, transfer.amount_micros));
                }
                if !self.transfers.insert(transfer.reason.clone()) {
                    self.violate(format!("{} was booked twice", transfer.reason));
                }
            }
            Record::Receipt(receipt) if !self.receipts.insert(receipt.call) => {
                self.violate(format!("call {} has two receipts", receipt.call));
            }
            Record::Call(call) => {
                if self.ended.contains_key(&call.id) {
                    self.violate(format!("call {} changed after it ended", call.id));
                }
                if matches!(call.state, CallState::Ended { .. }) {
                    self.check_settled(call);
                    self.ended.insert(call.id, (**call).clone());
                }
            }
            Record::Usage(usage) => self.check_caps(usage),
            _ => {}
        }
    }

    /// No day's caps are passed.
    fn check_caps(&mut self, usage: &Usage) {
        let CapOwner::Bid(id) = usage.owner else { return };
        let Some(bid) = self.snapshot.bid_profiles.get(&id) else { return };
        let [_, day, ..] = usage.taken;
        let daily = bid.caps.limits.iter().filter(|limit| limit.per == Period::Day);
        let calls_passed = daily.clone().filter_map(|limit| limit.calls).any(|cap| day.calls > cap);
        let spend_passed = daily.filter_map(|limit| limit.spend_micros).any(|cap| day.spend_micros > cap);
        if calls_passed {
            self.violate(format!("bid {id} took {} calls in a day", day.calls));
        }
        if spend_passed {
            self.violate(format!("bid {id} spent {} in a day", day.spend_micros));
        }
    }

    /// A converted call is paid for exactly as its document says; any other costs nothing. The ledger rows of a step are
    /// written before its call document, so they are known here.
    fn check_settled(&mut self, call: &Call) {
        let CallState::Ended { outcome, .. } = &call.state else { return };
        let paid = self.transfers.contains(&TransferReason::Payout { call: call.id });
        let kept = self.transfers.contains(&TransferReason::Margin { call: call.id });
        match outcome {
            Outcome::Converted {
                attempt, connected_ms, charge_micros, payout_micros, margin_micros, ..
            } => {
                let whole = payout_micros.checked_add(*margin_micros) == Some(*charge_micros);
                if !whole || *charge_micros > attempt.hold_micros || !attempt.conversion.is_met(*connected_ms)
                {
                    self.violate(format!("call {} was charged wrongly: {outcome:?}", call.id));
                }
                if paid != (payout_micros.0 > 0) || kept != (margin_micros.0 > 0) {
                    self.violate(format!("call {} converted, but its charge is not in the ledger", call.id));
                }
            }
            _ if paid || kept => self.violate(format!("call {} was charged without converting", call.id)),
            _ => {}
        }
    }

    /// Money is conserved, no balance passes its limit, exactly the open calls hold money, no bid exceeds its cap.
    fn check_books(&mut self) {
        let sum: i64 = self.snapshot.balances.values().map(|balance| balance.0).sum();
        if sum != 0 {
            self.violate(format!("the ledger sums to {sum} micro-units"));
        }
        let mut held: BTreeMap<AccountId, i64> = BTreeMap::new();
        let mut open: BTreeMap<BidProfileId, u32> = BTreeMap::new();
        for attempt in self.snapshot.open_calls.values().filter_map(Call::held_attempt) {
            *held.entry(attempt.buyer).or_default() += attempt.hold_micros.0;
            *open.entry(attempt.bid).or_default() += 1;
        }
        for awaited in self.snapshot.awaiting_revenue.values().filter_map(Call::awaited_revenue) {
            *held.entry(awaited.attempt.buyer).or_default() += awaited.held_micros.0;
        }
        let mut found = Vec::new();
        for (account, balance) in &self.snapshot.balances {
            match account {
                LedgerAccount::Held(buyer) if balance.0 != held.get(buyer).copied().unwrap_or(0) => {
                    found.push(format!("buyer {buyer} holds {balance}, its open calls another sum"));
                }
                LedgerAccount::Available(buyer) => {
                    let credit =
                        self.snapshot.accounts.get(buyer).map_or(0, |buyer| buyer.credit_limit_micros.0);
                    if balance.0 < -credit {
                        found.push(format!(
                            "buyer {buyer} is at {balance} with a credit limit of {}",
                            Micros(credit)
                        ));
                    }
                }
                _ => {}
            }
        }
        for (bid, calls) in open {
            let cap =
                self.snapshot.bid_profiles.get(&bid).and_then(|bid: &BidProfile| bid.caps.concurrent_calls);
            if cap.is_some_and(|cap| calls > cap) {
                found.push(format!("bid {bid} has {calls} calls at once"));
            }
        }
        for what in found {
            self.violate(what);
        }
    }

    /// What must hold when everything has come to rest.
    pub(super) fn check_at_rest(&mut self) {
        for call in self.snapshot.open_calls.keys().copied().collect::<Vec<_>>() {
            self.violate(format!("call {call} never ended"));
        }
        let held: i64 = self
            .snapshot
            .balances
            .iter()
            .filter(|(account, _)| matches!(account, LedgerAccount::Held(_)))
            .map(|(_, balance)| balance.0)
            .sum();
        if held != 0 {
            self.violate(format!("{} is still held", Micros(held)));
        }
    }
}
