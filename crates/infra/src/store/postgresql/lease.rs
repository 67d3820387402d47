//! Who may write: one exchange at a time.
//!
//! Two things keep others out. An advisory lock, held by the writer's session for as long as it lives: a second exchange cannot
//! start. And an epoch, one more with every exchange that starts: a batch of an older epoch is refused by the database itself
//! (`end_batch`), also when the lock was lost with its server and another exchange went on from a promoted replica.

use super::error::PostgresqlError;
use super::session::Session;
use super::staging::{Counters, Known, LedgerRow};
use crate::store::StoreError;
use crate::store::connection::{Row, Value};
use crate::store::read::audit::{HEAD, read_head};
use exchange::ledger::money::Micros;
use std::time::{Duration, Instant};

/// How long any one question here may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// How long giving the lock back may hold up the end.
const UNLOCK_DEADLINE: Duration = Duration::from_secs(5);

/// How long a lost session's server process may take to end.
const OLD_SESSION_MAX: Duration = Duration::from_secs(10);

/// The lock's two numbers. Exchanges in different schemas of one database do not meet.
const LOCK: &str = "hashtext('dce writer'), hashtext(current_schema()::text)";

/// What the writer's row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) epoch: i64,
    /// The last batch that was written.
    pub(super) batch: i64,
    /// Whose epoch it is, for people.
    pub(super) holder: String,
}

/// Checks that the server is one we can work with, and sets the session up to write on it.
pub(super) fn set_up(session: &Session) -> Result<(), PostgresqlError> {
    let sql = "SELECT current_setting('server_version_num')::bigint, current_setting('server_version'),
        current_setting('server_encoding'), current_setting('transaction_read_only'), current_setting('fsync'),
        current_setting('synchronous_commit')";
    let rows = session.rows(DEADLINE, sql, &[])?;
    let row = &rows[0];
    let server = || session.label().to_owned();
    let text = |column: usize| row.get::<_, String>(column);
    if row.get::<_, i64>(0) < 150_000 {
        return Err(PostgresqlError::TooOld { server: server(), found: text(1) });
    }
    if text(2) != "UTF8" {
        return Err(PostgresqlError::NotUtf8 { server: server(), found: text(2) });
    }
    if text(3) == "on" {
        return Err(PostgresqlError::ReadOnly { server: server() });
    }
    if text(4) == "off" {
        tracing::warn!(
            "the PostgreSQL server runs with fsync off: what is acknowledged does not survive a power cut"
        );
    }
    // An acknowledged unit is on disk. A server that waits for its replicas as well is left at that.
    let synchronous =
        if ["off", "local"].contains(&text(5).as_str()) { "SET synchronous_commit = on;" } else { "" };
    session.run(
        DEADLINE,
        &format!(
            "{synchronous} SET statement_timeout = '12s'; SET lock_timeout = '10s'; SET jit = off;
             SET idle_in_transaction_session_timeout = '120s'; SET tcp_keepalives_idle = 10;
             SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; SET tcp_user_timeout = 20000"
        ),
    )
}

/// Takes the writer's lock, if it is free.
pub(super) fn try_lock(session: &Session) -> Result<bool, PostgresqlError> {
    let sql = format!("SELECT 1::bigint WHERE pg_try_advisory_lock({LOCK})");
    Ok(!session.rows(DEADLINE, &sql, &[])?.is_empty())
}

/// Gives the writer's lock back at once; the end of the session alone does so only when the server has noticed it.
pub(super) fn unlock(session: &Session) -> Result<(), PostgresqlError> {
    session.run(UNLOCK_DEADLINE, &format!("SELECT pg_advisory_unlock({LOCK})"))
}

/// Takes the writer's lock from a session of our own that was lost. Its server process may still be there, even at work;
/// once the lock is ours, it has ended, and what it did is done or undone.
pub(super) fn lock_again(session: &Session, lost_process: i64) -> Result<bool, PostgresqlError> {
    let deadline = Instant::now() + OLD_SESSION_MAX;
    loop {
        if try_lock(session)? {
            return Ok(true);
        }
        let end_it =
            "SELECT pg_terminate_backend(pid)::text FROM pg_locks WHERE locktype = 'advisory' AND granted
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND classid::bigint = hashtext('dce writer')::bigint & 4294967295 AND pid::bigint = $1";
        let ours = !session.rows(DEADLINE, end_it, &[lost_process.into()])?.is_empty();
        if !ours || Instant::now() >= deadline {
            return try_lock(session);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The number of the server's process behind this session.
pub(super) fn process(session: &Session) -> Result<i64, PostgresqlError> {
    Ok(session.rows(DEADLINE, "SELECT pg_backend_pid()::bigint", &[])?[0].get(0))
}

/// What the writer's row says; absent before the schema is there.
pub(super) fn held(session: &Session) -> Result<Option<Held>, PostgresqlError> {
    if session.rows(DEADLINE, "SELECT 1::bigint WHERE to_regclass('writer') IS NOT NULL", &[])?.is_empty() {
        return Ok(None);
    }
    let sql = "SELECT epoch, batch, holder || coalesce(' since ' || date_trunc('second', taken_at), '') FROM writer";
    let rows = session.rows(DEADLINE, sql, &[])?;
    Ok(rows.first().map(|row| Held { epoch: row.get(0), batch: row.get(1), holder: row.get(2) }))
}

/// Begins an epoch, leaves the address at which other nodes find the writer's, and learns what the writer must know.
pub(super) fn take_over(session: &Session, address: Option<&str>) -> Result<(Held, Known), StoreError> {
    let holder = format!(
        "'process {} of ' || coalesce(host(inet_client_addr()), 'the server itself')",
        std::process::id()
    );
    let sql = format!(
        "UPDATE writer SET epoch = epoch + 1, holder = {holder}, taken_at = now(), address = $1
         RETURNING epoch, batch, holder, journal_seq, transfer_seq, outbox_seq, credit_limit_seq, ledger_seq"
    );
    let rows = session.rows(DEADLINE, &sql, &[address.map_or(Value::Null, Value::from)])?;
    let row: &dyn Row = rows.first().ok_or(StoreError::NoIdentity)?;
    let held = Held { epoch: row.get(0)?, batch: row.get(1)?, holder: row.get(2)? };
    let counters = Counters {
        journal: row.get(3)?,
        transfer: row.get(4)?,
        outbox: row.get(5)?,
        credit_limit: row.get(6)?,
        ledger: row.get(7)?,
    };
    let rows = session.rows(DEADLINE, HEAD, &[])?;
    let audit = read_head(rows.first().ok_or(StoreError::NoIdentity)?)?;
    let mut known = Known { counters, audit, ..Known::default() };
    for row in session.rows(DEADLINE, "SELECT name, id, balance_micros FROM ledger_accounts", &[])? {
        let row: &dyn Row = &row;
        let found = LedgerRow { id: row.get(1)?, balance: Micros(row.get(2)?) };
        known.ledgers.insert(row.key("ledger_accounts", 0)?, found);
    }
    Ok((held, known))
}
