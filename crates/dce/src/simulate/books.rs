//! The stack of a configuration under a simulated world: its store beside the simulated disk, its coordination loaded from the store at
//! each start, its bus read to the end. Two stacks on which one world was played must have come to the same.

use crate::config::Config;
use crate::failure::Failure;
use exchange::account::AccountKind;
use exchange::id::AccountId;
use exchange::snapshot::Snapshot;
use gateway::EVENT_SOURCE;
use infra::audit::Hash;
use infra::bus::kafka::Relay;
use infra::bus::{Bus, BusError};
use infra::coordination::{Coordination, CoordinationError};
use infra::store::{
    CommitResult, MAX_PAGE, OnDurable, OutboxEvent, Place, Store, StoreError, StoreOptions, UnitOfWork,
};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use uuid::Uuid;

/// How long the bus may take to give everything out.
const PATIENCE: Duration = Duration::from_mins(2);

/// The only node there is.
const NODE: Uuid = Uuid::from_u128(1);

/// What a world came to on a stack.
#[derive(Debug, Serialize)]
pub(super) struct Digests {
    /// Of transfers, balances and calls, as `dce verify` has it.
    pub(super) ledger_digest: Hash,
    /// Of all events in the order of their subjects, as the bus gave them out.
    pub(super) events_digest: Hash,
    /// Of buyers' money and of what is in use, as the coordination had it after each start.
    pub(super) figures_digest: Hash,
    pub(super) events: usize,
    pub(super) violations: Vec<String>,
}

/// An open stack.
pub(super) struct Books {
    config: Config,
    place: Place,
    store: Option<Store>,
    runtime: Runtime,
    coordination: Coordination,
    /// Everything the coordination said.
    figures: String,
    /// Units that were not written, and why.
    refused: Arc<Mutex<Vec<String>>>,
}

impl Books {
    /// Opens a stack on which nothing was ever booked.
    pub(super) fn open(config: &Config) -> Result<Self, Failure> {
        let runtime =
            Runtime::new().map_err(|error| Failure::environment(format!("no thread to run on: {error}")))?;
        let coordination = runtime.block_on(Coordination::start(&config.coordination));
        let coordination = coordination.map_err(|error| Failure::usage(error.to_string()))?;
        let place = config.place();
        let store = Store::open(place.clone(), &StoreOptions::default())?;
        let is_empty = store.reader().events_after(0, 1)?.is_empty() && store.load()?.accounts.is_empty();
        if !is_empty {
            return Err(Failure::environment(format!(
                "{place}: there are books already; name an empty directory or database"
            )));
        }
        Ok(Self {
            config: config.clone(),
            place,
            store: Some(store),
            runtime,
            coordination,
            figures: String::new(),
            refused: Arc::default(),
        })
    }

    /// Hands a unit over to be written, behind those before it.
    pub(super) fn write(&self, unit: &UnitOfWork) {
        let Some(store) = &self.store else { return };
        let refused = Arc::clone(&self.refused);
        let told = OnDurable::new(move |result| {
            if result != CommitResult::Durable {
                let mut refused = refused.lock().unwrap_or_else(PoisonError::into_inner);
                refused.push(format!("a unit of work was not written: {result:?}"));
            }
        });
        // Of a store that has stopped the next start tells.
        let _ = store.writer().submit_blocking(unit.clone(), told);
    }

    /// Closes the store and opens it anew, loads the coordination from it, and gives what a process starts from.
    pub(super) fn reopen(&mut self) -> Result<Snapshot, Failure> {
        self.store = None;
        let store = self.store.insert(Store::open(self.place.clone(), &StoreOptions::default())?);
        let snapshot = store.load()?;
        self.load_coordination(&snapshot)
            .map_err(|error: CoordinationError| Failure::environment(error.to_string()))?;
        Ok(snapshot)
    }

