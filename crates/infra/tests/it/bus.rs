//! What the bus promises, on each of its adapters: nothing missing, each subject in order, groups that go on where they were.

use super::fixtures::{Directory, call_id};
use crate::kafka_server::config;
use exchange::effect::Record;
use exchange::event::EVENT_KINDS;
use exchange::event::{Event, Fact, Subject};
use exchange::time::Timestamp;
use infra::bus::kafka::{KafkaConfig, Relay};
use infra::bus::{Bus, Subscription};
use infra::store::{OutboxEvent, Store, UnitOfWork};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use test_servers::kafka::KafkaServer;
use uuid::Uuid;

/// How long events may take on a busy machine.
const TIMEOUT: Duration = Duration::from_mins(1);
const SUBJECTS: u128 = 7;

/// Writes `count` events about a few calls, numbered by their rules.
pub(crate) fn happen(store: &Store, count: u32) {
    for number in 0..count {
        let subject = Subject::Call(call_id(u128::from(number) % SUBJECTS));
        let event =
            Event { subject, at: Timestamp(1_000_000), fact: Fact::ComplianceChecked { rules: number } };
        let unit = UnitOfWork { journal: None, records: vec![Record::Event(event)] };
        store.writer().commit(unit).expect("a unit");
    }
}

fn all(store: &Store) -> Vec<OutboxEvent> {
    let mut events: Vec<OutboxEvent> = Vec::new();
    loop {
        let more =
            store.reader().events_after(events.last().map_or(0, |event| event.seq), 200).expect("readable");
        if more.is_empty() {
            return events;
        }
        events.extend(more);
    }
}

/// Reads until `count` different events have come.
fn read(subscription: &mut dyn Subscription, count: usize) -> Vec<OutboxEvent> {
    let until = Instant::now() + TIMEOUT;
    let (mut events, mut seen) = (Vec::new(), BTreeSet::new());
    while seen.len() < count {
        assert!(Instant::now() < until, "{} of {count} events came", seen.len());
        for event in subscription.next(50, Duration::from_millis(500)).expect("the bus is up") {
            seen.insert(event.id);
            events.push(event);
        }
    }
    events
}

/// First sight of each event, by subject.
fn by_subject(events: &[OutboxEvent]) -> BTreeMap<String, Vec<Uuid>> {
    let mut seen = BTreeSet::new();
    let mut subjects: BTreeMap<String, Vec<Uuid>> = BTreeMap::new();
    for event in events.iter().filter(|event| seen.insert(event.id)) {
        subjects.entry(event.subject.clone()).or_default().push(event.id);
    }
    subjects
}

fn check(bus: &Bus, store: &Store) {
    happen(store, 30);
    let written = all(store);
    let mut first = bus.subscribe("first").expect("a group");
    let read_first = read(&mut *first, 30);
    assert_eq!(by_subject(&read_first), by_subject(&written));
    let find = |id| read_first.iter().find(|event| event.id == id).expect("came");
    assert!(written.iter().all(|event| find(event.id) == event), "events come as they were written");
    first.commit().expect("kept");
    first.commit().expect("nothing new is no error");

    happen(store, 12);
    assert_eq!(by_subject(&read(&mut *first, 12)), by_subject(&all(store)[30..]));
    // Not committed: whoever comes next gets them again.
    drop(first);
    let mut again = bus.subscribe("first").expect("the same group");
    assert_eq!(by_subject(&read(&mut *again, 12)), by_subject(&all(store)[30..]));
    again.commit().expect("kept");
    drop(again);

    let mut second = bus.subscribe("second").expect("another group");
    assert_eq!(by_subject(&read(&mut *second, 42)), by_subject(&all(store)));
    drop(second);
    let mut again = bus.subscribe("first").expect("the same group");
    assert_eq!(again.next(50, Duration::from_secs(2)).expect("the bus is up"), []);
}

pub(crate) fn relay(config: &KafkaConfig, store: &Store) -> Relay {
    Relay::start(config, "/v1", store.reader(), store.writer()).expect("a thread")
}

#[test]
fn the_local_bus_keeps_its_promises() {
    let directory = Directory::new();
    let store = directory.open();
    check(&Bus::Local { reader: store.reader(), writer: store.writer() }, &store);
}

#[test]
fn kafka_keeps_the_promises_of_the_bus_and_puts_poison_aside() {
    let server = KafkaServer::start();
    let directory = Directory::new();
    let store = directory.open();
    let config = config(&server, "promises");
    let relay = relay(&config, &store);
    check(&Bus::Kafka(config.clone()), &store);
    assert_eq!(relay.status().sent, 42);
    check_poison(&config, &store);
}

