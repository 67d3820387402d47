//! What holds for every auction: between whom it is, who wins it and what the winner pays.

use crate::strategies::{self, SELLER, amount, price, record, word};
use exchange::account::{Account, AccountKind};
use exchange::auction::clear::AuctionType;
use exchange::auction::contest::{Again, Contest, hold};
use exchange::auction::receipt::RankedBid;
use exchange::bid::price::Modifier;
use exchange::bid::{BidProfile, BidStatus, Criteria, Destination, Price};
use exchange::book::Book;
use exchange::call::{Arrival, Call, CallState, Stated};
use exchange::call_flow;
use exchange::compliance::screening::Screening;
use exchange::effect::{Command, Input};
use exchange::id::{AccountId, BidProfileId, CallId, DealId};
use exchange::ledger::money::Micros;
use exchange::ledger::transfer::LedgerAccount;
use exchange::phone_number::{CallerId, PhoneNumber};
use exchange::policy::Policy;
use exchange::routing::Algorithm;
use exchange::snapshot::Snapshot;
use exchange::time::Timestamp;
use exchange::track_record::TrackRecord;
use exchange::tracking_number::{CallOrigin, TrackingNumber};
use exchange::trading_rules::{Deal, TradingRules};
use exchange::usage::{CapOwner, Taken, Usage};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use uuid::Uuid;

const BUYERS: u128 = 5;
const NOW: Timestamp = Timestamp(1_790_000_000_000_000);
const RICH: Micros = Micros(1_000_000_000_000);

/// As many places as there are bids, so that a ranking is whole.
const PLACES: usize = 100;

/// The connected time that prices are compared at.
const TYPICAL_MS: u64 = 300_000;

static SCREENING: LazyLock<Arc<Screening>> =
    LazyLock::new(|| Arc::new(Screening::new(Policy::default().screening).expect("the shipped rules")));

fn buyer(index: u128) -> AccountId {
    AccountId(Uuid::from_u128(100 + index))
}

/// Bids, what came of their calls, and the rules they meet under.
#[derive(Debug, Clone)]
struct Scene {
    bids: Vec<(BidProfile, TrackRecord)>,
    rules: TradingRules,
    floor: Micros,
    deals: Vec<Deal>,
}

impl Scene {
    fn snapshot(&self) -> Snapshot {
        let account = |id, kind| Account::new(id, kind, "a trader", NOW);
        let mut snapshot = Snapshot::default();
        snapshot.accounts.insert(SELLER, account(SELLER, AccountKind::Seller));
        for id in (0..BUYERS).map(buyer) {
            snapshot.accounts.insert(id, account(id, AccountKind::Buyer));
            snapshot.balances.insert(LedgerAccount::Available(id), RICH);
            snapshot.balances.entry(LedgerAccount::External).or_default().0 -= RICH.0;
        }
        let number = self.number();
        snapshot.tracking_numbers.insert(number.number, number);
        snapshot.deals.extend(self.deals.iter().map(|deal| (deal.id, deal.clone())));
        snapshot
    }

    fn number(&self) -> TrackingNumber {
        TrackingNumber {
            number: number(),
            seller: SELLER,
            vertical: "roofing".to_owned(),
            origin: CallOrigin::OrganicInbound,
            floor_micros: self.floor,
            payout_basis_points: 7_000,
            language: None,
            tags: BTreeMap::from([("source".to_owned(), "search".to_owned())]),
            active: true,
        }
    }

    fn book(&self) -> Book {
        let mut snapshot = self.snapshot();
        for (bid, record) in &self.bids {
            let owner = CapOwner::Bid(bid.id);
            let usage = Usage { owner, taken: [Taken::default(); 5], record: Some(record.clone()) };
            snapshot.usage.insert(owner, usage);
            snapshot.bid_profiles.insert(bid.id, Arc::new(bid.clone()));
        }
        self.book_of(snapshot)
    }

    fn book_of(&self, snapshot: Snapshot) -> Book {
        let policy = Policy { trading: self.rules, ..Policy::default() };
        Book::restore(snapshot, policy, Arc::clone(&SCREENING))
    }

    fn call(&self, caller: CallerId, stated: Stated) -> Call {
        let arrival = Arrival { called: number(), caller, trunk: "carrier".to_owned(), stated };
        Call::received(CallId(Uuid::from_u128(7)), arrival, &self.number(), NOW)
    }

