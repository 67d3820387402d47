//! The contest for one call: who enters, in which order they go, what each pays, and what the losers are told.

use crate::auction::board::Rank;
use crate::auction::clear::{AuctionType, cleared, needed_to_score};
use crate::auction::index::{BidIndex, Considered, Found};
use crate::auction::matching::{CallFacts, Market, Offer, Refusal, WallClocks, offer, priced_offer};
use crate::auction::receipt::{AuctionReceipt, LiveReceipt, Loss, RankedBid};
use crate::bid::live::{BidResult, LiveAnswer, LiveSaid, LossReason};
use crate::bid::{Conversion, Destination, Price};
use crate::call::Planned;
use crate::id::{AccountId, BidProfileId, DealId};
use crate::ledger::money::Micros;
use crate::routing::{self, Algorithm, Contender, RoutedCall};
use crate::trading_rules::TradingRules;

/// How many of the best bids are looked at where more than the best few matter: the runner-up of another buyer, weights, shares,
/// distances.
pub const POOL: usize = 64;

/// Losers on a receipt, beside live bidders.
const LOSSES_MAX: usize = 8;

/// A bid that wants the call and can take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrant {
    /// The bid.
    pub bid: BidProfileId,
    /// Its slot in the index.
    pub slot: usize,
    /// Who pays.
    pub buyer: AccountId,
    /// 1 goes first among equals.
    pub priority: u8,
    /// What it offers.
    pub offer: Offer,
    /// The deal it comes under, and whether that goes before the open auction.
    pub deal: Option<(DealId, bool)>,
    /// A live bidder's own terms.
    pub live: Option<LiveTerms>,
}

/// What a live bidder set for this call beside the price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveTerms {
    min_connected_s: Option<u32>,
    destination: Option<Destination>,
}

impl Entrant {
    /// Whether its deal goes before the open auction.
    pub fn has_first_look(&self) -> bool {
        matches!(self.deal, Some((_, true)))
    }

    /// Its place by score alone.
    pub fn rank(&self) -> Rank {
        Rank { price: self.offer.score.0, priority: self.priority, id: self.bid.0.as_u128() }
    }
}

/// What came of an auction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contest {
    /// For the receipt.
    pub receipt: AuctionReceipt,
    /// The winner, then the fall-backs, each on its cleared terms.
    pub plan: Vec<Planned>,
    /// What each live bidder who bid is told.
    pub notices: Vec<(BidProfileId, BidResult)>,
    /// Where routing goes by percentage: whose turn it was, and what its next one is.
    pub turn: Option<(usize, u64)>,
}

/// Who took this caller's last call, and what the trading rules do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// Nothing special.
    No,
    /// That target goes first.
    First(BidProfileId),
    /// That target is not rung.
    Never(BidProfileId),
}

/// Holds the auction.
pub fn hold(
    index: &BidIndex,
    call: &CallFacts,
    market: &Market,
    answers: &[LiveAnswer],
    again: Again,
    places: usize,
) -> Contest {
    let rules = &call.rules;
    let only_the_best_matter = rules.algorithm == Algorithm::HighestBid
        && rules.auction_type == AuctionType::FirstPrice
        && again == Again::No;
    let found = match rules.auction_type {
        _ if only_the_best_matter => index.search(call, market, places),
        AuctionType::SecondPrice => rivals(index, call, market, places),
        _ => index.search(call, market, POOL.max(places)),
    };
    let mut considered = index.considered(call, &found);
    let clocks = index.clocks(market.now);
    let mut entrants = standing_entrants(index, call, market, &found, &clocks);
    let mut live = live_entrants(index, call, market, answers, &mut entrants, &clocks);
    if let Again::Never(bid) = again
        && let Some(place) = entrants.iter().position(|entrant| entrant.bid == bid)
    {
        entrants.swap_remove(place);
        match live.iter_mut().find(|said| said.bid == bid) {
            Some(said) => said.refused = Some(Refusal::Duplicate),
            None => considered.refused.add(Refusal::Duplicate, 1),
        }
    }
    entrants.sort_unstable_by_key(Entrant::rank);
    let order = order(index, call, market, &entrants, again);
    let turn = turn(index, call, market, &entrants, &order);
    let contest = conclude(index, call, market, &entrants, &order, again, considered, live, places);
    Contest { turn, ..contest }
}

