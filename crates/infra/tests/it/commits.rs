//! All of a unit or nothing of it; a faulty unit harms nobody else; callbacks are told once and in order.

use crate::conformance::fold;
use crate::fixtures::{
    Directory, Home, account, account_id, call_id, converted, deposit, event, on_every_store, open_account,
    ringing, transfer, unit,
};
use exchange::account::AccountKind;
use exchange::ledger::money::Micros;
use exchange::ledger::transfer::{LedgerAccount, TransferReason};
use infra::store::{
    CommitResult, OnDurable, Rejection, Store, StoreError, StoreOptions, SubmitError, UnitOfWork, Writer,
};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};

on_every_store!(
    waiting_units_share_one_sync,
    empty_units_keep_their_turn_and_cost_no_sync,
    a_faulty_unit_is_rejected_whole_and_alone,
    a_full_queue_hands_the_unit_back,
    closing_finishes_what_was_submitted_and_refuses_the_rest,
);

/// Keeps the writer busy until told to go on, so that everything submitted meanwhile shares one commit.
fn hold_writer(writer: &Writer) -> Sender<()> {
    let (go_on, wait) = channel::<()>();
    let (started, running) = sync_channel(1);
    let blocking = OnDurable::new(move |_| {
        started.send(()).expect("the test waits");
        // Ends as well when the test drops its side.
        let _ = wait.recv();
    });
    writer.submit(UnitOfWork::default(), blocking).expect("the queue is empty");
    running.recv().expect("the writer runs");
    go_on
}

fn submit_all(writer: &Writer, units: &[UnitOfWork]) -> Receiver<(usize, CommitResult)> {
    let (tell, told) = channel();
    for (place, unit) in units.iter().enumerate() {
        let tell = tell.clone();
        let on_durable = OnDurable::new(move |result| tell.send((place, result)).expect("the test waits"));
        writer.submit(unit.clone(), on_durable).expect("the queue has room");
    }
    told
}

fn marketplace(store: &Store) -> Vec<UnitOfWork> {
    let units = vec![
        open_account(account(1, AccountKind::Seller)),
        open_account(account(2, AccountKind::Buyer)),
        deposit(account_id(2), "wire-1", Micros::units(1_000)),
    ];
    for unit in &units {
        store.writer().commit(unit.clone()).expect("sound");
    }
    units
}

fn waiting_units_share_one_sync(new_home: fn() -> Home) {
    let home = new_home();
    let store = home.open();
    marketplace(&store);
    let (units_before, syncs_before) = store.writer().units_and_syncs();
    let go_on = hold_writer(&store.writer());
    let told = submit_all(&store.writer(), &(1..=50).map(|n| ringing(n, account_id(2))).collect::<Vec<_>>());
    drop(go_on);
    assert_eq!(told.iter().count(), 50);
    let (units, syncs) = store.writer().units_and_syncs();
    assert_eq!((units - units_before, syncs - syncs_before), (50, 1));
}

fn empty_units_keep_their_turn_and_cost_no_sync(new_home: fn() -> Home) {
    let home = new_home();
    let store = home.open();
    let before = store.writer().units_and_syncs();
    let told = submit_all(&store.writer(), &[UnitOfWork::default(), UnitOfWork::default()]);
    let in_order: Vec<_> = told.iter().collect();
    assert_eq!(in_order, [(0, CommitResult::Durable), (1, CommitResult::Durable)]);
    assert_eq!(store.writer().units_and_syncs(), before);
}

