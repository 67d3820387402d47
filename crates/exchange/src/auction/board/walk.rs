//! Reading the board: the entries that admit a call, best first, and the tally of those that do not.

use super::Board;
use super::dimension::{DIMENSIONS, Dimension};
use super::filters::Query;
use super::leaf::{Leaf, Line, WORD_POSITIONS, WORDS};
use super::rank::Rank;
use std::ops::ControlFlow;

/// What became of the best-ranked entries: how many each dimension was the first to refuse. The parts add up to
/// [`Tally::looked_at`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Entries looked at.
    pub looked_at: u32,
    /// Of those, how many each dimension was the first to refuse; in canonical order.
    pub refused: [u32; DIMENSIONS],
    /// Of those, how many admit the call but do not take part.
    pub not_live: u32,
    /// Of those, how many admit the call and take part.
    pub admitted: u32,
}

/// The dimensions to ask, the one that admits fewest first.
struct Plan {
    dimensions: [Dimension; DIMENSIONS],
    count: usize,
}

impl Plan {
    fn dimensions(&self) -> &[Dimension] {
        &self.dimensions[..self.count]
    }
}

impl Board {
    /// Visits the entries that admit the call and take part, best rank first, until the visitor breaks. The bitmaps are
    /// filters: the visitor decides whether an entry really wants the call.
    ///
    /// Since ranks only get worse, the visitor can break as soon as the rank it is shown cannot beat what it has.
    pub fn walk(&self, query: &Query, mut visit: impl FnMut(u32, Rank) -> ControlFlow<()>) {
        let Some(plan) = self.plan(query) else { return };
        for leaf in &self.order {
            let mask = self.admitted(*leaf as usize, query, &plan);
            if is_zero(&mask) {
                continue;
            }
            if visit_leaf(&self.leaves[*leaf as usize], &mask, &mut visit).is_break() {
                return;
            }
        }
    }

    /// Counts what became of the best-ranked entries: those down to the rank `until`, itself included, or `most` rounded up
    /// to whole words of up to 64, whichever is fewer.
    pub fn tally(&self, query: &Query, until: Option<Rank>, most: u32) -> Tally {
        let mut tally = Tally::default();
        for (leaf, fence) in self.order.iter().zip(&self.fences) {
            if tally.looked_at >= most || until.is_some_and(|until| until < *fence) {
                break;
            }
            let looked_at = looked_at(&self.leaves[*leaf as usize], until, most - tally.looked_at);
            self.tally_leaf(*leaf as usize, query, looked_at, &mut tally);
        }
        tally
    }

    /// Which dimensions to ask, and in which order; `None` if nothing can admit the call.
    fn plan(&self, query: &Query) -> Option<Plan> {
        let mut plan = Plan { dimensions: Dimension::ALL, count: 0 };
        let mut admitted = [0; DIMENSIONS];
        for dimension in Dimension::ALL {
            let any = self.columns[usize::from(dimension.any_column())].bits();
            if any as usize == self.len {
                continue;
            }
            let columns = query.columns(dimension.number()).iter();
            let bits = columns
                .map(|column| self.columns[usize::from(*column)].bits())
                .fold(any, u32::saturating_add);
            if bits == 0 {
                return None;
            }
            let place = admitted[..plan.count].partition_point(|other| *other <= bits);
            admitted.copy_within(place..plan.count, place + 1);
            plan.dimensions.copy_within(place..plan.count, place + 1);
            admitted[place] = bits;
            plan.dimensions[place] = dimension;
            plan.count += 1;
        }
        Some(plan)
    }

    /// The positions of a leaf whose entries admit the call and take part.
    #[inline]
    fn admitted(&self, leaf: usize, query: &Query, plan: &Plan) -> Line {
        let mut mask = [u64::MAX; WORDS];
        for dimension in plan.dimensions() {
            and(&mut mask, &self.passing(leaf, query, *dimension));
            if is_zero(&mask) {
                return mask;
            }
        }
        and(&mut mask, &self.leaves[leaf].live);
        mask
    }

    /// The positions of a leaf that pass one dimension.
    #[inline]
    fn passing(&self, leaf: usize, query: &Query, dimension: Dimension) -> Line {
        let mut passing = [0; WORDS];
        self.columns[usize::from(dimension.any_column())].or_into(leaf, &mut passing);
        for column in query.columns(dimension.number()) {
            self.columns[usize::from(*column)].or_into(leaf, &mut passing);
        }
        passing
    }

    fn tally_leaf(&self, leaf: usize, query: &Query, looked_at: Line, tally: &mut Tally) {
        let mut remaining = looked_at;
        let mut left = ones(&remaining);
        tally.looked_at += left;
        for dimension in Dimension::ALL {
            if left == 0 {
                return;
            }
            and(&mut remaining, &self.passing(leaf, query, dimension));
            let passed = ones(&remaining);
            tally.refused[dimension.number()] += left - passed;
            left = passed;
        }
        and(&mut remaining, &self.leaves[leaf].live);
        tally.admitted += ones(&remaining);
        tally.not_live += left - ones(&remaining);
    }
}

/// The used positions of a leaf, word by word from the best: down to a rank, until there are about `most`.
fn looked_at(leaf: &Leaf, until: Option<Rank>, most: u32) -> Line {
    let mut looked_at = [0; WORDS];
    let mut count = 0;
    for word in leaf.order().iter().map(|word| usize::from(*word)) {
        if count >= most {
            break;
        }
        looked_at[word] = match until {
            Some(until) => down_to(leaf, word, &until),
            None => leaf.used[word],
        };
        count += looked_at[word].count_ones();
    }
    looked_at
}

/// The positions of a word whose ranks are at least as good as `until`.
fn down_to(leaf: &Leaf, word: usize, until: &Rank) -> u64 {
    let used = leaf.used[word];
    let first = word * WORD_POSITIONS;
    let positions = (0..WORD_POSITIONS).filter(|position| used & (1 << position) != 0);
    positions
        .filter(|position| leaf.rank(first + position) <= *until)
        .fold(0, |bits, position| bits | 1 << position)
}

#[inline]
fn visit_leaf(
    leaf: &Leaf,
    mask: &Line,
    visit: &mut impl FnMut(u32, Rank) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut sorted = [0; WORD_POSITIONS];
    for word in leaf.order().iter().map(|word| usize::from(*word)) {
        let count = leaf.sort(word, mask[word], &mut sorted);
        for position in sorted[..count].iter().map(|position| usize::from(*position)) {
            visit(leaf.slot(position), leaf.rank(position))?;
        }
    }
    ControlFlow::Continue(())
}

#[inline]
fn and(line: &mut Line, other: &Line) {
    for (word, other) in line.iter_mut().zip(other) {
        *word &= other;
    }
}

#[inline]
fn is_zero(line: &Line) -> bool {
    line.iter().fold(0, |bits, word| bits | word) == 0
}

fn ones(line: &Line) -> u32 {
    line.iter().map(|word| word.count_ones()).sum()
}
