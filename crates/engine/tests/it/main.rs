//! The engine over a real store: what is decided is written, and comes back after a restart.

use engine::{CommandError, Engine, EngineConfig, EngineThread, LiveBidders, Owner, Recovery};
use exchange::account::{Account, AccountKind};
use exchange::audit::Actor;
use exchange::bid::{BidProfile, Destination, Price};
use exchange::call::{Arrival, CallState, Outcome, Stated};
use exchange::compliance::screening::Screening;
use exchange::effect::{Action, Command, Input};
use exchange::id::{AccountId, BidProfileId, CallId};
use exchange::ledger::money::Micros;
use exchange::ledger::transfer::LedgerAccount;
use exchange::phone_number::CallerId;
use exchange::ping::{PingAnswer, PingRequest};
use exchange::policy::Policy;
use exchange::snapshot::Snapshot;
use exchange::time::Timestamp;
use exchange::tracking_number::{CallOrigin, TrackingNumber};
use infra::store::{Store, StoreOptions, UnitOfWork};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use uuid::Uuid;

const BUYER: AccountId = AccountId(Uuid::from_u128(1));
const SELLER: AccountId = AccountId(Uuid::from_u128(2));

/// A running exchange without telephony: the test plays that part.
struct Exchange {
    store: Store,
    engine: Engine,
    thread: EngineThread,
    actions: UnboundedReceiver<(CallId, Action)>,
}

fn start(directory: &Path) -> Exchange {
    let store = Store::open(directory, &StoreOptions::default()).expect("a store");
    let (out, actions) = unbounded_channel();
    let (engine, thread) =
        engine::start(&store, &EngineConfig::default(), Policy::default(), LiveBidders::default(), out)
            .expect("an engine");
    Exchange { store, engine, thread, actions }
}

/// One buyer with money for one call, one seller with a number, one bid.
fn market() -> [Command; 5] {
    let account = |id, kind| Account::new(id, kind, "Acme", Timestamp(1));
    let number = TrackingNumber {
        number: "+18005550100".parse().expect("a number"),
        seller: SELLER,
        vertical: "roofing".to_owned(),
        origin: CallOrigin::OrganicInbound,
        floor_micros: Micros::ZERO,
        payout_basis_points: 7_000,
        language: None,
        tags: BTreeMap::new(),
        active: true,
    };
    let price = Price::PerCall { amount_micros: Micros::units(30) };
    let destination = Destination::of("sip:roofs@127.0.0.1:5090");
    let bid = BidProfile {
        ring_timeout_ms: Some(1_000),
        max_call_s: Some(60),
        ..BidProfile::new(BidProfileId(Uuid::from_u128(3)), BUYER, "roofing", price, destination)
    };
    [
        Command::OpenAccount { account: account(BUYER, AccountKind::Buyer) },
        Command::OpenAccount { account: account(SELLER, AccountKind::Seller) },
        Command::PutTrackingNumber { number },
        Command::PutBidProfile { bid: Box::new(bid) },
        Command::Deposit { account: BUYER, amount_micros: Micros::units(50), reference: "wire".to_owned() },
    ]
}

async fn load_market(engine: &Engine) {
    for command in market() {
        engine.command(command, Actor::CommandLine).await.expect("a valid command");
    }
}

fn the_call() -> Arrival {
    Arrival {
        called: "+18005550100".parse().expect("a number"),
        caller: CallerId::from_user_part("+12125550101"),
        trunk: "carrier".to_owned(),
        stated: Stated::default(),
    }
}

fn arrival() -> Input {
    Input::Arrived(the_call())
}

fn ping(expires_in_ms: u64) -> PingRequest {
    PingRequest { arrival: the_call(), expires_in_ms: Some(expires_in_ms) }
}

/// What a crash would leave of an exchange's directory: the files as they are now.
fn copy_of(directory: &Path) -> TempDir {
    let copy = tempfile::tempdir().expect("a directory");
    for file in std::fs::read_dir(directory).expect("readable") {
        let file = file.expect("readable");
        std::fs::copy(file.path(), copy.path().join(file.file_name())).expect("copied");
    }
    copy
}

