//! The whole exchange, running in this process: store, engine, SIP, API. `serve` and `demo` both start it from here.

use crate::audit_key;
use crate::config::Config;
use crate::failure::Failure;
use crate::key;
use crate::live_bidders;
use crate::sip_metrics;
use engine::{Engine, EngineThread, LiveBidders};
use exchange::audit::{Actor, AuditAction, AuditEntry};
use exchange::effect::Action;
use exchange::id::CallId;
use gateway::{Dependencies, EVENT_SOURCE, HttpServer, Probe};
use infra::audit::Anchorer;
use infra::bus::kafka::{KafkaConfig, Relay};
use infra::coordination::{Coordination, CoordinationStatus, WhenLost};
use infra::store::{OnDurable, Reader, Store, StoreHealth, StoreOptions, UnitOfWork, Writer};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use telephony::peer::Peer;
use telephony::server::{Overloaded, ServerError, ServerStatus, SipServer};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How often SIP's counters are shown, and metrics moved out of the recorder's queues, so that these cannot grow when
/// nobody looks.
const METRICS_UPKEEP: Duration = Duration::from_secs(1);

/// How often live calls are counted while they drain.
const DRAIN_LOOK: Duration = Duration::from_millis(100);

/// How long peers have to answer the BYEs of calls that are ended at shutdown.
const GOODBYE: Duration = Duration::from_secs(2);

/// The running exchange.
pub(crate) struct ExchangeProcess {
    store: Store,
    anchorer: Anchorer,
    engine: Engine,
    engine_thread: EngineThread,
    sip: SipServer,
    http: HttpServer,
    relay: Option<Arc<Relay>>,
    draining: Arc<AtomicBool>,
    metrics_upkeep: JoinHandle<()>,
}

/// Runs what waits for the database off the threads that serve sockets.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Failure::environment(format!("starting: {error}"))))
}

/// Opens the store of a configuration.
async fn open_store(config: &Config) -> Result<Store, Failure> {
    let place = config.place();
    let (max_pages, replicas) = (config.data.max_pages, config.store.replica_url.clone());
    let options = StoreOptions { max_pages, replicas, ..StoreOptions::default() };
    off_thread(move || Ok(Store::open(place, &options)?)).await
}

/// Starts the engine on the store, which it gives back.
async fn start_engine(
    config: &Config,
    store: Store,
    live_bidders: LiveBidders,
    out: UnboundedSender<(CallId, Action)>,
) -> Result<(Store, Engine, EngineThread), Failure> {
    let (config, policy) = (config.engine.clone(), config.policy.clone());
    off_thread(move || {
        let (engine, thread) = engine::start(&store, &config, policy, live_bidders, out)
            .map_err(|error| Failure::environment(error.to_string()))?;
        Ok((store, engine, thread))
    })
    .await
}

impl ExchangeProcess {
    /// Starts every part. What cannot start leaves nothing running.
    pub(crate) async fn start(config: &Config) -> Result<Self, Failure> {
        let metrics = install_metrics()?;
        let coordination = Coordination::start(&config.coordination)
            .await
            .map_err(|error| Failure::usage(error.to_string()))?;
        let store = open_store(config).await?;
        let (out, actions) = unbounded_channel();
        let live_bidders = live_bidders::start(&config.live_bidders, &config.data.directory)?;
        let (store, engine, engine_thread) = start_engine(config, store, live_bidders, out).await?;
        let (store, anchorer) = match start_audit(config, store).await {
            Ok(started) => started,
            Err(failure) => {
                stop_engine(engine_thread).await;
                return Err(failure);
            }
        };
        let sip = match start_sip(config, &engine, actions).await {
            Ok(sip) => sip,
            Err(failure) => {
                stop_engine(engine_thread).await;
                return Err(failure);
            }
        };
        let relay = match start_relay(&config.bus.kafka, &store) {
            Ok(relay) => relay,
            Err(failure) => {
                stop_engine(engine_thread).await;
                sip.shutdown().await;
                return Err(failure);
            }
        };
        let draining = Arc::new(AtomicBool::new(false));
        let mut probes = vec![("sip", sip_probe(&draining))];
        probes.extend(relay.as_ref().map(|relay| ("kafka", kafka_probe(relay))));
        if coordination.status() != CoordinationStatus::InMemory {
            probes.push(("redis", redis_probe(&coordination)));
        }
        let dependencies = Dependencies {
            engine: engine.clone(),
            reader: store.reader(),
            writer: store.writer(),
            coordination: coordination.clone(),
            metrics: metrics.clone(),
            probes,
        };
        let http = match gateway::start(&config.http, dependencies).await {
            Ok(http) => http,
            Err(error) => {
                stop_engine(engine_thread).await;
                sip.shutdown().await;
                return Err(Failure::environment(error.to_string()));
            }
        };
        let upkeep = keep_up(metrics, sip.watch(), store.reader(), relay.clone(), coordination);
        let metrics_upkeep = tokio::spawn(upkeep);
        Ok(Self { store, anchorer, engine, engine_thread, sip, http, relay, draining, metrics_upkeep })
    }

