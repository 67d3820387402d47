//! Commits batches to PostgreSQL: a statement for each table with rows, one round trip, one commit.
//!
//! A commit whose answer was lost is found out before anything is written again: batches are numbered, and the number is
//! part of the commit.

use super::error::{PostgresqlError, is_units_fault, one_line};
use super::lease::{self, Held};
use super::pipeline::{DEADLINE, Failed, Pipeline};
use super::replicas::{WRITTEN_UP_TO, Written};
use super::retention::make_partitions;
use super::server::PostgresqlUrl;
use super::session::{CONNECT_DEADLINE, Session};
use super::staging::{Known, Progress, Staged, Stager};
use super::tables::At;
use crate::store::connection::Value;
use crate::store::writer::{Batch, Commit, CommitFailure, Rejected, Work};
use crate::store::{Rejection, StoreError};
use tokio_postgres::error::SqlState;
use uuid::Uuid;

/// The session that writes.
pub(super) struct Committer {
    url: PostgresqlUrl,
    session: Option<Session>,
    /// The server's process behind the latest session.
    process: i64,
    known: Known,
    epoch: i64,
    /// The last batch that is known to be written.
    batch: i64,
    /// A batch that was sent and may be written: what it becomes if it is.
    in_doubt: Option<(Progress, Rejected)>,
    /// Told to those who read on replicas, where there are some.
    written: Option<Written>,
}

/// Why a try failed.
enum Trouble {
    /// A unit is at fault.
    Rejected(Rejection),
    /// The server, or the way to it.
    Failed(StoreError),
}

impl<E: Into<StoreError>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Committer {
    /// Takes the database over, once its schema is up to date.
    pub(super) fn open(
        url: &PostgresqlUrl,
        address: Option<&str>,
        written: Option<Written>,
    ) -> Result<Self, StoreError> {
        let session = locked(url)?;
        super::migrations::migrate(&session)?;
        let (held, known) = lease::take_over(&session, address)?;
        make_partitions(&session)?;
        note_position(&session, written.as_ref())?;
        Ok(Self {
            url: url.clone(),
            process: lease::process(&session)?,
            session: Some(session),
            known,
            epoch: held.epoch,
            batch: held.batch,
            in_doubt: None,
            written,
        })
    }

    /// Which store this is, wherever it moves.
    pub(super) fn store_id(&self) -> Result<Vec<u8>, StoreError> {
        let session = self.session.as_ref().ok_or(StoreError::NoIdentity)?;
        let rows = session.rows(DEADLINE, "SELECT store_id FROM identity", &[])?;
        Ok(rows.first().ok_or(StoreError::NoIdentity)?.get(0))
    }

    /// A session to write with: the one there is, or a new one after the server was away.
    fn session(&mut self) -> Result<Session, CommitFailure> {
        if let Some(session) = self.session.take().filter(Session::is_usable) {
            return Ok(session);
        }
        let for_now = |error: PostgresqlError| CommitFailure::ForNow(error.into());
        let session = Session::connect(&self.url, CONNECT_DEADLINE).map_err(CommitFailure::ForNow)?;
        lease::set_up(&session).map_err(for_now)?;
        let is_locked = lease::lock_again(&session, self.process).map_err(for_now)?;
        let held = lease::held(&session).map_err(for_now)?;
        let server = || session.label().to_owned();
        match held {
            Some(Held { epoch, holder, .. }) if epoch != self.epoch => {
                Err(CommitFailure::ForGood(PostgresqlError::Replaced { server: server(), holder }.into()))
            }
            Some(Held { batch, .. }) if batch < self.batch => {
                let error =
                    PostgresqlError::WentBack { server: server(), acknowledged: self.batch, found: batch };
                Err(CommitFailure::ForGood(error.into()))
            }
            Some(held) if is_locked => {
                self.process = lease::process(&session).map_err(for_now)?;
                self.found(held.batch);
                note_position(&session, self.written.as_ref()).map_err(for_now)?;
                tracing::info!(server = session.label(), "connected to PostgreSQL again");
                Ok(session)
            }
            held => {
                let holder = held.map_or_else(|| "another exchange".to_owned(), |held| held.holder);
                Err(CommitFailure::ForNow(PostgresqlError::Taken { server: server(), holder }.into()))
            }
        }
    }

