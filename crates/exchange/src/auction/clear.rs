//! Clearing: what the winner, and each fall-back in its turn, pays.

use crate::auction::index::{BidIndex, Found};
use crate::auction::receipt::{AuctionReceipt, RankedBid};
use crate::ledger::money::Micros;
use serde::{Deserialize, Serialize};

/// How the price is set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AuctionType {
    /// Whoever takes the call pays its own bid.
    #[default]
    FirstPrice,
    /// Whoever takes the call pays what it had to bid to beat the next in line: the runner-up plus the increment, at least the
    /// floor, at most its own bid.
    SecondPrice,
    /// Everyone who bids at least the floor pays the floor; priority decides who goes first.
    FixedPrice,
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
