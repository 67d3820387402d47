//! What runs where the book is, and nowhere else: the store's writer, the engine, and the background jobs, of each of which there is
//! one in the whole exchange for that reason.

use super::consumers::{Consumers, catch_up};
use super::off_thread;
use crate::audit_key;
use crate::config::Config;
use crate::failure::Failure;
use crate::key;
use engine::{BookPlace, Engine, EngineThread, LiveBidders};
use exchange::audit::{Actor, AuditAction, AuditEntry};
use exchange::effect::Action;
use exchange::id::CallId;
use gateway::EVENT_SOURCE;
use infra::audit::Anchorer;
use infra::bus::consumer::ConsumerStatus;
use infra::bus::kafka::{RELAY_CURSOR, Relay};
use infra::store::image::BidImage;
use infra::store::imager::Imager;
use infra::store::{
    OnDurable, PostgresqlError, Reader, RetentionJob, RetentionStatus, Store, StoreError, StoreHealth,
    StoreOptions, UnitOfWork, Writer,
};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::time::sleep;

/// How often a node that may have the book looks whether it is wanted.
const LOOK: Duration = Duration::from_millis(250);

/// How long the node with the book may be without its store before another one tries to do better.
const STORE_AWAY_MAX: Duration = Duration::from_secs(15);

/// The book of this node, once it has it.
#[derive(Clone, Default)]
pub(super) struct Slot(Arc<Mutex<Option<BookHere>>>);

/// What runs where the book is.
pub(super) struct BookHere {
    store: Store,
    engine_thread: EngineThread,
    anchorer: Anchorer,
    relay: Option<Arc<Relay>>,
    imager: Imager,
    retention: RetentionJob,
    consumers: Consumers,
}

impl Slot {
    fn book(&self) -> MutexGuard<'_, Option<BookHere>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fill(&self, book: BookHere) {
        *self.book() = Some(book);
    }

    pub(super) fn take(&self) -> Option<BookHere> {
        self.book().take()
    }

    /// What copies events to Kafka, if that is done here.
    pub(super) fn relay(&self) -> Option<Arc<Relay>> {
        self.book().as_ref()?.relay.clone()
    }

    /// How it goes with clearing what is old, if that is done here.
    pub(super) fn retention(&self) -> Option<RetentionStatus> {
        Some(self.book().as_ref()?.retention.status())
    }

    /// How consumers are doing, by group; nothing if they are elsewhere.
    pub(super) fn consumers(&self) -> Vec<(String, ConsumerStatus)> {
        self.book().as_ref().map(|book| book.consumers.status()).unwrap_or_default()
    }

    /// What writes to the store, if that is done here.
    pub(super) fn writer(&self) -> Option<Writer> {
        Some(self.book().as_ref()?.store.writer())
    }
}

impl BookHere {
    /// On the only node there is.
    pub(super) async fn open(
        config: &Config,
        live_bidders: LiveBidders,
        out: UnboundedSender<(CallId, Action)>,
    ) -> Result<(Self, Engine), Failure> {
        let store = open_store(config, None).await??;
        let (engine_config, policy) = (config.engine.clone(), config.policy.clone());
        let start = move || {
            let (engine, thread) = engine::start(&store, &engine_config, policy, live_bidders, out)
                .map_err(|error| Failure::environment(error.to_string()))?;
            Ok((store, engine, thread))
        };
        let (store, engine, engine_thread) = off_thread(start).await?;
        Ok((Self::start_jobs(config, store, engine_thread).await?, engine))
    }

