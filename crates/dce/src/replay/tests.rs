//! A past of a few hundred calls, lived through the real engine in virtual time, and then replayed.

use super::report::Comparison;
use super::side::{Figures, Window};
use super::{JournalPage, Source, compare, report};
use crate::failure::Failure;
use crate::marketplace::{Callers, Layout, Marketplace, Pace};
use engine::{Decided, Owner};
use exchange::auction::clear::AuctionType;
use exchange::auction::receipt::Receipt;
use exchange::audit::Actor;
use exchange::bid::BidProfile;
use exchange::bid::live::{CallerDisclosure, LiveAnswer, LiveBidder, LiveSaid, LiveVia, NoLiveBid};
use exchange::call::{Arrival, FailureCause, Stated};
use exchange::compliance::screening::Screening;
use exchange::effect::{Action, Command, Input, JournalEntry, JournalInput, Record};
use exchange::id::{BidProfileId, CallId};
use exchange::ledger::money::Micros;
use exchange::phone_number::CallerId;
use exchange::ping::PingRequest;
use exchange::policy::Policy;
use exchange::routing::Algorithm;
use exchange::snapshot::Snapshot;
use exchange::time::Timestamp;
use exchange::trading_rules::RuleOverride;
use fastrand::Rng;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};
use uuid::Uuid;

/// 2026-07-01T17:00:00Z, a Wednesday.
const START: Timestamp = Timestamp(1_782_925_200_000_000);
const CALLS: u64 = 400;
const CALL_EVERY_MS: u64 = 700;
/// The high bits of their ids.
const CALL: u128 = 1;
const PING: u128 = 2;
const LIVE_VERTICAL: &str = "home_services";

/// What was written down.
#[derive(Default)]
struct Past {
    journal: Vec<JournalEntry>,
    receipts: HashMap<CallId, Receipt>,
}

/// One past for all tests: nothing in it changes.
static PAST: LazyLock<Past> = LazyLock::new(|| World::new().live());

struct World {
    owner: Owner,
    rng: Rng,
    agenda: BTreeMap<(Timestamp, u64), (CallId, Input)>,
    put_in: u64,
    past: Past,
}

fn marketplace() -> Marketplace {
    let layout = Layout {
        seed: 11,
        opened_at: START,
        trunks: vec![([127, 0, 0, 1], 5070).into()],
        buyers: 80,
        bids_per_buyer: 6,
        sellers: 12,
        pace: Pace { buffer_s: 10..=30, ring_timeout_ms: 5_000..=9_000, max_call_s: 240 },
    };
    let mut marketplace = Marketplace::make(&layout).expect("the shipped area codes are sound");
    let of_vertical: Vec<_> =
        marketplace.bids.iter().filter(|bid| bid.vertical == LIVE_VERTICAL).step_by(6).take(4).collect();
    let live = of_vertical.into_iter().zip(1..).map(|(bid, nth)| BidProfile {
        id: BidProfileId(Uuid::from_u128(nth)),
        live: Some(Box::new(LiveBidder {
            via: LiveVia::Connection,
            timeout_ms: None,
            requests_per_s: None,
            in_flight_max: None,
            caller: CallerDisclosure::Withheld,
        })),
        ..BidProfile::new(
            BidProfileId(Uuid::from_u128(nth)),
            bid.buyer,
            &bid.vertical,
            exchange::bid::Price::PerCall { amount_micros: Micros::units(90) },
            bid.destination.clone(),
        )
    });
    let live: Vec<_> = live.collect();
    marketplace.bids.extend(live);
    marketplace
}

impl World {
    fn new() -> Self {
        let policy = Policy::default();
        let screening = Screening::new(policy.screening.clone()).expect("the shipped rules are sound");
        let owner = Owner::recover(Snapshot::default(), policy, Arc::new(screening), START).owner;
        let (agenda, past) = (BTreeMap::new(), Past::default());
        Self { owner, rng: Rng::with_seed(5), agenda, put_in: 0, past }
    }

    /// Lives through all of it.
    fn live(mut self) -> Past {
        let marketplace = marketplace();
        for command in marketplace.commands().into_iter().flatten() {
            self.command(command, START);
        }
        self.plan_calls(&marketplace);
        while let Some(now) = self.next_moment() {
            while let Some((call, input)) = self.owner.due(now) {
                self.input(call, input, now);
            }
            if let Some(next) = self.agenda.first_entry()
                && next.key().0 <= now
            {
                let (call, input) = next.remove();
                self.input(call, input, now);
            }
        }
        self.past
    }

