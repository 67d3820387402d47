//! A small marketplace to write down.

use exchange::account::{Account, AccountKind};
use exchange::auction::receipt::{Receipt, Versions};
use exchange::bid::{BidProfile, Conversion, Destination, Price};
use exchange::call::{Attempt, Call, CallState, EndedBy, Outcome, RevenueStage, SharedRevenue, Stated};
use exchange::effect::{Command, Input, JournalEntry, JournalInput, Record};
use exchange::event::{Event, Fact, Subject};
use exchange::id::{AccountId, BidProfileId, CallId};
use exchange::ledger::money::Micros;
use exchange::ledger::transfer::{LedgerAccount, Transfer, TransferReason};
use exchange::phone_number::{CallerId, PhoneNumber};
use exchange::time::Timestamp;
use exchange::tracking_number::{CallOrigin, TrackingNumber};
use exchange::usage::Counted;
use infra::store::{Place, PostgresqlUrl, Store, StoreOptions, UnitOfWork};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use test_servers::postgresql::Server;
use uuid::Uuid;

/// A directory of its own for each test, gone when the test is over.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("dce-store-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary directory is writable");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.0.join("exchange.sqlite")
    }

    pub(crate) fn open(&self) -> Store {
        self.open_with(&StoreOptions::default())
    }

    pub(crate) fn open_with(&self, options: &StoreOptions) -> Store {
        Store::open(&self.0, options).expect("the store opens")
    }
}

/// Where a store is, and what goes away with the test.
pub(crate) enum Home {
    Sqlite(Directory),
    Postgresql(Database),
}

impl Home {
    /// A new one, in a directory.
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(Directory::new())
    }

    /// A new one, on the server that all tests share.
    pub(crate) fn postgresql() -> Self {
        Self::Postgresql(Database::new())
    }

    pub(crate) fn place(&self) -> Place {
        match self {
            Self::Sqlite(directory) => directory.path().into(),
            Self::Postgresql(database) => database.url().into(),
        }
    }

    pub(crate) fn open(&self) -> Store {
        self.open_with(&StoreOptions::default())
    }

    pub(crate) fn open_with(&self, options: &StoreOptions) -> Store {
        Store::open(self.place(), options).expect("the store opens")
    }

    /// Runs statements behind the store's back, past what guards its history.
    pub(crate) fn cook(&self, sql: &str) {
        match self {
            Self::Sqlite(directory) => {
                let database = rusqlite::Connection::open(directory.database()).expect("written before");
                let triggers = "SELECT group_concat('DROP TRIGGER ' || name, ';') FROM sqlite_schema WHERE type = 'trigger'";
                let drop: Option<String> =
                    database.query_row(triggers, [], |row| row.get(0)).expect("readable");
                database.execute_batch(&drop.unwrap_or_default()).expect("sound SQL");
                assert!(database.execute(sql, []).expect("sound SQL") > 0, "{sql} bends nothing");
            }
            Self::Postgresql(database) => {
                let unguarded = "SET session_replication_role = replica";
                let counted =
                    format!("{unguarded}; WITH bent AS ({sql} RETURNING 1) SELECT count(*) FROM bent");
                assert_ne!(database.sql(&counted).expect("sound SQL"), "0", "{sql} bends nothing");
            }
        }
    }
}

/// Makes a test of each function, for each kind of store. It takes what makes a new home.
macro_rules! on_every_store {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[test] fn $test() { super::$test(crate::fixtures::Home::sqlite); })+
        }
        mod postgresql {
            $(#[test] fn $test() { super::$test(crate::fixtures::Home::postgresql); })+
        }
    };
}
pub(crate) use on_every_store;

/// A database of its own for each test, gone when the test is over.
pub(crate) struct Database(String);

impl Database {
    /// With the schema in it.
    pub(crate) fn new() -> Self {
        static TEMPLATE: OnceLock<()> = OnceLock::new();
        TEMPLATE.get_or_init(|| {
            server().sql("postgres", "CREATE DATABASE dce_template").expect("a fresh server");
            let url = PostgresqlUrl::parse(&server().url("dce_template")).expect("a sound URL");
            drop(Store::open(url, &StoreOptions::default()).expect("the schema is made"));
        });
        let database = Self::create("TEMPLATE dce_template");
        // Every store is somebody else.
        database
            .sql("UPDATE identity SET store_id = decode(left(md5(random()::text), 16), 'hex')")
            .expect("there");
        database
    }

