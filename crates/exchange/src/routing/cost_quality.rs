//! Price and quality, half and half: `500 * expected / best expected + 500 * quality / 1,000`, in millionths, rounded down.
//!
//! The price counts relative to the best one offered for this call, so that both halves have the same range whatever the
//! vertical pays: the weighted sum of scaled attributes (simple additive weighting; Churchman and Ackoff, 1954). Unlike a
//! quality-adjusted auction, which multiplies, it lets a good target win against one that pays many times as much.

use crate::ledger::money::Micros;
use crate::routing::{Contender, ordered_by};
use std::cmp::Reverse;

/// Millionths that a price, or a quality, can add at most.
const HALF: u64 = 500_000;

/// The highest sum of both halves first.
pub(super) fn order(contenders: &[Contender<'_>]) -> Vec<usize> {
    let best = contenders.iter().map(|contender| contender.expected).max().unwrap_or_default();
    ordered_by(contenders, |_, contender| {
        Reverse(price_part(contender.expected, best) + u64::from(contender.quality) * HALF / 1_000)
    })
}

/// The share of the best price, as millionths of a whole of one half.
fn price_part(expected: Micros, best: Micros) -> u64 {
    if best <= Micros::ZERO || expected <= Micros::ZERO {
        return 0;
    }
    let part = i128::from(expected.0) * i128::from(HALF) / i128::from(best.0);
    u64::try_from(part).unwrap_or(HALF)
}