    fn plan_calls(&mut self, marketplace: &Marketplace) {
        let mut callers = Callers::new(3).expect("the shipped area codes are sound");
        for nth in 0..CALLS {
            let at = START.plus_ms(60_000 + nth * CALL_EVERY_MS);
            let caller = callers.next();
            let number = &marketplace.numbers[self.rng.usize(0..marketplace.numbers.len())];
            let arrival = Arrival {
                called: number.number,
                caller: CallerId::from_user_part(&caller.user),
                trunk: "carrier".to_owned(),
                stated: Stated { state: caller.stated_state, ..Stated::default() },
            };
            // The low bits of an id are what routing draws by.
            let draw = u128::from(self.rng.u64(..));
            let (call, ping) =
                (CallId(Uuid::from_u128(CALL << 96 | draw)), CallId(Uuid::from_u128(PING << 96 | draw)));
            // Announced by a ping, in time or so early that the reservation is over, or not at all.
            let delay_ms = *self.rng.choice([3_000, 40_000, 0, 0, 0, 0, 0, 0].as_slice()).expect("some");
            if delay_ms > 0 {
                let request = PingRequest { arrival: arrival.clone(), expires_in_ms: None };
                self.put(at, ping, Input::Pinged(request));
            }
            self.put(at.plus_ms(delay_ms), call, Input::Arrived(arrival));
            if self.rng.u8(..10) == 0 {
                let patience_ms = delay_ms + self.rng.u64(50..8_000);
                self.put(at.plus_ms(patience_ms), call, Input::CallerHungUp);
            }
        }
        // The marketplace changes meanwhile.
        let bid = &marketplace.bids[7];
        let raised = BidProfile { priority: 1, name: "raised".to_owned(), ..bid.clone() };
        self.command(Command::PutBidProfile { bid: Box::new(raised) }, START);
    }

    fn next_moment(&self) -> Option<Timestamp> {
        let planned = self.agenda.first_key_value().map(|((at, _), _)| *at);
        planned.into_iter().chain(self.owner.next_due()).min()
    }

    fn put(&mut self, at: Timestamp, call: CallId, input: Input) {
        self.put_in += 1;
        self.agenda.insert((at, self.put_in), (call, input));
    }

    fn command(&mut self, command: Command, now: Timestamp) {
        let unit = self.owner.command(command, Actor::CommandLine, now).expect("a valid command");
        self.past.journal.extend(unit.journal);
    }

    fn input(&mut self, call: CallId, input: Input, now: Timestamp) {
        let Decided { unit, actions } = self.owner.call(call, input, now).expect("a legal input");
        self.past.journal.extend(unit.journal);
        for record in unit.records {
            if let Record::Receipt(receipt) = record {
                self.past.receipts.insert(receipt.call, Receipt { decided_in_ns: Some(1), ..*receipt });
            }
        }
        for action in actions {
            self.owner.let_out(call, &action, now);
            self.react(call, action, now);
        }
    }

    /// What the outside world does.
    fn react(&mut self, call: CallId, action: Action, now: Timestamp) {
        match action {
            Action::RequestBid(request) => {
                let price_micros = Micros(self.rng.i64(request.floor_micros.0..=request.most_micros.0));
                let said = match self.rng.u8(..6) {
                    0 => LiveSaid::Nothing { reason: NoLiveBid::Declined },
                    _ => LiveSaid::Bid { price_micros, min_connected_s: None, destination: None },
                };
                let after_ms = self.rng.u64(1..100);
                let answer = LiveAnswer { bid: request.bid, said };
                self.put(now.plus_ms(after_ms), call, Input::BidAnswered(answer));
            }
            Action::RingTarget { attempt, .. } => {
                let after = now.plus_ms(self.rng.u64(100..4_000));
                match self.rng.u8(..10) {
                    0 => self.put(after, call, Input::TargetFailed { attempt, cause: FailureCause::Busy }),
                    // It rings out.
                    1 => {}
                    _ => self.put(after, call, Input::TargetAnswered { attempt }),
                }
            }
            Action::ConnectCaller { .. } => match self.rng.u8(..8) {
                0 | 1 => {
                    let after_ms = self.rng.u64(500..9_000);
                    self.put(now.plus_ms(after_ms), call, Input::TargetHungUp);
                }
                // It lasts as long as it may.
                2 => {}
                _ => {
                    let after_ms = self.rng.u64(5_000..200_000);
                    self.put(now.plus_ms(after_ms), call, Input::CallerHungUp);
                }
            },
            _ => {}
        }
    }
}

