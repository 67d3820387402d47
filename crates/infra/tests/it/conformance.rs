//! The promise of the store: what it gives back is the fold of all records ever committed.

use crate::fixtures::{
    Home, abandoned, account, account_id, at, attempt, awaiting_revenue, bid_id, bid_profile, call, call_id,
    converted, deposit, event, on_every_store, open_account, revenue_lapsed, revenue_reported, ringing,
    tracking_number, unit,
};
use exchange::account::{AccountKind, AccountStatus};
use exchange::bid::BidStatus;
use exchange::bid::caps::CapGroup;
use exchange::call::CallState;
use exchange::dispute::{ChargedCall, Dispute, DisputeReason, DisputeStage};
use exchange::effect::Record;
use exchange::id::{AccountId, CapGroupId, DealId};
use exchange::ledger::money::Micros;
use exchange::schedule::ZoneName;
use exchange::snapshot::Snapshot;
use exchange::track_record::{SellerRecord, TrackRecord};
use exchange::trading_rules::{Deal, Scope, ScopedRules};
use exchange::usage::{CapOwner, Taken, Usage};
use infra::store::{CommitResult, OnDurable, StoreOptions, UnitOfWork};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof};
use proptest::test_runner::{TestRng, TestRunner};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

on_every_store!(loading_gives_the_fold_of_all_records, last_alive_is_the_latest_commit_or_heartbeat);

/// One thing that happens on the marketplace. Numbers are small so that things meet again.
#[derive(Debug, Clone)]
enum Happening {
    Account { number: u128, suspended: bool },
    TrackingNumber { number: u64, active: bool },
    BidProfile { number: u128, buyer: u128, paused: bool },
    Usage { bid: u128, day: i32, calls: u32 },
    Trading { number: u128, active: bool },
    Deposit { buyer: u128, units: i64 },
    CallMovesOn { number: u128, buyer: u128, converts: bool },
    Nothing,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        (0..6u128, any::<bool>()).prop_map(|(number, suspended)| Happening::Account { number, suspended }),
        (0..6u64, any::<bool>()).prop_map(|(number, active)| Happening::TrackingNumber { number, active }),
        (0..6u128, 0..3u128, any::<bool>()).prop_map(|(number, buyer, paused)| Happening::BidProfile {
            number,
            buyer,
            paused
        }),
        (0..6u128, 0..3i32, 0..9u32).prop_map(|(bid, day, calls)| Happening::Usage { bid, day, calls }),
        (0..3u128, any::<bool>()).prop_map(|(number, active)| Happening::Trading { number, active }),
        (0..3u128, 1..500i64).prop_map(|(buyer, units)| Happening::Deposit { buyer, units }),
        (0..8u128, 0..3u128, any::<bool>()).prop_map(|(number, buyer, converts)| Happening::CallMovesOn {
            number,
            buyer,
            converts
        }),
        Just(Happening::Nothing),
    ]
}

/// Turns happenings into units, moving each call on from where it stands: not there, ringing, connected, ended.
fn units(happenings: &[Happening]) -> Vec<UnitOfWork> {
    let mut calls: BTreeMap<u128, (u8, u128)> = BTreeMap::new();
    let mut units = Vec::new();
    for buyer in 0..3 {
        let mut account = account(buyer, AccountKind::Buyer);
        account.credit_limit_micros = Micros::units(1_000);
        units.push(open_account(account));
    }
    for (place, happening) in happenings.iter().enumerate() {
        units.push(match happening {
            Happening::Account { number, suspended } => {
                let mut account = account(10 + number, AccountKind::Seller);
                account.status = if *suspended { AccountStatus::Suspended } else { AccountStatus::Active };
                open_account(account)
            }
            Happening::TrackingNumber { number, active } => {
                let mut number = tracking_number(*number, account_id(10));
                number.active = *active;
                number.tags.insert("source".to_owned(), "search \"ads\" \u{1f4de}".to_owned());
                unit(1, vec![Record::TrackingNumber(number)])
            }
            Happening::BidProfile { number, buyer, paused } => {
                let mut bid = bid_profile(*number, account_id(*buyer), "medicare");
                bid.status = if *paused { BidStatus::Paused } else { BidStatus::Active };
                unit(1, vec![Record::BidProfile(Arc::new(bid))])
            }
            Happening::Usage { bid, day, calls } => {
                let spend_micros = Micros::units(i64::from(*calls));
                let taken = [Taken { number: *day, calls: *calls, conversions: *calls, spend_micros }; 5];
                let owner = match bid % 3 {
                    0 => CapOwner::Group(CapGroupId(bid_id(*bid).0)),
                    _ => CapOwner::Bid(bid_id(*bid)),
                };
                let mut record = TrackRecord::default();
                record.rang(at(bid + 1));
                let record = matches!(owner, CapOwner::Bid(_)).then_some(record);
                unit(1, vec![Record::Usage(Box::new(Usage { owner, taken, record }))])
            }
            Happening::Trading { number, active } => unit(1, trading(*number, *active)),
            Happening::Deposit { buyer, units } => {
                deposit(account_id(*buyer), &format!("wire:{place}"), Micros::units(*units))
            }
            Happening::CallMovesOn { number, buyer, converts } => {
                let (stage, buyer) = calls.entry(*number).or_insert((0, *buyer));
                *stage += 1;
                move_on(*number, *stage, account_id(*buyer), *converts)
            }
            Happening::Nothing => UnitOfWork::default(),
        });
    }
    units
}

