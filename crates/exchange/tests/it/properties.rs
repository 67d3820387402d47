//! What holds for every marketplace and every order of events, however strange.

use exchange::account::{Account, AccountKind};
use exchange::auction::clear::AuctionType;
use exchange::bid::caps::{CapGroup, Limit, Pacing, Period};
use exchange::bid::live::{CallerDisclosure, LiveAnswer, LiveBidder, LiveSaid, LiveVia, NoLiveBid};
use exchange::bid::{BidProfile, BidStatus, Caps, Conversion, Destination, Price};
use exchange::book::Book;
use exchange::call::{Arrival, Call, CallState, FailureCause, Outcome, RevenueStage, SharedRevenue, Stated};
use exchange::call_flow;
use exchange::compliance::screening::Screening;
use exchange::effect::{Action, Command, Effect, Input, Record};
use exchange::id::{AccountId, BidProfileId, CallId, CapGroupId};
use exchange::ledger::money::Micros;
use exchange::ledger::transfer::{LedgerAccount, TransferReason};
use exchange::phone_number::{CallerId, PhoneNumber};
use exchange::ping::PingRequest;
use exchange::policy::Policy;
use exchange::routing::Algorithm;
use exchange::schedule::ZoneName;
use exchange::snapshot::Snapshot;
use exchange::time::Timestamp;
use exchange::tracking_number::{CallOrigin, TrackingNumber};
use exchange::trading_rules::{DuplicateRouting, Duplicates, Protection, Recovery, Scope, ScopedRules};
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use uuid::Uuid;

const BUYERS: u128 = 4;
const BIDS: u128 = 8;
const GROUPS: u128 = BUYERS;
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

/// Group `index` is that of buyer `index`.
fn group_id(index: u128) -> CapGroupId {
    CapGroupId(Uuid::from_u128(700 + index))
}

fn number() -> PhoneNumber {
    "+18005550100".parse().expect("a number")
}

/// One thing that happens; calls are named by small numbers so that inputs often meet a call.
#[derive(Debug, Clone)]
enum Happening {
    Call {
        call: u128,
        caller: u64,
    },
    Ping {
        call: u128,
        caller: u64,
        expires_in_ms: Option<u64>,
    },
    Input {
        call: u128,
        input: Input,
    },
    /// Something that this state of some open call is waiting for.
    Likely {
        which: usize,
        choice: u8,
        ms: u64,
    },
    Deposit {
        buyer: u128,
        amount: i64,
        reference: u8,
    },
    Bid {
        bid: u128,
        buyer: u128,
        price: Price,
        caps: Caps,
        min_connected_s: u32,
        active: bool,
        live: bool,
    },
    Status {
        bid: u128,
        status: BidStatus,
    },
    Group {
        buyer: u128,
        concurrent_calls: Option<u32>,
        limits: Vec<Limit>,
    },
    Rules {
        rules: ScopedRules,
    },
    /// A buyer reports its revenue from some call, or its time for that is over.
    Revenue {
        which: usize,
        buyer: Option<u128>,
        revenue: i64,
        is_over: bool,
    },
    Wait {
        ms: u64,
    },
}

fn price() -> impl Strategy<Value = Price> {
    prop_oneof![
        (1i64..50_000_000).prop_map(|amount| Price::PerCall { amount_micros: Micros(amount) }),
        (1i64..5_000_000, 0u32..90, 1u32..90).prop_map(|(rate, first_increment_s, next_increment_s)| {
            Price::PerMinute { rate_micros: Micros(rate), first_increment_s, next_increment_s }
        }),
        (1u16..10_001, 0i64..5_000_000, 0i64..10_000_000, 1i64..20_000_000).prop_map(
            |(share_basis_points, least, expected, most)| Price::RevenueShare {
                share_basis_points,
                min_micros: Micros(least),
                max_micros: Micros(least + expected + most),
                expected_micros: Micros(least + expected.max(1)),
                report_within_s: 600,
            }
        ),
    ]
}

fn limits() -> impl Strategy<Value = Vec<Limit>> {
    let period = select(vec![Period::Hour, Period::Day, Period::Week, Period::Month, Period::Total]);
    let limit =
        (period, 0u32..6, 0i64..200_000_000, 0u8..3).prop_map(|(per, calls, spend, kind)| match kind {
            0 => Limit::calls(per, calls),
            1 => Limit { conversions: Some(calls), ..Limit::spend(per, Micros(spend)) },
            _ => Limit::spend(per, Micros(spend)),
        });
    proptest::collection::vec(limit, 0..3).prop_map(|mut limits| {
        // Two limits of one thing in one period are refused.
        limits.sort_by_key(|limit: &Limit| limit.per);
        limits.dedup_by_key(|limit| limit.per);
        limits
    })
}

