//! Routing: in which order the bids that want a call are rung.
//!
//! [`plan`] is a pure function of the bids, their records and one draw: the same question has the same answer, whatever
//! order the bids are asked in. Absent on purpose: who may take the call at all (matching), and whether there is money and
//! room for it (capacity); all contenders are ordered, and the caller takes as many as the plan is long.
//!
//! `PriorityWeight`, `RoundRobin` and `Percentage` order within priority groups, 1 first. The others mind priority on ties
//! alone. What is still level after that goes by id, the earlier bid first.

mod algorithm;
mod weighted_choice;
mod rotation;
mod cost_quality;
mod skill;
mod nearest;
mod predictive;

pub use algorithm::Algorithm;
pub use predictive::{Estimate, estimate};
pub use rotation::turn;

use crate::id::BidProfileId;
use crate::ledger::money::Micros;
use crate::place::Zip;
use crate::track_record::TrackRecord;
use std::cmp::{Ordering, Reverse};
use std::collections::BTreeSet;

/// A bid that wants the call.
#[derive(Debug, Clone)]
pub struct Contender<'a> {
    /// Which bid.
    pub id: BidProfileId,
    /// What the auction ranks it by, in micro-units: its price, adjusted for quality where the rules say so.
    pub score: Micros,
    /// What it is expected to pay if the call converts, in micro-units.
    pub expected: Micros,
    /// Its priority group; 1 goes first.
    pub priority: u8,
    /// Its share within the group. 0 goes last.
    pub weight: u32,
    /// Its quality, 0 to 1,000; see [`TrackRecord::quality`].
    pub quality: u16,
    /// What its target can do.
    pub skills: &'a BTreeSet<String>,
    /// Where its target is.
    pub location: Option<Zip>,
    /// What came of its calls so far.
    pub record: &'a TrackRecord,
}

/// What routing knows about the call.
#[derive(Debug, Clone, Copy)]
pub struct RoutedCall<'a> {
    /// Chance, drawn once for the call and kept with it, so that its plan can be made again.
    pub draw: u64,
    /// Where the caller is.
    pub zip: Option<Zip>,
    /// The skills it asks for.
    pub skills: &'a [&'a str],
}

/// The contenders in the order to ring them, as indices into `contenders`: every index once.
pub fn plan(algorithm: Algorithm, contenders: &[Contender<'_>], call: &RoutedCall<'_>) -> Vec<usize> {
    match algorithm {
        Algorithm::HighestBid => ordered_by(contenders, |_, contender| Reverse(contender.score)),
        Algorithm::PriorityWeight => weighted_choice::order(contenders, call.draw),
        Algorithm::RoundRobin => rotation::by_last_rung(contenders),
        Algorithm::Percentage => rotation::by_share(contenders),
        Algorithm::CostQuality => cost_quality::order(contenders),
        Algorithm::Skill => skill::order(contenders, call.skills),
        Algorithm::Nearest => nearest::order(contenders, call.zip),
        Algorithm::Predictive => predictive::order(contenders),
    }
}

/// The indices of the contenders, smallest key first; keys are made once each.
fn ordered_by<K: Ord>(contenders: &[Contender<'_>], key: impl Fn(usize, &Contender<'_>) -> K) -> Vec<usize> {
    let keys: Vec<K> = contenders.iter().enumerate().map(|(index, one)| key(index, one)).collect();
    let mut order: Vec<usize> = (0..contenders.len()).collect();
    order
        .sort_unstable_by(|a, b| keys[*a].cmp(&keys[*b]).then_with(|| tie(&contenders[*a], &contenders[*b])));
    order
}

/// Who goes first when the algorithm cannot tell.
fn tie(a: &Contender<'_>, b: &Contender<'_>) -> Ordering {
    (a.priority, a.id).cmp(&(b.priority, b.id))
}

#[cfg(test)]
mod tests;
