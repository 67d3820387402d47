//! Entries and calls as a market has them: states, area codes, ZIP codes and languages are zipf-like, so that some calls
//! are rare and some match nothing; every entry names five to eight dimensions.

use exchange::auction::board::{Board, DIMENSIONS, Dimension, Filters, Query, Rank};
use fastrand::Rng;

/// How many of the best entries a search wants.
pub(crate) const WANTED: usize = 8;

/// The buckets an entry admits, or those a call falls into, by dimension; an entry admits any where it names none.
pub(crate) type Buckets = [Vec<u16>; DIMENSIONS];

/// How many values an entry admits of a dimension, and how often it names the dimension, in percent.
const NAMES: [(Dimension, u16, u32); DIMENSIONS] = [
    (Dimension::Origin, 2, 100),
    (Dimension::State, 12, 100),
    (Dimension::AreaCode, 12, 10),
    (Dimension::Zip3, 12, 10),
    (Dimension::Language, 2, 100),
    (Dimension::Attestation, 2, 100),
    (Dimension::Seller, 20, 5),
    (Dimension::Tag, 5, 100),
];

/// Few values are common, many are rare.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 1 and the number of values"
)]
fn zipf(random: &mut Rng, values: u16) -> u16 {
    let value = (random.f64() * f64::from(values).ln()).exp() as u16;
    value.clamp(1, values) - 1
}

fn value(random: &mut Rng, dimension: Dimension) -> u16 {
    match dimension {
        Dimension::Origin | Dimension::Attestation => zipf(random, 4),
        Dimension::State => zipf(random, 51),
        Dimension::AreaCode => zipf(random, 350),
        Dimension::Zip3 => zipf(random, 900),
        Dimension::Language => zipf(random, 8),
        Dimension::Seller => random.u16(0..256),
        Dimension::Tag => zipf(random, 200),
    }
}

/// What a random entry admits.
pub(crate) fn admits(random: &mut Rng) -> Buckets {
    NAMES.map(|(dimension, values, percent)| {
        let values = if random.u32(0..100) < percent { values } else { 0 };
        (0..values).map(|_| value(random, dimension)).collect()
    })
}

/// A random call: one value of each dimension, three tags.
pub(crate) fn call(random: &mut Rng) -> Buckets {
    Dimension::ALL.map(|dimension| {
        let values = if dimension == Dimension::Tag { 3 } else { 1 };
        (0..values).map(|_| value(random, dimension)).collect()
    })
}

/// The filters of an entry.
pub(crate) fn filters(admits: &Buckets) -> Filters {
    let mut filters = Filters::default();
    for (dimension, buckets) in Dimension::ALL.into_iter().zip(admits) {
        for bucket in buckets {
            filters.admit(dimension, *bucket);
        }
    }
    filters
}

/// The query of a call.
pub(crate) fn query(call: &Buckets) -> Query {
    let mut query = Query::default();
    for (dimension, buckets) in Dimension::ALL.into_iter().zip(call) {
        for bucket in buckets {
            query.add(dimension, *bucket);
        }
    }
    query
}

/// A random price.
pub(crate) fn rank(random: &mut Rng, slot: u32) -> Rank {
    Rank { price: random.i64(1..100_000) * 1_000, priority: 5, id: slot.into() }
}

/// A board of random entries, placed in random order.
pub(crate) fn board(entries: u32) -> Board {
    let mut random = Rng::with_seed(7);
    let mut board = Board::default();
    for slot in 0..entries {
        let filters = filters(&admits(&mut random));
        board.put(slot, rank(&mut random, slot), &filters);
    }
    board
}

/// Random calls.
pub(crate) fn calls(count: usize) -> Vec<Buckets> {
    let mut random = Rng::with_seed(11);
    (0..count).map(|_| call(&mut random)).collect()
}
