//! What only a server can do to a store: be away, be somebody else's, be full of the wrong things, die.

use crate::conformance::fold;
use crate::fixtures::{Database, account, nth_unit, open_account, server};
use exchange::account::AccountKind;
use infra::store::{
    AccountFilter, CommitResult, OnDurable, Page, PostgresqlError, PostgresqlUrl, Store, StoreError,
    StoreHealth, StoreOptions,
};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use test_servers::postgresql::Server;

fn open(url: PostgresqlUrl) -> Result<Store, StoreError> {
    Store::open(url, &StoreOptions::default())
}

/// The error of a server that cannot be used; one line that names the fix.
fn refused(result: Result<Store, StoreError>) -> PostgresqlError {
    let error = result.err().expect("refused");
    let shown = error.to_string();
    assert_eq!(shown.lines().count(), 1, "{shown}");
    assert!(shown.contains("; "), "names the fix: {shown}");
    assert!(!shown.contains("secret"), "{shown}");
    match error {
        StoreError::Postgresql(error) => error,
        other => panic!("{other}"),
    }
}

fn url(text: &str) -> PostgresqlUrl {
    PostgresqlUrl::parse(text).expect("a sound URL")
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let error = refused(open(url("host=/nowhere/at/all user=dce password=secret dbname=exchange")));
    assert!(
        matches!(error, PostgresqlError::Unreachable { server, .. } if server == "/nowhere/at/all:5432/exchange")
    );
}

#[test]
fn a_server_that_turns_us_away_is_named() {
    let error = refused(open(url(&server().url("no_such_database"))));
    assert!(
        matches!(&error, PostgresqlError::Refused { finding, .. } if finding.contains("does not exist")),
        "{error}"
    );
    let folder = server().folder().display().to_string();
    let error = refused(open(url(&format!("host={folder} user=nobody password=secret dbname=postgres"))));
    assert!(
        matches!(&error, PostgresqlError::Refused { finding, .. } if finding.contains("nobody")),
        "{error}"
    );
}

/// An empty database after these statements.
fn spoilt(sql: &str) -> (Database, PostgresqlError) {
    let database = Database::empty();
    database.sql(sql).expect("sound SQL");
    let error = refused(open(database.url()));
    (database, error)
}

/// A database with our schema after these statements.
fn spoilt_schema(sql: &str) -> PostgresqlError {
    let database = Database::new();
    database.sql(sql).expect("sound SQL");
    refused(open(database.url()))
}

#[test]
fn a_database_that_is_not_ours_to_use_is_refused() {
    let (database, error) = spoilt("CREATE TABLE calls (theirs int); INSERT INTO calls VALUES (7)");
    assert!(matches!(&error, PostgresqlError::Foreign { table, .. } if table == "calls"), "{error}");
    assert_eq!(database.sql("SELECT theirs FROM calls").expect("left alone"), "7");

    let name = Database::empty();
    let read_only = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$";
    name.sql(read_only).expect("sound SQL");
    assert!(matches!(refused(open(name.url())), PostgresqlError::ReadOnly { .. }));

    let database = Database::empty();
    server().sql("postgres", "CREATE ROLE guest LOGIN").expect("a fresh server");
    let as_guest = database.url_text().replace("user=dce", "user=guest");
    let error = refused(open(url(&as_guest)));
    assert!(
        matches!(&error, PostgresqlError::Permission { finding, .. } if finding.contains("public")),
        "{error}"
    );
}

#[test]
fn a_database_that_loses_letters_is_refused() {
    let create = "CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII'";
    server().sql("postgres", create).expect("a fresh server");
    let error = refused(open(url(&server().url("ascii"))));
    assert!(matches!(&error, PostgresqlError::NotUtf8 { found, .. } if found == "SQL_ASCII"), "{error}");
}

