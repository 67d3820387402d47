//! A small, tight marketplace for one seed: little money, low caps, so that every limit is met.

use exchange::account::{Account, AccountKind, AccountStatus};
use exchange::bid::caps::{Limit, Period};
use exchange::bid::{BidProfile, BidStatus, Caps, Conversion, Destination, Price};
use exchange::effect::Command;
use exchange::id::{AccountId, BidProfileId};
use exchange::ledger::money::{Currency, Micros};
use exchange::schedule::ZoneName;
use exchange::time::Timestamp;
use exchange::tracking_number::{CallOrigin, TrackingNumber};
use fastrand::Rng;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use uuid::Uuid;

const SELLER: AccountId = AccountId(Uuid::from_u128(1));

/// The number every simulated caller dials.
pub(super) const CALLED: &str = "+18005550100";

fn buyer(index: u64) -> AccountId {
    AccountId(Uuid::from_u128(100 + u128::from(index)))
}

/// Everything that opens the marketplace, in order. Each bid's calls go to the user part `t<bid>` at `targets`.
pub(super) fn commands(rng: &mut Rng, targets: SocketAddr, now: Timestamp) -> Vec<Command> {
    let buyers = rng.u64(2..=5);
    let bids = rng.u64(3..=10);
    let mut commands = vec![open(SELLER, AccountKind::Seller, 0, now)];
    for index in 0..buyers {
        let credit = if rng.bool() { 0 } else { rng.i64(0..80_000_000) };
        commands.push(open(buyer(index), AccountKind::Buyer, credit, now));
        commands.push(deposit(index, rng));
    }
    commands.push(Command::PutTrackingNumber {
        number: TrackingNumber {
            number: CALLED.parse().expect("a number"),
            seller: SELLER,
            vertical: "roofing".to_owned(),
            origin: CallOrigin::OrganicInbound,
            floor_micros: Micros::units(1),
            payout_basis_points: rng.u16(0..=10_000),
            language: None,
            tags: BTreeMap::new(),
            active: true,
        },
    });
    commands.extend((0..bids).map(|index| bid(index, rng.u64(..buyers), targets, rng)));
    commands
}

fn open(id: AccountId, kind: AccountKind, credit: i64, opened_at: Timestamp) -> Command {
    Command::OpenAccount {
        account: Account {
            id,
            kind,
            name: "a trader".to_owned(),
            status: AccountStatus::Active,
            time_zone: ZoneName::default(),
            currency: Currency::USD,
            credit_limit_micros: Micros(credit),
            opened_at,
        },
    }
}

/// A deposit of some buyer; its reference may have been used before.
pub(super) fn deposit(index: u64, rng: &mut Rng) -> Command {
    Command::Deposit {
        account: buyer(index),
        amount_micros: Micros(rng.i64(1..200_000_000)),
        reference: format!("wire-{}", rng.u8(..8)),
    }
}

/// A bid being paused or resumed.
pub(super) fn toggle(rng: &mut Rng) -> Command {
    let bid = BidProfileId(Uuid::from_u128(1_000 + u128::from(rng.u64(..10))));
    let status = if rng.bool() { BidStatus::Active } else { BidStatus::Paused };
    Command::SetBidStatus { bid, status }
}

fn bid(index: u64, owner: u64, targets: SocketAddr, rng: &mut Rng) -> Command {
    let price = if rng.bool() {
        Price::PerCall { amount_micros: Micros(rng.i64(2_000_000..40_000_000)) }
    } else {
        Price::PerMinute {
            rate_micros: Micros(rng.i64(500_000..6_000_000)),
            first_increment_s: rng.u32(..=60),
            next_increment_s: rng.u32(1..=60),
        }
    };
    let mut maybe = |most: u32| rng.bool().then(|| rng.u32(1..=most));
    let caps = Caps {
        concurrent_calls: maybe(6),
        limits: [
            maybe(20).map(|calls| Limit::calls(Period::Day, calls)),
            maybe(200).map(|units| Limit::spend(Period::Day, Micros::units(i64::from(units)))),
        ]
        .into_iter()
        .flatten()
        .collect(),
        ..Caps::default()
    };
    let id = BidProfileId(Uuid::from_u128(1_000 + u128::from(index)));
    let destination = Destination::of(format!("sip:t{index}@{targets}"));
    Command::PutBidProfile {
        bid: Box::new(BidProfile {
            name: format!("bid {index}"),
            conversion: Conversion { min_connected_s: rng.u32(0..=90) },
            caps,
            priority: rng.u8(1..=3),
            ring_timeout_ms: Some(rng.u64(2_000..40_000)),
            max_call_s: Some(rng.u32(90..=600)),
            ..BidProfile::new(id, buyer(owner), "roofing", price, destination)
        }),
    }
}
