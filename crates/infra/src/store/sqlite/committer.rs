//! Commits batches to SQLite: one transaction, one sync of the write-ahead log.

use super::consumed::write_effect;
use super::name_path;
use super::rows::{Rows, WriteError, write_audit_anchor, write_cursor};
use crate::store::StoreError;
use crate::store::writer::{Batch, Commit, CommitFailure, Rejected, Work};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::path::{Path, PathBuf};

/// The connection that writes.
pub(super) struct Committer {
    connection: Connection,
    rows: Rows,
    path: PathBuf,
    /// The quota the connection is set to.
    max_pages: Option<u32>,
}

impl Committer {
    pub(super) fn new(connection: Connection, path: &Path) -> Result<Self, StoreError> {
        Ok(Self { rows: Rows::new(&connection)?, connection, path: path.to_owned(), max_pages: None })
    }

    /// The usual way: every unit, one commit.
    fn commit_together(&mut self, batch: &Batch) -> Result<(), WriteError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let rows = &mut self.rows;
        let before = rows.mark();
        let written = batch
            .iter()
            .try_for_each(|(work, _)| write(rows, &transaction, work))
            .and_then(|()| rows.finish(&transaction))
            .and_then(|()| Ok(transaction.commit()?));
        if written.is_ok() {
            rows.committed();
        } else {
            rows.undone_to(before);
        }
        written
    }

    /// After a rejection: a savepoint for each unit, so that the faulty ones are undone and the others stand. Still
    /// one commit, so that a stream of faulty units does not cost a sync each.
    fn commit_apart(&mut self, batch: &Batch) -> Result<Rejected, rusqlite::Error> {
        let mut transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let rows = &mut self.rows;
        let before = rows.mark();
        let mut rejections = Rejected::new();
        let mut outcome = Ok(());
        for (place, (work, _)) in batch.iter().enumerate() {
            match write_apart(rows, &mut transaction, work) {
                Ok(()) => {}
                Err(WriteError::Rejected(rejection)) => rejections.push((place, rejection)),
                Err(WriteError::Failed(error)) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        let written = outcome.and_then(|()| transaction.commit());
        if written.is_ok() {
            rows.committed();
        } else {
            rows.undone_to(before);
        }
        written.map(|()| rejections)
    }

    fn failure(&self, error: rusqlite::Error) -> StoreError {
        name_path(StoreError::Sql(error), &self.path)
    }
}

impl Commit for Committer {
    fn commit(&mut self, batch: &Batch) -> Result<Rejected, CommitFailure> {
        let written = match self.commit_together(batch) {
            Ok(()) => Ok(Rejected::new()),
            Err(WriteError::Failed(error)) => Err(error),
            Err(WriteError::Rejected(_)) => self.commit_apart(batch),
        };
        written.map_err(|error| CommitFailure::ForNow(self.failure(error)))
    }

    fn set_max_pages(&mut self, max_pages: Option<u32>) -> Result<(), StoreError> {
        if max_pages != self.max_pages {
            // SQLite's own maximum stands for "no quota".
            let pages = max_pages.map_or(4_294_967_294, i64::from);
            let set = self.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()));
            set.map_err(|error| self.failure(error))?;
            self.max_pages = max_pages;
        }
        Ok(())
    }

    /// Copies the write-ahead log back, so that the database file alone is whole when the store is closed.
    fn close(&mut self) {
        let emptied = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        if let Err(error) = emptied {
            // Nothing is lost: opening the store again reads the log.
            tracing::warn!(%error, "write-ahead log not emptied");
        }
    }
}

fn write(rows: &mut Rows, connection: &Connection, work: &Work) -> Result<(), WriteError> {
    match work {
        Work::Unit(unit) => rows.write(connection, unit),
        Work::Alive(at) => {
            rows.alive(*at);
            Ok(())
        }
        Work::NewApiKey { key, secret_hash, actor } => {
            rows.write_api_key(connection, key, secret_hash, *actor)
        }
        Work::RevokeApiKey { key, at, actor } => rows.revoke_api_key(connection, key, *at, *actor),
        Work::AuditAnchor(anchor) => write_audit_anchor(connection, anchor),
        Work::Cursor { name, seq } => write_cursor(connection, name, *seq),
        Work::Consumed(effect) => write_effect(connection, effect),
        Work::Replay { letters, at, actor } => rows.write_replay(connection, letters, *at, *actor),
    }
}

/// Writes one unit within a savepoint of its own.
fn write_apart(rows: &mut Rows, transaction: &mut Transaction<'_>, work: &Work) -> Result<(), WriteError> {
    let mark = rows.mark();
    let savepoint = transaction.savepoint()?;
    let written = write(rows, &savepoint, work)
        .and_then(|()| rows.finish(&savepoint))
        .and_then(|()| Ok(savepoint.commit()?));
    if written.is_err() {
        rows.undone_to(mark);
    }
    written
}
