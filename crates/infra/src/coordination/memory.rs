//! Reservations in memory, with the book's own arithmetic. It is also what the Redis function is held against in tests.

use super::CoordinationError;
use super::reservation::{
    BuyerFigures, Ended, InUse, OpenReservation, Reservation, ReservationKey, Reserved, Shortage,
};
use exchange::account::AccountKind;
use exchange::bid::caps::Caps;
use exchange::id::{AccountId, BidProfileId, CallId};
use exchange::ledger::balances::Balances;
use exchange::ledger::money::Micros;
use exchange::ledger::transfer::{LedgerAccount, Transfer, TransferReason};
use exchange::snapshot::Snapshot;
use exchange::time::Timestamp;
use exchange::usage::{CapOwner, Usages};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// Ended attempts that are remembered, so that ending one twice changes nothing.
const ENDED_MAX: usize = 100_000;

/// What all buyers have in use.
#[derive(Debug, Default)]
pub(super) struct MemoryReservations(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    epoch: Option<NonZeroU64>,
    buyers: BTreeSet<AccountId>,
    balances: Balances,
    usages: Usages,
    slots: BTreeMap<BidProfileId, Slot>,
    groups: BTreeMap<exchange::id::CapGroupId, AccountId>,
    open: BTreeMap<ReservationKey, OpenReservation>,
    ended: Remembered,
}

/// Where a bid's usage is.
#[derive(Debug, Clone, Copy)]
struct Slot {
    number: usize,
    buyer: AccountId,
}

/// What happened once and must not happen again, the latest of it.
#[derive(Debug, Default)]
struct Remembered {
    set: BTreeSet<(AccountId, String)>,
    order: VecDeque<(AccountId, String)>,
}

impl Remembered {
    /// Whether it is new.
    fn note(&mut self, buyer: AccountId, what: String) -> bool {
        if !self.set.insert((buyer, what.clone())) {
            return false;
        }
        self.order.push_back((buyer, what));
        if self.order.len() > ENDED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.set.remove(&oldest);
        }
        true
    }

    fn has(&self, buyer: AccountId, what: String) -> bool {
        self.set.contains(&(buyer, what))
    }
}

impl MemoryReservations {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn reserve(&self, wanted: &Reservation<'_>) -> Reserved {
        self.tables().reserve(wanted)
    }

    pub(super) fn release(&self, buyer: AccountId, key: ReservationKey) -> Ended {
        self.tables().end(buyer, key, |tables, open, slot| {
            tables.usages.give_back(slot, &open.counted, open.hold);
            tables.move_back(open, open.hold);
        })
    }

    pub(super) fn finish(&self, buyer: AccountId, key: ReservationKey, spent: Option<Micros>) -> Ended {
        self.tables().end(buyer, key, |tables, open, slot| {
            tables.usages.finish(slot, &open.counted, open.hold, spent);
            tables.move_back(open, Micros(open.hold.0 - spent.unwrap_or_default().0));
        })
    }

    pub(super) fn give_back_spend(&self, ended: &OpenReservation, unspent: Micros) -> Ended {
        let mut tables = self.tables();
        let Some(slot) = tables.slots.get(&ended.bid).copied() else { return Ended::Unknown };
        if !tables.ended.note(ended.buyer, format!("{}:rest", ended.key)) {
            return Ended::Already;
        }
        tables.usages.give_back_spend(slot.number, &ended.counted, unspent);
        tables.move_back(ended, unspent);
        Ended::Done
    }

    pub(super) fn deposit(&self, buyer: AccountId, amount: Micros, reference: &str) -> Ended {
        let mut tables = self.tables();
        if !tables.buyers.contains(&buyer) {
            return Ended::Unknown;
        }
        if !tables.ended.note(buyer, format!("deposit:{reference}")) {
            return Ended::Already;
        }
        let reason = TransferReason::Deposit { account: buyer, reference: reference.to_owned() };
        tables.transfer(reason, LedgerAccount::External, LedgerAccount::Available(buyer), amount);
        Ended::Done
    }

    pub(super) fn open_buyer(&self, buyer: AccountId) {
        self.tables().buyers.insert(buyer);
    }

    pub(super) fn epoch(&self) -> Option<NonZeroU64> {
        self.tables().epoch
    }

    pub(super) fn rebuild(
        &self,
        snapshot: &Snapshot,
        epoch: NonZeroU64,
        node_of: &dyn Fn(CallId) -> Uuid,
    ) -> Result<(), CoordinationError> {
        let mut tables = self.tables();
        if tables.epoch.is_some_and(|there| there >= epoch) {
            return Err(CoordinationError::StaleEpoch { epoch });
        }
        *tables = Tables::of(snapshot, epoch, node_of);
        Ok(())
    }

    pub(super) fn erase(&self) {
        *self.tables() = Tables::default();
    }

    pub(super) fn figures(&self, buyer: AccountId) -> Option<BuyerFigures> {
        self.tables().figures(buyer)
    }
}