fn caps() -> impl Strategy<Value = Caps> {
    // Whose group it is depends on the buyer.
    let group = proptest::option::of(Just(group_id(0)));
    let pacing = select(vec![Pacing::AsSoonAsPossible, Pacing::AsSoonAsPossible, Pacing::Even]);
    (proptest::option::of(0u32..3), limits(), group, pacing).prop_map(
        |(concurrent_calls, limits, group, pacing)| Caps {
            concurrent_calls,
            // Only limits per day can be paced.
            pacing: if limits.iter().any(|limit| limit.per == Period::Day) {
                pacing
            } else {
                Pacing::default()
            },
            limits,
            group,
            ..Caps::default()
        },
    )
}

/// Rules under which a lot happens: short windows, few attempts, every auction and algorithm.
fn rules() -> impl Strategy<Value = ScopedRules> {
    let algorithm = select(vec![
        Algorithm::HighestBid,
        Algorithm::PriorityWeight,
        Algorithm::RoundRobin,
        Algorithm::Percentage,
        Algorithm::CostQuality,
        Algorithm::Predictive,
    ]);
    let auction_type = select(vec![AuctionType::FirstPrice, AuctionType::SecondPrice]);
    let routing = select(vec![
        DuplicateRouting::Normal,
        DuplicateRouting::SameTarget,
        DuplicateRouting::OtherTarget,
        DuplicateRouting::Refuse,
    ]);
    let windows = (0u32..3_000, 0u32..3_000, 0u32..3_000);
    (algorithm, auction_type, routing, windows, 0u8..4, 0u8..4, any::<bool>()).prop_map(
        |(algorithm, auction_type, routing, windows, recoveries, unanswered, asks)| ScopedRules {
            auction_type: Some(auction_type),
            algorithm: Some(algorithm),
            bidding_deadline_ms: Some(if asks { 80 } else { 0 }),
            recovery: Some(Recovery { attempts_max: recoveries, early_s: 30 }),
            duplicates: Some(Duplicates {
                routing,
                routing_window_s: windows.0,
                charge_window_s: windows.1,
                payout_window_s: windows.2,
            }),
            protection: Some(Protection {
                unanswered_per_hour: unanswered,
                unanswered_per_day: 0,
                rest_s: 300,
            }),
            ..ScopedRules::none(Scope::Vertical("roofing".to_owned()))
        },
    )
}

