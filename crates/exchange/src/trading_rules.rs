//! Trading rules: how auctions are held and calls are routed, set for the house and overridden for a vertical, a seller or
//! a number. The narrowest rule that says something wins, field by field; of floors the highest applies.

use crate::auction::clear::AuctionType;
use crate::id::AccountId;
use crate::ledger::money::Micros;
use crate::phone_number::PhoneNumber;
use crate::routing::Algorithm;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

/// Where rules apply.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Calls of this vertical.
    Vertical(String),
    /// Calls of this seller.
    Seller(AccountId),
    /// Calls to this tracking number.
    Number(PhoneNumber),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vertical(vertical) => write!(f, "vertical:{vertical}"),
            Self::Seller(seller) => write!(f, "seller:{seller}"),
            Self::Number(number) => write!(f, "number:{number}"),
        }
    }
}

/// Why a text is not a scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a scope; write vertical:roofing, seller:<account id> or number:+18005550100")]
pub struct ScopeError(String);

impl FromStr for Scope {
    type Err = ScopeError;

    /// Reads what [`fmt::Display`] writes.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ScopeError(text.chars().take(60).collect());
        let (kind, of) = text.split_once(':').ok_or_else(error)?;
        match kind {
            "vertical" => Ok(Self::Vertical(of.to_owned())),
            "seller" => of.parse().map(Self::Seller).map_err(|_| error()),
            "number" => of.parse().map(Self::Number).map_err(|_| error()),
            _ => Err(error()),
        }
    }
}

/// The rules of one scope. What is absent is as the next wider scope has it: number, seller, vertical, house.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ScopedRules {
    /// Where they apply.
    pub scope: Scope,
    /// How prices are set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auction_type: Option<AuctionType>,
    /// The least a bid must offer, in micro-units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor_micros: Option<Micros>,
    /// What a second price is above the runner-up, in micro-units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub increment_micros: Option<Micros>,
    /// Whether bids are ranked by price and quality rather than by price alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality_adjusted: Option<bool>,
    /// How the route plan is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<Algorithm>,
    /// How long live bidders have, in milliseconds; 0 asks none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bidding_deadline_ms: Option<u32>,
    /// Routing when a target hangs up early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Recovery>,
    /// What is done about the same caller again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicates: Option<Duplicates>,
    /// When a target that does not answer is given a rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protection: Option<Protection>,
}

/// The rules in force for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct TradingRules {
    /// How prices are set.
    pub auction_type: AuctionType,
    /// The least a bid must offer, in micro-units.
    pub floor_micros: Micros,
    /// What a second price is above the runner-up, in micro-units.
    pub increment_micros: Micros,
    /// Whether bids are ranked by price and quality rather than by price alone.
    pub quality_adjusted: bool,
    /// How the route plan is made.
    pub algorithm: Algorithm,
    /// How long live bidders have, in milliseconds; 0 asks none.
    pub bidding_deadline_ms: u32,
    /// Routing when a target hangs up early.
    pub recovery: Recovery,
    /// What is done about the same caller again.
    pub duplicates: Duplicates,
    /// When a target that does not answer is given a rest.
    pub protection: Protection,
}

/// Revenue recovery: a target that hangs up early on a call that has not converted is taken as a failure, and the next one is
/// rung while the caller stays on the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Recovery {
    /// How many targets one call may ring after an early hang-up; 0 recovers nothing.
    pub attempts_max: u8,
    /// A hang-up is early when the target was connected for less than this, in seconds.
    pub early_s: u32,
}

/// What is done about the same caller again, each within its own window. A window of 0 s knows no duplicates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Duplicates {
    /// What routing does with a caller whose last call in this vertical was answered within `routing_window_s`.
    pub routing: DuplicateRouting,
    /// In seconds.
    pub routing_window_s: u32,
    /// The same caller converting for the same buyer again within this many seconds is not charged again, nor paid for.
    pub charge_window_s: u32,
    /// The same caller converting for the same seller again within this many seconds is not paid for again; the buyer is
    /// charged.
    pub payout_window_s: u32,
}

/// What routing does with the same caller again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DuplicateRouting {
    /// Nothing special.
    #[default]
    Normal,
    /// The target that answered last time goes first, if it can take the call.
    SameTarget,
    /// The target that answered last time is not rung.
    OtherTarget,
    /// The call is refused.
    Refuse,
}

/// Buyer protection: a target that lets calls ring out is given a rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Protection {
    /// Unanswered calls within an hour that earn it; 0 never does.
    pub unanswered_per_hour: u8,
    /// Unanswered calls within 24 hours that earn it; 0 never does.
    pub unanswered_per_day: u8,
    /// How long it rests, in seconds.
    pub rest_s: u32,
}

impl Default for TradingRules {
    fn default() -> Self {
        Self {
            auction_type: AuctionType::FirstPrice,
            floor_micros: Micros::ZERO,
            increment_micros: Micros(10_000),
            quality_adjusted: false,
            algorithm: Algorithm::HighestBid,
            bidding_deadline_ms: 80,
            recovery: Recovery::default(),
            duplicates: Duplicates::default(),
            protection: Protection::default(),
        }
    }
}

impl Default for Recovery {
    fn default() -> Self {
        Self { attempts_max: 5, early_s: 10 }
    }
}

