//! Matching: does this bid want, and can it take, this call, and what does it offer?

use crate::account::{Account, AccountStatus};
use crate::auction::buyers::Buyers;
use crate::auction::index::StandingBid;
use crate::bid::criteria::Attestation;
use crate::bid::price::modified;
use crate::bid::{BidStatus, Price};
use crate::fraud::score::FraudScore;
use crate::hash::FastMap;
use crate::id::AccountId;
use crate::ledger::balances::Balances;
use crate::ledger::money::{Currency, Micros};
use crate::place::{Language, State, Zip};
use crate::schedule::LocalTime;
use crate::time::Timestamp;
use crate::tracking_number::CallOrigin;
use crate::trading_rules::{Deal, TradingRules};
use crate::usage::{CapReached, Usages};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::collections::BTreeMap;

/// What bids can ask about a call, and the rules it is traded under.
#[derive(Debug, Clone, Copy)]
pub struct CallFacts<'a> {
    /// What it is about.
    pub vertical: &'a str,
    /// Whose call it is.
    pub seller: AccountId,
    /// How the consumer came to be on the line.
    pub origin: CallOrigin,
    /// The consumer's state: as stated, else that of the ZIP code, else that of the area code.
    pub state: Option<State>,
    /// The caller's area code.
    pub area_code: Option<u16>,
    /// The consumer's ZIP code.
    pub zip: Option<Zip>,
    /// The consumer's language: as stated, else that of the tracking number.
    pub language: Option<Language>,
    /// How sure the carrier is of the caller's number.
    pub attestation: Option<Attestation>,
    /// The call's tags.
    pub tags: Tags<'a>,
    /// 0 is without suspicion, 100 the most.
    pub fraud_score: FraudScore,
    /// The seller's quality, 0 to 1,000.
    pub seller_quality: u16,
    /// The rules it is traded under.
    pub rules: TradingRules,
    /// The least a bid outside any deal must be expected to bring, in micro-units.
    pub floor: Micros,
    /// The private deals it falls under; mostly none.
    pub deals: &'a [&'a Deal],
    /// The seller's currency.
    pub currency: Currency,
    /// A number drawn for the call, for algorithms that go by chance.
    pub draw: u64,
}

/// A call's tags: its own, else those of its tracking number.
#[derive(Debug, Clone, Copy)]
pub struct Tags<'a> {
    /// Sent with the call.
    pub call: &'a BTreeMap<String, String>,
    /// Those of every call to the number.
    pub number: &'a BTreeMap<String, String>,
}

impl<'a> Tags<'a> {
    /// A tag's value.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.call.get(name).or_else(|| self.number.get(name)).map(String::as_str)
    }

    /// All of them, the call's own in place of the number's.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let (call, number) = (self.call, self.number);
        let inherited = number.iter().filter(move |(name, _)| !call.contains_key(*name));
        call.iter().chain(inherited).map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl CallFacts<'_> {
    /// The deal under which this buyer's bids come, if any.
    pub fn deal_of(&self, buyer: AccountId) -> Option<&Deal> {
        self.deals.iter().copied().find(|deal| deal.buyers.contains(&buyer))
    }

    /// The least this buyer's bids must be worth: its deal's floor, or the open auction's.
    pub fn floor_for(&self, buyer: AccountId) -> Micros {
        self.deal_of(buyer).map_or(self.floor, |deal| deal.floor_micros)
    }
}

/// What the marketplace looks like at the moment of the auction.
#[derive(Debug, Clone, Copy)]
pub struct Market<'a> {
    /// Who may trade and has money, by number.
    pub buyers: &'a Buyers,
    /// Who may trade.
    pub accounts: &'a FastMap<AccountId, Account>,
    /// Who has money.
    pub balances: &'a Balances,
    /// Who has room, and what came of whose calls.
    pub usages: &'a Usages,
    /// The moment.
    pub now: Timestamp,
}