fn live_answer() -> impl Strategy<Value = LiveAnswer> {
    let said = prop_oneof![
        3 => (-1i64..60_000_000, proptest::option::of(0u32..700)).prop_map(|(price, min_connected_s)| {
            LiveSaid::Bid { price_micros: Micros(price), min_connected_s, destination: None }
        }),
        1 => Just(LiveSaid::Nothing { reason: NoLiveBid::Declined }),
    ];
    (0..BIDS, said).prop_map(|(bid, said)| LiveAnswer { bid: bid_id(bid), said })
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        3 => (1u8..4).prop_map(|attempt| Input::TargetAnswered { attempt }),
        1 => (1u8..4).prop_map(|attempt| Input::TargetFailed { attempt, cause: FailureCause::Busy }),
        1 => (1u8..4).prop_map(|attempt| Input::TargetFailed { attempt, cause: FailureCause::Unreachable }),
        3 => live_answer().prop_map(Input::BidAnswered),
        2 => Just(Input::BiddingClosed),
        1 => Just(Input::ReservationExpired),
        1 => (1u8..4).prop_map(|attempt| Input::RingTimedOut { attempt }),
        2 => Just(Input::CallerHungUp),
        2 => Just(Input::TargetHungUp),
        1 => Just(Input::PeerLost),
        1 => (1u8..4).prop_map(|attempt| Input::MaxDurationReached { attempt }),
        1 => Just(Input::ShutDown),
        1 => Just(Input::Resumed),
        1 => (0i64..400_000_000).prop_map(|after| Input::Recovered { last_alive_at: Timestamp(START.0 + after) }),
    ]
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        6 => (0u128..60, 0u64..6).prop_map(|(call, caller)| Happening::Call { call, caller }),
        12 => (any::<usize>(), 0u8..12, 0u64..150_000)
            .prop_map(|(which, choice, ms)| Happening::Likely { which, choice, ms }),
        3 => (0u128..60, 0u64..6, proptest::option::of(0u64..90_000))
            .prop_map(|(call, caller, expires_in_ms)| Happening::Ping { call, caller, expires_in_ms }),
        4 => (0u128..60, input()).prop_map(|(call, input)| Happening::Input { call, input }),
        1 => (0..BUYERS, 1i64..100_000_000, 0u8..4)
            .prop_map(|(buyer, amount, reference)| Happening::Deposit { buyer, amount, reference }),
        3 => (0..BIDS, 0..BUYERS, price(), caps(), 0u32..120, any::<bool>(), any::<bool>()).prop_map(
            |(bid, buyer, price, caps, min_connected_s, active, live)| Happening::Bid {
                bid, buyer, price, caps, min_connected_s, active, live
            }
        ),
        1 => (0..BIDS, select(vec![BidStatus::Active, BidStatus::Active, BidStatus::Paused]))
            .prop_map(|(bid, status)| Happening::Status { bid, status }),
        1 => (0..GROUPS, proptest::option::of(0u32..3), limits()).prop_map(
            |(buyer, concurrent_calls, limits)| Happening::Group { buyer, concurrent_calls, limits }
        ),
        1 => rules().prop_map(|rules| Happening::Rules { rules }),
        3 => (any::<usize>(), proptest::option::weighted(0.2, 0..BUYERS), -1i64..200_000_000, proptest::bool::weighted(0.3))
            .prop_map(|(which, buyer, revenue, is_over)| Happening::Revenue { which, buyer, revenue, is_over }),
        3 => (0u64..200_000).prop_map(|ms| Happening::Wait { ms }),
    ]
}

/// A buyer's bid without caps: buyer, price, buffer in seconds, whether it is a live bidder's.
fn standing_bid() -> impl Strategy<Value = (u128, Price, u32, bool)> {
    let price =
        (1_000_000i64..40_000_000).prop_map(|amount| Price::PerCall { amount_micros: Micros(amount) });
    (0..BUYERS, price, 1u32..120, any::<bool>())
}

fn concurrent_calls(book: &Book, bid: BidProfileId) -> u32 {
    book.bids().slot(bid).map_or(0, |slot| book.usages().concurrent_calls(slot))
}

fn arrival(caller: u64) -> Arrival {
    let caller = CallerId::Number(format!("+1212555{:04}", 100 + caller).parse().expect("a number"));
    Arrival { called: number(), caller, trunk: "carrier".to_owned(), stated: Stated::default() }
}

/// What may well come next for a call, to which call it comes, and whether it talks until then.
fn likely(call: &Call, choice: u8) -> (u128, Input, bool) {
    let id = call.id.0.as_u128() - 1;
    let attempt = call.held_attempt().map_or(0, |attempt| attempt.number);
    let input = match (&call.state, choice) {
        (CallState::Bidding { awaited, .. }, 0..6) => {
            let said = LiveSaid::Bid {
                price_micros: Micros(i64::from(choice + 1) * 3_000_000),
                min_connected_s: None,
                destination: None,
            };
            Input::BidAnswered(LiveAnswer { bid: awaited[0], said })
        }
        (CallState::Bidding { .. }, _) => Input::BiddingClosed,
        (CallState::Reserved { .. }, 0..3) => Input::ReservationExpired,
        (CallState::Reserved { .. }, _) => {
            let caller = call.caller.clone();
            return (id + 100, Input::Arrived(Arrival { caller, ..arrival(0) }), false);
        }
        (CallState::Ringing { .. }, 0..8) => Input::TargetAnswered { attempt },
        (CallState::Ringing { .. }, 8..10) => Input::RingTimedOut { attempt },
        (CallState::Ringing { .. }, _) => Input::TargetFailed { attempt, cause: FailureCause::Busy },
        (_, 0..5) => return (id, Input::TargetHungUp, false),
        (_, _) => return (id, Input::CallerHungUp, true),
    };
    (id, input, false)
}

fn live_bidder() -> LiveBidder {
    LiveBidder {
        via: LiveVia::Connection,
        timeout_ms: None,
        requests_per_s: None,
        in_flight_max: None,
        caller: CallerDisclosure::default(),
    }
}

