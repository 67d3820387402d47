//! Accounts and their balances.

use super::conditions::Conditions;
use crate::store::columns::{kind_name, status_name};
use crate::store::connection::{ReadConnection, Value};
use crate::store::{Listing, Page, Reader, StoreError};
use exchange::account::{Account, AccountKind, AccountStatus};
use exchange::id::AccountId;
use exchange::ledger::money::Micros;
use exchange::ledger::transfer::LedgerAccount;

/// Which accounts are wanted; an absent field takes any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountFilter {
    /// Buyers or sellers.
    pub kind: Option<AccountKind>,
    /// Those of this status.
    pub status: Option<AccountStatus>,
}

/// What an account has, in micro-units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Balances {
    /// What a buyer can still spend, without its credit limit.
    pub available_micros: Micros,
    /// What a buyer has set aside for calls in progress.
    pub held_micros: Micros,
    /// What a seller has earned and not yet been paid.
    pub payable_micros: Micros,
}

impl Reader {
    /// Accounts in the order of their ids, oldest first.
    pub fn accounts(&self, filter: &AccountFilter, page: &Page) -> Result<Listing<Account>, StoreError> {
        let after = page.cursor(|text| text.parse::<AccountId>().ok())?;
        let query = Conditions::default()
            .when("kind = ?", filter.kind.map(|kind| kind_name(kind).to_owned()))
            .when("status = ?", filter.status.map(|status| status_name(status).to_owned()))
            .when("id > ?", after.map(|id| id.0))
            .page("SELECT document FROM accounts", "id", page);
        let items = self.documents("accounts", query)?;
        Ok(page.listing(items, |account: &Account| account.id.to_string()))
    }

    /// One account.
    pub fn account(&self, id: AccountId) -> Result<Option<Account>, StoreError> {
        self.one_document("accounts", "SELECT document FROM accounts WHERE id = $1", id.0)
    }

    /// What an account has. Nothing, for one that never moved money.
    pub fn balances(&self, id: AccountId) -> Result<Balances, StoreError> {
        self.with(|connection| {
            Ok(Balances {
                available_micros: balance(connection, LedgerAccount::Available(id))?,
                held_micros: balance(connection, LedgerAccount::Held(id))?,
                payable_micros: balance(connection, LedgerAccount::Payable(id))?,
            })
        })
    }

    /// What is in one place of the ledger, such as the house's margin.
    pub fn balance(&self, ledger: LedgerAccount) -> Result<Micros, StoreError> {
        self.with(|connection| balance(connection, ledger))
    }
}

fn balance(connection: &dyn ReadConnection, ledger: LedgerAccount) -> Result<Micros, StoreError> {
    let sql = "SELECT balance_micros FROM ledger_accounts WHERE name = $1";
    let name = Value::Text(ledger.to_string());
    Ok(connection.row(sql, &[name], |row| row.get(0).map(Micros))?.unwrap_or_default())
}
