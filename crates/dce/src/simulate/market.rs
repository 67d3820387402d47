//! A small, tight marketplace for one seed: little money, low caps, so that every limit is met; two sellers, so that rules
//! and deals differ from call to call.

use exchange::account::{Account, AccountKind, AccountStatus};
use exchange::auction::clear::AuctionType;
use exchange::bid::caps::{CapGroup, Limit, Period};
use exchange::bid::live::{CallerDisclosure, LiveBidder, LiveVia};
use exchange::bid::{BidProfile, BidStatus, Caps, Conversion, Destination, Price};
use exchange::effect::Command;
use exchange::id::{AccountId, BidProfileId, CapGroupId, DealId};
use exchange::ledger::money::Micros;
use exchange::routing::Algorithm;
use exchange::schedule::ZoneName;
use exchange::time::Timestamp;
use exchange::tracking_number::{CallOrigin, TrackingNumber};
use exchange::trading_rules::{Deal, DuplicateRouting, Duplicates, Protection, Recovery, Scope, ScopedRules};
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use uuid::Uuid;

/// The numbers simulated callers dial, each its own seller's.
pub(super) const NUMBERS: [&str; 2] = ["+18005550100", "+18005550101"];
const VERTICAL: &str = "roofing";
const BUYERS_MIN: u64 = 2;
const DEALS: u64 = 2;

fn seller(index: usize) -> AccountId {
    AccountId(Uuid::from_u128(1 + index as u128))
}

fn buyer(index: u64) -> AccountId {
    AccountId(Uuid::from_u128(100 + u128::from(index)))
}

fn bid_id(index: u64) -> BidProfileId {
    BidProfileId(Uuid::from_u128(1_000 + u128::from(index)))
}

fn group_id(buyer: u64) -> CapGroupId {
    CapGroupId(Uuid::from_u128(10_000 + u128::from(buyer)))
}

/// Everything that opens the marketplace, in order. Each bid's calls go to the user part `t<bid>` at `targets`.
pub(super) fn commands(rng: &mut Rng, targets: SocketAddr, now: Timestamp) -> Vec<Command> {
    let buyers = rng.u64(BUYERS_MIN..=5);
    let bids = rng.u64(3..=12);
    let mut commands = Vec::new();
    for (index, number) in NUMBERS.into_iter().enumerate() {
        let account = Account::new(seller(index), AccountKind::Seller, "a seller", now);
        commands.push(Command::OpenAccount { account });
        commands.push(Command::PutTrackingNumber { number: tracking_number(index, number, rng) });
    }
    for index in 0..buyers {
        let credit = if rng.bool() { 0 } else { rng.i64(0..80_000_000) };
        let account = Account::new(buyer(index), AccountKind::Buyer, "a buyer", now);
        commands.push(Command::OpenAccount {
            account: Account { credit_limit_micros: Micros(credit), ..account },
        });
        commands.push(deposit(index, rng));
        commands.push(Command::PutCapGroup { group: cap_group(index, rng) });
    }
    commands.extend((0..bids).map(|index| bid(index, rng.u64(..buyers), targets, rng)));
    commands.extend((0..rng.u64(..=DEALS)).map(|index| deal(index, rng)));
    commands.extend((0..rng.u64(..4)).map(|_| rules(rng)));
    commands
}

/// A change of the marketplace while it trades. Some are refused, such as a pause of a bid that was never placed.
pub(super) fn change(rng: &mut Rng) -> Command {
    match rng.u8(..8) {
        0 | 1 => {
            let status = if rng.bool() { BidStatus::Active } else { BidStatus::Paused };
            Command::SetBidStatus { bid: bid_id(rng.u64(..12)), status }
        }
        2 | 3 => deposit(rng.u64(..BUYERS_MIN), rng),
        4 => {
            let status = if rng.bool() { AccountStatus::Active } else { AccountStatus::Suspended };
            Command::SetAccountStatus { account: buyer(rng.u64(..BUYERS_MIN)), status }
        }
        5 => deal(rng.u64(..DEALS), rng),
        _ => rules(rng),
    }
}

fn tracking_number(index: usize, number: &str, rng: &mut Rng) -> TrackingNumber {
    TrackingNumber {
        number: number.parse().expect("a number"),
        seller: seller(index),
        vertical: VERTICAL.to_owned(),
        origin: CallOrigin::OrganicInbound,
        floor_micros: Micros::units(1),
        payout_basis_points: rng.u16(0..=10_000),
        language: None,
        tags: BTreeMap::new(),
        active: true,
    }
}

/// A deposit of some buyer; its reference may have been used before.
fn deposit(index: u64, rng: &mut Rng) -> Command {
    Command::Deposit {
        account: buyer(index),
        amount_micros: Micros(rng.i64(1..200_000_000)),
        reference: format!("wire-{}", rng.u8(..8)),
    }
}

fn cap_group(index: u64, rng: &mut Rng) -> CapGroup {
    CapGroup {
        id: group_id(index),
        buyer: buyer(index),
        name: "a group".to_owned(),
        time_zone: ZoneName::default(),
        concurrent_calls: maybe(5, rng),
        limits: daily_limits(30, 300, rng),
    }
}

fn maybe(most: u32, rng: &mut Rng) -> Option<u32> {
    rng.bool().then(|| rng.u32(1..=most))
}

fn daily_limits(most_calls: u32, most_units: u32, rng: &mut Rng) -> Vec<Limit> {
    let calls = maybe(most_calls, rng).map(|calls| Limit::calls(Period::Day, calls));
    let spend =
        maybe(most_units, rng).map(|units| Limit::spend(Period::Day, Micros::units(i64::from(units))));
    calls.into_iter().chain(spend).collect()
}

