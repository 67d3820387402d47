//! The market of the benchmarks: bids with many predicates, numbers they are for, callers from everywhere.

use exchange::account::{Account, AccountKind};
use exchange::auction::matching::Offer;
use exchange::bid::caps::{Limit, Period};
use exchange::bid::criteria::{Attestation, TagRule, TagTest};
use exchange::bid::{BidProfile, BidStatus, Caps, Conversion, Criteria, Destination, Price};
use exchange::book::Book;
use exchange::call::{Arrival, Call, Stated};
use exchange::compliance::screening::Screening;
use exchange::effect::Command;
use exchange::id::{AccountId, BidProfileId, CallId};
use exchange::ledger::money::Micros;
use exchange::phone_number::{CallerId, PhoneNumber};
use exchange::place::State;
use exchange::policy::Policy;
use exchange::schedule::{Day, MinuteOfDay, OpenHours, Schedule, ZoneName};
use exchange::snapshot::Snapshot;
use exchange::time::Timestamp;
use exchange::tracking_number::{CallOrigin, TrackingNumber};
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use uuid::Uuid;

pub(super) const VERTICALS: [&str; 6] =
    ["roofing", "home_services", "medicare", "auto_insurance", "legal", "debt_relief"];
/// States with one of their area codes; the first are drawn more often than the last.
const STATES: [(&str, u16); 24] = [
    ("CA", 213),
    ("TX", 214),
    ("FL", 305),
    ("NY", 212),
    ("PA", 215),
    ("IL", 312),
    ("OH", 216),
    ("GA", 404),
    ("NC", 704),
    ("MI", 313),
    ("NJ", 201),
    ("VA", 703),
    ("WA", 206),
    ("AZ", 602),
    ("MA", 617),
    ("TN", 615),
    ("IN", 317),
    ("MD", 301),
    ("MO", 314),
    ("WI", 414),
    ("CO", 303),
    ("MN", 612),
    ("SC", 803),
    ("AL", 205),
];
const ZONES: [&str; 4] = ["America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles"];
/// A Wednesday, 17:00 UTC: open in most places, closed in some.
pub(super) const START: Timestamp = Timestamp(1_782_925_200_000_000);
const BUYERS: u64 = 200;
const SELLER: AccountId = AccountId(Uuid::from_u128(1));

/// A book with so many bids.
pub(super) fn market(bids: usize, rng: &mut Rng) -> Book {
    let mut book = restored(Snapshot::default());
    for command in commands(bids, rng) {
        book.apply(command, START).expect("a valid command");
    }
    book
}

/// The book of a snapshot, under the usual rules.
pub(super) fn restored(snapshot: Snapshot) -> Book {
    let policy = Policy::default();
    let screening = Arc::new(Screening::new(policy.screening.clone()).expect("the shipped rules are sound"));
    Book::restore(snapshot, policy, screening)
}

/// What makes a market of so many bids, in order.
pub(super) fn commands(bids: usize, rng: &mut Rng) -> impl Iterator<Item = Command> {
    let account = |id, kind| Command::OpenAccount { account: Account::new(id, kind, "a trader", START) };
    let buyers = (0..BUYERS).flat_map(move |index| {
        let (id, amount_micros) = (buyer(index), Micros::units(10_000));
        let deposit = Command::Deposit { account: id, amount_micros, reference: "opening".to_owned() };
        [account(id, AccountKind::Buyer), deposit]
    });
    let numbers = VERTICALS.iter().enumerate().map(|(index, vertical)| {
        let number = TrackingNumber {
            number: called(index),
            seller: SELLER,
            vertical: (*vertical).to_owned(),
            origin: CallOrigin::OrganicInbound,
            floor_micros: Micros::units(5),
            payout_basis_points: 7_000,
            language: None,
            tags: BTreeMap::from([("source".to_owned(), "search".to_owned())]),
            active: true,
        };
        Command::PutTrackingNumber { number }
    });
    let bids = (0..bids).map(|index| Command::PutBidProfile { bid: Box::new(bid(index, rng)) });
    std::iter::once(account(SELLER, AccountKind::Seller)).chain(buyers).chain(numbers).chain(bids)
}

fn called(vertical: usize) -> PhoneNumber {
    format!("+1800555{:04}", 100 + vertical).parse().expect("a number")
}

