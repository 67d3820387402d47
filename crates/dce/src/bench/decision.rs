//! `dce bench decision`: how long a whole decision takes (screen, auction, hold, receipt), beside a naive scan of the
//! same bids for the same call in the same run, which is both yardstick and oracle.

use super::percentiles::Percentiles;
use exchange::account::{Account, AccountKind, AccountStatus};
use exchange::bid::{BidProfile, BidStatus, Caps, Conversion, Criteria, Destination, Price, State};
use exchange::book::Book;
use exchange::call::{Arrival, Call};
use exchange::call_flow;
use exchange::compliance::screening::Screening;
use exchange::effect::{Command, Effect, Input, Record};
use exchange::id::{AccountId, BidProfileId, CallId};
use exchange::ledger::money::{Currency, Micros};
use exchange::phone_number::{CallerId, PhoneNumber};
use exchange::policy::Policy;
use exchange::schedule::{Day, MinuteOfDay, OpenHours, Schedule, ZoneName};
use exchange::snapshot::Snapshot;
use exchange::time::Timestamp;
use exchange::tracking_number::{CallOrigin, TrackingNumber};
use fastrand::Rng;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

const VERTICALS: [&str; 6] =
    ["roofing", "home_services", "medicare", "auto_insurance", "legal", "debt_relief"];
const STATES: [(&str, u16); 12] = [
    ("NY", 212),
    ("CA", 213),
    ("TX", 214),
    ("PA", 215),
    ("OH", 216),
    ("MD", 301),
    ("CO", 303),
    ("FL", 305),
    ("IL", 312),
    ("MI", 313),
    ("MO", 314),
    ("GA", 404),
];
const ZONES: [&str; 4] = ["America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles"];
/// A Wednesday, 17:00 UTC: open in most places, closed in some.
const START: Timestamp = Timestamp(1_782_925_200_000_000);
const BUYERS: u64 = 200;
const SELLER: AccountId = AccountId(Uuid::from_u128(1));

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct DecisionFigures {
    bids: usize,
    calls: usize,
    decision_us: Percentiles,
    naive_us: Percentiles,
    /// Calls whose route plan was not the naive scan's: must be 0.
    pub(crate) differences: usize,
    /// Share of the bids of a call's vertical that would take it, averaged over the calls.
    selectivity: f64,
}

/// Builds a book of `bids` bids and decides `calls` calls.
pub(super) fn run(bids: usize, calls: usize, seed: u64) -> DecisionFigures {
    let mut rng = Rng::with_seed(seed);
    let mut book = market(bids, &mut rng);
    let (mut decision_ns, mut naive_ns) = (Vec::with_capacity(calls), Vec::with_capacity(calls));
    let (mut differences, mut matching, mut looked_at) = (0, 0_usize, 0_usize);
    // The first tenth warms caches and branch predictors and is not counted.
    let warm_up = calls / 10;
    for index in 0..warm_up + calls {
        let now = START.plus_ms(index as u64 * 10);
        let id = CallId(Uuid::from_u128(index as u128 + 1));
        let arrival = arrival(index, &mut rng);

        let started = Instant::now();
        let expected = naive(&book, id, &arrival, now);
        let naive_took = started.elapsed();
        if index % 50 == 0 {
            matching += would_take(&book, id, &arrival, now);
            looked_at += bids / VERTICALS.len();
        }

        let started = Instant::now();
        let effects = call_flow::step(&mut book, id, Input::Arrived(arrival), now).expect("a new call");
        let decision_took = started.elapsed();

        if index >= warm_up {
            decision_ns.push(nanoseconds(decision_took));
            naive_ns.push(nanoseconds(naive_took));
            differences += usize::from(plan_of(&effects) != expected);
        }
        call_flow::step(&mut book, id, Input::CallerHungUp, now).expect("a ringing call");
    }
    DecisionFigures {
        bids,
        calls,
        decision_us: Percentiles::of_ns(decision_ns),
        naive_us: Percentiles::of_ns(naive_ns),
        differences,
        selectivity: matching as f64 / looked_at.max(1) as f64,
    }
}

fn nanoseconds(took: Duration) -> u64 {
    u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
}

/// The route plan on the receipt.
fn plan_of(effects: &[Effect]) -> Vec<BidProfileId> {
    let receipt = effects.iter().find_map(|effect| match effect {
        Effect::Record(Record::Receipt(receipt)) => receipt.auction.as_ref(),
        _ => None,
    });
    receipt.map(|auction| auction.ranking.iter().map(|ranked| ranked.bid).collect()).unwrap_or_default()
}

fn naive(book: &Book, id: CallId, arrival: &Arrival, now: Timestamp) -> Vec<BidProfileId> {
    let wanted = usize::from(Policy::default().route_plan_max);
    let offers = scan(book, id, arrival, now, wanted);
    offers.into_iter().map(|(slot, _)| book.bids().at(slot).profile.id).collect()
}

