//! The configuration of `dce serve`: its sections, their defaults, and what makes a value wrong.
//!
//! Precedence: flags, then environment (`DCE_SECTION__KEY`), then file, then the defaults written here.

mod node;
mod setting;
mod load;
mod show;

pub(crate) use load::{Loaded, Sources, load};
pub(crate) use node::{NodeConfig, Role};

use crate::live_bidders::LiveBiddersConfig;
use exchange::bid::sip_uri::is_sip_uri;
use exchange::compliance::area_code::AreaCodes;
use exchange::event::EVENT_KINDS;
use exchange::policy::Policy;
use infra::bus::kafka::KafkaConfig;
use infra::coordination::{CoordinationConfig, CoordinationKind};
use infra::store::{Place, PostgresqlUrl, RetentionConfig};
use partners::webhook::{WebhookConfig, fits};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::PathBuf;
use telephony::config::{ListenAddress, SipConfig, SipConfigError};
use telephony::peer::{Peer, Transport};
use tracing_subscriber::EnvFilter;

/// The documented example, kept true by a test.
pub(crate) const EXAMPLE: &str = include_str!("../../../../config/example.toml");

/// Everything that can be set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// The data directory.
    pub(crate) data: DataConfig,
    /// The database.
    pub(crate) store: StoreConfig,
    /// What this node does, where there is more than one.
    pub(crate) node: NodeConfig,
    /// What nodes agree on, and where.
    pub(crate) coordination: CoordinationConfig,
    /// The HTTP API.
    pub(crate) http: gateway::HttpConfig,
    /// SIP: where to listen, and whose calls to take.
    pub(crate) sip: SipConfig,
    /// Live bidders over HTTP.
    pub(crate) live_bidders: LiveBiddersConfig,
    /// What the exchange does where the law and the bids leave a choice.
    pub(crate) policy: Policy,
    /// Bounds of the engine.
    pub(crate) engine: engine::EngineConfig,
    /// Who is told what happened.
    pub(crate) bus: BusConfig,
    /// Who is told over HTTP.
    pub(crate) webhooks: Vec<WebhookConfig>,
    /// The audit log.
    pub(crate) audit: AuditConfig,
    /// How long what is kept.
    pub(crate) retention: RetentionConfig,
    /// What `serve` writes about itself.
    pub(crate) log: LogConfig,
    /// How `serve` ends.
    pub(crate) shutdown: ShutdownConfig,
}

/// What lives in files of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DataConfig {
    /// The data directory; created when missing. One server at a time.
    pub(crate) directory: PathBuf,
    /// A quota on SQLite's file, in pages of 4 KiB; absent is the disk.
    pub(crate) max_pages: Option<u32>,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self { directory: PathBuf::from("dce-data"), max_pages: None }
    }
}

/// Who is told what happened, beside those who ask the API.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct BusConfig {
    /// Kafka, when it has brokers.
    pub(crate) kafka: KafkaConfig,
}

impl BusConfig {
    fn faults(&self) -> Vec<Fault> {
        let KafkaConfig { brokers, topic_prefix, .. } = &self.kafka;
        let no_brokers = brokers.iter().filter(|broker| !is_host_and_port(broker)).map(|broker| Fault {
            key: "bus.kafka.brokers".into(),
            problem: format!("'{broker}' is not a host and port; write it as kafka.example.com:9092"),
        });
        let mut faults: Vec<Fault> = no_brokers.collect();
        // Kafka's own rule for names of topics, less the room that `.tracking-numbers` takes.
        let is_legal = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        if topic_prefix.is_empty() || topic_prefix.len() > 200 || !topic_prefix.chars().all(is_legal) {
            let problem = format!(
                "'{topic_prefix}' cannot begin a topic's name; use letters, digits, '.', '_' and '-'"
            );
            faults.push(Fault { key: "bus.kafka.topic_prefix".into(), problem });
        }
        faults
    }
}

/// Whether a text is a host and a port, such as `kafka.example.com:9092`.
fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// The database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct StoreConfig {
    /// Which one.
    pub(crate) kind: StoreKind,
    /// Where it is, if it is `PostgreSQL`.
    pub(crate) url: Option<PostgresqlUrl>,
    /// Where its replicas are, which take the reads that they are up to date for.
    pub(crate) replica_url: Option<PostgresqlUrl>,
}