    /// Loads it, asks it what each buyer has, and gives back through it what open attempts hold.
    fn load_coordination(&mut self, snapshot: &Snapshot) -> Result<(), CoordinationError> {
        let buyers: Vec<AccountId> = snapshot
            .accounts
            .values()
            .filter(|account| account.kind == AccountKind::Buyer)
            .map(|account| account.id)
            .collect();
        let (coordination, figures) = (&self.coordination, &mut self.figures);
        self.runtime.block_on(async {
            let epoch = coordination.join().await?.map_or(NonZeroU64::MIN, |epoch| epoch.saturating_add(1));
            coordination.rebuild(snapshot, epoch, |_| NODE).await?;
            for buyer in &buyers {
                note(figures, *buyer, coordination.figures(*buyer).await?);
            }
            for open in coordination.reserved_by(NODE, buyers.iter().copied()).await? {
                let ended = coordination.release(open.buyer, open.key).await?;
                note(figures, open.buyer, (open.key, ended, coordination.figures(open.buyer).await?));
            }
            Ok(())
        })
    }

    /// Reads everything back, and hashes it.
    pub(super) fn conclude(mut self) -> Result<Digests, Failure> {
        self.reopen()?;
        let store = self.store.take().ok_or_else(|| Failure::environment("the store is closed"))?;
        let report = store.reader().verify()?;
        let mut violations = report.violations;
        violations.append(&mut self.refused.lock().unwrap_or_else(PoisonError::into_inner));
        let written = all_events(&store)?;
        let given_out = self.given_out(&store, &written).map_err(|error| match error {
            BusError::Store(error) => error.into(),
            error => Failure::environment(error.to_string()),
        })?;
        let (written_by_subject, given_out) = (by_subject(&written), by_subject(&given_out));
        if given_out != written_by_subject {
            violations
                .push("the bus gave out other events than were written, or in another order".to_owned());
        }
        Ok(Digests {
            ledger_digest: report.ledger_digest,
            events_digest: Hash::of(&format!("{given_out:?}")),
            figures_digest: Hash::of(&self.figures),
            events: written.len(),
            violations,
        })
    }

    /// What the bus gives to a new group, each event once.
    fn given_out(&self, store: &Store, written: &[OutboxEvent]) -> Result<Vec<OutboxEvent>, BusError> {
        let kafka = &self.config.bus.kafka;
        let (reader, writer) = (store.reader(), store.writer());
        let (bus, relay) = if kafka.brokers.is_empty() {
            (Bus::Local { reader, writer }, None)
        } else {
            (Bus::Kafka(kafka.clone()), Some(Relay::start(kafka, EVENT_SOURCE, reader, writer)?))
        };
        // Topics may hold other stores' events.
        let mut missing: HashSet<Uuid> = written.iter().map(|event| event.id).collect();
        let mut group = bus.subscribe(&format!("simulate {}", Uuid::now_v7()))?;
        let (mut given_out, until) = (Vec::new(), Instant::now() + PATIENCE);
        while !missing.is_empty() && Instant::now() < until {
            let came = group.next(MAX_PAGE, Duration::from_millis(500))?;
            given_out.extend(came.into_iter().filter(|event| missing.remove(&event.id)));
        }
        drop(relay);
        Ok(given_out)
    }
}

fn note(figures: &mut String, buyer: AccountId, said: impl std::fmt::Debug) {
    writeln!(figures, "{buyer} {said:?}").expect("a text takes what is written");
}

fn all_events(store: &Store) -> Result<Vec<OutboxEvent>, StoreError> {
    let mut events: Vec<OutboxEvent> = Vec::new();
    loop {
        let after = events.last().map_or(0, |event| event.seq);
        let more = store.reader().events_after(after, MAX_PAGE)?;
        if more.is_empty() {
            return Ok(events);
        }
        events.extend(more);
    }
}

/// All that events say, but for their ids, which begin with the store's own.
fn by_subject(events: &[OutboxEvent]) -> BTreeMap<&str, Vec<String>> {
    let mut subjects: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for OutboxEvent { seq, kind, subject, at, data, .. } in events {
        subjects.entry(subject).or_default().push(format!("{seq} {kind} {} {data}", at.0));
    }
    subjects
}
