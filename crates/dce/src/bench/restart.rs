//! `dce bench restart`: how long a restart takes until the book is whole again, with so many bids in the store.

use super::ground::EmptyStore;
use super::market::{START, commands, restored};
use super::plain;
use crate::config::Config;
use crate::failure::Failure;
use exchange::book::Book;
use exchange::effect::{Effect, Record};
use exchange::snapshot::Snapshot;
use fastrand::Rng;
use infra::store::{OnDurable, PostgresqlUrl, StoreError, UnitOfWork};
use serde::Serialize;
use std::path::Path;
use std::time::Instant;

/// Records of one unit of work while the store is filled.
const RECORDS_PER_UNIT: usize = 500;

/// What was measured.
#[derive(Debug, Serialize)]
pub(super) struct RestartFigures {
    store: &'static str,
    bids: usize,
    #[serde(flatten)]
    yardstick: Yardstick,
    /// Opening the store.
    open_ms: f64,
    /// Reading everything that must survive a restart.
    load_ms: f64,
    /// Making the book of it: indexes, balances, usage.
    restore_ms: f64,
    /// From nothing to a book that decides.
    total_ms: f64,
    /// Bids missing from the restored book: must be 0.
    pub(super) missing: usize,
}

/// What the same machine does without us, in the same run: reading what is there once, front to back.
#[derive(Debug, Serialize)]
struct Yardstick {
    /// SQLite: the file. PostgreSQL: the documents of all bids.
    read_bytes: u64,
    read_ms: f64,
}

/// Fills an empty store with `bids` bids, closes it, and opens it again.
pub(super) fn run(config: &Config, bids: usize, seed: u64) -> Result<RestartFigures, Failure> {
    let empty = EmptyStore::of(config)?;
    fill(&empty, bids, seed)?;
    let yardstick = match &empty {
        EmptyStore::Sqlite(directory) => read_file(&directory.path().join("exchange.sqlite"))?,
        EmptyStore::Postgresql(url) => read_documents(url)?,
    };

    let started = Instant::now();
    let store = empty.open()?;
    let open_ms = milliseconds(started);
    let snapshot = store.load()?;
    let load_ms = milliseconds(started) - open_ms;
    let book = restored(snapshot);
    let total_ms = milliseconds(started);
    Ok(RestartFigures {
        store: empty.kind(),
        bids,
        yardstick,
        open_ms,
        load_ms,
        restore_ms: total_ms - load_ms - open_ms,
        total_ms,
        missing: bids.abs_diff(book.bids().len()),
    })
}

fn read_file(file: &Path) -> Result<Yardstick, Failure> {
    let started = Instant::now();
    let read = std::fs::read(file);
    let read = read.map_err(|error| Failure::environment(format!("{}: {error}", file.display())))?;
    Ok(Yardstick { read_bytes: read.len() as u64, read_ms: milliseconds(started) })
}

fn read_documents(url: &PostgresqlUrl) -> Result<Yardstick, Failure> {
    let database = url.config().map_err(StoreError::from)?;
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::environment(format!("no threads: {error}; raise the process limit")))?;
    let read = runtime.block_on(async {
        let client = plain::connect(&database).await?;
        let started = Instant::now();
        let rows = client.query("SELECT document::text FROM bid_profiles", &[]).await?;
        let read_bytes = rows.iter().map(|row| row.get::<_, &str>(0).len() as u64).sum();
        Ok::<_, tokio_postgres::Error>(Yardstick { read_bytes, read_ms: milliseconds(started) })
    });
    read.map_err(|error| Failure::environment(format!("{url}: {error}")))
}

fn fill(empty: &EmptyStore, bids: usize, seed: u64) -> Result<(), Failure> {
    let store = empty.open()?;
    let mut book: Book = restored(Snapshot::default());
    let mut records: Vec<Record> = Vec::with_capacity(RECORDS_PER_UNIT);
    let mut rng = Rng::with_seed(seed);
    let write = |records: Vec<Record>| {
        let unit = UnitOfWork { journal: None, records };
        // The last commit tells whether all went well.
        let _ = store.writer().submit_blocking(unit, OnDurable::new(|_| {}));
    };
    for command in commands(bids, &mut rng) {
        let effects = book.apply(command, START).expect("a valid command");
        records.extend(effects.into_iter().filter_map(|effect| match effect {
            Effect::Record(record) => Some(record),
            Effect::Act(_) => None,
        }));
        if records.len() >= RECORDS_PER_UNIT {
            write(std::mem::take(&mut records));
        }
    }
    write(records);
    Ok(store.writer().commit(UnitOfWork::default())?)
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1_000.0
}
