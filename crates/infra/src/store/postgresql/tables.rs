//! The tables the writer fills, and the statement that writes any number of rows to each at once.

use super::values::Column;
use crate::store::connection::Value;
use std::collections::HashMap;
use tokio_postgres::types::Type;

/// A table, as the writer sees it.
pub(super) struct Table {
    pub(super) name: &'static str,
    /// For errors.
    pub(super) what: &'static str,
    /// Names and kinds, the key's columns first.
    columns: &'static [(&'static str, Kind)],
    /// How many columns make the key that an upsert goes by; 0 only ever inserts.
    upsert_key: usize,
    /// What an upsert makes of a row that is there.
    upsert: Upsert,
}

/// What becomes of the columns that are not the key's, where a row is there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Upsert {
    /// They are those of the new row.
    Replace,
    /// Those of the new row, integers all, are added.
    Add,
}

/// What a column holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Id,
    Integer,
    Text,
    Json,
    Bytes,
}

use Kind::{Bytes, Id, Integer, Json, Text};

/// Where in [`TABLES`] a table stands, which is also the order in which they are written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum At {
    LedgerAccounts,
    Journal,
    Accounts,
    CreditLimits,
    TrackingNumbers,
    BidProfiles,
    CapGroups,
    TradingRules,
    Deals,
    Usage,
    SellerRecords,
    Calls,
    Receipts,
    AuctionBuyers,
    Disputes,
    Transfers,
    Outbox,
    Cursors,
    ApiKeys,
    AuditEntries,
    AuditHead,
    AuditAnchors,
    RollUps,
    DeadLetters,
    Replays,
}

const fn table(
    name: &'static str,
    what: &'static str,
    upsert_key: usize,
    columns: &'static [(&'static str, Kind)],
) -> Table {
    Table { name, what, columns, upsert_key, upsert: Upsert::Replace }
}

/// The same, of a table whose rows are added to.
const fn sums(
    name: &'static str,
    what: &'static str,
    upsert_key: usize,
    columns: &'static [(&'static str, Kind)],
) -> Table {
    Table { name, what, columns, upsert_key, upsert: Upsert::Add }
}

