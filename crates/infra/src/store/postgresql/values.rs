//! Plain values on PostgreSQL's wire: into parameters, out of rows. Binary format throughout.

use crate::store::StoreError;
use crate::store::connection::{Cell, Row, Value};
use bytes::BytesMut;
use std::error::Error;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

type Trouble = Box<dyn Error + Sync + Send>;

impl ToSql for Value {
    fn to_sql(&self, _ty: &Type, out: &mut BytesMut) -> Result<IsNull, Trouble> {
        match self {
            Self::Null => return Ok(IsNull::Yes),
            Self::Integer(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::Text(value) => out.extend_from_slice(value.as_bytes()),
            Self::Bytes(value) => out.extend_from_slice(value),
        }
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::INT8 | Type::TEXT | Type::UUID | Type::BYTEA)
    }

    to_sql_checked!();
}

/// One column of many rows, as an array.
#[derive(Debug)]
pub(super) struct Column<'a> {
    pub(super) rows: &'a [Vec<Value>],
    /// Which value of each row.
    pub(super) place: usize,
    /// What the array holds.
    pub(super) element: Type,
}

impl ToSql for Column<'_> {
    /// Dimensions, whether there are nulls, the element's type; then length and lower bound of the one dimension; then
    /// each element after its length (`array_send` in PostgreSQL's `arrayfuncs.c`).
    fn to_sql(&self, _ty: &Type, out: &mut BytesMut) -> Result<IsNull, Trouble> {
        let cells = || self.rows.iter().map(|row| &row[self.place]);
        let has_nulls = cells().any(|cell| *cell == Value::Null);
        let mut number = |number: i32| out.extend_from_slice(&number.to_be_bytes());
        number(1);
        number(i32::from(has_nulls));
        number(self.element.oid().cast_signed());
        number(i32::try_from(self.rows.len())?);
        number(1);
        for cell in cells() {
            let length_at = out.len();
            out.extend_from_slice(&(-1_i32).to_be_bytes());
            if let IsNull::No = cell.to_sql(&self.element, out)? {
                let length = i32::try_from(out.len() - length_at - 4)?;
                out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
            }
        }
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::INT8_ARRAY | Type::TEXT_ARRAY | Type::UUID_ARRAY | Type::BYTEA_ARRAY)
    }

    to_sql_checked!();
}

/// A cell as it comes.
struct Raw<'a>(Cell<'a>);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Trouble> {
        Ok(Self(match *ty {
            Type::INT8 => Cell::Integer(i64::from_be_bytes(raw.try_into()?)),
            Type::UUID | Type::BYTEA => Cell::Bytes(raw),
            _ => Cell::Text(std::str::from_utf8(raw)?),
        }))
    }

    fn from_sql_null(_ty: &Type) -> Result<Self, Trouble> {
        Ok(Self(Cell::Null))
    }

    fn accepts(ty: &Type) -> bool {
        matches!(
            *ty,
            Type::INT8 | Type::UUID | Type::BYTEA | Type::TEXT | Type::VARCHAR | Type::NAME | Type::JSON
        )
    }
}

impl Row for tokio_postgres::Row {
    fn cell(&self, column: usize) -> Result<Cell<'_>, StoreError> {
        let raw: Result<Raw<'_>, _> = self.try_get(column);
        raw.map(|raw| raw.0).map_err(|_| StoreError::Column { column, wanted: "an integer, a text or bytes" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_an_array_of_one_dimension() {
        let rows = [vec![Value::from(7), "a".into()], vec![Value::Null, "bc".into()]];
        let mut out = BytesMut::new();
        Column { rows: &rows, place: 1, element: Type::TEXT }
            .to_sql(&Type::TEXT_ARRAY, &mut out)
            .expect("short");
        assert_eq!(Vec::<&str>::from_sql(&Type::TEXT_ARRAY, &out).expect("an array"), ["a", "bc"]);
        let mut out = BytesMut::new();
        Column { rows: &rows, place: 0, element: Type::INT8 }
            .to_sql(&Type::INT8_ARRAY, &mut out)
            .expect("short");
        assert_eq!(Vec::<Option<i64>>::from_sql(&Type::INT8_ARRAY, &out).expect("an array"), [Some(7), None]);
    }
}
