//! Clearing: what the winner, and each fall-back in its turn, pays.

use crate::auction::index::{BidIndex, Found};
use crate::auction::receipt::{AuctionReceipt, RankedBid};
use crate::ledger::money::Micros;
use serde::{Deserialize, Serialize};

/// How the price is set. The bidding work adds second price and fixed price by priority here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AuctionType {
    /// Whoever takes the call pays its own bid.
    FirstPrice,
}

/// Sets the price of every place in the ranking.
pub fn clear(auction_type: AuctionType, index: &BidIndex, found: Found, floor: Micros) -> AuctionReceipt {
    let ranking = found.slots.iter().map(|slot| {
        let standing = index.at(*slot);
        let price = match auction_type {
            AuctionType::FirstPrice => standing.profile.price,
        };
        RankedBid {
            bid: standing.profile.id,
            buyer: standing.profile.buyer,
            price,
            expected_micros: standing.expected,
        }
    });
    AuctionReceipt {
        auction_type,
        floor_micros: floor,
        considered: found.considered,
        ranking: ranking.collect(),
        refused: found.refused,
    }
}