/// Every table, in the order of [`At`].
pub(super) const TABLES: [Table; 25] = [
    table(
        "ledger_accounts",
        "ledger account",
        0,
        &[("id", Integer), ("name", Text), ("balance_micros", Integer)],
    ),
    table("journal", "journal", 0, &[("seq", Integer), ("at", Integer), ("document", Json)]),
    table("accounts", "account", 1, &[("id", Id), ("kind", Text), ("status", Text), ("document", Json)]),
    table(
        "credit_limits",
        "credit limit",
        0,
        &[("seq", Integer), ("account", Id), ("after_transfer", Integer), ("credit_limit_micros", Integer)],
    ),
    table(
        "tracking_numbers",
        "tracking number",
        1,
        &[("number", Integer), ("seller", Id), ("document", Json)],
    ),
    table(
        "bid_profiles",
        "bid profile",
        1,
        &[("id", Id), ("buyer", Id), ("vertical", Text), ("document", Json)],
    ),
    table("cap_groups", "cap group", 1, &[("id", Id), ("buyer", Id), ("document", Json)]),
    table("trading_rules", "trading rules", 1, &[("scope", Text), ("document", Json)]),
    table("deals", "deal", 1, &[("id", Id), ("seller", Id), ("document", Json)]),
    table("usage", "usage", 2, &[("kind", Text), ("id", Id), ("document", Json)]),
    table("seller_records", "seller record", 1, &[("seller", Id), ("document", Json)]),
    table(
        "calls",
        "call",
        1,
        &[
            ("id", Id),
            ("received_at", Integer),
            ("seller", Id),
            ("buyer", Id),
            ("vertical", Text),
            ("state", Text),
            ("outcome", Text),
            ("charge_micros", Integer),
            ("payout_micros", Integer),
            ("margin_micros", Integer),
            ("ended_at", Integer),
            ("awaits_revenue_until", Integer),
            ("document", Json),
        ],
    ),
    table("receipts", "receipt", 0, &[("call", Id), ("decided_at", Integer), ("document", Json)]),
    table("auction_buyers", "buyer in an auction", 0, &[("buyer", Id), ("call", Id)]),
    table(
        "disputes",
        "dispute",
        1,
        &[
            ("call", Id),
            ("buyer", Id),
            ("seller", Id),
            ("stage", Text),
            ("disputed_at", Integer),
            ("document", Json),
        ],
    ),
    table(
        "transfers",
        "transfer",
        0,
        &[
            ("call", Id),
            ("reason", Text),
            ("seq", Integer),
            ("from_ledger", Integer),
            ("to_ledger", Integer),
            ("amount_micros", Integer),
            ("at", Integer),
            ("journal_seq", Integer),
        ],
    ),
    table(
        "outbox",
        "event",
        0,
        &[("seq", Integer), ("type", Text), ("subject", Text), ("at", Integer), ("data", Json)],
    ),
    table("cursors", "cursor", 1, &[("name", Text), ("seq", Integer)]),
    table(
        "api_keys",
        "API key",
        0,
        &[
            ("id", Id),
            ("name", Text),
            ("role", Text),
            ("account", Id),
            ("secret_hash", Bytes),
            ("created_at", Integer),
            ("revoked_at", Integer),
            ("of_key", Id),
            ("expires_at", Integer),
        ],
    ),
    table(
        "audit_entries",
        "audit entry",
        0,
        &[
            ("seq", Integer),
            ("at", Integer),
            ("actor", Text),
            ("api_key", Text),
            ("role", Text),
            ("action", Text),
            ("subject", Text),
            ("detail", Text),
            ("previous_hash", Bytes),
            ("hash", Bytes),
        ],
    ),
    table(
        "audit_head",
        "audit head",
        1,
        &[("only_row", Integer), ("seq", Integer), ("at", Integer), ("hash", Bytes)],
    ),
    table("audit_anchors", "audit anchor", 0, &[("seq", Integer), ("document", Json)]),
    sums(
        "roll_ups",
        "roll-up",
        4,
        &[
            ("hour", Integer),
            ("seller", Id),
            ("buyer", Id),
            ("vertical", Text),
            ("received", Integer),
            ("refused", Integer),
            ("unsold", Integer),
            ("unanswered", Integer),
            ("abandoned", Integer),
            ("routed", Integer),
            ("bridged", Integer),
            ("converted", Integer),
            ("connected_ms", Integer),
            ("charged_micros", Integer),
            ("paid_micros", Integer),
            ("margin_micros", Integer),
            ("refunded_micros", Integer),
            ("refunded_payout_micros", Integer),
        ],
    ),
    table(
        "dead_letters",
        "dead letter",
        2,
        &[
            ("consumer", Text),
            ("seq", Integer),
            ("times", Integer),
            ("state", Text),
            ("put_at", Integer),
            ("finding", Text),
            ("type", Text),
            ("subject", Text),
            ("at", Integer),
            ("data", Json),
        ],
    ),
    table("replays", "replay", 2, &[("consumer", Text), ("seq", Integer), ("times", Integer)]),
];

impl At {
    pub(super) fn table(self) -> &'static Table {
        &TABLES[self as usize]
    }
}

impl Kind {
    /// The type of the array that carries such a column, and what becomes of its elements.
    fn array(self) -> (&'static str, Type, &'static str) {
        match self {
            Id => ("uuid[]", Type::UUID, ""),
            Integer => ("bigint[]", Type::INT8, ""),
            Text => ("text[]", Type::TEXT, ""),
            Json => ("text[]", Type::TEXT, "::json"),
            Bytes => ("bytea[]", Type::BYTEA, ""),
        }
    }
}