/// A pool with a runner-up in it for every place: wider than usual while one buyer alone stands behind the places. Nobody gets a
/// better price by crowding the others out of sight.
fn rivals(index: &BidIndex, call: &CallFacts, market: &Market, places: usize) -> Found {
    let mut wanted = POOL.max(places);
    loop {
        let found = index.search(call, market, wanted);
        let behind = found.offers.iter().skip(places).map(|(slot, _)| index.at(*slot).profile.buyer);
        // Bids with a first look are a tier of their own, and enter all the same.
        let mut behind = behind.filter(|buyer| !call.deal_of(*buyer).is_some_and(|deal| deal.first_look));
        let first = behind.next();
        let has_rivals = behind.any(|buyer| Some(buyer) != first);
        if has_rivals || found.offers.len() < wanted {
            return found;
        }
        wanted *= 8;
    }
}

fn turn(
    index: &BidIndex,
    call: &CallFacts,
    market: &Market,
    entrants: &[Entrant],
    order: &[usize],
) -> Option<(usize, u64)> {
    let first = *order.first()?;
    let by_share = call.rules.algorithm == Algorithm::Percentage;
    by_share.then(|| (entrants[first].slot, routing::turn(&contenders(index, market, entrants), first)))
}

/// The bids the index found, and those of the call's deals that it did not look for.
fn standing_entrants(
    index: &BidIndex,
    call: &CallFacts,
    market: &Market,
    found: &Found,
    clocks: &WallClocks,
) -> Vec<Entrant> {
    let mut entrants: Vec<Entrant> =
        found.offers.iter().map(|(slot, offer)| entrant(index, call, *slot, *offer, None)).collect();
    let dealt = call.deals.iter().flat_map(|deal| &deal.buyers).flat_map(|buyer| index.of_buyer(*buyer));
    for slot in dealt.copied() {
        let standing = index.at(slot);
        let is_candidate = standing.profile.vertical == call.vertical && standing.profile.live.is_none();
        if !is_candidate || entrants.iter().any(|entrant| entrant.slot == slot) {
            continue;
        }
        // What the search refused is not counted twice.
        if let Ok(offer) = offer(slot, standing, call, market, clocks) {
            entrants.push(entrant(index, call, slot, offer, None));
        }
    }
    entrants
}

/// Adds the live bids that can take the call; what each of those asked said goes on the receipt.
fn live_entrants(
    index: &BidIndex,
    call: &CallFacts,
    market: &Market,
    answers: &[LiveAnswer],
    entrants: &mut Vec<Entrant>,
    clocks: &WallClocks,
) -> Vec<LiveReceipt> {
    let mut said = Vec::with_capacity(answers.len());
    for answer in answers {
        let Some(slot) = index.slot(answer.bid) else { continue };
        let standing = index.at(slot);
        let mut receipt = LiveReceipt {
            bid: answer.bid,
            buyer: standing.profile.buyer,
            price_micros: None,
            missed: None,
            refused: None,
        };
        match &answer.said {
            LiveSaid::Nothing { reason } => receipt.missed = Some(*reason),
            LiveSaid::Bid { price_micros, min_connected_s, destination } => {
                receipt.price_micros = Some(*price_micros);
                let price = Price::PerCall { amount_micros: *price_micros };
                match priced_offer(slot, standing, price, call, market, clocks) {
                    Ok(offer) => {
                        let terms =
                            LiveTerms { min_connected_s: *min_connected_s, destination: destination.clone() };
                        entrants.push(entrant(index, call, slot, offer, Some(terms)));
                    }
                    Err(refusal) => receipt.refused = Some(refusal),
                }
            }
        }
        said.push(receipt);
    }
    said
}

fn entrant(
    index: &BidIndex,
    call: &CallFacts,
    slot: usize,
    offer: Offer,
    live: Option<LiveTerms>,
) -> Entrant {
    let profile = &index.at(slot).profile;
    let deal = call.deal_of(profile.buyer).map(|deal| (deal.id, deal.first_look));
    Entrant { bid: profile.id, slot, buyer: profile.buyer, priority: profile.priority, offer, deal, live }
}

