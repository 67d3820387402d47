//! `dce bench settle`: how many calls a second can be settled durably, through the real core and the real store.

use super::ground::EmptyStore;
use super::percentiles::Percentiles;
use super::plain::{self, PlainFigures};
use crate::config::Config;
use crate::failure::Failure;
use engine::{Decided, Owner};
use exchange::account::{Account, AccountKind};
use exchange::audit::Actor;
use exchange::bid::{BidProfile, Caps, Conversion, Destination, Price};
use exchange::call::{Arrival, Stated};
use exchange::compliance::screening::Screening;
use exchange::effect::{Command, Input};
use exchange::id::{AccountId, BidProfileId, CallId};
use exchange::ledger::money::Micros;
use exchange::phone_number::CallerId;
use exchange::policy::Policy;
use exchange::snapshot::Snapshot;
use exchange::time::Timestamp;
use exchange::tracking_number::{CallOrigin, TrackingNumber};
use infra::store::{CommitResult, OnDurable, Store, UnitOfWork, Writer};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// Payout and margin.
const TRANSFERS: f64 = 2.0;
const SELLER: AccountId = AccountId(Uuid::from_u128(1));
const CALLED: &str = "+18005550100";
/// 2026-07-01T17:00:00Z.
const START: Timestamp = Timestamp(1_782_925_200_000_000);
/// How long the disk is asked for bare syncs.
const SYNC_PROBE: Duration = Duration::from_secs(2);

/// What is to be measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// Calls settled.
    pub(super) calls: usize,
    /// Settlements not yet durable, at most.
    pub(super) in_flight: usize,
    /// Buyers whose calls they are; one is a hot spot.
    pub(super) buyers: u32,
}

/// What was measured. A settlement is one unit of work: payout, margin, call, usage, two events and its journal entry.
#[derive(Debug, Serialize)]
pub(super) struct SettleFigures {
    store: &'static str,
    calls: usize,
    in_flight: usize,
    buyers: u32,
    settlements_per_s: f64,
    /// Commits of the store while it settled, each one sync of the log.
    fsyncs_per_s: f64,
    settlements_per_fsync: f64,
    /// From handing a settlement to the store until it was durable.
    p50_ms: f64,
    p99_ms: f64,
    #[serde(flatten)]
    yardstick: Yardstick,
    /// Violations found by the audit of the books afterwards.
    pub(super) violations: u64,
}

/// What the same machine does without us, in the same run.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Yardstick {
    /// One 4 KiB append and one sync after the other, in the same directory: what one sync for each settlement could
    /// reach at best.
    Syncs { bare_fsyncs_per_s: f64 },
    /// A plain schema in the same database, before and after.
    Plain(PlainFigures),
}

/// Connects `calls` calls, then settles them all, keeping `in_flight` of them waiting for the disk.
pub(super) fn run(config: &Config, load: Load) -> Result<SettleFigures, Failure> {
    let empty = EmptyStore::of(config)?;
    match &empty {
        EmptyStore::Sqlite(directory) => {
            let bare_fsyncs_per_s = bare_fsyncs_per_s(directory.path())
                .map_err(|error| Failure::environment(format!("{}: {error}", directory.path().display())))?;
            measure(load, &empty, || Ok(Yardstick::Syncs { bare_fsyncs_per_s }))
        }
        EmptyStore::Postgresql(url) => {
            let before = plain::transfers_per_s(url)?;
            measure(load, &empty, || {
                let after = plain::transfers_per_s(url)?;
                Ok(Yardstick::Plain(before.mean(&after)))
            })
        }
    }
}

fn measure(
    load: Load,
    empty: &EmptyStore,
    yardstick: impl FnOnce() -> Result<Yardstick, Failure>,
) -> Result<SettleFigures, Failure> {
    let store = &empty.open()?;
    let calls: Vec<CallId> = call_ids(load.calls);
    let mut owner = open_market(store, &load);
    for (index, call) in calls.iter().enumerate() {
        connect(&mut owner, &store.writer(), *call, index);
    }
    store.writer().commit(UnitOfWork::default())?;

    let (_, syncs_before) = store.writer().units_and_syncs();
    let started = Instant::now();
    let latencies_us = settle_all(&mut owner, &store.writer(), &calls, load.in_flight)?;
    let took_s = started.elapsed().as_secs_f64();
    let (_, syncs_after) = store.writer().units_and_syncs();
    let syncs = (syncs_after - syncs_before) as f64;
    let settlements_per_s = load.calls as f64 / took_s;
    let yardstick = match yardstick()? {
        Yardstick::Plain(plain) => Yardstick::Plain(plain.against(settlements_per_s * TRANSFERS)),
        syncs @ Yardstick::Syncs { .. } => syncs,
    };
    let violations = store.reader().verify()?.violations_total;
    let Percentiles { p50, p99, .. } = Percentiles::of(latencies_us, 1_000.0);
    Ok(SettleFigures {
        store: empty.kind(),
        calls: load.calls,
        in_flight: load.in_flight,
        buyers: load.buyers,
        settlements_per_s,
        fsyncs_per_s: syncs / took_s,
        settlements_per_fsync: load.calls as f64 / syncs.max(1.0),
        p50_ms: p50,
        p99_ms: p99,
        yardstick,
        violations,
    })
}

