//! `dce bench outbox`: how fast events go from the outbox to Kafka, and how long after it is durable an event reaches a consumer.

use super::ground::{self, EmptyStore};
use super::percentiles::Percentiles;
use super::settle::submit;
use crate::config::Config;
use crate::failure::Failure;
use exchange::effect::Record;
use exchange::event::{Event, Fact, Subject};
use exchange::id::{BidProfileId, CallId};
use exchange::routing::Algorithm;
use exchange::time::Timestamp;
use infra::bus::kafka::Relay;
use infra::bus::{Bus, BusError, Subscription};
use infra::store::{Store, UnitOfWork};
use serde::Serialize;
use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Events of one unit of work: about what a step of a call writes.
const EVENTS_PER_UNIT: usize = 4;
/// How long the events may take to come out at the other end once they are sent.
const PATIENCE: Duration = Duration::from_mins(2);

/// What was measured.
#[derive(Debug, Serialize)]
pub(super) struct OutboxFigures {
    store: &'static str,
    events: usize,
    /// The yardstick: events the store alone made durable in a second.
    stored_per_s: f64,
    /// Events the relay copied to Kafka in a second, each acknowledged by the brokers.
    relayed_per_s: f64,
    /// Events written in each second while the lag was measured.
    paced_per_s: u32,
    /// From durable to in the hands of a consumer group.
    lag_p50_ms: f64,
    lag_p99_ms: f64,
    /// Events that did not come, or came out of their subject's order: must be 0.
    pub(super) faults: usize,
}

/// Writes `events` events, relays them, then writes `paced_per_s` a second for `paced_s` seconds beside a consumer.
pub(super) fn run(
    config: &Config,
    events: usize,
    paced_per_s: u32,
    paced_s: u32,
) -> Result<OutboxFigures, Failure> {
    let kafka = ground::kafka(&config.bus.kafka)?;
    let empty = EmptyStore::of(config)?;
    let store = empty.open()?;

    let stored_s = store_all(&store, events)?;
    let started = Instant::now();
    let relay = Relay::start(&kafka, "/bench", store.reader(), store.writer())?;
    wait_until_sent(&relay, events)?;
    let relayed_s = started.elapsed().as_secs_f64();

    let mut group = Bus::Kafka(kafka).subscribe("bench").map_err(failure)?;
    let (mut order, mut seen) = (Order::default(), 0);
    let until = Instant::now() + PATIENCE;
    while seen < events && Instant::now() < until {
        let came = group.next(5_000, Duration::from_millis(500)).map_err(failure)?;
        for event in &came {
            order.note(&event.subject, event.seq);
        }
        seen += came.len();
    }
    let mut faults = events.abs_diff(seen) + order.broken;
    let paced = (paced_per_s * paced_s) as usize;
    let lags_us = lags(&store, &mut *group, paced, paced_per_s)?;
    faults += paced.abs_diff(lags_us.len());
    let Percentiles { p50, p99, .. } = Percentiles::of(lags_us, 1_000.0);
    Ok(OutboxFigures {
        store: empty.kind(),
        events,
        stored_per_s: events as f64 / stored_s,
        relayed_per_s: events as f64 / relayed_s,
        paced_per_s,
        lag_p50_ms: p50,
        lag_p99_ms: p99,
        faults,
    })
}

fn failure(error: BusError) -> Failure {
    Failure::environment(error.to_string())
}

/// Seconds it took to make the events durable.
fn store_all(store: &Store, events: usize) -> Result<f64, Failure> {
    let started = Instant::now();
    for first in (0..events).step_by(EVENTS_PER_UNIT) {
        let records = (first..events.min(first + EVENTS_PER_UNIT))
            .map(|number| event(number, a_call(number)))
            .collect();
        submit(&store.writer(), UnitOfWork { journal: None, records }, || {});
    }
    store.writer().commit(UnitOfWork::default())?;
    Ok(started.elapsed().as_secs_f64())
}

/// An event of an ordinary size.
fn event(number: usize, subject: Subject) -> Record {
    let bid = |place| BidProfileId(Uuid::from_u128(number as u128 * 8 + place));
    let fact = Fact::RoutingDecision { algorithm: Algorithm::HighestBid, plan: (0..3).map(bid).collect() };
    Record::Event(Event { subject, at: Timestamp(1_782_925_200_000_000), fact })
}

/// One of a hundred calls.
fn a_call(number: usize) -> Subject {
    Subject::Call(CallId(Uuid::from_u128(number as u128 / EVENTS_PER_UNIT as u128 % 100)))
}

fn wait_until_sent(relay: &Relay, events: usize) -> Result<(), Failure> {
    let until = Instant::now() + PATIENCE;
    while relay.status().count < events as u64 {
        if let (Some(finding), true) = (relay.status().failing, Instant::now() > until) {
            return Err(Failure::environment(finding));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Microseconds from durable to read, of each event: written at a steady pace, one a unit.
fn lags(store: &Store, group: &mut dyn Subscription, events: usize, per_s: u32) -> Result<Vec<u64>, Failure> {
    let (told, durable): (Sender<Instant>, Receiver<Instant>) = channel();
    let writer = store.writer();
    let pacing = std::thread::spawn(move || {
        let started = Instant::now();
        for number in 0..events {
            let due = Duration::from_secs_f64(number as f64 / f64::from(per_s));
            std::thread::sleep(due.saturating_sub(started.elapsed()));
            let told = told.clone();
            // One subject keeps the order of all, so that durable and read go in pairs.
            let unit = UnitOfWork { journal: None, records: vec![event(number, Subject::Exchange)] };
            submit(&writer, unit, move || told.send(Instant::now()).expect("the benchmark listens"));
        }
    });
    let until = Instant::now() + PATIENCE + Duration::from_secs_f64(events as f64 / f64::from(per_s));
    let mut lags_us = Vec::with_capacity(events);
    while lags_us.len() < events && Instant::now() < until {
        let came = group.next(5_000, Duration::from_millis(5)).map_err(failure)?;
        let now = Instant::now();
        for _ in came {
            let durable = durable.recv().map_err(|_| Failure::environment("the store stopped"))?;
            lags_us.push(u64::try_from((now - durable).as_micros()).unwrap_or(u64::MAX));
        }
    }
    pacing.join().map_err(|_| Failure::environment("the pace could not be kept"))?;
    Ok(lags_us)
}

/// Whether each subject's events come in their order.
#[derive(Default)]
struct Order {
    latest: HashMap<String, i64>,
    broken: usize,
}

impl Order {
    fn note(&mut self, subject: &str, seq: i64) {
        let latest = self.latest.entry(subject.to_owned()).or_insert(0);
        self.broken += usize::from(seq <= *latest);
        *latest = seq;
    }
}
