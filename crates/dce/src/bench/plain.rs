//! The yardstick for settlements on PostgreSQL: a plain double-entry schema, one transaction for each transfer, as one would write it
//! first. It is driven as hard as it goes, by a pool of connections with prepared statements.

use crate::failure::Failure;
use infra::store::{PostgresqlUrl, StoreError};
use serde::Serialize;
use std::time::{Duration, Instant};
use tokio_postgres::{Client, Config, Error, NoTls};

/// Connections that transfer at the same time.
const CLIENTS: u64 = 16;

/// How long each kind of traffic is measured.
const MEASURED: Duration = Duration::from_secs(3);

/// Accounts; the first is the house's margin, the second the seller's.
const ACCOUNTS: i64 = 1_000;

const SCHEMA: &str = "DROP SCHEMA IF EXISTS dce_bench_plain CASCADE;
    CREATE SCHEMA dce_bench_plain;
    CREATE TABLE dce_bench_plain.account (
        id bigint PRIMARY KEY, balance bigint NOT NULL, CHECK (id < 3 OR balance >= 0)
    );
    CREATE TABLE dce_bench_plain.transfer (
        id bigserial PRIMARY KEY, reason text NOT NULL UNIQUE,
        debit bigint NOT NULL REFERENCES dce_bench_plain.account,
        credit bigint NOT NULL REFERENCES dce_bench_plain.account,
        amount bigint NOT NULL CHECK (amount > 0), at timestamptz NOT NULL DEFAULT now()
    );
    INSERT INTO dce_bench_plain.account SELECT id, 1000000000000 FROM generate_series(1, 1000) AS id";

/// What the plain schema does.
#[derive(Debug, Serialize)]
pub(super) struct PlainFigures {
    /// Transfers a second with the benchmark's own traffic: many buyers, one seller, one margin.
    plain_transfers_per_s: f64,
    /// Between any two accounts: nobody waits for anybody's row.
    plain_spread_transfers_per_s: f64,
    /// Ours, over the first and over the second.
    times_plain: f64,
    times_plain_spread: f64,
}

impl PlainFigures {
    /// The mean of a run before and one after.
    pub(super) fn mean(&self, other: &Self) -> Self {
        let mean = |one: f64, other: f64| f64::midpoint(one, other);
        Self {
            plain_transfers_per_s: mean(self.plain_transfers_per_s, other.plain_transfers_per_s),
            plain_spread_transfers_per_s: mean(
                self.plain_spread_transfers_per_s,
                other.plain_spread_transfers_per_s,
            ),
            ..*self
        }
    }

    /// Beside so many transfers a second of ours.
    pub(super) fn against(self, transfers_per_s: f64) -> Self {
        Self {
            times_plain: transfers_per_s / self.plain_transfers_per_s,
            times_plain_spread: transfers_per_s / self.plain_spread_transfers_per_s,
            ..self
        }
    }
}

/// Measures both kinds of traffic in a schema of its own, which goes away again.
pub(super) fn transfers_per_s(url: &PostgresqlUrl) -> Result<PlainFigures, Failure> {
    let database = url.config().map_err(StoreError::from)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::environment(format!("no threads: {error}; raise the process limit")))?;
    runtime
        .block_on(both(&database))
        .map_err(|error| Failure::environment(format!("the plain schema: {error}")))
}

async fn both(database: &Config) -> Result<PlainFigures, Error> {
    let client = connect(database).await?;
    client.batch_execute(SCHEMA).await?;
    let plain_transfers_per_s = measure(database, false).await?;
    let plain_spread_transfers_per_s = measure(database, true).await?;
    client.batch_execute("DROP SCHEMA dce_bench_plain CASCADE").await?;
    Ok(PlainFigures {
        plain_transfers_per_s,
        plain_spread_transfers_per_s,
        times_plain: 0.0,
        times_plain_spread: 0.0,
    })
}

async fn measure(database: &Config, spread: bool) -> Result<f64, Error> {
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push((connect(database).await?, number));
    }
    let started = Instant::now();
    let working: Vec<_> = clients
        .into_iter()
        .map(|(client, number)| {
            tokio::spawn(async move { transfer_for_a_while(&client, number, spread).await })
        })
        .collect();
    let mut transfers = 0_u32;
    for worker in working {
        transfers += worker.await.expect("a worker does not panic")?;
    }
    Ok(f64::from(transfers) / started.elapsed().as_secs_f64())
}

pub(super) async fn connect(database: &Config) -> Result<Client, Error> {
    let (client, connection) = database.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// One transfer after the other; how many.
async fn transfer_for_a_while(client: &Client, number: u64, spread: bool) -> Result<u32, Error> {
    let insert = client
        .prepare(
            "INSERT INTO dce_bench_plain.transfer (reason, debit, credit, amount) VALUES ($1, $2, $3, $4)",
        )
        .await?;
    let update =
        client.prepare("UPDATE dce_bench_plain.account SET balance = balance + $2 WHERE id = $1").await?;
    let mut random = fastrand::Rng::with_seed(number);
    let started = Instant::now();
    let mut done = 0;
    while started.elapsed() < MEASURED {
        let debit = random.i64(3..=ACCOUNTS);
        let credit = match (spread, done % 2) {
            (true, _) => (debit - 3 + random.i64(1..ACCOUNTS - 2)) % (ACCOUNTS - 2) + 3,
            (false, 0) => 1,
            (false, _) => 2,
        };
        client.batch_execute("BEGIN").await?;
        let reason = format!("{spread}:{number}:{done}");
        client.execute(&insert, &[&reason, &debit, &credit, &7_i64]).await?;
        // Always in the same order, so that no two wait for each other.
        let mut changes = [(debit, -7_i64), (credit, 7)];
        changes.sort_unstable();
        for (account, change) in changes {
            client.execute(&update, &[&account, &change]).await?;
        }
        client.batch_execute("COMMIT").await?;
        done += 1;
    }
    Ok(done)
}