    fn auction(&self) -> Contest {
        self.auction_in(&self.book())
    }

    fn auction_in(&self, book: &Book) -> Contest {
        let call = self.call(CallerId::Number(word("+12125550101")), Stated::default());
        let deals = book.deals(&call);
        let facts = book.facts(&call, &deals).expect("a listed number");
        hold(book.bids(), &facts, &book.market(NOW), &[], Again::No, PLACES)
    }

    fn ranking(&self) -> Vec<RankedBid> {
        self.auction().receipt.ranking
    }

    fn deal_of(&self, buyer: AccountId) -> Option<&Deal> {
        self.deals.iter().find(|deal| deal.buyers.contains(&buyer))
    }

    fn has_first_look(&self, buyer: AccountId) -> bool {
        self.deal_of(buyer).is_some_and(|deal| deal.first_look)
    }

    fn floor_of(&self, buyer: AccountId) -> Micros {
        let open = self.floor.max(self.rules.floor_micros);
        self.deal_of(buyer).map_or(open, |deal| deal.floor_micros)
    }

    fn bid_mut(&mut self, id: BidProfileId) -> &mut BidProfile {
        &mut self.bids.iter_mut().find(|(bid, _)| bid.id == id).expect("a bid of the scene").0
    }

    fn without(&self, id: BidProfileId) -> Self {
        let bids = self.bids.iter().filter(|(bid, _)| bid.id != id).cloned().collect();
        Self { bids, ..self.clone() }
    }

    fn under(&self, auction_type: AuctionType) -> Self {
        Self { rules: TradingRules { auction_type, ..self.rules }, ..self.clone() }
    }

    /// The place of the best rival that the winner had to beat.
    fn runner_up(&self, ranking: &[RankedBid]) -> Option<usize> {
        let winner = ranking.first()?.buyer;
        let is_rival = |other: &RankedBid| {
            other.buyer != winner && self.has_first_look(other.buyer) == self.has_first_look(winner)
        };
        ranking.iter().position(is_rival)
    }
}

fn number() -> PhoneNumber {
    word("+18005550100")
}

fn paid(ranked: &RankedBid) -> Micros {
    ranked.price.expected(TYPICAL_MS)
}

/// A price per call raised by so much; other kinds have no one number that is the bid.
fn raised(price: Price, by: i64) -> Option<Price> {
    match price {
        Price::PerCall { amount_micros } => {
            Some(Price::PerCall { amount_micros: Micros(amount_micros.0 + by) })
        }
        _ => None,
    }
}

fn bid(index: usize, of: u128, price: Price) -> BidProfile {
    let id = BidProfileId(Uuid::from_u128(500 + index as u128));
    BidProfile {
        max_call_s: Some(600),
        ..BidProfile::new(id, buyer(of), "roofing", price, Destination::of("sip:a@127.0.0.1"))
    }
}

/// Modifiers for any call, so that they change what a bid offers.
fn changes() -> impl Strategy<Value = Vec<Modifier>> {
    let for_any = |modifier: Modifier| Modifier { when: Criteria::default(), ..modifier };
    strategies::modifiers().prop_map(move |modifiers| modifiers.into_iter().map(for_any).take(2).collect())
}

fn bids() -> impl Strategy<Value = Vec<(BidProfile, TrackRecord)>> {
    let terms = (0..BUYERS, price(), 1u8..4, 1u32..5, record());
    vec(terms, 1..14).prop_map(|terms| {
        let bids = terms.into_iter().enumerate();
        bids.map(|(index, (of, price, priority, weight, record))| {
            (BidProfile { priority, weight, ..bid(index, of, price) }, record)
        })
        .collect()
    })
}

fn auction_type() -> impl Strategy<Value = AuctionType> {
    select(vec![AuctionType::FirstPrice, AuctionType::SecondPrice, AuctionType::FixedPrice])
}

fn rules() -> impl Strategy<Value = TradingRules> {
    let increment = prop_oneof![Just(0), Just(10_000), 0i64..3_000_000];
    (auction_type(), 0i64..10_000_000, increment, any::<bool>()).prop_map(
        |(auction_type, floor, increment, quality_adjusted)| TradingRules {
            auction_type,
            floor_micros: Micros(floor),
            increment_micros: Micros(increment),
            quality_adjusted,
            ..TradingRules::default()
        },
    )
}

