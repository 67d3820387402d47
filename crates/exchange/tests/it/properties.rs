//! What holds for every marketplace and every order of events, however strange.

use exchange::account::{Account, AccountKind, AccountStatus};
use exchange::bid::caps::{Limit, Period};
use exchange::bid::{BidProfile, BidStatus, Caps, Conversion, Destination, Price};
use exchange::book::Book;
use exchange::call::{Arrival, Call, CallState, FailureCause, Outcome, Stated};
use exchange::call_flow;
use exchange::compliance::screening::Screening;
use exchange::effect::{Command, Effect, Input, Record};
use exchange::id::{AccountId, BidProfileId, CallId};
use exchange::ledger::money::{Currency, Micros};
use exchange::ledger::transfer::{LedgerAccount, TransferReason};
use exchange::phone_number::{CallerId, PhoneNumber};
use exchange::policy::Policy;
use exchange::schedule::ZoneName;
use exchange::snapshot::Snapshot;
use exchange::time::Timestamp;
use exchange::tracking_number::{CallOrigin, TrackingNumber};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use uuid::Uuid;

const BUYERS: u128 = 4;
const BIDS: u128 = 8;
const SELLER: AccountId = AccountId(Uuid::from_u128(900));
const START: Timestamp = Timestamp(1_790_000_000_000_000);

static SCREENING: LazyLock<Arc<Screening>> =
    LazyLock::new(|| Arc::new(Screening::new(Policy::default().screening).expect("the shipped rules")));

fn buyer(index: u128) -> AccountId {
    AccountId(Uuid::from_u128(100 + index))
}

fn bid_id(index: u128) -> BidProfileId {
    BidProfileId(Uuid::from_u128(500 + index))
}

fn number() -> PhoneNumber {
    "+18005550100".parse().expect("a number")
}

/// One thing that happens; calls are named by small numbers so that inputs often meet a call.
#[derive(Debug, Clone)]
enum Happening {
    Call { call: u128, caller: u64 },
    Input { call: u128, input: Input },
    Deposit { buyer: u128, amount: i64, reference: u8 },
    Bid { bid: u128, buyer: u128, price: Price, caps: Caps, min_connected_s: u32, active: bool },
    Wait { ms: u64 },
}

fn price() -> impl Strategy<Value = Price> {
    prop_oneof![
        (1i64..50_000_000).prop_map(|amount| Price::PerCall { amount_micros: Micros(amount) }),
        (1i64..5_000_000, 0u32..90, 1u32..90).prop_map(|(rate, first_increment_s, next_increment_s)| {
            Price::PerMinute { rate_micros: Micros(rate), first_increment_s, next_increment_s }
        }),
    ]
}

fn caps() -> impl Strategy<Value = Caps> {
    (proptest::option::of(0u32..3), proptest::option::of(0u32..5), proptest::option::of(0i64..200_000_000))
        .prop_map(|(concurrent_calls, daily_calls, spend)| Caps {
            concurrent_calls,
            limits: [
                daily_calls.map(|calls| Limit::calls(Period::Day, calls)),
                spend.map(|spend| Limit::spend(Period::Day, Micros(spend))),
            ]
            .into_iter()
            .flatten()
            .collect(),
            ..Caps::default()
        })
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        3 => (1u8..4).prop_map(|attempt| Input::TargetAnswered { attempt }),
        2 => (1u8..4).prop_map(|attempt| Input::TargetFailed { attempt, cause: FailureCause::Busy }),
        1 => (1u8..4).prop_map(|attempt| Input::RingTimedOut { attempt }),
        2 => Just(Input::CallerHungUp),
        2 => Just(Input::TargetHungUp),
        1 => Just(Input::PeerLost),
        1 => (1u8..4).prop_map(|attempt| Input::MaxDurationReached { attempt }),
        1 => Just(Input::ShutDown),
        1 => (0i64..400_000_000).prop_map(|after| Input::Recovered { last_alive_at: Timestamp(START.0 + after) }),
    ]
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0u128..12, 0u64..6).prop_map(|(call, caller)| Happening::Call { call, caller }),
        8 => (0u128..12, input()).prop_map(|(call, input)| Happening::Input { call, input }),
        1 => (0..BUYERS, 1i64..100_000_000, 0u8..4)
            .prop_map(|(buyer, amount, reference)| Happening::Deposit { buyer, amount, reference }),
        2 => (0..BIDS, 0..BUYERS, price(), caps(), 0u32..120, any::<bool>()).prop_map(
            |(bid, buyer, price, caps, min_connected_s, active)| Happening::Bid {
                bid, buyer, price, caps, min_connected_s, active
            }
        ),
        3 => (0u64..200_000).prop_map(|ms| Happening::Wait { ms }),
    ]
}

