//! How tests reach their Kafka.

use infra::bus::kafka::KafkaConfig;
use test_servers::kafka::KafkaServer;

/// Topics of this prefix on this server.
pub(crate) fn config(server: &KafkaServer, topic_prefix: &str) -> KafkaConfig {
    let brokers = vec![server.broker()];
    KafkaConfig { brokers, topic_prefix: topic_prefix.to_owned(), partitions: 3, ..KafkaConfig::default() }
}
