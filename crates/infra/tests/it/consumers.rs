//! Consumers: every event counts exactly once in the roll-ups whatever dies, and poison keeps nobody waiting. The runner does the same
//! on both buses.

use crate::bus::{happen, relay};
use crate::fixtures::{
    Directory, Home, account_id, at, call_id, converted, deposit, on_every_store, phone, ringing,
};
use crate::kafka_server::config;
use exchange::audit::Actor;
use exchange::call::EndedBy;
use exchange::effect::Record;
use exchange::event::{Event, Fact, Subject};
use exchange::id::CallId;
use exchange::ledger::money::Micros;
use exchange::time::Timestamp;
use exchange::tracking_number::CallOrigin;
use infra::bus::Bus;
use infra::bus::consumer::{
    Begin, Consumer, ConsumerOptions, Refusal, Runner, Stopping, Taken, start_roll_ups,
};
use infra::store::{
    LetterCounts, LetterFilter, LetterState, OutboxEvent, Page, ReportBy, ReportFilter, ReportStep, Store,
    UnitOfWork,
};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use test_servers::kafka::KafkaServer;
use uuid::Uuid;

on_every_store!(
    every_event_counts_exactly_once_whatever_dies,
    poison_is_put_aside_and_counts_once_when_it_is_given_again,
);

/// How long anything may take on a busy machine.
const TIMEOUT: Duration = Duration::from_mins(1);

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + TIMEOUT;
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn told(id: CallId, at: Timestamp, fact: Fact) -> Record {
    Record::Event(Event { subject: Subject::Call(id), at, fact })
}

/// A call that comes and is put through, with its events.
fn rings(number: u128) -> UnitOfWork {
    let (id, buyer) = (call_id(number), account_id(2));
    let mut unit = ringing(number, buyer);
    unit.records.push(told(
        id,
        at(number),
        Fact::CallReceived {
            called: phone(1),
            seller: account_id(1),
            vertical: "medicare".to_owned(),
            origin: CallOrigin::OrganicInbound,
            trunk: "carrier".to_owned(),
            is_ping: false,
        },
    ));
    unit.records.push(routed(number));
    unit
}

fn routed(number: u128) -> Record {
    let (bid, buyer) = (crate::fixtures::bid_id(1), account_id(2));
    told(
        call_id(number),
        at(number),
        Fact::CallRouted { attempt: 1, bid, buyer, hold_micros: Micros::units(10) },
    )
}

/// The same call converts.
fn converts(number: u128) -> UnitOfWork {
    let (id, buyer, bid) = (call_id(number), account_id(2), crate::fixtures::bid_id(1));
    let mut unit = converted(number, buyer);
    let later = at(number).plus_ms(120_000);
    let facts = [
        Fact::CallBridged { attempt: 1, bid, buyer },
        Fact::CallConverted {
            bid,
            buyer,
            seller: account_id(1),
            charge_micros: Micros::units(10),
            payout_micros: Micros::units(7),
            margin_micros: Micros::units(3),
        },
        Fact::CallEnded {
            outcome: "converted",
            buyer: Some(buyer),
            connected_ms: Some(120_000),
            ended_by: Some(EndedBy::Caller),
            is_duplicate: false,
        },
    ];
    unit.records.extend(facts.map(|fact| told(id, later, fact)));
    unit
}

fn is_up_to_date(store: &Store) -> bool {
    !store.reader().roll_ups_are_behind().expect("readable")
}

fn begin(home: &Home) -> Store {
    let store = home.open();
    let buyer = account_id(2);
    for kind in [(1, exchange::account::AccountKind::Seller), (2, exchange::account::AccountKind::Buyer)] {
        let account = crate::fixtures::account(kind.0, kind.1);
        store.writer().commit(crate::fixtures::open_account(account)).expect("sound");
    }
    store.writer().commit(deposit(buyer, "wire-1", Micros::units(100_000))).expect("sound");
    store
}

