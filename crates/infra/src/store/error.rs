//! What can go wrong with the store, each in one line that names the path and the fix.

use std::path::PathBuf;

/// Why the store cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The data directory is some other kind of file.
    #[error("data directory {path}: not a directory; name a directory, or one that can be created")]
    NotADirectory {
        /// The path given.
        path: PathBuf,
    },
    /// Missing, and it may not be created here.
    #[error("{path}: does not exist; start the exchange once to create it, or name its data directory")]
    Missing {
        /// What was looked for.
        path: PathBuf,
    },
    /// The operating system refuses.
    #[error("{path}: permission denied; make it readable and writable for this user")]
    Permission {
        /// What could not be opened.
        path: PathBuf,
    },
    /// Any other answer of the operating system.
    #[error("{path}: {source}; free the path, or use another data directory")]
    Io {
        /// What could not be opened.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// Another process has the directory.
    #[error("{path}: locked by another process{}; stop it, or use another data directory", pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, if it says so.
        pid: Option<u32>,
    },
    /// Not an SQLite file, or a damaged one.
    #[error("{path}: not a sound SQLite database ({finding}); restore it from a backup")]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// What was found.
        finding: String,
    },
    /// An SQLite file of some other program.
    #[error(
        "{path}: an SQLite database of another program (application id {application_id:#010x}); use another data directory"
    )]
    Foreign {
        /// The database.
        path: PathBuf,
        /// What its header says.
        application_id: i32,
    },
    /// Written by a later version of this program.
    #[error("{path}: schema version {found}, but this binary knows only up to {known}; run the newer binary")]
    SchemaTooNew {
        /// The database.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The newest this binary knows.
        known: i64,
    },
    /// A read-only open found an older schema.
    #[error(
        "{path}: schema version {found}, this binary needs {known}; start the exchange once to migrate it"
    )]
    SchemaTooOld {
        /// The database.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The one this binary reads.
        known: i64,
    },
    /// A schema step that is not recorded was taken in part.
    #[error(
        "{path}: schema step {version} cannot be taken, part of it is there ({finding}); restore it from a backup"
    )]
    SchemaDiffers {
        /// The database.
        path: PathBuf,
        /// Which step.
        version: i64,
        /// What was found.
        finding: String,
    },
    /// No room.
    #[error("{path}: the disk, or the store's page quota, is full; free space or raise `max_pages`")]
    DiskFull {
        /// The database.
        path: PathBuf,
    },
    /// A row holds a document this binary cannot read.
    #[error(
        "table {table}, row {row}: unreadable ({finding}); restore it from a backup or run the binary that wrote it"
    )]
    Row {
        /// The table.
        table: &'static str,
        /// The row's key.
        row: String,
        /// What is wrong with it.
        finding: String,
    },
    /// The image of the bids is not what was written.
    #[error("{path}: {finding}; delete it, it is made anew")]
    Image {
        /// The image.
        path: PathBuf,
        /// What was found.
        finding: String,
    },
    /// A column holds something else than the schema says.
    #[error(
        "column {column} of an answer: not {wanted}; restore from a backup or run the binary that wrote it"
    )]
    Column {
        /// Counted from 0.
        column: usize,
        /// What it must be.
        wanted: &'static str,
    },
    /// The store does not say who it is.
    #[error("table identity: empty; restore the database from a backup")]
    NoIdentity,
    /// A page cursor that this store did not hand out.
    #[error("page cursor '{cursor}': not one of ours; pass the `next` of the previous page unchanged")]
    BadCursor {
        /// What was passed.
        cursor: String,
    },
    /// All read connections stayed in use.
    #[error("no read connection became free within {waited_ms} ms; retry later, or raise `read_connections`")]
    ReadersBusy {
        /// How long it waited.
        waited_ms: u64,
    },
    /// The operating system gives no thread.
    #[error("no thread for the store: {0}; raise the process limit")]
    NoThread(std::io::Error),
    /// The disk takes its time.
    #[error(
        "not on disk after {waited_s} s; it is written when the disk takes it, see the log for what keeps it"
    )]
    NotYet {
        /// How long it waited, in seconds.
        waited_s: u64,
    },
    /// The writer has stopped.
    #[error("the store is stopped; start the exchange again")]
    Stopped,
    /// Refused by the store's own rules.
    #[error(transparent)]
    Rejected(#[from] super::Rejection),
    /// Something with the PostgreSQL server.
    #[error(transparent)]
    Postgresql(#[from] super::PostgresqlError),
    /// Any other answer of SQLite.
    #[error("database: {0}; see the SQLite result code")]
    Sql(#[from] rusqlite::Error),
}
