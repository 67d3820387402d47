//! `dce bench decision`: how long a whole decision takes (screen, auction, hold, receipt), beside a naive scan of the
//! same bids for the same call in the same run, which is both yardstick and oracle.

use super::market::{START, VERTICALS, arrival, call, market, scan};
use super::percentiles::Percentiles;
use exchange::book::Book;
use exchange::call::Arrival;
use exchange::call_flow;
use exchange::effect::{Effect, Input, Record};
use exchange::id::{BidProfileId, CallId};
use exchange::policy::Policy;
use exchange::time::Timestamp;
use fastrand::Rng;
use serde::Serialize;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct DecisionFigures {
    bids: usize,
    calls: usize,
    decision_us: Percentiles,
    naive_us: Percentiles,
    /// Calls whose route plan was not the naive scan's: must be 0.
    pub(crate) differences: usize,
    /// Share of the bids of a call's vertical that would take it, averaged over the calls.
    selectivity: f64,
}

/// Builds a book of `bids` bids and decides `calls` calls.
pub(super) fn run(bids: usize, calls: usize, seed: u64) -> DecisionFigures {
    let mut rng = Rng::with_seed(seed);
    let mut book = market(bids, &mut rng);
    let (mut decision_ns, mut naive_ns) = (Vec::with_capacity(calls), Vec::with_capacity(calls));
    let (mut differences, mut matching, mut looked_at) = (0, 0_usize, 0_usize);
    // The first tenth warms caches and branch predictors and is not counted.
    let warm_up = calls / 10;
    for index in 0..warm_up + calls {
        let now = START.plus_ms(index as u64 * 10);
        let id = CallId(Uuid::from_u128(index as u128 + 1));
        let arrival = arrival(index, &mut rng);

        let started = Instant::now();
        let expected = naive(&book, id, &arrival, now);
        let naive_took = started.elapsed();
        if index % 50 == 0 {
            matching += would_take(&book, id, &arrival, now);
            looked_at += bids / VERTICALS.len();
        }

        let started = Instant::now();
        let effects = call_flow::step(&mut book, id, Input::Arrived(arrival), now).expect("a new call");
        let decision_took = started.elapsed();

        if index >= warm_up {
            decision_ns.push(nanoseconds(decision_took));
            naive_ns.push(nanoseconds(naive_took));
            differences += usize::from(plan_of(&effects) != expected);
        }
        call_flow::step(&mut book, id, Input::CallerHungUp, now).expect("a ringing call");
    }
    DecisionFigures {
        bids,
        calls,
        decision_us: Percentiles::of_ns(decision_ns),
        naive_us: Percentiles::of_ns(naive_ns),
        differences,
        selectivity: matching as f64 / looked_at.max(1) as f64,
    }
}

pub(super) fn nanoseconds(took: Duration) -> u64 {
    u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
}

/// The route plan on the receipt.
pub(super) fn plan_of(effects: &[Effect]) -> Vec<BidProfileId> {
    let receipt = effects.iter().find_map(|effect| match effect {
        Effect::Record(Record::Receipt(receipt)) => receipt.auction.as_ref(),
        _ => None,
    });
    receipt.map(|auction| auction.ranking.iter().map(|ranked| ranked.bid).collect()).unwrap_or_default()
}

fn naive(book: &Book, id: CallId, arrival: &Arrival, now: Timestamp) -> Vec<BidProfileId> {
    let wanted = usize::from(Policy::default().route_plan_max);
    let offers = scan(book, &call(book, id, arrival, now), now, wanted);
    offers.into_iter().map(|(slot, _)| book.bids().at(slot).profile.id).collect()
}

/// How many bids would take the call.
fn would_take(book: &Book, id: CallId, arrival: &Arrival, now: Timestamp) -> usize {
    scan(book, &call(book, id, arrival, now), now, usize::MAX).len()
}
