//! Months: rows find their partition, and a month that is over can be taken away without the books noticing.

use crate::conformance::fold;
use crate::fixtures::{Database, abandoned, account_id, deposit, ringing, three_calls};
use exchange::audit::{Actor, AuditAction, AuditEntry};
use exchange::ledger::money::Micros;
use exchange::time::Timestamp;
use infra::audit::SigningKey;
use infra::store::{Rejection, Store, StoreError, StoreOptions, UnitOfWork};
use serde_json::json;

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
    for table in ["calls", "receipts", "auction_buyers", "transfers", "journal", "outbox", "audit_entries"] {
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
    assert_eq!(number(&database, made), 14);
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
    assert_eq!(number(&database, "SELECT detach_partitions('2000-02-01')"), 10);
    is_sound(&store);
    assert_eq!(store.load().expect("loads"), before);

    store.writer().commit(abandoned(3, account_id(BUYER))).expect("sound");
    let before = store.load().expect("loads");
    assert_eq!(number(&database, "SELECT detach_partitions('2000-01-31')"), 0, "the month is not over");
    assert_eq!(number(&database, "SELECT detach_partitions('2000-02-01')"), 4);
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

/// Entry number `number` of the audit log, so many days after the first of January 1970.
fn entry(number: i64, days: i64) -> AuditEntry {
    AuditEntry {
        at: Timestamp(days * 86_400_000_000 + number),
        actor: Actor::CommandLine,
        action: AuditAction::DepositBooked,
        subject: format!("account/{number}"),
        detail: json!({}),
    }
}

#[test]
fn after_a_month_of_the_audit_log_is_detached_an_anchor_vouches_for_the_rest() {
    let database = Database::new();
    let store = open(&database, &january());
    database.sql("SELECT make_partitions('1970-01-01', 2)").expect("made");
    let key = SigningKey::from_text(&"1".repeat(64)).expect("64 digits");
    let verify = || {
        let reader = store.reader();
        reader.verify_audit(vec![], &[key.public_key()], &mut |_| {}).expect("the check runs")
    };
    let anchor = || {
        let statement = store.reader().audit_statement(Timestamp(1)).expect("readable").expect("new");
        store.writer().write_audit_anchor(key.sign(statement)).expect("sound");
    };
    for number in 1..=3 {
        store.writer().write_audit_entry(entry(number, 3)).expect("sound");
    }
    anchor();
    for number in 4..=6 {
        store.writer().write_audit_entry(entry(number, 40)).expect("sound");
    }
    database.sql("SELECT detach_partitions('1970-02-01')").expect("January is over");
    assert_eq!(number(&database, "SELECT count(*) FROM audit_entries"), 3);
    let waiting = verify();
    assert_eq!(waiting.findings_total, 1, "{waiting:#?}");
    assert!(waiting.findings[0].what.contains("no anchor vouches for it yet"), "{waiting:#?}");

    anchor();
    let sound = verify();
    assert_eq!(sound.findings, []);
    assert_eq!((sound.first, sound.last, sound.anchored_to, sound.anchors_elsewhere), (4, 6, 6, 1));

    let guarded = "SET session_replication_role = replica";
    database.sql(&format!("{guarded}; DELETE FROM audit_entries WHERE seq = 4")).expect("bent");
    assert_eq!(verify().findings[0].what, "is the first, but 4 should be: what was before it was removed");
}
