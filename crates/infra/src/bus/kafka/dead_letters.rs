//! Messages that cannot be read: they must not keep the others waiting, and nothing is thrown away. They are put into a topic of their
//! own as they came, and can be given back to the topic they came from.
//!
//! What was given back is noted in the same topic, by a message without a payload: asked twice, it is given back once. A crash between
//! the two gives it back again, as anything on the bus may come again.

use super::{DEAD_LETTERS, KafkaConfig};
use crate::bus::BusError;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Header, Headers, OwnedHeaders};
use rdkafka::metadata::MetadataTopic;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Message, Offset, TopicPartitionList};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How long the brokers have to take a message.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// How long they have to say where a topic begins and ends, and to give the next message of it.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Messages that are looked at.
const LOOK_MAX: usize = 100_000;

/// Where the message came from: topic/partition/offset.
const FROM: &str = "dce_from";
/// The group that could not read it.
const GROUP: &str = "dce_group";
/// Why.
const FINDING: &str = "dce_finding";
/// The place of a dead letter that was given back.
const REPLAYED: &str = "dce_replayed";

/// A message that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnreadableMessage {
    /// Its place among the dead letters: topic/partition/offset.
    pub id: String,
    /// Where it came from: topic/partition/offset.
    pub from: String,
    /// The group that could not read it.
    pub group: String,
    /// Why.
    pub finding: String,
    /// Whether it was given back.
    pub replayed: bool,
    #[serde(skip)]
    key: Vec<u8>,
    #[serde(skip)]
    payload: Vec<u8>,
}

/// Puts a message aside as it came, with the place it came from and the reason. `producer` is made for the first one.
pub(super) fn put_aside(
    producer: &mut Option<BaseProducer>,
    config: &KafkaConfig,
    group: &str,
    message: &BorrowedMessage<'_>,
    finding: &str,
) -> Result<(), BusError> {
    let from = place(message);
    tracing::error!(%from, finding, "event cannot be read; put aside with the dead letters");
    let headers = OwnedHeaders::new()
        .insert(Header { key: FROM, value: Some(&from) })
        .insert(Header { key: GROUP, value: Some(group) })
        .insert(Header { key: FINDING, value: Some(finding) });
    let topic = config.topic(DEAD_LETTERS);
    let record = BaseRecord::to(&topic)
        .key(message.key().unwrap_or_default())
        .payload(message.payload().unwrap_or_default())
        .headers(headers);
    let producer = match producer {
        Some(producer) => producer,
        None => producer.insert(sender(config)?),
    };
    send(producer, record)
}

fn sender(config: &KafkaConfig) -> Result<BaseProducer, BusError> {
    Ok(config.client().set("acks", "all").set("enable.idempotence", "true").create()?)
}

fn send(producer: &BaseProducer, record: BaseRecord<'_, [u8], [u8]>) -> Result<(), BusError> {
    producer.send(record).map_err(|(error, _)| error)?;
    Ok(producer.flush(SEND_TIMEOUT)?)
}

fn place(message: &BorrowedMessage<'_>) -> String {
    format!("{}/{}/{}", message.topic(), message.partition(), message.offset())
}

fn header(message: &BorrowedMessage<'_>, key: &str) -> Option<String> {
    let headers = message.headers()?;
    let value = headers.iter().find(|header| header.key == key)?.value?;
    Some(String::from_utf8_lossy(value).into_owned())
}

impl KafkaConfig {
    /// The messages that could not be read, in the order of their places, those that were given back too.
    pub fn unreadable_messages(&self) -> Result<Vec<UnreadableMessage>, BusError> {
        let mut letters = Vec::new();
        let mut replayed = BTreeSet::new();
        self.each_dead_letter(|message| match header(message, REPLAYED) {
            Some(id) => {
                replayed.insert(id);
            }
            None => letters.push(UnreadableMessage {
                id: place(message),
                from: header(message, FROM).unwrap_or_default(),
                group: header(message, GROUP).unwrap_or_default(),
                finding: header(message, FINDING).unwrap_or_default(),
                replayed: false,
                key: message.key().unwrap_or_default().to_vec(),
                payload: message.payload().unwrap_or_default().to_vec(),
            }),
        })?;
        for letter in &mut letters {
            letter.replayed = replayed.contains(&letter.id);
        }
        letters.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(letters)
    }

    /// Gives messages back to the topics they came from, unless they were before. Gives those that it did.
    pub fn give_back(&self, letters: Vec<UnreadableMessage>) -> Result<Vec<UnreadableMessage>, BusError> {
        let producer = sender(self)?;
        let dead_letters = self.topic(DEAD_LETTERS);
        let mut given = Vec::new();
        for letter in letters.into_iter().filter(|letter| !letter.replayed) {
            let topic = letter.from.split('/').next().unwrap_or_default();
            send(&producer, BaseRecord::to(topic).key(&letter.key[..]).payload(&letter.payload[..]))?;
            let headers = OwnedHeaders::new().insert(Header { key: REPLAYED, value: Some(&letter.id) });
            send(&producer, BaseRecord::to(&dead_letters).key(&letter.key[..]).headers(headers))?;
            given.push(UnreadableMessage { replayed: true, ..letter });
        }
        Ok(given)
    }

    /// Reads the topic of dead letters from its beginning to where it ends now.
    fn each_dead_letter(&self, mut take: impl FnMut(&BorrowedMessage<'_>)) -> Result<(), BusError> {
        let topic = self.topic(DEAD_LETTERS);
        let consumer: BaseConsumer = self
            .client()
            .set("group.id", format!("{}.looks", self.topic_prefix))
            .set("enable.auto.commit", "false")
            .create()?;
        let metadata = consumer.fetch_metadata(Some(&topic), READ_TIMEOUT)?;
        let partitions = metadata.topics().iter().flat_map(MetadataTopic::partitions);
        let mut left = BTreeSet::new();
        let mut assignment = TopicPartitionList::new();
        let mut ends = BTreeMap::new();
        for partition in partitions {
            let (begin, end) = consumer.fetch_watermarks(&topic, partition.id(), READ_TIMEOUT)?;
            if begin < end {
                left.insert(partition.id());
                ends.insert(partition.id(), end);
                assignment.add_partition_offset(&topic, partition.id(), Offset::Offset(begin))?;
            }
        }
        consumer.assign(&assignment)?;
        let (mut looked_at, mut until) = (0, Instant::now() + READ_TIMEOUT);
        while !left.is_empty() && looked_at < LOOK_MAX && Instant::now() < until {
            let Some(polled) = consumer.poll(Duration::from_millis(500)) else { continue };
            let message = polled?;
            take(&message);
            looked_at += 1;
            until = Instant::now() + READ_TIMEOUT;
            if ends.get(&message.partition()).is_some_and(|end| message.offset() + 1 >= *end) {
                left.remove(&message.partition());
            }
        }
        Ok(())
    }
}