    /// The batch in doubt was written, or it was not.
    fn found(&mut self, batch: i64) {
        if batch == self.batch {
            self.in_doubt = None;
        }
    }

    /// The usual way: every unit, one round trip.
    fn commit_together(&mut self, session: &Session, batch: &Batch) -> Result<(), Trouble> {
        let mut stager = Stager::new(&self.known, self.known.progress());
        batch.iter().try_for_each(|(work, _)| stager.stage(work)).map_err(Trouble::Rejected)?;
        let Stager { progress, staged, .. } = stager;
        let mut pipeline = Pipeline::new(session);
        pipeline.control("BEGIN".to_owned());
        pipeline.staged(&staged)?;
        self.end(&mut pipeline, &progress)?;
        self.in_doubt = Some((progress, Rejected::new()));
        pipeline.run()?.map_err(|failed| {
            let trouble = trouble(session, &failed);
            if matches!(trouble, Trouble::Rejected(_)) {
                // The server said so: the rest was refused with it.
                self.in_doubt = None;
            }
            trouble
        })
    }

    /// After a rejection: a savepoint for each unit, so that the faulty ones are undone and the others stand.
    fn commit_apart(&mut self, session: &Session, batch: &Batch) -> Result<(), StoreError> {
        session.run(DEADLINE, "BEGIN")?;
        let mut progress = self.known.progress();
        let mut rejected = Rejected::new();
        for (place, (work, _)) in batch.iter().enumerate() {
            match self.write_apart(session, work, progress.clone()) {
                Ok(further) => progress = further,
                Err(Trouble::Rejected(rejection)) => rejected.push((place, rejection)),
                Err(Trouble::Failed(error)) => return Err(error),
            }
        }
        let mut pipeline = Pipeline::new(session);
        self.end(&mut pipeline, &progress)?;
        self.in_doubt = Some((progress, rejected));
        pipeline.run()?.map_err(|(_, error)| session.sorted(&error).into())
    }

    /// Writes one piece of work within a savepoint of its own.
    fn write_apart(&self, session: &Session, work: &Work, progress: Progress) -> Result<Progress, Trouble> {
        let mut stager = Stager::new(&self.known, progress);
        stager.stage(work).map_err(Trouble::Rejected)?;
        let Stager { progress, staged, .. } = stager;
        let mut pipeline = Pipeline::new(session);
        pipeline.control("SAVEPOINT unit".to_owned());
        pipeline.staged(&staged)?;
        pipeline.control("RELEASE SAVEPOINT unit".to_owned());
        let Err(failed) = pipeline.run()? else { return Ok(progress) };
        let trouble = trouble(session, &failed);
        if let Trouble::Rejected(rejection) = trouble {
            session.run(DEADLINE, "ROLLBACK TO SAVEPOINT unit")?;
            let is_duplicate = failed.1.code() == Some(&SqlState::UNIQUE_VIOLATION);
            let named = if is_duplicate { name_duplicate(session, &staged, rejection)? } else { rejection };
            return Err(Trouble::Rejected(named));
        }
        Err(trouble)
    }

    /// Ends a batch: its number, the commit, and how far the log reaches then.
    fn end(&self, pipeline: &mut Pipeline<'_>, progress: &Progress) -> Result<(), PostgresqlError> {
        pipeline.end_batch(self.numbers(progress))?;
        pipeline.control("COMMIT".to_owned());
        self.written.clone().map_or(Ok(()), |written| pipeline.position(written))
    }

    /// What `end_batch` wants.
    fn numbers(&self, progress: &Progress) -> [i64; 8] {
        let counters = progress.counters;
        [
            self.epoch,
            self.batch + 1,
            counters.journal,
            counters.transfer,
            counters.outbox,
            counters.credit_limit,
            counters.ledger,
            progress.alive_at.0,
        ]
    }

    /// What was in doubt is written.
    fn written(&mut self) -> Option<Rejected> {
        let (progress, rejected) = self.in_doubt.take()?;
        self.known.advance(progress);
        self.batch += 1;
        Some(rejected)
    }
}

