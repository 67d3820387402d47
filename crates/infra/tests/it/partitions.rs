//! Months: rows find their partition, and a month that is over can be taken away without the books noticing.

use crate::conformance::fold;
use crate::fixtures::{Database, abandoned, account_id, deposit, ringing, three_calls};
use exchange::ledger::money::Micros;
use infra::store::{Rejection, Store, StoreError, StoreOptions, UnitOfWork};

const BUYER: u128 = 2;

/// Calls 1 and 2 are over, call 3 rings. All of January 2000, journalled in January 1970.
fn january() -> Vec<UnitOfWork> {
    three_calls().into()
}

fn open(database: &Database, units: &[UnitOfWork]) -> Store {
    let store = Store::open(database.url(), &StoreOptions::default()).expect("opens");
    for unit in units {
        store.writer().commit(unit.clone()).expect("sound");
    }
    store
}

fn is_sound(store: &Store) {
    assert_eq!(store.reader().verify().expect("the audit runs").violations, Vec::<String>::new());
}

fn number(database: &Database, sql: &str) -> u32 {
    database.sql(sql).expect("sound SQL").parse().expect("a number")
}

#[test]
fn there_are_partitions_for_this_month_and_the_next_three() {
    let database = Database::new();
    for table in ["calls", "receipts", "transfers", "journal", "outbox"] {
        let months = format!(
            "SELECT count(*) FROM generate_series(0, 3) AS ahead
             JOIN pg_class ON relname = '{table}' || to_char(now() AT TIME ZONE 'UTC' + make_interval(months => ahead), '_YYYY_MM')
             WHERE relispartition"
        );
        assert_eq!(number(&database, &months), 4, "{table}");
    }
}

#[test]
fn rows_that_came_before_their_partition_move_into_it() {
    let database = Database::new();
    let store = open(&database, &january());
    assert_eq!(number(&database, "SELECT count(*) FROM calls_default"), 3);
    let made = "SELECT make_partitions('1970-01-15', 1) + make_partitions('2000-01-01', 1)";
    assert_eq!(number(&database, made), 10);
    assert_eq!(number(&database, made), 0, "they are there");
    let table =
        [("calls_2000_01", 3), ("transfers_2000_01", 6), ("receipts_2000_01", 3), ("journal_1970_01", 8)];
    for (partition, rows) in table {
        assert_eq!(number(&database, &format!("SELECT count(*) FROM {partition}")), rows, "{partition}");
    }
    assert_eq!(number(&database, "SELECT count(*) FROM transfers_deposits"), 1);
    assert_eq!(store.load().expect("loads"), fold(&january()));
    is_sound(&store);
    let refused = database.sql("DELETE FROM transfers").expect_err("append-only, in every partition");
    assert!(refused.contains("append-only"), "{refused}");
}

#[test]
fn a_month_that_is_over_is_detached_and_the_books_still_add_up() {
    let database = Database::new();
    let store = open(&database, &january());
    database.sql("SELECT make_partitions('1970-01-01', 1) + make_partitions('2000-01-01', 1)").expect("made");
    let before = store.load().expect("loads");

    // Call 3 still rings: its month stays, while January 1970 goes.
    assert_eq!(number(&database, "SELECT detach_partitions('2000-02-01')"), 7);
    is_sound(&store);
    assert_eq!(store.load().expect("loads"), before);

    store.writer().commit(abandoned(3, account_id(BUYER))).expect("sound");
    let before = store.load().expect("loads");
    assert_eq!(number(&database, "SELECT detach_partitions('2000-01-31')"), 0, "the month is not over");
    assert_eq!(number(&database, "SELECT detach_partitions('2000-02-01')"), 3);
    assert_eq!(number(&database, "SELECT row_count FROM detached WHERE partition = 'calls_2000_01'"), 3);
    is_sound(&store);
    let mut after = store.load().expect("loads");
    assert_eq!(after.balances, before.balances);
    // Detached calls are no longer asked about when a caller calls again.
    after.recent_calls.clone_from(&before.recent_calls);
    assert_eq!(after, before);

    let again = store.writer().commit(deposit(account_id(BUYER), "wire-1", Micros::units(1)));
    let reason = format!("deposit:{}:wire-1", account_id(BUYER));
    let expected = Rejection::DuplicateTransfer { reason };
    assert!(matches!(again, Err(StoreError::Rejected(rejection)) if rejection == expected));
    store.writer().commit(ringing(4, account_id(BUYER))).expect("sound");
    is_sound(&store);
}
