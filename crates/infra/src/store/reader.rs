//! Reads: each within one transaction on a connection of a small pool.

use super::StoreError;
use super::connection::{Dialect, ReadConnection, Row, Value};
use super::postgresql::pool::Pool as PostgresqlPool;
use super::sqlite::pool::Pool as SqlitePool;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Where the API reads. Clones share the connections.
#[derive(Clone)]
pub struct Reader(Arc<Connections>);

/// Where the connections lead.
pub(super) enum Connections {
    Sqlite(SqlitePool),
    Postgresql(Box<PostgresqlPool>),
}

impl Reader {
    pub(super) fn new(connections: Connections) -> Self {
        Self(Arc::new(connections))
    }

    /// Which SQL its connections speak.
    pub(super) fn dialect(&self) -> Dialect {
        match &*self.0 {
            Connections::Sqlite(_) => Dialect::Sqlite,
            Connections::Postgresql(_) => Dialect::Postgresql,
        }
    }

    /// Runs `read` on a free connection, within one transaction: it sees one state of the store.
    pub(super) fn with<T>(
        &self,
        read: impl Fn(&dyn ReadConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match &*self.0 {
            Connections::Sqlite(pool) => pool.with(read),
            Connections::Postgresql(pool) => pool.with(read),
        }
    }

    /// The same for a read that gives away rows on its way, which cannot be taken back to be read again elsewhere.
    pub(super) fn once<T>(
        &self,
        read: impl FnOnce(&dyn ReadConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match &*self.0 {
            Connections::Sqlite(pool) => pool.with(read),
            Connections::Postgresql(pool) => pool.once(read),
        }
    }

    /// Reads so far: on the primary, and on replicas. An SQLite file is neither.
    pub fn reads(&self) -> Option<(u64, u64)> {
        match &*self.0 {
            Connections::Sqlite(_) => None,
            Connections::Postgresql(pool) => Some(pool.reads()),
        }
    }

    /// Where the node that has the book is reached by others: it left that when it opened the store as its writer.
    pub fn book_address(&self) -> Result<Option<String>, StoreError> {
        match &*self.0 {
            Connections::Sqlite(_) => Ok(None),
            Connections::Postgresql(pool) => {
                let sql = "SELECT address FROM writer WHERE address IS NOT NULL";
                pool.with(|connection| connection.row(sql, &[], |row: &dyn Row| row.get(0)))
            }
        }
    }

    /// Reads the rows of a page: one document each, and one row more than the page holds.
    pub(super) fn documents<T: DeserializeOwned>(
        &self,
        table: &'static str,
        (sql, values): (String, Vec<Value>),
    ) -> Result<Vec<T>, StoreError> {
        self.with(|connection| connection.rows(&sql, &values, |row| row.document(table, 0)))
    }

    /// Reads one document, if it is there.
    pub(super) fn one_document<T: DeserializeOwned>(
        &self,
        table: &'static str,
        sql: &str,
        key: impl Into<Value>,
    ) -> Result<Option<T>, StoreError> {
        let key = [key.into()];
        self.with(|connection| connection.row(sql, &key, |row| row.document(table, 0)))
    }
}