/// The order in which entrants go, as places in `entrants`, which are sorted by rank.
fn order(
    index: &BidIndex,
    call: &CallFacts,
    market: &Market,
    entrants: &[Entrant],
    again: Again,
) -> Vec<usize> {
    let rules = &call.rules;
    let mut order: Vec<usize> = match (rules.algorithm, rules.auction_type) {
        (Algorithm::HighestBid, AuctionType::FixedPrice) => {
            let mut by_priority: Vec<usize> = (0..entrants.len()).collect();
            by_priority.sort_by_key(|place| (entrants[*place].priority, entrants[*place].bid));
            by_priority
        }
        (Algorithm::HighestBid, _) => (0..entrants.len()).collect(),
        (algorithm, _) => {
            let contenders = contenders(index, market, entrants);
            let skills = call.tags.get("skills").unwrap_or_default();
            let skills: Vec<&str> =
                skills.split(',').map(str::trim).filter(|skill| !skill.is_empty()).collect();
            let routed = RoutedCall { draw: call.draw, zip: call.zip, skills: &skills };
            routing::plan(algorithm, &contenders, &routed)
        }
    };
    // Both sorts are stable: within a tier the algorithm's order stands.
    if let Again::First(bid) = again {
        order.sort_by_key(|place| entrants[*place].bid != bid);
    }
    order.sort_by_key(|place| !entrants[*place].has_first_look());
    order
}

/// Entrants as routing sees them.
fn contenders<'a>(index: &'a BidIndex, market: &Market<'a>, entrants: &[Entrant]) -> Vec<Contender<'a>> {
    let contenders = entrants.iter().map(|entrant| {
        let profile = &index.at(entrant.slot).profile;
        Contender {
            id: entrant.bid,
            score: entrant.offer.score,
            expected: entrant.offer.expected,
            priority: entrant.priority,
            weight: profile.weight,
            quality: market.usages.record(entrant.slot).quality(),
            skills: &profile.skills,
            location: profile.location,
            record: market.usages.record(entrant.slot),
        }
    });
    contenders.collect()
}

/// Sets the prices, fills the plan, and tells the losers.
#[expect(clippy::too_many_arguments, reason = "the parts of one auction, put together once")]
fn conclude(
    index: &BidIndex,
    call: &CallFacts,
    market: &Market,
    entrants: &[Entrant],
    order: &[usize],
    again: Again,
    considered: Considered,
    live: Vec<LiveReceipt>,
    places: usize,
) -> Contest {
    let rules = &call.rules;
    let placed: Vec<(&Entrant, Price)> = order
        .iter()
        .take(places)
        .map(|place| {
            let entrant = &entrants[*place];
            (entrant, cleared(entrant, entrants, call.floor_for(entrant.buyer), rules))
        })
        .collect();
    let winner = placed.first().map(|(winner, _)| *winner);
    let by_score = winner.is_none_or(|winner| won_by_score(winner, again, rules));
    let losers = order.iter().skip(1).map(|place| &entrants[*place]);
    let kept = losers.enumerate().filter(|(place, loser)| *place < LOSSES_MAX || loser.live.is_some());
    let mut lost: Vec<Loss> =
        kept.filter_map(|(_, loser)| winner.map(|winner| loss(loser, winner, by_score, rules))).collect();
    lost.extend(live.iter().filter_map(|said| {
        let quality = index.slot(said.bid).map(|slot| market.usages.record(slot).quality());
        refused_loss(said, winner, by_score, call, quality)
    }));
    let notices = notices(&live, placed.first().copied(), &lost);
    let plan = placed
        .iter()
        .map(|(entrant, price)| {
            let profile = &index.at(entrant.slot).profile;
            let terms = entrant.live.as_ref();
            let min_connected_s = terms.and_then(|terms| terms.min_connected_s);
            Planned {
                bid: entrant.bid,
                price: *price,
                conversion: min_connected_s
                    .map_or(profile.conversion, |min_connected_s| Conversion { min_connected_s }),
                destination: terms.and_then(|terms| terms.destination.clone()),
            }
        })
        .collect();
    let receipt = AuctionReceipt {
        auction_type: rules.auction_type,
        algorithm: rules.algorithm,
        quality_adjusted: rules.quality_adjusted,
        floor_micros: call.floor,
        fraud_score: call.fraud_score,
        seller_quality: call.seller_quality,
        reservation: None,
        considered: considered.bids,
        refused: considered.refused.to_map(),
        live,
        ranking: placed.into_iter().map(|(entrant, price)| ranked(entrant, price, call, market)).collect(),
        lost,
    };
    Contest { receipt, plan, notices, turn: None }
}

