//! One column of bits: which positions of which leaves admit one bucket.

use super::leaf::Line;

/// A line in a cache line of its own: unaligned, every look at it would be two.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
pub(super) struct Row(pub(super) Line);

/// A bitmap over all positions of all leaves: one cache line per leaf, up to the last leaf that ever had a bit of it.
///
/// Dense on purpose: a search reads a row with one look at memory and without a branch that depends on what it finds, so that
/// many looks are under way at once. Keeping only the words that are not zero, or short lists of positions, was tried: about
/// half the memory, about twice the time of searches and updates.
#[derive(Debug, Clone, Default)]
pub(super) struct Column {
    rows: Vec<Row>,
    bits: u32,
}

impl Column {
    /// How many bits are set.
    pub(super) fn bits(&self) -> u32 {
        self.bits
    }

    /// Sets the bit of a position, which must be clear.
    pub(super) fn set(&mut self, leaf: usize, position: usize) {
        if leaf >= self.rows.len() {
            self.rows.resize(leaf + 1, Row::default());
        }
        debug_assert_eq!(self.rows[leaf].0[position / 64] & (1 << (position % 64)), 0);
        self.rows[leaf].0[position / 64] |= 1 << (position % 64);
        self.bits += 1;
    }

    /// Clears the bit of a position, which must be set.
    pub(super) fn clear(&mut self, leaf: usize, position: usize) {
        debug_assert_ne!(self.rows[leaf].0[position / 64] & (1 << (position % 64)), 0);
        self.rows[leaf].0[position / 64] &= !(1 << (position % 64));
        self.bits -= 1;
    }

    /// The bits, by leaf; the leaves beyond have none.
    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Bytes held outside of the structure itself.
    pub(super) fn heap_bytes(&self) -> usize {
        self.rows.capacity() * size_of::<Row>()
    }
}