async fn next_action(exchange: &mut Exchange) -> Action {
    exchange.actions.recv().await.expect("the engine runs").1
}

#[tokio::test]
async fn a_call_is_written_before_its_target_rings() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut exchange = start(directory.path());
    load_market(&exchange.engine).await;
    let call = CallId(Uuid::from_u128(77));

    exchange.engine.call(call, arrival()).expect("room");
    assert!(matches!(next_action(&mut exchange).await, Action::RingTarget { attempt: 1, .. }));
    let stored = exchange.store.reader().call(call).expect("readable").expect("already on disk");
    assert!(matches!(stored.state, CallState::Ringing { .. }));
    let receipt = exchange.store.reader().receipt(call).expect("readable").expect("a receipt");
    assert!(receipt.decided_in_ns.is_some());

    assert!(matches!(next_action(&mut exchange).await, Action::StartRingTimer { .. }));
    exchange.engine.call(call, Input::TargetAnswered { attempt: 1 }).expect("room");
    assert!(matches!(next_action(&mut exchange).await, Action::ConnectCaller { attempt: 1 }));
    exchange.thread.stop();
    drop(exchange.store);

    let reader = Store::open_read_only(directory.path()).expect("the books");
    assert_eq!(reader.verify().expect("an audit").violations, Vec::<String>::new());
    let ended = reader.call(call).expect("readable").expect("the call");
    assert!(matches!(ended.state, CallState::Ended { outcome: Outcome::Converted { .. }, .. }), "{ended:?}");
}

#[tokio::test]
async fn a_target_that_rings_out_is_cancelled_by_the_timer() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut exchange = start(directory.path());
    load_market(&exchange.engine).await;
    exchange.engine.call(CallId(Uuid::from_u128(7)), arrival()).expect("room");
    for _ in 0..2 {
        next_action(&mut exchange).await;
    }
    assert_eq!(next_action(&mut exchange).await, Action::CancelTarget { attempt: 1 });
    exchange.thread.stop();
}

#[tokio::test]
async fn a_call_open_at_a_crash_is_closed_at_the_next_start() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut exchange = start(directory.path());
    load_market(&exchange.engine).await;
    let call = CallId(Uuid::from_u128(7));
    exchange.engine.call(call, arrival()).expect("room");
    next_action(&mut exchange).await;
    let copy = copy_of(directory.path());
    exchange.thread.stop();

    let restarted = start(copy.path());
    assert_eq!(restarted.engine.status().live_calls, 0);
    restarted.thread.stop();
    let reader = restarted.store.reader();
    let closed = reader.call(call).expect("readable").expect("the call");
    assert!(matches!(closed.state, CallState::Ended { outcome: Outcome::Interrupted, .. }), "{closed:?}");
    drop(restarted.store);
    let books = Store::open_read_only(copy.path()).expect("the books").verify().expect("an audit");
    assert_eq!(books.violations, Vec::<String>::new());
}

/// Its call comes to the exchange that was started again, and takes what the ping had reserved: the buyer has money for one call.
async fn redeem(directory: &Path, ping: CallId) {
    let mut restarted = start(directory);
    let status = restarted.engine.status();
    assert_eq!((status.live_calls, status.pings), (0, 1));
    let call = CallId(Uuid::from_u128(8));
    restarted.engine.call(call, arrival()).expect("room");
    assert!(matches!(next_action(&mut restarted).await, Action::RingTarget { attempt: 1, .. }));
    restarted.thread.stop();
    let reader = restarted.store.reader();
    let redeemed = reader.call(ping).expect("readable").expect("the ping");
    let by_the_call = |outcome: &Outcome| *outcome == Outcome::Redeemed { by: call };
    assert!(
        matches!(&redeemed.state, CallState::Ended { outcome, .. } if by_the_call(outcome)),
        "{redeemed:?}"
    );
    let receipt = reader.receipt(call).expect("readable").expect("a receipt");
    assert_eq!(receipt.auction.expect("an auction").reservation, Some(ping));
    drop(restarted.store);
    let books = Store::open_read_only(directory).expect("the books").verify().expect("an audit");
    assert_eq!((books.violations, books.open_holds), (Vec::new(), 0));
}

