//! Whatever is wrong with the data directory is said in one line that names it.

use crate::fixtures::{Directory, account, deposit, open_account, ringing};
use exchange::account::AccountKind;
use exchange::ledger::money::Micros;
use infra::store::{Store, StoreError, StoreOptions};
use rusqlite::Connection;
use std::path::Path;

fn open(path: &Path) -> Result<Store, StoreError> {
    Store::open(path, &StoreOptions::default())
}

/// Prepares a directory in some bad way and reads the error.
fn refused(spoil: impl FnOnce(&Directory)) -> (Directory, StoreError) {
    let directory = Directory::new();
    drop(directory.open());
    spoil(&directory);
    let error = open(directory.path()).err().expect("a spoilt directory is refused");
    let shown = error.to_string();
    assert_eq!(shown.lines().count(), 1, "{shown}");
    assert!(shown.contains(&directory.path().display().to_string()), "names the path: {shown}");
    assert!(shown.contains("; "), "names the fix: {shown}");
    (directory, error)
}

#[test]
fn a_missing_directory_is_made() {
    let directory = Directory::new();
    drop(open(&directory.path().join("a/b")).expect("made"));
    assert!(directory.path().join("a/b/exchange.sqlite").is_file());
}

#[test]
fn a_file_is_not_a_data_directory() {
    let directory = Directory::new();
    let file = directory.path().join("file");
    std::fs::write(&file, "x").expect("writable");
    for path in [file.clone(), file.join("below")] {
        assert!(matches!(open(&path), Err(StoreError::NotADirectory { path: named }) if named == path));
    }
}

#[test]
fn a_directory_has_one_server() {
    let directory = Directory::new();
    let first = directory.open();
    let second = open(directory.path());
    let own = std::process::id();
    assert!(matches!(second, Err(StoreError::Locked { pid: Some(pid), .. }) if pid == own));
    assert!(matches!(Store::open_read_only(directory.path()), Err(StoreError::Locked { .. })));
    drop(first);
    drop(directory.open());
}

#[test]
fn readers_of_a_stopped_store_share_it_but_keep_servers_out() {
    let directory = Directory::new();
    let store = directory.open();
    store.writer().commit(open_account(account(1, AccountKind::Seller))).expect("sound");
    drop(store);
    let one = Store::open_read_only(directory.path()).expect("nobody writes");
    let two = Store::open_read_only(directory.path()).expect("readers share");
    assert_eq!(one.load().expect("loads"), two.load().expect("loads"));
    assert!(matches!(open(directory.path()), Err(StoreError::Locked { .. })));
    drop((one, two));
    drop(directory.open());
}

#[test]
fn reading_creates_nothing() {
    let directory = Directory::new();
    let nowhere = directory.path().join("nowhere");
    assert!(matches!(Store::open_read_only(&nowhere), Err(StoreError::Missing { path }) if path == nowhere));
    assert!(!nowhere.exists());
    let empty = Store::open_read_only(directory.path());
    assert!(matches!(empty, Err(StoreError::Missing { path }) if path == directory.database()));
    assert_eq!(std::fs::read_dir(directory.path()).expect("readable").count(), 0);
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let (_, error) = refused(|directory| {
        std::fs::write(directory.database(), "not a database at all, ".repeat(400)).expect("writable");
    });
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
}

#[test]
fn a_directory_in_place_of_the_database_is_refused() {
    let (_, error) = refused(|directory| {
        std::fs::remove_file(directory.database()).expect("written before");
        std::fs::create_dir(directory.database()).expect("writable");
    });
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
}

#[test]
fn a_damaged_database_is_refused() {
    let (_, error) = refused(|directory| {
        let store = directory.open();
        for number in 1..200 {
            store.writer().commit(open_account(account(number, AccountKind::Seller))).expect("sound");
        }
        drop(store);
        let mut bytes = std::fs::read(directory.database()).expect("readable");
        // The first pages hold the schema; damage what comes after them.
        bytes[3 * 4096..].iter_mut().for_each(|byte| *byte ^= 0x5a);
        std::fs::write(directory.database(), bytes).expect("writable");
    });
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
}

#[test]
fn another_programs_database_is_refused_and_left_alone() {
    let (directory, error) = refused(|directory| {
        std::fs::remove_file(directory.database()).expect("written before");
        let other = Connection::open(directory.database()).expect("writable");
        other.execute_batch("CREATE TABLE theirs (x); PRAGMA application_id = 7;").expect("sound SQL");
    });
    assert!(matches!(error, StoreError::Foreign { application_id: 7, .. }), "{error}");
    let other = Connection::open(directory.database()).expect("still there");
    let mode: String =
        other.query_row("PRAGMA journal_mode", [], |row| row.get(0)).expect("still a database");
    assert_eq!(mode, "delete");
}

#[test]
fn a_newer_schema_is_refused() {
    let (_, error) = refused(|directory| {
        let newer = Connection::open(directory.database()).expect("written before");
        newer.pragma_update(None, "user_version", 99).expect("writable");
    });
    assert!(matches!(error, StoreError::SchemaTooNew { found: 99, .. }), "{error}");
}

#[test]
fn reading_an_unmigrated_database_asks_for_the_server() {
    let directory = Directory::new();
    drop(Connection::open(directory.database()).expect("writable"));
    std::fs::write(directory.database(), "").expect("writable");
    let error = Store::open_read_only(directory.path()).err().expect("too old");
    assert!(matches!(error, StoreError::SchemaTooOld { found: 0, .. }), "{error}");
}

#[test]
fn a_document_that_cannot_be_read_is_named_without_its_text() {
    let directory = Directory::new();
    let store = directory.open();
    store.writer().commit(open_account(account(2, AccountKind::Buyer))).expect("sound");
    let buyer = crate::fixtures::account_id(2);
    store.writer().commit(deposit(buyer, "wire-1", Micros::units(100))).expect("sound");
    store.writer().commit(ringing(1, buyer)).expect("sound");
    drop(store);
    let database = Connection::open(directory.database()).expect("written before");
    database
        .execute("UPDATE calls SET document = json_set(document, '$.trunk', 7)", [])
        .expect("calls may be changed");
    drop(database);
    let error = directory.open().load().expect_err("a number is not a trunk's name");
    assert!(matches!(error, StoreError::Row { table: "calls", .. }), "{error}");
    assert!(!error.to_string().contains("5559999"), "{error}");
    assert!(error.to_string().contains(&crate::fixtures::call_id(1).to_string()), "{error}");
}
