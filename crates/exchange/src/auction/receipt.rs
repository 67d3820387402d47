//! The receipt of a decision: why this call went where it went, for people and regulators.

use crate::auction::clear::AuctionType;
use crate::auction::matching::Refusal;
use crate::bid::Price;
use crate::compliance::verdict::Check;
use crate::id::{AccountId, BidProfileId, CallId};
use crate::ledger::money::Micros;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a call was decided. Written once, never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Receipt {
    /// The call.
    pub call: CallId,
    /// When it was decided.
    pub decided_at: Timestamp,
    /// Every screening rule that was asked, in order, with its answer and citation.
    pub screening: Vec<Check>,
    /// The auction; absent when screening refused the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auction: Option<AuctionReceipt>,
    /// How long the decision took, in nanoseconds. The core has no clock: the shell fills it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_in_ns: Option<u64>,
}

/// How an auction went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AuctionReceipt {
    /// How the price was set.
    pub auction_type: AuctionType,
    /// The least a bid had to offer, in micro-units.
    pub floor_micros: Micros,
    /// Bids looked at, best price first, until the route plan was full.
    pub considered: u32,
    /// Of those, how many were refused, by reason.
    pub refused: BTreeMap<Refusal, u32>,
    /// The route plan: the winner, then the fall-backs.
    pub ranking: Vec<RankedBid>,
}

/// A place in the route plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RankedBid {
    /// The bid.
    pub bid: BidProfileId,
    /// Whose.
    pub buyer: AccountId,
    /// What it pays.
    pub price: Price,
    /// What one call is expected to bring, in micro-units; the order of the ranking.
    pub expected_micros: Micros,
}
