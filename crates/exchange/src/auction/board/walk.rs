//! Reading the board: the entries that admit a call, best first, and the tally of those that do not.

use super::Board;
use super::column::Row;
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

/// One dimension of a search: an entry passes it if one of these columns has its bit.
#[derive(Clone, Copy, Default)]
struct Step<'a> {
    /// Entries that admit any value.
    any: &'a [Row],
    /// Entries that admit the call's first bucket.
    bucket: &'a [Row],
    /// The columns of the call's other buckets: few calls have any, but for tags.
    more: &'a [u16],
    /// About how many entries pass.
    bits: u32,
}

/// The dimensions to ask; on a board of many leaves the one that admits fewest first.
struct Plan<'a> {
    steps: [Step<'a>; DIMENSIONS],
    count: usize,
}

/// From so many leaves on it pays to ask the dimensions in the best order.
const LEAVES_MANY: usize = 32;

impl Board {
    /// Visits the entries that admit the call and take part, best rank first, until the visitor breaks. The bitmaps are
    /// filters: the visitor decides whether an entry really wants the call.
    ///
    /// Since ranks only get worse, the visitor can break as soon as the rank it is shown cannot beat what it has.
    pub fn walk(&self, query: &Query, mut visit: impl FnMut(u32, Rank) -> ControlFlow<()>) {
        let mut plan = Plan { steps: [Step::default(); DIMENSIONS], count: 0 };
        if !self.make_plan(query, &mut plan) {
            return;
        }
        for leaf in self.order.iter().map(|leaf| *leaf as usize) {
            let mut mask = [u64::MAX; WORDS];
            if self.admit(leaf, &plan, &mut mask)
                && visit_leaf(&self.leaves[leaf], &mask, &mut visit).is_break()
            {
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

    /// Which dimensions to ask, and in which order; false if nothing can admit the call.
    fn make_plan<'a>(&'a self, query: &'a Query, plan: &mut Plan<'a>) -> bool {
        for dimension in Dimension::ALL {
            let any = &self.columns[usize::from(dimension.any_column())];
            if any.bits() as usize == self.len {
                continue;
            }
            let mut step = Step { any: any.rows(), bits: any.bits(), ..Step::default() };
            if let Some(first) = query.first(dimension) {
                let first = &self.columns[usize::from(first)];
                (step.bucket, step.more) = (first.rows(), query.more(dimension));
                step.bits += first.bits();
                for column in step.more {
                    step.bits = step.bits.saturating_add(self.columns[usize::from(*column)].bits());
                }
            }
            if step.bits == 0 {
                return false;
            }
            plan.steps[plan.count] = step;
            plan.count += 1;
        }
        if self.order.len() >= LEAVES_MANY {
            plan.steps[..plan.count].sort_unstable_by_key(|step| step.bits);
        }
        true
    }

    /// Leaves in the mask the positions of a leaf whose entries admit the call and take part; whether there are any.
    #[inline]
    fn admit(&self, leaf: usize, plan: &Plan, mask: &mut Line) -> bool {
        for step in &plan.steps[..plan.count] {
            let mut passing = [0; WORDS];
            or(&mut passing, step.any.get(leaf));
            or(&mut passing, step.bucket.get(leaf));
            for column in step.more {
                or(&mut passing, self.columns[usize::from(*column)].rows().get(leaf));
            }
            and(mask, &passing);
            if is_zero(mask) {
                return false;
            }
        }
        and(mask, &self.leaves[leaf].live);
        true
    }

    /// The positions of a leaf that pass one dimension.
    #[inline]
    fn passing(&self, leaf: usize, query: &Query, dimension: Dimension) -> Line {
        let mut passing = [0; WORDS];
        or(&mut passing, self.columns[usize::from(dimension.any_column())].rows().get(leaf));
        let columns = query.first(dimension).into_iter().chain(query.more(dimension).iter().copied());
        for column in columns {
            or(&mut passing, self.columns[usize::from(column)].rows().get(leaf));
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
    for (place, word) in leaf.order().iter().map(|word| usize::from(*word)).enumerate() {
        if count >= most {
            break;
        }
        // Every entry of a word is better than the fence of the next: only one word is cut in two.
        let ends_above = |until: &Rank| {
            leaf.order().get(place + 1).is_some_and(|next| leaf.fence(usize::from(*next)) <= *until)
        };
        looked_at[word] = match until {
            Some(until) if until < leaf.fence(word) => break,
            Some(until) if !ends_above(&until) => down_to(leaf, word, &until),
            _ => leaf.used[word],
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
fn or(line: &mut Line, row: Option<&Row>) {
    if let Some(Row(row)) = row {
        for (word, bits) in line.iter_mut().zip(row) {
            *word |= bits;
        }
    }
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