/// How many bids would take the call.
fn would_take(book: &Book, id: CallId, arrival: &Arrival, now: Timestamp) -> usize {
    scan(book, id, arrival, now, usize::MAX).len()
}

fn scan(book: &Book, id: CallId, arrival: &Arrival, now: Timestamp, wanted: usize) -> Vec<(usize, Offer)> {
    let number = book.tracking_number(arrival.called).expect("a listed number");
    let call = Call::received(id, arrival.clone(), number, now);
    let facts = book.facts(&call, &[]).expect("a known seller");
    book.bids().scan(&facts, &book.market(now), wanted)
}

fn called(vertical: usize) -> PhoneNumber {
    format!("+1800555{:04}", 100 + vertical).parse().expect("a number")
}

fn arrival(index: usize, rng: &mut Rng) -> Arrival {
    let (_, area_code) = STATES[rng.usize(..STATES.len())];
    // A caller of its own for every call, so that none is refused as a repeat.
    let caller = format!("+1{area_code}{:07}", 2_000_000 + index % 8_000_000);
    Arrival {
        called: called(rng.usize(..VERTICALS.len())),
        caller: CallerId::Number(caller.parse().expect("a number")),
        trunk: "carrier".to_owned(),
        stated: Stated::default(),
    }
}

fn market(bids: usize, rng: &mut Rng) -> Book {
    let policy = Policy::default();
    let screening = Arc::new(Screening::new(policy.screening.clone()).expect("the shipped rules are sound"));
    let mut book = Book::restore(Snapshot::default(), policy, screening);
    let mut apply = |command| {
        book.apply(command, START).expect("a valid command");
    };
    apply(Command::OpenAccount { account: account(SELLER, AccountKind::Seller) });
    for index in 0..BUYERS {
        let id = buyer(index);
        apply(Command::OpenAccount { account: account(id, AccountKind::Buyer) });
        let amount_micros = Micros::units(10_000);
        apply(Command::Deposit { account: id, amount_micros, reference: "opening".to_owned() });
    }
    for (index, vertical) in VERTICALS.iter().enumerate() {
        let number = TrackingNumber {
            number: called(index),
            seller: SELLER,
            vertical: (*vertical).to_owned(),
            origin: CallOrigin::OrganicInbound,
            floor_micros: Micros::units(5),
            payout_basis_points: 7_000,
            language: None,
            tags: BTreeMap::from([("language".to_owned(), "en".to_owned())]),
            active: true,
        };
        apply(Command::PutTrackingNumber { number });
    }
    for index in 0..bids {
        apply(Command::PutBidProfile { bid: Box::new(bid(index, rng)) });
    }
    book
}

fn buyer(index: u64) -> AccountId {
    AccountId(Uuid::from_u128(1_000 + u128::from(index)))
}

fn account(id: AccountId, kind: AccountKind) -> Account {
    Account {
        id,
        kind,
        name: "a trader".to_owned(),
        status: AccountStatus::Active,
        time_zone: ZoneName::default(),
        currency: Currency::USD,
        credit_limit_micros: Micros::ZERO,
        opened_at: START,
    }
}

/// A bid with six predicates: vertical, origin, one to four states, a tag, opening hours and caps.
fn bid(index: usize, rng: &mut Rng) -> BidProfile {
    let state = |rng: &mut Rng| State::try_from(STATES[rng.usize(..STATES.len())].0.to_owned());
    let states = (0..rng.usize(1..=4)).map(|_| state(rng).expect("a state")).collect();
    let language = if rng.u8(..10) == 0 { "es" } else { "en" };
    let days = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri];
    let opens = MinuteOfDay(60 * rng.u16(6..12));
    let hours = days.map(|day| OpenHours { day, from: opens, to: MinuteOfDay(opens.0 + 8 * 60) });
    let zone = ZONES[rng.usize(..ZONES.len())].to_owned();
    let id = BidProfileId(Uuid::from_u128(1_000_000 + index as u128));
    let price = Price::PerCall { amount_micros: Micros(rng.i64(3_000_000..90_000_000)) };
    let vertical = VERTICALS[rng.usize(..VERTICALS.len())];
    let destination = Destination::of("sip:target@127.0.0.1:5090");
    BidProfile {
        status: if rng.u8(..20) == 0 { BidStatus::Paused } else { BidStatus::Active },
        conversion: Conversion { min_connected_s: 90 },
        criteria: Criteria {
            origins: [CallOrigin::OrganicInbound, CallOrigin::CallbackRequested].into(),
            states,
            tags: vec![TagRule {
                name: "language".to_owned(),
                is: TagTest::Equals(language.to_owned()),
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
            limits: vec![Limit::calls(Period::Day, 100)],
            ..Caps::default()
        },
        ..BidProfile::new(id, buyer(rng.u64(..BUYERS)), vertical, price, destination)
    }
}
