//! `dce serve`: the exchange, until a signal ends it.

use crate::config::{Config, Role};
use crate::exchange_process::ExchangeProcess;
use crate::failure::Failure;
use crate::log;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the process ends with when a second signal cuts the shutdown short: 128 and SIGINT's number, as shells count.
const CUT_SHORT: i32 = 130;

/// Runs the exchange.
pub(crate) fn run(config: &Config) -> Result<(), Failure> {
    log::start(&config.log);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::environment(format!("no threads: {error}; raise the process limit")))?;
    runtime.block_on(serve(config))
}

async fn serve(config: &Config) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let mut exchange = ExchangeProcess::start(config).await?;
    for address in exchange.sip_addresses() {
        tracing::info!(%address, trunks = config.sip.trunks.len(), "SIP listening");
    }
    if config.node.does(Role::Telephony) && config.sip.trunks.is_empty() {
        tracing::warn!("sip.trunks is empty: every call will be answered 403; list your carriers there");
    }
    for address in exchange.http_addresses() {
        tracing::info!(%address, "API listening; /docs describes it");
    }
    tracing::info!(data = %config.place(), "ready");
    let name = tokio::select! {
        name = signals.next() => name,
        failure = exchange.lost() => return Err(failure),
    };
    let drain_timeout_s = config.shutdown.drain_timeout_s;
    tracing::info!(signal = name, drain_timeout_s, "stopping: no new calls; signal again to end at once");
    tokio::select! {
        stopped = exchange.stop(Duration::from_secs(drain_timeout_s)) => {
            stopped?;
            tracing::info!("stopped; everything is on disk");
            Ok(())
        }
        name = signals.next() => {
            tracing::warn!(signal = name, "ended at once; calls that are up are settled at the next start");
            std::process::exit(CUT_SHORT);
        }
    }
}

/// SIGINT and SIGTERM.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Takes them over from the system, which would end the process.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::environment(format!("signals: {error}")));
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// The name of the next one.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
