//! The drawn marketplace is as large, as varied and as valid as it claims.

use super::*;
use exchange::account::AccountKind;
use exchange::book::Book;
use exchange::compliance::screening::Screening;
use exchange::phone_number::{CallerId, PhoneNumber};
use exchange::policy::Policy;
use exchange::snapshot::Snapshot;
use exchange::tracking_number::CallOrigin;
use std::collections::BTreeSet;
use std::sync::Arc;

fn layout(seed: u64) -> Layout {
    Layout {
        seed,
        opened_at: Timestamp(1_767_225_600_000_000),
        trunks: vec![([127, 0, 0, 1], 5070).into(), ([127, 0, 0, 1], 5071).into()],
        buyers: 220,
        bids_per_buyer: 10,
        sellers: 50,
        pace: Pace { buffer_s: 30..=120, ring_timeout_ms: 15_000..=30_000, max_call_s: 3_600 },
    }
}

#[test]
fn an_exchange_takes_all_of_it() {
    let policy = Policy::default();
    let screening = Arc::new(Screening::new(policy.screening.clone()).unwrap());
    let mut book = Book::restore(Snapshot::default(), policy, screening);
    let marketplace = Marketplace::make(&layout(7)).unwrap();
    for command in marketplace.commands().into_iter().flatten() {
        book.apply(command, Timestamp(1_767_225_600_000_000)).unwrap();
    }
    let buyers = marketplace.accounts.iter().filter(|account| account.kind == AccountKind::Buyer).count();
    let sizes = (buyers, marketplace.accounts.len() - buyers, marketplace.numbers.len(), book.bids().len());
    assert_eq!(sizes, (220, 50, 500, 2_200));
}

#[test]
fn the_seed_decides_it() {
    let made = |seed| Marketplace::make(&layout(seed)).unwrap();
    assert_eq!(made(1), made(1));
    assert_ne!(made(1), made(2));
}

#[test]
fn it_is_varied() {
    let marketplace = Marketplace::make(&layout(3)).unwrap();
    let origins: BTreeSet<CallOrigin> = marketplace.numbers.iter().map(|number| number.origin).collect();
    assert_eq!(origins.len(), 4, "every call origin");
    let verticals = |all: Vec<&str>| all.into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
    let sold = verticals(marketplace.numbers.iter().map(|number| number.vertical.as_str()).collect());
    let bought = verticals(marketplace.bids.iter().map(|bid| bid.vertical.as_str()).collect());
    assert_eq!(sold, bought);
    assert_eq!(sold.len(), verticals::VERTICALS.len());
    let numbers: BTreeSet<PhoneNumber> = marketplace.numbers.iter().map(|number| number.number).collect();
    assert_eq!(numbers.len(), 500, "no number twice");
    for (what, count) in [
        ("round the clock", marketplace.bids.iter().filter(|bid| bid.schedule.hours.is_empty()).count()),
        ("by schedule", marketplace.bids.iter().filter(|bid| !bid.schedule.hours.is_empty()).count()),
        ("over two trunks", marketplace.bids.iter().filter(|bid| bid.destination.sip_uris.len() > 1).count()),
        ("with tags", marketplace.bids.iter().filter(|bid| !bid.criteria.tags.is_empty()).count()),
    ] {
        assert!(count > 100, "only {count} bids are {what}");
    }
}

#[test]
fn callers_are_mostly_good_numbers_that_do_not_repeat() {
    let mut callers = Callers::new(5).unwrap();
    let (mut good, mut anonymous, mut malformed) = (Vec::new(), 0, 0);
    for _ in 0..5_000 {
        match CallerId::from_user_part(&callers.next().user) {
            CallerId::Number(number) => good.push(number),
            CallerId::Anonymous => anonymous += 1,
            CallerId::Malformed => malformed += 1,
        }
    }
    let distinct: BTreeSet<_> = good.iter().collect();
    assert!(anonymous > 50 && malformed > 20, "{anonymous} anonymous, {malformed} malformed");
    let repeated = good.len() - distinct.len();
    assert!((40..250).contains(&repeated), "{repeated} callers came again");
}