    /// Where the API listens.
    pub(crate) fn http_addresses(&self) -> &[SocketAddr] {
        self.http.addresses()
    }

    /// Where calls are taken.
    pub(crate) fn sip_addresses(&self) -> &[Peer] {
        self.sip.local_addresses()
    }

    /// What changes the marketplace.
    pub(crate) fn engine(&self) -> Engine {
        self.engine.clone()
    }

    /// What reads the books.
    pub(crate) fn reader(&self) -> Reader {
        self.store.reader()
    }

    /// What API keys are written with.
    pub(crate) fn writer(&self) -> Writer {
        self.store.writer()
    }

    /// Calls and pings that the book still has, or calls that the signalling has.
    pub(crate) fn live_calls(&self) -> usize {
        let status = self.engine.status();
        (status.live_calls + status.pings).max(self.sip.live_calls())
    }

    /// Takes no new calls, lets live ones go on for at most `drain_timeout`, ends the rest in good order, and returns when
    /// everything is on disk; or says that the disk refuses it.
    pub(crate) async fn stop(self, drain_timeout: Duration) -> Result<(), Failure> {
        self.draining.store(true, Ordering::Relaxed);
        self.sip.drain().await;
        let live_calls = self.drain(drain_timeout).await;
        if live_calls > 0 {
            tracing::warn!(live_calls, "ending calls that are still up");
        }
        stop_engine(self.engine_thread).await;
        if !self.sip.drained(GOODBYE).await {
            tracing::warn!("some peers did not answer our BYE");
        }
        self.sip.shutdown().await;
        self.http.stop().await;
        self.metrics_upkeep.abort();
        // It ends by being aborted.
        let _ = self.metrics_upkeep.await;
        let (anchorer, writer) = (self.anchorer, self.store.writer());
        // A panic in there has been reported.
        let _ = tokio::task::spawn_blocking(move || stop_audit(&writer, anchorer)).await;
        let relay = self.relay;
        // What it has not sent by now is sent after the next start. A panic in there has been reported.
        let _ = tokio::task::spawn_blocking(move || drop(relay)).await;
        let health = self.engine.status().store;
        drop(self.store);
        match health {
            StoreHealth::Healthy => Ok(()),
            StoreHealth::Failing { error, .. } => Err(Failure::environment(format!(
                "{error}; what was acknowledged is on disk, what was waiting is not"
            ))),
        }
    }

    /// Waits for live calls to end; how many have not.
    async fn drain(&self, timeout: Duration) -> usize {
        let until = Instant::now() + timeout;
        loop {
            let live_calls = self.engine.status().live_calls;
            if live_calls == 0 || Instant::now() >= until {
                return live_calls;
            }
            tokio::time::sleep(DRAIN_LOOK).await;
        }
    }
}