/// What cannot be read is put aside and keeps nobody waiting.
fn check_poison(config: &KafkaConfig, store: &Store) {
    let topic = format!("{}.calls", config.topic_prefix);
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", config.brokers.join(",")).create().expect("a producer");
    for poison in ["{", "null", r#"{"id": "5"}"#] {
        producer.send(BaseRecord::<str, str>::to(&topic).key("poison").payload(poison)).expect("room");
    }
    producer.flush(Duration::from_secs(30)).expect("taken");
    happen(store, 5);
    let mut group = Bus::Kafka(config.clone()).subscribe("first").expect("a group");
    assert_eq!(by_subject(&read(&mut *group, 5)), by_subject(&all(store)[42..]));
    group.commit().expect("kept");
    assert_eq!(dead_letters(config, 3), ["null", r#"{"id": "5"}"#, "{"].map(str::to_owned).into());
    check_giving_back(config, store, &mut *group);
}

/// They can be given back to where they came from, once each.
fn check_giving_back(config: &KafkaConfig, store: &Store, group: &mut dyn Subscription) {
    let letters = config.unreadable_messages().expect("the broker is up");
    assert_eq!(letters.len(), 3);
    let topic = format!("{}.calls/", config.topic_prefix);
    assert!(letters.iter().all(|letter| letter.from.starts_with(&topic) && letter.group == "first"));
    assert_eq!(config.give_back(letters).expect("the broker is up").len(), 3);
    let letters = config.unreadable_messages().expect("the broker is up");
    assert!(letters.len() == 3 && letters.iter().all(|letter| letter.replayed), "{letters:?}");
    assert_eq!(config.give_back(letters).expect("the broker is up"), [], "asked twice, given once");
    // They are as unreadable as before, and are put aside again; the others come.
    happen(store, 2);
    assert_eq!(by_subject(&read(group, 2)), by_subject(&all(store)[47..]));
    let until = Instant::now() + TIMEOUT;
    let waiting = || {
        let letters = config.unreadable_messages().expect("the broker is up");
        letters.iter().filter(|letter| !letter.replayed).count()
    };
    while waiting() < 3 {
        assert!(Instant::now() < until, "{} wait", waiting());
        group.next(50, Duration::from_millis(200)).expect("the bus is up");
    }
}

fn dead_letters(config: &KafkaConfig, count: usize) -> BTreeSet<String> {
    use rdkafka::Message;
    use rdkafka::consumer::{BaseConsumer, Consumer};
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", config.brokers.join(","))
        .set("group.id", "looks")
        .set("auto.offset.reset", "earliest");
    let consumer: BaseConsumer = client.create().expect("a consumer");
    consumer.subscribe(&[&format!("{}.dead-letters", config.topic_prefix)]).expect("a topic");
    let (mut letters, until) = (BTreeSet::new(), Instant::now() + TIMEOUT);
    while letters.len() < count {
        assert!(Instant::now() < until, "only {letters:?}");
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(500)) else { continue };
        letters.insert(String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned());
    }
    letters
}

#[test]
fn kafka_killed_under_load_costs_delay_and_nothing_else() {
    let server = KafkaServer::start();
    let directory = Directory::new();
    let config = config(&server, "killed");
    let store = directory.open();
    let first = relay(&config, &store);
    happen(&store, 200);
    server.order("kill");
    happen(&store, 200);
    let until = Instant::now() + TIMEOUT;
    while first.status().failing.is_none() {
        assert!(Instant::now() < until, "a dead broker is noticed");
        std::thread::sleep(Duration::from_millis(50));
    }
    // The exchange goes down too, and comes back with another relay.
    drop(first);
    let second = relay(&config, &store);
    server.order("start");
    happen(&store, 100);
    let mut group = Bus::Kafka(config).subscribe("after").expect("a group");
    assert_eq!(by_subject(&read(&mut *group, 500)), by_subject(&all(&store)));
    let until = Instant::now() + TIMEOUT;
    while second.status().sent < 500 || second.status().failing.is_some() {
        assert!(Instant::now() < until, "{:?}", second.status());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn the_documents_name_every_type_of_event() {
    let documented = include_str!("../../../../docs/events.md");
    let kinds = EVENT_KINDS.iter().map(|kind| kind.name);
    let missing: Vec<&str> = kinds.filter(|kind| !documented.contains(&format!("| `{kind}` |"))).collect();
    assert!(missing.is_empty(), "docs/events.md says nothing of {missing:?}");
}
