//! A listing's query: the filters that are set, the place after the cursor, an order and a limit.

use crate::store::Page;
use crate::store::connection::Value;

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
        (numbered(&format!("{select} WHERE {conditions} {rest}")), self.values)
    }

    /// The same, cut to the page and one row more.
    pub(super) fn page(self, select: &str, order: &str, page: &Page) -> (String, Vec<Value>) {
        let (sql, mut values) = self.query(select, &format!("ORDER BY {order} LIMIT ?"));
        values.push(page.rows().into());
        (sql, values)
    }
}

/// Each `?` with its number.
fn numbered(sql: &str) -> String {
    let mut parts = sql.split('?');
    let first = parts.next().unwrap_or_default().to_owned();
    (1..).zip(parts).fold(first, |sql, (number, part)| format!("{sql}${number}{part}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_set_is_asked_and_values_are_numbered() {
        let (sql, values) = Conditions::default()
            .when("a = ?", Some(1))
            .when("b = ?", None::<i64>)
            .and("(c, d) < (?, ?)", [2.into(), 3.into()])
            .page("SELECT e FROM f", "g", &Page::first(5));
        assert_eq!(sql, "SELECT e FROM f WHERE a = $1 AND (c, d) < ($2, $3) ORDER BY g LIMIT $4");
        assert_eq!(values, [1, 2, 3, 6].map(Value::from));
        assert_eq!(Conditions::default().query("SELECT 1", "").0, "SELECT 1 WHERE TRUE ");
    }
}
