//! The durable store: units of work go in, all or nothing; the books and the API's reads come out.
//!
//! One writer, many readers, on one of two databases: SQLite in a directory of ours, or a PostgreSQL server. What differs is
//! how a batch is committed ([`writer::Commit`]) and how rows are read ([`connection::ReadConnection`]).

pub mod error;
pub mod page;
pub mod unit_of_work;
mod consumers;
mod writer;
mod reader;
mod connection;
mod columns;
mod read;
mod load;
pub mod image;
pub mod imager;
mod verify;
mod sqlite;
mod postgresql;
mod retention;

pub use consumers::{DeadLetter, Effect, LetterId, LetterState};
pub use error::StoreError;
pub use page::{Listing, MAX_PAGE, Page};
pub use postgresql::error::PostgresqlError;
pub use postgresql::server::PostgresqlUrl;
pub use read::accounts::{AccountFilter, Balances};
pub use read::api_keys::{ApiKey, ApiKeyFilter, SESSIONS_PER_KEY_MAX, SessionTerms};
pub use read::audit::AuditFilter;
pub use read::bid_profiles::BidProfileFilter;
pub use read::calls::{CallFilter, CallStage};
pub use read::dead_letters::{LetterCounts, LetterFilter};
pub use read::disputes::DisputeFilter;
pub use read::events::OutboxEvent;
pub(crate) use read::roll_ups::ANALYTICS;
pub use read::roll_ups::{ReportBy, ReportFilter, ReportRow, ReportStep};
pub use read::totals::CallTotals;
pub use read::tracking_numbers::TrackingNumberFilter;
pub use read::trading::DealFilter;
pub use read::transfers::BookedTransfer;
pub use reader::Reader;
pub use retention::{Cleared, RetentionConfig, RetentionJob, RetentionStatus, clear};
pub use unit_of_work::{CommitResult, OnDurable, Rejection, UnitOfWork};
pub use verify::VerifyReport;
pub(crate) use writer::wall_clock;
pub use writer::{StoreHealth, SubmitError, Writer};

use exchange::snapshot::Snapshot;
use image::BidImage;
use std::path::{Path, PathBuf};

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// An SQLite file in this directory.
    Directory(PathBuf),
    /// A database on a PostgreSQL server, 15 or newer.
    Postgresql(PostgresqlUrl),
}

impl std::fmt::Display for Place {
    /// The directory, or the server without its password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Directory(directory) => directory.display().fmt(f),
            Self::Postgresql(url) => url.fmt(f),
        }
    }
}

impl From<PostgresqlUrl> for Place {
    fn from(url: PostgresqlUrl) -> Self {
        Self::Postgresql(url)
    }
}

impl<P: AsRef<Path> + ?Sized> From<&P> for Place {
    fn from(directory: &P) -> Self {
        Self::Directory(directory.as_ref().to_owned())
    }
}

/// How the store is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOptions {
    /// Units that may wait for the writer; past this, submitting is refused.
    pub queue_max: usize,
    /// Units committed with one sync at most.
    pub group_max: usize,
    /// How long the writer waits for more units to share a sync, in microseconds. 0 never waits: units gather anyway
    /// while the previous sync runs.
    pub group_wait_us: u64,
    /// Connections that serve reads.
    pub read_connections: usize,
    /// PostgreSQL: its replicas, which serve reads once they have what this process was told is durable; several hosts in one URL
    /// share the reads with `load_balance_hosts=random`.
    pub replicas: Option<PostgresqlUrl>,
    /// PostgreSQL: where other nodes reach the one that opens it; they find it by [`Reader::book_address`].
    pub address: Option<String>,
    /// The image of the bids that a restart reads, where there is one.
    pub bid_image: Option<BidImage>,
    /// SQLite: a quota on the database file, in pages of 4 KiB; absent is the disk.
    pub max_pages: Option<u32>,
    /// SQLite: the largest database checked as a whole at the start, in MiB. A larger one is checked by `verify`.
    pub check_at_open_mib_max: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            queue_max: 8_192,
            group_max: 1_024,
            group_wait_us: 0,
            read_connections: 3,
            replicas: None,
            address: None,
            bid_image: None,
            max_pages: None,
            check_at_open_mib_max: 256,
        }
    }
}

/// An open store. Dropping it finishes what was submitted and lets go of the database.
///
/// Opening and reading wait for the database on the calling thread, which must not be one that serves tasks.
pub struct Store {
    adapter: Adapter,
    bid_image: Option<BidImage>,
}

enum Adapter {
    Sqlite(sqlite::SqliteStore),
    Postgresql(postgresql::PostgresqlStore),
}

impl Store {
    /// Opens the store at `place` as its one writer, creating what is missing and migrating what is old.
    pub fn open(place: impl Into<Place>, options: &StoreOptions) -> Result<Self, StoreError> {
        let adapter = match place.into() {
            Place::Directory(directory) => Adapter::Sqlite(sqlite::open(&directory, options)?),
            Place::Postgresql(url) => Adapter::Postgresql(postgresql::open(&url, options)?),
        };
        Ok(Self { adapter, bid_image: options.bid_image.clone() })
    }

    /// Opens the store at `place` for tools. Nothing is created or migrated. In a directory it keeps
    /// exchanges out for as long as it is open; on a server it does not, and reads while one runs.
    pub fn open_read_only(place: impl Into<Place>) -> Result<Reader, StoreError> {
        match place.into() {
            Place::Directory(directory) => sqlite::open_read_only(&directory),
            Place::Postgresql(url) => postgresql::open_read_only(&url, 1),
        }
    }

    /// Opens the store on a server for a node whose writer is another one. It reads from the primary alone: nobody tells it how far
    /// replicas must be.
    pub fn open_beside_writer(url: &PostgresqlUrl, options: &StoreOptions) -> Result<Reader, StoreError> {
        postgresql::open_read_only(url, options.read_connections)
    }

    /// Copies the SQLite store in the directory `from` into the directory `to`, also while an exchange writes to it: one state that
    /// was durable, whole.
    pub fn back_up(from: &Path, to: &Path) -> Result<(), StoreError> {
        sqlite::backup::back_up(from, to)
    }

    /// Where units of work are submitted. Cheap to clone.
    pub fn writer(&self) -> Writer {
        match &self.adapter {
            Adapter::Sqlite(store) => store.writer.handle(),
            Adapter::Postgresql(store) => store.writer.handle(),
        }
    }

    /// Where the API reads. Cheap to clone.
    pub fn reader(&self) -> Reader {
        match &self.adapter {
            Adapter::Sqlite(store) => store.reader.clone(),
            Adapter::Postgresql(store) => store.reader.clone(),
        }
    }

    /// Everything that must survive a restart, as of the last commit.
    pub fn load(&self) -> Result<Snapshot, StoreError> {
        self.reader().load_by(self.bid_image.as_ref())
    }

    /// Whether commits succeed.
    pub fn health(&self) -> StoreHealth {
        self.writer().health()
    }
}
