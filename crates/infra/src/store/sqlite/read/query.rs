//! A listing's query: the filters that are set, the place after the cursor, an order and a limit.

use rusqlite::types::Value;

/// Conditions that are joined by AND, with their values in order.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    clauses: Vec<&'static str>,
    values: Vec<Value>,
}

impl Conditions {
    /// Adds `clause`, which holds one `?` for the value, if there is a value.
    pub(super) fn when(mut self, clause: &'static str, value: Option<impl Into<Value>>) -> Self {
        if let Some(value) = value {
            self.clauses.push(clause);
            self.values.push(value.into());
        }
        self
    }

    /// Adds `clause`, which holds a `?` for each value.
    pub(super) fn and(mut self, clause: &'static str, values: impl IntoIterator<Item = Value>) -> Self {
        self.clauses.push(clause);
        self.values.extend(values);
        self
    }

    /// `select WHERE ... rest`, and the values to bind.
    pub(super) fn query(self, select: &str, rest: &str) -> (String, Vec<Value>) {
        let conditions = if self.clauses.is_empty() { "TRUE".to_owned() } else { self.clauses.join(" AND ") };
        (format!("{select} WHERE {conditions} {rest}"), self.values)
    }
}

/// An id as SQLite keeps it.
pub(super) fn blob(id: uuid::Uuid) -> Value {
    Value::Blob(id.as_bytes().to_vec())
}
