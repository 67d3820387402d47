//! The bus: what happened, to whoever wants to know, at least once and in order per subject.
//!
//! Every event is in the outbox, written in the same unit of work as what it tells of. With the local bus a group of consumers
//! reads the outbox itself. With Kafka a relay copies the outbox to topics, and the groups read those. Either way an event keeps
//! its identity, so that a consumer can drop what it has seen, and a group goes on after the last event it committed.
//!
//! Absent on purpose: publishing from anywhere but the outbox. What is not written did not happen.

pub mod kafka;
mod local;
pub mod consumer;

use crate::store::{OutboxEvent, Reader, StoreError, Writer};
use kafka::KafkaConfig;
use std::time::Duration;

/// Why the bus did not do what was asked. Everything but the store's refusals passes by itself when the broker is back.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The outbox cannot be read, or a place in it not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Kafka refused, or did not answer.
    #[error("kafka: {0}; check that the brokers of `bus.kafka.brokers` are up and reachable")]
    Kafka(#[from] rdkafka::error::KafkaError),
    /// Kafka took only some of a batch within the time it had.
    #[error("kafka: {missing} of {sent} events were not acknowledged ({finding}); they are sent again")]
    NotAcknowledged {
        /// Events sent.
        sent: usize,
        /// Of those, how many nobody vouches for.
        missing: usize,
        /// What was said of one of them.
        finding: String,
    },
}

/// Where groups of consumers read.
#[derive(Clone)]
pub enum Bus {
    /// The outbox itself, in this process.
    Local {
        /// Reads it.
        reader: Reader,
        /// Keeps each group's place.
        writer: Writer,
    },
    /// Kafka's topics.
    Kafka(KafkaConfig),
}

/// What one member of a group reads.
pub trait Subscription: Send {
    /// Events that followed the ones given out before, at most `most`: each subject's in their order. Waits at most `patience`
    /// for the first one. An event may come again after a crash, with the same identity.
    fn next(&mut self, most: u32, patience: Duration) -> Result<Vec<OutboxEvent>, BusError>;

    /// Where the store keeps the group's place, and the last event given out, if there is a new one: for whoever writes it with the
    /// effect of the events. [`Subscription::commit`] leaves it to them then. Nothing where the place is kept elsewhere.
    fn take_place(&mut self) -> Option<(String, i64)>;

    /// The group is done with everything given out: its members go on behind it, whatever happens.
    fn commit(&mut self) -> Result<(), BusError>;
}

/// Under this name a group's place in the outbox is kept.
pub(crate) fn place_of(group: &str) -> String {
    format!("group {group}")
}

impl Bus {
    /// Joins a group. A group that is new reads from the beginning.
    pub fn subscribe(&self, group: &str) -> Result<Box<dyn Subscription>, BusError> {
        Ok(match self {
            Self::Local { reader, writer } => {
                Box::new(local::Tail::new(reader.clone(), writer.clone(), group)?)
            }
            Self::Kafka(config) => Box::new(kafka::TopicReader::new(config, group)?),
        })
    }
}
