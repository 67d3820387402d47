//! Reservations: one suite on both adapters, and random histories through both, which must agree on every answer and figure.

use crate::coordination::{on_every_adapter, until};
use crate::fixtures::{account, account_id, attempt, bid_id, call, call_id};
use crate::redis_server::{config, node, prefix, shared};
use exchange::account::AccountKind;
use exchange::bid::caps::{CapGroup, Caps, HourlyCalls, Limit, Pacing, Period};
use exchange::bid::{BidProfile, Destination, Price};
use exchange::call::CallState;
use exchange::id::CapGroupId;
use exchange::ledger::balances::InsufficientFunds;
use exchange::ledger::money::Micros;
use exchange::ledger::transfer::LedgerAccount;
use exchange::schedule::{Day, LocalTime, Schedule, ZoneName};
use exchange::snapshot::Snapshot;
use exchange::time::Timestamp;
use exchange::usage::{CapOwner, CapReached, Counted, Periods, Taken, Usage};
use infra::coordination::{
    Coordination, CoordinationConfig, CoordinationError, CoordinationStatus, Ended, OpenReservation,
    Reservation, ReservationKey, Reserved, Shortage,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use test_servers::redis::RedisServer;
use uuid::Uuid;

/// 2026-07-01T17:00:00Z, a Wednesday.
const START: Timestamp = Timestamp(1_782_925_200_000_000);
const NODE: Uuid = Uuid::from_u128(0xD0);
const CREDIT: Micros = Micros(5);
const MINUTE_MS: i64 = 60_000;

fn epoch(number: u64) -> NonZeroU64 {
    NonZeroU64::new(number).expect("from 1")
}

fn reservation_key(number: u128) -> ReservationKey {
    ReservationKey { call: call_id(number), attempt: 1 }
}

fn bid(number: u128, caps: Caps) -> BidProfile {
    let price = Price::PerCall { amount_micros: Micros(10) };
    let destination = Destination::of("sip:target@192.0.2.1");
    let zone = ZoneName::try_from("America/New_York".to_owned()).expect("a zone");
    BidProfile {
        caps,
        schedule: Schedule { time_zone: zone, ..Schedule::default() },
        ..BidProfile::new(bid_id(number), account_id(2), "medicare", price, destination)
    }
}

/// One buyer with so much money.
fn snapshot(available: i64) -> Snapshot {
    let buyer = account(2, AccountKind::Buyer);
    let available = (LedgerAccount::Available(buyer.id), Micros(available));
    Snapshot {
        accounts: BTreeMap::from([(buyer.id, buyer)]),
        balances: BTreeMap::from([available]),
        ..Snapshot::default()
    }
}

async fn loaded(node: &Coordination, available: i64) {
    node.rebuild(&snapshot(available), epoch(1), |_| NODE).await.expect("loaded");
}

fn wanted<'a>(
    number: u128,
    bid: &'a BidProfile,
    group: Option<&'a CapGroup>,
    hold: i64,
    now: Timestamp,
) -> Reservation<'a> {
    let local = LocalTime::at(now, &bid.schedule.time_zone.time_zone());
    let key = reservation_key(number);
    Reservation { key, node: NODE, bid, group, credit_limit: CREDIT, hold: Micros(hold), now, local }
}

async fn reserve(node: &Coordination, number: u128, bid: &BidProfile, hold: i64) -> Reserved {
    node.reserve(&wanted(number, bid, None, hold, START)).await.expect("answered")
}

async fn available(node: &Coordination) -> i64 {
    node.figures(account_id(2)).await.expect("answered").expect("loaded").available.0
}

on_every_adapter!(
    money_is_held_once_and_no_further_than_the_credit_goes,
    what_has_ended_stays_ended,
    a_converted_call_is_spent_and_the_rest_may_come_back,
    nothing_is_reserved_before_it_is_loaded,
    an_older_epoch_does_not_replace_a_newer_one,
    open_attempts_and_usage_are_loaded_too,
    the_reservations_of_a_node_are_found,
);

