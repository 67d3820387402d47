//! The whole exchange, running in this process: store, engine, API. `serve` and `demo` both start it from here.

use crate::config::{Config, DataConfig};
use crate::failure::Failure;
use engine::{Engine, EngineThread};
use gateway::{Dependencies, HttpServer};
use infra::store::{Store, StoreOptions};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How often metrics are moved out of the recorder's queues, so that they cannot grow when nobody looks.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// How often live calls are counted while they drain.
const DRAIN_LOOK: Duration = Duration::from_millis(100);

/// The running exchange.
pub(crate) struct ExchangeProcess {
    store: Store,
    engine: Engine,
    engine_thread: EngineThread,
    http: HttpServer,
    metrics_upkeep: JoinHandle<()>,
}

/// Opens the store of a configuration.
pub(crate) fn open_store(data: &DataConfig) -> Result<Store, Failure> {
    let options = StoreOptions { max_pages: data.max_pages, ..StoreOptions::default() };
    Ok(Store::open(&data.directory, &options)?)
}

impl ExchangeProcess {
    /// Starts every part. What cannot start leaves nothing running.
    pub(crate) async fn start(config: &Config) -> Result<Self, Failure> {
        let metrics = install_metrics()?;
        let store = open_store(&config.data)?;
        let (actions, _telephony) = tokio::sync::mpsc::unbounded_channel();
        let (engine, engine_thread) = engine::start(&store, &config.engine, config.policy.clone(), actions)
            .map_err(|error| Failure::environment(error.to_string()))?;
        let dependencies = Dependencies {
            engine: engine.clone(),
            reader: store.reader(),
            writer: store.writer(),
            metrics: metrics.clone(),
            probes: Vec::new(),
        };
        let http = match gateway::start(&config.http, dependencies).await {
            Ok(http) => http,
            Err(error) => {
                engine_thread.stop();
                return Err(Failure::environment(error.to_string()));
            }
        };
        let metrics_upkeep = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(METRICS_UPKEEP);
            loop {
                ticks.tick().await;
                metrics.run_upkeep();
            }
        });
        Ok(Self { store, engine, engine_thread, http, metrics_upkeep })
    }

    /// Where the API listens.
    pub(crate) fn http_addresses(&self) -> &[SocketAddr] {
        self.http.addresses()
    }

    /// Takes no new calls, lets live ones go on for at most `drain_timeout`, ends the rest in good order, and returns when
    /// everything is on disk.
    pub(crate) async fn stop(self, drain_timeout: Duration) {
        let live_calls = self.drain(drain_timeout).await;
        if live_calls > 0 {
            tracing::warn!(live_calls, "ending calls that are still up");
        }
        self.metrics_upkeep.abort();
        let engine_thread = self.engine_thread;
        // A panic in there has been reported by the panic hook.
        let _ = tokio::task::spawn_blocking(move || engine_thread.stop()).await;
        self.http.stop().await;
        drop(self.store);
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

/// Starts recording metrics. There is one recorder a process.
fn install_metrics() -> Result<PrometheusHandle, Failure> {
    PrometheusBuilder::new()
        .install_recorder()
        .map_err(|error| Failure::environment(format!("metrics: {error}; start the exchange once a process")))
}
