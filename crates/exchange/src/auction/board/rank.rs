//! The order of the board.

use std::cmp::Ordering;

/// The place of an entry in the order of the auction: the lesser rank is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rank {
    /// What the entry is worth, in micro-units; higher comes first.
    pub price: i64,
    /// Lower comes first among equal prices.
    pub priority: u8,
    /// Lower comes first among equal priorities; makes ranks unique.
    pub id: u128,
}

impl Rank {
    /// Comes before every other rank.
    pub const BEST: Self = Self { price: i64::MAX, priority: 0, id: 0 };
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        other
            .price
            .cmp(&self.price)
            .then_with(|| self.priority.cmp(&other.priority))
            .then_with(|| self.id.cmp(&other.id))
    }
}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
