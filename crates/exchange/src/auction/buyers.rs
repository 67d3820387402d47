//! Buyers as a search sees them: side by side, so that asking one costs one look.

use crate::account::{Account, AccountStatus};
use crate::hash::FastMap;
use crate::id::AccountId;
use crate::ledger::balances::Balances;
use crate::ledger::money::{Currency, Micros};
use crate::ledger::transfer::LedgerAccount;

/// What a buyer can do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuyerStanding {
    /// Balance plus credit limit, in micro-units.
    pub spendable: Micros,
    /// The currency of its account.
    pub currency: Currency,
    /// Whether it may trade.
    pub is_active: bool,
}

/// Every account that ever bid or may, by a number of its own. Always what accounts and balances say.
#[derive(Debug, Clone, Default)]
pub struct Buyers {
    numbers: FastMap<AccountId, u32>,
    standings: Vec<BuyerStanding>,
}

impl Buyers {
    /// Notes an account as it now is.
    pub fn note_account(&mut self, account: &Account, balances: &Balances) {
        let standing = BuyerStanding {
            spendable: spendable(account, balances),
            currency: account.currency,
            is_active: account.status == AccountStatus::Active,
        };
        if let Some(number) = self.numbers.get(&account.id) {
            self.standings[*number as usize] = standing;
            return;
        }
        let number = u32::try_from(self.standings.len()).expect("fewer than four billion accounts");
        self.numbers.insert(account.id, number);
        self.standings.push(standing);
    }

    /// Notes that so much more, or less, is available to an account.
    pub fn note_change(&mut self, account: AccountId, change: Micros) {
        if let Some(number) = self.numbers.get(&account) {
            self.standings[*number as usize].spendable.0 += change.0;
        }
    }

    /// The number of an account; none of one that is not there.
    pub fn number(&self, account: AccountId) -> Option<u32> {
        self.numbers.get(&account).copied()
    }

    /// What an account can do now, by its number.
    pub fn at(&self, number: u32) -> Option<&BuyerStanding> {
        self.standings.get(number as usize)
    }
}

fn spendable(account: &Account, balances: &Balances) -> Micros {
    let available = balances.get(LedgerAccount::Available(account.id));
    Micros(available.0.saturating_add(account.credit_limit_micros.0))
}
