//! The whole exchange, or one node of it, running in this process. `serve` and `demo` both start it from here.

mod book;
mod consumers;
mod probes;

use crate::config::{Config, NodeConfig, Role};
use crate::failure::Failure;
use crate::live_bidders;
use book::{BookHere, Heir, Slot};
use engine::Engine;
use engine::nodes::{self, Node, NodeKey};
use exchange::effect::Action;
use exchange::id::CallId;
use gateway::{Dependencies, HttpServer};
use infra::coordination::{Coordination, CoordinationStatus};
use infra::store::{Place, Reader, Store, StoreOptions, Writer};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use telephony::peer::Peer;
use telephony::server::{Overloaded, ServerError, SipServer};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How often live calls are counted while they drain.
const DRAIN_LOOK: Duration = Duration::from_millis(100);

/// How long peers have to answer the BYEs of calls that are ended at shutdown.
const GOODBYE: Duration = Duration::from_secs(2);

/// The running exchange.
pub(crate) struct ExchangeProcess {
    engine: Engine,
    reader: Reader,
    book: Slot,
    sip: Option<SipServer>,
    http: Option<HttpServer>,
    draining: Arc<AtomicBool>,
    is_one_of_many: bool,
    /// What it does beside: metrics, and what it has to do with other nodes.
    tasks: Vec<JoinHandle<()>>,
    lost: Option<oneshot::Receiver<Failure>>,
}

/// Runs what waits for the database off the threads that serve sockets.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Failure::environment(format!("starting: {error}"))))
}

impl ExchangeProcess {
    /// Starts every part that this node has. What cannot start leaves nothing running.
    pub(crate) async fn start(config: &Config) -> Result<Self, Failure> {
        let metrics = install_metrics()?;
        let coordination = Coordination::start(&config.coordination)
            .await
            .map_err(|error| Failure::usage(error.to_string()))?;
        let (out, actions) = unbounded_channel();
        let mut exchange = Self::start_core(config, out).await?;
        match exchange.start_edges(config, actions, &metrics, &coordination).await {
            Ok(()) => {
                exchange.tasks.push(tokio::spawn(probes::keep_up(
                    metrics,
                    exchange.sip.as_ref().map(SipServer::watch),
                    exchange.reader.clone(),
                    exchange.book.clone(),
                    coordination,
                    exchange.engine.clone(),
                    config.bus.kafka.waiting_events_max,
                )));
                Ok(exchange)
            }
            Err(failure) => {
                // Why it could not start says more than how it stopped.
                let _ = exchange.stop(Duration::ZERO).await;
                Err(failure)
            }
        }
    }

    /// The engine, or the way to it.
    async fn start_core(config: &Config, out: UnboundedSender<(CallId, Action)>) -> Result<Self, Failure> {
        let node_key = config.node.key()?;
        let live_bidders =
            live_bidders::start(&config.live_bidders, &config.data.directory, node_key.as_ref())?;
        let book = Slot::default();
        let is_one_of_many = node_key.is_some();
        let (engine, reader, tasks, lost) = match node_key {
            None => {
                let (here, engine) = BookHere::open(config, live_bidders, out).await?;
                let reader = here.reader();
                book.fill(here);
                (engine, reader, Vec::new(), None)
            }
            Some(key) => {
                let engine = Engine::elsewhere(live_bidders, config.policy.reservation_ms_max);
                let nodes = start_among_nodes(config, key, &engine, &book, out).await?;
                (engine, nodes.reader, nodes.tasks, nodes.lost)
            }
        };
        Ok(Self {
            engine,
            reader,
            book,
            sip: None,
            http: None,
            draining: Arc::default(),
            is_one_of_many,
            tasks,
            lost,
        })
    }

    /// What the outside world talks to.
    async fn start_edges(
        &mut self,
        config: &Config,
        actions: UnboundedReceiver<(CallId, Action)>,
        metrics: &PrometheusHandle,
        coordination: &Coordination,
    ) -> Result<(), Failure> {
        if config.node.does(Role::Telephony) {
            self.sip = Some(start_sip(config, &self.engine, actions).await?);
        }
        if !config.node.does(Role::Gateway) {
            return Ok(());
        }
        let mut probes = Vec::new();
        if self.sip.is_some() {
            probes.push(("sip", probes::sip(&self.draining)));
        }
        if !config.bus.kafka.brokers.is_empty() {
            probes.push(("kafka", probes::kafka(&self.book, config.bus.kafka.waiting_events_max)));
        }
        probes.push(("consumers", probes::consumers(&self.book)));
        if coordination.status() != CoordinationStatus::InMemory {
            probes.push(("redis", probes::redis(coordination)));
        }
        let dependencies = Dependencies {
            engine: self.engine.clone(),
            reader: self.reader.clone(),
            coordination: coordination.clone(),
            metrics: metrics.clone(),
            probes,
        };
        let http = gateway::start(&config.http, dependencies).await;
        self.http = Some(http.map_err(|error| Failure::environment(error.to_string()))?);
        Ok(())
    }

    /// Where the API listens.
    pub(crate) fn http_addresses(&self) -> &[SocketAddr] {
        self.http.as_ref().map(HttpServer::addresses).unwrap_or_default()
    }

    /// Where calls are taken.
    pub(crate) fn sip_addresses(&self) -> &[Peer] {
        self.sip.as_ref().map(SipServer::local_addresses).unwrap_or_default()
    }

