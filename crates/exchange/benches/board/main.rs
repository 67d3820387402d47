//! The board: searches, updates and building, beside a scan of all entries.
//!
//! `cargo bench -p exchange --bench board`

mod workload;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use exchange::auction::board::{Board, Filters, Query, Rank};
use fastrand::Rng;
use std::ops::ControlFlow;
use workload::{Buckets, WANTED};

const SIZES: [u32; 3] = [10_000, 100_000, 1_000_000];
/// Filters that updates choose from.
const CHOICES: usize = 1_024;

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
    let queries: Vec<Query> = workload::calls(4_096).iter().map(workload::query).collect();
    let mut group = criterion.benchmark_group("search");
    for entries in SIZES {
        let board = workload::board(entries);
        let mut queries = queries.iter().cycle();
        group.bench_function(BenchmarkId::new("best_8", entries), |bencher| {
            bencher.iter(|| best(&board, queries.next().expect("endless")));
        });
        group.bench_function(BenchmarkId::new("tally_512", entries), |bencher| {
            bencher.iter(|| board.tally(queries.next().expect("endless"), None, 512));
        });
    }
}

/// The yardstick: every entry is asked, the matches are sorted.
fn scan(entries: &[(Rank, Buckets)], call: &Buckets) -> Vec<Rank> {
    let admits = |admits: &Buckets| {
        let mut dimensions = admits.iter().zip(call);
        dimensions.all(|(admitted, buckets)| {
            admitted.is_empty() || buckets.iter().any(|bucket| admitted.contains(bucket))
        })
    };
    let matching = entries.iter().filter(|(_, admitted)| admits(admitted));
    let mut ranks: Vec<Rank> = matching.map(|(rank, _)| *rank).collect();
    ranks.sort_unstable();
    ranks.truncate(WANTED);
    ranks
}

fn naive(criterion: &mut Criterion) {
    let calls = workload::calls(4_096);
    let mut group = criterion.benchmark_group("naive");
    for count in [10_000, 100_000] {
        let mut random = Rng::with_seed(7);
        let entry = |slot| {
            let admits = workload::admits(&mut random);
            (workload::rank(&mut random, slot), admits)
        };
        let entries: Vec<(Rank, Buckets)> = (0..count).map(entry).collect();
        let mut calls = calls.iter().cycle();
        group.bench_function(BenchmarkId::new("best_8", count), |bencher| {
            bencher.iter(|| scan(&entries, calls.next().expect("endless")));
        });
    }
}

fn choices() -> Vec<Filters> {
    let mut random = Rng::with_seed(13);
    (0..CHOICES).map(|_| workload::filters(&workload::admits(&mut random))).collect()
}

fn update(criterion: &mut Criterion) {
    let choices = choices();
    let mut group = criterion.benchmark_group("update");
    for entries in SIZES {
        let mut board = Board::default();
        let mut random = Rng::with_seed(17);
        for slot in 0..entries {
            board.put(slot, workload::rank(&mut random, slot), &choices[slot as usize % CHOICES]);
        }
        group.bench_function(BenchmarkId::new("price", entries), |bencher| {
            bencher.iter(|| {
                let slot = random.u32(0..entries);
                board.put(slot, workload::rank(&mut random, slot), &choices[slot as usize % CHOICES]);
            });
        });
        group.bench_function(BenchmarkId::new("remove_and_put", entries), |bencher| {
            bencher.iter(|| {
                let slot = random.u32(0..entries);
                board.remove(slot);
                board.put(slot, workload::rank(&mut random, slot), &choices[random.usize(0..CHOICES)]);
            });
        });
        group.bench_function(BenchmarkId::new("pause", entries), |bencher| {
            bencher.iter(|| board.set_live(random.u32(0..entries), random.bool()));
        });
    }
}

fn build(criterion: &mut Criterion) {
    let choices = choices();
    let mut group = criterion.benchmark_group("build");
    group.sample_size(10);
    for entries in SIZES {
        let mut random = Rng::with_seed(19);
        let ranks: Vec<Rank> = (0..entries).map(|slot| workload::rank(&mut random, slot)).collect();
        let mut sorted = ranks.clone();
        sorted.sort_unstable();
        group.throughput(Throughput::Elements(entries.into()));
        for (order, ranks) in [("random", &ranks), ("best_first", &sorted)] {
            group.bench_function(BenchmarkId::new(order, entries), |bencher| {
                let place = |mut board: Board| {
                    for (slot, rank) in (0..).zip(ranks) {
                        board.put(slot, *rank, &choices[slot as usize % CHOICES]);
                    }
                    board
                };
                bencher.iter_batched(Board::default, place, BatchSize::PerIteration);
            });
        }
    }
}

criterion_group!(benches, search, naive, update, build);
criterion_main!(benches);
