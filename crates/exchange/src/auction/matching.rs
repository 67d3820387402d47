//! Matching: does this bid want, and can it take, this call?

use crate::account::{Account, AccountStatus};
use crate::auction::index::StandingBid;
use crate::bid::{BidStatus, State};
use crate::capacity::{CapReached, Capacity};
use crate::id::AccountId;
use crate::ledger::balances::Balances;
use crate::ledger::money::{Currency, Micros};
use crate::schedule::LocalTime;
use crate::time::Timestamp;
use crate::tracking_number::CallOrigin;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// What bids can ask about a call.
#[derive(Debug, Clone, Copy)]
pub struct CallFacts<'a> {
    /// What it is about.
    pub vertical: &'a str,
    /// How the consumer came to be on the line.
    pub origin: CallOrigin,
    /// The consumer's state: as stated, else that of the area code.
    pub state: Option<State>,
    /// The caller's area code.
    pub area_code: Option<u16>,
    /// The tracking number's tags.
    pub tags: &'a BTreeMap<String, String>,
    /// The least a bid must be expected to bring, in micro-units.
    pub floor: Micros,
    /// The seller's currency.
    pub currency: Currency,
}

/// What the marketplace looks like at the moment of the auction.
#[derive(Debug, Clone, Copy)]
pub struct Market<'a> {
    /// Who may trade.
    pub accounts: &'a HashMap<AccountId, Account>,
    /// Who has money.
    pub balances: &'a Balances,
    /// Who has room.
    pub capacity: &'a Capacity,
    /// The moment.
    pub now: Timestamp,
}

/// Why a bid is not in the route plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// It offers less than the floor.
    BelowFloor,
    /// Its criteria name other call origins.
    Origin,
    /// Its criteria name other states, or the caller's is not known.
    State,
    /// Its criteria name other area codes, or the caller's is not known.
    AreaCode,
    /// The tracking number lacks a tag it asks for.
    Tags,
    /// It is paused.
    Paused,
    /// Its buyer's account is not active.
    BuyerNotActive,
    /// Its buyer's account has another currency.
    Currency,
    /// Its target is closed at this hour.
    Closed,
    /// Its concurrency cap is reached.
    ConcurrencyCap,
    /// Its daily cap on calls is reached.
    DailyCallsCap,
    /// Its daily cap on money would be passed.
    DailySpendCap,
    /// Its buyer cannot cover the most the call may cost.
    InsufficientFunds,
}

/// The wall clocks of the targets' time zones at one moment, each read at most once.
#[derive(Debug)]
pub struct WallClocks<'a> {
    zones: &'a [TimeZone],
    now: Timestamp,
    shown: Vec<Option<LocalTime>>,
}

impl<'a> WallClocks<'a> {
    /// Clocks for these zones.
    pub fn new(zones: &'a [TimeZone], now: Timestamp) -> Self {
        Self { zones, now, shown: vec![None; zones.len()] }
    }

    /// What the clock of one zone shows.
    pub fn read(&mut self, zone: usize) -> LocalTime {
        *self.shown[zone].get_or_insert_with(|| LocalTime::at(self.now, &self.zones[zone]))
    }
}

/// The first reason why this bid cannot have this call, or `None` if it can. Cheap questions come first.
pub fn refusal(
    standing: &StandingBid,
    call: &CallFacts,
    market: &Market,
    clocks: &mut WallClocks,
) -> Option<Refusal> {
    criteria_refusal(standing, call).or_else(|| standing_refusal(standing, call, market, clocks))
}

fn criteria_refusal(standing: &StandingBid, call: &CallFacts) -> Option<Refusal> {
    let criteria = &standing.profile.criteria;
    if standing.expected < call.floor {
        return Some(Refusal::BelowFloor);
    }
    if !criteria.states.is_empty() && !call.state.is_some_and(|state| criteria.states.contains(&state)) {
        return Some(Refusal::State);
    }
    if !criteria.origins.is_empty() && !criteria.origins.contains(&call.origin) {
        return Some(Refusal::Origin);
    }
    if !criteria.area_codes.is_empty()
        && !call.area_code.is_some_and(|area_code| criteria.area_codes.contains(&area_code))
    {
        return Some(Refusal::AreaCode);
    }
    if criteria.tags.iter().any(|(name, value)| call.tags.get(name) != Some(value)) {
        return Some(Refusal::Tags);
    }
    None
}

fn standing_refusal(
    standing: &StandingBid,
    call: &CallFacts,
    market: &Market,
    clocks: &mut WallClocks,
) -> Option<Refusal> {
    let profile = &standing.profile;
    if profile.status != BidStatus::Active {
        return Some(Refusal::Paused);
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
    if let Err(cap) = market.capacity.check(profile.id, &profile.caps, local.day, standing.hold) {
        return Some(match cap {
            CapReached::ConcurrentCalls => Refusal::ConcurrencyCap,
            CapReached::DailyCalls => Refusal::DailyCallsCap,
            CapReached::DailySpend => Refusal::DailySpendCap,
        });
    }
    let funds = market.balances.can_hold(profile.buyer, buyer.credit_limit_micros, standing.hold);
    funds.is_err().then_some(Refusal::InsufficientFunds)
}