fn deals() -> impl Strategy<Value = Vec<Deal>> {
    let buyers = subsequence((0..BUYERS).collect::<Vec<_>>(), 1..3);
    let terms = (buyers, 0i64..15_000_000, any::<bool>());
    prop_oneof![
        Just(Vec::new()),
        vec(terms, 1..3).prop_map(|terms| {
            let deals = terms.into_iter().zip(1..);
            deals
                .map(|((buyers, floor, first_look), id)| Deal {
                    id: DealId(Uuid::from_u128(id)),
                    name: "a deal".to_owned(),
                    active: true,
                    seller: SELLER,
                    vertical: None,
                    buyers: buyers.into_iter().map(buyer).collect(),
                    floor_micros: Micros(floor),
                    first_look,
                })
                .collect()
        })
    ]
}

fn scene() -> impl Strategy<Value = Scene> {
    let floor = prop_oneof![Just(Micros::ZERO), (0i64..15_000_000).prop_map(Micros)];
    (bids(), rules(), floor, deals()).prop_map(|(bids, rules, floor, deals)| Scene {
        bids,
        rules,
        floor,
        deals,
    })
}

/// A scene whose bids have modifiers, routed in any way.
fn scene_in_full() -> impl Strategy<Value = Scene> {
    let algorithms = select(vec![
        Algorithm::HighestBid,
        Algorithm::PriorityWeight,
        Algorithm::RoundRobin,
        Algorithm::Percentage,
        Algorithm::CostQuality,
        Algorithm::Skill,
        Algorithm::Nearest,
        Algorithm::Predictive,
    ]);
    (scene(), vec(changes(), 14), algorithms).prop_map(|(mut scene, changes, algorithm)| {
        for ((bid, _), modifiers) in scene.bids.iter_mut().zip(changes) {
            bid.modifiers = modifiers;
        }
        scene.rules.algorithm = algorithm;
        scene
    })
}

/// How a bid comes to stand as it does.
#[derive(Debug, Clone, Copy)]
enum Way {
    Placed,
    Resumed,
    Repriced,
    Moved,
}

fn ways() -> impl Strategy<Value = Vec<Way>> {
    vec(select(vec![Way::Placed, Way::Resumed, Way::Repriced, Way::Moved]), 14)
}

