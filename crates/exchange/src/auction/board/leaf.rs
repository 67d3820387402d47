//! A leaf: 512 positions whose eight words of 64 are in the order of ranks.

use super::rank::Rank;
use std::cmp::Ordering;

/// Words of a leaf.
pub(super) const WORDS: usize = 8;
/// Positions of a word.
pub(super) const WORD_POSITIONS: usize = 64;
/// Positions of a leaf.
pub(super) const POSITIONS: usize = WORDS * WORD_POSITIONS;

/// One bit for each position of a leaf: a cache line.
pub(super) type Line = [u64; WORDS];

/// What is known of an entry beside its bits: half a cache line, so that a look at one is a look at one line.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(32))]
struct Entry {
    price: i64,
    /// The identity of the rank in two halves, for which eight bytes of alignment do.
    id: [u64; 2],
    slot: u32,
    priority: u8,
}

/// A run of the order. Words are in order, positions inside a word are not.
#[derive(Debug)]
pub(super) struct Leaf {
    /// Positions that have an entry.
    pub(super) used: Line,
    /// Positions whose entry takes part.
    pub(super) live: Line,
    /// The words that have entries, best first.
    order: [u8; WORDS],
    /// How many words have entries.
    words: u8,
    /// No entry of a word has a better rank than its fence; every entry of the word before has. By word, not by order.
    fences: [Rank; WORDS],
    entries: [Entry; POSITIONS],
    /// The columns that have the entry's bit.
    pub(super) columns: [Box<[u16]>; POSITIONS],
}

impl Leaf {
    pub(super) fn new() -> Box<Self> {
        Box::new(Self {
            used: [0; WORDS],
            live: [0; WORDS],
            order: [0; WORDS],
            words: 0,
            fences: [Rank::BEST; WORDS],
            entries: [Entry::default(); POSITIONS],
            columns: std::array::from_fn(|_| Box::default()),
        })
    }

    /// The words that have entries, best first.
    pub(super) fn order(&self) -> &[u8] {
        &self.order[..usize::from(self.words)]
    }

    /// The word at a place of the order.
    pub(super) fn word_at(&self, place: usize) -> usize {
        usize::from(self.order()[place])
    }

    /// The place in the order of the word that has, or would have, this rank.
    pub(super) fn place_of(&self, rank: &Rank) -> usize {
        self.order().partition_point(|word| self.fences[usize::from(*word)] <= *rank).saturating_sub(1)
    }

    /// A word without entries, if there is one.
    pub(super) fn free_word(&self) -> Option<usize> {
        (0..).take(WORDS).find(|word| !self.order().contains(word)).map(usize::from)
    }

    /// Opens a word at a place of the order.
    pub(super) fn open_word(&mut self, place: usize, word: usize, fence: Rank) {
        debug_assert!(place <= usize::from(self.words) && self.used[word] == 0);
        self.order.copy_within(place..usize::from(self.words), place + 1);
        self.order[place] = u8::try_from(word).expect("a leaf has eight words");
        self.words += 1;
        self.fences[word] = fence;
    }

    /// Closes the word at a place of the order; it must have no entries.
    pub(super) fn close_word(&mut self, place: usize) {
        debug_assert_eq!(self.used[self.word_at(place)], 0);
        self.order.copy_within(place + 1..usize::from(self.words), place);
        self.words -= 1;
    }

    /// The fence of a word.
    pub(super) fn fence(&self, word: usize) -> Rank {
        self.fences[word]
    }

    /// Sets the fence of a word.
    pub(super) fn set_fence(&mut self, word: usize, fence: Rank) {
        self.fences[word] = fence;
    }

    /// How many entries a word has.
    pub(super) fn count(&self, word: usize) -> usize {
        self.used[word].count_ones() as usize
    }

    /// A free position of a word, if there is one.
    pub(super) fn free_position(&self, word: usize) -> Option<usize> {
        let free = !self.used[word];
        (free != 0).then(|| word * WORD_POSITIONS + free.trailing_zeros() as usize)
    }

    /// The rank at a position.
    pub(super) fn rank(&self, position: usize) -> Rank {
        let Entry { price, id: [high, low], priority, .. } = self.entries[position];
        Rank { price, priority, id: u128::from(high) << 64 | u128::from(low) }
    }

    /// The slot at a position.
    pub(super) fn slot(&self, position: usize) -> u32 {
        self.entries[position].slot
    }

    /// Whether the entry at a position takes part.
    pub(super) fn is_live(&self, position: usize) -> bool {
        self.live[position / 64] & (1 << (position % 64)) != 0
    }

    /// Has the entry at a position take part, or not.
    pub(super) fn set_live(&mut self, position: usize, live: bool) {
        let bit = 1 << (position % 64);
        if live {
            self.live[position / 64] |= bit;
        } else {
            self.live[position / 64] &= !bit;
        }
    }

    /// Writes an entry's rank and slot, and marks the position used.
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of the id")]
    pub(super) fn write(&mut self, position: usize, rank: &Rank, slot: u32) {
        self.used[position / 64] |= 1 << (position % 64);
        let Rank { price, priority, id } = *rank;
        self.entries[position] = Entry { price, id: [(id >> 64) as u64, id as u64], slot, priority };
    }

    /// Frees a position and hands out its entry's columns.
    pub(super) fn free(&mut self, position: usize) -> Box<[u16]> {
        self.used[position / 64] &= !(1 << (position % 64));
        self.set_live(position, false);
        std::mem::take(&mut self.columns[position])
    }

    /// The positions of a mask's bits in one word, best rank first, written to `positions`; returns how many.
    #[inline]
    pub(super) fn sort(&self, word: usize, mut bits: u64, positions: &mut [u16; WORD_POSITIONS]) -> usize {
        let count = bits.count_ones() as usize;
        for position in &mut positions[..count] {
            *position = u16::try_from(word * WORD_POSITIONS + bits.trailing_zeros() as usize)
                .expect("a leaf has 512 positions");
            bits &= bits - 1;
        }
        positions[..count].sort_unstable_by(|left, right| self.compare(*left, *right));
        count
    }

    /// Which of two positions has the better rank.
    #[inline]
    fn compare(&self, left: u16, right: u16) -> Ordering {
        let (left, right) = (usize::from(left), usize::from(right));
        let by_price = self.entries[right].price.cmp(&self.entries[left].price);
        by_price.then_with(|| self.rank(left).cmp(&self.rank(right)))
    }

    /// Bytes held by the leaf, with the lists of columns.
    pub(super) fn bytes(&self) -> usize {
        let columns: usize = self.columns.iter().map(|columns| columns.len() * size_of::<u16>()).sum();
        size_of::<Self>() + columns
    }
}