#[tokio::test]
async fn a_reservation_outlives_a_crash_and_a_shutdown() {
    let directory = tempfile::tempdir().expect("a directory");
    let exchange = start(directory.path());
    load_market(&exchange.engine).await;
    let asked = CallId(Uuid::from_u128(7));
    let answer = exchange.engine.ping(asked, ping(120_000)).await.expect("room");
    assert!(matches!(answer, PingAnswer::Reserved(_)), "{answer:?}");
    let crashed = copy_of(directory.path());
    exchange.thread.stop();
    drop(exchange.store);

    redeem(crashed.path(), asked).await;
    redeem(directory.path(), asked).await;
}

#[test]
fn a_reservation_kept_over_a_restart_runs_out_when_it_was_promised_to() {
    let screening = Arc::new(Screening::new(Policy::default().screening).expect("the shipped rules"));
    let recover = |snapshot: &Snapshot, now| {
        Owner::recover(snapshot.clone(), Policy::default(), Arc::clone(&screening), now)
    };
    let mut on_disk = Snapshot::default();
    let write = |on_disk: &mut Snapshot, unit: UnitOfWork| {
        unit.records.iter().for_each(|record| on_disk.apply(record));
    };
    let start = Timestamp(1_782_925_200_000_000);
    let mut owner = recover(&on_disk, start).owner;
    for command in market() {
        write(&mut on_disk, owner.command(command, Actor::CommandLine, start).expect("a valid command"));
    }
    let asked = CallId(Uuid::from_u128(7));
    write(&mut on_disk, owner.call(asked, Input::Pinged(ping(60_000)), start).expect("a new ping").unit);
    let held = LedgerAccount::Held(BUYER);
    assert_eq!(on_disk.balances[&held], Micros::units(30));

    let Recovery { mut owner, units, .. } = recover(&on_disk, start.plus_ms(20_000));
    assert!(units.is_empty(), "nothing was closed: {units:?}");
    assert_eq!(owner.next_due(), Some(start.plus_ms(60_000)));
    let expired = owner.due(start.plus_ms(60_000)).expect("its timer");
    assert_eq!(expired, (asked, Input::ReservationExpired));
    write(&mut on_disk, owner.call(asked, expired.1, start.plus_ms(60_000)).expect("an open ping").unit);
    assert_eq!((on_disk.balances[&held], on_disk.open_calls.len()), (Micros::ZERO, 0));
}

#[tokio::test]
async fn a_revenue_is_awaited_over_a_restart_and_no_longer_than_agreed() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut exchange = start(directory.path());
    load_market(&exchange.engine).await;
    let price = Price::RevenueShare {
        share_basis_points: 1_500,
        min_micros: Micros::units(5),
        max_micros: Micros::units(40),
        expected_micros: Micros::units(20),
        report_within_s: 3_600,
    };
    let destination = Destination::of("sip:roofs@127.0.0.1:5090");
    let bid = BidProfile::new(BidProfileId(Uuid::from_u128(3)), BUYER, "roofing", price, destination);
    exchange
        .engine
        .command(Command::PutBidProfile { bid: Box::new(bid) }, Actor::CommandLine)
        .await
        .expect("a valid bid");
    let call = CallId(Uuid::from_u128(7));
    for input in [arrival(), Input::TargetAnswered { attempt: 1 }, Input::CallerHungUp] {
        exchange.engine.call(call, input).expect("room");
    }
    while !matches!(next_action(&mut exchange).await, Action::EndCall { .. }) {}
    exchange.thread.stop();
    drop(exchange.store);

    let reader = Store::open_read_only(directory.path()).expect("the books");
    let policy = Policy::default();
    let screening = Arc::new(Screening::new(policy.screening.clone()).expect("the shipped rules"));
    let snapshot = reader.load().expect("the books load");
    let awaited = snapshot.awaiting_revenue[&call].awaited_revenue().expect("awaited");
    let (until, held) = (awaited.report_until, awaited.held_micros);
    assert_eq!(held, Micros::units(35));
    let now = snapshot.last_alive_at;
    let Recovery { mut owner, units, .. } = Owner::recover(snapshot, policy, screening, now);
    assert_eq!((units.len(), owner.next_due()), (0, Some(until)), "it goes on waiting");
    assert_eq!(owner.due(Timestamp(until.0 - 1)), None);
    let (due, input) = owner.due(until).expect("the time is over");
    assert_eq!((due, &input), (call, &Input::RevenueWindowClosed));
    owner.call(call, input, until).expect("it lapses");
    assert_eq!(owner.book().balances().get(LedgerAccount::Held(BUYER)), Micros::ZERO);
    drop(reader);

    let restarted = start(directory.path());
    let report =
        Command::ReportRevenue { call, buyer: BUYER, revenue_micros: Micros::units(200), reference: None };
    restarted.engine.command(report, Actor::CommandLine).await.expect("in time");
    let balances = restarted.store.reader().balances(BUYER).expect("readable");
    assert_eq!((balances.held_micros, balances.available_micros), (Micros::ZERO, Micros::units(20)));
    restarted.thread.stop();
    assert_eq!(restarted.store.reader().verify().expect("an audit").violations, Vec::<String>::new());
}

