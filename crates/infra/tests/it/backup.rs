//! Backups, restored: the books in them are whole, and are those of one moment.

use crate::conformance::fold;
use crate::fixtures::{Database, Directory, nth_unit, server};
use infra::store::{PostgresqlUrl, Store, StoreError, StoreOptions};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use test_servers::postgresql::Server;

/// Commits units one after the other until told to stop; how many there are in the end.
fn write_until(stop: &AtomicBool, store: &Store, first: u128) -> u128 {
    let mut next = first;
    while !stop.load(Ordering::Relaxed) {
        store.writer().commit(nth_unit(next)).expect("sound");
        next += 1;
    }
    next
}

/// Makes a backup while units are written; how many were durable before it began.
fn while_writing(store: &Store, backup: impl FnOnce()) -> u128 {
    let stop = AtomicBool::new(false);
    (0..50).for_each(|unit| store.writer().commit(nth_unit(unit)).expect("sound"));
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| write_until(&stop, store, 50));
        backup();
        stop.store(true, Ordering::Relaxed);
        writing.join().expect("the writer does not panic")
    });
    50
}

/// The books are those after some number of units, at least so many; how many.
fn is_one_moment(store: &Store, least: u128) -> u128 {
    let report = store.reader().verify().expect("the audit runs");
    assert_eq!(report.violations, Vec::<String>::new());
    let units = u128::from(report.journal_entries);
    assert!(units >= least, "what was durable before the backup began is in it");
    let history: Vec<_> = (0..units).map(nth_unit).collect();
    assert_eq!(store.load().expect("loads"), fold(&history));
    units
}

/// The restored books take what comes next.
fn goes_on(store: &Store, units: u128) {
    store.writer().commit(nth_unit(units)).expect("sound");
    is_one_moment(store, units + 1);
}

#[test]
fn a_copy_of_a_directory_in_use_is_whole() {
    let (home, copy) = (Directory::new(), Directory::new());
    let store = home.open();
    let least = while_writing(&store, || Store::back_up(home.path(), copy.path()).expect("copies"));
    let again = Store::back_up(home.path(), copy.path()).expect_err("a copy is never written over");
    assert!(matches!(&again, StoreError::Io { path, .. } if *path == copy.database()), "{again}");
    let restored = copy.open();
    let units = is_one_moment(&restored, least);
    goes_on(&restored, units);
}

#[test]
fn a_copy_of_nothing_is_refused() {
    let (home, copy) = (Directory::new(), Directory::new());
    assert!(matches!(Store::back_up(home.path(), copy.path()), Err(StoreError::Missing { .. })));
}

#[test]
fn a_dump_of_a_database_in_use_is_whole() {
    let (database, restored) = (Database::empty(), Database::empty());
    let store = Store::open(database.url(), &StoreOptions::default()).expect("opens");
    let folder = Directory::new();
    // The server's user writes no file here; the program that dumps is ours.
    let file = folder.path().join("dump").display().to_string();
    let least = while_writing(&store, || {
        server().run("pg_dump", &["--format=custom", "--file", &file, "--dbname", database.name()]);
    });
    server().run("pg_restore", &["--exit-on-error", "--dbname", restored.name(), &file]);
    let restored = Store::open(restored.url(), &StoreOptions::default()).expect("opens");
    let units = is_one_moment(&restored, least);
    goes_on(&restored, units);
}

fn open(server: &Server) -> Store {
    let url = PostgresqlUrl::parse(&server.url("postgres")).expect("a sound URL");
    Store::open(url, &StoreOptions::default()).expect("opens")
}

#[test]
fn a_server_is_restored_to_a_point_in_time() {
    let server = Server::start("-c fsync=off");
    let backup = server.back_up();
    let store = open(&server);
    (0..20).for_each(|unit| store.writer().commit(nth_unit(unit)).expect("sound"));
    let sql = |sql: &str| server.sql("postgres", sql).expect("sound SQL");
    sql("SELECT pg_create_restore_point('before_the_mistake')");
    (20..30).for_each(|unit| store.writer().commit(nth_unit(unit)).expect("sound"));
    let last = sql("SELECT pg_walfile_name(pg_switch_wal())");
    wait_for(&backup.join("log").join(last));

    let restored = Server::restored(&backup, "before_the_mistake");
    assert_eq!(is_one_moment(&open(&restored), 20), 20, "what came after the point is not there");
}

fn wait_for(file: &Path) {
    let until = Instant::now() + Duration::from_mins(1);
    while !file.exists() {
        assert!(Instant::now() < until, "{} was never kept", file.display());
        std::thread::sleep(Duration::from_millis(50));
    }
}
