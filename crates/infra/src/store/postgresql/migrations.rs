//! Schema steps, each in one transaction, each recorded with its checksum.

use super::error::PostgresqlError;
use super::session::Session;
use crate::audit::Hash;
use std::time::Duration;

/// How long one step may take: some rewrite tables.
const STEP_DEADLINE: Duration = Duration::from_hours(1);

/// How long looking at the schema may take.
const LOOK_DEADLINE: Duration = Duration::from_secs(30);

/// The step at index `n` leads to schema version `n + 1`. A step that was released is never changed.
const STEPS: &[&str] = &[
    include_str!("migrations/0001_first_tables.sql"),
    include_str!("migrations/0002_months.sql"),
    include_str!("migrations/0003_audit.sql"),
    include_str!("migrations/0004_auction_buyers.sql"),
    include_str!("migrations/0005_disputes.sql"),
    include_str!("migrations/0006_nodes.sql"),
    include_str!("migrations/0007_retention.sql"),
    include_str!("migrations/0008_sessions.sql"),
    include_str!("migrations/0009_consumers.sql"),
];

/// The schema version this binary reads and writes.
#[allow(clippy::cast_possible_wrap)] // a handful of steps
pub(in crate::store) const NEWEST: i64 = STEPS.len() as i64;

/// The table that says which steps were taken.
const RECORD: &str = "CREATE TABLE IF NOT EXISTS dce_schema (
    version     bigint PRIMARY KEY,
    checksum    text NOT NULL,
    migrated_at timestamptz NOT NULL DEFAULT now()
)";

/// The schema's version, once it is sure that the schema is ours and whole. An empty database has version 0.
pub(super) fn version(session: &Session) -> Result<i64, PostgresqlError> {
    let server = || session.label().to_owned();
    let is_ours = "SELECT 1::bigint WHERE to_regclass('dce_schema') IS NOT NULL";
    if session.rows(LOOK_DEADLINE, is_ours, &[])?.is_empty() {
        let theirs = "SELECT relname::text FROM pg_class
             WHERE relnamespace = to_regnamespace(current_schema()::text)
             AND relname IN ('journal', 'accounts', 'calls', 'transfers', 'receipts', 'outbox', 'api_keys', 'writer')
             ORDER BY relname LIMIT 1";
        return match session.rows(LOOK_DEADLINE, theirs, &[])?.first() {
            Some(row) => Err(PostgresqlError::Foreign { server: server(), table: row.get(0) }),
            None => Ok(0),
        };
    }
    let taken =
        session.rows(LOOK_DEADLINE, "SELECT version, checksum FROM dce_schema ORDER BY version", &[])?;
    for (expected, row) in (1..).zip(&taken) {
        let (version, checksum): (i64, String) = (row.get(0), row.get(1));
        let differs = |finding: &str| {
            Err(PostgresqlError::SchemaDiffers { server: server(), version, finding: finding.to_owned() })
        };
        let step = usize::try_from(expected - 1).ok().and_then(|place| STEPS.get(place));
        match step {
            _ if version != expected => return differs("is recorded, but the one before it is not"),
            Some(step) if checksum_of(step) != checksum => {
                return differs("is not the one this binary knows under that number");
            }
            Some(_) | None => {}
        }
    }
    let found = i64::try_from(taken.len()).unwrap_or(i64::MAX);
    if found > NEWEST {
        return Err(PostgresqlError::SchemaTooNew { server: server(), found, known: NEWEST });
    }
    Ok(found)
}

/// Brings the schema up to [`NEWEST`]. The caller holds the writer's lock. What breaks in between leaves the last whole step.
pub(super) fn migrate(session: &Session) -> Result<(), PostgresqlError> {
    let found = version(session)?;
    for (next, step) in (1i64..).zip(STEPS).filter(|(next, _)| *next > found) {
        let record =
            format!("INSERT INTO dce_schema (version, checksum) VALUES ({next}, '{}')", checksum_of(step));
        let statements =
            format!("BEGIN; SET LOCAL statement_timeout = 0; {RECORD}; {step}; {record}; COMMIT");
        session.run(STEP_DEADLINE, &statements).map_err(|error| half_taken(next, error))?;
        tracing::info!(server = session.label(), version = next, "schema migrated");
    }
    Ok(())
}

/// A step that fails because something of it is there already was taken by hand, or recorded nowhere.
fn half_taken(version: i64, error: PostgresqlError) -> PostgresqlError {
    // Something of the name is there: a table, a column, a function, any other thing.
    const DUPLICATES: [&str; 4] = ["42P07", "42701", "42723", "42710"];
    match error {
        PostgresqlError::Other { server, finding, code } if DUPLICATES.contains(&code.as_str()) => {
            let finding = format!("cannot be taken, part of it is there ({finding})");
            PostgresqlError::SchemaDiffers { server, version, finding }
        }
        error => error,
    }
}

fn checksum_of(step: &str) -> String {
    Hash::of(step).to_string()
}
