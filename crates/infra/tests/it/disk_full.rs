//! A full disk: nothing is told to be durable, nothing is lost, and everything comes through once there is room.

use crate::conformance::fold;
use crate::fixtures::{Directory, account, account_id, converted, deposit, open_account, ringing};
use exchange::account::AccountKind;
use exchange::ledger::money::Micros;
use infra::store::{CommitResult, OnDurable, Store, StoreHealth, StoreOptions, SubmitError, UnitOfWork};
use std::sync::mpsc::{Receiver, channel};

const BUYER: u128 = 2;

/// A quota that the schema fits in, and a few dozen calls.
fn small_disk() -> StoreOptions {
    StoreOptions { max_pages: Some(60), queue_max: 64, group_max: 8, ..StoreOptions::default() }
}

fn marketplace() -> Vec<UnitOfWork> {
    let mut units = vec![
        open_account(account(1, AccountKind::Seller)),
        open_account(account(BUYER, AccountKind::Buyer)),
        deposit(account_id(BUYER), "wire-1", Micros::units(100_000)),
    ];
    for number in 1..=300 {
        units.push(ringing(number, account_id(BUYER)));
        units.push(converted(number, account_id(BUYER)));
    }
    units
}

/// Submits until the queue is full, which here only happens when the disk is. Gives how many were taken.
fn fill(store: &Store, units: &[UnitOfWork]) -> (usize, Receiver<(usize, CommitResult)>) {
    let (tell, told) = channel();
    for (place, unit) in units.iter().enumerate() {
        let tell = tell.clone();
        let on_durable = OnDurable::new(move |result| tell.send((place, result)).expect("the test listens"));
        let mut submitted = store.writer().submit(unit.clone(), on_durable);
        while let Err(SubmitError::QueueFull(handed_back)) = submitted {
            if matches!(store.health(), StoreHealth::Failing { .. }) {
                return (place, told);
            }
            std::thread::yield_now();
            submitted = store.writer().submit(handed_back.0, handed_back.1);
        }
        submitted.expect("the store runs");
    }
    panic!("the quota holds everything; make it smaller");
}

#[test]
fn everything_comes_through_once_and_in_order_when_there_is_room_again() {
    let directory = Directory::new();
    let store = directory.open_with(&small_disk());
    let units = marketplace();
    let (taken, told) = fill(&store, &units);
    let StoreHealth::Failing { tries, error, .. } = store.health() else { panic!("the disk is full") };
    assert!(tries >= 1);
    assert!(error.contains("exchange.sqlite: the disk, or the store's page quota, is full"), "{error}");

    store.writer().set_max_pages(None);
    let results: Vec<_> = told.iter().filter(|(place, _)| *place < taken).take(taken).collect();
    let in_order: Vec<_> = (0..taken).map(|place| (place, CommitResult::Durable)).collect();
    assert_eq!(results, in_order);
    assert_eq!(store.health(), StoreHealth::Healthy);
    assert_eq!(store.load().expect("loads"), fold(&units[..taken]));
    assert_eq!(store.reader().verify().expect("the audit runs").violations, Vec::<String>::new());
}

#[test]
fn a_store_closed_on_a_full_disk_keeps_exactly_what_it_told_to_be_durable() {
    let directory = Directory::new();
    let store = directory.open_with(&small_disk());
    let units = marketplace();
    let (taken, told) = fill(&store, &units);
    drop(store);
    let results: Vec<_> = told.iter().filter(|(place, _)| *place < taken).take(taken).collect();
    let durable = results.iter().take_while(|(_, result)| *result == CommitResult::Durable).count();
    assert!(durable < taken, "the disk was full");
    assert!(results[durable..].iter().all(|(_, result)| *result == CommitResult::Abandoned));
    let store = directory.open();
    assert_eq!(store.load().expect("loads"), fold(&units[..durable]));
    assert_eq!(store.reader().verify().expect("the audit runs").violations, Vec::<String>::new());
}