/// Notes the start in the audit log, and begins to anchor it.
async fn start_audit(config: &Config, store: Store) -> Result<(Store, Anchorer), Failure> {
    let config = config.clone();
    off_thread(move || {
        let key = audit_key::open_or_make(&config)?;
        let detail = json!({ "version": env!("CARGO_PKG_VERSION"), "public_key": key.public_key() });
        let started = of_the_exchange(AuditAction::ExchangeStarted, detail);
        // It is not waited for: a full disk keeps nobody from starting.
        store
            .writer()
            .submit(UnitOfWork::of_audit(started), OnDurable::new(|_| {}))
            .map_err(|error| Failure::environment(error.to_string()))?;
        let every = Duration::from_secs(config.audit.anchor_every_s);
        let anchorer = Anchorer::start(key, every, store.reader(), store.writer())?;
        Ok((store, anchorer))
    })
    .await
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

async fn start_sip(
    config: &Config,
    engine: &Engine,
    actions: UnboundedReceiver<(CallId, Action)>,
) -> Result<SipServer, Failure> {
    let seed = getrandom::u64()
        .map_err(|error| Failure::environment(format!("no randomness from the operating system: {error}")))?;
    let engine = engine.clone();
    let deliver = move |call, input| engine.call(call, input).map_err(|_| Overloaded);
    telephony::server::start(config.sip.clone(), seed, actions, deliver).await.map_err(|error| match error {
        ServerError::Config(error) => Failure::usage(format!("sip: {error}")),
        ServerError::Bind(error) => Failure::environment(format!("sip.listen: {error}")),
    })
}

/// What `/health/ready` says about SIP.
fn sip_probe(draining: &Arc<AtomicBool>) -> Probe {
    let draining = Arc::clone(draining);
    Arc::new(move || {
        let says = |text: &str| text.to_owned();
        if draining.load(Ordering::Relaxed) {
            Err(says("taking no new calls"))
        } else {
            Ok(says("taking calls"))
        }
    })
}

/// Stops the engine off the threads that serve sockets: it waits for the disk.
async fn stop_engine(engine_thread: EngineThread) {
    // A panic in there has been reported by the panic hook.
    let _ = tokio::task::spawn_blocking(move || engine_thread.stop()).await;
}

/// Starts copying events to Kafka, if there is one.
fn start_relay(config: &KafkaConfig, store: &Store) -> Result<Option<Arc<Relay>>, Failure> {
    if config.brokers.is_empty() {
        return Ok(None);
    }
    let relay = Relay::start(config, EVENT_SOURCE, store.reader(), store.writer())?;
    Ok(Some(Arc::new(relay)))
}

/// What `/health/ready` says about Kafka. Calls can be taken without it: events wait in the outbox.
fn kafka_probe(relay: &Arc<Relay>) -> Probe {
    // Not kept alive by whoever asks.
    let relay = Arc::downgrade(relay);
    Arc::new(move || {
        let status = relay.upgrade().map(|relay| relay.status()).unwrap_or_default();
        Ok(match status.failing {
            None => format!("up, {} events waiting", status.waiting),
            Some(_) => format!("away, {} events waiting; the log has the reason", status.waiting),
        })
    })
}

/// What `/health/ready` says about Redis. Whether calls can be taken without it is the policy's to say.
fn redis_probe(coordination: &Coordination) -> Probe {
    let coordination = coordination.clone();
    Arc::new(move || match coordination.status() {
        CoordinationStatus::InMemory | CoordinationStatus::Up => Ok("up".to_owned()),
        CoordinationStatus::Away { policy: WhenLost::Degrade, .. } => {
            Ok("away, limits are this node's own share; the log has the reason".to_owned())
        }
        CoordinationStatus::Away { policy: WhenLost::Refuse, .. } => {
            Err("away, and the policy is to refuse without it; the log has the reason".to_owned())
        }
    })
}

async fn keep_up(
    metrics: PrometheusHandle,
    sip: watch::Receiver<ServerStatus>,
    reader: Reader,
    relay: Option<Arc<Relay>>,
    coordination: Coordination,
) {
    let mut ticks = tokio::time::interval(METRICS_UPKEEP);
    loop {
        ticks.tick().await;
        sip_metrics::show(&sip.borrow());
        if let Some((on_primary, on_replicas)) = reader.reads() {
            metrics::counter!("dce_store_reads_total", "server" => "primary").absolute(on_primary);
            metrics::counter!("dce_store_reads_total", "server" => "replica").absolute(on_replicas);
        }
        if let Some(relay) = &relay {
            let status = relay.status();
            metrics::counter!("dce_kafka_events_sent_total").absolute(status.count);
            metrics::gauge!("dce_kafka_events_waiting").set(status.waiting as f64);
            metrics::gauge!("dce_kafka_up").set(f64::from(u8::from(status.failing.is_none())));
        }
        if coordination.status() != CoordinationStatus::InMemory {
            let is_up = coordination.status() == CoordinationStatus::Up;
            metrics::gauge!("dce_redis_up").set(f64::from(u8::from(is_up)));
            metrics::counter!("dce_redis_losses_total").absolute(coordination.losses());
        }
        metrics.run_upkeep();
    }
}

/// Starts recording metrics. There is one recorder a process.
fn install_metrics() -> Result<PrometheusHandle, Failure> {
    PrometheusBuilder::new()
        .install_recorder()
        .map_err(|error| Failure::environment(format!("metrics: {error}; start the exchange once a process")))
}
