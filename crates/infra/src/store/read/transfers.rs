//! Money that moved.

use crate::store::connection::{Dialect, ReadConnection, Row, Value};
use crate::store::{Listing, Page, Reader, StoreError};
use exchange::id::{AccountId, CallId};
use exchange::ledger::money::Micros;
use exchange::ledger::transfer::{LedgerAccount, Transfer, TransferReason};
use exchange::time::Timestamp;
use std::slice;
use uuid::Uuid;

const SELECT: &str = "SELECT t.seq, t.reason, payer.name, payee.name, t.amount_micros, t.at
    FROM transfers t
    JOIN ledger_accounts payer ON payer.id = t.from_ledger
    JOIN ledger_accounts payee ON payee.id = t.to_ledger";

/// A transfer with its place in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookedTransfer {
    /// Its place; later ones have higher numbers.
    pub seq: i64,
    /// What moved.
    pub transfer: Transfer,
}

impl Reader {
    /// The money a call moved, in order.
    pub fn transfers_of_call(&self, call: CallId) -> Result<Vec<BookedTransfer>, StoreError> {
        let (which, key): (_, Value) = match self.dialect() {
            // Ranges of the unique index, instead of an index of its own; ';' is the character after ':'.
            Dialect::Sqlite => (
                "t.reason IN ('payout:' || $1, 'margin:' || $1, 'revenue_payout:' || $1, 'revenue_margin:' || $1,
                     'refund_payout:' || $1, 'refund_margin:' || $1)
                 OR (t.reason > 'hold:' || $1 || ':' AND t.reason < 'hold:' || $1 || ';')
                 OR (t.reason > 'release:' || $1 || ':' AND t.reason < 'release:' || $1 || ';')",
                call.to_string().into(),
            ),
            Dialect::Postgresql => ("t.call = $1", call.0.into()),
        };
        let sql = format!("{SELECT} WHERE {which} ORDER BY t.seq");
        self.with(|connection| connection.rows(&sql, slice::from_ref(&key), booked))
    }

    /// The money an account moved, newest first.
    pub fn transfers_of_account(
        &self,
        account: AccountId,
        page: &Page,
    ) -> Result<Listing<BookedTransfer>, StoreError> {
        let before = page.cursor(|text| text.parse::<i64>().ok())?.unwrap_or(i64::MAX);
        let items = self.with(|connection| {
            let ledgers = [
                LedgerAccount::Available(account),
                LedgerAccount::Held(account),
                LedgerAccount::Payable(account),
            ];
            let mut found = Vec::new();
            for ledger in ledgers {
                found.extend(newest(connection, ledger, before, page.rows())?);
            }
            // A hold is found twice: it leaves one ledger of the account and enters another.
            found.sort_by_key(|booked| std::cmp::Reverse(booked.seq));
            found.dedup_by_key(|booked| booked.seq);
            Ok(found)
        })?;
        Ok(page.listing(items, |booked| booked.seq.to_string()))
    }

    /// The transfer booked for this reason, if it was: how a payment is found to be booked already.
    pub fn transfer(&self, reason: &TransferReason) -> Result<Option<BookedTransfer>, StoreError> {
        let text = reason.to_string();
        let (which, values): (_, Vec<Value>) = match self.dialect() {
            Dialect::Sqlite => ("t.reason = $1", vec![text.into()]),
            // Transfers are kept by call; those without one under no id at all.
            Dialect::Postgresql => {
                let call = reason.call().map_or(Uuid::nil(), |call| call.0);
                ("t.call = $1 AND t.reason = $2", vec![call.into(), text.into()])
            }
        };
        let sql = format!("{SELECT} WHERE {which}");
        self.with(|connection| connection.row(&sql, &values, booked))
    }
}

/// The newest transfers from or to one ledger account. Each side reads its index backwards, so that the cost does
/// not grow with the account's history.
fn newest(
    connection: &dyn ReadConnection,
    ledger: LedgerAccount,
    before: i64,
    rows: i64,
) -> Result<Vec<BookedTransfer>, StoreError> {
    let name = Value::Text(ledger.to_string());
    let sql = "SELECT id FROM ledger_accounts WHERE name = $1";
    let Some(id) = connection.row(sql, &[name], |row| row.get::<i64>(0))? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for side in ["from_ledger", "to_ledger"] {
        let sql = format!("{SELECT} WHERE t.{side} = $1 AND t.seq < $2 ORDER BY t.seq DESC LIMIT $3");
        found.extend(connection.rows(&sql, &[id.into(), before.into(), rows.into()], booked)?);
    }
    Ok(found)
}

fn booked(row: &dyn Row) -> Result<BookedTransfer, StoreError> {
    let transfer = Transfer {
        reason: row.key("transfers", 1)?,
        from: row.key("ledger_accounts", 2)?,
        to: row.key("ledger_accounts", 3)?,
        amount_micros: Micros(row.get(4)?),
        at: Timestamp(row.get(5)?),
    };
    Ok(BookedTransfer { seq: row.get(0)?, transfer })
}
