//! `dce bench auction`: how long it takes to find the best bids for a call, and to decide it whole, while bids are changed all
//! the time; beside a naive scan of the same bids in the same run, which is both yardstick and oracle.

use super::decision::{nanoseconds, plan_of};
use super::market::{START, VERTICALS, arrival, bid, call, market, scan};
use super::percentiles::Percentiles;
use exchange::book::Book;
use exchange::call::Arrival;
use exchange::call_flow;
use exchange::effect::{Command, Input};
use exchange::id::CallId;
use exchange::policy::Policy;
use exchange::time::Timestamp;
use fastrand::Rng;
use serde::Serialize;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The best so many bids are searched.
const WANTED: usize = 8;
/// Bids looked at by all naive scans of one kind together: the budget that keeps a run short.
const NAIVE_BIDS: usize = 20_000_000;
/// Searches for each naive scan at least: a scan goes through all of the bids' memory and leaves the caches as no exchange at
/// work finds them.
const SEARCHES_PER_SCAN: usize = 50;

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct AuctionFigures {
    bids: usize,
    /// Share of the bids of a call's vertical that would take it, averaged over the calls.
    selectivity: f64,
    /// Finding the best 8, exact: criteria, price, standing, hours, caps, money.
    match_us: Percentiles,
    /// A whole decision: screen, match, score, clear, hold, receipt, events.
    decision_us: Percentiles,
    /// Finding the best 8 by looking at every bid and sorting.
    naive_us: Percentiles,
    /// Changing a bid; the most a search that comes at the same moment waits.
    update_us: Percentiles,
    /// Changes of bids applied in each second of the measurement.
    updates_per_s: u64,
    /// Memory the process grew by for each bid, everything included.
    bytes_per_bid: u64,
    /// Of that, the boards that are searched.
    board_bytes_per_bid: u64,
    /// Calls on which search and scan disagree, or plan and scan: must be 0.
    pub(crate) differences: usize,
}

/// Builds a book of `bids` bids and measures `calls` searches and as many decisions.
pub(super) fn run(bids: usize, updates_per_s: u32, calls: usize, seed: u64) -> AuctionFigures {
    let mut rng = Rng::with_seed(seed);
    let resident_before = resident_bytes();
    let mut book = market(bids, &mut rng);
    let bytes_per_bid = resident_bytes().saturating_sub(resident_before) / bids as u64;
    let mut bench = Bench {
        updates: Updates::new(bids, updates_per_s),
        rng,
        calls: 0,
        naive_calls: (NAIVE_BIDS / bids).clamp(20, 2_000).min(calls.div_ceil(SEARCHES_PER_SCAN)),
        differences: 0,
        naive_ns: Vec::new(),
    };
    let (match_ns, selectivity) = bench.searches(&mut book, calls);
    let decision_ns = bench.decisions(&mut book, calls);
    AuctionFigures {
        bids,
        selectivity,
        match_us: Percentiles::of_ns(match_ns),
        decision_us: Percentiles::of_ns(decision_ns),
        naive_us: Percentiles::of_ns(bench.naive_ns),
        updates_per_s: bench.updates.per_s(),
        update_us: Percentiles::of_ns(bench.updates.took_ns),
        bytes_per_bid,
        board_bytes_per_bid: book.bids().board_bytes() as u64 / bids as u64,
        differences: bench.differences,
    }
}

struct Bench {
    updates: Updates,
    rng: Rng,
    calls: usize,
    naive_calls: usize,
    differences: usize,
    naive_ns: Vec<u64>,
}

impl Bench {
    fn next_call(&mut self) -> (CallId, Arrival, Timestamp) {
        self.calls += 1;
        let id = CallId(Uuid::from_u128(self.calls as u128));
        (id, arrival(self.calls, &mut self.rng), START.plus_ms(self.calls as u64 * 10))
    }