/// A call as far as it must survive a restart: what live bidders have said so far need not.
fn durable(call: &Call) -> Call {
    let mut call = call.clone();
    if let CallState::Bidding { awaited, answers, .. } = &mut call.state {
        awaited.clear();
        answers.clear();
    }
    call
}

/// Some calls from known callers, answered and talked through, and what each input came to.
fn aftermath(book: &mut Book, now: Timestamp) -> Vec<Vec<Effect>> {
    let mut came = Vec::new();
    for caller in 0..6 {
        let id = CallId(Uuid::from_u128(2_000 + u128::from(caller)));
        let at = |ms: u64| now.plus_ms(caller * 200_000 + ms);
        let inputs = [
            (0, Input::Arrived(arrival(caller))),
            (80, Input::BiddingClosed),
            (2_000, Input::TargetFailed { attempt: 1, cause: FailureCause::Unreachable }),
            (5_000, Input::TargetAnswered { attempt: 1 }),
            (6_000, Input::TargetAnswered { attempt: 2 }),
            (150_000, Input::CallerHungUp),
        ];
        for (ms, input) in inputs {
            came.push(call_flow::step(book, id, input, at(ms)).unwrap_or_default());
        }
    }
    came
}

/// What a reported revenue added, and how much of that the seller earned.
fn added_by(stage: Option<&RevenueStage>) -> (i64, i64) {
    match stage {
        Some(RevenueStage::Reported { added_micros, added_payout_micros, .. }) => {
            (added_micros.0, added_payout_micros.0)
        }
        _ => (0, 0),
    }
}

