//! Retention: what is old leaves, what is young or still needed stays, and the books go on adding up.

use crate::conformance::fold;
use crate::fixtures::{
    Database, Directory, Home, abandoned, account, account_id, awaiting_revenue, call_id, converted, deposit,
    event, open_account, revenue_reported, ringing, three_calls,
};
use exchange::account::AccountKind;
use exchange::dispute::{ChargedCall, Dispute, DisputeReason, DisputeStage};
use exchange::effect::Record;
use exchange::ledger::money::Micros;
use exchange::time::Timestamp;
use infra::store::{Cleared, RetentionConfig, RetentionJob, Store, UnitOfWork, clear};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

const RELAY: &str = "kafka relay";

/// The first moment of a month.
fn month(year: i16, month: i8) -> Timestamp {
    let date = jiff::civil::date(year, month, 1).to_zoned(jiff::tz::TimeZone::UTC).expect("a moment");
    Timestamp(date.timestamp().as_microsecond())
}

fn clear_at(home: &Home, now: Timestamp, readers: &[&str]) -> Cleared {
    let readers: Vec<String> = readers.iter().map(|name| (*name).to_owned()).collect();
    let config = RetentionConfig::default();
    clear(&home.place(), &config, &readers, now, &AtomicBool::new(false)).expect("it is cleared")
}

fn commit(store: &Store, units: impl IntoIterator<Item = UnitOfWork>) {
    for unit in units {
        store.writer().commit(unit).expect("sound");
    }
}

fn is_sound(store: &Store) {
    assert_eq!(store.reader().verify().expect("the audit runs").violations, Vec::<String>::new());
}

fn events(store: &Store) -> Vec<i64> {
    store.reader().events_after(0, 200).expect("readable").iter().map(|event| event.seq).collect()
}

/// The calls are of January 2000; journal and events say that it is January 1970.
fn partitioned() -> (Home, Store) {
    let home = Home::postgresql();
    let store = home.open();
    cook(&home, "SELECT make_partitions('1970-01-01', 1) + make_partitions('2000-01-01', 1)");
    (home, store)
}

fn database(home: &Home) -> &Database {
    match home {
        Home::Postgresql(database) => database,
        Home::Sqlite(_) => panic!("a file"),
    }
}

fn cook(home: &Home, sql: &str) -> String {
    database(home).sql(sql).expect("sound SQL")
}

#[test]
fn on_sqlite_events_leave_when_they_are_old_and_everybody_has_read_them() {
    let home = Home::sqlite();
    let store = home.open();
    commit(&store, three_calls());
    assert_eq!(events(&store), [1, 2, 3, 4, 5]);
    let kept = clear_at(&home, month(2026, 1), &[RELAY]);
    assert_eq!((kept.events_deleted, events(&store).len()), (0, 5), "the relay has read nothing");
    assert_eq!(kept.kept, ["events that 'kafka relay' has not read"]);

    store.writer().set_cursor(RELAY, 4).expect("kept");
    store.writer().set_cursor("group rollups", 2).expect("kept");
    let kept = clear_at(&home, month(2026, 1), &[RELAY]);
    assert_eq!((kept.events_deleted, events(&store)), (2, vec![3, 4, 5]));
    assert_eq!(kept.kept, ["events that 'group rollups' has not read"]);

    store.writer().set_cursor(RELAY, 5).expect("kept");
    store.writer().set_cursor("group rollups", 5).expect("kept");
    assert_eq!(clear_at(&home, month(1970, 3), &[RELAY]), Cleared::default(), "they are young");
    assert_eq!(
        clear_at(&home, month(1970, 5), &[RELAY]),
        Cleared { events_deleted: 2, ..Cleared::default() }
    );
    assert_eq!(events(&store), [5], "the last one stays: the next number follows from it");
    drop(store);
    let store = home.open();
    commit(&store, [abandoned(3, account_id(2))]);
    assert_eq!(events(&store), [5, 6]);
    is_sound(&store);
}

#[test]
fn on_sqlite_many_events_leave_beside_a_store_that_is_written() {
    let home = Home::sqlite();
    let store = home.open();
    let many =
        |place| UnitOfWork { journal: None, records: (0..1_000).map(|_| event(call_id(place))).collect() };
    commit(&store, (0..5).map(many));
    let cleared = std::thread::scope(|threads| {
        let clearing = threads.spawn(|| clear_at(&home, month(2026, 1), &[]));
        commit(
            &store,
            (0..50).map(|place| UnitOfWork { journal: None, records: vec![event(call_id(place))] }),
        );
        clearing.join().expect("no panic")
    });
    assert!((4_999..5_050).contains(&cleared.events_deleted), "{cleared:?}");
    clear_at(&home, month(2026, 1), &[]);
    assert_eq!(events(&store), [5_050]);
}

