//! `dce bench restart`: how long a restart takes until the book is whole again, with so many bids in the store.

use super::ground::EmptyStore;
use super::market::{START, bid, commands, restored};
use super::plain;
use crate::config::Config;
use crate::failure::Failure;
use exchange::audit::{Actor, AuditEntry};
use exchange::bid::BidProfile;
use exchange::bid::packed::pack;
use exchange::book::Book;
use exchange::effect::{Command, Effect, Record};
use exchange::snapshot::Snapshot;
use fastrand::Rng;
use infra::store::image::BidImage;
use infra::store::{OnDurable, PostgresqlUrl, StoreError, StoreOptions, UnitOfWork};
use serde::Serialize;
use std::hash::{DefaultHasher, Hasher};
use std::path::Path;
use std::time::Instant;

/// Records of one unit of work while the store is filled.
const RECORDS_PER_UNIT: usize = 500;

/// Bids that were changed since the image was made, at most: about as many as an exchange at work lets be.
const CHANGED_MAX: usize = 10_000;

/// What was measured.
#[derive(Debug, Serialize)]
pub(super) struct RestartFigures {
    store: &'static str,
    bids: usize,
    #[serde(flatten)]
    yardstick: Yardstick,
    /// Making the image of the bids, which an exchange does beside its work.
    image_ms: f64,
    /// Bids that were changed since.
    changed: usize,
    /// A restart with the image, as they usually are.
    restart: Restart,
    /// A restart from the documents alone.
    from_documents: Restart,
    /// Bids missing from a restored book, or not as they were: must be 0.
    pub(super) missing: usize,
}

/// What the same machine does without us, in the same run: reading what is there once, front to back.
#[derive(Debug, Serialize)]
struct Yardstick {
    /// SQLite: the file. PostgreSQL: the documents of all bids.
    read_bytes: u64,
    read_ms: f64,
}

/// One restart.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "all of them are milliseconds")]
struct Restart {
    /// Opening the store.
    open_ms: f64,
    /// Reading everything that must survive a restart.
    load_ms: f64,
    /// Making the book of it: indexes, balances, usage.
    restore_ms: f64,
    /// From nothing to a book that decides.
    total_ms: f64,
}

/// Fills an empty store with `bids` bids, closes it, and opens it again.
pub(super) fn run(config: &Config, bids: usize, seed: u64) -> Result<RestartFigures, Failure> {
    let empty = EmptyStore::of(config)?;
    let directory = tempfile::Builder::new()
        .prefix("dce-bench-")
        .tempdir()
        .map_err(|error| Failure::environment(format!("temporary directory: {error}")))?;
    let image = BidImage::in_directory(directory.path());
    let changed = CHANGED_MAX.min(bids / 100);
    let image_ms = fill(&empty, &image, bids, changed, seed)?;
    let yardstick = match &empty {
        EmptyStore::Sqlite(directory) => read_file(&directory.path().join("exchange.sqlite"))?,
        EmptyStore::Postgresql(url) => read_documents(url)?,
    };
    // One after the other, so that neither book is in the other's memory: of the first, only prints are kept.
    let (with_image, bids_found) = restart(&empty, Some(image))?;
    let (from_documents, expected) = restart(&empty, None)?;
    let same = bids_found.iter().zip(&expected).filter(|(found, expected)| found == expected);
    Ok(RestartFigures {
        store: empty.kind(),
        bids,
        yardstick,
        image_ms,
        changed,
        restart: with_image,
        from_documents,
        missing: bids.abs_diff(same.count()),
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

/// Opens the store, up to a book that decides; also a print of each of its bids.
fn restart(empty: &EmptyStore, bid_image: Option<BidImage>) -> Result<(Restart, Vec<u64>), Failure> {
    let started = Instant::now();
    let options = StoreOptions { bid_image, ..StoreOptions::default() };
    let store = empty.open_with(&options)?;
    let open_ms = milliseconds(started);
    let snapshot = store.load()?;
    let load_ms = milliseconds(started) - open_ms;
    let book = restored(snapshot);
    let total_ms = milliseconds(started);
    let restart = Restart { open_ms, load_ms, restore_ms: total_ms - load_ms - open_ms, total_ms };
    Ok((restart, book.bids().iter().map(|bid| print_of(&bid.profile)).collect()))
}

/// The hash of a bid's packed form.
fn print_of(bid: &BidProfile) -> u64 {
    let mut bytes = Vec::new();
    pack(bid, &mut bytes);
    let mut hasher = DefaultHasher::new();
    hasher.write(&bytes);
    hasher.finish()
}

/// Fills the store, makes the image, and then changes some bids; how long the image took.
fn fill(
    empty: &EmptyStore,
    image: &BidImage,
    bids: usize,
    changed: usize,
    seed: u64,
) -> Result<f64, Failure> {
    let store = empty.open()?;
    let mut book: Book = restored(Snapshot::default());
    let mut rng = Rng::with_seed(seed);
    let mut records: Vec<Record> = Vec::with_capacity(RECORDS_PER_UNIT);
    let write = |records: Vec<Record>| {
        let unit = UnitOfWork { journal: None, records };
        // The last commit tells whether all went well.
        let _ = store.writer().submit_blocking(unit, OnDurable::new(|_| {}));
    };
    // One entry of the audit log is enough for the image to go by; those of the changes it must find are all there.
    let mut apply = |command: Command, is_logged: bool| {
        if is_logged {
            records.push(Record::Audit(Box::new(AuditEntry::of_command(
                &command,
                Actor::CommandLine,
                START,
            ))));
        }
        let effects = book.apply(command, START).expect("a valid command");
        records.extend(effects.into_iter().filter_map(|effect| match effect {
            Effect::Record(record) => Some(record),
            Effect::Act(_) => None,
        }));
        if is_logged || records.len() >= RECORDS_PER_UNIT {
            write(std::mem::take(&mut records));
        }
    };
    commands(bids, &mut rng).for_each(|command| apply(command, false));
    apply(Command::PutBidProfile { bid: Box::new(bid(0, &mut rng)) }, true);
    store.writer().commit(UnitOfWork::default())?;
    let started = Instant::now();
    store.reader().make_image(image, &|| true)?;
    let image_ms = milliseconds(started);
    for index in 0..changed {
        apply(Command::PutBidProfile { bid: Box::new(bid(index * bids / changed, &mut rng)) }, true);
    }
    store.writer().commit(UnitOfWork::default())?;
    Ok(image_ms)
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1_000.0
}
