//! The board: searches, updates and building, beside a scan of all entries.
//!
//! Entries name five to seven dimensions, calls are drawn as the market has them: states, area codes and languages by a
//! zipf-like law, so that some calls are rare and some match nothing. `cargo bench -p exchange --bench board`

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use exchange::auction::board::{Board, Dimension, Filters, Query, Rank};
use fastrand::Rng;
use std::hint::black_box;
use std::ops::ControlFlow;

const WANTED: usize = 8;
const SIZES: [u32; 3] = [10_000, 100_000, 1_000_000];

/// Few values are common, many are rare.
fn zipf(random: &mut Rng, values: u16) -> u16 {
    let exponent = random.f64() * f64::from(values).ln();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below the number of values")]
    let value = exponent.exp() as u16 - 1;
    value.min(values - 1)
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

/// How many of a dimension's values an entry admits, and how often it names the dimension, in percent.
const NAMES: [(Dimension, u16, u32); 8] = [
    (Dimension::Origin, 2, 100),
    (Dimension::State, 12, 100),
    (Dimension::Language, 1, 100),
    (Dimension::Attestation, 2, 100),
    (Dimension::Tag, 3, 100),
    (Dimension::Seller, 60, 20),
    (Dimension::AreaCode, 25, 15),
    (Dimension::Zip3, 25, 10),
];

fn random_filters(random: &mut Rng, filters: &mut Filters) {
    filters.clear();
    for (dimension, values, percent) in NAMES {
        if random.u32(0..100) >= percent {
            continue;
        }
        for _ in 0..values {
            filters.admit(dimension, value(random, dimension));
        }
    }
}

fn random_rank(random: &mut Rng, slot: u32) -> Rank {
    Rank { price: random.i64(1..100_000) * 1_000, priority: 5, id: slot.into() }
}

fn random_query(random: &mut Rng, query: &mut Query) {
    query.clear();
    for dimension in Dimension::ALL {
        let values = if dimension == Dimension::Tag { 3 } else { 1 };
        for _ in 0..values {
            query.add(dimension, value(random, dimension));
        }
    }
}

fn board(entries: u32) -> Board {
    let mut random = Rng::with_seed(7);
    let mut board = Board::default();
    let mut filters = Filters::default();
    for slot in 0..entries {
        random_filters(&mut random, &mut filters);
        board.put(slot, random_rank(&mut random, slot), &filters);
    }
    board
}

fn queries() -> Vec<Query> {
    let mut random = Rng::with_seed(11);
    let mut query = Query::default();
    let queries = (0..4_096).map(|_| {
        random_query(&mut random, &mut query);
        query.clone()
    });
    queries.collect()
}

fn best(board: &Board, query: &Query) -> ([u32; WANTED], usize) {
    let (mut slots, mut count) = ([0; WANTED], 0);
    board.walk(query, |slot, _| {
        slots[count] = slot;
        count += 1;
        if count == WANTED { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    (slots, count)
}

fn search(criterion: &mut Criterion) {
    let queries = queries();
    let mut group = criterion.benchmark_group("search");
    for entries in SIZES {
        let board = board(entries);
        let mut next = queries.iter().cycle();
        group.bench_function(BenchmarkId::new("best_8", entries), |bencher| {
            bencher.iter(|| best(&board, next.next().expect("a cycle")));
        });
        group.bench_function(BenchmarkId::new("tally_512", entries), |bencher| {
            bencher.iter(|| board.tally(next.next().expect("a cycle"), None, 512));
        });
    }
}

criterion_group!(benches, search);
criterion_main!(benches);
