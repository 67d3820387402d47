//! Reads on replicas that never show less than this process has been told is durable.
//!
//! The writer notes how far the primary's log reached at each commit; a replica serves a read once it has replayed that far. One that
//! is behind, away or not a replica any more costs a read a few milliseconds, and then rests: reads go to the primary meanwhile.

use super::error::PostgresqlError;
use super::pool::{Begun, Sessions};
use super::server::PostgresqlUrl;
use super::session::Session;
use crate::store::StoreError;
use crate::store::connection::Value;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long connecting may take, and the answer to where the replica is: a read has the primary to go to.
const DEADLINE: Duration = Duration::from_millis(500);

/// How long a read waits for the replica to catch up.
const PATIENCE: Duration = Duration::from_millis(20);

/// Between two looks at where it is.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// How long a replica that is behind is left alone.
const BEHIND_REST: Duration = Duration::from_millis(200);

/// How long a replica that failed is left alone.
const FAILED_REST: Duration = Duration::from_secs(5);

/// How far the primary's log reaches on its disk, in bytes.
pub(super) const WRITTEN_UP_TO: &str = "SELECT (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint";

/// As far as a replica of this store has come; no row if the server is none.
const REPLAYED_UP_TO: &str = "SELECT (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint FROM identity
    WHERE pg_is_in_recovery() AND store_id = $1";

/// How far the primary's log reaches with everything this process was told is durable, in bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Written(Arc<AtomicI64>);

impl Written {
    /// It reaches this far now.
    pub(super) fn note(&self, position: i64) {
        self.0.fetch_max(position, Ordering::Release);
    }

    fn position(&self) -> i64 {
        self.0.load(Ordering::Acquire)
    }
}

/// The replicas of one URL.
pub(super) struct Replicas {
    sessions: Sessions,
    store_id: Vec<u8>,
    written: Written,
    rests_until: Mutex<Option<Instant>>,
}

impl Replicas {
    pub(super) fn new(url: PostgresqlUrl, sessions_max: usize, store_id: Vec<u8>, written: Written) -> Self {
        let sessions = Sessions::new(url, sessions_max, DEADLINE);
        Self { sessions, store_id, written, rests_until: Mutex::default() }
    }

    /// A transaction on a replica that has caught up, or nothing: then the primary is asked.
    pub(super) fn begun(&self) -> Option<Begun<'_>> {
        if self.rests_until().is_some_and(|until| Instant::now() < until) {
            return None;
        }
        match self.caught_up() {
            Ok(begun) => begun,
            Err(error) => {
                self.rest(&error);
                None
            }
        }
    }

    fn caught_up(&self) -> Result<Option<Begun<'_>>, StoreError> {
        let needed = self.written.position();
        let mut permit = self.sessions.session()?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match permit.asked(|session| self.replayed_up_to(session))? {
                None => {
                    tracing::warn!(
                        server = self.sessions.label(),
                        "is no replica of this store; reads go to the primary"
                    );
                    *self.rests_until() = Some(Instant::now() + FAILED_REST);
                    return Ok(None);
                }
                Some(position) if position >= needed => return permit.begun().map(Some),
                Some(_) if Instant::now() >= deadline => {
                    *self.rests_until() = Some(Instant::now() + BEHIND_REST);
                    return Ok(None);
                }
                Some(_) => std::thread::sleep(LOOK_AGAIN),
            }
        }
    }

    /// It failed: it is left alone for a while.
    pub(super) fn rest(&self, error: &(dyn std::error::Error + 'static)) {
        tracing::warn!(server = self.sessions.label(), error, "a replica failed; reads go to the primary");
        *self.rests_until() = Some(Instant::now() + FAILED_REST);
    }

    fn replayed_up_to(&self, session: &Session) -> Result<Option<i64>, PostgresqlError> {
        let rows = session.rows(DEADLINE, REPLAYED_UP_TO, &[Value::Bytes(self.store_id.clone())])?;
        Ok(rows.first().map(|row| row.get(0)))
    }

    fn rests_until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.rests_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