impl Tables {
    fn of(snapshot: &Snapshot, epoch: NonZeroU64, node_of: &dyn Fn(CallId) -> Uuid) -> Self {
        let is_buyer = |kind| kind == AccountKind::Buyer;
        let buyers = snapshot.accounts.values().filter(|account| is_buyer(account.kind));
        let mut tables = Self {
            epoch: Some(epoch),
            buyers: buyers.map(|account| account.id).collect(),
            balances: Balances::from_snapshot(&snapshot.balances),
            ..Self::default()
        };
        for group in snapshot.cap_groups.values() {
            tables.groups.insert(group.id, group.buyer);
            tables.usages.put_group(group.clone());
        }
        for usage in snapshot.usage.values() {
            match usage.owner {
                CapOwner::Group(group) => tables.usages.restore_group(group, usage),
                CapOwner::Bid(id) => {
                    if let Some(bid) = snapshot.bid_profiles.get(&id) {
                        let slot = tables.slot(id, bid.buyer, &bid.caps);
                        tables.usages.restore_bid(slot, usage);
                    }
                }
            }
        }
        for call in snapshot.open_calls.values() {
            let Some(open) = OpenReservation::of(call, node_of(call.id)) else { continue };
            let slot = tables.slot(open.bid, open.buyer, &Caps::default());
            tables.usages.resume(slot, &open.counted);
            tables.open.insert(open.key, open);
        }
        tables
    }

    /// Where a bid's usage is; a bid that is new gets a place.
    fn slot(&mut self, bid: BidProfileId, buyer: AccountId, caps: &Caps) -> usize {
        if let Some(slot) = self.slots.get(&bid) {
            return slot.number;
        }
        let number = self.slots.len();
        self.slots.insert(bid, Slot { number, buyer });
        self.usages.place_bid(number, caps, Micros::ZERO);
        number
    }

    fn reserve(&mut self, wanted: &Reservation<'_>) -> Reserved {
        let Reservation { key, node, bid, group, credit_limit, hold, now, ref local } = *wanted;
        if !self.buyers.contains(&bid.buyer) {
            return Reserved::NotReady;
        }
        if let Some(open) = self.open.get(&key) {
            return Reserved::Granted(open.counted);
        }
        if self.ended.has(bid.buyer, key.to_string()) {
            return Reserved::Over;
        }
        let slot = self.slot(bid.id, bid.buyer, &bid.caps);
        if let Some(group) = group {
            self.groups.insert(group.id, group.buyer);
            self.usages.put_group(group.clone());
        }
        if let Err(cap) = self.usages.check(slot, bid, local, hold, now) {
            return Reserved::Refused(Shortage::Cap(cap));
        }
        if let Err(funds) = self.balances.can_hold(bid.buyer, credit_limit, hold) {
            return Reserved::Refused(Shortage::Funds(funds));
        }
        let counted = self.usages.take(slot, bid, local, hold, now);
        let reason = TransferReason::Hold { call: key.call, attempt: key.attempt };
        let (from, to) = (LedgerAccount::Available(bid.buyer), LedgerAccount::Held(bid.buyer));
        self.transfer(reason, from, to, hold);
        self.open.insert(key, OpenReservation { key, node, buyer: bid.buyer, bid: bid.id, hold, counted });
        Reserved::Granted(counted)
    }

    fn end(
        &mut self,
        buyer: AccountId,
        key: ReservationKey,
        change: impl FnOnce(&mut Self, &OpenReservation, usize),
    ) -> Ended {
        let Some(open) = self.open.remove(&key) else {
            let is_new = self.ended.note(buyer, key.to_string());
            return if is_new { Ended::Unknown } else { Ended::Already };
        };
        self.ended.note(buyer, key.to_string());
        let slot = self.slots.get(&open.bid).expect("a bid that was reserved has a place").number;
        change(self, &open, slot);
        Ended::Done
    }

    /// Gives money back to who held it.
    fn move_back(&mut self, open: &OpenReservation, amount: Micros) {
        let reason = TransferReason::Release { call: open.key.call, attempt: open.key.attempt };
        let (from, to) = (LedgerAccount::Held(open.buyer), LedgerAccount::Available(open.buyer));
        self.transfer(reason, from, to, amount);
    }

    fn transfer(&mut self, reason: TransferReason, from: LedgerAccount, to: LedgerAccount, amount: Micros) {
        if amount > Micros::ZERO {
            self.balances.book(&Transfer { reason, from, to, amount_micros: amount, at: Timestamp(0) });
        }
    }

    fn figures(&self, buyer: AccountId) -> Option<BuyerFigures> {
        self.buyers.contains(&buyer).then(|| {
            let open: Vec<_> = self.open.values().filter(|open| open.buyer == buyer).copied().collect();
            let bids = self.slots.iter().filter(|(_, slot)| slot.buyer == buyer).map(|(id, slot)| {
                let taken = self.usages.of_bid(slot.number, *id).taken;
                let concurrent_calls = self.usages.concurrent_calls(slot.number);
                (CapOwner::Bid(*id), InUse { concurrent_calls, taken })
            });
            let groups = self.groups.iter().filter(|(_, owner)| **owner == buyer).filter_map(|(id, _)| {
                let taken = self.usages.of_group(*id)?.taken;
                let is_in_it = |open: &&OpenReservation| open.counted.group.is_some_and(|(of, _)| of == *id);
                let concurrent_calls =
                    u32::try_from(open.iter().filter(is_in_it).count()).unwrap_or(u32::MAX);
                Some((CapOwner::Group(*id), InUse { concurrent_calls, taken }))
            });
            let in_use = bids.chain(groups).filter(|(_, in_use)| *in_use != InUse::default()).collect();
            BuyerFigures { available: self.balances.get(LedgerAccount::Available(buyer)), in_use, open }
        })
    }
}
