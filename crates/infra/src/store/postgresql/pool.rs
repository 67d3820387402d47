//! A bounded pool of sessions that read. They are opened when needed, and again when the server was away.

use super::error::PostgresqlError;
use super::server::PostgresqlUrl;
use super::session::Session;
use crate::store::StoreError;
use crate::store::connection::{ReadConnection, Row, Rows, Value};
use std::cell::Cell;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a read waits for a free connection.
const WAIT: Duration = Duration::from_secs(5);

/// How long the server may work on one read of the API. `load` and `verify` may take as long as they need.
const READ_DEADLINE: Duration = Duration::from_secs(30);

/// How long one piece of a long answer may take: the first one sorts whatever there is.
const PIECE_DEADLINE: Duration = Duration::from_hours(1);

/// Rows of a long answer fetched at once.
const PIECE_ROWS: u32 = 1_000;

/// The sessions.
pub(in crate::store) struct Pool {
    url: PostgresqlUrl,
    sessions_max: usize,
    state: Mutex<State>,
    returned: Condvar,
}

struct State {
    idle: Vec<Session>,
    in_use: usize,
}

impl Pool {
    pub(super) fn new(url: PostgresqlUrl, sessions_max: usize) -> Self {
        let state = Mutex::new(State { idle: Vec::new(), in_use: 0 });
        Self { url, sessions_max: sessions_max.max(1), state, returned: Condvar::new() }
    }

    /// Runs `read` on a free session, within one transaction that sees one state of the store.
    pub(in crate::store) fn with<T>(
        &self,
        read: impl FnOnce(&dyn ReadConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut permit = self.permit()?;
        let session = permit.session.take();
        let session = begun(session, &self.url)?;
        let reading = Reading { session: &session, cursors: Cell::new(0) };
        let result = read(&reading);
        let ended = session.run(READ_DEADLINE, "COMMIT");
        let result = result.and_then(|value| Ok(ended.map(|()| value)?));
        if session.is_usable() {
            permit.session = Some(session);
        }
        result
    }

    fn permit(&self) -> Result<Permit<'_>, StoreError> {
        let (mut state, _) = self
            .returned
            .wait_timeout_while(self.state(), WAIT, |state| state.in_use >= self.sessions_max)
            .unwrap_or_else(PoisonError::into_inner);
        if state.in_use >= self.sessions_max {
            let waited_ms = u64::try_from(WAIT.as_millis()).unwrap_or(u64::MAX);
            return Err(StoreError::ReadersBusy { waited_ms });
        }
        state.in_use += 1;
        Ok(Permit { pool: self, session: state.idle.pop() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the sessions that may be in use; a session put back into it is used again.
struct Permit<'a> {
    pool: &'a Pool,
    session: Option<Session>,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        state.in_use -= 1;
        state.idle.extend(self.session.take());
        self.pool.returned.notify_one();
    }
}

/// A session with a transaction begun: the idle one, unless the server went away meanwhile, or else a new one.
fn begun(idle: Option<Session>, url: &PostgresqlUrl) -> Result<Session, StoreError> {
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    if let Some(session) = idle
        && session.run(READ_DEADLINE, begin).is_ok()
    {
        return Ok(session);
    }
    let session = Session::connect(url)?;
    let timeout_ms = READ_DEADLINE.as_millis();
    session.run(READ_DEADLINE, &format!("SET statement_timeout = {timeout_ms}; SET jit = off"))?;
    session.run(READ_DEADLINE, begin)?;
    Ok(session)
}

/// A session within a transaction.
struct Reading<'a> {
    session: &'a Session,
    cursors: Cell<u32>,
}

impl ReadConnection for Reading<'_> {
    fn query(
        &self,
        sql: &str,
        values: &[Value],
        take: &mut dyn FnMut(&dyn Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.session.rows(READ_DEADLINE, sql, values)?.iter().try_for_each(|row| take(row))
    }

    fn stream(
        &self,
        sql: &str,
        read: &mut dyn FnMut(&mut dyn Rows) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let number = self.cursors.get();
        self.cursors.set(number + 1);
        let limits = "SET LOCAL statement_timeout = 0; SET LOCAL cursor_tuple_fraction = 1";
        let declare = format!("{limits}; DECLARE answer_{number} NO SCROLL CURSOR FOR {sql}");
        self.session.run(PIECE_DEADLINE, &declare)?;
        let mut pieces = Pieces {
            session: self.session,
            fetch: format!("FETCH {PIECE_ROWS} FROM answer_{number}"),
            piece: Vec::new(),
            next: 0,
            is_last: false,
        };
        read(&mut pieces)?;
        self.session.run(READ_DEADLINE, &format!("CLOSE answer_{number}"))?;
        Ok(())
    }

    fn damage(&self) -> Result<Vec<String>, StoreError> {
        let sql =
            "SELECT coalesce(checksum_failures, 0) FROM pg_stat_database WHERE datname = current_database()";
        let connection: &dyn ReadConnection = self;
        let failures = connection.row(sql, &[], |row| row.get::<i64>(0))?.unwrap_or_default();
        let finding = format!("{failures} pages failed their checksum; see the server's log");
        Ok(if failures > 0 { vec![finding] } else { Vec::new() })
    }
}

/// A long answer, fetched piece by piece.
struct Pieces<'a> {
    session: &'a Session,
    fetch: String,
    piece: Vec<tokio_postgres::Row>,
    next: usize,
    is_last: bool,
}

impl Pieces<'_> {
    fn fetch(&mut self) -> Result<(), PostgresqlError> {
        self.piece = self.session.ask(PIECE_DEADLINE, self.session.client().query(&self.fetch, &[]))?;
        self.next = 0;
        self.is_last = self.piece.len() < PIECE_ROWS as usize;
        Ok(())
    }
}

impl Rows for Pieces<'_> {
    fn next(&mut self) -> Result<Option<&dyn Row>, StoreError> {
        if self.next == self.piece.len() && !self.is_last {
            self.fetch()?;
        }
        let row = self.piece.get(self.next);
        self.next += 1;
        Ok(row.map(|row| -> &dyn Row { row }))
    }
}
