//! By distance: the target nearest to the caller's ZIP code goes first; level distances by score.
//!
//! Distances are great circles between the centres of ZIP codes ([`distance_miles`]), in whole tenths of a mile: the centres
//! are no better than that. A target whose place is not known, or not on the map, is farther than any that is.

use crate::place::{Zip, distance_miles};
use crate::routing::{Contender, ordered_by};
use std::cmp::Reverse;

/// The nearest first. Where the caller is not on the map, the best score first.
pub(super) fn order(contenders: &[Contender<'_>], caller: Option<Zip>) -> Vec<usize> {
    ordered_by(contenders, |_, contender| {
        let miles = caller.zip(contender.location).and_then(|(from, to)| distance_miles(from, to));
        (miles.map_or(u32::MAX, tenths), Reverse(contender.score))
    })
}

/// Whole tenths of a mile.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the earth is 12,500 miles long")]
fn tenths(miles: f64) -> u32 {
    (miles * 10.0).round() as u32
}
