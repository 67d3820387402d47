//! What makes the demo's marketplace more than first price for everybody: trading rules by vertical, live bids, a deal.

use super::bidders::BIDDERS;
use crate::failure::Failure;
use crate::marketplace::Marketplace;
use exchange::account::{Account, AccountKind, AccountStatus};
use exchange::auction::clear::AuctionType;
use exchange::bid::live::{AnswerMapping, CallerDisclosure, HttpTarget, LiveBidder, LiveVia};
use exchange::bid::{BidProfile, BidStatus, Caps, Price};
use exchange::effect::Command;
use exchange::id::{AccountId, BidProfileId, DealId};
use exchange::ledger::money::Micros;
use exchange::routing::Algorithm;
use exchange::trading_rules::{Deal, Scope, ScopedRules};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use uuid::Uuid;

/// How long live bidders have, in milliseconds.
const DEADLINE_MS: u32 = 60;
/// The most a live bidder may answer, in dollars.
pub(super) const LIVE_MOST: i64 = 150;
/// What sellers are known to have agreed with buyers beside the open auction.
const DEAL: &str = "medicare";

/// The trading rules, the deal and what live bidders pay in, to be told to an exchange that knows the accounts.
pub(super) fn commands(marketplace: &Marketplace) -> Vec<Command> {
    let rules = [
        ScopedRules {
            auction_type: Some(AuctionType::SecondPrice),
            floor_micros: Some(Micros::units(20)),
            increment_micros: Some(Micros(500_000)),
            ..of_vertical("medicare")
        },
        ScopedRules { quality_adjusted: Some(true), ..of_vertical("auto_insurance") },
        ScopedRules { algorithm: Some(Algorithm::Predictive), ..of_vertical("home_services") },
    ];
    let rules = rules.into_iter().map(|rules| Command::PutTradingRules { rules: Box::new(rules) });
    let live = marketplace.bids.iter().filter(|bid| bid.live.is_some());
    let deposits = live.map(|bid| Command::Deposit {
        account: bid.buyer,
        amount_micros: Micros::units(100 * LIVE_MOST),
        reference: format!("for {}", bid.name),
    });
    rules.chain(deal(marketplace).map(|deal| Command::PutDeal { deal })).chain(deposits).collect()
}

fn of_vertical(name: &str) -> ScopedRules {
    ScopedRules {
        bidding_deadline_ms: Some(DEADLINE_MS),
        ..ScopedRules::none(Scope::Vertical(name.to_owned()))
    }
}

/// The seller with most numbers in the vertical shows its calls to two buyers first.
fn deal(marketplace: &Marketplace) -> Option<Deal> {
    let mut numbers: BTreeMap<AccountId, u32> = BTreeMap::new();
    for number in marketplace.numbers.iter().filter(|number| number.vertical == DEAL) {
        *numbers.entry(number.seller).or_default() += 1;
    }
    let is_active = |id: &AccountId| {
        marketplace.accounts.iter().any(|it| it.id == *id && it.status == AccountStatus::Active)
    };
    let (seller, _) = numbers.into_iter().filter(|(id, _)| is_active(id)).max_by_key(|(_, count)| *count)?;
    Some(Deal {
        id: DealId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001)),
        name: "First look for two".to_owned(),
        active: true,
        seller,
        vertical: Some(DEAL.to_owned()),
        buyers: buyers(marketplace, DEAL).iter().rev().take(2).map(|buyer| buyer.id).collect(),
        floor_micros: Micros::units(15),
        first_look: true,
    })
}

/// Active buyers of a vertical, in the order they came.
fn buyers<'a>(marketplace: &'a Marketplace, vertical: &str) -> Vec<&'a Account> {
    let bidding: BTreeSet<AccountId> =
        marketplace.bids.iter().filter(|bid| bid.vertical == vertical).map(|bid| bid.buyer).collect();
    let accounts = marketplace.accounts.iter();
    accounts
        .filter(|it| it.kind == AccountKind::Buyer && it.status == AccountStatus::Active)
        .filter(|it| bidding.contains(&it.id))
        .collect()
}

/// One live bid for each bidder: of a buyer of its vertical, for calls to one of that buyer's call centres.
pub(super) fn live_bids(
    marketplace: &Marketplace,
    addresses: &[SocketAddr],
) -> Result<Vec<BidProfile>, Failure> {
    let mut bids = Vec::with_capacity(BIDDERS.len());
    for (nth, ((vertical, _), address)) in BIDDERS.iter().zip(addresses).enumerate() {
        let buyers = buyers(marketplace, vertical);
        let standing = buyers
            .get(nth)
            .and_then(|buyer| marketplace.bids.iter().find(|bid| bid.buyer == buyer.id))
            .ok_or_else(|| Failure::found(format!("too few buyers of {vertical} to play live bidders")))?;
        bids.push(live_bid(nth, standing, address));
    }
    Ok(bids)
}

fn live_bid(nth: usize, standing: &BidProfile, address: &SocketAddr) -> BidProfile {
    let target = HttpTarget {
        url: format!("http://{address}/bid"),
        headers: BTreeMap::new(),
        body: None,
        answer: AnswerMapping::default(),
        notice_url: None,
    };
    let live = LiveBidder {
        via: LiveVia::Http(target),
        timeout_ms: None,
        requests_per_s: Some(1_000),
        in_flight_max: None,
        caller: CallerDisclosure::Token,
    };
    let price = Price::PerCall { amount_micros: Micros::units(LIVE_MOST) };
    let id = BidProfileId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0001_0000 + nth as u128));
    BidProfile {
        name: format!("live {}", nth + 1),
        status: BidStatus::Active,
        conversion: standing.conversion,
        caps: Caps { concurrent_calls: Some(8), ..Caps::default() },
        ring_timeout_ms: standing.ring_timeout_ms,
        max_call_s: standing.max_call_s,
        live: Some(Box::new(live)),
        ..BidProfile::new(id, standing.buyer, &standing.vertical, price, standing.destination.clone())
    }
}