impl Past {
    fn replayed(&self, window: Window, rules: RuleOverride) -> Comparison {
        let journal = |after: i64| -> Result<JournalPage, Failure> {
            let rest = self.journal.iter().zip(1..).filter(|(_, seq)| *seq > after);
            Ok(rest.take(100).map(|(entry, seq)| (seq, Some(entry.clone()))).collect())
        };
        let source = Source {
            journal: &journal,
            receipt: &|call| Ok(self.receipts.get(&call).cloned()),
            name: &|account| Ok(account.to_string()),
        };
        compare(&source, &Policy::default(), window, rules).expect("the past can be read")
    }

    fn inputs(&self, is_such: impl Fn(&Input) -> bool) -> usize {
        let calls = self.journal.iter().filter(|entry| match &entry.entry {
            JournalInput::Call { input, .. } => is_such(input),
            JournalInput::Command(_) => false,
        });
        calls.count()
    }
}

fn under(rules: RuleOverride) -> Comparison {
    PAST.replayed(Window::default(), rules)
}

#[test]
fn the_past_has_everything_that_can_happen() {
    let counts = [
        ("pings", PAST.inputs(|input| matches!(input, Input::Pinged(_)))),
        ("expiries", PAST.inputs(|input| matches!(input, Input::ReservationExpired))),
        ("live answers", PAST.inputs(|input| matches!(input, Input::BidAnswered(_)))),
        ("late live bidders", PAST.inputs(|input| matches!(input, Input::BiddingClosed))),
        ("busy targets", PAST.inputs(|input| matches!(input, Input::TargetFailed { .. }))),
        ("targets ringing out", PAST.inputs(|input| matches!(input, Input::RingTimedOut { .. }))),
        ("targets hanging up", PAST.inputs(|input| matches!(input, Input::TargetHungUp))),
        ("longest calls", PAST.inputs(|input| matches!(input, Input::MaxDurationReached { .. }))),
    ];
    for (what, count) in counts {
        assert!(count > 0, "no {what}");
    }
}

#[test]
fn the_same_rules_make_no_difference() {
    let same = under(RuleOverride::default());
    assert_eq!((same.calls, same.not_reproduced, same.winners_changed), (400, 0, 0));
    assert_eq!(same.difference, Figures::default());
    assert_eq!((same.assumed.not_rung_before, same.assumed.unknown_ends), (0, 0));
    assert!(same.buyers.is_empty() && same.bids.is_empty());
    assert!(same.actual.converted > 100, "{:?}", same.actual);
    let Figures { charged_micros, payout_micros, margin_micros, .. } = same.actual;
    assert_eq!(charged_micros, payout_micros + margin_micros);
    let same_by_name =
        RuleOverride { auction_type: Some(AuctionType::FirstPrice), ..RuleOverride::default() };
    assert_eq!(under(same_by_name).difference, Figures::default());
}

#[test]
fn a_second_price_pays_less() {
    let second = under(RuleOverride {
        auction_type: Some(AuctionType::SecondPrice),
        increment_micros: Some(Micros(10_000)),
        ..RuleOverride::default()
    });
    assert_eq!(second.not_reproduced, 0);
    let (was, would_be) = (&second.actual, &second.variant);
    assert!(would_be.charged_micros < was.charged_micros, "{was:?} {would_be:?}");
    assert!(would_be.average_price_micros < was.average_price_micros);
    assert_eq!(second.difference.charged_micros, would_be.charged_micros - was.charged_micros);
    assert!(!second.buyers.is_empty() && second.buyers.len() <= 10);
    let differences: Vec<_> = second.bids.iter().map(|mover| mover.difference_micros.abs()).collect();
    assert!(differences.is_sorted_by(|a, b| a >= b), "{differences:?}");
}

#[test]
fn a_floor_removes_fill_and_a_higher_one_more() {
    let floor = |units| {
        under(RuleOverride { floor_micros: Some(Micros::units(units)), ..RuleOverride::default() }).variant
    };
    let (none, some, high) = (floor(0), floor(60), floor(10_000));
    assert!(none.ringed > some.ringed && some.ringed > 0, "{none:?} {some:?}");
    assert!(some.refused_by_floor > none.refused_by_floor);
    assert!(some.average_price_micros > none.average_price_micros);
    assert_eq!((high.ringed, high.converted, high.charged_micros), (0, 0, 0));
}

#[test]
fn other_algorithms_ring_others_who_are_taken_to_do_alike() {
    let other = under(RuleOverride { algorithm: Some(Algorithm::RoundRobin), ..RuleOverride::default() });
    assert!(other.winners_changed > 100, "{}", other.winners_changed);
    assert!(other.assumed.not_rung_before > 0 && other.assumed.rings > other.assumed.not_rung_before);
    let predictive = RuleOverride { algorithm: Some(Algorithm::Predictive), ..RuleOverride::default() };
    assert!(under(predictive).variant.converted > 100);
}

