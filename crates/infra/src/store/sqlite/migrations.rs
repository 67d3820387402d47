//! Schema versions, each reached from the one before in one transaction.

use crate::store::StoreError;
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;

/// Marks the file as ours: "DCEX".
pub(super) const APPLICATION_ID: i32 = 0x4443_4558;

/// The step at index `n` leads to schema version `n + 1`. A step that was released is never changed.
const STEPS: &[&str] = &[
    include_str!("migrations/0001_first_tables.sql"),
    include_str!("migrations/0002_trading.sql"),
    include_str!("migrations/0003_revenue.sql"),
    include_str!("migrations/0004_cursors.sql"),
    include_str!("migrations/0005_audit.sql"),
    include_str!("migrations/0006_auction_buyers.sql"),
    include_str!("migrations/0007_disputes.sql"),
    include_str!("migrations/0008_sessions.sql"),
    include_str!("migrations/0009_consumers.sql"),
];

/// The schema version this binary reads and writes.
#[allow(clippy::cast_possible_wrap)] // a handful of steps
pub(in crate::store) const NEWEST: i64 = STEPS.len() as i64;

/// Reads the schema version after making sure that the file is ours. A file without any content has version 0.
pub(super) fn version(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let application_id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let objects: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let fresh = application_id == 0 && found == 0 && objects == 0;
    if application_id != APPLICATION_ID && !fresh {
        return Err(StoreError::Foreign { path: path.to_owned(), application_id });
    }
    if found > NEWEST {
        return Err(StoreError::SchemaTooNew { path: path.to_owned(), found, known: NEWEST });
    }
    Ok(found)
}

/// Brings the schema up to [`NEWEST`]. A crash in between leaves the last whole step.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let found = version(connection, path)?;
    for (next, step) in (1i64..).zip(STEPS).filter(|(next, _)| *next > found) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(step).map_err(|error| half_taken(path, next, error))?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", next)?;
        transaction.commit()?;
        tracing::info!(path = %path.display(), version = next, "schema migrated");
    }
    Ok(())
}

/// A step that fails because something of it is there already was taken by hand, or recorded nowhere.
fn half_taken(path: &Path, version: i64, error: rusqlite::Error) -> StoreError {
    let finding = error.to_string();
    let is_there = ["already exists", "duplicate column name"].iter().any(|words| finding.contains(words));
    if is_there {
        let finding = finding.lines().next().unwrap_or_default().to_owned();
        StoreError::SchemaDiffers { path: path.to_owned(), version, finding }
    } else {
        StoreError::Sql(error)
    }
}
