//! One hash of the books: two stores in which the same was booked have the same, whatever database they are on.
//!
//! It covers the transfers in the order they were booked, the balances by name, and what each call came to by its id. It leaves out
//! what a store gives away by itself (its own id, numbers of rows) and texts of documents.

use crate::audit::Hash;
use crate::store::columns::CallFacts;
use exchange::id::CallId;
use exchange::ledger::money::Micros;
use exchange::ledger::transfer::LedgerAccount;
use sha2::{Digest, Sha256};
use std::fmt::Display;

/// A hash under way. What is added, and in which order, is this module's to say.
#[derive(Default)]
pub(super) struct LedgerDigest(Sha256);

impl LedgerDigest {
    /// The next transfer.
    pub(super) fn transfer(
        &mut self,
        reason: &impl Display,
        from: LedgerAccount,
        to: LedgerAccount,
        amount: Micros,
        at: i64,
    ) {
        self.0.update(format!("transfer {reason} {from} {to} {} {at}\n", amount.0));
    }

    /// The next balance, unless there is nothing.
    pub(super) fn balance(&mut self, ledger: LedgerAccount, balance: Micros) {
        if balance != Micros::ZERO {
            self.0.update(format!("balance {ledger} {}\n", balance.0));
        }
    }

    /// The next call.
    pub(super) fn call(&mut self, call: CallId, facts: &CallFacts) {
        let CallFacts { state, outcome, charge, payout, margin, ended_at, .. } = facts;
        let outcome = outcome.unwrap_or("open");
        let ended_at = ended_at.map_or(0, |at| at.0);
        self.0.update(format!(
            "call {call} {state} {outcome} {} {} {} {ended_at}\n",
            charge.0, payout.0, margin.0
        ));
    }

    pub(super) fn finish(self) -> Hash {
        Hash(self.0.finalize().into())
    }
}
