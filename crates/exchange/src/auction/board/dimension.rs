//! The attributes of a call that the board filters by, and the numbering of their buckets.

/// An attribute of a call that entries may filter by, in the canonical order of [`Tally::refused`](super::Tally).
///
/// Every value of an attribute falls into one of a fixed number of buckets. Where there are more values than buckets
/// (languages, sellers, tags) values share buckets by a hash, so **the bitmaps are filters: they may admit too much, never
/// too little**. The caller's exact check of each visited entry decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// How the consumer came to be on the line.
    Origin,
    /// The consumer's state, province or territory.
    State,
    /// The caller's area code; the bucket is the code less 200.
    AreaCode,
    /// The first three digits of the consumer's ZIP code.
    Zip3,
    /// The consumer's language, hashed.
    Language,
    /// The call's STIR/SHAKEN attestation.
    Attestation,
    /// The seller, hashed.
    Seller,
    /// The tags of the call, hashed, one bucket per tag.
    Tag,
}

/// How many dimensions there are.
pub const DIMENSIONS: usize = 8;

/// How many columns of bits a board can have: one for each bucket, and one per dimension for "admits any".
pub(super) const COLUMNS: usize = ANY_FIRST as usize + DIMENSIONS;

/// The number of the first "admits any" column.
const ANY_FIRST: u16 = 4 + 128 + 800 + 1000 + 64 + 4 + 256 + 1024;

impl Dimension {
    /// All, in canonical order.
    pub const ALL: [Self; DIMENSIONS] = [
        Self::Origin,
        Self::State,
        Self::AreaCode,
        Self::Zip3,
        Self::Language,
        Self::Attestation,
        Self::Seller,
        Self::Tag,
    ];

    /// How many buckets it has. A greater bucket number wraps around.
    pub const fn buckets(self) -> u16 {
        match self {
            Self::Origin | Self::Attestation => 4,
            Self::State => 128,
            Self::AreaCode => 800,
            Self::Zip3 => 1000,
            Self::Language => 64,
            Self::Seller => 256,
            Self::Tag => 1024,
        }
    }

    /// Its place in the canonical order.
    pub const fn number(self) -> usize {
        self as usize
    }

    /// The column of one bucket.
    pub(super) const fn column(self, bucket: u16) -> u16 {
        FIRST_COLUMN[self.number()] + bucket % self.buckets()
    }

    /// The column of the entries that admit any value.
    pub(super) const fn any_column(self) -> u16 {
        ANY_FIRST + self as u16
    }
}

/// The column of each dimension's bucket 0.
const FIRST_COLUMN: [u16; DIMENSIONS] = {
    let mut first = [0; DIMENSIONS];
    let mut number = 1;
    while number < DIMENSIONS {
        first[number] = first[number - 1] + Dimension::ALL[number - 1].buckets();
        number += 1;
    }
    first
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_has_a_column_of_its_own() {
        let buckets = Dimension::ALL.iter().flat_map(|dimension| {
            (0..dimension.buckets()).map(|bucket| dimension.column(bucket)).chain([dimension.any_column()])
        });
        let mut columns: Vec<u16> = buckets.collect();
        columns.sort_unstable();
        let expected: Vec<u16> = (0..).take(COLUMNS).collect();
        assert_eq!(columns, expected);
    }
}
