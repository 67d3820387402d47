//! Weighted choice by chance: within a priority group each bid is first as often as its weight is of the group's, and among
//! the rest the same holds for the second place, and so on.
//!
//! A-Res (Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006): give each bid the key `u^(1/weight)`
//! with `u` uniform in (0, 1] and sort the keys downwards. Here upwards by `-log2(u) / weight`, which is the same order.
//! Everything is integers, so that a plan is the same on every machine: `u` is mixed from the call's draw and the bid's id,
//! logarithms are fixed-point, and quotients are compared by multiplying crosswise.

use crate::id::BidProfileId;
use crate::routing::{Contender, ordered_by};
use std::cmp::Ordering;

/// Priority groups; within a group by chance and weight.
pub(super) fn order(contenders: &[Contender<'_>], draw: u64) -> Vec<usize> {
    ordered_by(contenders, |_, contender| {
        let key = Key { cost: minus_log2(uniform(draw, contender.id)), weight: contender.weight };
        (contender.priority, key)
    })
}

/// `cost / weight`; the smaller goes first, a weight of 0 last.
#[derive(PartialEq, Eq)]
struct Key {
    cost: u64,
    weight: u32,
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        let crosswise = |cost: u64, weight: u32| u128::from(cost) * u128::from(weight);
        (self.weight == 0)
            .cmp(&(other.weight == 0))
            .then_with(|| crosswise(self.cost, other.weight).cmp(&crosswise(other.cost, self.weight)))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The bid's own chance in this call, uniform in `1..=u64::MAX`.
fn uniform(draw: u64, id: BidProfileId) -> u64 {
    let (high, low) = id.0.as_u64_pair();
    splitmix64(splitmix64(splitmix64(draw) ^ high) ^ low) | 1
}

/// One step of `SplitMix64` (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
fn splitmix64(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Binary digits of a logarithm after the point.
const LOG2_DIGITS: u32 = 32;

/// `64 - log2(number)` in units of 2^-32, rounded up; `number` is not 0. One binary digit at a time: square the mantissa,
/// and when it passes 2 the digit is 1.
fn minus_log2(number: u64) -> u64 {
    let zeros = number.leading_zeros();
    let mut mantissa = u128::from(number << zeros);
    let mut log2 = u64::from(63 - zeros);
    for _ in 0..LOG2_DIGITS {
        mantissa = (mantissa * mantissa) >> 63;
        let digit = u64::from(mantissa >> 64 == 1);
        mantissa >>= digit;
        log2 = (log2 << 1) | digit;
    }
    (64 << LOG2_DIGITS) - log2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_agree_with_those_of_the_machine() {
        for number in [1_u64, 2, 3, 1_000, 1 << 40, (1 << 40) + 12_345, u64::MAX / 3, u64::MAX] {
            let expected = (64.0 - (number as f64).log2()) * 4_294_967_296.0;
            let error = minus_log2(number) as f64 - expected;
            assert!((-2.0..=3.0).contains(&error), "{number}: off by {error}");
        }
        assert_eq!(minus_log2(1), 64 << 32);
    }

    #[test]
    fn splitmix64_gives_the_numbers_of_its_authors() {
        // The reference implementation (public domain, Vigna 2015), seeded with 1234567.
        let mut seed = 1_234_567_u64;
        for expected in [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423_u64]
        {
            assert_eq!(splitmix64(seed), expected);
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        }
    }
}