fn buyer(index: u64) -> AccountId {
    AccountId(Uuid::from_u128(1_000 + u128::from(index)))
}

pub(super) fn bid_id(index: usize) -> BidProfileId {
    BidProfileId(Uuid::from_u128(1_000_000 + index as u128))
}

/// One of the states; the product of two draws makes the first ones more likely than the last.
fn state(rng: &mut Rng) -> (&'static str, u16) {
    let place = rng.usize(..STATES.len()) * rng.usize(..STATES.len()) / STATES.len();
    STATES[place]
}

/// What a call will come to a number as: a caller of its own each, so that none is refused as a repeat.
pub(super) fn arrival(index: usize, rng: &mut Rng) -> Arrival {
    let (_, area_code) = state(rng);
    let caller = format!("+1{area_code}{:07}", 2_000_000 + index % 8_000_000);
    let language = if rng.u8(..10) == 0 { "es" } else { "en" };
    Arrival {
        called: called(rng.usize(..VERTICALS.len())),
        caller: CallerId::Number(caller.parse().expect("a number")),
        trunk: "carrier".to_owned(),
        stated: Stated {
            language: Some(language.to_owned().try_into().expect("a language")),
            attestation: Some(
                *rng.choice([Attestation::A, Attestation::A, Attestation::B].as_slice()).expect("some"),
            ),
            ..Stated::default()
        },
    }
}

/// A bid with eight predicates: vertical, origin, one to four states, language, attestation, a tag, opening hours, a
/// concurrency cap; one in four has a daily limit beside.
pub(super) fn bid(index: usize, rng: &mut Rng) -> BidProfile {
    let states = (0..rng.usize(1..=4)).map(|_| State::try_from(state(rng).0.to_owned()).expect("a state"));
    let states: BTreeSet<State> = states.collect();
    let language = if rng.u8(..10) == 0 { "es" } else { "en" };
    let days = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri];
    let opens = MinuteOfDay(60 * rng.u16(6..12));
    let hours = days.map(|day| OpenHours { day, from: opens, to: MinuteOfDay(opens.0 + 8 * 60) });
    let zone = ZONES[rng.usize(..ZONES.len())].to_owned();
    let source = if rng.u8(..4) == 0 { "social" } else { "search" };
    let price = Price::PerCall { amount_micros: Micros(rng.i64(3_000_000..90_000_000)) };
    let vertical = VERTICALS[rng.usize(..VERTICALS.len())];
    let destination = Destination::of("sip:target@127.0.0.1:5090");
    BidProfile {
        status: if rng.u8(..20) == 0 { BidStatus::Paused } else { BidStatus::Active },
        conversion: Conversion { min_connected_s: 90 },
        criteria: Criteria {
            origins: [CallOrigin::OrganicInbound, CallOrigin::CallbackRequested].into(),
            states,
            languages: [language.to_owned().try_into().expect("a language")].into(),
            min_attestation: Some(if rng.bool() { Attestation::A } else { Attestation::B }),
            tags: vec![TagRule {
                name: "source".to_owned(),
                is: TagTest::Equals(source.to_owned()),
                not: false,
            }],
            ..Criteria::default()
        },
        schedule: Schedule {
            time_zone: ZoneName::try_from(zone).expect("a time zone"),
            hours: hours.into(),
            ..Schedule::default()
        },
        caps: Caps {
            concurrent_calls: Some(10),
            limits: if rng.u8(..4) == 0 { vec![Limit::calls(Period::Day, 100)] } else { Vec::new() },
            ..Caps::default()
        },
        ..BidProfile::new(bid_id(index), buyer(index as u64 % BUYERS), vertical, price, destination)
    }
}

/// The call that an arrival is.
pub(super) fn call(book: &Book, id: CallId, arrival: &Arrival, now: Timestamp) -> Call {
    let number = book.tracking_number(arrival.called).expect("a listed number");
    Call::received(id, arrival.clone(), number, now)
}

/// The naive scan: yardstick and oracle.
pub(super) fn scan(book: &Book, call: &Call, now: Timestamp, wanted: usize) -> Vec<(usize, Offer)> {
    let facts = book.facts(call, &[]).expect("a known seller");
    book.bids().scan(&facts, &book.market(now), wanted)
}