/// A deal, a cap group, rules and a seller's record, all under one small number.
fn trading(number: u128, active: bool) -> Vec<Record> {
    let deal = Deal {
        id: DealId(bid_id(number).0),
        name: "a deal".to_owned(),
        active,
        seller: account_id(10),
        vertical: None,
        buyers: [account_id(number)].into(),
        floor_micros: Micros::units(5),
        first_look: active,
    };
    let group = CapGroup {
        id: CapGroupId(bid_id(number).0),
        buyer: account_id(number),
        name: "a group".to_owned(),
        time_zone: ZoneName::default(),
        concurrent_calls: active.then_some(3),
        limits: Vec::new(),
    };
    let scope = match number {
        0 => Scope::Vertical("medicare".to_owned()),
        1 => Scope::Seller(account_id(10)),
        _ => Scope::Number(tracking_number(1, account_id(10)).number),
    };
    let rules = ScopedRules { quality_adjusted: Some(active), ..ScopedRules::none(scope) };
    let record = SellerRecord { ended: u16::from(active), ..SellerRecord::default() };
    vec![
        Record::Deal(deal),
        Record::CapGroup(group),
        Record::TradingRules(Box::new(rules)),
        Record::SellerRecord(account_id(10 + number), record),
        Record::Dispute(Box::new(dispute(number, active))),
    ]
}

/// A dispute, open or decided, of a call that is not among those that move on.
fn dispute(number: u128, is_open: bool) -> Dispute {
    let charged = ChargedCall {
        call: call_id(1_000 + number),
        bid: bid_id(number),
        buyer: account_id(number),
        seller: account_id(10),
        payout_micros: Micros::units(7),
        margin_micros: Micros::units(3),
        ended_at: at(number),
    };
    let decided = DisputeStage::Rejected { decided_at: at(number + 1) };
    let stage = if is_open { DisputeStage::Open } else { decided };
    let (reason, note) = (DisputeReason::Spam, Some("a recorded voice".to_owned()));
    Dispute { charged, reason, note, disputed_at: at(number), stage }
}

fn move_on(number: u128, stage: u8, buyer: AccountId, converts: bool) -> UnitOfWork {
    match (stage, converts) {
        (1, _) => ringing(number, buyer),
        (2, _) => {
            let connected = CallState::Connected {
                attempt: attempt(1, buyer, at(number)),
                answered_at: at(number).plus_ms(3_000),
                fallbacks: Vec::new(),
                recoveries: 0,
            };
            unit(number, vec![Record::Call(Box::new(call(number, connected))), event(call_id(number))])
        }
        (3, _) if number % 2 == 1 => awaiting_revenue(number, buyer),
        (3, true) => converted(number, buyer),
        (3, false) => abandoned(number, buyer),
        (4, true) if number % 2 == 1 => revenue_reported(number, buyer),
        (4, false) if number % 2 == 1 => revenue_lapsed(number, buyer),
        _ => UnitOfWork::default(),
    }
}

/// What the store must give back.
pub(crate) fn fold(units: &[UnitOfWork]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for unit in units {
        unit.records.iter().for_each(|record| snapshot.apply(record));
        let at = unit.journal.as_ref().map(|entry| entry.at);
        snapshot.last_alive_at = snapshot.last_alive_at.max(at.unwrap_or_default());
    }
    snapshot
}

fn loading_gives_the_fold_of_all_records(new_home: fn() -> Home) {
    let config = ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() };
    let seeded = TestRng::deterministic_rng(config.rng_algorithm);
    let histories = (proptest::collection::vec(happening(), 0..60), 1..20usize);
    let folds = TestRunner::new_with_rng(config, seeded).run(&histories, |(happenings, group_max)| {
        loads_the_fold(&new_home(), &units(&happenings), group_max);
        Ok(())
    });
    if let Err(error) = folds {
        panic!("{error}");
    }
}

fn loads_the_fold(home: &Home, units: &[UnitOfWork], group_max: usize) {
    let store = home.open_with(&StoreOptions { group_max, ..StoreOptions::default() });
    let told = Arc::new(Mutex::new(Vec::new()));
    for (place, unit) in units.iter().enumerate() {
        let told = Arc::clone(&told);
        let on_durable = OnDurable::new(move |result| told.lock().expect("no panic").push((place, result)));
        store.writer().submit(unit.clone(), on_durable).expect("the queue has room");
    }
    drop(store);
    let in_order: Vec<_> = (0..units.len()).map(|place| (place, CommitResult::Durable)).collect();
    assert_eq!(*told.lock().expect("no panic"), in_order);

    let store = home.open();
    assert_eq!(store.load().expect("the store loads"), fold(units));
    let report = store.reader().verify().expect("the audit runs");
    assert_eq!(report.violations, Vec::<String>::new());
    let journalled = units.iter().filter(|unit| unit.journal.is_some()).count();
    assert_eq!(report.journal_entries, journalled as u64);
}

fn last_alive_is_the_latest_commit_or_heartbeat(new_home: fn() -> Home) {
    let home = new_home();
    let store = home.open();
    store.writer().commit(open_account(account(1, AccountKind::Seller))).expect("sound");
    store.writer().heartbeat(at(70));
    store.writer().heartbeat(at(60));
    drop(store);
    assert_eq!(home.open().load().expect("the store loads").last_alive_at, at(70));
}
