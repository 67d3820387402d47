//! What was acknowledged survives: a killed process, and a write-ahead log cut off anywhere.

use crate::conformance::fold;
use crate::fixtures::{Directory, Home, nth_unit, on_every_store};
use infra::store::{OnDurable, Place, PostgresqlError, PostgresqlUrl, Store, StoreError, StoreOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

on_every_store!(acknowledged_units_survive_a_kill);

/// Tells the child where to write, and where in the history to go on.
const CHILD_PLACE: &str = "DCE_STORE_CRASH_PLACE";
const CHILD_BEGIN: &str = "DCE_STORE_CRASH_BEGIN";

fn acknowledged_units_survive_a_kill(new_home: fn() -> Home) {
    if let Ok(place) = std::env::var(CHILD_PLACE) {
        let begin = std::env::var(CHILD_BEGIN).expect("set by the parent").parse().expect("a number");
        write_until_killed(&place, begin);
    }
    let home = new_home();
    let mut begin = 0;
    // Each round is killed after a different number of acknowledgements.
    for acknowledgements in [1, 40, 7, 150] {
        let acknowledged = run_and_kill(&home, begin, acknowledgements);
        let store = open_patiently(&home);
        let report = store.reader().verify().expect("the audit runs");
        assert_eq!(report.violations, Vec::<String>::new());
        let there = u128::from(report.journal_entries);
        assert!(there >= begin + acknowledged, "{there} units there, {begin} + {acknowledged} acknowledged");
        let history: Vec<_> = (0..there).map(nth_unit).collect();
        assert_eq!(store.load().expect("loads"), fold(&history), "whole units only, in order");
        begin = there;
    }
}

/// A server notices after a moment that the killed process is gone, and lets go of its lock then.
fn open_patiently(home: &Home) -> Store {
    let mut tries = 0;
    loop {
        match Store::open(home.place(), &StoreOptions::default()) {
            Ok(store) => return store,
            Err(StoreError::Postgresql(PostgresqlError::Taken { .. })) if tries < 1_000 => {
                tries += 1;
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Starts this very test as a child, kills it after so many acknowledgements, and counts all it gave.
fn run_and_kill(home: &Home, begin: u128, acknowledgements: usize) -> u128 {
    let (place, kind) = match home {
        Home::Sqlite(directory) => (directory.path().display().to_string(), "sqlite"),
        Home::Postgresql(database) => (database.url_text(), "postgresql"),
    };
    let mut child = Command::new(std::env::current_exe().expect("a test binary"))
        .args(["--exact", &format!("crash::{kind}::acknowledged_units_survive_a_kill"), "--nocapture"])
        .env(CHILD_PLACE, place)
        .env(CHILD_BEGIN, begin.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test binary runs");
    let output = BufReader::new(child.stdout.take().expect("piped"));
    let mut durable = output.lines().map_while(Result::ok).filter(|line| line == "durable");
    let before = durable.by_ref().take(acknowledgements).count();
    child.kill().expect("the child runs");
    let after = durable.count();
    child.wait().expect("killed");
    assert_eq!(before, acknowledgements, "the child ended by itself");
    (before + after) as u128
}

/// The child's part.
fn write_until_killed(place: &str, begin: u128) -> ! {
    let place = PostgresqlUrl::parse(place).map_or_else(|_| Path::new(place).into(), Place::from);
    let store = Store::open(place, &StoreOptions::default()).expect("opens");
    let writer = store.writer();
    for place in begin.. {
        let on_durable = OnDurable::new(|_| {
            let mut output = std::io::stdout().lock();
            writeln!(output, "\ndurable").and_then(|()| output.flush()).expect("the parent reads");
        });
        writer.submit_blocking(nth_unit(place), on_durable).expect("the store runs");
    }
    unreachable!("the history has no end")
}

#[test]
fn a_log_cut_off_anywhere_leaves_whole_units() {
    let written = 60;
    let directory = Directory::new();
    let store = directory.open_with(&StoreOptions { group_max: 1, ..StoreOptions::default() });
    for place in 0..written {
        store.writer().commit(nth_unit(place)).expect("sound");
    }
    // As a power cut finds them: the store is still open, and its log not yet copied back.
    let database = std::fs::read(directory.database()).expect("readable");
    let log = std::fs::read(directory.path().join("exchange.sqlite-wal")).expect("a log");
    drop(store);

    let mut fewest = u64::MAX;
    let cuts = (0..12).map(|twelfth| log.len() * twelfth / 12).chain([log.len() - 1, log.len()]);
    for cut in cuts {
        let copy = Directory::new();
        std::fs::write(copy.database(), &database).expect("writable");
        // A torn page: the last kilobyte before the cut never reached the disk.
        let mut torn = log[..cut].to_vec();
        let kept = torn.len() - torn.len().min(1_000);
        if cut < log.len() {
            torn[kept..].fill(0);
        }
        std::fs::write(copy.path().join("exchange.sqlite-wal"), torn).expect("writable");
        let store = copy.open();
        let report = store.reader().verify().expect("the audit runs");
        assert_eq!(report.violations, Vec::<String>::new(), "cut at {cut}");
        let history: Vec<_> = (0..u128::from(report.journal_entries)).map(nth_unit).collect();
        assert_eq!(store.load().expect("loads"), fold(&history), "cut at {cut}");
        fewest = fewest.min(report.journal_entries);
        assert!(cut < log.len() || u128::from(report.journal_entries) == written, "the whole log was there");
    }
    assert!(u128::from(fewest) < written, "no cut ever cost a unit: the test cuts the wrong file");
}
