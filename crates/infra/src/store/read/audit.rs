//! The audit log: its entries and anchors, and what an anchor states.

use super::conditions::Conditions;
use super::events::store_id;
use crate::audit::{Anchor, Hash, Head, SealedEntry, Statement};
use crate::store::connection::{ReadConnection, Row};
use crate::store::{Listing, Page, Reader, StoreError};
use exchange::time::Timestamp;
use sha2::{Digest, Sha256};
use std::ops::RangeInclusive;

/// Which entries are wanted; an absent field takes any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Those about this, such as `account/<id>`.
    pub subject: Option<String>,
}

const SELECT: &str = "SELECT seq, at, actor, api_key, role, action, subject, detail, previous_hash, hash
    FROM audit_entries";

impl Reader {
    /// Entries of the audit log, newest first.
    pub fn audit_entries(
        &self,
        filter: &AuditFilter,
        page: &Page,
    ) -> Result<Listing<SealedEntry>, StoreError> {
        let before = page.cursor(|text| text.parse::<i64>().ok())?;
        let (sql, values) = Conditions::default()
            .when("seq < ?", before)
            .when("subject = ?", filter.subject.as_deref())
            .page(SELECT, "seq DESC", page);
        let items = self.with(|connection| connection.rows(&sql, &values, entry))?;
        Ok(page.listing(items, |entry| entry.seq.to_string()))
    }

    /// Gives every entry whose number is in `numbers` to `take`, in order, as of one moment.
    pub fn each_audit_entry(
        &self,
        numbers: RangeInclusive<i64>,
        mut take: impl FnMut(SealedEntry) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.once(|connection| each_entry(connection, numbers, &mut take))
    }

    /// Every anchor, in the order of the entries they are of. There is one for each stretch of the log between two anchorings.
    pub fn audit_anchors(&self) -> Result<Vec<Anchor>, StoreError> {
        self.with(|connection| {
            let sql = "SELECT document FROM audit_anchors ORDER BY seq";
            connection.rows(sql, &[], |row| row.document("audit_anchors", 0))
        })
    }

    /// What can be anchored now; nothing when the last entry is anchored already, or there is none.
    pub fn audit_statement(&self, at: Timestamp) -> Result<Option<Statement>, StoreError> {
        self.with(|connection| {
            let head = head(connection)?;
            let anchored = "SELECT coalesce(max(seq), 0) FROM audit_anchors";
            let anchored = connection.row(anchored, &[], |row| row.get::<i64>(0))?.unwrap_or_default();
            if head.seq <= anchored {
                return Ok(None);
            }
            let transfers = "SELECT coalesce(max(seq), 0) FROM transfers";
            let transfers = connection.row(transfers, &[], |row| row.get(0))?.unwrap_or_default();
            let balances_hash = stored_balances(connection)?;
            let store = store_name(connection)?;
            Ok(Some(Statement { store, seq: head.seq, hash: head.hash, transfers, balances_hash, at }))
        })
    }
}

/// Gives entries to `take` in the order of their numbers.
pub(in crate::store) fn each_entry(
    connection: &dyn ReadConnection,
    numbers: RangeInclusive<i64>,
    take: &mut dyn FnMut(SealedEntry) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let (first, last) = numbers.into_inner();
    let sql = format!("{SELECT} WHERE seq BETWEEN {first} AND {last} ORDER BY seq");
    connection.each(&sql, |row| take(entry(row)?))
}

/// Selects the end of the log.
pub(in crate::store) const HEAD: &str = "SELECT seq, at, hash FROM audit_head";

/// Reads what [`HEAD`] selects.
pub(in crate::store) fn read_head(row: &dyn Row) -> Result<Head, StoreError> {
    Ok(Head { seq: row.get(0)?, at: Timestamp(row.get(1)?), hash: Hash(row.get(2)?) })
}

/// The end of the log, as the writer noted it.
pub(in crate::store) fn head(connection: &dyn ReadConnection) -> Result<Head, StoreError> {
    connection.row(HEAD, &[], read_head)?.ok_or(StoreError::NoIdentity)
}

/// Whose log it is: the store's id, as 16 hexadecimal digits.
pub(in crate::store) fn store_name(connection: &dyn ReadConnection) -> Result<String, StoreError> {
    Ok(format!("{:016x}", u64::from_be_bytes(store_id(connection)?)))
}

/// The hash of the balances as they are kept.
fn stored_balances(connection: &dyn ReadConnection) -> Result<Hash, StoreError> {
    let mut hash = BalancesHash::default();
    let sql = "SELECT name, balance_micros FROM ledger_accounts WHERE balance_micros <> 0 ORDER BY name";
    connection.each(sql, |row| {
        hash.add(row.get(0)?, row.get(1)?);
        Ok(())
    })?;
    Ok(hash.finish())
}

/// The hash of balances, given in the order of their names.
#[derive(Default)]
pub(in crate::store) struct BalancesHash(Sha256);

impl BalancesHash {
    /// Adds a balance, unless there is nothing.
    pub(in crate::store) fn add(&mut self, name: &str, balance_micros: i64) {
        if balance_micros != 0 {
            self.0.update(format!("{name}={balance_micros}\n"));
        }
    }

    pub(in crate::store) fn finish(self) -> Hash {
        Hash(self.0.finalize().into())
    }
}

fn entry(row: &dyn Row) -> Result<SealedEntry, StoreError> {
    Ok(SealedEntry {
        seq: row.get(0)?,
        at: Timestamp(row.get(1)?),
        actor: row.get(2)?,
        api_key: row.get(3)?,
        role: row.get(4)?,
        action: row.get(5)?,
        subject: row.get(6)?,
        detail: row.get(7)?,
        previous_hash: Hash(row.get(8)?),
        hash: Hash(row.get(9)?),
    })
}
