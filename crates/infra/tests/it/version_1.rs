//! A store of version 1 under today's code: nothing of it gets lost, and trading goes on.

use crate::fixtures::Directory;
use exchange::bid::caps::{Limit, Period};
use exchange::book::Book;
use exchange::call::{Arrival, Call, CallState, EndedBy, Outcome, Stated};
use exchange::call_flow;
use exchange::compliance::screening::Screening;
use exchange::effect::{Effect, Input, JournalEntry, JournalInput};
use exchange::id::{BidProfileId, CallId};
use exchange::ledger::money::Micros;
use exchange::phone_number::CallerId;
use exchange::policy::Policy;
use exchange::snapshot::Snapshot;
use exchange::time::Timestamp;
use exchange::usage::CapOwner;
use infra::store::{CallFilter, Page, Store, UnitOfWork};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// Day 20,601, 20:41:50 UTC: when the exchange of version 1 last ran.
const LAST_ALIVE_AT: Timestamp = Timestamp(1_780_000_910_000_000);
/// "DCEX".
const APPLICATION_ID: i32 = 0x4443_4558;

/// The ids of the data: kind 3 is a bid profile, 4 a call.
fn uuid(kind: u128, number: u128) -> Uuid {
    Uuid::from_u128(0x0190_b6a2_0000_7000_8000_0000_0000_0000 + (kind << 32) + number)
}

fn bid(number: u128) -> BidProfileId {
    BidProfileId(uuid(3, number))
}

fn call(number: u128) -> CallId {
    CallId(uuid(4, number))
}

fn version_1() -> Directory {
    let directory = Directory::new();
    let database = Connection::open(directory.database()).expect("writable");
    let tables = include_str!("../../src/store/sqlite/migrations/0001_first_tables.sql");
    database.execute_batch(tables).expect("the first tables");
    database.execute_batch(include_str!("../data/version_1.sql")).expect("rows of version 1");
    database.pragma_update(None, "application_id", APPLICATION_ID).expect("writable");
    database.pragma_update(None, "user_version", 1).expect("writable");
    directory
}

/// Every document of a table as version 1 wrote it.
fn documents(directory: &Directory, table: &str) -> Vec<Value> {
    let database = Connection::open(directory.database()).expect("readable");
    let mut statement = database.prepare(&format!("SELECT document FROM {table}")).expect("a table");
    let texts = statement.query_map([], |row| row.get::<_, String>(0)).expect("rows");
    texts.map(|text| serde_json::from_str(&text.expect("text")).expect("JSON")).collect()
}

/// Every value of a document by its path, such as `state.outcome.attempt.bid`.
fn leaves(document: &Value) -> BTreeMap<String, Value> {
    fn walk(value: &Value, path: &str, found: &mut BTreeMap<String, Value>) {
        let children: Vec<(String, &Value)> = match value {
            Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), value)).collect(),
            Value::Array(items) => {
                items.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect()
            }
            leaf => {
                found.insert(path.to_owned(), leaf.clone());
                return;
            }
        };
        for (name, value) in children {
            walk(value, &format!("{path}.{name}"), found);
        }
    }
    let mut found = BTreeMap::new();
    walk(document, "", &mut found);
    found
}

/// Whatever version 1 said is said by what was read, at the same place or at the one it has moved to.
fn assert_kept(was: &[Value], read: &[Value]) {
    const MOVED: [(&str, &str); 2] = [(".stated_state", ".stated.state"), (".cap_day", ".counted.bid.day")];
    assert!(!was.is_empty() && was.len() == read.len(), "{} of {} were read", read.len(), was.len());
    let id = |document: &Value| ["id", "call", "number"].iter().find_map(|key| document.get(key).cloned());
    for was in was {
        let read = read.iter().find(|read| id(read) == id(was)).expect("each is read");
        let read = leaves(read);
        for (path, value) in leaves(was) {
            // Open calls are closed by recovery: their fall-backs are not needed any more.
            if path.starts_with(".state.fallbacks") {
                continue;
            }
            let path = MOVED.iter().fold(path, |path, (from, to)| path.replace(from, to));
            assert_eq!(read.get(&path), Some(&value), "{path} of {was}");
        }
    }
}

fn to_json<T: serde::Serialize>(values: impl IntoIterator<Item = T>) -> Vec<Value> {
    values.into_iter().map(|value| serde_json::to_value(value).expect("plain data")).collect()
}

#[test]
fn everything_version_1_wrote_is_read() {
    let directory = version_1();
    let was = ["accounts", "tracking_numbers", "calls", "receipts"].map(|table| documents(&directory, table));
    let store = directory.open();
    let snapshot = store.load().expect("loads");
    let page = Page::first(200);
    let calls = store.reader().calls(&CallFilter::default(), &page).expect("readable").items;
    let receipts = store.reader().receipts(&CallFilter::default(), &page).expect("readable").items;
    let receipts: Vec<_> = receipts.into_iter().map(|(_, receipt)| receipt).collect();
    let [accounts, numbers, was_calls, was_receipts] = was;
    assert_kept(&accounts, &to_json(snapshot.accounts.values()));
    assert_kept(&numbers, &to_json(snapshot.tracking_numbers.values()));
    assert_kept(&was_calls, &to_json(&calls));
    assert_kept(&was_receipts, &to_json(&receipts));
    assert_eq!(snapshot.last_alive_at, LAST_ALIVE_AT);
    assert_eq!(snapshot.open_calls.len(), 2);
    assert_eq!(snapshot.deposits.len(), 2);
    assert_eq!(store.reader().verify().expect("an audit").violations, Vec::<String>::new());
}

