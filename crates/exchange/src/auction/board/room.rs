//! Making room where a rank belongs, and giving up room that is no longer needed.
//!
//! Both move at most some 64 entries at a time, so that no update makes a search wait long.

use super::leaf::{Leaf, WORD_POSITIONS, WORDS};
use super::rank::Rank;
use super::{APPENDED_MAX, Board, Spot};

/// A word with at most this many entries takes some from a full neighbour: fewer would soon be full again.
const TAKER_MAX: usize = WORD_POSITIONS - 8;
/// A word with at most this many entries joins a neighbour ...
const JOINS_MAX: usize = 16;
/// ... that has at most this many.
const JOINED_MAX: usize = 32;
/// A leaf with at most this many words gives them to a neighbour with as many to spare, and as many again.
const FEW_WORDS: usize = 2;

impl Board {
    /// The spot of a rank and a free position in it. Each round of the loop brings the room nearer: a word out of the leaf,
    /// entries to another word, a new word; there are at most five.
    pub(super) fn make_room(&mut self, rank: &Rank) -> (Spot, usize) {
        loop {
            let Some(spot) = self.spot(rank) else {
                let leaf = self.link_leaf(0, *rank);
                self.leaves[leaf].open_word(0, 0, *rank);
                continue;
            };
            let leaf = &self.leaves[spot.leaf];
            match leaf.free_position(spot.word) {
                Some(position) if !self.starts_a_word(&spot, rank) => return (spot, position),
                _ => self.make_some_room(&spot, rank),
            }
        }
    }

    /// Whether the rank is appended to a board whose last word is as full as appending makes it.
    fn starts_a_word(&self, spot: &Spot, rank: &Rank) -> bool {
        let leaf = &self.leaves[spot.leaf];
        spot.leaf_place + 1 == self.order.len()
            && spot.word_place + 1 == leaf.order().len()
            && leaf.count(spot.word) >= APPENDED_MAX
            && *rank > self.worst(spot)
    }

    fn make_some_room(&mut self, spot: &Spot, rank: &Rank) {
        if *rank > self.worst(spot) {
            if self.make_room_after(spot, rank) {
                return;
            }
        } else if *rank < self.best(spot) && self.make_room_before(spot, rank) {
            return;
        }
        let leaf = &self.leaves[spot.leaf];
        if let Some(taker) = nearest_taker(leaf, spot.word_place, 1) {
            return self.push(spot.leaf, spot.word_place, taker);
        }
        if let Some(free) = leaf.free_word() {
            return self.split_word(spot, free);
        }
        if let Some(taker) = nearest_taker(leaf, spot.word_place, WORDS) {
            return self.push(spot.leaf, spot.word_place, taker);
        }
        self.give_a_word(spot);
    }

    /// Room between a full word and the next, for a rank that is worse than all of the full one. Moves nothing.
    fn make_room_after(&mut self, spot: &Spot, rank: &Rank) -> bool {
        let leaf = &mut self.leaves[spot.leaf];
        let next_place = spot.word_place + 1;
        if let Some(next) = leaf.order().get(next_place).map(|word| usize::from(*word))
            && leaf.count(next) < WORD_POSITIONS
        {
            leaf.set_fence(next, *rank);
            return true;
        }
        if let Some(free) = leaf.free_word() {
            leaf.open_word(next_place, free, *rank);
            return true;
        }
        if next_place < leaf.order().len() {
            return false;
        }
        self.make_room_at_front(spot.leaf_place + 1, rank);
        true
    }

    /// Room between a full word and the one before, for a rank that is better than all of the full one. Moves nothing.
    fn make_room_before(&mut self, spot: &Spot, rank: &Rank) -> bool {
        if spot.word_place > 0 {
            let best = self.best(spot);
            self.leaves[spot.leaf].set_fence(spot.word, best);
            return true;
        }
        if spot.leaf_place > 0 {
            return false;
        }
        let best = self.best(spot);
        self.leaves[spot.leaf].set_fence(spot.word, best);
        self.fences[0] = best;
        if let Some(free) = self.leaves[spot.leaf].free_word() {
            self.leaves[spot.leaf].open_word(0, free, *rank);
            self.fences[0] = *rank;
        } else {
            let leaf = self.link_leaf(0, *rank);
            self.leaves[leaf].open_word(0, 0, *rank);
        }
        true
    }

    /// Room at the front of a leaf for a rank that is better than all of it and worse than all of the leaf before; if the
    /// leaf has none, in a new leaf before it.
    fn make_room_at_front(&mut self, leaf_place: usize, rank: &Rank) {
        if let Some(leaf) = self.order.get(leaf_place).map(|leaf| &mut self.leaves[*leaf as usize]) {
            let first = leaf.word_at(0);
            let has_room = leaf.count(first) < WORD_POSITIONS;
            if has_room {
                leaf.set_fence(first, *rank);
            } else if let Some(free) = leaf.free_word() {
                leaf.open_word(0, free, *rank);
            }
            if has_room || leaf.word_at(0) != first {
                self.fences[leaf_place] = *rank;
                return;
            }
        }
        let leaf = self.link_leaf(leaf_place, *rank);
        self.leaves[leaf].open_word(0, 0, *rank);
    }