    /// On one of several nodes: nothing when another one has the book.
    pub(super) async fn try_take_over(heir: &Heir) -> Result<Option<Self>, Failure> {
        let Heir { config, address, engine, out } = heir;
        let store = match open_store(config, Some(address.clone())).await? {
            Err(StoreError::Postgresql(PostgresqlError::Taken { .. })) => return Ok(None),
            store => store?,
        };
        let (engine, out) = (engine.clone(), out.clone());
        let (engine_config, policy) = (config.engine.clone(), config.policy.clone());
        let start = move || {
            let thread = engine::take_over(&engine, &store, &engine_config, policy, out)
                .map_err(|error| Failure::environment(error.to_string()))?;
            Ok((store, thread))
        };
        let (store, engine_thread) = off_thread(start).await?;
        tracing::info!("the book is on this node");
        Self::start_jobs(config, store, engine_thread).await.map(Some)
    }

    async fn start_jobs(config: &Config, store: Store, engine_thread: EngineThread) -> Result<Self, Failure> {
        let config = config.clone();
        // Some of them ask the database where they were.
        let started = off_thread(move || {
            let anchorer = start_audit(&config, &store)?;
            let imager = Imager::start(bid_image(&config), store.reader())?;
            let relay = start_relay(&config, &store)?;
            let consumers = Consumers::start(&config, &store)?;
            Ok((consumers, relay, imager, start_retention(&config)?, store, anchorer))
        });
        match started.await {
            Ok((consumers, relay, imager, retention, store, anchorer)) => {
                Ok(Self { store, engine_thread, anchorer, relay, imager, retention, consumers })
            }
            Err(failure) => {
                stop_engine(engine_thread).await;
                Err(failure)
            }
        }
    }

    pub(super) fn reader(&self) -> Reader {
        self.store.reader()
    }

    /// Ends calls in good order and returns when everything is on disk; or says that the disk refuses it. Another node may have the
    /// book from then on.
    pub(super) async fn stop(self) -> Result<(), Failure> {
        let Self { store, engine_thread, anchorer, relay, imager, retention, mut consumers } = self;
        stop_engine(engine_thread).await;
        let stopped = tokio::task::spawn_blocking(move || {
            drop(imager);
            let writer = store.writer();
            stop_audit(&writer, anchorer);
            if writer.health() == StoreHealth::Healthy {
                catch_up(&store.reader());
            }
            // What they have not done by now is done after the next start. A consumer may wait for the disk until the store is closed.
            consumers.begin_stop();
            drop(relay);
            drop(retention);
            let health = writer.health();
            drop(store);
            drop(consumers);
            health
        });
        match stopped.await {
            Ok(StoreHealth::Failing { error, .. }) => Err(Failure::environment(format!(
                "{error}; what was acknowledged is on disk, what was waiting is not"
            ))),
            // A panic in there has been reported by the panic hook.
            Ok(StoreHealth::Healthy) | Err(_) => Ok(()),
        }
    }
}

/// A node that may have the book.
pub(super) struct Heir {
    pub(super) config: Config,
    /// Where other nodes reach it.
    pub(super) address: String,
    pub(super) engine: Engine,
    pub(super) out: UnboundedSender<(CallId, Action)>,
}

/// Takes the book over as soon as no other node serves it, and tells of its loss; for as long as the process runs.
pub(super) async fn succeed(heir: Heir, slot: Slot, lost: oneshot::Sender<Failure>) {
    let failure = match wait_for_book(&heir, &slot).await {
        Ok(()) => replaced(&slot).await,
        Err(failure) => failure,
    };
    // Nobody listens any more when the process is stopping.
    let _ = lost.send(failure);
}

async fn wait_for_book(heir: &Heir, slot: &Slot) -> Result<(), Failure> {
    let engine = &heir.engine;
    let mut store_away_since = None;
    while engine.book_place() != BookPlace::Here {
        sleep(LOOK).await;
        let is_failing = engine.status().store != StoreHealth::Healthy;
        store_away_since = is_failing.then(|| store_away_since.unwrap_or_else(Instant::now));
        let is_stuck = store_away_since.is_some_and(|since| since.elapsed() >= STORE_AWAY_MAX);
        if engine.book_place() == BookPlace::Away || is_stuck {
            match BookHere::try_take_over(heir).await {
                Ok(Some(book)) => slot.fill(book),
                Ok(None) => {}
                Err(failure) if engine.book_place() == BookPlace::Here => return Err(failure),
                Err(failure) => {
                    tracing::warn!(%failure, "the book cannot be taken over");
                    sleep(STORE_AWAY_MAX / 10).await;
                }
            }
        }
    }
    Ok(())
}

