//! Copies the write-ahead log back into the database from a thread of its own, so that commits need not wait for it.
//!
//! A passive checkpoint never blocks the writer, but a log that is written without pause is never wholly copied, and
//! only then does it begin anew. So the writer's own connection checkpoints too, late, at [`LOG_PAGES_MAX`]: by then
//! nearly all of the log is copied and what is left is short.

use super::{Access, connect};
use crate::store::StoreError;
use rusqlite::Connection;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Pages not yet copied back that are worth a checkpoint: 4 MiB.
const WORTH_IT_PAGES: i64 = 1_000;

/// Pages at which the writer helps: 64 MiB.
pub(super) const LOG_PAGES_MAX: i64 = 16_000;

/// How often the log's length is looked at. Looking reads shared memory, not the disk.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The thread. Dropping it ends it.
pub(super) struct Checkpointer {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    pub(super) fn start(path: &Path) -> Result<Self, StoreError> {
        let connection = connect(path, Access::Write)?;
        let (stop, stopped) = sync_channel(0);
        let thread = std::thread::Builder::new()
            .name("store-checkpoint".to_owned())
            .spawn(move || {
                while matches!(stopped.recv_timeout(LOOK_EVERY), Err(RecvTimeoutError::Timeout)) {
                    if let Err(error) = checkpoint_if_worth_it(&connection) {
                        // Nothing is lost: the log only grows. The writer meets the same disk and says so.
                        tracing::debug!(%error, "checkpoint failed");
                    }
                }
            })
            .map_err(|source| StoreError::Io { path: path.to_owned(), source })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's checkpointer panicked");
        }
    }
}

fn checkpoint_if_worth_it(connection: &Connection) -> Result<(), rusqlite::Error> {
    let (in_log, copied) = checkpoint(connection, "NOOP")?;
    if in_log - copied >= WORTH_IT_PAGES {
        checkpoint(connection, "PASSIVE")?;
    }
    Ok(())
}

/// Runs a checkpoint. Gives how many pages are in the log, and how many of them are copied back.
fn checkpoint(connection: &Connection, mode: &str) -> Result<(i64, i64), rusqlite::Error> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| Ok((row.get(1)?, row.get(2)?)))
}
