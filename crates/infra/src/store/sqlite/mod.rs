//! The embedded store: one SQLite file in the data directory, one writer, a few readers.

mod directory;
pub(super) mod migrations;
mod rows;
mod consumed;
mod committer;
mod checkpoint;
pub(super) mod backup;
pub(super) mod retention;
pub(super) mod pool;

use super::reader::Connections;
use super::writer::WriterThread;
use super::{Reader, StoreError, StoreOptions};
use checkpoint::Checkpointer;
use committer::Committer;
use directory::DirectoryLock;
use pool::Pool;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The database's name within the data directory.
const FILE_NAME: &str = "exchange.sqlite";

/// How long a connection waits for another one's lock before it gives up. Only migrations and checkpoints ever hold
/// one that matters.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// An open SQLite store: what must be kept for as long as it is.
pub(super) struct SqliteStore {
    // Dropped in this order: the checkpoints stop before the writer's last one, the lock goes last.
    _checkpointer: Checkpointer,
    pub(super) writer: WriterThread,
    pub(super) reader: Reader,
    _lock: DirectoryLock,
}

/// Opens the store in `directory`, creating what is missing and migrating what is old.
pub(super) fn open(directory: &Path, options: &StoreOptions) -> Result<SqliteStore, StoreError> {
    directory::create(directory)?;
    let lock = DirectoryLock::exclusive(directory)?;
    let path = directory.join(FILE_NAME);
    let mut connection = connect(&path, Access::Write)?;
    let migrated = migrations::migrate(&mut connection, &path)
        .and_then(|()| check_at_open(&connection, &path, options.check_at_open_mib_max));
    migrated.map_err(|error| name_path(error, &path))?;
    let pool = Pool::open(&path, options.read_connections, None)?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", checkpoint::LOG_PAGES_MAX, |_| Ok(()))?;
    let writer = WriterThread::start(Committer::new(connection, &path)?, options)?;
    Ok(SqliteStore {
        _checkpointer: Checkpointer::start(&path)?,
        writer,
        reader: Reader::new(Connections::Sqlite(pool)),
        _lock: lock,
    })
}

/// Opens the store in `directory` for tools, while no server runs on it. Nothing is created or migrated.
pub(super) fn open_read_only(directory: &Path) -> Result<Reader, StoreError> {
    directory::must_exist(directory)?;
    let path = directory.join(FILE_NAME);
    directory::must_exist(&path)?;
    let lock = DirectoryLock::shared(directory)?;
    let connection = connect(&path, Access::Read)?;
    let found = migrations::version(&connection, &path).map_err(|error| name_path(error, &path))?;
    if found < migrations::NEWEST {
        return Err(StoreError::SchemaTooOld { path, found, known: migrations::NEWEST });
    }
    Ok(Reader::new(Connections::Sqlite(Pool::open(&path, 1, Some(lock))?)))
}

/// What a connection may do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// Opens one connection and sets it up.
fn connect(path: &Path, access: Access) -> Result<Connection, StoreError> {
    let flags = match access {
        Access::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
        Access::Write => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
    };
    let open = || -> Result<Connection, StoreError> {
        let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(64);
        // 16 MiB of page cache: negative means KiB.
        connection.pragma_update(None, "cache_size", -16_384)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        if access == Access::Write {
            // Every commit is synced: what is acknowledged survives a power cut.
            connection.pragma_update(None, "synchronous", "FULL")?;
            migrations::version(&connection, path)?;
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        }
        Ok(connection)
    };
    open().map_err(|error| name_path(error, path))
}

/// Looks through a whole database for damage, unless it is larger than `mib_max`.
fn check_at_open(connection: &Connection, path: &Path, mib_max: u64) -> Result<(), StoreError> {
    let bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    if bytes > mib_max.saturating_mul(1024 * 1024) {
        return Ok(());
    }
    let finding: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if finding == "ok" { Ok(()) } else { Err(StoreError::Corrupt { path: path.to_owned(), finding }) }
}

/// Turns SQLite's answers that an operator can act on into errors that name the file and the fix.
fn name_path(error: StoreError, path: &Path) -> StoreError {
    let StoreError::Sql(sql) = error else { return error };
    let path = PathBuf::from(path);
    match sql.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            StoreError::Corrupt { path, finding: sql.to_string() }
        }
        Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => StoreError::Permission { path },
        // SQLite does not say why; the operating system does.
        Some(ErrorCode::CannotOpen) => match OpenOptions::new().read(true).write(true).open(&path) {
            Err(error) => directory::name_path(error, &path),
            Ok(_) => StoreError::Sql(sql),
        },
        Some(ErrorCode::DiskFull) => StoreError::DiskFull { path },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Locked { path, pid: None },
        _ => StoreError::Sql(sql),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writer_syncs_every_commit_to_a_write_ahead_log() {
        let path = std::env::temp_dir().join(format!("dce-store-pragmas-{}.sqlite", std::process::id()));
        let connection = connect(&path, Access::Write).expect("a new file");
        let pragma = |name| -> String {
            let sql = format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}");
            connection.query_row(&sql, [], |row| row.get(0)).expect("a pragma")
        };
        let found = ["journal_mode", "synchronous", "foreign_keys"].map(pragma);
        std::fs::remove_file(&path).expect("written above");
        assert_eq!(found, ["wal", "2", "1"]);
    }
}
