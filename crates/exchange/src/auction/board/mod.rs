//! The board: entries in the order of their rank, with a bitmap for every bucket of every attribute, so that the best
//! entries that admit a call are read best first and the search stops when it has enough.
//!
//! - An entry stands in a *leaf* of 512 positions: eight *words* of 64. Leaves are in the order of ranks, so are the words
//!   of a leaf; the positions of a word are not. An entry is placed by finding its word and setting its bits where a
//!   position is free: nothing shifts. A full word gives entries to its neighbour, a full leaf gives a word to the next.
//! - For every bucket there is a column of bits over all positions. A search combines, leaf by leaf, the columns of the
//!   call's buckets, rarest attribute first, and leaves a leaf as soon as nothing remains of it.
//!
//! **The bitmaps are filters**: they may admit too much (values that share a bucket), never too little. Absent on purpose:
//! anything about bids; what an entry means and whether it really wants the call is the caller's.

pub mod dimension;
pub mod rank;
pub mod filters;
mod column;
mod leaf;
mod room;
mod walk;
#[cfg(test)]
mod tests;

pub use dimension::{DIMENSIONS, Dimension};
pub use filters::{Filters, Query};
pub use rank::Rank;
pub use walk::Tally;

use column::Column;
use leaf::{Leaf, POSITIONS};

/// No entry has this slot.
const NOWHERE: u32 = u32::MAX;
/// Entries appended in the order of ranks fill words this far: the rest is room for those that come later.
const APPENDED_MAX: usize = 56;

/// An ordered set of entries, each a slot number with a [`Rank`] and [`Filters`]. See the module's documentation.
///
/// Slots are the caller's numbers and should be dense: the board keeps four bytes for each up to the highest. Placing
/// entries in the order of their ranks is the fastest way to build a board, and fills it best.
#[derive(Debug)]
pub struct Board {
    columns: Vec<Column>,
    leaves: Vec<Box<Leaf>>,
    /// The leaves that have entries, best first.
    order: Vec<u32>,
    /// For each of them: no entry has a better rank, every entry of the leaf before has.
    fences: Vec<Rank>,
    free_leaves: Vec<u32>,
    /// By slot: leaf and position.
    places: Vec<u32>,
    len: usize,
    /// Reused by [`Board::put`].
    wanted_columns: Vec<u16>,
}

/// Where a rank belongs.
#[derive(Debug, Clone, Copy)]
struct Spot {
    /// The place of its leaf in the order of leaves.
    leaf_place: usize,
    leaf: usize,
    /// The place of its word in the order of the leaf.
    word_place: usize,
    word: usize,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            columns: vec![Column::default(); dimension::COLUMNS],
            leaves: Vec::new(),
            order: Vec::new(),
            fences: Vec::new(),
            free_leaves: Vec::new(),
            places: Vec::new(),
            len: 0,
            wanted_columns: Vec::new(),
        }
    }
}

impl Board {
    /// Places an entry, or puts it in place of what its slot had. It takes part until [`Board::set_live`] says otherwise.
    pub fn put(&mut self, slot: u32, rank: Rank, filters: &Filters) {
        let mut wanted = std::mem::take(&mut self.wanted_columns);
        filters.write_columns(&mut wanted);
        let columns = match self.place(slot) {
            None => Box::from(wanted.as_slice()),
            Some((leaf, position)) if *self.leaves[leaf].columns[position] == *wanted => {
                if self.rerank(leaf, position, &rank) {
                    self.wanted_columns = wanted;
                    return;
                }
                self.take(slot, leaf, position)
            }
            Some((leaf, position)) => {
                self.take(slot, leaf, position);
                Box::from(wanted.as_slice())
            }
        };
        self.wanted_columns = wanted;
        self.insert(slot, rank, columns);
    }

    /// Places an entry of a slot that has none, with the columns of its filters. It takes part until [`Board::set_live`] says otherwise.
    pub fn append(&mut self, slot: u32, rank: Rank, columns: Box<[u16]>) {
        debug_assert!(self.place(slot).is_none(), "slot {slot} has an entry");
        self.insert(slot, rank, columns);
    }

    /// Removes an entry; whether there was one.
    pub fn remove(&mut self, slot: u32) -> bool {
        let Some((leaf, position)) = self.place(slot) else { return false };
        self.take(slot, leaf, position);
        true
    }

