//! Money that moved.

use super::{Reader, ledger_account};
use crate::store::{Listing, Page, StoreError};
use exchange::id::{AccountId, CallId};
use exchange::ledger::money::Micros;
use exchange::ledger::transfer::{LedgerAccount, Transfer, TransferReason};
use exchange::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Params, Row};

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
        // Four ranges of the unique index, instead of an index of its own; ';' is the character after ':'.
        let sql = format!(
            "{SELECT} WHERE t.reason IN ('payout:' || ?1, 'margin:' || ?1, 'revenue_payout:' || ?1, 'revenue_margin:' || ?1)
             OR (t.reason > 'hold:' || ?1 || ':' AND t.reason < 'hold:' || ?1 || ';')
             OR (t.reason > 'release:' || ?1 || ':' AND t.reason < 'release:' || ?1 || ';')
             ORDER BY t.seq"
        );
        self.with(|connection| transfers(connection, &sql, [call.to_string()]))
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
        let sql = format!("{SELECT} WHERE t.reason = ?1");
        self.with(|connection| Ok(transfers(connection, &sql, [reason.to_string()])?.pop()))
    }
}

/// The newest transfers from or to one ledger account. Each side reads its index backwards, so that the cost does
/// not grow with the account's history.
fn newest(
    connection: &Connection,
    ledger: LedgerAccount,
    before: i64,
    rows: i64,
) -> Result<Vec<BookedTransfer>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT id FROM ledger_accounts WHERE name = ?1")?;
    let id: Option<i64> = statement.query_row([ledger.to_string()], |row| row.get(0)).optional()?;
    let Some(id) = id else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for side in ["from_ledger", "to_ledger"] {
        let sql = format!("{SELECT} WHERE t.{side} = ?1 AND t.seq < ?2 ORDER BY t.seq DESC LIMIT ?3");
        found.extend(transfers(connection, &sql, [id, before, rows])?);
    }
    Ok(found)
}

fn transfers(
    connection: &Connection,
    sql: &str,
    values: impl Params,
) -> Result<Vec<BookedTransfer>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(values)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(booked(row)?);
    }
    Ok(found)
}

fn booked(row: &Row<'_>) -> Result<BookedTransfer, StoreError> {
    let transfer = Transfer {
        reason: reason(row, 1)?,
        from: ledger_account(row, 2)?,
        to: ledger_account(row, 3)?,
        amount_micros: Micros(row.get(4)?),
        at: Timestamp(row.get(5)?),
    };
    Ok(BookedTransfer { seq: row.get(0)?, transfer })
}

/// Reads a transfer's unique key.
pub(in crate::store::sqlite) fn reason(row: &Row<'_>, column: usize) -> Result<TransferReason, StoreError> {
    let text: String = row.get(column)?;
    text.parse().map_err(|finding| StoreError::Row { table: "transfers", row: text, finding })
}