#[test]
fn bids_mean_what_they_meant() {
    let directory = version_1();
    let was = documents(&directory, "bid_profiles");
    let snapshot = directory.open().load().expect("loads");
    assert_eq!(snapshot.bid_profiles.len(), was.len());
    let first = &snapshot.bid_profiles[&bid(1)];
    assert_eq!(first.vertical, "roofing");
    let caps = [Limit::calls(Period::Day, 4), Limit::spend(Period::Day, Micros::units(500))];
    assert_eq!((first.caps.concurrent_calls, &first.caps.limits[..]), (Some(5), &caps[..]));
    let criteria = serde_json::to_value(&first.criteria).expect("plain data");
    let tags = json!([{ "name": "source", "is": { "equals": "search" } }]);
    assert_eq!(criteria, json!({ "states": ["FL", "GA"], "tags": tags }));
    // Beside what has moved, everything is where it was.
    let moved = ["criteria", "caps"];
    let strip = |mut document: Value| {
        let fields = document.as_object_mut().expect("an object");
        for field in moved {
            fields.remove(field);
        }
        document
    };
    let was: Vec<Value> = was.into_iter().map(strip).collect();
    assert_kept(&was, &to_json(snapshot.bid_profiles.values().map(|bid| &**bid)));
}

/// A book over the store, and what it decides written at once.
struct Exchange {
    store: Store,
    book: Book,
}

impl Exchange {
    fn start(directory: &Directory) -> Self {
        let store = directory.open();
        let policy = Policy::default();
        let screening = Arc::new(Screening::new(policy.screening.clone()).expect("the shipped rules"));
        let book = Book::restore(store.load().expect("loads"), policy, screening);
        Self { store, book }
    }

    fn step(&mut self, call: CallId, input: Input, at: Timestamp) {
        let effects = call_flow::step(&mut self.book, call, input.clone(), at).expect("a legal input");
        let records = effects.into_iter().filter_map(|effect| match effect {
            Effect::Record(record) => Some(record),
            Effect::Act(_) => None,
        });
        let journal = Some(JournalEntry { at, entry: JournalInput::Call { call, input } });
        self.store.writer().commit(UnitOfWork { journal, records: records.collect() }).expect("sound");
    }

    fn call(&self, call: CallId) -> Call {
        self.store.reader().call(call).expect("readable").expect("the call")
    }

    fn snapshot(&self) -> Snapshot {
        self.store.load().expect("loads")
    }
}

/// A caller from Florida, whom the first bid pays most for.
fn arrival(caller: &str) -> Input {
    Input::Arrived(Arrival {
        called: "+18005550100".parse().expect("a number"),
        caller: CallerId::from_user_part(caller),
        trunk: "carrier".to_owned(),
        stated: Stated { state: Some("FL".to_owned().try_into().expect("a state")), ..Stated::default() },
    })
}

#[test]
fn trading_goes_on() {
    let directory = version_1();
    let mut exchange = Exchange::start(&directory);
    let at = |s: u64| LAST_ALIVE_AT.plus_ms(s * 1_000);
    for open in [7, 8] {
        exchange.step(call(open), Input::Recovered { last_alive_at: LAST_ALIVE_AT }, at(60));
    }
    let CallState::Ended { outcome, .. } = exchange.call(call(7)).state else { panic!("still open") };
    let crashed =
        matches!(outcome, Outcome::NotConverted { connected_ms: 5_000, ended_by: EndedBy::Crash, .. });
    assert!(crashed, "{outcome:?}");
    let CallState::Ended { outcome, .. } = exchange.call(call(8)).state else { panic!("still open") };
    assert_eq!(outcome, Outcome::Interrupted);

    // Of its four calls a day the bid had three answered; what the open two held is given back, of the day and of the total.
    let taken = exchange.snapshot().usage[&CapOwner::Bid(bid(1))].taken;
    let [hour, day, week, month, total] = taken.map(|taken| (taken.calls, taken.spend_micros));
    assert_eq!((day, total), ((3, Micros::units(40)), (3, Micros::units(40))));
    assert_eq!([hour, week, month], [(0, Micros::ZERO); 3]);

    for (number, caller, rung) in [(11, "+13055550111", 1), (12, "+13055550112", 2)] {
        exchange.step(call(number), arrival(caller), at(70));
        let CallState::Ringing { attempt, .. } = exchange.call(call(number)).state else {
            panic!("nobody is rung")
        };
        assert_eq!(attempt.bid, bid(rung), "the day's fourth call is its last");
    }
    exchange.step(call(11), Input::TargetAnswered { attempt: 1 }, at(75));
    exchange.step(call(11), Input::CallerHungUp, at(175));
    exchange.step(call(12), Input::CallerHungUp, at(80));
    let CallState::Ended { outcome, .. } = exchange.call(call(11)).state else { panic!("still open") };
    let paid = Micros::units(40);
    assert!(matches!(outcome, Outcome::Converted { charge_micros, .. } if charge_micros == paid));
    let report = exchange.store.reader().verify().expect("an audit");
    assert_eq!((report.violations, report.open_holds), (Vec::new(), 0));
}

#[test]
fn journal_entries_that_cannot_be_read_are_there_without_content() {
    let directory = version_1();
    let store = directory.open();
    let entries = store.reader().journal_after(0, 1_000).expect("readable");
    assert_eq!(entries.len(), 26);
    let unread: Vec<i64> = entries.iter().filter(|(_, entry)| entry.is_none()).map(|(seq, _)| *seq).collect();
    // Bid profiles with their vertical among the criteria, arrivals with a stated state, a longest duration without its attempt.
    assert_eq!(unread, [5, 6, 7, 10, 13, 16, 21, 23, 24, 26]);
}