impl Table {
    /// Inserts, or brings up to date, all rows of one array for each column.
    pub(super) fn statement(&self) -> String {
        let each = |show: &dyn Fn(usize, &str, Kind) -> String| {
            let columns = self.columns.iter().enumerate();
            columns.map(|(place, (name, kind))| show(place, name, *kind)).collect::<Vec<_>>().join(", ")
        };
        let names = each(&|_, name, _| name.to_owned());
        let values = each(&|_, name, kind| format!("{name}{}", kind.array().2));
        let arrays = each(&|place, _, kind| format!("${}::{}", place + 1, kind.array().0));
        let insert = format!(
            "INSERT INTO {} ({names}) SELECT {values} FROM unnest({arrays}) AS batch ({names})",
            self.name
        );
        if self.upsert_key == 0 {
            return insert;
        }
        let key: Vec<_> = self.columns[..self.upsert_key].iter().map(|(name, _)| *name).collect();
        let changes: Vec<_> = self.columns[self.upsert_key..]
            .iter()
            .map(|(name, _)| match self.upsert {
                Upsert::Replace => format!("{name} = excluded.{name}"),
                Upsert::Add => format!("{name} = {}.{name} + excluded.{name}", self.name),
            })
            .collect();
        format!("{insert} ON CONFLICT ({}) DO UPDATE SET {}", key.join(", "), changes.join(", "))
    }
}

/// Rows gathered for one table.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    rows: Vec<Vec<Value>>,
    /// Where the row of a key is, so that a later one takes its place or is added: one statement cannot touch a row twice.
    latest: HashMap<Vec<Value>, usize>,
}

impl Gathered {
    pub(super) fn push(&mut self, at: At, row: Vec<Value>) {
        let Table { columns, upsert_key, upsert, .. } = at.table();
        debug_assert_eq!(row.len(), columns.len(), "one value for each column of {at:?}");
        if *upsert_key == 0 {
            return self.rows.push(row);
        }
        let next = self.rows.len();
        match *self.latest.entry(row[..*upsert_key].to_vec()).or_insert(next) {
            place if place == next => self.rows.push(row),
            place if *upsert == Upsert::Replace => self.rows[place] = row,
            place => add(&mut self.rows[place][*upsert_key..], &row[*upsert_key..]),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn rows(&self) -> &[Vec<Value>] {
        &self.rows
    }

    /// One array for each column.
    pub(super) fn columns(&self, table: &Table) -> Vec<Column<'_>> {
        let columns = table.columns.iter().enumerate();
        columns
            .map(|(place, (_, kind))| Column { rows: &self.rows, place, element: kind.array().1 })
            .collect()
    }
}

/// Adds one row's integers to another's.
fn add(sums: &mut [Value], row: &[Value]) {
    for (sum, value) in sums.iter_mut().zip(row) {
        if let (Value::Integer(sum), Value::Integer(value)) = (sum, value) {
            *sum += value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_writes_any_number_of_rows() {
        assert_eq!(
            At::Usage.table().statement(),
            "INSERT INTO usage (kind, id, document) SELECT kind, id, document::json \
             FROM unnest($1::text[], $2::uuid[], $3::text[]) AS batch (kind, id, document) \
             ON CONFLICT (kind, id) DO UPDATE SET document = excluded.document"
        );
        assert!(!At::Outbox.table().statement().contains("CONFLICT"));
    }

    #[test]
    fn the_latest_row_of_a_key_wins() {
        let mut gathered = Gathered::default();
        for (scope, document) in [("a", "1"), ("b", "2"), ("a", "3")] {
            gathered.push(At::TradingRules, vec![scope.into(), document.into()]);
        }
        let rows: [Vec<Value>; 2] = [vec!["a".into(), "3".into()], vec!["b".into(), "2".into()]];
        assert_eq!(gathered.rows(), rows);
    }

    #[test]
    fn rows_that_are_sums_are_added_to() {
        let mut gathered = Gathered::default();
        let row = |hour: i64, figure: i64| {
            let seller = uuid::Uuid::from_u128(1);
            let key: Vec<Value> = vec![hour.into(), seller.into(), seller.into(), "roofing".into()];
            key.into_iter().chain(std::iter::repeat_n(figure.into(), 14)).collect::<Vec<Value>>()
        };
        for (hour, figure) in [(1, 2), (2, 3), (1, 5)] {
            gathered.push(At::RollUps, row(hour, figure));
        }
        assert_eq!(gathered.rows(), [row(1, 7), row(2, 3)]);
        let statement = At::RollUps.table().statement();
        assert!(statement.ends_with(
            "refunded_payout_micros = roll_ups.refunded_payout_micros + excluded.refunded_payout_micros"
        ));
    }
}