fn ranked(entrant: &Entrant, price: Price, call: &CallFacts, market: &Market) -> RankedBid {
    let offer = entrant.offer;
    let is_predicted = call.rules.algorithm == Algorithm::Predictive;
    RankedBid {
        bid: entrant.bid,
        buyer: entrant.buyer,
        price,
        offered: (offer.price != price).then_some(offer.price),
        expected_micros: offer.expected,
        score_micros: (offer.score != offer.expected).then_some(offer.score),
        quality: offer.quality,
        deal: entrant.deal.map(|(deal, _)| deal),
        is_live: entrant.live.is_some(),
        estimate: is_predicted.then(|| routing::estimate(offer.expected, market.usages.record(entrant.slot))),
    }
}

/// Whether its score put the winner first, within its tier: a higher price would have had a better place.
fn won_by_score(winner: &Entrant, again: Again, rules: &TradingRules) -> bool {
    let by_score = rules.algorithm == Algorithm::HighestBid && rules.auction_type != AuctionType::FixedPrice;
    by_score && again != Again::First(winner.bid)
}

/// Why an entrant lost, and what it would have taken, where a price would have won for certain.
fn loss(loser: &Entrant, winner: &Entrant, by_score: bool, rules: &TradingRules) -> Loss {
    let beaten_by_deal = winner.has_first_look() && !loser.has_first_look();
    let reason = match by_score {
        _ if beaten_by_deal => LossReason::LostToDeal,
        true => LossReason::LostToHigherBid,
        false => LossReason::LostByRouting,
    };
    let by_price = reason == LossReason::LostToHigherBid;
    let min_to_win_micros =
        by_price.then(|| needed_to_score(winner.offer.score, Micros(1), loser.offer.quality, rules));
    Loss { bid: loser.bid, buyer: loser.buyer, reason, min_to_win_micros }
}

/// The loss of a live bid that was refused.
fn refused_loss(
    said: &LiveReceipt,
    winner: Option<&Entrant>,
    by_score: bool,
    call: &CallFacts,
    quality: Option<u16>,
) -> Option<Loss> {
    let deal = call.deal_of(said.buyer);
    let (reason, floor) = match said.refused? {
        Refusal::BelowFloor => (LossReason::BelowFloor, Some(call.floor)),
        Refusal::BelowDealFloor => (LossReason::BelowDealFloor, deal.map(|deal| deal.floor_micros)),
        _ => (LossReason::NotEligible, None),
    };
    let to_beat = match winner {
        None => Some(Micros::ZERO),
        Some(winner) if winner.has_first_look() && !deal.is_some_and(|deal| deal.first_look) => None,
        Some(winner) => {
            by_score.then(|| needed_to_score(winner.offer.score, Micros(1), quality, &call.rules))
        }
    };
    let min_to_win_micros = floor.zip(to_beat).map(|(floor, to_beat)| floor.max(to_beat));
    Some(Loss { bid: said.bid, buyer: said.buyer, reason, min_to_win_micros })
}

fn notices(
    live: &[LiveReceipt],
    winner: Option<(&Entrant, Price)>,
    lost: &[Loss],
) -> Vec<(BidProfileId, BidResult)> {
    let bidders = live.iter().filter(|said| said.price_micros.is_some());
    bidders
        .filter_map(|said| {
            if let Some((winner, price)) = winner
                && winner.bid == said.bid
            {
                return Some((said.bid, BidResult::Won { price_micros: price.amount() }));
            }
            let loss = lost.iter().find(|loss| loss.bid == said.bid)?;
            let (reason, min_to_win_micros) = (loss.reason, loss.min_to_win_micros);
            Some((said.bid, BidResult::Lost { reason, min_to_win_micros }))
        })
        .collect()
}