    /// With nothing in it.
    pub(crate) fn empty() -> Self {
        Self::create("")
    }

    fn create(how: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        server().sql("postgres", &format!("CREATE DATABASE {name} {how}")).expect("room for a database");
        Self(name)
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    pub(crate) fn url_text(&self) -> String {
        server().url(&self.0)
    }

    pub(crate) fn url(&self) -> PostgresqlUrl {
        PostgresqlUrl::parse(&self.url_text()).expect("a sound URL")
    }

    pub(crate) fn sql(&self, sql: &str) -> Result<String, String> {
        server().sql(&self.0, sql)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // One left behind goes with the server.
        let _ = server().sql("postgres", &format!("DROP DATABASE {} WITH (FORCE)", self.0));
    }
}

/// The server that all tests share. It survives no power cut, and need not.
pub(crate) fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start("-c fsync=off -c max_connections=200 -c shared_buffers=64MB"))
}

impl Drop for Directory {
    fn drop(&mut self) {
        // A directory left behind is the next clean-up's business, not the test's.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn account_id(number: u128) -> AccountId {
    AccountId(Uuid::from_u128(0xA000_0000 + number))
}

pub(crate) fn bid_id(number: u128) -> BidProfileId {
    BidProfileId(Uuid::from_u128(0xB000_0000 + number))
}

/// Of version 7, as calls' ids are: their time is January 2000, and higher numbers are later.
pub(crate) fn call_id(number: u128) -> CallId {
    let ms = 946_684_800_000 + number;
    CallId(Uuid::from_u128((ms << 80) | (7 << 76) | (2 << 62) | number))
}

pub(crate) fn phone(number: u64) -> PhoneNumber {
    format!("+1212555{number:04}").parse().expect("a dialable number")
}

pub(crate) fn account(number: u128, kind: AccountKind) -> Account {
    Account::new(account_id(number), kind, format!("Account {number}"), Timestamp(1))
}

pub(crate) fn tracking_number(number: u64, seller: AccountId) -> TrackingNumber {
    TrackingNumber {
        number: phone(number),
        seller,
        vertical: "medicare".to_owned(),
        origin: CallOrigin::OrganicInbound,
        floor_micros: Micros::units(1),
        payout_basis_points: 7_000,
        language: None,
        tags: BTreeMap::new(),
        active: true,
    }
}

pub(crate) fn bid_profile(number: u128, buyer: AccountId, vertical: &str) -> BidProfile {
    let price = Price::PerCall { amount_micros: Micros::units(10) };
    let destination = Destination::of("sip:target@192.0.2.1");
    BidProfile {
        name: format!("Bid {number}"),
        conversion: Conversion { min_connected_s: 90 },
        ..BidProfile::new(bid_id(number), buyer, vertical, price, destination)
    }
}

/// What one attempt holds.
pub(crate) const HOLD: Micros = Micros::units(10);
/// What the seller gets of it.
pub(crate) const PAYOUT: Micros = Micros::units(7);
/// What the house keeps of it.
pub(crate) const MARGIN: Micros = Micros::units(3);

pub(crate) fn attempt(number: u8, buyer: AccountId, at: Timestamp) -> Attempt {
    Attempt {
        number,
        bid: bid_id(1),
        buyer,
        price: Price::PerCall { amount_micros: HOLD },
        conversion: Conversion { min_connected_s: 90 },
        max_call_s: 3_600,
        hold_micros: HOLD,
        counted: Counted::default(),
        started_at: at,
    }
}

/// Call number `number`, received at that many seconds, from seller 1.
pub(crate) fn call(number: u128, state: CallState) -> Call {
    Call {
        id: call_id(number),
        received_at: at(number),
        called: phone(1),
        caller: CallerId::Number(phone(9_999)),
        trunk: "carrier".to_owned(),
        stated: Stated::default(),
        is_ping: false,
        seller: account_id(1),
        vertical: "medicare".to_owned(),
        origin: CallOrigin::OrganicInbound,
        payout_basis_points: 7_000,
        failed_attempts: Vec::new(),
        state,
    }
}

/// The moment call `number` is received.
pub(crate) fn at(number: u128) -> Timestamp {
    Timestamp(i64::try_from(number).expect("a small number") * 1_000_000)
}

pub(crate) fn transfer(
    reason: TransferReason,
    from: LedgerAccount,
    to: LedgerAccount,
    amount: Micros,
) -> Record {
    Record::Transfer(Transfer { reason, from, to, amount_micros: amount, at: Timestamp(1) })
}

pub(crate) fn event(call: CallId) -> Record {
    Record::Event(Event {
        subject: Subject::Call(call),
        at: Timestamp(1),
        fact: Fact::ComplianceChecked { rules: 4 },
    })
}

pub(crate) fn journal(call: CallId, at: Timestamp) -> JournalEntry {
    JournalEntry { at, entry: JournalInput::Call { call, input: Input::CallerHungUp } }
}

pub(crate) fn unit(number: u128, records: Vec<Record>) -> UnitOfWork {
    UnitOfWork { journal: Some(journal(call_id(number), at(number))), records }
}

pub(crate) fn open_account(account: Account) -> UnitOfWork {
    let entry = JournalInput::Command(Command::OpenAccount { account: account.clone() });
    UnitOfWork {
        journal: Some(JournalEntry { at: Timestamp(1), entry }),
        records: vec![Record::Account(account)],
    }
}

pub(crate) fn deposit(account: AccountId, reference: &str, amount: Micros) -> UnitOfWork {
    let reason = TransferReason::Deposit { account, reference: reference.to_owned() };
    let record = transfer(reason, LedgerAccount::External, LedgerAccount::Available(account), amount);
    let command = Command::Deposit { account, amount_micros: amount, reference: reference.to_owned() };
    let entry = JournalInput::Command(command);
    UnitOfWork { journal: Some(JournalEntry { at: Timestamp(1), entry }), records: vec![record] }
}

/// A call that rings, its money held.
pub(crate) fn ringing(number: u128, buyer: AccountId) -> UnitOfWork {
    let id = call_id(number);
    let state =
        CallState::Ringing { attempt: attempt(1, buyer, at(number)), fallbacks: Vec::new(), recoveries: 0 };
    let hold = transfer(
        TransferReason::Hold { call: id, attempt: 1 },
        LedgerAccount::Available(buyer),
        LedgerAccount::Held(buyer),
        HOLD,
    );
    let receipt = Receipt {
        versions: Versions::default(),
        call: id,
        decided_at: at(number),
        screening: Vec::new(),
        auction: None,
        decided_in_ns: Some(1_000),
    };
    let records = vec![
        Record::Receipt(Box::new(receipt)),
        hold,
        Record::Call(Box::new(call(number, state))),
        event(id),
    ];
    unit(number, records)
}

/// The same call, converted: its hold is captured whole.
pub(crate) fn converted(number: u128, buyer: AccountId) -> UnitOfWork {
    let id = call_id(number);
    let held = LedgerAccount::Held(buyer);
    let outcome = Outcome::Converted {
        attempt: attempt(1, buyer, at(number)),
        connected_ms: 120_000,
        ended_by: EndedBy::Caller,
        charge_micros: HOLD,
        payout_micros: PAYOUT,
        margin_micros: MARGIN,
        revenue: None,
    };
    let state = CallState::Ended { outcome, ended_at: at(number).plus_ms(120_000) };
    let records = vec![
        transfer(TransferReason::Payout { call: id }, held, LedgerAccount::Payable(account_id(1)), PAYOUT),
        transfer(TransferReason::Margin { call: id }, held, LedgerAccount::Margin, MARGIN),
        Record::Call(Box::new(call(number, state))),
        event(id),
    ];
    unit(number, records)
}

/// The same call, converted for a share of its buyer's revenue: 4 are charged, the other 6 stay held.
pub(crate) fn awaiting_revenue(number: u128, buyer: AccountId) -> UnitOfWork {
    let charged = [
        ("2.80", TransferReason::Payout { call: call_id(number) }),
        ("1.20", TransferReason::Margin { call: call_id(number) }),
    ];
    let stage = RevenueStage::Awaited { held_micros: Micros::units(6) };
    shared(number, buyer, Micros::units(4), stage, charged, Micros::ZERO)
}

/// The buyer of the call before has reported its revenue: 5 more are charged, the last one is released.
pub(crate) fn revenue_reported(number: u128, buyer: AccountId) -> UnitOfWork {
    let id = call_id(number);
    let charged = [
        ("3.50", TransferReason::RevenuePayout { call: id }),
        ("1.50", TransferReason::RevenueMargin { call: id }),
    ];
    let stage = RevenueStage::Reported {
        revenue_micros: Micros::units(90),
        reference: Some("sale 7".to_owned()),
        added_micros: Micros::units(5),
        added_payout_micros: amount("3.50"),
        reported_at: at(number).plus_ms(900_000),
    };
    shared(number, buyer, Micros::units(9), stage, charged, Micros::units(1))
}

/// It has not: the 6 are released.
pub(crate) fn revenue_lapsed(number: u128, buyer: AccountId) -> UnitOfWork {
    shared(number, buyer, Micros::units(4), RevenueStage::Lapsed, [], Micros::units(6))
}

fn shared<const N: usize>(
    number: u128,
    buyer: AccountId,
    charge_micros: Micros,
    stage: RevenueStage,
    charged: [(&str, TransferReason); N],
    released: Micros,
) -> UnitOfWork {
    let id = call_id(number);
    let held = LedgerAccount::Held(buyer);
    let payout_micros = charge_micros.share(7_000);
    let outcome = Outcome::Converted {
        attempt: attempt(1, buyer, at(number)),
        connected_ms: 120_000,
        ended_by: EndedBy::Caller,
        charge_micros,
        payout_micros,
        margin_micros: Micros(charge_micros.0 - payout_micros.0),
        revenue: Some(SharedRevenue {
            report_until: at(number).plus_ms(3_600_000),
            payout_basis_points: 7_000,
            stage,
        }),
    };
    let state = CallState::Ended { outcome, ended_at: at(number).plus_ms(120_000) };
    let mut records: Vec<Record> = charged
        .into_iter()
        .map(|(charged, reason)| {
            let is_payout =
                matches!(reason, TransferReason::Payout { .. } | TransferReason::RevenuePayout { .. });
            let to = if is_payout { LedgerAccount::Payable(account_id(1)) } else { LedgerAccount::Margin };
            transfer(reason, held, to, amount(charged))
        })
        .collect();
    if released > Micros::ZERO {
        let reason = TransferReason::Release { call: id, attempt: 1 };
        records.push(transfer(reason, held, LedgerAccount::Available(buyer), released));
    }
    records.push(Record::Call(Box::new(call(number, state))));
    records.push(event(id));
    unit(number, records)
}

fn amount(text: &str) -> Micros {
    text.parse().expect("an amount")
}

/// The same call, abandoned by the caller: its hold is released whole.
pub(crate) fn abandoned(number: u128, buyer: AccountId) -> UnitOfWork {
    let id = call_id(number);
    let state = CallState::Ended { outcome: Outcome::Abandoned, ended_at: at(number).plus_ms(5_000) };
    let release = transfer(
        TransferReason::Release { call: id, attempt: 1 },
        LedgerAccount::Held(buyer),
        LedgerAccount::Available(buyer),
        HOLD,
    );
    unit(number, vec![release, Record::Call(Box::new(call(number, state))), event(id)])
}

/// Unit number `place` of a history without end: seller 1, buyer 2, and calls that each ring and convert.
pub(crate) fn nth_unit(place: u128) -> UnitOfWork {
    let buyer = account_id(2);
    match place {
        0 => open_account(account(1, AccountKind::Seller)),
        1 => open_account(account(2, AccountKind::Buyer)),
        2 => deposit(buyer, "wire-1", Micros::units(1_000_000_000)),
        _ if place % 2 == 1 => ringing(place / 2, buyer),
        _ => converted(place / 2 - 1, buyer),
    }
}

/// Seller 1, buyer 2 with 100 paid in; call 1 converted, call 2 abandoned, call 3 ringing.
pub(crate) fn three_calls() -> [UnitOfWork; 8] {
    let buyer = account_id(2);
    [
        open_account(account(1, AccountKind::Seller)),
        open_account(account(2, AccountKind::Buyer)),
        deposit(buyer, "wire-1", Micros::units(100)),
        ringing(1, buyer),
        converted(1, buyer),
        ringing(2, buyer),
        abandoned(2, buyer),
        ringing(3, buyer),
    ]
}
