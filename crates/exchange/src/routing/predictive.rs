//! Predictive: the highest revenue to be expected of the call, with a bonus for targets little is known of.
//!
//! Every call that a target was rung for is one trial: it converted, or it did not, whether for want of an answer or of
//! length. With `s` conversions in `n` trials (a uniform prior adds 1 and 2), the probability of the next one is `p = s / n`
//! and the call is worth `expected * p`.
//!
//! Ranking by that alone would never give a second chance to a target that had bad luck. So targets are ranked by
//! `expected * u`, where `u` is the upper end of the confidence interval for `p`, the wider the less is known ("optimism in the face
//! of uncertainty": UCB1, Auer, Cesa-Bianchi and Fischer, 2002, with its width of `2 ln N` for `N` calls so far). The
//! interval is Wilson's (1927), which unlike UCB1's stays within 0 and 1 and is narrow where `p` is small: it is what KL-UCB
//! (Garivier and Cappé, 2011) comes to with the divergence to second order. Regret grows with the logarithm of the calls.
//! Records forget ([`crate::track_record`]), as discounted UCB does (Garivier and Moulines, 2011), so that change is noticed.
//!
//! Calls under way count as looked at, though nothing is known of them yet (delayed feedback; Joulani, György and Szepesvári,
//! 2013), and up to [`DOUBTED_MAX`] of them as if they came to nothing: a new target is not sent every call until its first
//! one ends, and for a target that is known well it makes no difference.
//!
//! Floats: additions, products, quotients and square roots alone are exact by IEEE 754 on every machine; the one logarithm
//! may differ in its last digit between platforms.

use crate::ledger::money::Micros;
use crate::routing::{Contender, ordered_by};
use crate::track_record::TrackRecord;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;

/// Square of the normal quantile that leaves 5 % on either side: 1.6449.
const NINETY_PERCENT_Z_SQUARED: f64 = 2.705_543;

/// How many calls under way are taken to come to nothing, at most.
const DOUBTED_MAX: u32 = 8;

/// What a call is expected to bring from one target, for the receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Estimate {
    /// Price times the probability that the call is answered and converts, in micro-units.
    pub expected_micros: Micros,
    /// The lower end of the 90 % interval (Wilson), in micro-units.
    pub low_micros: Micros,
    /// The upper end of the 90 % interval (Wilson), in micro-units.
    pub high_micros: Micros,
}

/// What the call is expected to bring if it is offered to a target with this record at the price `expected`.
pub fn estimate(expected: Micros, record: &TrackRecord) -> Estimate {
    let known = Trials::of(record);
    let (low, high) = wilson(known.probability(), known.trials, NINETY_PERCENT_Z_SQUARED);
    Estimate {
        expected_micros: part_of(expected, known.probability()),
        low_micros: part_of(expected, low),
        high_micros: part_of(expected, high),
    }
}

/// The highest optimistic expectation first.
pub(super) fn order(contenders: &[Contender<'_>]) -> Vec<usize> {
    let rung: f64 = contenders.iter().map(|contender| contender.record.rung as f64).sum();
    let z_squared = 2.0 * (rung + 1.0).ln();
    ordered_by(contenders, |_, contender| {
        let (known, under_way) = (Trials::of(contender.record), contender.record.under_way());
        let doubted = Trials { trials: known.trials + f64::from(under_way.min(DOUBTED_MAX)), ..known };
        let looked_at = known.trials + f64::from(under_way);
        let (_, optimistic) = wilson(doubted.probability(), looked_at, z_squared);
        Reverse(part_of(contender.expected, optimistic))
    })
}

/// Conversions and trials, the prior among them.
#[derive(Clone, Copy)]
struct Trials {
    converted: f64,
    trials: f64,
}

impl Trials {
    fn of(record: &TrackRecord) -> Self {
        let trials = u32::from(record.unanswered) + u32::from(record.ended);
        Self { converted: f64::from(record.converted) + 1.0, trials: f64::from(trials) + 2.0 }
    }

    fn probability(&self) -> f64 {
        self.converted / self.trials
    }
}

/// Wilson's score interval: every `q` with `(p - q)^2 <= z^2 q (1 - q) / n`.
fn wilson(p: f64, n: f64, z_squared: f64) -> (f64, f64) {
    let scale = 1.0 + z_squared / n;
    let centre = (p + z_squared / (2.0 * n)) / scale;
    let half_width = (z_squared * (p * (1.0 - p) / n + z_squared / (4.0 * n * n))).sqrt() / scale;
    ((centre - half_width).max(0.0), (centre + half_width).min(1.0))
}

/// `amount * probability`, rounded to a micro-unit.
#[expect(clippy::cast_possible_truncation, reason = "the part of an amount fits where the amount does")]
fn part_of(amount: Micros, probability: f64) -> Micros {
    Micros((amount.0 as f64 * probability).round() as i64)
}