/// Why a bid is not in the route plan. Of several reasons the first in this order counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Its criteria name other call origins.
    Origin,
    /// Its criteria name other states, or the caller's is not known.
    State,
    /// Its criteria name other area codes, or the caller's is not known.
    AreaCode,
    /// Its criteria name other ZIP codes, or the consumer's is not known.
    Zip,
    /// Its criteria name other languages, or the consumer's is not known.
    Language,
    /// The carrier is less sure of the caller's number than it asks for.
    Attestation,
    /// It does not buy from this seller.
    Seller,
    /// A tag of the call is not as it asks.
    Tags,
    /// The call is more suspicious than it takes.
    FraudScore,
    /// The seller's calls are of less quality than it takes.
    SellerQuality,
    /// One of its own price modifiers rejects the call.
    Modifier,
    /// It offers less than the floor.
    BelowFloor,
    /// It offers less than the floor of its deal.
    BelowDealFloor,
    /// It is paused.
    Paused,
    /// Its target did not answer of late and is given a rest.
    Resting,
    /// Its target took this caller's last call, and duplicates go elsewhere.
    Duplicate,
    /// Its buyer's account is not active.
    BuyerNotActive,
    /// Its buyer's account has another currency.
    Currency,
    /// Its target is closed at this hour.
    Closed,
    /// Its concurrency cap is reached.
    ConcurrencyCap,
    /// A cap on calls is reached.
    #[serde(alias = "daily_calls_cap")]
    CallCap,
    /// A cap on conversions is reached.
    ConversionCap,
    /// A cap on money would be passed.
    #[serde(alias = "daily_spend_cap")]
    SpendCap,
    /// Its day's limits are spread evenly, and what has been released is taken.
    Paced,
    /// A cap of its group is reached.
    GroupCap,
    /// Its buyer cannot cover the most the call may cost.
    InsufficientFunds,
}

impl Refusal {
    /// All, in the order of the questions.
    pub const ALL: [Self; REASONS] = [
        Self::Origin,
        Self::State,
        Self::AreaCode,
        Self::Zip,
        Self::Language,
        Self::Attestation,
        Self::Seller,
        Self::Tags,
        Self::FraudScore,
        Self::SellerQuality,
        Self::Modifier,
        Self::BelowFloor,
        Self::BelowDealFloor,
        Self::Paused,
        Self::Resting,
        Self::Duplicate,
        Self::BuyerNotActive,
        Self::Currency,
        Self::Closed,
        Self::ConcurrencyCap,
        Self::CallCap,
        Self::ConversionCap,
        Self::SpendCap,
        Self::Paced,
        Self::GroupCap,
        Self::InsufficientFunds,
    ];
}

/// What a bid offers for one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// The price, modifiers applied.
    pub price: Price,
    /// What the call is expected to bring at that price, in micro-units.
    pub expected: Micros,
    /// What ranks it: the expected amount, or that times quality.
    pub score: Micros,
    /// The quality it was scored with, 0 to 1,000; absent where the price alone counts.
    pub quality: Option<u16>,
}

/// How many bids were refused, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refusals([u32; REASONS]);

/// How many reasons there are.
const REASONS: usize = Refusal::InsufficientFunds as usize + 1;

impl Refusals {
    /// Counts so many more.
    pub fn add(&mut self, reason: Refusal, count: u32) {
        self.0[reason as usize] += count;
    }

    /// Those that occurred, in the order of the questions.
    pub fn to_map(&self) -> BTreeMap<Refusal, u32> {
        Refusal::ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0).collect()
    }
}

/// One time zone, and what its clock showed when it was last read: it shows the same for the rest of the minute.
#[derive(Debug)]
pub struct ZoneClock {
    zone: TimeZone,
    shown: Cell<Option<(i64, LocalTime)>>,
}

impl ZoneClock {
    /// A clock that has not been read yet.
    pub fn new(zone: TimeZone) -> Self {
        Self { zone, shown: Cell::new(None) }
    }

    #[inline]
    fn read(&self, now: Timestamp, minute: i64) -> LocalTime {
        match self.shown.get() {
            Some((shown, local)) if shown == minute => local,
            _ => {
                let local = LocalTime::at(now, &self.zone);
                self.shown.set(Some((minute, local)));
                local
            }
        }
    }
}

/// The wall clocks of the targets' time zones at one moment.
#[derive(Debug, Clone, Copy)]
pub struct WallClocks<'a> {
    zones: &'a [ZoneClock],
    now: Timestamp,
    /// The minute since 1970: offsets of time zones change on whole minutes.
    minute: i64,
}

