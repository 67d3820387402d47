//! By skill: whoever has most of the skills that the call asks for goes first, then the best score.
//!
//! Skills-based routing as contact centres do it, without proficiencies: nobody is left out for want of a skill, they only
//! go later. Skills are compared letter by letter; one that is asked for twice counts once.

use crate::routing::{Contender, ordered_by};
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// Most of the wanted skills first, then the best score.
pub(super) fn order(contenders: &[Contender<'_>], wanted: &[&str]) -> Vec<usize> {
    let wanted: BTreeSet<&str> = wanted.iter().copied().collect();
    ordered_by(contenders, |_, contender| {
        let has = wanted.iter().filter(|skill| contender.skills.contains(**skill)).count();
        (Reverse(has), Reverse(contender.score))
    })
}
