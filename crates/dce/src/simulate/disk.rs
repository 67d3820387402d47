//! The simulated disk: what was committed, and everything that must hold after each unit of work.

use super::auctions::{Auctions, duplicates};
use super::promises::Promises;
use exchange::bid::caps::{Limit, Period};
use exchange::call::{Attempt, Call, CallState, Outcome};
use exchange::effect::Record;
use exchange::id::{AccountId, BidProfileId, CallId, CapGroupId};
use exchange::ledger::money::Micros;
use exchange::ledger::transfer::{LedgerAccount, TransferReason};
use exchange::recent_calls::RecentCall;
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
    moved: BTreeMap<CallId, Moved>,
    receipts: BTreeSet<CallId>,
    pub(super) promises: Promises,
    pub(super) auctions: Auctions,
    pub(super) violations: Vec<String>,
}

/// What one call has moved, in micro-units: each hold is given back or charged, to the last one.
#[derive(Debug, Default, Clone, Copy)]
struct Moved {
    held: i64,
    released: i64,
    charged: i64,
}

impl Disk {
    /// Writes one unit, whole.
    pub(super) fn write(&mut self, unit: &UnitOfWork, now: Timestamp) {
        if unit.is_empty() {
            return;
        }
        self.writes += 1;
        self.snapshot.last_alive_at = self.snapshot.last_alive_at.max(now);
        let mut broken = self.promises.broken_by(&self.snapshot, unit);
        broken.extend(self.auctions.broken_by(&self.snapshot, unit));
        for what in broken {
            self.violate(what);
        }
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
                if let Some(call) = transfer.reason.call() {
                    self.moved.entry(call).or_default().add(&transfer.reason, transfer.amount_micros);
                }
            }
            Record::Receipt(receipt) if !self.receipts.insert(receipt.call) => {
                self.violate(format!("call {} has two receipts", receipt.call));
            }
            Record::Call(call) => {
                let before = self.ended.get(&call.id);
                if before.is_some_and(|before| before.awaited_revenue().is_none()) {
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

    /// No day's caps are passed: a bid's own, or those its group shares.
    fn check_caps(&mut self, usage: &Usage) {
        let (whose, limits): (String, &[Limit]) = match usage.owner {
            CapOwner::Bid(id) => match self.snapshot.bid_profiles.get(&id) {
                Some(bid) => (format!("bid {id}"), &bid.caps.limits),
                None => return,
            },
            CapOwner::Group(id) => match self.snapshot.cap_groups.get(&id) {
                Some(group) => (format!("cap group {id}"), &group.limits),
                None => return,
            },
        };
        let [_, day, ..] = usage.taken;
        let daily = limits.iter().filter(|limit| limit.per == Period::Day);
        let calls_passed = daily.clone().filter_map(|limit| limit.calls).any(|cap| day.calls > cap);
        let spend_passed = daily.filter_map(|limit| limit.spend_micros).any(|cap| day.spend_micros > cap);
        if calls_passed {
            self.violate(format!("{whose} took {} calls in a day", day.calls));
        }
        if spend_passed {
            self.violate(format!("{whose} spent {} in a day", day.spend_micros));
        }
    }

    /// A converted call is paid for exactly as its document says; any other costs nothing. The ledger rows of a step are
    /// written before its call document, so they are known here.
    fn check_settled(&mut self, call: &Call) {
        let CallState::Ended { outcome, ended_at } = &call.state else { return };
        let moved = self.moved.get(&call.id).copied().unwrap_or_default();
        let awaited = call.awaited_revenue().map_or(0, |awaited| awaited.held_micros.0);
        if moved.held != moved.released + moved.charged + awaited {
            self.violate(format!("call {} ended with its holds at {moved:?}", call.id));
        }
        let is_booked =
            |reasons: [TransferReason; 2]| reasons.iter().any(|reason| self.transfers.contains(reason));
        let id = call.id;
        let paid =
            is_booked([TransferReason::Payout { call: id }, TransferReason::RevenuePayout { call: id }]);
        let kept =
            is_booked([TransferReason::Margin { call: id }, TransferReason::RevenueMargin { call: id }]);
        match outcome {
            Outcome::Converted {
                attempt, connected_ms, charge_micros, payout_micros, margin_micros, ..
            } => {
                let whole = payout_micros.checked_add(*margin_micros) == Some(*charge_micros);
                if !whole || *charge_micros > attempt.hold_micros || !attempt.conversion.is_met(*connected_ms)
                {
                    self.violate(format!("call {} was charged wrongly: {outcome:?}", call.id));
                }
                if moved.charged != charge_micros.0 {
                    self.violate(format!(
                        "call {} was charged {charge_micros}, and moved {moved:?}",
                        call.id
                    ));
                }
                // A revenue comes later: what was a duplicate is settled by then.
                if !self.ended.contains_key(&call.id)
                    && let Some(what) = self.paid_again(call, attempt, *payout_micros, *ended_at)
                {
                    self.violate(what);
                }
                if paid != (payout_micros.0 > 0) || kept != (margin_micros.0 > 0) {
                    self.violate(format!("call {} converted, but its charge is not in the ledger", call.id));
                }
            }
            _ if paid || kept => self.violate(format!("call {} was charged without converting", call.id)),
            _ => {}
        }
    }

    /// The same caller within the windows of the trading rules: the buyer is not charged again, the seller not paid again.
    fn paid_again(
        &self,
        call: &Call,
        attempt: &Attempt,
        payout: Micros,
        ended_at: Timestamp,
    ) -> Option<String> {
        let caller = call.caller.number()?;
        let windows = duplicates(&self.snapshot, call);
        let is_within = |recent: &RecentCall, window_s: u32| {
            recent.caller == caller && ended_at.ms_since(recent.ended_at) < u64::from(window_s) * 1_000
        };
        let recent = || self.snapshot.recent_calls.iter().filter(|(id, _)| **id != call.id);
        let charged = recent().find(|(_, recent)| {
            recent.is_charged && recent.buyer == attempt.buyer && is_within(recent, windows.charge_window_s)
        });
        let paid = recent().find(|(_, recent)| {
            recent.is_paid && recent.seller == call.seller && is_within(recent, windows.payout_window_s)
        });
        match (charged, paid) {
            (Some((first, _)), _) => {
                Some(format!("call {} was charged to the buyer of {first} again", call.id))
            }
            (None, Some((first, _))) if payout > Micros::ZERO => {
                Some(format!("call {} was paid to the seller of {first} again", call.id))
            }
            _ => None,
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
        let mut open_in_group: BTreeMap<CapGroupId, u32> = BTreeMap::new();
        for attempt in self.snapshot.open_calls.values().filter_map(Call::held_attempt) {
            *held.entry(attempt.buyer).or_default() += attempt.hold_micros.0;
            *open.entry(attempt.bid).or_default() += 1;
            if let Some((group, _)) = attempt.counted.group {
                *open_in_group.entry(group).or_default() += 1;
            }
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
            let cap = self.snapshot.bid_profiles.get(&bid).and_then(|bid| bid.caps.concurrent_calls);
            if cap.is_some_and(|cap| calls > cap) {
                found.push(format!("bid {bid} has {calls} calls at once"));
            }
        }
        for (group, calls) in open_in_group {
            let cap = self.snapshot.cap_groups.get(&group).and_then(|group| group.concurrent_calls);
            if cap.is_some_and(|cap| calls > cap) {
                found.push(format!("cap group {group} has {calls} calls at once"));
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

impl Moved {
    fn add(&mut self, reason: &TransferReason, amount: Micros) {
        match reason {
            TransferReason::Hold { .. } => self.held += amount.0,
            TransferReason::Release { .. } => self.released += amount.0,
            TransferReason::Payout { .. }
            | TransferReason::Margin { .. }
            | TransferReason::RevenuePayout { .. }
            | TransferReason::RevenueMargin { .. } => self.charged += amount.0,
            // Nobody disputes anything here.
            TransferReason::RefundPayout { .. } | TransferReason::RefundMargin { .. } => {}
            // No call's.
            TransferReason::Deposit { .. } => {}
        }
    }
}