/// Hangs up call after call, never more than `in_flight` of them not yet durable; microseconds each took to be.
fn settle_all(
    owner: &mut Owner,
    writer: &Writer,
    calls: &[CallId],
    in_flight: usize,
) -> Result<Vec<u64>, Failure> {
    let (told, durable): (Sender<Instant>, Receiver<Instant>) = channel();
    let mut latencies_us = Vec::with_capacity(calls.len());
    let mut take = || -> Result<(), Failure> {
        let submitted = durable.recv().map_err(|_| Failure::environment("the store stopped"))?;
        latencies_us.push(u64::try_from(submitted.elapsed().as_micros()).unwrap_or(u64::MAX));
        Ok(())
    };
    for (index, call) in calls.iter().enumerate() {
        if index >= in_flight {
            take()?;
        }
        let now = START.plus_ms(100_000_000 + index as u64);
        let decided = owner.call(*call, Input::CallerHungUp, now).expect("a connected call");
        let (told, submitted) = (told.clone(), Instant::now());
        submit(writer, decided.unit, move || told.send(submitted).expect("the benchmark listens"));
    }
    for _ in 0..calls.len().min(in_flight) {
        take()?;
    }
    Ok(latencies_us)
}

pub(super) fn submit(writer: &Writer, unit: UnitOfWork, told: impl FnOnce() + Send + 'static) {
    let on_durable = OnDurable::new(move |result| {
        assert_eq!(result, CommitResult::Durable, "every unit of the benchmark can be written");
        told();
    });
    writer.submit_blocking(unit, on_durable).expect("the store runs");
}

fn connect(owner: &mut Owner, writer: &Writer, call: CallId, index: usize) {
    // A caller of its own for every call, and time between them, so that none is refused as a repeat.
    let caller = format!("+1212{:07}", 2_000_000 + index % 8_000_000);
    let arrival = Arrival {
        called: CALLED.parse().expect("a number"),
        caller: CallerId::from_user_part(&caller),
        trunk: "carrier".to_owned(),
        stated: Stated::default(),
    };
    let now = START.plus_ms(index as u64);
    for input in [Input::Arrived(arrival), Input::TargetAnswered { attempt: 1 }] {
        let Decided { unit, .. } = owner.call(call, input, now).expect("a legal input");
        submit(writer, unit, || {});
    }
}

/// Of version 7, as calls' ids are: the time is now, the rest counts.
fn call_ids(calls: usize) -> Vec<CallId> {
    let ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let id = |index| Uuid::from_u128((ms << 80) | (7 << 76) | (2 << 62) | index as u128);
    (0..calls).map(|index| CallId(id(index))).collect()
}

fn buyer(index: u128) -> AccountId {
    AccountId(Uuid::from_u128(1_000 + index))
}

fn open_market(store: &Store, load: &Load) -> Owner {
    let policy = Policy::default();
    let screening = Arc::new(Screening::new(policy.screening.clone()).expect("the shipped rules are sound"));
    let mut owner = Owner::recover(Snapshot::default(), policy, screening, START).owner;
    let account = |id, kind| Account::new(id, kind, "a trader", START);
    let number = TrackingNumber {
        number: CALLED.parse().expect("a number"),
        seller: SELLER,
        vertical: "roofing".to_owned(),
        origin: CallOrigin::OrganicInbound,
        floor_micros: Micros::ZERO,
        payout_basis_points: 7_000,
        language: None,
        tags: BTreeMap::new(),
        active: true,
    };
    let mut commands = vec![
        Command::OpenAccount { account: account(SELLER, AccountKind::Seller) },
        Command::PutTrackingNumber { number },
    ];
    for index in 0..u128::from(load.buyers) {
        let id = buyer(index);
        commands.push(Command::OpenAccount { account: account(id, AccountKind::Buyer) });
        let amount_micros = Micros::units(100_000_000);
        commands.push(Command::Deposit { account: id, amount_micros, reference: "opening".to_owned() });
        commands.push(Command::PutBidProfile { bid: Box::new(bid(index, load)) });
    }
    for command in commands {
        let unit = owner.command(command, Actor::CommandLine, START).expect("a valid command");
        submit(&store.writer(), unit, || {});
    }
    owner
}

/// Each buyer bids the same and takes its part of the calls, so that money moves in many accounts.
fn bid(index: u128, load: &Load) -> BidProfile {
    let id = BidProfileId(Uuid::from_u128(1_000_000 + index));
    let price = Price::PerCall { amount_micros: Micros::units(30) };
    let destination = Destination::of("sip:target@127.0.0.1:5090");
    let part = u32::try_from(load.calls).expect("so many are not asked for").div_ceil(load.buyers);
    BidProfile {
        conversion: Conversion { min_connected_s: 90 },
        caps: Caps { concurrent_calls: Some(part), ..Caps::default() },
        ..BidProfile::new(id, buyer(index), "roofing", price, destination)
    }
}

/// Appends and syncs one page at a time for a while.
fn bare_fsyncs_per_s(directory: &std::path::Path) -> std::io::Result<f64> {
    let mut file = std::fs::File::create(directory.join("yardstick"))?;
    let page = [0_u8; 4_096];
    let started = Instant::now();
    let mut syncs = 0_u32;
    while started.elapsed() < SYNC_PROBE {
        file.write_all(&page)?;
        file.sync_data()?;
        syncs += 1;
    }
    Ok(f64::from(syncs) / started.elapsed().as_secs_f64())
}