fn place(book: &mut Book, bid: &BidProfile, way: Way) {
    let first = match way {
        Way::Placed => bid.clone(),
        Way::Resumed => BidProfile { status: BidStatus::Paused, ..bid.clone() },
        Way::Repriced => {
            BidProfile { price: Price::PerCall { amount_micros: Micros(49_000_000) }, ..bid.clone() }
        }
        Way::Moved => BidProfile { vertical: "legal".to_owned(), ..bid.clone() },
    };
    let put = |bid: &BidProfile| Command::PutBidProfile { bid: Box::new(bid.clone()) };
    book.apply(put(&first), NOW).expect("a valid bid");
    let then = match way {
        Way::Placed => return,
        Way::Resumed => Command::SetBidStatus { bid: bid.id, status: BidStatus::Active },
        Way::Repriced | Way::Moved => put(bid),
    };
    book.apply(then, NOW).expect("a valid change");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_price_is_between_the_floor_and_the_own_bid(scene in scene_in_full()) {
        for ranked in scene.ranking() {
            let own = ranked.offered.unwrap_or(ranked.price).expected(TYPICAL_MS);
            prop_assert_eq!(own, ranked.expected_micros);
            prop_assert!(scene.floor_of(ranked.buyer) <= paid(&ranked), "below its floor: {:?}", ranked);
            prop_assert!(paid(&ranked) <= own, "above its own bid: {:?}", ranked);
            prop_assert!(paid(&ranked) > Micros::ZERO || own == Micros::ZERO);
        }
    }

    #[test]
    fn second_price_has_the_order_of_first_price_and_costs_nobody_more(scene in scene()) {
        let first = scene.under(AuctionType::FirstPrice).ranking();
        let second = scene.under(AuctionType::SecondPrice).ranking();
        prop_assert_eq!(first.len(), second.len());
        for (first, second) in first.iter().zip(&second) {
            prop_assert_eq!(first.bid, second.bid);
            prop_assert!(paid(second) <= paid(first));
        }
    }

    #[test]
    fn at_second_price_a_winner_gains_nothing_by_bidding_more(scene in scene(), by in 1i64..30_000_000) {
        let scene = scene.under(AuctionType::SecondPrice);
        let before = scene.ranking();
        prop_assume!(!before.is_empty());
        let winner = &before[0];
        let mut bolder = scene.clone();
        let Some(price) = raised(winner.offered.unwrap_or(winner.price), by) else { return Ok(()) };
        bolder.bid_mut(winner.bid).price = price;
        let after = &bolder.ranking()[0];
        prop_assert_eq!(after.bid, winner.bid, "it still wins");
        if winner.offered.is_some() {
            prop_assert_eq!(paid(after), paid(winner), "and pays the same");
        } else {
            // It paid its own bid for want of room for the increment.
            prop_assert!(paid(after) >= paid(winner));
        }
    }

    #[test]
    fn at_second_price_a_higher_runner_up_never_makes_it_cheaper(scene in scene(), by in 1i64..30_000_000) {
        let scene = scene.under(AuctionType::SecondPrice);
        let before = scene.ranking();
        let Some(place) = scene.runner_up(&before) else { return Ok(()) };
        let mut closer = scene.clone();
        let Some(price) = raised(before[place].offered.unwrap_or(before[place].price), by) else {
            return Ok(());
        };
        closer.bid_mut(before[place].bid).price = price;
        let after = &closer.ranking()[0];
        if after.bid == before[0].bid {
            prop_assert!(paid(after) >= paid(&before[0]));
        }
    }

    #[test]
    fn a_loser_that_sets_no_price_might_as_well_not_be_there(scene in scene()) {
        let before = scene.ranking();
        let runner_up = scene.runner_up(&before);
        for (place, loser) in before.iter().enumerate().skip(1) {
            if Some(place) == runner_up {
                continue;
            }
            let after = &scene.without(loser.bid).ranking()[0];
            prop_assert_eq!((after.bid, after.price), (before[0].bid, before[0].price));
        }
    }

    #[test]
    fn a_buyer_gains_nothing_by_splitting_its_bid(
        scene in scene(),
        which in any::<Index>(),
        lower in 1u16..=1_000,
    ) {
        let scene = scene.under(AuctionType::SecondPrice);
        let before = scene.ranking();
        let (original, record) = which.get(&scene.bids).clone();
        let mut split = scene.clone();
        let id = BidProfileId(Uuid::from_u128(600));
        let amount = Micros((original.price.amount().0 * i64::from(lower) / 1_000).max(1));
        let second = BidProfile { id, price: original.price.with_amount(amount), ..original.clone() };
        split.bids.push((second, record));
        let after = split.ranking();
        let price_of = |ranking: &[RankedBid]| {
            ranking.first().filter(|winner| winner.buyer == original.buyer).map(paid)
        };
        match (price_of(&before), price_of(&after)) {
            (None, Some(_)) => prop_assert!(before.is_empty(), "it won by splitting"),
            (Some(before), Some(after)) => prop_assert!(after >= before, "it pays less by splitting"),
            _ => {}
        }
    }

    #[test]
    fn the_order_bids_were_placed_in_does_not_matter(
        scene in scene_in_full(),
        order in Just((0..14usize).collect::<Vec<_>>()).prop_shuffle(),
        ways in ways(),
    ) {
        let valid = |bid: &BidProfile| {
            !matches!(bid.price, Price::RevenueShare { .. }) || bid.modifiers.is_empty()
        };
        let bids: Vec<&BidProfile> = scene.bids.iter().map(|(bid, _)| bid).filter(|bid| valid(bid)).collect();
        let mut straight = scene.book_of(scene.snapshot());
        for bid in &bids {
            place(&mut straight, bid, Way::Placed);
        }
        let mut shuffled = scene.book_of(scene.snapshot());
        for place_of in order.into_iter().filter(|place| *place < bids.len()) {
            place(&mut shuffled, bids[place_of], ways[place_of]);
        }
        let (straight, shuffled) = (scene.auction_in(&straight), scene.auction_in(&shuffled));
        prop_assert_eq!(straight.plan, shuffled.plan);
        prop_assert_eq!(straight.receipt, shuffled.receipt);
    }

    #[test]
    fn the_index_finds_what_a_scan_finds_whatever_is_asked(
        scene in scene(),
        wants in vec((strategies::criteria(), strategies::modifiers()), 14),
        call in (strategies::caller(), strategies::stated()),
        wanted in 1usize..16,
    ) {
        let mut scene = scene;
        for ((bid, _), (criteria, modifiers)) in scene.bids.iter_mut().zip(wants) {
            bid.criteria = criteria;
            bid.modifiers = modifiers;
        }
        let book = scene.book();
        let call = scene.call(call.0, call.1);
        let deals = book.deals(&call);
        let facts = book.facts(&call, &deals).expect("a listed number");
        let market = book.market(NOW);
        let found = book.bids().search(&facts, &market, wanted);
        prop_assert_eq!(found.offers, book.bids().scan(&facts, &market, wanted));
    }

    #[test]
    fn the_highest_amount_a_bid_is_listed_at_is_never_passed(
        price in price(),
        modifiers in strategies::modifiers(),
        call in (strategies::caller(), strategies::stated()),
        floor in amount(),
    ) {
        let profile = BidProfile { modifiers, ..bid(0, 0, price) };
        let rules = TradingRules::default();
        let bids = vec![(profile, TrackRecord::default())];
        let scene = Scene { bids, rules, floor, deals: Vec::new() };
        let book = scene.book();
        let call = scene.call(call.0, call.1);
        let facts = book.facts(&call, &[]).expect("a listed number");
        let listed = book.bids().at(0).listed;
        for (_, offer) in book.bids().scan(&facts, &book.market(NOW), 1) {
            prop_assert!(floor <= offer.expected && offer.expected <= listed);
        }
    }
}

