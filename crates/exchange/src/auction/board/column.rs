//! One column of bits: which positions of which leaves admit one bucket.

use super::leaf::{Line, WORDS};

/// A bitmap over all positions of all leaves: one cache line per leaf, up to the last leaf that ever had a bit of it.
///
/// Dense on purpose: a search reads a column of a leaf with one look at memory and without a branch that depends on the
/// data. Keeping only what is not zero was tried and was three times slower.
#[derive(Debug, Clone, Default)]
pub(super) struct Column {
    lines: Vec<Line>,
    bits: u32,
}

impl Column {
    /// How many bits are set.
    pub(super) fn bits(&self) -> u32 {
        self.bits
    }

    /// Sets the bit of a position, which must be clear.
    pub(super) fn set(&mut self, leaf: usize, position: usize) {
        if leaf >= self.lines.len() {
            self.lines.resize(leaf + 1, [0; WORDS]);
        }
        debug_assert_eq!(self.lines[leaf][position / 64] & (1 << (position % 64)), 0);
        self.lines[leaf][position / 64] |= 1 << (position % 64);
        self.bits += 1;
    }

    /// Clears the bit of a position, which must be set.
    pub(super) fn clear(&mut self, leaf: usize, position: usize) {
        debug_assert_ne!(self.lines[leaf][position / 64] & (1 << (position % 64)), 0);
        self.lines[leaf][position / 64] &= !(1 << (position % 64));
        self.bits -= 1;
    }

    /// The bits, by leaf; the leaves beyond have none.
    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Bytes held outside of the structure itself.
    pub(super) fn heap_bytes(&self) -> usize {
        self.lines.capacity() * size_of::<Line>()
    }
}
