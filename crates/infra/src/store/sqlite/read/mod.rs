//! Reads: a small pool of connections, each read within one transaction. In WAL mode they never wait for the writer.

pub(in crate::store) mod accounts;
pub(in crate::store) mod tracking_numbers;
pub(in crate::store) mod bid_profiles;
pub(in crate::store) mod calls;
pub(in crate::store) mod trading;
mod journal;
pub(in crate::store) mod totals;
pub(in crate::store) mod transfers;
pub(in crate::store) mod events;
pub(in crate::store) mod api_keys;
mod query;

use super::directory::DirectoryLock;
use super::{Access, connect, name_path};
use crate::store::{Page, StoreError};
use exchange::ledger::transfer::LedgerAccount;
use rusqlite::types::Value;
use rusqlite::{Connection, Params, Row, params_from_iter};
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How long a read waits for a free connection.
const WAIT: Duration = Duration::from_secs(5);

/// Where the API reads. Clones share the connections.
#[derive(Clone)]
pub struct Reader(Arc<Pool>);

struct Pool {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    returned: Condvar,
    /// Held by tools that open the store without a writer.
    _lock: Option<DirectoryLock>,
}

impl Reader {
    pub(super) fn open(
        path: &Path,
        connections: usize,
        lock: Option<DirectoryLock>,
    ) -> Result<Self, StoreError> {
        let idle: Result<Vec<_>, _> = (0..connections.max(1)).map(|_| connect(path, Access::Read)).collect();
        let pool =
            Pool { path: path.to_owned(), idle: Mutex::new(idle?), returned: Condvar::new(), _lock: lock };
        Ok(Self(Arc::new(pool)))
    }

    /// Runs `read` on a free connection, within one transaction: it sees one state of the store.
    pub(super) fn with<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut lease = self.lease()?;
        let connection = lease.connection.as_mut().expect("taken back only when the lease ends");
        let result = connection.transaction().map_err(StoreError::from).and_then(|transaction| {
            let value = read(&transaction)?;
            transaction.finish()?;
            Ok(value)
        });
        result.map_err(|error| name_path(error, &self.0.path))
    }

    fn lease(&self) -> Result<Lease<'_>, StoreError> {
        let idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut idle, _) = self
            .0
            .returned
            .wait_timeout_while(idle, WAIT, |idle| idle.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        let waited_ms = u64::try_from(WAIT.as_millis()).unwrap_or(u64::MAX);
        let connection = idle.pop().ok_or(StoreError::ReadersBusy { waited_ms })?;
        Ok(Lease { pool: &self.0, connection: Some(connection) })
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

/// Reads the rows of a page: one document each, and one row more than the page holds.
fn documents<T: DeserializeOwned>(
    connection: &Connection,
    table: &'static str,
    sql: &str,
    mut values: Vec<Value>,
    page: &Page,
) -> Result<Vec<T>, StoreError> {
    values.push(page.rows().into());
    let mut statement = connection.prepare_cached(&format!("{sql} LIMIT ?"))?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(document(table, row, 0)?);
    }
    Ok(found)
}

/// Reads one document, if it is there.
fn one_document<T: DeserializeOwned>(
    connection: &Connection,
    table: &'static str,
    sql: &str,
    key: impl Params,
) -> Result<Option<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(key)?;
    rows.next()?.map(|row| document(table, row, 0)).transpose()
}

/// Reads a column that holds a JSON document.
pub(super) fn document<T: DeserializeOwned>(
    table: &'static str,
    row: &Row<'_>,
    column: usize,
) -> Result<T, StoreError> {
    parse(table, row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?)
}

fn parse<T: DeserializeOwned>(table: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Row {
        table,
        row: identity(text),
        finding: masked(&error.to_string()),
    })
}

/// Hides what may be a telephone number: serde quotes values it did not expect.
fn masked(text: &str) -> String {
    let runs = text.split_inclusive(|character: char| !character.is_ascii_digit());
    let hide = |run: &str| -> String {
        let digits = run.chars().filter(char::is_ascii_digit).count();
        if digits < 7 { run.to_owned() } else { run.replace(|c: char| c.is_ascii_digit(), "*") }
    };
    runs.map(hide).collect()
}

/// A document's own id, for an error. Never its text, which may hold telephone numbers.
fn identity(document: &str) -> String {
    let fields: serde_json::Value = serde_json::from_str(document).unwrap_or_default();
    let id = ["id", "call"].iter().find_map(|name| fields.get(name)?.as_str());
    id.unwrap_or("without an id").to_owned()
}

/// Reads a ledger account's name.
pub(super) fn ledger_account(row: &Row<'_>, column: usize) -> Result<LedgerAccount, StoreError> {
    let name: String = row.get(column)?;
    name.parse().map_err(|finding| StoreError::Row { table: "ledger_accounts", row: name, finding })
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn errors_show_no_telephone_numbers() {
        let table = [
            (
                r#"invalid type: string "+12125550123", expected u8"#,
                r#"invalid type: string "+***********", expected u8"#,
            ),
            (
                "unknown variant `held` at line 1 column 123456",
                "unknown variant `held` at line 1 column 123456",
            ),
        ];
        for (found, shown) in table {
            assert_eq!(masked(found), shown);
        }
    }
}
