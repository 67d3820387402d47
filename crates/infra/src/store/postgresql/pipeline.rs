//! Statements sent one behind the other, without waiting for each other's answers: a batch is one round trip.

use super::error::PostgresqlError;
use super::replicas::{WRITTEN_UP_TO, Written};
use super::session::Session;
use super::staging::Staged;
use super::tables::TABLES;
use super::values::Column;
use crate::store::columns::SESSIONS_DELETED_MAX;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, Statement};

/// How long the server may take for a batch. Past it the connection is given up, and a new one finds out whether it was written.
pub(super) const DEADLINE: Duration = Duration::from_secs(15);

/// Adds to many balances at once.
const CHANGE_BALANCES: &str = "UPDATE ledger_accounts SET balance_micros = balance_micros + batch.change
     FROM unnest($1::bigint[], $2::bigint[]) AS batch (id, change) WHERE ledger_accounts.id = batch.id";

/// API keys and sessions, then the sessions of those keys. One revoked before keeps its first moment.
const REVOKE: [&str; 2] = [
    "UPDATE api_keys SET revoked_at = coalesce(api_keys.revoked_at, batch.revoked_at)
     FROM unnest($1::uuid[], $2::bigint[]) AS batch (id, revoked_at) WHERE api_keys.id = batch.id",
    "UPDATE api_keys SET revoked_at = coalesce(api_keys.revoked_at, batch.revoked_at)
     FROM unnest($1::uuid[], $2::bigint[]) AS batch (id, revoked_at) WHERE api_keys.of_key = batch.id",
];

/// Deletes sessions that are over.
fn delete_sessions() -> String {
    format!(
        "DELETE FROM api_keys WHERE id IN
             (SELECT id FROM api_keys WHERE expires_at <= $1 ORDER BY expires_at LIMIT {SESSIONS_DELETED_MAX})"
    )
}

/// See the schema.
const END_BATCH: &str = "SELECT end_batch($1, $2, $3, $4, $5, $6, $7, $8)";

/// The answer to one statement.
type Answer<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + 'a>>;

/// Statements waiting to be sent together.
pub(super) struct Pipeline<'a> {
    session: &'a Session,
    /// What each writes, for errors.
    answers: Vec<(&'static str, Answer<'a>)>,
}

/// A statement that failed: what it wrote, and what the server says.
pub(super) type Failed = (&'static str, Error);

impl<'a> Pipeline<'a> {
    pub(super) fn new(session: &'a Session) -> Self {
        Self { session, answers: Vec::new() }
    }

    /// A statement without values, such as `COMMIT`.
    pub(super) fn control(&mut self, sql: String) {
        let client = self.session.client();
        self.answers.push(("transaction", Box::pin(async move { client.batch_execute(&sql).await })));
    }

    /// Everything staged.
    pub(super) fn staged(&mut self, staged: &'a Staged) -> Result<(), PostgresqlError> {
        let with_rows = TABLES.iter().zip(&staged.tables).filter(|(_, gathered)| !gathered.is_empty());
        for (table, gathered) in with_rows {
            let statement = self.prepared(&table.statement())?;
            self.execute(table.what, statement, gathered.columns(table));
        }
        if !staged.changes.is_empty() {
            let statement = self.prepared(CHANGE_BALANCES)?;
            let ids: Vec<i64> = staged.changes.keys().copied().collect();
            let changes: Vec<i64> = staged.changes.values().map(|change| change.0).collect();
            self.execute("balance", statement, [ids, changes]);
        }
        if !staged.revocations.is_empty() {
            let rows = staged.revocations.as_slice();
            for revoke in REVOKE {
                let statement = self.prepared(revoke)?;
                let ids = Column { rows, place: 0, element: Type::UUID };
                let moments = Column { rows, place: 1, element: Type::INT8 };
                self.execute("API key", statement, [ids, moments]);
            }
        }
        if let Some(over_before) = staged.sessions_over_before {
            let statement = self.prepared(&delete_sessions())?;
            self.execute("API key", statement, [over_before.0]);
        }
        Ok(())
    }

    /// What ends a batch. The numbers are those of the schema's function, in order.
    pub(super) fn end_batch(&mut self, numbers: [i64; 8]) -> Result<(), PostgresqlError> {
        let statement = self.prepared(END_BATCH)?;
        self.execute("writer", statement, numbers);
        Ok(())
    }

    /// Asks how far the log reaches by now.
    pub(super) fn position(&mut self, written: Written) -> Result<(), PostgresqlError> {
        let statement = self.prepared(WRITTEN_UP_TO)?;
        let client = self.session.client();
        let answer = async move {
            written.note(client.query_one(&statement, &[]).await?.get(0));
            Ok(())
        };
        self.answers.push(("log position", Box::pin(answer)));
        Ok(())
    }

    /// Sends everything, and waits for all answers. Gives the first failure; what came behind it failed for it.
    pub(super) fn run(self) -> Result<Result<(), Failed>, PostgresqlError> {
        let Self { session, mut answers } = self;
        let mut failed = None;
        let mut done = vec![false; answers.len()];
        let all = poll_fn(|context| {
            let mut waiting = false;
            for ((what, answer), done) in answers.iter_mut().zip(&mut done).filter(|(_, done)| !**done) {
                match answer.as_mut().poll(context) {
                    Poll::Pending => waiting = true,
                    Poll::Ready(result) => {
                        *done = true;
                        if let Err(error) = result {
                            failed.get_or_insert((*what, error));
                        }
                    }
                }
            }
            if waiting { Poll::Pending } else { Poll::Ready(Ok::<(), Error>(())) }
        });
        session.ask(DEADLINE, all)?;
        drop(answers);
        Ok(failed.map_or(Ok(()), Err))
    }

    fn prepared(&self, sql: &str) -> Result<Statement, PostgresqlError> {
        self.session.prepared(DEADLINE, sql)
    }

    fn execute<V: ToSql + Sync + 'a>(
        &mut self,
        what: &'static str,
        statement: Statement,
        values: impl IntoIterator<Item = V>,
    ) {
        let client = self.session.client();
        let values: Vec<V> = values.into_iter().collect();
        self.answers.push((
            what,
            Box::pin(async move {
                let values: Vec<&(dyn ToSql + Sync)> =
                    values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
                client.execute(&statement, &values).await.map(|_| ())
            }),
        ));
    }
}
