//! The audit: everything that must be true of the books, asked of the rows themselves.
//!
//! It reads in streams. What it remembers grows with the number of accounts, never with the number of calls.

mod ledger;
mod calls;
mod digest;
mod audit;
mod roll_ups;

use super::connection::{Dialect, ReadConnection};
use super::{Reader, StoreError};
use crate::audit::Hash;
use digest::LedgerDigest;
use exchange::id::AccountId;
use exchange::ledger::money::Micros;
use std::collections::BTreeMap;

/// Findings kept in a report; more are only counted.
const FINDINGS_MAX: usize = 1_000;

/// What an audit found.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct VerifyReport {
    /// What is wrong, one readable line each; the first thousand.
    pub violations: Vec<String>,
    /// How many there are, kept or not.
    pub violations_total: u64,
    /// The sum of all balances, in micro-units. Anything but 0 is a violation.
    pub ledger_sum_micros: i64,
    /// Calls that hold money now.
    pub open_holds: u64,
    /// Calls looked at.
    pub calls: u64,
    /// Transfers looked at.
    pub transfers: u64,
    /// Journal entries looked at.
    pub journal_entries: u64,
    /// The hash of what is booked: transfers in their order, balances, what each call came to. The same on every database.
    pub ledger_digest: Hash,
    /// Whether the roll-ups had every event, so that they could be compared with the calls.
    pub roll_ups_compared: bool,
}

impl VerifyReport {
    fn violation(&mut self, line: String) {
        self.violations_total += 1;
        if self.violations.len() < FINDINGS_MAX {
            self.violations.push(line);
        }
    }
}

impl Reader {
    /// Audits the books as of the last commit. On a live SQLite store the write-ahead log grows until it is done.
    pub fn verify(&self) -> Result<VerifyReport, StoreError> {
        self.with(|connection| {
            let mut report = VerifyReport::default();
            connection.keep_months()?;
            for finding in connection.damage()? {
                report.violation(format!("database: {finding}"));
            }
            verify_journal(connection, self.dialect(), &mut report)?;
            let mut digest = LedgerDigest::default();
            let balances = ledger::verify(connection, self.dialect(), &mut digest, &mut report)?;
            let mut roll_ups = roll_ups::RollUpCheck::begin(connection, self.dialect())?;
            let open_holds =
                calls::verify(connection, self.dialect(), &mut digest, roll_ups.as_mut(), &mut report)?;
            report.roll_ups_compared = roll_ups.is_some();
            if let Some(roll_ups) = roll_ups {
                roll_ups.finish(&mut report);
            }
            compare_holds(&balances.held, &open_holds, &mut report);
            report.ledger_digest = digest.finish();
            Ok(report)
        })
    }
}

/// Money by buyer.
type ByBuyer = BTreeMap<AccountId, Micros>;

/// The journal counts 1, 2, 3 without a gap; after detached months, from the number that follows theirs.
fn verify_journal(
    connection: &dyn ReadConnection,
    dialect: Dialect,
    report: &mut VerifyReport,
) -> Result<(), StoreError> {
    let detached = match dialect {
        Dialect::Sqlite => 0,
        Dialect::Postgresql => {
            let sql = "SELECT coalesce(max(seq_max), 0) FROM detached WHERE parent = 'journal'";
            connection.row(sql, &[], |row| row.get::<i64>(0))?.unwrap_or_default()
        }
    };
    let sql = "SELECT count(*), coalesce(min(seq), 0), coalesce(max(seq), 0) FROM journal";
    let counted = connection.row(sql, &[], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let (count, first, last): (i64, i64, i64) = counted.unwrap_or_default();
    report.journal_entries = count.cast_unsigned();
    if count > 0 && (first != detached + 1 || last != detached + count) {
        report.violation(format!("journal: {count} entries numbered {first} to {last}; some are missing"));
    }
    Ok(())
}

/// What each buyer has set aside is what its open calls hold.
fn compare_holds(held: &ByBuyer, open_holds: &ByBuyer, report: &mut VerifyReport) {
    for (buyer, balance) in held {
        let held_by_calls = open_holds.get(buyer).copied().unwrap_or_default();
        if *balance != held_by_calls {
            report.violation(format!("buyer {buyer}: {balance} held, but open calls hold {held_by_calls}"));
        }
    }
    for (buyer, held_by_calls) in open_holds.iter().filter(|(buyer, _)| !held.contains_key(buyer)) {
        report.violation(format!("buyer {buyer}: nothing held, but open calls hold {held_by_calls}"));
    }
}