impl Commit for Committer {
    fn commit(&mut self, batch: &Batch) -> Result<Rejected, CommitFailure> {
        let session = self.session()?;
        if let Some(rejected) = self.written() {
            self.session = Some(session);
            return Ok(rejected);
        }
        let committed = match self.commit_together(&session, batch) {
            Ok(()) => Ok(()),
            Err(Trouble::Failed(error)) => Err(error),
            Err(Trouble::Rejected(_)) => self.commit_apart(&session, batch),
        };
        // A session on which anything failed is let go of, with its transaction: the next one finds out what became of it.
        committed.map_err(CommitFailure::ForNow)?;
        self.session = Some(session);
        Ok(self.written().unwrap_or_default())
    }

    /// Lets go of the lock, so that the next exchange need not wait until the server notices that the session is gone.
    fn close(&mut self) {
        if let Some(session) = self.session.take()
            && let Err(error) = lease::unlock(&session)
        {
            // The server does it when it notices.
            tracing::debug!(%error, "the writer's lock was not given back");
        }
    }
}

/// A session that holds the writer's lock.
fn locked(url: &PostgresqlUrl) -> Result<Session, StoreError> {
    let session = Session::connect(url, CONNECT_DEADLINE)?;
    lease::set_up(&session)?;
    if lease::try_lock(&session)? {
        return Ok(session);
    }
    let holder = lease::held(&session)?.map(|held| held.holder).filter(|holder| !holder.is_empty());
    let holder = holder.unwrap_or_else(|| "another exchange".to_owned());
    Err(PostgresqlError::Taken { server: session.label().to_owned(), holder }.into())
}

/// How far the log reaches, for those who read on replicas.
fn note_position(session: &Session, written: Option<&Written>) -> Result<(), PostgresqlError> {
    let Some(written) = written else { return Ok(()) };
    written.note(session.rows(DEADLINE, WRITTEN_UP_TO, &[])?[0].get(0));
    Ok(())
}

/// Whose fault a failure is.
fn trouble(session: &Session, (what, error): &Failed) -> Trouble {
    match error.as_db_error() {
        Some(answer) if is_units_fault(answer.code()) => {
            Trouble::Rejected(Rejection::Constraint { what, finding: one_line(answer) })
        }
        _ => Trouble::Failed(session.sorted(error).into()),
    }
}

/// Says which transfer or receipt is there already.
fn name_duplicate(
    session: &Session,
    staged: &Staged,
    otherwise: Rejection,
) -> Result<Rejection, PostgresqlError> {
    let Rejection::Constraint { what, .. } = &otherwise else { return Ok(otherwise) };
    let of = |at: At| (at.table().what == *what).then(|| staged.tables[at as usize].rows());
    if let Some(rows) = of(At::Transfers) {
        let is_there = "SELECT reason FROM transfers WHERE call = $1 AND reason = $2";
        let reason = first_duplicate(session, rows, 2, is_there)?;
        return Ok(reason.map_or(otherwise, |reason| Rejection::DuplicateTransfer { reason }));
    }
    if let Some(rows) = of(At::Receipts) {
        let is_there = "SELECT call::text FROM receipts WHERE call = $1";
        let call = first_duplicate(session, rows, 1, is_there)?;
        return Ok(call.map_or(otherwise, |call| Rejection::DuplicateReceipt { call }));
    }
    Ok(otherwise)
}

/// The first row whose key, so many columns, is there already or comes twice.
fn first_duplicate(
    session: &Session,
    rows: &[Vec<Value>],
    key_columns: usize,
    is_there: &str,
) -> Result<Option<String>, PostgresqlError> {
    for (place, row) in rows.iter().enumerate() {
        let key = &row[..key_columns];
        if let Some(found) = session.rows(DEADLINE, is_there, key)?.first() {
            return Ok(Some(found.get(0)));
        }
        let comes_again = rows[place + 1..].iter().any(|other| other.starts_with(key));
        match key.last() {
            Some(Value::Text(text)) if comes_again => return Ok(Some(text.clone())),
            Some(Value::Bytes(id)) if comes_again => {
                return Ok(Uuid::from_slice(id).ok().map(|id| id.to_string()));
            }
            _ => {}
        }
    }
    Ok(None)
}
