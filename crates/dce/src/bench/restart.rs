//! `dce bench restart`: how long a restart takes until the book is whole again, with so many bids in the store.

use super::market::{START, commands, restored};
use crate::failure::Failure;
use exchange::book::Book;
use exchange::effect::{Effect, Record};
use exchange::snapshot::Snapshot;
use fastrand::Rng;
use infra::store::{OnDurable, Store, StoreOptions, UnitOfWork};
use serde::Serialize;
use std::path::Path;
use std::time::Instant;

/// Records of one unit of work while the store is filled.
const RECORDS_PER_UNIT: usize = 500;

/// What was measured.
#[derive(Debug, Serialize)]
pub(super) struct RestartFigures {
    bids: usize,
    /// The database, in bytes.
    file_bytes: u64,
    /// The yardstick: reading all of the file once, front to back.
    read_ms: f64,
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

/// Fills a store of its own with `bids` bids, closes it, and opens it again.
pub(super) fn run(bids: usize, seed: u64) -> Result<RestartFigures, Failure> {
    let directory = tempfile::Builder::new()
        .prefix("dce-bench-")
        .tempdir()
        .map_err(|error| Failure::environment(format!("temporary directory: {error}")))?;
    fill(directory.path(), bids, seed)?;

    let file = directory.path().join("exchange.sqlite");
    let started = Instant::now();
    let read = std::fs::read(&file);
    let read = read.map_err(|error| Failure::environment(format!("{}: {error}", file.display())))?;
    let read_ms = milliseconds(started);
    let file_bytes = read.len() as u64;
    drop(read);

    let started = Instant::now();
    let store = Store::open(directory.path(), &StoreOptions::default())?;
    let open_ms = milliseconds(started);
    let snapshot = store.load()?;
    let load_ms = milliseconds(started) - open_ms;
    let book = restored(snapshot);
    let total_ms = milliseconds(started);
    Ok(RestartFigures {
        bids,
        file_bytes,
        read_ms,
        open_ms,
        load_ms,
        restore_ms: total_ms - load_ms - open_ms,
        total_ms,
        missing: bids.abs_diff(book.bids().len()),
    })
}

fn fill(directory: &Path, bids: usize, seed: u64) -> Result<(), Failure> {
    let store = Store::open(directory, &StoreOptions::default())?;
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