/// A book with what was recorded of it, and everything that must stay true.
struct World {
    book: Book,
    recorded: Snapshot,
    ended: BTreeMap<CallId, Call>,
    reasons: BTreeSet<TransferReason>,
    rung: BTreeSet<(CallId, u8)>,
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
            rung: BTreeSet::new(),
            now: START,
        };
        let account = |id, kind, credit| Account {
            credit_limit_micros: Micros(credit),
            ..Account::new(id, kind, "a trader", START)
        };
        world.command(Command::OpenAccount { account: account(SELLER, AccountKind::Seller, 0) });
        for index in 0..BUYERS {
            let credit = if index == 0 { 20_000_000 } else { 0 };
            world
                .command(Command::OpenAccount { account: account(buyer(index), AccountKind::Buyer, credit) });
            world.happen(Happening::Group { buyer: index, concurrent_calls: Some(2), limits: Vec::new() });
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
    fn set_floor(&mut self, floor: i64) {
        let listed = self.book.tracking_number(number()).expect("listed").clone();
        let number = TrackingNumber { floor_micros: Micros(floor), ..listed };
        self.command(Command::PutTrackingNumber { number });
    }

    /// A call that nobody has heard of, once the number is listed.
    fn a_call(&self) -> Option<Call> {
        let listed = self.book.tracking_number(number())?;
        let caller = CallerId::Number("+12125550100".parse().expect("a number"));
        let trunk = "carrier".to_owned();
        let arrival = Arrival { called: listed.number, caller, trunk, stated: Stated::default() };
        Some(Call::received(CallId(Uuid::from_u128(1_000)), arrival, listed, self.now))
    }

    fn happen(&mut self, happening: Happening) {
        // No two things happen in the same moment: the order of calls that end is known from their times.
        self.now = self.now.plus_ms(1);
        match happening {
            Happening::Wait { ms } => self.now = self.now.plus_ms(ms),
            Happening::Call { call, caller } => self.input(call, Input::Arrived(arrival(caller))),
            Happening::Ping { call, caller, expires_in_ms } => {
                self.input(call, Input::Pinged(PingRequest { arrival: arrival(caller), expires_in_ms }));
            }
            Happening::Input { call, input } => self.input(call, input),
            Happening::Likely { which, choice, ms } => {
                let mut open: Vec<&Call> = self.book.calls().collect();
                open.sort_by_key(|call| call.id);
                if let Some(call) = open.get(which % open.len().max(1)) {
                    let (id, input, connected) = likely(call, choice);
                    self.now = self.now.plus_ms(if connected { ms } else { ms / 100 });
                    self.input(id, input);
                }
            }
            Happening::Revenue { which, buyer: by, revenue, is_over } => {
                // Of calls that have ended, also those that await nothing.
                let ended: Vec<&Call> = self.ended.values().collect();
                let Some(call) = ended.get(which % ended.len().max(1)) else { return };
                let (id, awaited) = (call.id, call.awaited_revenue());
                let owner = awaited.map_or(buyer(0), |awaited| awaited.attempt.buyer);
                if is_over {
                    self.input(id.0.as_u128() - 1, Input::RevenueWindowClosed);
                } else {
                    self.command(Command::ReportRevenue {
                        call: id,
                        buyer: by.map_or(owner, buyer),
                        revenue_micros: Micros(revenue),
                        reference: None,
                    });
                }
            }
            Happening::Deposit { buyer: index, amount, reference } => self.command(Command::Deposit {
                account: buyer(index),
                amount_micros: Micros(amount),
                reference: reference.to_string(),
            }),
            Happening::Status { bid, status } => {
                self.command(Command::SetBidStatus { bid: bid_id(bid), status });
            }
            Happening::Rules { rules } => self.command(Command::PutTradingRules { rules: Box::new(rules) }),
            Happening::Group { buyer: index, concurrent_calls, limits } => {
                self.command(Command::PutCapGroup {
                    group: CapGroup {
                        id: group_id(index),
                        buyer: buyer(index),
                        name: "a group".to_owned(),
                        time_zone: ZoneName::default(),
                        concurrent_calls,
                        limits,
                    },
                });
            }
            Happening::Bid { bid, buyer: index, price, caps, min_connected_s, active, live } => {
                self.command(Command::PutBidProfile {
                    bid: Box::new(BidProfile {
                        status: if active { BidStatus::Active } else { BidStatus::Paused },
                        conversion: Conversion { min_connected_s },
                        caps: Caps { group: caps.group.map(|_| group_id(index)), ..caps },
                        max_call_s: Some(600),
                        live: live.then(|| Box::new(live_bidder())),
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
        if self.ended.contains_key(&id) && matches!(input, Input::Arrived(_) | Input::Pinged(_)) {
            return;
        }
        // Its node is told again who rings, and nobody new.
        let says_again = input == Input::Resumed;
        if let Ok(effects) = call_flow::step(&mut self.book, id, input, self.now) {
            for effect in &effects {
                if let Effect::Act(Action::RingTarget { attempt, .. }) = effect {
                    assert_eq!(self.rung.insert((id, *attempt)), !says_again, "a target was rung twice");
                }
            }
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
                    let has_come = call.awaited_revenue().is_none();
                    let before = self.ended.insert(call.id, *call);
                    let was_awaited = before.as_ref().map(|before| before.awaited_revenue().is_some());
                    // Ended once, and then changed once at most: when the revenue that was awaited has come, or has not.
                    assert!(was_awaited.is_none_or(|awaited| awaited && has_come), "ended twice: {before:?}");
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
            let awaiting = self.book.awaiting_revenue().filter_map(Call::awaited_revenue);
            let awaiting = awaiting.filter(|awaited| awaited.attempt.buyer == id);
            let held = held + awaiting.map(|awaited| awaited.held_micros.0).sum::<i64>();
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
        self.check_search(3);
        self.check_restored();
    }

    /// What the search knows without asking is what asking would tell, whatever has happened since it came to know it.
    fn check_search(&self, wanted: usize) {
        let Some(call) = self.a_call() else { return };
        let facts = self.book.facts(&call, &[]).expect("a listed number");
        let market = self.book.market(self.now);
        let found = self.book.bids().search(&facts, &market, wanted);
        assert_eq!(found.offers, self.book.bids().scan(&facts, &market, wanted));
    }

    /// What was recorded is enough to come back: same balances, same open calls, same daily caps.
    fn check_restored(&self) {
        let restored = Book::restore(self.recorded.clone(), Policy::default(), Arc::clone(&SCREENING));
        for (account, balance) in &self.recorded.balances {
            assert_eq!(self.book.balances().get(*account), *balance, "{account}");
        }
        let mut open: Vec<Call> = self.book.calls().map(durable).collect();
        open.sort_by_key(|call| call.id);
        assert_eq!(open, self.recorded.open_calls.values().map(durable).collect::<Vec<_>>());
        let awaiting = |book: &Book| {
            let awaiting = book.awaiting_revenue().map(|call| (call.id, call.clone()));
            awaiting.collect::<BTreeMap<CallId, Call>>()
        };
        assert_eq!(awaiting(&restored), awaiting(&self.book));
        for index in 0..BIDS {
            let id = bid_id(index);
            assert_eq!(concurrent_calls(&restored, id), concurrent_calls(&self.book, id));
            let usage = |book: &Book| book.bids().slot(id).map(|slot| book.usages().of_bid(slot, id));
            assert_eq!(usage(&restored), usage(&self.book), "usage or a record was not written");
        }
        for id in (0..GROUPS).map(group_id) {
            assert_eq!(restored.usages().of_group(id), self.book.usages().of_group(id));
        }
    }

    /// What comes next comes out the same with the restored book as with the one that lived on.
    fn check_lives_on(mut self) {
        let mut restored = Book::restore(self.recorded.clone(), Policy::default(), Arc::clone(&SCREENING));
        // Whoever called in the last two seconds is forgotten by then.
        let now = self.now.plus_ms(10_000);
        let (lived_on, restored) = (aftermath(&mut self.book, now), aftermath(&mut restored, now));
        for (lived_on, restored) in lived_on.into_iter().flatten().zip(restored.into_iter().flatten()) {
            assert_eq!(lived_on, restored);
        }
    }

    /// Every converted call was paid exactly once, in full, and at most once more for its buyer's revenue; no other call cost
    /// anything.
    fn check_settlement(&self) {
        for call in self.ended.values() {
            let CallState::Ended { outcome, .. } = &call.state else { continue };
            let paid = self.reasons.contains(&TransferReason::Payout { call: call.id });
            let kept = self.reasons.contains(&TransferReason::Margin { call: call.id });
            let paid_more = self.reasons.contains(&TransferReason::RevenuePayout { call: call.id });
            let kept_more = self.reasons.contains(&TransferReason::RevenueMargin { call: call.id });
            if let Outcome::Converted {
                charge_micros, payout_micros, margin_micros, attempt, revenue, ..
            } = outcome
            {
                assert_eq!(charge_micros.0, payout_micros.0 + margin_micros.0);
                assert!(*charge_micros <= attempt.hold_micros, "charged more than was held");
                let (added, added_payout) = added_by(revenue.as_ref().map(|revenue| &revenue.stage));
                let first_payout = payout_micros.0 - added_payout;
                let first_margin = margin_micros.0 - (added - added_payout);
                assert_eq!((paid, kept), (first_payout > 0, first_margin > 0));
                assert_eq!((paid_more, kept_more), (added_payout > 0, added > added_payout));
                assert!(first_payout >= 0 && first_margin >= 0 && added >= added_payout, "{call:?}");
                if let Some(SharedRevenue { payout_basis_points, .. }) = revenue {
                    assert_eq!(*payout_micros, charge_micros.share(*payout_basis_points), "{call:?}");
                }
            } else {
                assert!(!paid && !kept && !paid_more && !kept_more, "charged without converting: {call:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn money_and_capacity_survive_any_order_of_events(
        bids in proptest::collection::vec(standing_bid(), 0..8),
        happenings in proptest::collection::vec(happening(), 1..120),
    ) {
        let mut world = World::new();
        for index in 0..BUYERS {
            world.happen(Happening::Deposit { buyer: index, amount: 80_000_000, reference: 9 });
        }
        for (bid, (buyer, price, min_connected_s, live)) in (0..).zip(bids) {
            let caps = Caps::default();
            world.happen(Happening::Bid { bid, buyer, price, caps, min_connected_s, active: true, live });
        }
        for happening in happenings {
            world.happen(happening);
        }
        world.check_settlement();
        let mut open: Vec<CallId> = world.book.calls().map(|call| call.id).collect();
        open.sort_unstable();
        for call in open {
            world.now = world.now.plus_ms(1);
            // A reservation outlives a shutdown.
            for input in [Input::ShutDown, Input::ReservationExpired] {
                let effects = call_flow::step(&mut world.book, call, input, world.now).expect("an open call");
                world.record(effects);
            }
        }
        world.check();
        prop_assert_eq!(world.book.calls().len(), 0, "every call can be ended");
        let mut awaiting: Vec<CallId> = world.book.awaiting_revenue().map(|call| call.id).collect();
        awaiting.sort_unstable();
        for call in awaiting {
            world.input(call.0.as_u128() - 1, Input::RevenueWindowClosed);
        }
        world.check();
        prop_assert_eq!(world.book.awaiting_revenue().len(), 0, "nothing is awaited for ever");
        world.check_settlement();
        world.check_lives_on();
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
            let live = false;
            world.happen(Happening::Bid { bid, buyer, price, caps, min_connected_s: 30, active, live });
        }
        world.set_floor(floor);
        world.check_search(wanted);
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