#[test]
fn a_schema_that_is_not_what_this_binary_knows_is_refused() {
    let newer = spoilt_schema(
        "INSERT INTO dce_schema (version, checksum) SELECT max(version) + 1, 'x' FROM dce_schema",
    );
    assert!(
        matches!(newer, PostgresqlError::SchemaTooNew { found, known, .. } if found == known + 1),
        "{newer}"
    );
    let other = spoilt_schema("UPDATE dce_schema SET checksum = 'x' WHERE version = 1");
    assert!(matches!(other, PostgresqlError::SchemaDiffers { version: 1, .. }), "{other}");
    let gap = spoilt_schema("DELETE FROM dce_schema WHERE version = 1");
    assert!(matches!(gap, PostgresqlError::SchemaDiffers { version: 2, .. }), "{gap}");
    let half = spoilt_schema("DROP TABLE dce_schema");
    assert!(matches!(half, PostgresqlError::Foreign { .. }), "{half}");

    let empty = Database::empty();
    let error = Store::open_read_only(empty.url()).err().expect("nothing to read");
    let StoreError::Postgresql(error) = error else { panic!("{error}") };
    assert!(matches!(error, PostgresqlError::SchemaTooOld { found: 0, .. }), "{error}");
    assert_eq!(
        empty.sql("SELECT count(*) FROM pg_class WHERE relname = 'dce_schema'").expect("readable"),
        "0"
    );
}

#[test]
fn a_database_has_one_writer_and_any_number_of_readers() {
    let database = Database::new();
    let first = open(database.url()).expect("free");
    let error = refused(open(database.url()));
    let own = format!("process {} of the server itself since ", std::process::id());
    assert!(matches!(&error, PostgresqlError::Taken { holder, .. } if holder.starts_with(&own)), "{error}");
    first.writer().commit(open_account(account(1, AccountKind::Seller))).expect("sound");
    let reader = Store::open_read_only(database.url()).expect("readers share");
    assert_eq!(reader.load().expect("loads"), first.load().expect("loads"));
    drop(first);
    drop(open(database.url()).expect("free again"));
}

fn submit(store: &Store, places: std::ops::Range<u128>) -> Receiver<(u128, CommitResult)> {
    let (tell, told) = channel();
    for place in places {
        let tell = tell.clone();
        let on_durable = OnDurable::new(move |result| tell.send((place, result)).expect("the test listens"));
        store.writer().submit_blocking(nth_unit(place), on_durable).expect("the store runs");
    }
    told
}

/// Everything up to here is in the books, once.
fn holds(store: &Store, units: u128) {
    let history: Vec<_> = (0..units).map(nth_unit).collect();
    assert_eq!(store.load().expect("loads"), fold(&history));
    let report = store.reader().verify().expect("the audit runs");
    assert_eq!(report.violations, Vec::<String>::new());
    assert_eq!(u128::from(report.journal_entries), units);
}

fn in_order(told: Receiver<(u128, CommitResult)>, places: std::ops::Range<u128>) {
    let expected: Vec<_> = places.map(|place| (place, CommitResult::Durable)).collect();
    assert_eq!(told.iter().collect::<Vec<_>>(), expected);
}

/// Ends every session on the database but the one that asks.
const CUT: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid()";

#[test]
fn cut_connections_cost_nothing_that_was_submitted() {
    let database = Database::new();
    let store = Store::open(database.url(), &StoreOptions { group_max: 7, ..StoreOptions::default() })
        .expect("opens");
    let told = submit(&store, 0..400);
    for _ in 0..12 {
        database.sql(CUT).expect("sound SQL");
    }
    in_order(told, 0..400);
    assert_eq!(store.health(), StoreHealth::Healthy);
    holds(&store, 400);
}

#[test]
fn a_killed_server_loses_nothing_acknowledged_and_writes_nothing_twice() {
    let server = Server::start("-c fsync=off");
    let store =
        Store::open(url(&server.url("postgres")), &StoreOptions { group_max: 16, ..StoreOptions::default() });
    let store = store.expect("opens");
    let mut begin = 0;
    for _ in 0..3 {
        let told = submit(&store, begin..begin + 300);
        // In the midst of it.
        let (first, result) = told.recv().expect("the store runs");
        assert_eq!((first, result), (begin, CommitResult::Durable));
        server.order("kill");
        server.order("start");
        in_order(told, begin + 1..begin + 300);
        begin += 300;
    }
    holds(&store, begin);
}