/// Returns when another node has taken the book away from this one.
async fn replaced(slot: &Slot) -> Failure {
    while !slot.writer().is_some_and(|writer| writer.is_replaced()) {
        sleep(LOOK).await;
    }
    Failure::environment("another node has taken the book over; start this one again, to join it")
}

/// Opens the store of a configuration as its writer.
async fn open_store(config: &Config, address: Option<String>) -> Result<Result<Store, StoreError>, Failure> {
    let place = config.place();
    let (max_pages, replicas) = (config.data.max_pages, config.store.replica_url.clone());
    let bid_image = Some(bid_image(config));
    let options = StoreOptions { max_pages, replicas, address, bid_image, ..StoreOptions::default() };
    off_thread(move || Ok(Store::open(place, &options))).await
}

/// Each node keeps its own, beside its keys.
fn bid_image(config: &Config) -> BidImage {
    BidImage::in_directory(&config.data.directory)
}

/// Starts copying events to Kafka, if there is one.
fn start_relay(config: &Config, store: &Store) -> Result<Option<Arc<Relay>>, Failure> {
    let kafka = &config.bus.kafka;
    if kafka.brokers.is_empty() {
        return Ok(None);
    }
    let relay = Relay::start(kafka, EVENT_SOURCE, store.reader(), store.writer())?;
    Ok(Some(Arc::new(relay)))
}

/// Starts clearing what is old. Events for Kafka stay until it has them.
fn start_retention(config: &Config) -> Result<RetentionJob, Failure> {
    let has_kafka = !config.bus.kafka.brokers.is_empty();
    let readers = has_kafka.then(|| RELAY_CURSOR.to_owned()).into_iter().collect();
    Ok(RetentionJob::start(config.place(), config.retention.clone(), readers)?)
}

/// Notes the start in the audit log, and begins to anchor it.
fn start_audit(config: &Config, store: &Store) -> Result<Anchorer, Failure> {
    let key = audit_key::open_or_make(config)?;
    let detail = json!({ "version": env!("CARGO_PKG_VERSION"), "public_key": key.public_key() });
    let started = of_the_exchange(AuditAction::ExchangeStarted, detail);
    // It is not waited for: a full disk keeps nobody from starting.
    store
        .writer()
        .submit(UnitOfWork::of_audit(started), OnDurable::new(|_| {}))
        .map_err(|error| Failure::environment(error.to_string()))?;
    let every = Duration::from_secs(config.audit.anchor_every_s);
    Ok(Anchorer::start(key, every, store.reader(), store.writer())?)
}

/// Notes the stop in the audit log, and anchors it; not while the disk refuses, for that could be for ever.
fn stop_audit(writer: &Writer, anchorer: Anchorer) {
    if writer.health() == StoreHealth::Healthy
        && let Err(error) = writer.write_audit_entry(of_the_exchange(AuditAction::ExchangeStopped, json!({})))
    {
        tracing::error!(%error, "the audit log does not say that the exchange stopped");
    }
    drop(anchorer);
}

fn of_the_exchange(action: AuditAction, detail: Value) -> AuditEntry {
    let subject = "exchange".to_owned();
    AuditEntry { at: key::now(), actor: Actor::Exchange, action, subject, detail }
}

/// Stops the engine off the threads that serve sockets: it waits for the disk.
async fn stop_engine(engine_thread: EngineThread) {
    // A panic in there has been reported by the panic hook.
    let _ = tokio::task::spawn_blocking(move || engine_thread.stop()).await;
}