    /// What changes the marketplace.
    pub(crate) fn engine(&self) -> Engine {
        self.engine.clone()
    }

    /// What reads the books.
    pub(crate) fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// What writes to the store, if the book is here.
    pub(crate) fn writer(&self) -> Option<Writer> {
        self.book.writer()
    }

    /// Calls and pings that the book still has, or calls that the signalling has.
    pub(crate) fn live_calls(&self) -> usize {
        let status = self.engine.status();
        (status.live_calls + status.pings).max(self.calls_here())
    }

    /// Calls that the signalling has.
    fn calls_here(&self) -> usize {
        self.sip.as_ref().map_or(0, SipServer::live_calls)
    }

    /// Returns, with the reason, when this node had the book and may not have it any more.
    pub(crate) async fn lost(&mut self) -> Failure {
        match &mut self.lost {
            Some(lost) => match lost.await {
                Ok(failure) => failure,
                Err(_) => Failure::environment("the watch over the book ended by a defect, please report it"),
            },
            None => std::future::pending().await,
        }
    }

    /// Takes no new calls, lets live ones of this node go on for at most `drain_timeout`, ends the rest in good order, and returns when
    /// everything is on disk; or says that the disk refuses it. Calls of other nodes go on.
    pub(crate) async fn stop(self, drain_timeout: Duration) -> Result<(), Failure> {
        self.draining.store(true, Ordering::Relaxed);
        if let Some(sip) = &self.sip {
            sip.drain().await;
        }
        let live_calls = self.drain(drain_timeout).await;
        if live_calls > 0 {
            tracing::warn!(live_calls, "ending calls that are still up");
        }
        self.engine.end_calls_here();
        let book = self.book.take();
        let stopped = match book {
            Some(book) => book.stop().await,
            None => Ok(()),
        };
        if let Some(sip) = self.sip {
            if !sip.drained(GOODBYE).await {
                tracing::warn!("some peers did not answer our BYE");
            }
            sip.shutdown().await;
        }
        if let Some(http) = self.http {
            http.stop().await;
        }
        for task in self.tasks {
            task.abort();
            // It ends by being aborted.
            let _ = task.await;
        }
        stopped
    }

    /// Waits for live calls to end; how many have not.
    async fn drain(&self, timeout: Duration) -> usize {
        let until = Instant::now() + timeout;
        loop {
            let live_calls =
                if self.is_one_of_many { self.calls_here() } else { self.engine.status().live_calls };
            if live_calls == 0 || Instant::now() >= until {
                return live_calls;
            }
            tokio::time::sleep(DRAIN_LOOK).await;
        }
    }
}

/// A node among others.
struct AmongNodes {
    reader: Reader,
    tasks: Vec<JoinHandle<()>>,
    lost: Option<oneshot::Receiver<Failure>>,
}

/// Finds the book, or takes it over, and stays at that.
async fn start_among_nodes(
    config: &Config,
    key: NodeKey,
    engine: &Engine,
    slot: &Slot,
    out: UnboundedSender<(CallId, Action)>,
) -> Result<AmongNodes, Failure> {
    let mut tasks = Vec::new();
    let heir = match listen(&config.node).await? {
        Some((listener, address)) => {
            tasks.push(tokio::spawn(nodes::host(engine.clone(), listener, key.clone())));
            Some(Heir { config: config.clone(), address, engine: engine.clone(), out: out.clone() })
        }
        None => None,
    };
    let here = match &heir {
        Some(heir) => BookHere::try_take_over(heir).await?,
        None => None,
    };
    let reader = match here {
        Some(here) => {
            let reader = here.reader();
            slot.fill(here);
            reader
        }
        None => open_beside_writer(config).await?,
    };
    let of_process = || format!("process {}", std::process::id());
    let name = heir.as_ref().map_or_else(of_process, |heir| heir.address.clone());
    let node = Node { name, key, reader: reader.clone(), actions: out };
    tasks.push(tokio::spawn(nodes::join(engine.clone(), node)));
    let lost = heir.map(|heir| {
        let (tell, lost) = oneshot::channel();
        tasks.push(tokio::spawn(book::succeed(heir, slot.clone(), tell)));
        lost
    });
    Ok(AmongNodes { reader, tasks, lost })
}

/// Where a node that may have the book takes the others, and how they write that.
async fn listen(config: &NodeConfig) -> Result<Option<(TcpListener, String)>, Failure> {
    let Some(address) = config.listen.filter(|_| config.does(Role::Engine)) else { return Ok(None) };
    let failed = |error: std::io::Error| Failure::environment(format!("node.listen {address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?.to_string();
    Ok(Some((listener, config.advertised_address.clone().unwrap_or(bound))))
}

async fn open_beside_writer(config: &Config) -> Result<Reader, Failure> {
    let Place::Postgresql(url) = config.place() else {
        return Err(Failure::usage("node.key_file is set, but store.kind is sqlite, which has one node"));
    };
    off_thread(move || Ok(Store::open_beside_writer(&url, &StoreOptions::default())?)).await
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

/// Starts recording metrics. There is one recorder a process.
fn install_metrics() -> Result<PrometheusHandle, Failure> {
    PrometheusBuilder::new()
        .install_recorder()
        .map_err(|error| Failure::environment(format!("metrics: {error}; start the exchange once a process")))
}