#[test]
fn nobody_hides_the_runner_up_behind_many_bids() {
    let units = |units: i64| Price::PerCall { amount_micros: Micros(units * 1_000_000) };
    let mut bids: Vec<BidProfile> = (0..90).map(|index| bid(index, 0, units(30))).collect();
    bids.push(bid(90, 1, units(20)));
    let scene = Scene {
        bids: bids.into_iter().map(|bid| (bid, TrackRecord::default())).collect(),
        rules: TradingRules { auction_type: AuctionType::SecondPrice, ..TradingRules::default() },
        floor: Micros::ZERO,
        deals: Vec::new(),
    };
    let book = scene.book();
    let call = scene.call(CallerId::Number(word("+12125550101")), Stated::default());
    let facts = book.facts(&call, &[]).expect("a listed number");
    let contest = hold(book.bids(), &facts, &book.market(NOW), &[], Again::No, 5);
    let prices: Vec<String> = contest.receipt.ranking.iter().map(|ranked| paid(ranked).to_string()).collect();
    assert_eq!(prices, ["20.01"; 5]);
}

#[test]
fn of_64_calls_at_once_a_buyer_with_money_for_ten_gets_ten() {
    let price = Price::PerCall { amount_micros: Micros(RICH.0 / 10) };
    let scene = Scene {
        bids: vec![(bid(0, 0, price), TrackRecord::default()), (bid(1, 0, price), TrackRecord::default())],
        rules: TradingRules::default(),
        floor: Micros::ZERO,
        deals: Vec::new(),
    };
    let mut book = scene.book();
    let mut ringing = Vec::new();
    for index in 0..64_u128 {
        let id = CallId(Uuid::from_u128(1_000 + index));
        let caller = CallerId::Number(word(&format!("+1212555{:04}", 100 + index)));
        let arrival =
            Arrival { called: number(), caller, trunk: "carrier".to_owned(), stated: Stated::default() };
        call_flow::step(&mut book, id, Input::Arrived(arrival), NOW).expect("a new call");
        ringing.extend(book.calls().find(|call| call.id == id).map(|call| call.state.clone()));
    }
    assert!(ringing.iter().all(|state| matches!(state, CallState::Ringing { .. })));
    assert_eq!((ringing.len(), book.calls().len()), (10, 10));
    assert_eq!(book.balances().get(LedgerAccount::Available(buyer(0))), Micros::ZERO);
    assert_eq!(book.balances().get(LedgerAccount::Held(buyer(0))), RICH);
}
