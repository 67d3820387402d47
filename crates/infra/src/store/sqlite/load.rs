//! What recovery reads: the snapshot from which the in-memory book is rebuilt.

use super::read::transfers::reason;
use super::read::{Reader, document, ledger_account};
use crate::store::StoreError;
use exchange::account::Account;
use exchange::bid::BidProfile;
use exchange::call::Call;
use exchange::effect::DailyUsage;
use exchange::id::BidProfileId;
use exchange::ledger::money::Micros;
use exchange::schedule::CalendarDay;
use exchange::snapshot::Snapshot;
use exchange::time::Timestamp;
use exchange::tracking_number::TrackingNumber;
use rusqlite::Connection;
use serde::de::DeserializeOwned;
use uuid::Uuid;

impl Reader {
    /// Everything that must survive a restart, as of the last commit: the fold of all records ever written.
    pub fn load(&self) -> Result<Snapshot, StoreError> {
        self.with(|connection| {
            let mut snapshot = Snapshot {
                last_alive_at: Timestamp(connection.query_row(
                    "SELECT last_alive_at FROM liveness",
                    [],
                    |row| row.get(0),
                )?),
                ..Snapshot::default()
            };
            each_document(connection, "accounts", "SELECT document FROM accounts", |account: Account| {
                snapshot.accounts.insert(account.id, account);
            })?;
            let numbers = "SELECT document FROM tracking_numbers";
            each_document(connection, "tracking_numbers", numbers, |number: TrackingNumber| {
                snapshot.tracking_numbers.insert(number.number, number);
            })?;
            each_document(
                connection,
                "bid_profiles",
                "SELECT document FROM bid_profiles",
                |bid: BidProfile| {
                    snapshot.bid_profiles.insert(bid.id, bid);
                },
            )?;
            let open_calls = "SELECT document FROM calls WHERE outcome IS NULL";
            each_document(connection, "calls", open_calls, |call: Call| {
                snapshot.open_calls.insert(call.id, call);
            })?;
            load_balances(connection, &mut snapshot)?;
            load_deposits(connection, &mut snapshot)?;
            load_usage(connection, &mut snapshot)?;
            Ok(snapshot)
        })
    }
}

fn each_document<T: DeserializeOwned>(
    connection: &Connection,
    table: &'static str,
    sql: &str,
    mut take: impl FnMut(T),
) -> Result<(), StoreError> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        take(document(table, row, 0)?);
    }
    Ok(())
}

fn load_balances(connection: &Connection, snapshot: &mut Snapshot) -> Result<(), StoreError> {
    let mut statement = connection.prepare("SELECT name, balance_micros FROM ledger_accounts")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        snapshot.balances.insert(ledger_account(row, 0)?, Micros(row.get(1)?));
    }
    Ok(())
}

fn load_deposits(connection: &Connection, snapshot: &mut Snapshot) -> Result<(), StoreError> {
    // A range of the unique index: ';' is the character after ':'.
    let sql = "SELECT reason FROM transfers WHERE reason >= 'deposit:' AND reason < 'deposit;'";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        snapshot.deposits.insert(reason(row, 0)?);
    }
    Ok(())
}

fn load_usage(connection: &Connection, snapshot: &mut Snapshot) -> Result<(), StoreError> {
    let mut statement = connection.prepare("SELECT bid, day, calls, spend_micros FROM daily_usage")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let bid = BidProfileId(Uuid::from_bytes(row.get(0)?));
        let usage = DailyUsage {
            bid,
            day: CalendarDay(row.get(1)?),
            calls: row.get(2)?,
            spend_micros: Micros(row.get(3)?),
        };
        snapshot.usage.insert(bid, usage);
    }
    Ok(())
}
