//! The receipt of a decision: why this call went where it went, for people and regulators.

use crate::auction::clear::AuctionType;
use crate::auction::matching::Refusal;
use crate::bid::Price;
use crate::bid::live::{LossReason, NoLiveBid};
use crate::compliance::verdict::Check;
use crate::id::{AccountId, BidProfileId, CallId, DealId};
use crate::ledger::money::Micros;
use crate::routing::{Algorithm, Estimate};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How a call was decided. Written once, never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Receipt {
    /// The call.
    pub call: CallId,
    /// When it was decided.
    pub decided_at: Timestamp,
    /// By what.
    #[serde(default)]
    pub versions: Versions,
    /// Every screening rule that was asked, in order, with its answer and citation.
    pub screening: Vec<Check>,
    /// The auction; absent when screening refused the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auction: Option<AuctionReceipt>,
    /// How long the decision took, in nanoseconds. The core has no clock: the shell fills it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_in_ns: Option<u64>,
}

impl Receipt {
    /// The buyers who had a bid in the auction: in its route plan, among the losers it names, or live.
    pub fn buyers(&self) -> BTreeSet<AccountId> {
        let Some(auction) = &self.auction else { return BTreeSet::new() };
        let ranked = auction.ranking.iter().map(|ranked| ranked.buyer);
        let lost = auction.lost.iter().map(|loss| loss.buyer);
        let live = auction.live.iter().map(|live| live.buyer);
        ranked.chain(lost).chain(live).collect()
    }
}

/// What decided.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Versions {
    /// The exchange's own, such as `0.1.0`; its rule data ships with it.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub exchange: std::borrow::Cow<'static, str>,
    /// Of the fraud score's signals and points.
    pub fraud_score: u32,
}

/// How an auction went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AuctionReceipt {
    /// How the price was set.
    pub auction_type: AuctionType,
    /// How the route plan was made.
    #[serde(default)]
    pub algorithm: Algorithm,
    /// Whether bids were ranked by price and quality rather than by price alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub quality_adjusted: bool,
    /// The least a bid outside any deal had to offer, in micro-units.
    pub floor_micros: Micros,
    /// The call's fraud score, 0 to 100.
    #[serde(default)]
    pub fraud_score: u8,
    /// The seller's quality, 0 to 1,000.
    #[serde(default)]
    pub seller_quality: u16,
    /// The ping that had won the call before it came: its bid is rung first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservation: Option<CallId>,
    /// Bids looked at, best price first, until nothing further down could be better; a sample where there are very many.
    pub considered: u32,
    /// Of those, how many were refused, by reason.
    pub refused: BTreeMap<Refusal, u32>,
    /// What live bidders said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub live: Vec<LiveReceipt>,
    /// The route plan: the winner, then the fall-backs.
    pub ranking: Vec<RankedBid>,
    /// Bids that wanted the call and did not win it: those of the plan's other places, the best of the rest, live ones all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<Loss>,
}

/// What a live bidder said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LiveReceipt {
    /// The bid profile.
    pub bid: BidProfileId,
    /// Whose.
    pub buyer: AccountId,
    /// Its bid, in micro-units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_micros: Option<Micros>,
    /// Why it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<NoLiveBid>,
    /// Why its bid was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
}

/// A place in the route plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RankedBid {
    /// The bid.
    pub bid: BidProfileId,
    /// Whose.
    pub buyer: AccountId,
    /// What it pays: the price it cleared at.
    pub price: Price,
    /// What it offered, where it pays less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered: Option<Price>,
    /// What one call is expected to bring at the offered price, in micro-units.
    pub expected_micros: Micros,
    /// What it was ranked by, where that is not the expected amount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score_micros: Option<Micros>,
    /// Its quality, 0 to 1,000, where that was part of the score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<u16>,
    /// The deal it came under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deal: Option<DealId>,
    /// Whether it was asked for this call.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_live: bool,
    /// What the call is expected to bring from it, all told, where routing is predictive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
}

/// A bid that wanted the call and did not win it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Loss {
    /// The bid.
    pub bid: BidProfileId,
    /// Whose.
    pub buyer: AccountId,
    /// Why.
    pub reason: LossReason,
    /// The least that would have won, in micro-units; absent where no price would have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_to_win_micros: Option<Micros>,
}