impl Default for Duplicates {
    fn default() -> Self {
        Self {
            routing: DuplicateRouting::Normal,
            routing_window_s: 0,
            charge_window_s: 0,
            payout_window_s: 0,
        }
    }
}

impl Default for Protection {
    fn default() -> Self {
        Self { unanswered_per_hour: 3, unanswered_per_day: 5, rest_s: 3_600 }
    }
}

impl ScopedRules {
    /// Rules that say nothing of their own.
    pub fn none(scope: Scope) -> Self {
        Self {
            scope,
            auction_type: None,
            floor_micros: None,
            increment_micros: None,
            quality_adjusted: None,
            algorithm: None,
            bidding_deadline_ms: None,
            recovery: None,
            duplicates: None,
            protection: None,
        }
    }
}

impl TradingRules {
    /// These rules where a narrower scope says nothing, the narrower scope's where it does.
    fn overridden_by(&self, narrower: &ScopedRules) -> Self {
        Self {
            auction_type: narrower.auction_type.unwrap_or(self.auction_type),
            floor_micros: narrower.floor_micros.unwrap_or_default().max(self.floor_micros),
            increment_micros: narrower.increment_micros.unwrap_or(self.increment_micros),
            quality_adjusted: narrower.quality_adjusted.unwrap_or(self.quality_adjusted),
            algorithm: narrower.algorithm.unwrap_or(self.algorithm),
            bidding_deadline_ms: narrower.bidding_deadline_ms.unwrap_or(self.bidding_deadline_ms),
            recovery: narrower.recovery.unwrap_or(self.recovery),
            duplicates: narrower.duplicates.unwrap_or(self.duplicates),
            protection: narrower.protection.unwrap_or(self.protection),
        }
    }
}

/// Rules put in place of every scope's, to ask what they would have changed. What is absent stays as it is. A tracking
/// number's own floor, and a deal's, are no scope's rules: they stay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleOverride {
    /// Only for calls of this vertical; absent, for all.
    pub vertical: Option<String>,
    /// How prices are set.
    pub auction_type: Option<AuctionType>,
    /// The least a bid must offer, in micro-units; it may be lower than the scopes' own.
    pub floor_micros: Option<Micros>,
    /// What a second price is above the runner-up, in micro-units.
    pub increment_micros: Option<Micros>,
    /// Whether bids are ranked by price and quality rather than by price alone.
    pub quality_adjusted: Option<bool>,
    /// How the route plan is made.
    pub algorithm: Option<Algorithm>,
    /// How long live bidders have, in milliseconds; 0 asks none.
    pub bidding_deadline_ms: Option<u32>,
}

impl RuleOverride {
    /// These rules with the override in their place, for a call of this vertical.
    pub fn over(&self, rules: TradingRules, vertical: &str) -> TradingRules {
        if self.vertical.as_ref().is_some_and(|only| only != vertical) {
            return rules;
        }
        TradingRules {
            auction_type: self.auction_type.unwrap_or(rules.auction_type),
            floor_micros: self.floor_micros.unwrap_or(rules.floor_micros),
            increment_micros: self.increment_micros.unwrap_or(rules.increment_micros),
            quality_adjusted: self.quality_adjusted.unwrap_or(rules.quality_adjusted),
            algorithm: self.algorithm.unwrap_or(rules.algorithm),
            bidding_deadline_ms: self.bidding_deadline_ms.unwrap_or(rules.bidding_deadline_ms),
            ..rules
        }
    }
}

/// All rules that were set.
#[derive(Debug, Clone, Default)]
pub struct RuleBook {
    verticals: HashMap<String, ScopedRules>,
    sellers: HashMap<AccountId, ScopedRules>,
    numbers: HashMap<PhoneNumber, ScopedRules>,
}

impl RuleBook {
    /// Sets the rules of one scope in place of those it had.
    pub fn put(&mut self, rules: ScopedRules) {
        match rules.scope.clone() {
            Scope::Vertical(vertical) => self.verticals.insert(vertical, rules),
            Scope::Seller(seller) => self.sellers.insert(seller, rules),
            Scope::Number(number) => self.numbers.insert(number, rules),
        };
    }

    /// The rules in force for a call to `number`, widest scope first.
    pub fn resolve(
        &self,
        house: &TradingRules,
        vertical: &str,
        seller: AccountId,
        number: PhoneNumber,
    ) -> TradingRules {
        let narrowing = [self.verticals.get(vertical), self.sellers.get(&seller), self.numbers.get(&number)];
        narrowing.into_iter().flatten().fold(*house, |rules, narrower| rules.overridden_by(narrower))
    }
}

/// A private deal: sellers and buyers who agreed on terms of their own beside the open auction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Deal {
    /// Its identity.
    pub id: crate::id::DealId,
    /// For people.
    pub name: String,
    /// Whether it is in force.
    pub active: bool,
    /// The seller whose calls it is about.
    pub seller: AccountId,
    /// Only calls of this vertical; absent, all of the seller's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vertical: Option<String>,
    /// The buyers it is for, at most 16.
    pub buyers: std::collections::BTreeSet<AccountId>,
    /// The floor for their bids, in micro-units, in place of every other floor.
    pub floor_micros: Micros,
    /// Whether their bids go before the open auction's, whatever those offer.
    pub first_look: bool,
}
