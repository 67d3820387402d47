//! The producer: sends a batch and returns when the brokers vouch for all of it.

use super::KafkaConfig;
use crate::bus::BusError;
use crate::store::OutboxEvent;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext, PurgeConfig};
use rdkafka::{ClientContext, Message};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the brokers have to take a batch before it is given up and sent again.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(15);

/// Counts what the brokers say of the messages of a batch.
#[derive(Debug, Default)]
struct Deliveries(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    acknowledged: usize,
    refused: Option<KafkaError>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(_) => counts.acknowledged += 1,
            Err((error, message)) => {
                tracing::debug!(topic = message.topic(), %error, "event not taken");
                counts.refused = Some(error.clone());
            }
        }
    }
}

/// Sends batches, one at a time.
pub(super) struct BatchProducer {
    config: KafkaConfig,
    producer: BaseProducer<Deliveries>,
    /// Set when nobody waits for the rest of a batch any more.
    stopping: Arc<AtomicBool>,
}

impl BatchProducer {
    pub(super) fn new(config: &KafkaConfig, stopping: Arc<AtomicBool>) -> Result<Self, BusError> {
        let producer = config
            .client()
            // Retries neither repeat nor reorder messages (KIP-98).
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "2")
            .set("compression.type", "lz4")
            .set("message.timeout.ms", DELIVERY_TIMEOUT.as_millis().to_string())
            .set("queue.buffering.max.messages", "100000")
            .create_with_context(Deliveries::default())?;
        Ok(Self { config: config.clone(), producer, stopping })
    }

    /// Sends the events in their order. After an error some may have arrived: whoever reads them drops what comes twice.
    pub(super) fn send(&mut self, events: &[OutboxEvent], source: &str) -> Result<(), BusError> {
        *self.counts() = Counts::default();
        let until = Instant::now() + DELIVERY_TIMEOUT;
        let sent = events.iter().try_for_each(|event| self.send_one(event, source, until));
        while self.producer.in_flight_count() > 0 && self.may_wait(until) {
            self.producer.poll(Duration::from_millis(5));
        }
        // Served callbacks may be left when the last message has been taken.
        self.producer.poll(Duration::ZERO);
        let Counts { acknowledged, refused } = std::mem::take(&mut *self.counts());
        if acknowledged == events.len() {
            return Ok(());
        }
        // What is still under way must not arrive behind what is sent next.
        self.producer.purge(PurgeConfig::default().queue().inflight());
        self.producer.poll(Duration::ZERO);
        sent?;
        let finding = refused.map_or_else(|| "no answer in time".to_owned(), |error| error.to_string());
        Err(BusError::NotAcknowledged { sent: events.len(), missing: events.len() - acknowledged, finding })
    }

    fn send_one(&self, event: &OutboxEvent, source: &str, until: Instant) -> Result<(), BusError> {
        let topic = self.config.topic_of(event);
        let payload = event.cloud_event(source).to_string();
        // Structured content mode of the Kafka protocol binding for CloudEvents 1.0.2, section 3.3; the type beside, so that
        // a reader can filter without parsing.
        let headers = OwnedHeaders::new()
            .insert(Header {
                key: "content-type",
                value: Some("application/cloudevents+json; charset=UTF-8"),
            })
            .insert(Header { key: "ce_type", value: Some(&event.kind) });
        let mut record = BaseRecord::to(&topic)
            .key(event.subject.as_str())
            .payload(payload.as_str())
            .timestamp(event.at.0 / 1_000)
            .headers(headers);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), unsent))
                    if self.may_wait(until) =>
                {
                    record = unsent;
                    self.producer.poll(Duration::from_millis(10));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    fn may_wait(&self, until: Instant) -> bool {
        Instant::now() < until && !self.stopping.load(Ordering::Relaxed)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.producer.context().0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