fn concurrent_calls(book: &Book, bid: BidProfileId) -> u32 {
    book.bids().slot(bid).map_or(0, |slot| book.usages().concurrent_calls(slot))
}

/// A book with what was recorded of it, and everything that must stay true.
struct World {
    book: Book,
    recorded: Snapshot,
    ended: BTreeMap<CallId, Call>,
    reasons: BTreeSet<TransferReason>,
    now: Timestamp,
}

impl World {
    fn new() -> Self {
        let book = Book::restore(Snapshot::default(), Policy::default(), Arc::clone(&SCREENING));
        let mut world = Self {
            book,
            recorded: Snapshot::default(),
            ended: BTreeMap::new(),
            reasons: BTreeSet::new(),
            now: START,
        };
        let account = |id, kind, credit| Account {
            id,
            kind,
            name: "a trader".to_owned(),
            status: AccountStatus::Active,
            time_zone: ZoneName::default(),
            currency: Currency::USD,
            credit_limit_micros: Micros(credit),
            opened_at: START,
        };
        world.command(Command::OpenAccount { account: account(SELLER, AccountKind::Seller, 0) });
        for index in 0..BUYERS {
            let credit = if index == 0 { 20_000_000 } else { 0 };
            world
                .command(Command::OpenAccount { account: account(buyer(index), AccountKind::Buyer, credit) });
        }
        world.command(Command::PutTrackingNumber {
            number: TrackingNumber {
                number: number(),
                seller: SELLER,
                vertical: "roofing".to_owned(),
                origin: CallOrigin::OrganicInbound,
                floor_micros: Micros(1_000_000),
                payout_basis_points: 6_667,
                language: None,
                tags: BTreeMap::new(),
                active: true,
            },
        });
        world
    }

