//! A member of a consumer group.

use super::KafkaConfig;
use super::dead_letters::put_aside;
use crate::bus::{BusError, Subscription};
use crate::store::OutboxEvent;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::BaseProducer;
use std::time::{Duration, Instant};

/// How long it waits after an error that passes.
const RETRY: Duration = Duration::from_millis(100);

/// Reads all topics.
pub(crate) struct TopicReader {
    config: KafkaConfig,
    group: String,
    consumer: BaseConsumer,
    /// For messages that cannot be read; made for the first one.
    dead_letters: Option<BaseProducer>,
}

impl TopicReader {
    pub(crate) fn new(config: &KafkaConfig, group: &str) -> Result<Self, BusError> {
        config.create_topics()?;
        let consumer: BaseConsumer = config
            .client()
            .set("group.id", format!("{}.{group}", config.topic_prefix))
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .create()?;
        let topics = config.topics();
        consumer.subscribe(&topics.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(Self { config: config.clone(), group: group.to_owned(), consumer, dead_letters: None })
    }

    /// The next event, if one comes in time. A message that cannot be read is put aside.
    fn poll(&mut self, patience: Duration) -> Result<Option<OutboxEvent>, BusError> {
        let until = Instant::now() + patience;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Some(polled) = self.consumer.poll(left) else { return Ok(None) };
            match polled {
                Ok(message) => match event(&message) {
                    Ok(event) => return Ok(Some(event)),
                    Err(finding) => {
                        put_aside(&mut self.dead_letters, &self.config, &self.group, &message, &finding)?;
                    }
                },
                // The client reconnects by itself: only what it calls fatal is the end of it.
                Err(error) if matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::Fatal)) => {
                    return Err(error.into());
                }
                Err(error) => {
                    tracing::debug!(%error, "reading from Kafka");
                    std::thread::sleep(RETRY.min(left));
                }
            }
            if left.is_zero() {
                return Ok(None);
            }
        }
    }
}

impl Subscription for TopicReader {
    fn next(&mut self, most: u32, patience: Duration) -> Result<Vec<OutboxEvent>, BusError> {
        let mut events = Vec::new();
        while events.len() < most as usize {
            let patience = if events.is_empty() { patience } else { Duration::ZERO };
            match self.poll(patience)? {
                Some(event) => events.push(event),
                None => break,
            }
        }
        Ok(events)
    }

    /// Kafka keeps it.
    fn take_place(&mut self) -> Option<(String, i64)> {
        None
    }

    fn commit(&mut self) -> Result<(), BusError> {
        match self.consumer.commit_consumer_state(CommitMode::Sync) {
            // Nothing was given out since.
            Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Reads one message.
fn event(message: &BorrowedMessage<'_>) -> Result<OutboxEvent, String> {
    let payload = message.payload().ok_or("no payload")?;
    let value = serde_json::from_slice(payload).map_err(|error| format!("not JSON: {error}"))?;
    OutboxEvent::from_cloud_event(&value)
}
