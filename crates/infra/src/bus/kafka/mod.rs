//! Kafka: topics by what events are about, a relay that fills them from the outbox, and groups that read them.

mod dead_letters;
mod producer;
mod relay;
mod topic_reader;

pub use dead_letters::UnreadableMessage;
pub use relay::{CURSOR as RELAY_CURSOR, Relay, RelayStatus};
pub(super) use topic_reader::TopicReader;

use super::BusError;
use crate::store::OutboxEvent;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long the brokers have to answer a question about topics.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(5);

/// What events are about, and so the topics: events of one call must stay in order, whatever happened to it.
const TOPICS: [&str; 6] = ["calls", "accounts", "bid-profiles", "tracking-numbers", "exchange", "audit"];

/// Messages that cannot be read are put here, as they came.
const DEAD_LETTERS: &str = "dead-letters";

/// Which Kafka, and how its topics are set up when they are missing. Connections are plaintext: put a TLS tunnel between
/// networks that are not yours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaConfig {
    /// Brokers to start from, as `host:port`. Without any, nothing is relayed.
    pub brokers: Vec<String>,
    /// Topics are named `PREFIX.calls` and so on.
    pub topic_prefix: String,
    /// Partitions of a new topic: the most members of a group that can share its work.
    pub partitions: u16,
    /// Copies of a new topic's data; 0 leaves it to the brokers.
    pub replicas: u16,
    /// How long new topics keep events, in hours.
    pub retention_hours: u32,
    /// Events that may wait for Kafka in the outbox; with more of them no new calls are taken.
    pub waiting_events_max: u64,
}

/// The topic, without its prefix, of events whose subject begins with this word.
pub fn topic_of_subject(kind: &str) -> &'static str {
    match kind {
        "call" => "calls",
        "account" => "accounts",
        "bid_profile" => "bid-profiles",
        "tracking_number" => "tracking-numbers",
        "audit" => "audit",
        _ => "exchange",
    }
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            brokers: Vec::new(),
            topic_prefix: "dce".to_owned(),
            partitions: 12,
            replicas: 0,
            retention_hours: 7 * 24,
            waiting_events_max: 20_000_000,
        }
    }
}

impl KafkaConfig {
    /// The topics events are in.
    pub fn topics(&self) -> Vec<String> {
        TOPICS.iter().map(|topic| self.topic(topic)).collect()
    }

    fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.topic_prefix)
    }

    /// The topic of an event: the kind of its subject, which is the part before the slash.
    fn topic_of(&self, event: &OutboxEvent) -> String {
        self.topic(topic_of_subject(event.subject.split('/').next().unwrap_or_default()))
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", self.brokers.join(","))
            .set("client.id", "dce")
            .set("socket.keepalive.enable", "true")
            .set("reconnect.backoff.max.ms", "2000");
        client
    }

    /// Makes the topics that are missing; those that are there stay as they are.
    fn create_topics(&self) -> Result<(), BusError> {
        let admin: AdminClient<_> = self.client().create()?;
        let retention_ms = (u64::from(self.retention_hours) * 3_600_000).to_string();
        let names: Vec<String> = TOPICS.iter().chain([&DEAD_LETTERS]).map(|name| self.topic(name)).collect();
        // -1 leaves it to the brokers (KIP-464).
        let replicas = if self.replicas == 0 { -1 } else { i32::from(self.replicas) };
        let topics = names.iter().map(|name| {
            let replication = TopicReplication::Fixed(replicas);
            NewTopic::new(name, i32::from(self.partitions), replication).set("retention.ms", &retention_ms)
        });
        let topics: Vec<NewTopic> = topics.collect();
        let options =
            AdminOptions::new().operation_timeout(Some(ADMIN_TIMEOUT)).request_timeout(Some(ADMIN_TIMEOUT));
        let created = futures_executor::block_on(admin.create_topics(&topics, &options))?;
        for (topic, code) in created.into_iter().filter_map(Result::err) {
            if code != RDKafkaErrorCode::TopicAlreadyExists {
                tracing::warn!(%topic, %code, "topic not created");
            }
        }
        Ok(())
    }
}