    /// A call to the number once its floor is this.
    fn call_with_floor(&mut self, floor: i64) -> Call {
        let listed = self.book.tracking_number(number()).expect("listed").clone();
        let number = TrackingNumber { floor_micros: Micros(floor), ..listed };
        self.command(Command::PutTrackingNumber { number: number.clone() });
        let caller = CallerId::Number("+12125550100".parse().expect("a number"));
        let trunk = "carrier".to_owned();
        let arrival = Arrival { called: number.number, caller, trunk, stated: Stated::default() };
        Call::received(CallId(Uuid::from_u128(1_000)), arrival, &number, self.now)
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Wait { ms } => self.now = self.now.plus_ms(ms),
            Happening::Call { call, caller } => {
                let caller =
                    CallerId::Number(format!("+1212555{:04}", 100 + caller).parse().expect("a number"));
                let called = number();
                let trunk = "carrier".to_owned();
                self.input(
                    call,
                    Input::Arrived(Arrival { called, caller, trunk, stated: Stated::default() }),
                );
            }
            Happening::Input { call, input } => self.input(call, input),
            Happening::Deposit { buyer: index, amount, reference } => self.command(Command::Deposit {
                account: buyer(index),
                amount_micros: Micros(amount),
                reference: reference.to_string(),
            }),
            Happening::Bid { bid, buyer: index, price, caps, min_connected_s, active } => {
                self.command(Command::PutBidProfile {
                    bid: Box::new(BidProfile {
                        status: if active { BidStatus::Active } else { BidStatus::Paused },
                        conversion: Conversion { min_connected_s },
                        caps,
                        max_call_s: Some(600),
                        ..BidProfile::new(
                            bid_id(bid),
                            buyer(index),
                            "roofing",
                            price,
                            Destination::of("sip:a@127.0.0.1"),
                        )
                    }),
                });
            }
        }
        self.check();
    }

    /// A call id that already ended is not used again: ids are unique.
    fn input(&mut self, call: u128, input: Input) {
        let id = CallId(Uuid::from_u128(call + 1));
        if self.ended.contains_key(&id) && matches!(input, Input::Arrived(_)) {
            return;
        }
        if let Ok(effects) = call_flow::step(&mut self.book, id, input, self.now) {
            self.record(effects);
        }
    }

    fn command(&mut self, command: Command) {
        if let Ok(effects) = self.book.apply(command, self.now) {
            self.record(effects);
        }
    }

    fn record(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let Effect::Record(record) = effect else { continue };
            self.recorded.apply(&record);
            match record {
                Record::Transfer(transfer) => {
                    assert!(transfer.amount_micros > Micros::ZERO, "{transfer:?}");
                    assert!(self.reasons.insert(transfer.reason.clone()), "booked twice: {transfer:?}");
                }
                Record::Call(call) if matches!(call.state, CallState::Ended { .. }) => {
                    assert!(self.ended.insert(call.id, *call).is_none(), "a call ended twice");
                }
                _ => {}
            }
        }
    }

    fn check(&self) {
        let balances = self.book.balances();
        assert_eq!(balances.sum(), Micros::ZERO, "money appeared or vanished");
        for index in 0..BUYERS {
            let id = buyer(index);
            let credit = if index == 0 { 20_000_000 } else { 0 };
            let open = self.book.calls().filter_map(Call::held_attempt).filter(|attempt| attempt.buyer == id);
            let held: i64 = open.map(|attempt| attempt.hold_micros.0).sum();
            assert_eq!(balances.get(LedgerAccount::Held(id)), Micros(held), "a hold leaked");
            assert!(balances.get(LedgerAccount::Available(id)).0 >= -credit, "a balance passed its limit");
        }
        for index in 0..BIDS {
            let open = self
                .book
                .calls()
                .filter_map(Call::held_attempt)
                .filter(|attempt| attempt.bid == bid_id(index));
            let open = u32::try_from(open.count()).expect("few calls");
            assert_eq!(concurrent_calls(&self.book, bid_id(index)), open, "capacity leaked");
        }
        self.check_restored();
    }

    /// What was recorded is enough to come back: same balances, same open calls, same daily caps.
    fn check_restored(&self) {
        let restored = Book::restore(self.recorded.clone(), Policy::default(), Arc::clone(&SCREENING));
        for (account, balance) in &self.recorded.balances {
            assert_eq!(self.book.balances().get(*account), *balance, "{account}");
        }
        let mut open: Vec<&Call> = self.book.calls().collect();
        open.sort_by_key(|call| call.id);
        assert_eq!(open, self.recorded.open_calls.values().collect::<Vec<_>>());
        for index in 0..BIDS {
            let id = bid_id(index);
            assert_eq!(concurrent_calls(&restored, id), concurrent_calls(&self.book, id));
        }
    }

    /// Every converted call was paid exactly once, in full; no other call cost anything.
    fn check_settlement(&self) {
        for call in self.ended.values() {
            let CallState::Ended { outcome, .. } = &call.state else { continue };
            let paid = self.reasons.contains(&TransferReason::Payout { call: call.id });
            let kept = self.reasons.contains(&TransferReason::Margin { call: call.id });
            if let Outcome::Converted { charge_micros, payout_micros, margin_micros, attempt, .. } = outcome {
                assert_eq!(charge_micros.0, payout_micros.0 + margin_micros.0);
                assert!(*charge_micros <= attempt.hold_micros, "charged more than was held");
                assert_eq!((paid, kept), (payout_micros.0 > 0, margin_micros.0 > 0));
            } else {
                assert!(!paid && !kept, "charged without converting: {call:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn money_and_capacity_survive_any_order_of_events(
        happenings in proptest::collection::vec(happening(), 1..120)
    ) {
        let mut world = World::new();
        for happening in happenings {
            world.happen(happening);
        }
        world.check_settlement();
        for call in world.book.calls().map(|call| call.id).collect::<Vec<_>>() {
            let effects = call_flow::step(&mut world.book, call, Input::ShutDown, world.now).expect("an open call");
            world.record(effects);
        }
        world.check();
        prop_assert_eq!(world.book.calls().len(), 0, "every call can be ended");
        world.check_settlement();
    }

    #[test]
    fn the_index_finds_what_a_scan_finds(
        bids in proptest::collection::vec((0..40u128, 0..BUYERS, price(), caps(), any::<bool>()), 1..80),
        floor in 0i64..20_000_000,
        wanted in 1usize..8,
    ) {
        let mut world = World::new();
        for index in 0..BUYERS {
            world.happen(Happening::Deposit { buyer: index, amount: 60_000_000, reference: 0 });
        }
        for (bid, buyer, price, caps, active) in bids {
            world.happen(Happening::Bid { bid, buyer, price, caps, min_connected_s: 30, active });
        }
        let call = world.call_with_floor(floor);
        let facts = world.book.facts(&call, &[]).expect("a listed number");
        let market = world.book.market(world.now);
        let found = world.book.bids().search(&facts, &market, wanted);
        prop_assert_eq!(found.offers, world.book.bids().scan(&facts, &market, wanted));
    }

    #[test]
    fn amounts_read_back_as_written(micros in any::<i64>().prop_filter("in range", |micros| *micros > i64::MIN)) {
        prop_assert_eq!(Micros(micros).to_string().parse::<Micros>(), Ok(Micros(micros)));
    }

    #[test]
    fn a_share_never_exceeds_the_whole(micros in 0..i64::MAX, basis_points in any::<u16>()) {
        let share = Micros(micros).share(basis_points);
        prop_assert!(share >= Micros::ZERO && share <= Micros(micros));
    }

    #[test]
    fn any_text_is_a_number_or_an_error(text in ".{0,40}") {
        if let Ok(number) = text.parse::<PhoneNumber>() {
            prop_assert_eq!(number.to_string().parse::<PhoneNumber>(), Ok(number));
        }
    }
}
