//! Bounded pools of sessions that read: of the primary, and of its replicas. They are opened when needed, and again when the server was
//! away.

use super::error::PostgresqlError;
use super::replicas::Replicas;
use super::server::PostgresqlUrl;
use super::session::{CONNECT_DEADLINE, Session};
use crate::store::StoreError;
use crate::store::connection::{ReadConnection, Row, Rows, Value};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
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

/// One state of the store, for reading.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Where reads go: to a replica that has everything this process was told is durable, or else to the primary.
pub(in crate::store) struct Pool {
    primary: Sessions,
    replicas: Option<Replicas>,
    on_primary: AtomicU64,
    on_replicas: AtomicU64,
}

impl Pool {
    pub(super) fn new(url: PostgresqlUrl, sessions_max: usize, replicas: Option<Replicas>) -> Self {
        let primary = Sessions::new(url, sessions_max, CONNECT_DEADLINE);
        Self { primary, replicas, on_primary: AtomicU64::default(), on_replicas: AtomicU64::default() }
    }

    /// Runs `read` within one transaction that sees one state of the store; on the primary if the replica fails on the way.
    pub(in crate::store) fn with<T>(
        &self,
        read: impl Fn(&dyn ReadConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if let Some(replicas) = &self.replicas
            && let Some(begun) = replicas.begun()
        {
            match begun.read(&read) {
                Err(StoreError::Postgresql(error)) => replicas.rest(&error),
                result => {
                    self.on_replicas.fetch_add(1, Ordering::Relaxed);
                    return result;
                }
            }
        }
        self.once(read)
    }

    /// Runs `read` on the primary, and once at most.
    pub(in crate::store) fn once<T>(
        &self,
        read: impl FnOnce(&dyn ReadConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.on_primary.fetch_add(1, Ordering::Relaxed);
        self.primary.session()?.begun()?.read(read)
    }

    /// Reads on the primary and on replicas so far.
    pub(in crate::store) fn reads(&self) -> (u64, u64) {
        (self.on_primary.load(Ordering::Relaxed), self.on_replicas.load(Ordering::Relaxed))
    }
}

/// Sessions on the servers of one URL.
pub(super) struct Sessions {
    url: PostgresqlUrl,
    most: usize,
    connect_deadline: Duration,
    state: Mutex<State>,
    returned: Condvar,
}

struct State {
    idle: Vec<Session>,
    in_use: usize,
}

impl Sessions {
    pub(super) fn new(url: PostgresqlUrl, most: usize, connect_deadline: Duration) -> Self {
        let state = Mutex::new(State { idle: Vec::new(), in_use: 0 });
        Self { url, most: most.max(1), connect_deadline, state, returned: Condvar::new() }
    }

    /// The servers' names in errors.
    pub(super) fn label(&self) -> &str {
        self.url.label()
    }

    /// Waits until a session may be used.
    pub(super) fn session(&self) -> Result<Permit<'_>, StoreError> {
        let (mut state, _) = self
            .returned
            .wait_timeout_while(self.state(), WAIT, |state| state.in_use >= self.most)
            .unwrap_or_else(PoisonError::into_inner);
        if state.in_use >= self.most {
            let waited_ms = u64::try_from(WAIT.as_millis()).unwrap_or(u64::MAX);
            return Err(StoreError::ReadersBusy { waited_ms });
        }
        state.in_use += 1;
        Ok(Permit { sessions: self, session: state.idle.pop() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the sessions that may be in use; a session put back into it is used again.
pub(super) struct Permit<'a> {
    sessions: &'a Sessions,
    session: Option<Session>,
}

impl<'a> Permit<'a> {
    /// With a transaction begun.
    pub(super) fn begun(mut self) -> Result<Begun<'a>, StoreError> {
        let session = self.asked_on(|session| session.run(READ_DEADLINE, BEGIN))?.1;
        Ok(Begun { permit: self, session })
    }

    /// The answer to a question that is asked before the transaction begins, for that sees nothing later.
    pub(super) fn asked<T>(
        &mut self,
        question: impl Fn(&Session) -> Result<T, PostgresqlError>,
    ) -> Result<T, StoreError> {
        let (answer, session) = self.asked_on(question)?;
        self.session = Some(session);
        Ok(answer)
    }

    /// Asks on the idle session, unless the server went away meanwhile, or else on a new one.
    fn asked_on<T>(
        &mut self,
        question: impl Fn(&Session) -> Result<T, PostgresqlError>,
    ) -> Result<(T, Session), StoreError> {
        if let Some(session) = self.session.take()
            && let Ok(answer) = question(&session)
        {
            return Ok((answer, session));
        }
        let session = self.connect()?;
        Ok((question(&session)?, session))
    }

    fn connect(&self) -> Result<Session, StoreError> {
        let session = Session::connect(&self.sessions.url, self.sessions.connect_deadline)?;
        let timeout_ms = READ_DEADLINE.as_millis();
        session.run(READ_DEADLINE, &format!("SET statement_timeout = {timeout_ms}; SET jit = off"))?;
        Ok(session)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut state = self.sessions.state();
        state.in_use -= 1;
        state.idle.extend(self.session.take());
        self.sessions.returned.notify_one();
    }
}

/// A session with a transaction begun.
pub(super) struct Begun<'a> {
    permit: Permit<'a>,
    session: Session,
}

impl Begun<'_> {
    /// Runs `read` and ends the transaction.
    fn read<T>(
        self,
        read: impl FnOnce(&dyn ReadConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let Self { mut permit, session } = self;
        let result = read(&Reading { session: &session, cursors: Cell::new(0) });
        let ended = session.run(READ_DEADLINE, "COMMIT");
        if session.is_usable() {
            permit.session = Some(session);
        }
        result.and_then(|value| Ok(ended.map(|()| value)?))
    }
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

    /// Which months there are is not part of what a transaction sees as of one moment.
    fn keep_months(&self) -> Result<(), StoreError> {
        let tables = "journal, calls, transfers, audit_entries";
        Ok(self.session.run(READ_DEADLINE, &format!("LOCK TABLE {tables} IN ACCESS SHARE MODE"))?)
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
