//! One connection to the server, spoken to from an ordinary thread, with a deadline on every answer.
//!
//! The driver is asynchronous; each session brings its own small runtime, which runs only while somebody waits for an answer.

use super::error::PostgresqlError;
use super::server::PostgresqlUrl;
use crate::store::StoreError;
use crate::store::connection::Value;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Row, Socket, Statement};

/// Statements kept ready on one connection; past this they are all let go of.
const STATEMENTS_MAX: usize = 256;

/// How long connecting may take, over all hosts of the URL.
pub(super) const CONNECT_DEADLINE: Duration = Duration::from_secs(30);

/// One connection.
pub(super) struct Session {
    runtime: Option<Runtime>,
    client: Client,
    label: String,
    statements: RefCell<HashMap<String, Statement>>,
    /// An answer came too late: what comes now belongs to some earlier question.
    is_late: Cell<bool>,
}

impl Session {
    /// Connects, to whichever host of the URL has what the URL wants, within so long.
    pub(super) fn connect(url: &PostgresqlUrl, deadline: Duration) -> Result<Self, StoreError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(StoreError::NoThread)?;
        let (config, tls) = (url.config()?, url.tls()?);
        let connected = runtime.block_on(async {
            let connecting = async {
                match tls {
                    Some(tls) => connect(&config, tls).await,
                    None => connect(&config, NoTls).await,
                }
            };
            let connected = tokio::time::timeout(deadline, connecting).await;
            connected
                .map_err(|_| late(url.label(), deadline))?
                .map_err(|error| PostgresqlError::of(url.label(), &error))
        });
        let client = match connected {
            Ok(client) => client,
            Err(error) => {
                runtime.shutdown_background();
                return Err(error.into());
            }
        };
        Ok(Self {
            runtime: Some(runtime),
            client,
            label: url.label().to_owned(),
            statements: RefCell::default(),
            is_late: Cell::new(false),
        })
    }

    /// The server's name in errors.
    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// For statements that are sent without waiting for each other's answers.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Whether it can still be used.
    pub(super) fn is_usable(&self) -> bool {
        !self.is_late.get() && !self.client.is_closed()
    }

    /// Waits for an answer, so long at most.
    pub(super) fn wait<T>(
        &self,
        deadline: Duration,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<Result<T, tokio_postgres::Error>, PostgresqlError> {
        let runtime = self.runtime.as_ref().expect("taken only when the session ends");
        runtime.block_on(async { tokio::time::timeout(deadline, answer).await }).map_err(|_| {
            self.is_late.set(true);
            late(&self.label, deadline)
        })
    }

    /// Waits, and sorts errors by what can be done about them.
    pub(super) fn ask<T>(
        &self,
        deadline: Duration,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, PostgresqlError> {
        self.wait(deadline, answer)?.map_err(|error| self.sorted(&error))
    }

    /// An error of the driver, sorted by what can be done about it.
    pub(super) fn sorted(&self, error: &tokio_postgres::Error) -> PostgresqlError {
        PostgresqlError::of(&self.label, error)
    }

    /// Runs statements without values or answers.
    pub(super) fn run(&self, deadline: Duration, sql: &str) -> Result<(), PostgresqlError> {
        self.ask(deadline, self.client.batch_execute(sql))
    }

    /// A statement, made ready once.
    pub(super) fn prepared(&self, deadline: Duration, sql: &str) -> Result<Statement, PostgresqlError> {
        if let Some(statement) = self.statements.borrow().get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.ask(deadline, self.client.prepare(sql))?;
        let mut statements = self.statements.borrow_mut();
        if statements.len() >= STATEMENTS_MAX {
            statements.clear();
        }
        statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Runs one statement and gives its rows.
    pub(super) fn rows(
        &self,
        deadline: Duration,
        sql: &str,
        values: &[Value],
    ) -> Result<Vec<Row>, PostgresqlError> {
        let statement = self.prepared(deadline, sql)?;
        let values: Vec<&(dyn ToSql + Sync)> =
            values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        self.ask(deadline, self.client.query(&statement, &values))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Closes the socket, and does not wait: a session may be dropped on a thread that must not.
            runtime.shutdown_background();
        }
    }
}

/// Connects, and leaves a task behind that carries the connection.
async fn connect<T>(config: &Config, tls: T) -> Result<Client, tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let (client, connection) = config.connect(tls).await?;
    tokio::spawn(async move {
        // Whoever waits for an answer hears of it too.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to PostgreSQL ended");
        }
    });
    Ok(client)
}

fn late(server: &str, waited: Duration) -> PostgresqlError {
    PostgresqlError::Late { server: server.to_owned(), waited_s: waited.as_secs() }
}
