//! What a read asks of a database, whichever it is: rows of plain values, within one transaction.
//!
//! Reads are written once over this. Their SQL is what SQLite and PostgreSQL have in common, with `$1`, `$2` for values in
//! the order of their first appearance (SQLite takes them for names and numbers them so); where the two differ, the read
//! asks for the [`Dialect`].

use super::StoreError;
use serde::de::DeserializeOwned;
use uuid::Uuid;

/// Which SQL is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgresql,
}

/// A value for a statement. Ids are their 16 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Value {
    Null,
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl From<Uuid> for Value {
    fn from(value: Uuid) -> Self {
        Self::Bytes(value.as_bytes().to_vec())
    }
}

/// One value of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell<'a> {
    Null,
    Integer(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
}

/// One row of an answer.
pub(super) trait Row {
    /// The value in a column, counted from 0.
    fn cell(&self, column: usize) -> Result<Cell<'_>, StoreError>;
}

impl dyn Row + '_ {
    /// The value in a column, as what it must be.
    pub(super) fn get<'a, T: FromCell<'a>>(&'a self, column: usize) -> Result<T, StoreError> {
        T::from_cell(self.cell(column)?).ok_or(StoreError::Column { column, wanted: T::NAME })
    }

    /// A column that holds a JSON document.
    pub(super) fn document<T: DeserializeOwned>(
        &self,
        table: &'static str,
        column: usize,
    ) -> Result<T, StoreError> {
        parse(table, self.get(column)?)
    }

    /// A column that holds the text of one of our own keys, such as a ledger account's name.
    pub(super) fn key<T: std::str::FromStr<Err = String>>(
        &self,
        table: &'static str,
        column: usize,
    ) -> Result<T, StoreError> {
        let text: &str = self.get(column)?;
        text.parse::<T>().map_err(|finding| StoreError::Row { table, row: text.to_owned(), finding })
    }
}

/// Rows read one after the other, as many as there are.
pub(super) trait Rows {
    /// The next row, if there is one.
    fn next(&mut self) -> Result<Option<&dyn Row>, StoreError>;
}

/// A connection within one transaction that reads: it sees one state of the store.
pub(super) trait ReadConnection {
    /// Gives every row of a short answer to `take`.
    fn query(
        &self,
        sql: &str,
        values: &[Value],
        take: &mut dyn FnMut(&dyn Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError>;

    /// Gives an answer of any length to `read`, which pulls its rows, and may open another answer meanwhile.
    fn stream(
        &self,
        sql: &str,
        read: &mut dyn FnMut(&mut dyn Rows) -> Result<(), StoreError>,
    ) -> Result<(), StoreError>;

    /// Keeps every month where it is until the transaction ends. To be asked before anything is read.
    fn keep_months(&self) -> Result<(), StoreError>;

    /// What the database finds wrong with itself, one line each.
    fn damage(&self) -> Result<Vec<String>, StoreError>;
}

impl dyn ReadConnection + '_ {
    /// The rows of a short answer.
    pub(super) fn rows<T>(
        &self,
        sql: &str,
        values: &[Value],
        mut read: impl FnMut(&dyn Row) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut found = Vec::new();
        self.query(sql, values, &mut |row| {
            found.push(read(row)?);
            Ok(())
        })?;
        Ok(found)
    }

    /// The only row of an answer, if there is one.
    pub(super) fn row<T>(
        &self,
        sql: &str,
        values: &[Value],
        read: impl FnMut(&dyn Row) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        Ok(self.rows(sql, values, read)?.pop())
    }

    /// Gives every row of an answer of any length to `take`.
    pub(super) fn each(
        &self,
        sql: &str,
        mut take: impl FnMut(&dyn Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.stream(sql, &mut |rows| {
            while let Some(row) = rows.next()? {
                take(row)?;
            }
            Ok(())
        })
    }
}

/// What a cell can be read as.
pub(super) trait FromCell<'a>: Sized {
    /// For the error.
    const NAME: &'static str;
    /// Absent when the cell holds something else.
    fn from_cell(cell: Cell<'a>) -> Option<Self>;
}

impl FromCell<'_> for i64 {
    const NAME: &'static str = "an integer";
    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        if let Cell::Integer(value) = cell { Some(value) } else { None }
    }
}

impl<'a> FromCell<'a> for &'a str {
    const NAME: &'static str = "a text";
    fn from_cell(cell: Cell<'a>) -> Option<Self> {
        if let Cell::Text(value) = cell { Some(value) } else { None }
    }
}

impl FromCell<'_> for String {
    const NAME: &'static str = "a text";
    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        <&str>::from_cell(cell).map(str::to_owned)
    }
}

impl<const LENGTH: usize> FromCell<'_> for [u8; LENGTH] {
    const NAME: &'static str = "bytes of a known length";
    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        if let Cell::Bytes(value) = cell { value.try_into().ok() } else { None }
    }
}

impl FromCell<'_> for Uuid {
    const NAME: &'static str = "a UUID";
    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        <[u8; 16]>::from_cell(cell).map(Self::from_bytes)
    }
}

impl<'a, T: FromCell<'a>> FromCell<'a> for Option<T> {
    const NAME: &'static str = T::NAME;
    fn from_cell(cell: Cell<'a>) -> Option<Self> {
        if cell == Cell::Null { Some(None) } else { T::from_cell(cell).map(Some) }
    }
}

/// Reads a JSON document.
pub(super) fn parse<T: DeserializeOwned>(table: &'static str, text: &str) -> Result<T, StoreError> {
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

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_cell_is_read_as_what_it_is_and_as_nothing_else() {
        assert_eq!(i64::from_cell(Cell::Integer(7)), Some(7));
        assert_eq!(i64::from_cell(Cell::Text("7")), None);
        assert_eq!(i64::from_cell(Cell::Null), None);
        assert_eq!(Option::<i64>::from_cell(Cell::Null), Some(None));
        assert_eq!(Option::<i64>::from_cell(Cell::Text("7")), None);
        assert_eq!(String::from_cell(Cell::Text("seven")), Some("seven".to_owned()));
        assert_eq!(<[u8; 2]>::from_cell(Cell::Bytes(&[1, 2])), Some([1, 2]));
        assert_eq!(Uuid::from_cell(Cell::Bytes(&[1, 2])), None);
    }
}
