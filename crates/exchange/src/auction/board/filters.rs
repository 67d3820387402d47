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

    /// The columns an entry with these filters has its bit in.
    pub fn columns(&self) -> Box<[u16]> {
        let mut columns = Vec::with_capacity(self.columns.len() + DIMENSIONS);
        self.write_columns(&mut columns);
        columns.into()
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// One column of each dimension; [`UNKNOWN`] where none is known.
    first: [u16; DIMENSIONS],
    /// The others, ascending, and so by dimension: few calls have any, but for tags.
    more: Vec<u16>,
}

/// Stands for no column.
const UNKNOWN: u16 = u16::MAX;

impl Default for Query {
    /// Knows nothing.
    fn default() -> Self {
        Self { first: [UNKNOWN; DIMENSIONS], more: Vec::new() }
    }
}

impl Query {
    /// Adds a bucket (modulo [`Dimension::buckets`]) that the call falls into. An entry passes a dimension if it admits one
    /// of the call's buckets.
    #[inline]
    pub fn add(&mut self, dimension: Dimension, bucket: u16) {
        let column = dimension.column(bucket);
        let first = &mut self.first[dimension.number()];
        if *first == UNKNOWN {
            *first = column;
        } else if *first != column
            && let Err(place) = self.more.binary_search(&column)
        {
            self.more.insert(place, column);
        }
    }

    /// One column of a dimension, if any is known.
    #[inline]
    pub(super) fn first(&self, dimension: Dimension) -> Option<u16> {
        let first = self.first[dimension.number()];
        (first != UNKNOWN).then_some(first)
    }

    /// The other columns of a dimension.
    #[inline]
    pub(super) fn more(&self, dimension: Dimension) -> &[u16] {
        if self.more.is_empty() {
            return &[];
        }
        let columns = dimension.column(0)..=dimension.column(dimension.buckets() - 1);
        let from = self.more.partition_point(|column| column < columns.start());
        let to = self.more.partition_point(|column| column <= columns.end());
        &self.more[from..to]
    }
}
