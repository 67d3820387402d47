//! A small pool of connections that read. In WAL mode they never wait for the writer.

use super::directory::DirectoryLock;
use super::{Access, connect, name_path};
use crate::store::StoreError;
use crate::store::connection::{Cell, ReadConnection, Row, Rows, Value};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How long a read waits for a free connection.
const WAIT: Duration = Duration::from_secs(5);

/// The connections.
pub(in crate::store) struct Pool {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    returned: Condvar,
    /// Held by tools that open the store without a writer.
    _lock: Option<DirectoryLock>,
}

impl Pool {
    pub(super) fn open(
        path: &Path,
        connections: usize,
        lock: Option<DirectoryLock>,
    ) -> Result<Self, StoreError> {
        let idle: Result<Vec<_>, _> = (0..connections.max(1)).map(|_| connect(path, Access::Read)).collect();
        Ok(Self { path: path.to_owned(), idle: Mutex::new(idle?), returned: Condvar::new(), _lock: lock })
    }

    /// Runs `read` on a free connection, within one transaction.
    pub(in crate::store) fn with<T>(
        &self,
        read: impl FnOnce(&dyn ReadConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut lease = self.lease()?;
        let connection = lease.connection.as_mut().expect("taken back only when the lease ends");
        let result = connection.transaction().map_err(StoreError::from).and_then(|transaction| {
            let value = read(&*transaction)?;
            transaction.finish()?;
            Ok(value)
        });
        result.map_err(|error| name_path(error, &self.path))
    }

    fn lease(&self) -> Result<Lease<'_>, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut idle, _) = self
            .returned
            .wait_timeout_while(idle, WAIT, |idle| idle.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        let waited_ms = u64::try_from(WAIT.as_millis()).unwrap_or(u64::MAX);
        let connection = idle.pop().ok_or(StoreError::ReadersBusy { waited_ms })?;
        Ok(Lease { pool: self, connection: Some(connection) })
    }
}

/// A connection in use; it goes back when the read is over, even by a panic.
struct Lease<'a> {
    pool: &'a Pool,
    connection: Option<Connection>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            self.pool.returned.notify_one();
        }
    }
}

impl ReadConnection for Connection {
    fn query(
        &self,
        sql: &str,
        values: &[Value],
        take: &mut dyn FnMut(&dyn Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut statement = self.prepare_cached(sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            take(row)?;
        }
        Ok(())
    }

    fn stream(
        &self,
        sql: &str,
        read: &mut dyn FnMut(&mut dyn Rows) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut statement = self.prepare(sql)?;
        let mut rows = statement.query([])?;
        read(&mut rows)
    }

    fn keep_months(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn damage(&self) -> Result<Vec<String>, StoreError> {
        let connection: &dyn ReadConnection = self;
        let mut findings = connection.rows("PRAGMA quick_check", &[], |row| row.get::<String>(0))?;
        findings.retain(|finding| finding != "ok");
        Ok(findings)
    }
}

impl Rows for rusqlite::Rows<'_> {
    fn next(&mut self) -> Result<Option<&dyn Row>, StoreError> {
        let row = rusqlite::Rows::next(self)?;
        Ok(row.map(|row| -> &dyn Row { row }))
    }
}

impl Row for rusqlite::Row<'_> {
    fn cell(&self, column: usize) -> Result<Cell<'_>, StoreError> {
        Ok(match self.get_ref(column)? {
            ValueRef::Null => Cell::Null,
            ValueRef::Integer(value) => Cell::Integer(value),
            ValueRef::Blob(value) => Cell::Bytes(value),
            text @ ValueRef::Text(_) => Cell::Text(text.as_str().map_err(rusqlite::Error::from)?),
            ValueRef::Real(_) => {
                return Err(StoreError::Column { column, wanted: "no floating point number" });
            }
        })
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(value) => ValueRef::Integer(*value),
            Self::Text(value) => ValueRef::Text(value.as_bytes()),
            Self::Bytes(value) => ValueRef::Blob(value),
        }))
    }
}