fn a_faulty_unit_is_rejected_whole_and_alone(new_home: fn() -> Home) {
    let buyer = account_id(2);
    let again = deposit(buyer, "wire-1", Micros::units(5));
    let receipt_again = {
        let records = ringing(1, buyer).records.into_iter().take(1).collect();
        unit(1, records)
    };
    let of_nothing = deposit(buyer, "wire-2", Micros::ZERO);
    let to_itself = unit(
        9,
        vec![transfer(
            TransferReason::Margin { call: call_id(9) },
            LedgerAccount::Margin,
            LedgerAccount::Margin,
            Micros::units(1),
        )],
    );
    let too_much = deposit(buyer, "wire-3", Micros(i64::MAX));
    let reason = |reference: &str| format!("deposit:{buyer}:{reference}");
    let table = [
        (again, Rejection::DuplicateTransfer { reason: reason("wire-1") }),
        (receipt_again, Rejection::DuplicateReceipt { call: call_id(1).to_string() }),
        (of_nothing, Rejection::NotPositive { reason: reason("wire-2"), amount_micros: 0 }),
        (
            to_itself,
            Rejection::Constraint { what: "transfer", finding: "as the database says it".to_owned() },
        ),
        (too_much, Rejection::Overflow { ledger: LedgerAccount::Available(buyer).to_string() }),
    ];
    for (mut faulty, rejection) in table {
        // Its other records must go with it.
        faulty.records.insert(0, event(call_id(7)));
        let home = new_home();
        let store = home.open();
        let mut sound = marketplace(&store);
        let first = ringing(1, buyer);
        let last = converted(1, buyer);
        let go_on = hold_writer(&store.writer());
        let told = submit_all(&store.writer(), &[first.clone(), faulty, last.clone()]);
        drop(go_on);
        let results: Vec<_> = told.iter().map(|(place, result)| (place, in_our_words(result))).collect();
        let expected = CommitResult::Rejected(rejection.clone());
        assert_eq!(results, [(0, CommitResult::Durable), (1, expected), (2, CommitResult::Durable)]);

        sound.extend([first, last]);
        assert_eq!(store.load().expect("the store loads"), fold(&sound), "{rejection}");
        let report = store.reader().verify().expect("the audit runs");
        assert_eq!(report.violations, Vec::<String>::new(), "{rejection}");
        let events = store.reader().events_after(0, 100).expect("readable");
        assert!(events.iter().all(|event| event.subject != format!("call/{}", call_id(7))), "{rejection}");
    }
}

/// Each database has its own words for its constraints.
fn in_our_words(result: CommitResult) -> CommitResult {
    match result {
        CommitResult::Rejected(Rejection::Constraint { what, finding }) => {
            assert!(finding.to_lowercase().contains("check constraint"), "{finding}");
            let finding = "as the database says it".to_owned();
            CommitResult::Rejected(Rejection::Constraint { what, finding })
        }
        other => other,
    }
}

fn a_full_queue_hands_the_unit_back(new_home: fn() -> Home) {
    let home = new_home();
    let options = StoreOptions { queue_max: 2, ..StoreOptions::default() };
    let store = home.open_with(&options);
    let go_on = hold_writer(&store.writer());
    let told = submit_all(&store.writer(), &[UnitOfWork::default(), UnitOfWork::default()]);
    let third = open_account(account(3, AccountKind::Seller));
    let refused = store.writer().submit(third.clone(), OnDurable::new(|_| {}));
    let Err(SubmitError::QueueFull(handed_back)) = refused else { panic!("the queue holds two") };
    assert_eq!(handed_back.0, third);
    drop(go_on);
    assert_eq!(told.iter().count(), 2);
}

fn closing_finishes_what_was_submitted_and_refuses_the_rest(new_home: fn() -> Home) {
    let home = new_home();
    let store = home.open();
    let writer = store.writer();
    let told = submit_all(&writer, &[open_account(account(1, AccountKind::Seller))]);
    drop(store);
    assert_eq!(told.iter().collect::<Vec<_>>(), [(0, CommitResult::Durable)]);
    let refused = writer.submit(UnitOfWork::default(), OnDurable::new(|_| {}));
    assert!(matches!(refused, Err(SubmitError::Stopped(_))));
    assert!(matches!(writer.commit(UnitOfWork::default()), Err(StoreError::Stopped)));
}

#[test]
fn published_events_may_be_cleared_away_without_their_numbers_coming_back() {
    let directory = Directory::new();
    let store = directory.open();
    marketplace(&store);
    store.writer().commit(ringing(1, account_id(2))).expect("sound");
    store.writer().commit(converted(1, account_id(2))).expect("sound");
    drop(store);
    let database = rusqlite::Connection::open(directory.database()).expect("a database");
    let refused = database.execute("DELETE FROM outbox", []).expect_err("the last event stays").to_string();
    assert_eq!(refused, "the last event stays: the next seq follows from it");
    assert_eq!(database.execute("DELETE FROM outbox WHERE seq < 2", []).expect("published"), 1);
    drop(database);
    let store = directory.open();
    store.writer().commit(ringing(2, account_id(2))).expect("sound");
    let events = store.reader().events_after(0, 10).expect("readable");
    assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn history_cannot_be_rewritten() {
    let directory = Directory::new();
    let store = directory.open();
    marketplace(&store);
    store.writer().commit(ringing(1, account_id(2))).expect("sound");
    drop(store);
    let database = rusqlite::Connection::open(directory.database()).expect("a database");
    for table in ["journal", "transfers", "receipts"] {
        for sql in [format!("DELETE FROM {table}"), format!("UPDATE {table} SET rowid = rowid + 100")] {
            let refused = database.execute(&sql, []).expect_err("append-only").to_string();
            assert!(refused.ends_with("append-only"), "{sql}: {refused}");
        }
    }
}