#[test]
fn on_postgresql_a_month_of_events_leaves_when_everybody_has_read_it() {
    let (home, store) = partitioned();
    commit(&store, three_calls());
    store.writer().set_cursor(RELAY, 4).expect("kept");
    // The journal's month has left by then.
    let kept = clear_at(&home, month(2004, 12), &[RELAY]).kept;
    assert_eq!(kept, ["events of 1970-01 that 'kafka relay' has not read"]);
    assert_eq!(events(&store).len(), 5);
    store.writer().set_cursor(RELAY, 5).expect("kept");
    let cleared = clear_at(&home, month(2004, 12), &[RELAY]);
    assert_eq!((cleared.months_detached, cleared.kept, events(&store)), (1, vec![], vec![]));
    assert_eq!(
        cook(&home, "SELECT to_regclass('outbox_1970_01') IS NULL"),
        "t",
        "copies are dropped at once"
    );
    assert_eq!(cook(&home, "SELECT row_count FROM detached WHERE partition = 'outbox_1970_01'"), "5");
    commit(&store, [abandoned(3, account_id(2))]);
    assert_eq!(events(&store), [6]);
    is_sound(&store);
}

/// The dispute of a call that was charged.
fn dispute(number: u128, stage: DisputeStage) -> UnitOfWork {
    let call = converted(number, account_id(2)).records.into_iter().find_map(|record| match record {
        Record::Call(call) => Some(call),
        _ => None,
    });
    let charged = ChargedCall::of(&call.expect("it ends")).expect("it was charged");
    let reason = DisputeReason::Spam;
    let dispute = Dispute { charged, reason, note: None, disputed_at: Timestamp(7), stage };
    UnitOfWork { journal: None, records: vec![Record::Dispute(Box::new(dispute))] }
}

#[test]
fn on_postgresql_a_month_leaves_after_five_years_and_not_while_anything_of_it_is_needed() {
    let (home, store) = partitioned();
    let buyer = account_id(2);
    commit(
        &store,
        [open_account(account(1, AccountKind::Seller)), open_account(account(2, AccountKind::Buyer))],
    );
    commit(&store, [deposit(buyer, "wire-1", Micros::units(100))]);
    let calls = || cook(&home, "SELECT count(*) FROM calls");
    let decided_at = Timestamp(8);
    let needed: [(&[UnitOfWork], &[UnitOfWork]); 3] = [
        (&[ringing(1, buyer)], &[converted(1, buyer)]),
        (&[ringing(2, buyer), awaiting_revenue(2, buyer)], &[revenue_reported(2, buyer)]),
        (&[dispute(1, DisputeStage::Open)], &[dispute(1, DisputeStage::Rejected { decided_at })]),
    ];
    for (before, after) in needed {
        commit(&store, before.to_vec());
        let kept = clear_at(&home, month(2026, 1), &[]).kept;
        assert_eq!(kept, ["2000-01, of which calls are open, await revenue or are disputed"]);
        is_sound(&store);
        commit(&store, after.to_vec());
    }
    assert_eq!(calls(), "2");
    let young = clear_at(&home, Timestamp(month(2005, 2).0 - 1), &[]);
    assert_eq!((young.kept, calls().as_str()), (vec![], "2"), "five years are not over");

    let before = store.load().expect("loads");
    let cleared = clear_at(&home, month(2005, 2), &[]);
    assert_eq!((cleared.kept, calls().as_str()), (vec![], "0"));
    assert_eq!(cook(&home, "SELECT count(*) FROM calls_2000_01"), "2", "a table of its own");
    is_sound(&store);
    assert_eq!(store.load().expect("loads").balances, before.balances);
    let again = clear_at(&home, month(2005, 2), &[]);
    assert_eq!(again, Cleared::default());
}

#[test]
fn on_postgresql_a_month_that_is_looked_at_is_left_for_another_time() {
    let (home, store) = partitioned();
    commit(&store, three_calls());
    commit(&store, [abandoned(3, account_id(2))]);
    let readers: [String; 0] = [];
    let locked = "SET statement_timeout = '3s'; BEGIN; LOCK TABLE journal IN ACCESS SHARE MODE; SELECT pg_sleep(2.5); COMMIT";
    std::thread::scope(|threads| {
        threads.spawn(|| cook(&home, locked));
        let is_locked = "SELECT count(*) FROM pg_locks WHERE relation = 'journal'::regclass AND granted";
        while cook(&home, is_locked) == "0" {
            std::thread::sleep(Duration::from_millis(5));
        }
        let config = RetentionConfig::default();
        let refused = clear(&home.place(), &config, &readers, month(2026, 1), &AtomicBool::new(false));
        let error = refused.expect_err("somebody reads it").to_string();
        assert!(error.contains("lock timeout"), "{error}");
        commit(&store, [ringing(4, account_id(2))]);
    });
    let cleared = clear_at(&home, month(2026, 1), &[]);
    assert!(cleared.months_detached > 0, "{cleared:?}");
}

#[test]
fn the_job_does_it_at_the_start_and_says_so() {
    let directory = Directory::new();
    let store = directory.open();
    commit(&store, three_calls());
    let job = RetentionJob::start(directory.path().into(), RetentionConfig::default(), Vec::new())
        .expect("a thread");
    let until = Instant::now() + Duration::from_secs(30);
    while job.status().cleared.events_deleted < 4 {
        assert!(Instant::now() < until, "{:?}", job.status());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(job.status().failing, None);
    drop(job);
    assert_eq!(events(&store), [5]);
    assert_eq!(store.load().expect("loads"), fold(&three_calls()));
}
