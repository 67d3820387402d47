//! Accounts and their balances.

use super::query::{Conditions, blob};
use super::{Reader, documents, one_document};
use crate::store::sqlite::rows::{kind_name, status_name};
use crate::store::{Listing, Page, StoreError};
use exchange::account::{Account, AccountKind, AccountStatus};
use exchange::id::AccountId;
use exchange::ledger::money::Micros;
use exchange::ledger::transfer::LedgerAccount;
use rusqlite::{Connection, OptionalExtension};

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
        let (sql, values) = Conditions::default()
            .when("kind = ?", filter.kind.map(|kind| kind_name(kind).to_owned()))
            .when("status = ?", filter.status.map(|status| status_name(status).to_owned()))
            .when("id > ?", after.map(|id| blob(id.0)))
            .query("SELECT document FROM accounts", "ORDER BY id");
        let items = self.with(|connection| documents(connection, "accounts", &sql, values, page))?;
        Ok(page.listing(items, |account: &Account| account.id.to_string()))
    }

    /// One account.
    pub fn account(&self, id: AccountId) -> Result<Option<Account>, StoreError> {
        let sql = "SELECT document FROM accounts WHERE id = ?1";
        self.with(|connection| one_document(connection, "accounts", sql, [id.0.as_bytes()]))
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

fn balance(connection: &Connection, ledger: LedgerAccount) -> Result<Micros, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT balance_micros FROM ledger_accounts WHERE name = ?1")?;
    let found = statement.query_row([ledger.to_string()], |row| row.get(0)).optional()?;
    Ok(Micros(found.unwrap_or(0)))
}