/// Which database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StoreKind {
    /// A file in the data directory.
    #[default]
    Sqlite,
    /// A server.
    Postgresql,
}

/// The audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AuditConfig {
    /// How often the log is anchored, if there is something new, in seconds. It is anchored at the stop as well.
    pub(crate) anchor_every_s: u64,
    /// The key that signs anchors; absent is one of the exchange's own, in the data directory.
    pub(crate) signing_key_file: Option<PathBuf>,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self { anchor_every_s: 3_600, signing_key_file: None }
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
    pub(crate) key: Cow<'static, str>,
    /// What is wrong, and the fix.
    pub(crate) problem: String,
}

impl Config {
    /// Where the books are.
    pub(crate) fn place(&self) -> Place {
        match (self.store.kind, &self.store.url) {
            (StoreKind::Postgresql, Some(url)) => url.clone().into(),
            _ => Place::Directory(self.data.directory.clone()),
        }
    }

    /// Every value that reads well but cannot work.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        let mut faults = self.out_of_range();
        faults.extend(self.listening_twice());
        faults.extend(self.policy_faults());
        faults.extend(self.bus.faults());
        faults.extend(webhook_faults(&self.webhooks));
        faults.extend(coordination_faults(&self.coordination));
        faults.extend(self.node.faults(self.store.kind));
        let mut fault = |key: &'static str, problem: String| faults.push(Fault { key: key.into(), problem });
        if self.data.directory.as_os_str().is_empty() {
            fault("data.directory", "is empty; name a directory".to_owned());
        }
        match (self.store.kind, &self.store.url) {
            (StoreKind::Postgresql, None) => {
                let problem = "is not set; write postgresql://user:password@host:5432/database";
                fault("store.url", problem.to_owned());
            }
            (StoreKind::Sqlite, Some(_)) => {
                let problem = "is sqlite, but store.url is set; write postgresql, or leave the URL out";
                fault("store.kind", problem.to_owned());
            }
            _ => {}
        }
        if self.store.kind == StoreKind::Sqlite && self.store.replica_url.is_some() {
            let problem = "is set, but store.kind is sqlite, which has no replicas; leave it out";
            fault("store.replica_url", problem.to_owned());
        }
        if self.http.listen.is_empty() {
            fault("http.listen", "is empty; give an address such as 127.0.0.1:8080".to_owned());
        }
        for address in self.http.listen.iter().filter(|address| address.parse::<SocketAddr>().is_err()) {
            let problem = format!("'{address}' is not an IP address and port; write it as 127.0.0.1:8080");
            fault("http.listen", problem);
        }
        if let Some(host) = &self.http.public_sip_host
            && !is_sip_uri(&format!("sip:+18005550100@{host}"))
        {
            let problem = format!("'{host}' is no host of a SIP URI; write it as sip.example.com:5060");
            fault("http.public_sip_host", problem);
        }
        // A lone word that is no level would be taken for the name of a module, and silence everything else.
        let levels = ["error", "warn", "info", "debug", "trace", "off"];
        let is_lone_word = !self.log.level.contains(['=', ',', '[']);
        let is_level = levels.contains(&self.log.level.to_ascii_lowercase().as_str());
        if (is_lone_word && !is_level) || self.log.level.parse::<EnvFilter>().is_err() {
            let problem =
                format!("is not a log level ({}); write error, warn, info, debug or trace", self.log.level);
            fault("log.level", problem);
        }
        let sip = self.sip.problems();
        faults.extend(
            sip.iter()
                .map(|error| Fault { key: sip_key(error), problem: format!("cannot be used: {error}") }),
        );
        faults
    }

    /// Addresses of the API that something else of ours listens on, too. Port 0 is another one each time.
    fn listening_twice(&self) -> Vec<Fault> {
        let parsed = |text: &String| text.parse::<SocketAddr>().ok().filter(|address| address.port() != 0);
        let listen: Vec<SocketAddr> = self.http.listen.iter().filter_map(parsed).collect();
        let is_sip = |address: &SocketAddr| {
            let own = Peer { transport: Transport::Tcp, address: *address };
            self.sip.listen.contains(&ListenAddress(own))
        };
        let twice = listen.iter().enumerate().filter_map(|(index, address)| {
            let problem = match () {
                () if listen[..index].contains(address) => "twice; name it once",
                () if is_sip(address) => "which sip.listen has for TCP, too; take another port",
                () => return None,
            };
            Some(Fault { key: "http.listen".into(), problem: format!("has {address} {problem}") })
        });
        twice.collect()
    }

    /// What the policy asks that cannot be.
    fn policy_faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut fault = |key: &'static str, problem| faults.push(Fault { key: key.into(), problem });
        let Policy { reservation_ms, reservation_ms_max, screening, .. } = &self.policy;
        if reservation_ms > reservation_ms_max {
            let problem = format!(
                "is {reservation_ms}, above policy.reservation_ms_max; give at most {reservation_ms_max}"
            );
            fault("policy.reservation_ms", problem);
        }
        let places = AreaCodes::shipped().expect("the shipped area codes can be read");
        for state in
            screening.emergency_states.iter().filter(|state| places.zones_of_state(**state).is_empty())
        {
            let problem =
                format!("has {state}, which is no state, territory or province; write one such as LA");
            fault("policy.screening.emergency_states", problem);
        }
        faults
    }

    /// Numbers that are too small or too large.
    fn out_of_range(&self) -> Vec<Fault> {
        let Self { data, coordination, http, policy, engine, bus, retention, shutdown, .. } = self;
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let ranges = [
            // The empty tables alone need 256 pages.
            ("data.max_pages", data.max_pages.map_or(u64::MAX, u64::from), 256, u64::MAX),
            ("http.request_timeout_ms", http.request_timeout_ms, 100, 300_000),
            ("http.requests_in_flight_max", count(http.requests_in_flight_max), 1, 100_000),
            ("http.connections_max", count(http.connections_max), 1, 100_000),
            ("http.requests_per_minute", http.requests_per_minute.into(), 1, 10_000_000),
            ("http.requests_burst", http.requests_burst.into(), 1, 10_000_000),
            ("http.wrong_keys_per_minute", http.wrong_keys_per_minute.into(), 1, 1_000_000),
            ("http.wrong_keys_per_hour", http.wrong_keys_per_hour.into(), 1, 1_000_000),
            ("http.wrong_keys_per_day", http.wrong_keys_per_day.into(), 1, 1_000_000),
            ("http.live_bid_sessions_max", count(http.live_bid_sessions_max), 1, 100_000),
            ("coordination.timeout_ms", coordination.timeout_ms, 5, 5_000),
            ("coordination.nodes", coordination.nodes.into(), 1, 1_000),
            ("policy.ring_timeout_ms", policy.ring_timeout_ms, 1_000, 180_000),
            ("policy.max_call_s", policy.max_call_s.into(), 1, 86_400),
            ("policy.route_plan_max", policy.route_plan_max.into(), 1, 20),
            ("policy.typical_call_s", policy.typical_call_s.into(), 1, 86_400),
            ("policy.reservation_ms", policy.reservation_ms, 1_000, 600_000),
            ("policy.reservation_ms_max", policy.reservation_ms_max, 1_000, 600_000),
            ("policy.trading.bidding_deadline_ms", policy.trading.bidding_deadline_ms.into(), 0, 5_000),
            ("policy.trading.recovery.attempts_max", policy.trading.recovery.attempts_max.into(), 0, 20),
            ("live_bidders.in_flight_max", count(self.live_bidders.in_flight_max), 1, 100_000),
            ("live_bidders.connections_max", count(self.live_bidders.connections_max), 1, 100_000),
            ("engine.waiting_max", count(engine.waiting_max), 1, 10_000_000),
            ("engine.heartbeat_ms", engine.heartbeat_ms, 10, 60_000),
            ("bus.kafka.partitions", bus.kafka.partitions.into(), 1, 10_000),
            ("bus.kafka.replicas", bus.kafka.replicas.into(), 0, 100),
            ("bus.kafka.retention_hours", bus.kafka.retention_hours.into(), 1, 1_000_000),
            ("bus.kafka.waiting_events_max", bus.kafka.waiting_events_max, 1, 1_000_000_000_000),
            // A call can be disputed for a week, and its revenue be awaited for a month.
            ("retention.records_months", retention.records_months.into(), 3, 1_200),
            ("retention.journal_days", retention.journal_days.into(), 1, 36_500),
            ("retention.outbox_days", retention.outbox_days.into(), 1, 36_500),
            ("audit.anchor_every_s", self.audit.anchor_every_s, 1, 86_400),
            ("shutdown.drain_timeout_s", shutdown.drain_timeout_s, 0, 86_400),
        ];
        let outside = ranges.into_iter().filter(|(_, value, least, most)| !(least..=most).contains(&value));
        outside
            .map(|(key, value, least, most)| {
                let bound = if value < least { format!("below {least}") } else { format!("above {most}") };
                Fault {
                    key: key.into(),
                    problem: format!("is {value}, {bound}; give a value within its bounds"),
                }
            })
            .collect()
    }
}