fn every_event_counts_exactly_once_whatever_dies(new_home: fn() -> Home) {
    const LIVES: u128 = 5;
    const CALLS: u128 = 60;
    let home = new_home();
    let mut store = begin(&home);
    for life in 0..LIVES {
        let runner = start_roll_ups(store.reader(), store.writer()).expect("a thread");
        for number in life * CALLS..(life + 1) * CALLS {
            store.writer().commit(rings(number)).expect("sound");
            store.writer().commit(converts(number)).expect("sound");
        }
        // The store goes first, wherever the consumer is by then; what it writes after that is refused.
        std::thread::sleep(Duration::from_millis(u64::try_from(life).expect("small") * 70));
        drop(store);
        drop(runner);
        store = home.open();
    }
    let runner = start_roll_ups(store.reader(), store.writer()).expect("a thread");
    until("the roll-ups have everything", || is_up_to_date(&store));
    drop(runner);

    let filter = ReportFilter {
        from: Timestamp(0),
        until: at(1_000_000),
        step: ReportStep::Day,
        by: Some(ReportBy::Buyer),
        seller: Some(account_id(1)),
        buyer: None,
        vertical: None,
    };
    let rows = store.reader().report(&filter, 100).expect("readable");
    let [nobodys, buyers] = &rows[..] else { panic!("{rows:?}") };
    let calls = i64::try_from(LIVES * CALLS).expect("small");
    assert_eq!((nobodys.buyer, nobodys.figures.received), (None, calls));
    assert_eq!(buyers.buyer, Some(account_id(2)));
    assert_eq!(
        (buyers.figures.routed, buyers.figures.bridged, buyers.figures.converted),
        (calls, calls, calls)
    );
    assert_eq!(buyers.figures.connected_ms, calls * 120_000);
    assert_eq!(buyers.figures.charged_micros, calls * 10_000_000);
    assert_eq!(
        (buyers.figures.paid_micros, buyers.figures.margin_micros),
        (calls * 7_000_000, calls * 3_000_000)
    );
    let hours = store.reader().report(&ReportFilter { step: ReportStep::Hour, by: None, ..filter }, 100);
    assert_eq!(hours.expect("readable").len(), 1, "all were received within the first hour");

    let report = store.reader().verify().expect("readable");
    assert_eq!((report.roll_ups_compared, report.violations), (true, Vec::new()));
    drop(store);
    home.cook("UPDATE roll_ups SET charged_micros = charged_micros + 5 WHERE charged_micros > 0");
    let report = Store::open_read_only(home.place()).expect("nobody writes").verify().expect("readable");
    assert_eq!(report.violations_total, 1, "{report:?}");
    assert!(report.violations[0].ends_with("differs from its calls in charged_micros by 5"), "{report:?}");
}

fn poison_is_put_aside_and_counts_once_when_it_is_given_again(new_home: fn() -> Home) {
    let home = new_home();
    let store = begin(&home);
    store.writer().commit(rings(1)).expect("sound");
    // Nobody knows call 2, and nobody will for a while.
    let poison = UnitOfWork { journal: None, records: vec![routed(2)] };
    store.writer().commit(poison).expect("it can be written");
    store.writer().commit(converts(1)).expect("sound");
    let runner = start_roll_ups(store.reader(), store.writer()).expect("a thread");
    until("the poison keeps nobody waiting", || is_up_to_date(&store));
    until("it is counted", || runner.status().letters == LetterCounts { waiting: 1, asked_for: 0 });
    let letters =
        || store.reader().dead_letters(&LetterFilter::default(), &Page::default()).expect("readable").items;
    let [letter] = &letters()[..] else { panic!("{:?}", letters()) };
    assert_eq!(
        (letter.consumer.as_str(), letter.times, letter.state),
        ("analytics", 1, LetterState::Waiting)
    );
    assert_eq!(letter.finding, format!("call {} is not in the books", call_id(2)));

    let ask = || {
        let waiting = store.reader().waiting_letters(&LetterFilter::default(), 10).expect("readable");
        store.writer().replay_dead_letters(waiting.clone(), Actor::CommandLine).expect("written");
        waiting
    };
    // Too early: it is put aside again, and has to be asked for again.
    assert_eq!(ask(), [letter.id()]);
    until("it is refused again", || letters()[0].times == 2);
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(letters()[0].times, 2, "asked once, it is given once");
    store.writer().commit(rings(2)).expect("sound");
    let asked = ask();
    until("it is taken", || letters()[0].state == LetterState::Taken);
    // Asked again by somebody who has an old list.
    store.writer().replay_dead_letters(asked, Actor::CommandLine).expect("written");
    assert_eq!(ask(), []);
    until("everything is counted", || is_up_to_date(&store));
    std::thread::sleep(Duration::from_millis(1_500));
    let all = ReportFilter {
        from: Timestamp(0),
        until: at(10_000),
        step: ReportStep::Day,
        by: None,
        seller: None,
        buyer: None,
        vertical: Some("medicare".to_owned()),
    };
    let rows = store.reader().report(&all, 10).expect("readable");
    // Call 1 once; call 2 by its own event and by the poison, once each.
    assert_eq!((rows[0].figures.received, rows[0].figures.routed, rows[0].figures.converted), (2, 3, 1));
    assert_eq!(store.reader().verify().expect("readable").violations, Vec::<String>::new());
}

/// What a recorder does with events.
#[derive(Default)]
struct Script {
    /// Events that were taken, in order.
    taken: Vec<OutboxEvent>,
    /// The rule number of an event that is never taken.
    poison: Option<u64>,
    /// The rule number of an event that is not taken now, and how often yet.
    not_yet: Option<(u64, u32)>,
}

