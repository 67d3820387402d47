//! Retention on SQLite: events that are old and read are deleted, a few at a time, so that the writer waits for none of it for long.
//! Their pages are used again: the file does not shrink, and grows no more.

use super::{Access, FILE_NAME, connect, name_path};
use crate::store::StoreError;
use crate::store::retention::{Cleared, Cutoffs, Readers};
use jiff::tz::TimeZone;
use rusqlite::Connection;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Events deleted with one commit.
const BATCH: u32 = 1_000;

/// Between two batches the disk is the writer's.
const PAUSE: Duration = Duration::from_millis(20);

/// The oldest events, of those that everybody has read; the last one of all stays, for the next number follows from it. Events are
/// numbered in the order of their times.
const DELETE: &str = "DELETE FROM outbox WHERE seq IN (
    SELECT seq FROM (SELECT seq, at FROM outbox
        WHERE seq <= ?1 AND seq < (SELECT max(seq) FROM outbox) ORDER BY seq LIMIT ?3)
    WHERE at < ?2)";

/// Whether an event is old, and somebody has not read it.
const IS_KEPT: &str = "SELECT EXISTS (SELECT 1 FROM (SELECT at FROM outbox
    WHERE seq > ?1 AND seq < (SELECT max(seq) FROM outbox) ORDER BY seq LIMIT 1) WHERE at < ?2)";

/// Does what is due.
pub(in crate::store) fn clear(
    directory: &Path,
    cutoffs: Cutoffs,
    expected_readers: &[String],
    stopping: &AtomicBool,
) -> Result<Cleared, StoreError> {
    let path = directory.join(FILE_NAME);
    let connection = connect(&path, Access::Write)?;
    let cleared = clear_outbox(&connection, cutoffs, expected_readers, stopping);
    cleared.map_err(|error| name_path(StoreError::Sql(error), &path))
}

fn clear_outbox(
    connection: &Connection,
    cutoffs: Cutoffs,
    expected_readers: &[String],
    stopping: &AtomicBool,
) -> Result<Cleared, rusqlite::Error> {
    let cursors = connection
        .prepare("SELECT name, seq FROM cursors")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let readers = Readers::of(cursors, expected_readers);
    // A day that is no moment is before all there is.
    let before = cutoffs.outbox.to_zoned(TimeZone::UTC).map_or(0, |zoned| zoned.timestamp().as_microsecond());
    let mut cleared = Cleared::default();
    while !stopping.load(Ordering::Relaxed) {
        let deleted = connection.execute(DELETE, (readers.read_up_to, before, BATCH))?;
        cleared.events_deleted += deleted as u64;
        if deleted < BATCH as usize {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    let is_kept = connection.query_row(IS_KEPT, (readers.read_up_to, before), |row| row.get(0))?;
    if let (true, Some(reader)) = (is_kept, readers.last) {
        cleared.kept.push(format!("events that '{reader}' has not read"));
    }
    Ok(cleared)
}