/// The most webhooks: each has a thread.
const WEBHOOKS_MAX: usize = 32;

/// What cannot work of the webhooks.
fn webhook_faults(webhooks: &[WebhookConfig]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut fault = |problem| faults.push(Fault { key: "webhooks".into(), problem });
    if webhooks.len() > WEBHOOKS_MAX {
        fault(format!("has {} entries; name at most {WEBHOOKS_MAX}", webhooks.len()));
    }
    for (place, webhook) in webhooks.iter().enumerate() {
        let name = &webhook.name;
        for (key, problem) in webhook.problems() {
            fault(format!("({name}): {key} {problem}"));
        }
        if webhooks[..place].iter().any(|other| other.name == *name) {
            fault(format!("({name}): the name is there twice; give each its own"));
        }
        let kinds = || EVENT_KINDS.iter().map(|kind| kind.name).chain(["audit.recorded", "audit.anchored"]);
        for wanted in webhook.types.iter().filter(|wanted| !kinds().any(|kind| fits(wanted, kind))) {
            let problem =
                format!("({name}): '{wanted}' is no type of events; see docs/events.md, or write call.*");
            fault(problem);
        }
    }
    faults
}

/// What cannot work of the coordination. Its keys are fit for Redis's own names of keys and channels.
fn coordination_faults(config: &CoordinationConfig) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut fault = |key: &'static str, problem| faults.push(Fault { key: key.into(), problem });
    match (config.kind, &config.url) {
        (CoordinationKind::Redis, None) => {
            let problem = "is not set; write redis://user:password@host:6379/0";
            fault("coordination.url", problem.to_owned());
        }
        (CoordinationKind::Memory, Some(_)) => {
            let problem = "is memory, but coordination.url is set; write redis, or leave the URL out";
            fault("coordination.kind", problem.to_owned());
        }
        _ => {}
    }
    if config.ca_file.is_some() && config.url.as_ref().is_some_and(|url| !url.is_tls()) {
        let problem = "is set, but coordination.url asks for no TLS; write rediss://, or leave the file out";
        fault("coordination.ca_file", problem.to_owned());
    }
    let prefix = &config.key_prefix;
    let is_legal = |letter: char| letter.is_ascii_alphanumeric() || "._-:".contains(letter);
    if !(1..=100).contains(&prefix.len()) || !prefix.chars().all(is_legal) {
        let problem = format!("'{prefix}' cannot begin a key; use letters, digits, '.', '_', '-' and ':'");
        fault("coordination.key_prefix", problem);
    }
    faults
}

/// The key that an error of the SIP settings is about.
fn sip_key(error: &SipConfigError) -> Cow<'static, str> {
    match error {
        SipConfigError::NothingToListenOn
        | SipConfigError::AdvertisedIpMissing(_)
        | SipConfigError::ListenTwice(_) => "sip.listen".into(),
        SipConfigError::NoBidderStatus(_) => "sip.no_bidder_status".into(),
        SipConfigError::TrunkNameTwice(_) | SipConfigError::TrunkWithoutSources(_) => "sip.trunks".into(),
        SipConfigError::SessionTooShort { .. } => "sip.session_expires_s".into(),
        SipConfigError::Zero(name) => format!("sip.{name}").into(),
    }
}
