//! The balances in memory. Moves money; never decides whether it should move.

use crate::hash::FastMap;
use crate::id::AccountId;
use crate::ledger::money::Micros;
use crate::ledger::transfer::{LedgerAccount, Transfer};
use std::collections::BTreeMap;

/// Every ledger account's balance. Their sum is zero, always.
#[derive(Debug, Clone, Default)]
pub struct Balances {
    micros: FastMap<LedgerAccount, Micros>,
}

/// Why money cannot be set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{needed} needed, {available} available within the credit limit")]
pub struct InsufficientFunds {
    /// What the call may cost.
    pub needed: Micros,
    /// Balance plus credit limit.
    pub available: Micros,
}

impl Balances {
    /// Takes up the balances of a snapshot.
    pub fn from_snapshot(balances: &BTreeMap<LedgerAccount, Micros>) -> Self {
        Self { micros: balances.iter().map(|(account, balance)| (*account, *balance)).collect() }
    }

    /// The balance of one ledger account, in micro-units.
    pub fn get(&self, account: LedgerAccount) -> Micros {
        self.micros.get(&account).copied().unwrap_or_default()
    }

    /// Whether a buyer can set `amount` aside without passing its credit limit.
    pub fn can_hold(
        &self,
        buyer: AccountId,
        credit_limit: Micros,
        amount: Micros,
    ) -> Result<(), InsufficientFunds> {
        let available = Micros(self.get(LedgerAccount::Available(buyer)).0.saturating_add(credit_limit.0));
        if available >= amount { Ok(()) } else { Err(InsufficientFunds { needed: amount, available }) }
    }

    /// Books a transfer.
    pub fn book(&mut self, transfer: &Transfer) {
        debug_assert!(transfer.amount_micros > Micros::ZERO, "a transfer moves something: {transfer:?}");
        let from = self.micros.entry(transfer.from).or_default();
        from.0 -= transfer.amount_micros.0;
        let to = self.micros.entry(transfer.to).or_default();
        to.0 += transfer.amount_micros.0;
    }

    /// The sum of all balances: zero unless there is a defect.
    pub fn sum(&self) -> Micros {
        Micros(self.micros.values().map(|balance| balance.0).sum())
    }
}