impl<'a> WallClocks<'a> {
    /// Clocks for these zones.
    pub fn new(zones: &'a [ZoneClock], now: Timestamp) -> Self {
        Self { zones, now, minute: now.0.div_euclid(60_000_000) }
    }

    /// What the clock of one zone shows.
    #[inline]
    pub fn read(&self, zone: usize) -> LocalTime {
        self.zones[zone].read(self.now, self.minute)
    }

    /// The minute since 1970 in which they are read.
    pub fn minute(&self) -> i64 {
        self.minute
    }
}

/// What a bid offers for this call, or the first reason why it does not. Cheap questions come first.
pub fn offer(
    slot: usize,
    standing: &StandingBid,
    call: &CallFacts,
    market: &Market,
    clocks: &WallClocks,
) -> Result<Offer, Refusal> {
    if let Some(refusal) = standing.profile.criteria.refusal(call) {
        return Err(refusal);
    }
    let profile = &standing.profile;
    let price = modified(profile.price, &profile.modifiers, call).ok_or(Refusal::Modifier)?;
    priced_offer(slot, standing, price, call, market, clocks)
}

/// The same for a price that is already known: a live bidder's answer.
pub fn priced_offer(
    slot: usize,
    standing: &StandingBid,
    price: Price,
    call: &CallFacts,
    market: &Market,
    clocks: &WallClocks,
) -> Result<Offer, Refusal> {
    let expected = price.expected(standing.typical_call_ms);
    match call.deal_of(standing.profile.buyer) {
        Some(deal) if expected < deal.floor_micros => return Err(Refusal::BelowDealFloor),
        None if expected < call.floor => return Err(Refusal::BelowFloor),
        _ => {}
    }
    let hold = price.most(standing.max_call_s);
    if let Some(refusal) = standing_refusal(slot, standing, hold, call, market, clocks) {
        return Err(refusal);
    }
    let quality = call.rules.quality_adjusted.then(|| market.usages.record(slot).quality());
    let score = quality.map_or(expected, |quality| weighted(expected, quality));
    Ok(Offer { price, expected, score, quality })
}

/// `expected * quality / 1000`: never more than what is expected, which is where the index looks for it.
pub fn weighted(expected: Micros, quality: u16) -> Micros {
    let weighted = i128::from(expected.0) * i128::from(quality) / 1_000;
    Micros(i64::try_from(weighted).expect("at most what is expected"))
}

/// Why a bid that wants the call cannot take it now.
pub fn standing_refusal(
    slot: usize,
    standing: &StandingBid,
    hold: Micros,
    call: &CallFacts,
    market: &Market,
    clocks: &WallClocks,
) -> Option<Refusal> {
    let profile = &standing.profile;
    if profile.status != BidStatus::Active {
        return Some(Refusal::Paused);
    }
    if market.usages.is_resting(slot, market.now) {
        return Some(Refusal::Resting);
    }
    let Some(buyer) =
        market.accounts.get(&profile.buyer).filter(|buyer| buyer.status == AccountStatus::Active)
    else {
        return Some(Refusal::BuyerNotActive);
    };
    if buyer.currency != call.currency {
        return Some(Refusal::Currency);
    }
    let local = clocks.read(standing.zone);
    if !profile.schedule.is_open(&local) {
        return Some(Refusal::Closed);
    }
    if let Err(cap) = market.usages.check(slot, profile, &local, hold, market.now) {
        return Some(cap_refusal(cap));
    }
    let funds = market.balances.can_hold(profile.buyer, buyer.credit_limit_micros, hold);
    funds.is_err().then_some(Refusal::InsufficientFunds)
}

/// The reason that a cap is.
pub fn cap_refusal(cap: CapReached) -> Refusal {
    match cap {
        CapReached::ConcurrentCalls => Refusal::ConcurrencyCap,
        CapReached::Calls => Refusal::CallCap,
        CapReached::Conversions => Refusal::ConversionCap,
        CapReached::Spend => Refusal::SpendCap,
        CapReached::Paced => Refusal::Paced,
        CapReached::Group => Refusal::GroupCap,
    }
}