fn deal(index: u64, rng: &mut Rng) -> Command {
    Command::PutDeal {
        deal: Deal {
            id: DealId(Uuid::from_u128(20_000 + u128::from(index))),
            name: "a deal".to_owned(),
            active: rng.u8(..4) > 0,
            seller: seller(rng.usize(..NUMBERS.len())),
            vertical: rng.bool().then(|| VERTICAL.to_owned()),
            buyers: first_buyers(rng),
            floor_micros: Micros(rng.i64(0..20_000_000)),
            first_look: rng.bool(),
        },
    }
}

/// At least one of the buyers that are there for any seed.
fn first_buyers(rng: &mut Rng) -> BTreeSet<AccountId> {
    let one = rng.u64(..BUYERS_MIN);
    (0..BUYERS_MIN).filter(|index| *index == one || rng.bool()).map(buyer).collect()
}

/// Rules of some scope, saying little or much.
fn rules(rng: &mut Rng) -> Command {
    let number = rng.usize(..NUMBERS.len());
    let scope = match rng.u8(..3) {
        0 => Scope::Vertical(VERTICAL.to_owned()),
        1 => Scope::Seller(seller(number)),
        _ => Scope::Number(NUMBERS[number].parse().expect("a number")),
    };
    let auction_type = rng.bool().then(|| {
        [AuctionType::FirstPrice, AuctionType::SecondPrice, AuctionType::FixedPrice][rng.usize(..3)]
    });
    let needs_floor = auction_type == Some(AuctionType::FixedPrice);
    let rules = ScopedRules {
        auction_type,
        floor_micros: (needs_floor || rng.bool()).then(|| Micros(rng.i64(1..12_000_000))),
        increment_micros: rng.bool().then(|| Micros(rng.i64(0..1_000_000))),
        quality_adjusted: rng.bool().then(|| rng.bool()),
        algorithm: rng.bool().then(|| ALGORITHMS[rng.usize(..ALGORITHMS.len())]),
        bidding_deadline_ms: rng.bool().then(|| [0, 5, 80, 2_000][rng.usize(..4)]),
        recovery: rng.bool().then(|| Recovery { attempts_max: rng.u8(..6), early_s: rng.u32(..60) }),
        duplicates: rng.bool().then(|| duplicates(rng)),
        protection: rng.bool().then(|| Protection {
            unanswered_per_hour: rng.u8(..4),
            unanswered_per_day: rng.u8(..6),
            rest_s: rng.u32(..600),
        }),
        ..ScopedRules::none(scope)
    };
    Command::PutTradingRules { rules: Box::new(rules) }
}

const ALGORITHMS: [Algorithm; 8] = [
    Algorithm::HighestBid,
    Algorithm::PriorityWeight,
    Algorithm::RoundRobin,
    Algorithm::Percentage,
    Algorithm::CostQuality,
    Algorithm::Skill,
    Algorithm::Nearest,
    Algorithm::Predictive,
];

fn duplicates(rng: &mut Rng) -> Duplicates {
    let windows = [0, 30, 3_600];
    let routing = [
        DuplicateRouting::Normal,
        DuplicateRouting::SameTarget,
        DuplicateRouting::OtherTarget,
        DuplicateRouting::Refuse,
    ];
    Duplicates {
        routing: routing[rng.usize(..routing.len())],
        routing_window_s: windows[rng.usize(..3)],
        charge_window_s: windows[rng.usize(..3)],
        payout_window_s: windows[rng.usize(..3)],
    }
}

fn bid(index: u64, owner: u64, targets: SocketAddr, rng: &mut Rng) -> Command {
    let is_live = rng.u8(..3) == 0;
    let price = price(is_live, rng);
    let caps = Caps {
        concurrent_calls: maybe(6, rng),
        limits: daily_limits(20, 200, rng),
        group: rng.bool().then(|| group_id(owner)),
        ..Caps::default()
    };
    let destination = Destination::of(format!("sip:t{index}@{targets}"));
    Command::PutBidProfile {
        bid: Box::new(BidProfile {
            name: format!("bid {index}"),
            conversion: Conversion { min_connected_s: rng.u32(0..=90) },
            caps,
            priority: rng.u8(1..=3),
            weight: rng.u32(1..=5),
            ring_timeout_ms: Some(rng.u64(2_000..40_000)),
            max_call_s: Some(rng.u32(90..=600)),
            live: is_live.then(|| Box::new(live_bidder(rng))),
            ..BidProfile::new(bid_id(index), buyer(owner), VERTICAL, price, destination)
        }),
    }
}

/// A live bidder bids for the call, whatever it may come to.
fn price(is_live: bool, rng: &mut Rng) -> Price {
    match rng.u8(..6) {
        0..=2 => Price::PerCall { amount_micros: Micros(rng.i64(2_000_000..40_000_000)) },
        _ if is_live => Price::PerCall { amount_micros: Micros(rng.i64(10_000_000..60_000_000)) },
        3 | 4 => Price::PerMinute {
            rate_micros: Micros(rng.i64(500_000..6_000_000)),
            first_increment_s: rng.u32(..=60),
            next_increment_s: rng.u32(1..=60),
        },
        _ => {
            let least = rng.i64(0..5_000_000);
            Price::RevenueShare {
                share_basis_points: rng.u16(1..=10_000),
                min_micros: Micros(least),
                max_micros: Micros(least + 80_000_000),
                expected_micros: Micros(least + rng.i64(1..40_000_000)),
                report_within_s: rng.u32(60..=900),
            }
        }
    }
}

fn live_bidder(rng: &mut Rng) -> LiveBidder {
    LiveBidder {
        via: LiveVia::Connection,
        timeout_ms: maybe(200, rng),
        requests_per_s: None,
        in_flight_max: None,
        caller: CallerDisclosure::default(),
    }
}