/// Waits until commits fail; why.
fn why_failing(store: &Store) -> String {
    loop {
        match store.health() {
            StoreHealth::Failing { error, .. } => return error,
            StoreHealth::Healthy => std::thread::yield_now(),
        }
    }
}

#[test]
fn while_the_server_is_away_nothing_is_told_durable_and_reads_say_so() {
    let server = Server::start("-c fsync=off");
    let store = open(url(&server.url("postgres"))).expect("opens");
    in_order(submit(&store, 0..3), 0..3);
    server.order("stop");
    let told = submit(&store, 3..5);
    let error = why_failing(&store);
    assert!(error.contains(&server.folder().display().to_string()), "{error}");
    assert!(store.reader().accounts(&AccountFilter::default(), &Page::default()).is_err());
    assert!(told.try_recv().is_err(), "nothing is durable");
    server.order("start");
    in_order(told, 3..5);
    holds(&store, 5);
}

#[test]
fn a_server_that_hangs_is_noticed_before_it_answers() {
    let server = Server::start("-c fsync=off");
    let store = open(url(&server.url("postgres"))).expect("opens");
    in_order(submit(&store, 0..3), 0..3);
    server.order("pause");
    let told = submit(&store, 3..5);
    let error = why_failing(&store);
    assert!(error.contains("no answer"), "{error}");
    assert!(told.try_recv().is_err(), "nothing is durable");
    server.order("resume");
    in_order(told, 3..5);
    assert_eq!(store.health(), StoreHealth::Healthy);
    holds(&store, 5);
}

#[test]
fn a_writer_that_was_replaced_writes_no_more() {
    let database = Database::new();
    let first = open(database.url()).expect("free");
    in_order(submit(&first, 0..3), 0..3);
    // As after a failover: the lock went with the old server, another exchange was quicker.
    database
        .sql("UPDATE writer SET epoch = epoch + 1, holder = 'process 7 of 192.0.2.1'")
        .expect("sound SQL");
    let told = submit(&first, 3..4);
    assert_eq!(told.recv().expect("told"), (3, CommitResult::Abandoned));
    let StoreHealth::Failing { error, .. } = first.health() else { panic!("it may not write") };
    assert!(error.contains("process 7 of 192.0.2.1") && error.contains("took over"), "{error}");
    assert!(matches!(first.writer().commit(nth_unit(3)), Err(StoreError::Stopped)));
    drop(first);
    // The lock went with its session, once the server has noticed.
    let again = (0..500).find_map(|_| {
        std::thread::sleep(Duration::from_millis(20));
        open(database.url()).ok()
    });
    holds(&again.expect("free"), 3);
}

#[test]
fn a_server_that_lost_acknowledged_batches_is_not_written_to() {
    let database = Database::new();
    let store = open(database.url()).expect("free");
    in_order(submit(&store, 0..3), 0..3);
    // As an asynchronous replica that was promoted too early.
    database.sql("UPDATE writer SET batch = batch - 1").expect("sound SQL");
    database.sql(CUT).expect("sound SQL");
    assert_eq!(submit(&store, 3..4).recv().expect("told"), (3, CommitResult::Abandoned));
    let StoreHealth::Failing { error, .. } = store.health() else { panic!("it may not write") };
    assert!(error.contains("lost writes"), "{error}");
}

#[test]
fn history_cannot_be_rewritten() {
    let database = Database::new();
    let store = open(database.url()).expect("free");
    in_order(submit(&store, 0..5), 0..5);
    for table in ["journal", "transfers", "receipts"] {
        for sql in [format!("DELETE FROM {table}"), format!("UPDATE {table} SET document = document")] {
            let sql = if table == "transfers" { sql.replace("document", "at") } else { sql };
            let refused = database.sql(&sql).expect_err("append-only");
            assert!(refused.contains("append-only"), "{sql}: {refused}");
        }
    }
    holds(&store, 5);
}