#[test]
fn without_time_no_live_bidder_wins() {
    let none = under(RuleOverride { bidding_deadline_ms: Some(0), ..RuleOverride::default() });
    assert!(none.winners_changed > 0, "live bids won before");
    assert!(none.variant.charged_micros < none.actual.charged_micros);
}

#[test]
fn only_calls_of_the_window_and_the_vertical_are_compared() {
    let half = START.plus_ms(60_000 + CALLS / 2 * CALL_EVERY_MS);
    let high = |vertical: Option<String>| RuleOverride {
        vertical,
        floor_micros: Some(Micros::units(10_000)),
        ..RuleOverride::default()
    };
    let later = PAST.replayed(Window { from: Some(half), ..Window::default() }, high(None));
    let earlier = PAST.replayed(Window { to: Some(half), ..Window::default() }, high(None));
    assert_eq!(later.calls + earlier.calls, 400);
    assert_eq!(earlier.variant.ringed, 0);
    // What a ping had won before the floor came is honoured.
    assert!(later.variant.ringed <= 1 && later.actual.ringed > 100, "{:?}", later.variant);
    let vertical = Some("roofing".to_owned());
    let one = PAST.replayed(Window { vertical: vertical.clone(), ..Window::default() }, high(vertical));
    assert!(one.calls > 10 && one.calls < 200, "{}", one.calls);
    assert_eq!(one.variant.ringed, 0);
    let nothing = PAST.replayed(Window { to: Some(START), ..Window::default() }, high(None));
    assert_eq!((nothing.calls, nothing.difference), (0, Figures::default()));
}

#[test]
fn a_receipt_that_says_otherwise_is_told() {
    let mut tampered = Past { journal: PAST.journal.clone(), receipts: PAST.receipts.clone() };
    let is_won = |receipt: &&mut Receipt| {
        receipt
            .auction
            .as_ref()
            .is_some_and(|auction| !auction.ranking.is_empty() && auction.reservation.is_none())
            && receipt.call.0.as_u128() >> 96 == CALL
    };
    let receipt = tampered.receipts.values_mut().find(is_won).expect("a call that was won");
    receipt.auction.as_mut().expect("it was won").ranking.remove(0);
    let comparison = tampered.replayed(Window::default(), RuleOverride::default());
    assert_eq!(comparison.not_reproduced, 1);
    let text = report::text(&comparison);
    assert!(text.contains("1 calls do not go as they went"), "{text}");
}

#[test]
fn people_and_machines_are_told_the_same() {
    let rules = RuleOverride { floor_micros: Some(Micros::units(60)), ..RuleOverride::default() };
    let comparison = under(rules);
    let json = report::json(&comparison);
    for key in ["calls", "not_reproduced", "actual", "variant", "difference", "winners_changed", "buyers"] {
        assert!(!json[key].is_null(), "{key} is missing in {json}");
    }
    assert_eq!(json["difference"]["converted"], comparison.difference.converted);
    let text = report::text(&comparison);
    let difference = Micros(comparison.difference.charged_micros).to_string();
    for part in ["charged to buyers", &difference, "The buyers whose charges change most", "as it went"] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}

#[test]
fn what_is_not_compared_is_told() {
    let all = under(RuleOverride::default());
    let pings = u64::try_from(PAST.inputs(|input| matches!(input, Input::Pinged(_)))).expect("few");
    assert_eq!((all.journal.calls, all.journal.pings > 0), (400, true));
    assert!(all.journal.pings <= pings, "a ping that repeats another is none of its own");
    assert!(report::text(&all).contains(&format!("{} pings are not counted", all.journal.pings)));

    let long_ago = Window { to: Some(Timestamp(1)), ..Window::default() };
    let none = PAST.replayed(long_ago, RuleOverride::default());
    assert_eq!((none.calls, none.journal.calls, none.journal.pings), (0, 400, 0));
    let text = report::text(&none);
    assert!(text.starts_with("No calls to compare: none of the 400 in the journal"), "{text}");
    assert_eq!(text.lines().count(), 1, "no table of noughts: {text}");

    let nobody = Window { vertical: Some("nope".to_owned()), ..Window::default() };
    let source = Source {
        journal: &|_| Ok(Vec::new()),
        receipt: &|_| Ok(None),
        name: &|account| Ok(account.to_string()),
    };
    let refused = compare(&source, &Policy::default(), nobody, RuleOverride::default());
    let message = refused.expect_err("a vertical there is not").to_string();
    assert!(message.contains("--vertical nope: no call was ever received here"), "{message}");
}