    /// Has an entry take part in searches, or not; whether there is such an entry.
    pub fn set_live(&mut self, slot: u32, live: bool) -> bool {
        let Some((leaf, position)) = self.place(slot) else { return false };
        self.leaves[leaf].set_live(position, live);
        true
    }

    /// The rank of an entry.
    pub fn rank(&self, slot: u32) -> Option<Rank> {
        self.place(slot).map(|(leaf, position)| self.leaves[leaf].rank(position))
    }

    /// How many entries there are, those that do not take part included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The memory it holds, by capacities, in bytes. Counts everything: not for the hot path.
    pub fn bytes(&self) -> usize {
        let columns: usize =
            self.columns.iter().map(|column| size_of::<Column>() + column.heap_bytes()).sum();
        let leaves: usize = self.leaves.iter().map(|leaf| leaf.bytes()).sum();
        let leaf_lists = (self.order.capacity() + self.free_leaves.capacity() + self.places.capacity()) * 4;
        let fences = self.fences.capacity() * size_of::<Rank>();
        size_of::<Self>() + columns + leaves + self.leaves.capacity() * 8 + leaf_lists + fences
    }

    /// Leaf and position of a slot.
    fn place(&self, slot: u32) -> Option<(usize, usize)> {
        let place = *self.places.get(slot as usize)?;
        (place != NOWHERE).then_some((place as usize / POSITIONS, place as usize % POSITIONS))
    }

    fn set_place(&mut self, slot: u32, leaf: usize, position: usize) {
        let place = leaf * POSITIONS + position;
        self.places[slot as usize] = u32::try_from(place).expect("a board has fewer than 2^32 positions");
    }

    /// Where a rank belongs; `None` while there are no leaves.
    fn spot(&self, rank: &Rank) -> Option<Spot> {
        let leaf_place = self.leaf_place(rank);
        let leaf = *self.order.get(leaf_place)? as usize;
        let word_place = self.leaves[leaf].place_of(rank);
        Some(Spot { leaf_place, leaf, word_place, word: self.leaves[leaf].word_at(word_place) })
    }

    /// The place in the order of the leaf that has, or would have, this rank.
    fn leaf_place(&self, rank: &Rank) -> usize {
        self.fences.partition_point(|fence| fence <= rank).saturating_sub(1)
    }

    /// Gives an entry another rank where it stands, if the rank belongs to the same word.
    fn rerank(&mut self, leaf: usize, position: usize, rank: &Rank) -> bool {
        let Some(spot) = self.spot(rank) else { return false };
        if spot.leaf != leaf || spot.word != position / 64 {
            return false;
        }
        self.lower_fences(&spot, rank);
        let slot = self.leaves[leaf].slot(position);
        self.leaves[leaf].write(position, rank, slot);
        self.leaves[leaf].set_live(position, true);
        true
    }

    /// Stands an entry with these columns at the place of its rank.
    fn insert(&mut self, slot: u32, rank: Rank, columns: Box<[u16]>) {
        let (spot, position) = self.make_room(&rank);
        self.lower_fences(&spot, &rank);
        for column in &columns {
            self.columns[usize::from(*column)].set(spot.leaf, position);
        }
        let leaf = &mut self.leaves[spot.leaf];
        leaf.write(position, &rank, slot);
        leaf.set_live(position, true);
        leaf.columns[position] = columns;
        if self.places.len() <= slot as usize {
            self.places.resize(slot as usize + 1, NOWHERE);
        }
        self.set_place(slot, spot.leaf, position);
        self.len += 1;
    }

    /// An entry that is better than all of its word moves the fences; only the first word takes such entries.
    fn lower_fences(&mut self, spot: &Spot, rank: &Rank) {
        if *rank < self.leaves[spot.leaf].fence(spot.word) {
            self.leaves[spot.leaf].set_fence(spot.word, *rank);
        }
        if *rank < self.fences[spot.leaf_place] {
            self.fences[spot.leaf_place] = *rank;
        }
    }

    /// Takes an entry out and hands back its columns.
    fn take(&mut self, slot: u32, leaf: usize, position: usize) -> Box<[u16]> {
        let rank = self.leaves[leaf].rank(position);
        let columns = self.leaves[leaf].free(position);
        for column in &columns {
            self.columns[usize::from(*column)].clear(leaf, position);
        }
        self.places[slot as usize] = NOWHERE;
        self.len -= 1;
        self.thin_out(&rank, leaf, position / 64);
        columns
    }
}