async fn money_is_held_once_and_no_further_than_the_credit_goes(node: Coordination) {
    loaded(&node, 20).await;
    let bid = bid(1, Caps::default());
    let first = reserve(&node, 1, &bid, 10).await;
    assert!(matches!(first, Reserved::Granted(_)), "{first:?}");
    assert_eq!(reserve(&node, 1, &bid, 10).await, first, "asked again");
    assert_eq!(available(&node).await, 10);
    assert!(matches!(reserve(&node, 2, &bid, 15).await, Reserved::Granted(_)), "5 of it on credit");
    let short = Shortage::Funds(InsufficientFunds { needed: Micros(1), available: Micros(0) });
    assert_eq!(reserve(&node, 3, &bid, 1).await, Reserved::Refused(short));
    let done = node.deposit(account_id(2), Micros(1), "a payment").await.expect("answered");
    assert_eq!(done, Ended::Done);
    let again = node.deposit(account_id(2), Micros(1), "a payment").await.expect("answered");
    assert_eq!(again, Ended::Already);
    assert!(matches!(reserve(&node, 3, &bid, 1).await, Reserved::Granted(_)));
}

async fn what_has_ended_stays_ended(node: Coordination) {
    loaded(&node, 20).await;
    let bid = bid(1, Caps { concurrent_calls: Some(1), ..Caps::default() });
    reserve(&node, 1, &bid, 10).await;
    let full = Reserved::Refused(Shortage::Cap(CapReached::ConcurrentCalls));
    assert_eq!(reserve(&node, 2, &bid, 10).await, full);
    for expected in [Ended::Done, Ended::Already] {
        let ended = node.release(account_id(2), reservation_key(1)).await.expect("answered");
        assert_eq!(ended, expected);
    }
    assert_eq!(available(&node).await, 20);
    assert_eq!(reserve(&node, 1, &bid, 10).await, Reserved::Over, "a request that was late");
    let never = node.release(account_id(2), reservation_key(3)).await.expect("answered");
    assert_eq!(never, Ended::Unknown);
    assert_eq!(reserve(&node, 3, &bid, 10).await, Reserved::Over, "given up before it came");
    assert!(matches!(reserve(&node, 4, &bid, 10).await, Reserved::Granted(_)));
}

async fn a_converted_call_is_spent_and_the_rest_may_come_back(node: Coordination) {
    loaded(&node, 20).await;
    let daily = Limit { conversions: Some(1), ..Limit::spend(Period::Day, Micros(12)) };
    let bid = bid(1, Caps { limits: vec![daily], ..Caps::default() });
    let Reserved::Granted(counted) = reserve(&node, 1, &bid, 10).await else { panic!("granted") };
    for expected in [Ended::Done, Ended::Already] {
        let ended = node.finish(account_id(2), reservation_key(1), Some(Micros(8))).await;
        assert_eq!(ended.expect("answered"), expected);
    }
    assert_eq!(available(&node).await, 12);
    let converted = Reserved::Refused(Shortage::Cap(CapReached::Conversions));
    assert_eq!(reserve(&node, 2, &bid, 1).await, converted);
    let (buyer, bid_id, hold) = (account_id(2), bid.id, Micros(10));
    let key = reservation_key(1);
    let ended = OpenReservation { key, node: NODE, buyer, bid: bid_id, hold, counted };
    for expected in [Ended::Done, Ended::Already] {
        assert_eq!(node.give_back_spend(&ended, Micros(3)).await.expect("answered"), expected);
    }
    let figures = node.figures(account_id(2)).await.expect("answered").expect("loaded");
    assert_eq!(figures.available, Micros(15));
    assert_eq!(figures.in_use[&CapOwner::Bid(bid.id)].taken[4].spend_micros, Micros(5));
}

async fn nothing_is_reserved_before_it_is_loaded(node: Coordination) {
    let bid = bid(1, Caps::default());
    assert_eq!(reserve(&node, 1, &bid, 10).await, Reserved::NotReady);
    assert_eq!(node.join().await, Ok(None));
    assert_eq!(node.figures(account_id(2)).await, Ok(None));
    let refused = node.deposit(account_id(2), Micros(1), "a payment").await.expect("answered");
    assert_eq!(refused, Ended::Unknown);
    node.rebuild(&Snapshot::default(), epoch(1), |_| NODE).await.expect("loaded");
    assert_eq!(reserve(&node, 1, &bid, 10).await, Reserved::NotReady, "a buyer nobody opened");
    node.open_buyer(account_id(2)).await.expect("opened");
    node.deposit(account_id(2), Micros(10), "a payment").await.expect("answered");
    assert!(matches!(reserve(&node, 1, &bid, 10).await, Reserved::Granted(_)));
    node.erase([account_id(2)]).await.expect("erased");
    assert_eq!(reserve(&node, 2, &bid, 10).await, Reserved::NotReady);
    assert_eq!((node.join().await, node.figures(account_id(2)).await), (Ok(None), Ok(None)));
}