    /// Moves entries from word to word, from `from` to `taker` (places of the order), until `from` has room.
    fn push(&mut self, leaf: usize, from: usize, taker: usize) {
        let taken = (WORD_POSITIONS - self.leaves[leaf].count(self.leaves[leaf].word_at(taker))) / 2;
        let mut to = taker;
        while to != from {
            let giver = if to > from { to - 1 } else { to + 1 };
            self.push_one(leaf, giver, to, taken);
            to = giver;
        }
    }

    /// Moves some entries to the next or the previous word of the order.
    fn push_one(&mut self, leaf: usize, giver: usize, taker: usize, taken: usize) {
        let (giver_word, taker_word) = (self.leaves[leaf].word_at(giver), self.leaves[leaf].word_at(taker));
        let mut sorted = [0; WORD_POSITIONS];
        let count = self.leaves[leaf].sort(giver_word, self.leaves[leaf].used[giver_word], &mut sorted);
        if taker > giver {
            let moved = &sorted[count - taken..count];
            let fence = self.leaves[leaf].rank(usize::from(moved[0]));
            self.leaves[leaf].set_fence(taker_word, fence);
            self.move_entries(leaf, moved, leaf, taker_word);
        } else {
            let fence = self.leaves[leaf].rank(usize::from(sorted[taken]));
            self.leaves[leaf].set_fence(giver_word, fence);
            self.move_entries(leaf, &sorted[..taken], leaf, taker_word);
        }
    }

    /// Moves the worse half of a full word to a free word.
    fn split_word(&mut self, spot: &Spot, free: usize) {
        let leaf = &mut self.leaves[spot.leaf];
        let mut sorted = [0; WORD_POSITIONS];
        let count = leaf.sort(spot.word, leaf.used[spot.word], &mut sorted);
        let moved = &sorted[count / 2..count];
        let fence = leaf.rank(usize::from(moved[0]));
        leaf.open_word(spot.word_place + 1, free, fence);
        self.move_entries(spot.leaf, moved, spot.leaf, free);
    }

    /// Moves a word of a full leaf to the next leaf or the previous one, or else to a new one. If that is the word in need of
    /// room it will be split there, so the taker must have another free word: else they would give it to and fro.
    fn give_a_word(&mut self, spot: &Spot) {
        let free_words = |place: usize| {
            self.order.get(place).map_or(0, |leaf| WORDS - self.leaves[*leaf as usize].order().len())
        };
        let (next, last_place) = (spot.leaf_place + 1, WORDS - 1);
        if free_words(next) > usize::from(spot.word_place == last_place) {
            self.give_last_word(spot.leaf_place);
        } else if spot.leaf_place > 0 && free_words(spot.leaf_place - 1) > usize::from(spot.word_place == 0) {
            self.give_first_word(spot.leaf_place);
        } else {
            let leaf = &self.leaves[spot.leaf];
            let fence = leaf.fence(leaf.word_at(last_place));
            self.link_leaf(next, fence);
            self.give_last_word(spot.leaf_place);
        }
    }

    /// Moves the last word of a leaf to the front of the next leaf.
    fn give_last_word(&mut self, leaf_place: usize) {
        let (giver, taker) = (self.order[leaf_place] as usize, self.order[leaf_place + 1] as usize);
        let place = self.leaves[giver].order().len() - 1;
        let fence = self.give(giver, place, taker, 0);
        self.fences[leaf_place + 1] = fence;
    }

    /// Moves the first word of a leaf to the end of the previous leaf.
    fn give_first_word(&mut self, leaf_place: usize) {
        let (giver, taker) = (self.order[leaf_place] as usize, self.order[leaf_place - 1] as usize);
        self.give(giver, 0, taker, self.leaves[taker].order().len());
        let giver = &self.leaves[giver];
        if let Some(first) = giver.order().first() {
            self.fences[leaf_place] = giver.fence(usize::from(*first));
        }
    }

    /// Moves a word from leaf to leaf, between places of their orders; its fence.
    fn give(&mut self, giver: usize, giver_place: usize, taker: usize, taker_place: usize) -> Rank {
        let word = self.leaves[giver].word_at(giver_place);
        let fence = self.leaves[giver].fence(word);
        let free = self.leaves[taker].free_word().expect("the taker was chosen for its free word");
        self.leaves[taker].open_word(taker_place, free, fence);
        let mut sorted = [0; WORD_POSITIONS];
        let count = self.leaves[giver].sort(word, self.leaves[giver].used[word], &mut sorted);
        self.move_entries(giver, &sorted[..count], taker, free);
        self.leaves[giver].close_word(giver_place);
        fence
    }