    /// Searches, each after the updates that are due; some of them checked against the scan. A tenth more than asked for
    /// warms the caches first and is not counted.
    fn searches(&mut self, book: &mut Book, calls: usize) -> (Vec<u64>, f64) {
        let mut took_ns = Vec::with_capacity(calls);
        let (mut matching, mut looked_at) = (0, 0);
        let warm_up = calls / 10;
        for index in 0..warm_up + calls {
            let (id, arrival, now) = self.next_call();
            let call = call(book, id, &arrival, now);
            self.updates.apply_due(book, &mut self.rng);
            let facts = book.facts(&call, &[]).expect("a known seller");
            let market = book.market(now);
            let started = Instant::now();
            let found = book.bids().search(&facts, &market, WANTED);
            let took = started.elapsed();
            if index >= warm_up {
                took_ns.push(nanoseconds(took));
            }
            if index % (calls / self.naive_calls).max(1) == 0 {
                let (expected, scan_took, all) = self.updates.aside(|| {
                    let started = Instant::now();
                    let expected = scan(book, &call, now, WANTED);
                    (expected, started.elapsed(), scan(book, &call, now, usize::MAX).len())
                });
                self.naive_ns.push(nanoseconds(scan_took));
                self.differences += usize::from(found.offers != expected);
                matching += all;
                looked_at += book.bids().len() / VERTICALS.len();
            }
        }
        (took_ns, matching as f64 / looked_at.max(1) as f64)
    }

    /// Whole decisions in the same manner. Each call is given up at once, so that capacity and money come back.
    fn decisions(&mut self, book: &mut Book, calls: usize) -> Vec<u64> {
        let mut took_ns = Vec::with_capacity(calls);
        let places = usize::from(Policy::default().route_plan_max);
        for index in 0..calls {
            let (id, arrival, now) = self.next_call();
            self.updates.apply_due(book, &mut self.rng);
            let is_checked = index % (calls / self.naive_calls).max(1) == 0;
            let expected = is_checked
                .then(|| self.updates.aside(|| scan(book, &call(book, id, &arrival, now), now, places)));
            let started = Instant::now();
            let effects = call_flow::step(book, id, Input::Arrived(arrival), now).expect("a new call");
            took_ns.push(nanoseconds(started.elapsed()));
            if let Some(expected) = expected {
                let expected: Vec<_> =
                    expected.into_iter().map(|(slot, _)| book.bids().at(slot).profile.id).collect();
                self.differences += usize::from(plan_of(&effects) != expected);
            }
            call_flow::step(book, id, Input::CallerHungUp, now).expect("a ringing call");
        }
        took_ns
    }
}

/// Changes of bids at a steady rate: each puts a new version of one bid, other price and other criteria, in place of the old.
struct Updates {
    per_s: u32,
    bids: usize,
    /// Made beforehand: what a client sends is read on other threads.
    ready: Vec<Command>,
    /// Time measured before the current stretch, and when that began.
    before: Duration,
    stretch: Instant,
    applied: u64,
    took_ns: Vec<u64>,
}

impl Updates {
    fn new(bids: usize, per_s: u32) -> Self {
        let (before, stretch) = (Duration::ZERO, Instant::now());
        Self { per_s, bids, ready: Vec::new(), before, stretch, applied: 0, took_ns: Vec::new() }
    }

    fn measured(&self) -> Duration {
        self.before + self.stretch.elapsed()
    }

    /// Does something that is not part of the measurement: its time does not count.
    fn aside<T>(&mut self, something: impl FnOnce() -> T) -> T {
        self.before = self.measured();
        let value = something();
        self.stretch = Instant::now();
        value
    }

    fn prepare(&mut self, rng: &mut Rng) {
        let bids = self.bids;
        let more = self.aside(|| {
            let bids = (0..16_384).map(|_| bid(rng.usize(..bids), rng));
            bids.map(|bid| Command::PutBidProfile { bid: Box::new(bid) }).collect::<Vec<_>>()
        });
        self.ready.extend(more);
    }

    fn apply_due(&mut self, book: &mut Book, rng: &mut Rng) {
        let due = self.measured().as_nanos() * u128::from(self.per_s) / 1_000_000_000;
        while u128::from(self.applied) < due {
            if self.ready.is_empty() {
                self.prepare(rng);
            }
            let Some(command) = self.ready.pop() else { return };
            let started = Instant::now();
            book.apply(command, START).expect("a valid bid");
            self.took_ns.push(nanoseconds(started.elapsed()));
            self.applied += 1;
        }
    }

    fn per_s(&self) -> u64 {
        let millis = self.measured().as_millis().max(1);
        u64::try_from(u128::from(self.applied) * 1_000 / millis).unwrap_or(u64::MAX)
    }
}

/// The memory the process has in use, in bytes; 0 where the system does not tell.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4_096
}