/// Remembers what it was given.
struct Recorder(Arc<Mutex<Script>>);

impl Consumer for Recorder {
    fn take(&mut self, events: &[OutboxEvent], _stopping: Stopping<'_>) -> Taken {
        let mut script = self.0.lock().expect("no test panicked");
        let mut taken = Taken::default();
        for event in events {
            let number = event.data["rules"].as_u64();
            if number.is_some() && number == script.poison {
                taken.refusal = Some(Refusal::ForGood("poison".to_owned()));
                return taken;
            }
            if let Some((not_yet, left)) = script.not_yet.filter(|(not_yet, _)| Some(*not_yet) == number) {
                script.not_yet = left.checked_sub(1).map(|left| (not_yet, left));
                taken.refusal = Some(Refusal::ForNow("not yet".to_owned()));
                return taken;
            }
            script.taken.push(event.clone());
            taken.count += 1;
        }
        taken
    }
}

fn run(bus: &Bus, store: &Store, script: &Arc<Mutex<Script>>, begin: Begin) -> Runner {
    let options = ConsumerOptions {
        batch_max: 10,
        retry_min: Duration::from_millis(5),
        retry_max: Duration::from_millis(50),
        ..ConsumerOptions::default()
    };
    let consumer = Recorder(Arc::clone(script));
    Runner::start("records", bus.clone(), store.reader(), store.writer(), consumer, options, begin)
        .expect("a thread")
}

/// What a runner does with a consumer that refuses, stops in the middle, and comes back.
fn check(bus: &Bus, store: &Store) {
    let script =
        Arc::new(Mutex::new(Script { poison: Some(11), not_yet: Some((17, 5)), ..Script::default() }));
    let ids =
        || -> BTreeSet<Uuid> { script.lock().expect("sound").taken.iter().map(|event| event.id).collect() };
    happen(store, 30);
    let runner = run(bus, store, &script, Begin::AtTheBeginning);
    until("all but the poison come", || ids().len() == 29);
    until("the poison is aside", || runner.status().letters.waiting == 1);
    assert_eq!(script.lock().expect("sound").taken.len(), 29, "each of them once");
    assert_eq!(runner.status().stuck, None);
    drop(runner);

    // It never takes number 5 of the next events, and is stopped while it tries: what came before that in the batch comes again.
    script.lock().expect("sound").not_yet = Some((5, u32::MAX));
    happen(store, 20);
    let runner = run(bus, store, &script, Begin::AtTheBeginning);
    until("it is stuck", || runner.status().stuck.is_some());
    drop(runner);
    script.lock().expect("sound").not_yet = None;
    script.lock().expect("sound").poison = None;
    let runner = run(bus, store, &script, Begin::AtTheBeginning);
    until("everything comes", || ids().len() == 29 + 20);
    let all = script.lock().expect("sound").taken.len();
    let again = all - ids().len();
    assert!(again < 10, "{again} came again, a batch has 10");

    let waiting = store.reader().waiting_letters(&LetterFilter::default(), 10).expect("readable");
    store.writer().replay_dead_letters(waiting, Actor::CommandLine).expect("written");
    until("the poison is taken once it is none", || ids().len() == 50);
    until("nothing waits", || runner.status().letters == LetterCounts::default());
    drop(runner);

    // Who begins at the end has nothing of the past.
    let news = Arc::new(Mutex::new(Script::default()));
    let options = ConsumerOptions::default();
    let begin = |news| {
        let (reader, writer) = (store.reader(), store.writer());
        let (bus, options) = (bus.clone(), options.clone());
        Runner::start("news", bus, reader, writer, Recorder(news), options, Begin::AtTheEnd)
            .expect("a thread")
    };
    let runner = begin(Arc::clone(&news));
    until("it has begun", || {
        store.reader().cursor("group news").expect("readable") > 0
            || store.reader().cursor("floor news").expect("readable") > 0
    });
    happen(store, 3);
    until("the news come", || news.lock().expect("sound").taken.len() == 3);
    drop(runner);
    happen(store, 2);
    let _runner = begin(Arc::clone(&news));
    until("it goes on where it was", || news.lock().expect("sound").taken.len() == 5);
}

#[test]
fn the_runner_does_it_on_the_local_bus() {
    let directory = Directory::new();
    let store = directory.open();
    check(&Bus::Local { reader: store.reader(), writer: store.writer() }, &store);
}

#[test]
fn the_runner_does_it_on_kafka() {
    let server = KafkaServer::start();
    let directory = Directory::new();
    let store = directory.open();
    let config = config(&server, "runner");
    let _relay = relay(&config, &store);
    check(&Bus::Kafka(config), &store);
}