    /// After a removal: closes the word if it is empty, joins it with a neighbour if both are thin, and likewise the leaf.
    pub(super) fn thin_out(&mut self, removed: &Rank, leaf: usize, word: usize) {
        let count = self.leaves[leaf].count(word);
        if count > JOINS_MAX {
            return;
        }
        let place = self.leaves[leaf].place_of(removed);
        debug_assert_eq!(self.leaves[leaf].word_at(place), word);
        if count == 0 {
            self.leaves[leaf].close_word(place);
        } else {
            self.join(leaf, place);
        }
        if self.leaves[leaf].order().len() <= FEW_WORDS {
            let leaf_place = self.leaf_place(removed);
            debug_assert_eq!(self.order[leaf_place] as usize, leaf);
            self.thin_out_leaf(leaf_place);
        }
    }

    /// Moves the entries of a thin word to a neighbour that has room for them and more, if one has.
    fn join(&mut self, leaf: usize, place: usize) {
        let (word, order) = (self.leaves[leaf].word_at(place), self.leaves[leaf].order());
        let is_thin = |place: &usize| {
            order.get(*place).is_some_and(|word| self.leaves[leaf].count(usize::from(*word)) <= JOINED_MAX)
        };
        let Some(taker) = [place + 1, place.wrapping_sub(1)].into_iter().find(is_thin) else { return };
        let taker_word = self.leaves[leaf].word_at(taker);
        if taker > place {
            let fence = self.leaves[leaf].fence(word);
            self.leaves[leaf].set_fence(taker_word, fence);
        }
        let mut sorted = [0; WORD_POSITIONS];
        let count = self.leaves[leaf].sort(word, self.leaves[leaf].used[word], &mut sorted);
        self.move_entries(leaf, &sorted[..count], leaf, taker_word);
        self.leaves[leaf].close_word(place);
    }

    /// Unlinks a leaf without entries; a leaf of few words gives one to a neighbour that has many to spare.
    fn thin_out_leaf(&mut self, leaf_place: usize) {
        let words =
            |place: usize| self.order.get(place).map(|leaf| self.leaves[*leaf as usize].order().len());
        let has_many_free = |place: usize| words(place).is_some_and(|words| words + 2 * FEW_WORDS <= WORDS);
        if words(leaf_place) != Some(0) {
            if has_many_free(leaf_place + 1) {
                self.give_last_word(leaf_place);
            } else if leaf_place > 0 && has_many_free(leaf_place - 1) {
                self.give_first_word(leaf_place);
            }
        }
        let leaf = self.order[leaf_place];
        if self.leaves[leaf as usize].order().is_empty() {
            self.order.remove(leaf_place);
            self.fences.remove(leaf_place);
            self.free_leaves.push(leaf);
        }
    }

    /// A leaf without words at a place of the order.
    fn link_leaf(&mut self, leaf_place: usize, fence: Rank) -> usize {
        let leaf = self.free_leaves.pop().unwrap_or_else(|| {
            self.leaves.push(Leaf::new());
            u32::try_from(self.leaves.len() - 1).expect("a board has fewer than 2^23 leaves")
        });
        self.order.insert(leaf_place, leaf);
        self.fences.insert(leaf_place, fence);
        leaf as usize
    }

    /// Moves entries to free positions of a word.
    fn move_entries(&mut self, from_leaf: usize, positions: &[u16], to_leaf: usize, to_word: usize) {
        for from in positions.iter().map(|position| usize::from(*position)) {
            let to = self.leaves[to_leaf].free_position(to_word).expect("the caller made sure of room");
            let giver = &mut self.leaves[from_leaf];
            let (rank, slot, live) = (giver.rank(from), giver.slot(from), giver.is_live(from));
            let columns = giver.free(from);
            for column in &columns {
                let column = &mut self.columns[usize::from(*column)];
                column.clear(from_leaf, from);
                column.set(to_leaf, to);
            }
            let taker = &mut self.leaves[to_leaf];
            taker.write(to, &rank, slot);
            taker.set_live(to, live);
            taker.columns[to] = columns;
            self.set_place(slot, to_leaf, to);
        }
    }

    /// The worst rank of a word that has entries.
    fn worst(&self, spot: &Spot) -> Rank {
        self.ranks(spot).max().unwrap_or(Rank::BEST)
    }

    /// The best rank of a word that has entries.
    fn best(&self, spot: &Spot) -> Rank {
        self.ranks(spot).min().unwrap_or(Rank::BEST)
    }

    fn ranks(&self, spot: &Spot) -> impl Iterator<Item = Rank> {
        let leaf = &self.leaves[spot.leaf];
        let (used, first) = (leaf.used[spot.word], spot.word * WORD_POSITIONS);
        let positions = (0..WORD_POSITIONS).filter(move |position| used & (1 << position) != 0);
        positions.map(move |position| leaf.rank(first + position))
    }
}

/// The place of the nearest word, at most `reach` places away, that can take entries; the emptier of two as near.
fn nearest_taker(leaf: &Leaf, place: usize, reach: usize) -> Option<usize> {
    let count = |place: usize| leaf.order().get(place).map(|word| leaf.count(usize::from(*word)));
    (1..=reach).find_map(|distance| {
        let near = [place + distance, place.wrapping_sub(distance)];
        let takers = near.into_iter().filter(|near| count(*near).is_some_and(|count| count <= TAKER_MAX));
        takers.min_by_key(|near| count(*near))
    })
}