async fn an_older_epoch_does_not_replace_a_newer_one(node: Coordination) {
    node.rebuild(&snapshot(20), epoch(2), |_| NODE).await.expect("loaded");
    for stale in [1, 2] {
        let refused = node.rebuild(&snapshot(99), epoch(stale), |_| NODE).await;
        assert_eq!(refused, Err(CoordinationError::StaleEpoch { epoch: epoch(stale) }));
    }
    assert_eq!(node.join().await, Ok(Some(epoch(2))));
    assert_eq!(available(&node).await, 20);
    node.rebuild(&snapshot(30), epoch(3), |_| NODE).await.expect("newer");
    assert_eq!(available(&node).await, 30);
}

/// A call that rings for bid 1, and what bid 1 has taken so far.
fn busy_snapshot() -> Snapshot {
    let buyer = account_id(2);
    let caps = Caps { concurrent_calls: Some(2), ..Caps::default() };
    let bid = bid(1, caps);
    let periods = Periods { hour: 4, day: 3, week: 2, month: 1 };
    let ringing = CallState::Ringing {
        attempt: exchange::call::Attempt {
            counted: Counted { bid: periods, group: None },
            ..attempt(1, buyer, START)
        },
        fallbacks: Vec::new(),
        recoveries: 0,
    };
    let taken =
        [4, 3, 2, 1, 0].map(|number| Taken { number, calls: 7, conversions: 6, spend_micros: Micros(70) });
    let usage = Usage { owner: CapOwner::Bid(bid.id), taken, record: None };
    let call = call(1, ringing);
    Snapshot {
        bid_profiles: BTreeMap::from([(bid.id, Arc::new(bid))]),
        usage: BTreeMap::from([(usage.owner, usage)]),
        open_calls: BTreeMap::from([(call.id, call)]),
        ..snapshot(20)
    }
}

async fn open_attempts_and_usage_are_loaded_too(node: Coordination) {
    let snapshot = busy_snapshot();
    node.rebuild(&snapshot, epoch(1), |_| NODE).await.expect("loaded");
    let bid = &snapshot.bid_profiles[&bid_id(1)];
    let figures = node.figures(account_id(2)).await.expect("answered").expect("loaded");
    let in_use = figures.in_use[&CapOwner::Bid(bid.id)];
    assert_eq!((in_use.concurrent_calls, in_use.taken), (1, snapshot.usage[&CapOwner::Bid(bid.id)].taken));
    assert!(matches!(reserve(&node, 2, bid, 1).await, Reserved::Granted(_)));
    let full = Reserved::Refused(Shortage::Cap(CapReached::ConcurrentCalls));
    assert_eq!(reserve(&node, 3, bid, 1).await, full);
    assert_eq!(node.release(account_id(2), reservation_key(1)).await, Ok(Ended::Done));
    assert!(matches!(reserve(&node, 3, bid, 1).await, Reserved::Granted(_)));
}

