//! One column of bits: which positions of which leaves admit one bucket.

use super::leaf::{Line, WORDS};

/// Leaves that share a chunk.
const CHUNK_LEAVES: usize = 8;
/// Words of a chunk: one bit each in [`Chunk::present`].
const CHUNK_WORDS: usize = CHUNK_LEAVES * WORDS;
/// A chunk with more words than this holds all of them, so that reading needs no counting.
const SPARSE_WORDS_MAX: usize = 24;

/// A chunk with all of its words that has no more than this many left keeps only those.
const DENSE_WORDS_MIN: u32 = 8;

/// A growing bitmap over all positions of all leaves, most of which may be clear.
///
/// Eight leaves share a chunk. A chunk keeps only its words that are not zero, until they are many: a rare bucket costs
/// little memory, and a search sees from one word that eight leaves have nothing of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Column {
    chunks: Vec<Chunk>,
    bits: u32,
}

#[derive(Debug, Clone, Default)]
struct Chunk {
    /// Which words are not zero.
    present: u64,
    /// The words that are not zero, in order; or all of them once they are many.
    words: Vec<u64>,
}

impl Chunk {
    fn is_dense(&self) -> bool {
        self.words.len() == CHUNK_WORDS
    }

    /// Where a word is, or belongs.
    fn place(&self, word: usize) -> usize {
        if self.is_dense() { word } else { (self.present & ((1 << word) - 1)).count_ones() as usize }
    }

    /// Whether the bit was clear.
    fn set(&mut self, word: usize, bit: u64) -> bool {
        let place = self.place(word);
        if self.is_dense() || self.present & (1 << word) != 0 {
            let was_clear = self.words[place] & bit == 0;
            self.words[place] |= bit;
            self.present |= 1 << word;
            return was_clear;
        }
        self.words.insert(place, bit);
        self.present |= 1 << word;
        if self.words.len() > SPARSE_WORDS_MAX {
            self.spread();
        }
        true
    }

    /// Whether the bit was set.
    fn clear(&mut self, word: usize, bit: u64) -> bool {
        if self.present & (1 << word) == 0 {
            return false;
        }
        let place = self.place(word);
        let was_set = self.words[place] & bit != 0;
        self.words[place] &= !bit;
        if self.words[place] == 0 {
            self.present &= !(1 << word);
            if !self.is_dense() {
                self.words.remove(place);
            } else if self.present.count_ones() <= DENSE_WORDS_MIN {
                self.words = self.words.iter().copied().filter(|word| *word != 0).collect();
            }
        }
        was_set
    }

    /// From the words that are not zero to all words.
    fn spread(&mut self) {
        let mut all = vec![0; CHUNK_WORDS];
        let mut present = self.present;
        for word in &self.words {
            all[present.trailing_zeros() as usize] = *word;
            present &= present - 1;
        }
        self.words = all;
    }
}

impl Column {
    /// How many bits are set.
    pub(super) fn bits(&self) -> u32 {
        self.bits
    }

    /// Sets the bit of a position.
    pub(super) fn set(&mut self, leaf: usize, position: usize) {
        let chunk = leaf / CHUNK_LEAVES;
        if chunk >= self.chunks.len() {
            self.chunks.resize_with(chunk + 1, Chunk::default);
        }
        if self.chunks[chunk].set(leaf % CHUNK_LEAVES * WORDS + position / 64, 1 << (position % 64)) {
            self.bits += 1;
        }
    }

    /// Clears the bit of a position.
    pub(super) fn clear(&mut self, leaf: usize, position: usize) {
        let Some(chunk) = self.chunks.get_mut(leaf / CHUNK_LEAVES) else { return };
        if chunk.clear(leaf % CHUNK_LEAVES * WORDS + position / 64, 1 << (position % 64)) {
            self.bits -= 1;
        }
    }

    /// Adds the bits of one leaf.
    #[inline]
    pub(super) fn or_into(&self, leaf: usize, line: &mut Line) {
        let Some(chunk) = self.chunks.get(leaf / CHUNK_LEAVES) else { return };
        let first = leaf % CHUNK_LEAVES * WORDS;
        let mut present = (chunk.present >> first) & 0xff;
        if present == 0 {
            return;
        }
        if chunk.is_dense() {
            for (word, bits) in line.iter_mut().zip(&chunk.words[first..first + WORDS]) {
                *word |= bits;
            }
            return;
        }
        for bits in &chunk.words[chunk.place(first)..] {
            if present == 0 {
                break;
            }
            line[present.trailing_zeros() as usize] |= bits;
            present &= present - 1;
        }
    }

    /// Bytes held outside of the structure itself.
    pub(super) fn heap_bytes(&self) -> usize {
        let words: usize = self.chunks.iter().map(|chunk| chunk.words.capacity() * size_of::<u64>()).sum();
        self.chunks.capacity() * size_of::<Chunk>() + words
    }
}
