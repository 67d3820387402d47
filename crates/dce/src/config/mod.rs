//! The configuration of `dce serve`: its sections, their defaults, and what makes a value wrong.
//!
//! Precedence: flags, then environment (`DCE_SECTION__KEY`), then file, then the defaults written here.

mod setting;
mod load;
mod show;

pub(crate) use load::{Loaded, Sources, load};

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// The documented example, kept true by a test.
pub(crate) const EXAMPLE: &str = include_str!("../../../../config/example.toml");

/// Everything that can be set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Where the exchange's state lives.
    pub(crate) data: DataConfig,
    /// The HTTP API.
    pub(crate) http: gateway::HttpConfig,
    /// What the exchange does where the law and the bids leave a choice.
    pub(crate) policy: exchange::policy::Policy,
    /// Bounds of the engine.
    pub(crate) engine: engine::EngineConfig,
    /// What `serve` writes about itself.
    pub(crate) log: LogConfig,
    /// How `serve` ends.
    pub(crate) shutdown: ShutdownConfig,
}

/// Where the exchange's state lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DataConfig {
    /// The data directory; created when missing. One server at a time.
    pub(crate) directory: PathBuf,
    /// A quota on the database file, in pages of 4 KiB; absent is the disk.
    pub(crate) max_pages: Option<u32>,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self { directory: PathBuf::from("dce-data"), max_pages: None }
    }
}

/// What `serve` writes about itself, to stderr.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogConfig {
    /// A level, or `tracing` directives such as `info,telephony=debug`.
    pub(crate) level: String,
    /// For people or for machines.
    pub(crate) format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How `serve` ends after SIGINT or SIGTERM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ShutdownConfig {
    /// How long live calls may go on, in seconds, while no new ones are taken.
    pub(crate) drain_timeout_s: u64,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self { drain_timeout_s: 30 }
    }
}

/// A value that reads well but cannot work.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Such as `http.listen`.
    pub(crate) key: &'static str,
    /// What is wrong, and the fix.
    pub(crate) problem: String,
}

impl Config {
    /// Every value that reads well but cannot work.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut fault =
            |key: &'static str, problem: &str| faults.push(Fault { key, problem: problem.to_owned() });
        if self.data.directory.as_os_str().is_empty() {
            fault("data.directory", "is empty; name a directory");
        }
        if self.data.max_pages.is_some_and(|pages| pages < 256) {
            fault("data.max_pages", "is below 256; the empty tables alone need that much");
        }
        if self.http.listen.is_empty() {
            fault("http.listen", "is empty; give an address such as 127.0.0.1:8080");
        }
        for address in &self.http.listen {
            if address.parse::<SocketAddr>().is_err() {
                let problem =
                    format!("'{address}' is not an IP address and port; write it as 127.0.0.1:8080");
                fault("http.listen", &problem);
            }
        }
        if !(100..=300_000).contains(&self.http.request_timeout_ms) {
            fault("http.request_timeout_ms", "is not between 100 and 300000");
        }
        if self.http.requests_in_flight_max == 0 {
            fault("http.requests_in_flight_max", "is 0; no request would ever be answered");
        }
        if self.http.requests_per_minute == 0 || self.http.requests_burst == 0 {
            fault(
                "http.requests_per_minute",
                "or http.requests_burst is 0; no request would ever be answered",
            );
        }
        if !(1_000..=180_000).contains(&self.policy.ring_timeout_ms) {
            fault("policy.ring_timeout_ms", "is not between 1000 and 180000");
        }
        if !(1..=86_400).contains(&self.policy.max_call_s) {
            fault("policy.max_call_s", "is not between 1 and 86400");
        }
        if self.policy.route_plan_max == 0 {
            fault("policy.route_plan_max", "is 0; no call would ever ring anyone");
        }
        if self.engine.waiting_max == 0 {
            fault("engine.waiting_max", "is 0; no call would ever be taken");
        }
        if !(10..=60_000).contains(&self.engine.heartbeat_ms) {
            fault("engine.heartbeat_ms", "is not between 10 and 60000");
        }
        if let Err(error) = self.log.level.parse::<tracing_subscriber::EnvFilter>() {
            let problem = format!("is not a log level ({error}); write error, warn, info, debug or trace");
            fault("log.level", &problem);
        }
        if self.shutdown.drain_timeout_s > 86_400 {
            fault("shutdown.drain_timeout_s", "is above 86400, a whole day");
        }
        faults
    }
}