async fn the_reservations_of_a_node_are_found(node: Coordination) {
    loaded(&node, 20).await;
    let bid = bid(1, Caps::default());
    let another = Uuid::from_u128(0xD1);
    reserve(&node, 1, &bid, 4).await;
    let theirs = Reservation { node: another, ..wanted(2, &bid, None, 4, START) };
    node.reserve(&theirs).await.expect("answered");
    let dead = node.reserved_by(another, [account_id(2), account_id(3)]).await.expect("answered");
    assert_eq!(dead.iter().map(|open| open.key).collect::<Vec<_>>(), [reservation_key(2)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_for_ten_is_ten_reservations_however_many_ask_at_once() {
    let config = config(shared(), &prefix());
    let here = Coordination::start(&config).await.expect("Redis is there");
    loaded(&here, 95).await;
    let there = Coordination::start(&config).await.expect("Redis is there");
    assert_eq!(there.join().await, Ok(Some(epoch(1))));
    let asking = (0..64).map(|number| {
        let node = if number % 2 == 0 { here.clone() } else { there.clone() };
        tokio::spawn(async move { reserve(&node, number, &bid(1, Caps::default()), 10).await })
    });
    let mut granted = 0;
    for asking in asking.collect::<Vec<_>>() {
        granted += u32::from(matches!(asking.await.expect("no panic"), Reserved::Granted(_)));
    }
    // 95, and 5 on credit.
    assert_eq!(granted, 10);
    assert_eq!(available(&there).await, -5);
}

#[tokio::test]
async fn a_redis_that_comes_back_empty_is_not_ready_until_it_is_rebuilt() {
    let server = RedisServer::start();
    let node = Coordination::start(&config(&server, "lost")).await.expect("Redis is there");
    loaded(&node, 20).await;
    let bid = bid(1, Caps::default());
    assert!(matches!(reserve(&node, 1, &bid, 10).await, Reserved::Granted(_)));
    server.order("kill");
    let lost = node.reserve(&wanted(2, &bid, None, 10, START)).await;
    assert!(matches!(lost, Err(CoordinationError::Away { .. })), "{lost:?}");
    server.order("start");
    until("Redis is back", async || node.status() == CoordinationStatus::Up).await;
    assert_eq!(reserve(&node, 2, &bid, 10).await, Reserved::NotReady);
    assert_eq!(node.join().await, Ok(None));
    node.rebuild(&snapshot(10), epoch(2), |_| NODE).await.expect("loaded");
    assert!(matches!(reserve(&node, 2, &bid, 10).await, Reserved::Granted(_)));
}

/// A reservation that Redis took up and whose answer nobody waited for: giving it up works whether or not it was done by then.
#[tokio::test]
async fn what_got_no_answer_can_be_given_up() {
    let server = RedisServer::start();
    let config = CoordinationConfig { timeout_ms: 100, ..config(&server, "late") };
    let node = Coordination::start(&config).await.expect("Redis is there");
    loaded(&node, 20).await;
    let bid = bid(1, Caps::default());
    server.order("pause");
    let lost = node.reserve(&wanted(1, &bid, None, 10, START)).await;
    assert!(matches!(lost, Err(CoordinationError::Away { .. })), "{lost:?}");
    server.order("resume");
    until("it is given up", async || node.release(account_id(2), reservation_key(1)).await.is_ok()).await;
    assert_eq!(reserve(&node, 1, &bid, 10).await, Reserved::Over);
    assert_eq!(available(&node).await, 20);
}

/// One thing that happens in a history.
#[derive(Debug, Clone)]
enum Step {
    Reserve { key: u128, bid: usize, hold: i64, minutes: i64 },
    Release { key: u128 },
    Finish { key: u128, spent: Option<i64> },
    GiveBackSpend { key: u128, unspent: i64 },
    Deposit { reference: u8, amount: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0_u128..16;
    // Hours, days, a week and a month on, and back again.
    let minutes = prop_oneof![0_i64..180, -3_000_i64..3_000, Just(10_080_i64), Just(44_640_i64)];
    prop_oneof![
        6 => (key.clone(), 0_usize..3, 1_i64..12, minutes)
            .prop_map(|(key, bid, hold, minutes)| Step::Reserve { key, bid, hold, minutes }),
        2 => key.clone().prop_map(|key| Step::Release { key }),
        2 => (key.clone(), prop::option::of(0_i64..12)).prop_map(|(key, spent)| Step::Finish { key, spent }),
        1 => (key, 0_i64..4).prop_map(|(key, unspent)| Step::GiveBackSpend { key, unspent }),
        1 => (0_u8..4, 1_i64..30).prop_map(|(reference, amount)| Step::Deposit { reference, amount }),
    ]
}

fn limit() -> impl Strategy<Value = Limit> {
    let per =
        prop::sample::select(vec![Period::Hour, Period::Day, Period::Week, Period::Month, Period::Total]);
    let count = || prop::option::of(0_u32..8);
    (per, count(), count(), prop::option::of(0_i64..60)).prop_map(|(per, calls, conversions, spend)| Limit {
        per,
        calls,
        conversions,
        spend_micros: spend.map(Micros),
    })
}

fn caps() -> impl Strategy<Value = Caps> {
    let limits = prop::collection::vec(limit(), 0..3);
    let by_hour = prop::option::of(0_u32..4);
    (prop::option::of(1_u32..6), by_hour, limits, any::<bool>(), any::<bool>()).prop_map(
        |(concurrent_calls, by_hour, limits, is_grouped, is_paced)| Caps {
            concurrent_calls,
            concurrent_calls_by_hour: by_hour
                .map(|calls| HourlyCalls { day: Day::Wed, calls: [calls; 24] })
                .into_iter()
                .collect(),
            limits,
            group: is_grouped.then_some(GROUP),
            pacing: if is_paced { Pacing::Even } else { Pacing::AsSoonAsPossible },
        },
    )
}

const GROUP: CapGroupId = CapGroupId(Uuid::from_u128(0xC0));

fn group() -> impl Strategy<Value = CapGroup> {
    (prop::option::of(1_u32..8), prop::collection::vec(limit(), 0..3)).prop_map(
        |(concurrent_calls, limits)| CapGroup {
            id: GROUP,
            buyer: account_id(2),
            name: "a group".to_owned(),
            time_zone: ZoneName::default(),
            concurrent_calls,
            limits,
        },
    )
}

/// What is known of the attempts of a history, to give back what they did not spend.
type Granted = BTreeMap<u128, OpenReservation>;

/// One step on one node: what it answers, as text.
async fn play(
    node: &Coordination,
    bids: &[BidProfile],
    group: &CapGroup,
    step: &Step,
    granted: &mut Granted,
) -> String {
    let buyer = account_id(2);
    match *step {
        Step::Reserve { key, bid, hold, minutes } => {
            let bid = &bids[bid];
            let now = Timestamp(START.0 + minutes * MINUTE_MS * 1_000);
            let group = bid.caps.group.map(|_| group);
            let wanted = wanted(key, bid, group, hold, now);
            let reserved = node.reserve(&wanted).await;
            if let Ok(Reserved::Granted(counted)) = reserved {
                let open = OpenReservation {
                    key: wanted.key,
                    node: NODE,
                    buyer,
                    bid: bid.id,
                    hold: Micros(hold),
                    counted,
                };
                granted.entry(key).or_insert(open);
            }
            format!("{reserved:?}")
        }
        Step::Release { key } => format!("{:?}", node.release(buyer, reservation_key(key)).await),
        Step::Finish { key, spent } => {
            // Nobody is charged more than was held.
            let hold = granted.get(&key).map_or(0, |open| open.hold.0);
            let spent = spent.map(|spent| Micros(spent.min(hold)));
            format!("{:?}", node.finish(buyer, reservation_key(key), spent).await)
        }
        Step::GiveBackSpend { key, unspent } => match granted.get(&key) {
            Some(open) => format!("{:?}", node.give_back_spend(open, Micros(unspent)).await),
            None => String::new(),
        },
        Step::Deposit { reference, amount } => {
            format!("{:?}", node.deposit(buyer, Micros(amount), &reference.to_string()).await)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    /// The book's own arithmetic is the oracle, a real Redis the subject: the same grants, refusals and figures.
    #[test]
    fn redis_decides_as_the_book_does(
        caps in prop::collection::vec(caps(), 3),
        group in group(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let bids: Vec<BidProfile> = (1..).zip(caps).map(|(number, caps)| bid(number, caps)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a thread");
        runtime.block_on(async {
            let (book, redis) = (Coordination::in_memory(), node().await);
            loaded(&book, 60).await;
            loaded(&redis, 60).await;
            let (mut expected_grants, mut grants) = (Granted::new(), Granted::new());
            for step in &steps {
                let expected = play(&book, &bids, &group, step, &mut expected_grants).await;
                let answer = play(&redis, &bids, &group, step, &mut grants).await;
                prop_assert_eq!(&answer, &expected, "{:?}", step);
                let figures = redis.figures(account_id(2)).await.expect("answered");
                let book_figures = book.figures(account_id(2)).await.expect("answered");
                prop_assert_eq!(figures, book_figures, "after {:?}", step);
            }
            prop_assert_eq!(&grants, &expected_grants);
            Ok(())
        })?;
    }
}
