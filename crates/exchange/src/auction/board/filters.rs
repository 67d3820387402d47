//! What an entry admits, and what a call is.

use super::dimension::{DIMENSIONS, Dimension};

/// What one entry admits: for each dimension it names, a set of buckets; any value of the others.
///
/// Meant to be cleared and filled again: it keeps its allocation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters {
    /// Columns, ascending.
    columns: Vec<u16>,
    /// One bit per dimension.
    named: u8,
}

impl Filters {
    /// Admits everything again.
    pub fn clear(&mut self) {
        self.columns.clear();
        self.named = 0;
    }

    /// Names a dimension: from now on only the buckets given to [`Filters::admit`] are admitted; without any, none is.
    pub fn name(&mut self, dimension: Dimension) {
        self.named |= 1 << dimension.number();
    }

    /// Names a dimension and admits one of its buckets (modulo [`Dimension::buckets`]).
    pub fn admit(&mut self, dimension: Dimension, bucket: u16) {
        self.name(dimension);
        let column = dimension.column(bucket);
        if let Err(place) = self.columns.binary_search(&column) {
            self.columns.insert(place, column);
        }
    }

    /// Writes the columns an entry with these filters has its bit in.
    pub(super) fn write_columns(&self, columns: &mut Vec<u16>) {
        columns.clear();
        columns.extend_from_slice(&self.columns);
        let unnamed = Dimension::ALL.iter().filter(|dimension| self.named & (1 << dimension.number()) == 0);
        columns.extend(unnamed.map(|dimension| dimension.any_column()));
    }
}

/// What is known of a call: for each dimension the buckets it falls into. Of a dimension that is not known, only entries
/// that admit any value pass.
///
/// Meant to be cleared and filled again: it keeps its allocation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Columns, grouped by dimension in canonical order.
    columns: Vec<u16>,
    /// Where the columns of each dimension end.
    ends: [u16; DIMENSIONS],
}

impl Query {
    /// Knows nothing yet, with room for what is known of an ordinary call.
    pub fn with_room() -> Self {
        Self { columns: Vec::with_capacity(16), ..Self::default() }
    }

    /// Knows nothing again.
    pub fn clear(&mut self) {
        self.columns.clear();
        self.ends = [0; DIMENSIONS];
    }

    /// Adds a bucket (modulo [`Dimension::buckets`]) that the call falls into. An entry passes a dimension if it admits one
    /// of the call's buckets.
    pub fn add(&mut self, dimension: Dimension, bucket: u16) {
        let column = dimension.column(bucket);
        if self.columns(dimension.number()).contains(&column) {
            return;
        }
        self.columns.insert(usize::from(self.ends[dimension.number()]), column);
        for end in &mut self.ends[dimension.number()..] {
            *end += 1;
        }
    }

    /// The columns of one dimension, by its number.
    #[inline]
    pub(super) fn columns(&self, dimension: usize) -> &[u16] {
        let first = if dimension == 0 { 0 } else { usize::from(self.ends[dimension - 1]) };
        &self.columns[first..usize::from(self.ends[dimension])]
    }
}