#[tokio::test]
async fn a_wrong_command_names_every_field() {
    let directory = tempfile::tempdir().expect("a directory");
    let exchange = start(directory.path());
    let deposit = Command::Deposit { account: BUYER, amount_micros: Micros(-1), reference: String::new() };
    let Err(CommandError::Invalid(errors)) = exchange.engine.command(deposit, Actor::CommandLine).await
    else {
        panic!("a deposit to nobody was taken");
    };
    let fields: Vec<&str> = errors.iter().map(|error| error.field.as_ref()).collect();
    assert_eq!(fields, ["account", "amount_micros", "reference"]);
    exchange.thread.stop();
}

/// An owner of the market in memory, with one call whose target is to ring; what that asks for.
fn ringing(start: Timestamp) -> (Owner, Snapshot, CallId, Vec<Action>) {
    let screening = Arc::new(Screening::new(Policy::default().screening).expect("the shipped rules"));
    let mut owner = Owner::recover(Snapshot::default(), Policy::default(), screening, start).owner;
    let mut on_disk = Snapshot::default();
    for command in market() {
        let unit = owner.command(command, Actor::CommandLine, start).expect("a valid command");
        unit.records.iter().for_each(|record| on_disk.apply(record));
    }
    let call = CallId(Uuid::from_u128(77));
    let decided = owner.call(call, arrival(), start).expect("a new call");
    decided.unit.records.iter().for_each(|record| on_disk.apply(record));
    (owner, on_disk, call, decided.actions)
}

#[test]
fn a_target_has_its_time_from_when_it_is_rung() {
    let start = Timestamp(1_782_925_200_000_000);
    let (mut owner, _, call, actions) = ringing(start);
    assert_eq!(owner.next_due(), None, "the disk has not taken it yet");
    let let_out = start.plus_ms(5_000);
    for action in &actions {
        owner.let_out(call, action, let_out);
    }
    assert_eq!(owner.next_due(), Some(let_out.plus_ms(1_000)), "the bid's ring_timeout_ms");
}

#[test]
fn a_call_of_another_node_waits_for_it_and_goes_on() {
    let start = Timestamp(1_782_925_200_000_000);
    let (_, on_disk, call, _) = ringing(start);
    let screening = Arc::new(Screening::new(Policy::default().screening).expect("the shipped rules"));
    let later = start.plus_ms(3_000);
    let Recovery { mut owner, units, waiting } =
        Owner::take_over(on_disk, Policy::default(), screening, later);
    assert_eq!((units.len(), waiting, owner.next_due()), (0, vec![call], None));
    let resumed = owner.call(call, Input::Resumed, later).expect("an open call");
    assert!(resumed.unit.is_empty(), "nothing was decided");
    assert!(matches!(
        resumed.actions[..],
        [Action::RingTarget { attempt: 1, .. }, Action::StartRingTimer { attempt: 1, after_ms: 1_000 }]
    ));
    let answered = owner.call(call, Input::TargetAnswered { attempt: 1 }, later).expect("an open call");
    assert!(matches!(answered.actions[0], Action::ConnectCaller { attempt: 1 }));
}
