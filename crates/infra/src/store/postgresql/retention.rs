//! Retention on PostgreSQL: months to come get their partitions, months whose time is over are detached, one after the other.

use super::error::PostgresqlError;
use super::server::PostgresqlUrl;
use super::session::{CONNECT_DEADLINE, Session};
use crate::store::StoreError;
use crate::store::connection::Value;
use crate::store::retention::{Cleared, Cutoffs, Readers};
use jiff::civil::Date;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long one month may take: it is counted and summed.
const MONTH_DEADLINE: Duration = Duration::from_hours(1);

/// How long anything else may take.
const DEADLINE: Duration = Duration::from_mins(2);

/// Whoever holds a lock keeps it, and whoever would wait behind us for one waits no longer than this. Less than the second after which
/// PostgreSQL looks for deadlocks: then it is always we who give up.
const SET_UP: &str = "SET lock_timeout = '900ms'; SET statement_timeout = '1h'; SET jit = off";

/// Months of which there are partitions, this one included.
const MONTHS_AHEAD: u32 = 4;

/// Makes the partitions of the months to come that are missing; how many that were.
pub(super) fn make_partitions(session: &Session) -> Result<u64, PostgresqlError> {
    let sql = format!("SELECT make_partitions((now() AT TIME ZONE 'UTC')::date, {MONTHS_AHEAD})::bigint");
    let made: i64 = session.rows(DEADLINE, &sql, &[])?[0].get(0);
    Ok(made.unsigned_abs())
}

/// Does what is due.
pub(in crate::store) fn clear(
    url: &PostgresqlUrl,
    cutoffs: Cutoffs,
    expected_readers: &[String],
    stopping: &AtomicBool,
) -> Result<Cleared, StoreError> {
    let session = Session::connect(url, CONNECT_DEADLINE)?;
    session.run(DEADLINE, SET_UP)?;
    let mut cleared = Cleared { partitions_made: make_partitions(&session)?, ..Cleared::default() };
    let cursors = session.rows(DEADLINE, "SELECT name, seq FROM cursors", &[])?;
    let cursors = cursors.iter().map(|row| (row.get(0), row.get(1))).collect();
    let readers = Readers::of(cursors, expected_readers);
    for Month { what, name, begins } in months(&session, cutoffs)? {
        if stopping.load(Ordering::Relaxed) {
            break;
        }
        let sql = "SELECT detach_month($1, $2::text::date, $3)::bigint";
        let values: [Value; 3] = [what.clone().into(), begins.into(), readers.read_up_to.into()];
        let tables: i64 = session.rows(MONTH_DEADLINE, sql, &values)?[0].get(0);
        if tables > 0 {
            tracing::info!(what, month = name, tables, "retention: a month was detached");
            cleared.months_detached += 1;
        } else {
            let reader = readers.last.as_deref().unwrap_or_default();
            cleared.kept.push(match what.as_str() {
                "outbox" => format!("events of {name} that '{reader}' has not read"),
                _ => format!("{name}, of which calls are open, await revenue or are disputed"),
            });
        }
    }
    Ok(cleared)
}

/// A month of tables that leave together.
struct Month {
    what: String,
    /// Such as `2026-07`.
    name: String,
    /// Its first day.
    begins: String,
}

/// Months whose time is over, the oldest first.
fn months(session: &Session, cutoffs: Cutoffs) -> Result<Vec<Month>, StoreError> {
    let sql = "SELECT leaves_with, to_char(month, 'YYYY-MM'), month::text FROM months
        WHERE month + interval '1 month' <= CASE leaves_with
            WHEN 'journal' THEN $1::text::date WHEN 'outbox' THEN $2::text::date ELSE $3::text::date END
        ORDER BY month, leaves_with";
    let day = |date: Date| Value::from(date.to_string());
    let values = [day(cutoffs.journal), day(cutoffs.outbox), day(cutoffs.records)];
    let rows = session.rows(DEADLINE, sql, &values)?;
    Ok(rows.iter().map(|row| Month { what: row.get(0), name: row.get(1), begins: row.get(2) }).collect())
}
