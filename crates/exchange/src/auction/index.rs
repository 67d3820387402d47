//! The index over standing bids: per vertical a [`Board`], best first, so the first matches found are the best ones.

use crate::auction::board::{Board, Dimension, Filters, Query, Rank};
use crate::auction::matching::{CallFacts, Market, Offer, Refusal, WallClocks, offer};
use crate::bid::criteria::{Attestation, Criteria, TagTest};
use crate::bid::price::highest;
use crate::bid::{BidProfile, BidStatus};
use crate::hash::FastMap;
use crate::id::{AccountId, BidProfileId};
use crate::ledger::money::Micros;
use crate::place::{Language, State};
use crate::policy::Policy;
use crate::schedule::ZoneName;
use crate::tracking_number::CallOrigin;
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

/// How many of the best-ranked bids a receipt counts refusals of.
const TALLY_MAX: u32 = 4_096;

/// A bid profile with what is worked out once, when it is placed.
#[derive(Debug, Clone)]
pub struct StandingBid {
    /// The bid profile.
    pub profile: BidProfile,
    /// The most one call can be expected to bring, in micro-units, whatever its modifiers make of it: its place in the index.
    pub listed: Micros,
    /// The longest a call may last, in seconds.
    pub max_call_s: u32,
    /// The connected time at which prices per minute are compared with others, in milliseconds.
    pub typical_call_ms: u64,
    /// Its schedule's time zone, in the index's list of zones.
    pub zone: usize,
}

impl StandingBid {
    /// Where it ranks with this score.
    pub fn rank(&self, score: Micros) -> Rank {
        Rank { price: score.0, priority: self.profile.priority, id: self.profile.id.0.as_u128() }
    }
}

/// All standing bids.
#[derive(Debug, Default)]
pub struct BidIndex {
    slots: Vec<StandingBid>,
    slot_by_id: FastMap<BidProfileId, usize>,
    boards: HashMap<String, Board, foldhash::fast::RandomState>,
    live_by_vertical: HashMap<String, Vec<usize>>,
    slots_by_buyer: FastMap<AccountId, Vec<usize>>,
    /// Cleared and filled again for each bid that is placed.
    filters: Filters,
    zones: Vec<TimeZone>,
    zone_by_name: HashMap<ZoneName, usize>,
}

/// The bids found for a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The bids that want the call, best first, at most as many as asked for.
    pub offers: Vec<(usize, Offer)>,
    /// Bids that passed the board's filters and were refused all the same, by reason.
    pub refused: BTreeMap<Refusal, u32>,
    /// Where the search stopped; absent when it went to the end.
    pub stopped_at: Option<Rank>,
}

/// How many bids a search passed over, by the first reason of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Considered {
    /// Bids looked at.
    pub bids: u32,
    /// Of those, how many were refused, by reason.
    pub refused: BTreeMap<Refusal, u32>,
}

impl BidIndex {
    /// Places a bid, or puts it in place of its earlier version. Returns its slot, which stays its own for ever.
    pub fn put(&mut self, profile: BidProfile, policy: &Policy) -> usize {
        let typical_call_ms = u64::from(policy.typical_call_s) * 1_000;
        let standing = StandingBid {
            listed: highest(profile.price, &profile.modifiers).expected(typical_call_ms),
            max_call_s: profile.max_call_s.unwrap_or(policy.max_call_s),
            typical_call_ms,
            zone: self.zone(&profile.schedule.time_zone),
            profile,
        };
        let slot = if let Some(slot) = self.slot_by_id.get(&standing.profile.id).copied() {
            self.unlist(slot, &standing);
            self.slots[slot] = standing;
            slot
        } else {
            let slot = self.slots.len();
            self.slot_by_id.insert(standing.profile.id, slot);
            self.slots_by_buyer.entry(standing.profile.buyer).or_default().push(slot);
            self.slots.push(standing);
            slot
        };
        self.list(slot);
        slot
    }

    /// The slot of a bid.
    pub fn slot(&self, id: BidProfileId) -> Option<usize> {
        self.slot_by_id.get(&id).copied()
    }

    /// One bid by its identity.
    pub fn get(&self, id: BidProfileId) -> Option<&StandingBid> {
        self.slot(id).map(|slot| &self.slots[slot])
    }

    /// One bid by its slot.
    pub fn at(&self, slot: usize) -> &StandingBid {
        &self.slots[slot]
    }

    /// The slots of a buyer's bids.
    pub fn of_buyer(&self, buyer: AccountId) -> &[usize] {
        self.slots_by_buyer.get(&buyer).map_or(&[], Vec::as_slice)
    }

    /// The slots of a vertical's live bidders.
    pub fn live(&self, vertical: &str) -> &[usize] {
        self.live_by_vertical.get(vertical).map_or(&[], Vec::as_slice)
    }

    /// How many bids there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// The memory of the boards that are searched, in bytes.
    pub fn board_bytes(&self) -> usize {
        self.boards.values().map(Board::bytes).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The wall clocks of the bids' time zones.
    pub fn clocks(&self, now: crate::time::Timestamp) -> WallClocks<'_> {
        WallClocks::new(&self.zones, now)
    }

    /// The best `wanted` bids for a call. Looks from the highest price down and stops when nothing further down can be better
    /// than what it has.
    pub fn search(&self, call: &CallFacts, market: &Market, wanted: usize) -> Found {
        let mut found = Found { offers: Vec::with_capacity(wanted.min(64) + 1), ..Found::default() };
        let Some(board) = self.boards.get(call.vertical) else { return found };
        let mut clocks = self.clocks(market.now);
        let mut worst = None;
        board.walk(&query(call), |slot, listed| {
            if worst.is_some_and(|worst| listed > worst) {
                found.stopped_at = worst;
                return ControlFlow::Break(());
            }
            let slot = slot as usize;
            match offer(slot, &self.slots[slot], call, market, &mut clocks) {
                Ok(offer) => {
                    self.keep_best(&mut found.offers, (slot, offer), wanted);
                    worst =
                        found.offers.get(wanted - 1).map(|(slot, offer)| self.slots[*slot].rank(offer.score));
                }
                Err(reason) => *found.refused.entry(reason).or_default() += 1,
            }
            ControlFlow::Continue(())
        });
        found
    }

    /// What a search that found this passed over: a sample of the best-priced bids where there are very many.
    pub fn considered(&self, call: &CallFacts, found: &Found) -> Considered {
        let mut considered = Considered { bids: 0, refused: found.refused.clone() };
        let Some(board) = self.boards.get(call.vertical) else { return considered };
        let tally = board.tally(&query(call), found.stopped_at, TALLY_MAX);
        considered.bids = tally.looked_at;
        let by_dimension = Dimension::ALL.into_iter().zip(tally.refused);
        let by_dimension = by_dimension.map(|(dimension, count)| (refusal_by(dimension), count));
        for (refusal, count) in by_dimension.chain([(Refusal::Paused, tally.not_live)]) {
            if count > 0 {
                *considered.refused.entry(refusal).or_default() += count;
            }
        }
        considered
    }

    /// Puts an offer in its place among the best so far.
    fn keep_best(&self, offers: &mut Vec<(usize, Offer)>, (slot, offer): (usize, Offer), wanted: usize) {
        let rank = self.slots[slot].rank(offer.score);
        let place = offers.partition_point(|(slot, offer)| self.slots[*slot].rank(offer.score) < rank);
        if place < wanted {
            offers.insert(place, (slot, offer));
            offers.truncate(wanted);
        }
    }

    /// The same answer as [`BidIndex::search`] by looking at every bid and sorting: the oracle of its tests and the
    /// yardstick of its benchmark.
    pub fn scan(&self, call: &CallFacts, market: &Market, wanted: usize) -> Vec<(usize, Offer)> {
        let mut clocks = self.clocks(market.now);
        let of_the_vertical = self.slots.iter().enumerate().filter(|(_, standing)| {
            standing.profile.vertical == call.vertical && standing.profile.live.is_none()
        });
        let mut matching: Vec<(usize, Offer)> = of_the_vertical
            .filter_map(|(slot, standing)| {
                offer(slot, standing, call, market, &mut clocks).ok().map(|offer| (slot, offer))
            })
            .collect();
        matching.sort_by_key(|(slot, offer)| self.slots[*slot].rank(offer.score));
        matching.truncate(wanted);
        matching
    }

    fn zone(&mut self, name: &ZoneName) -> usize {
        if let Some(zone) = self.zone_by_name.get(name) {
            return *zone;
        }
        self.zones.push(name.time_zone());
        self.zone_by_name.insert(name.clone(), self.zones.len() - 1);
        self.zones.len() - 1
    }

    fn list(&mut self, slot: usize) {
        let standing = &self.slots[slot];
        let profile = &standing.profile;
        if profile.live.is_some() {
            // By age, whatever the order they were placed in, so that a restored book asks in the same order.
            let live = self.live_by_vertical.entry(profile.vertical.clone()).or_default();
            let place = live.partition_point(|other| self.slots[*other].profile.id < profile.id);
            live.insert(place, slot);
            return;
        }
        filters(&profile.criteria, &mut self.filters);
        let rank = standing.rank(standing.listed);
        let number = u32::try_from(slot).expect("fewer than four billion bids");
        if !self.boards.contains_key(&profile.vertical) {
            self.boards.insert(profile.vertical.clone(), Board::default());
        }
        let board = self.boards.get_mut(&profile.vertical).expect("just made");
        board.put(number, rank, &self.filters);
        board.set_live(number, profile.status == BidStatus::Active);
    }

    /// Takes a bid out of where `next` does not stand; its board replaces it in place otherwise.
    fn unlist(&mut self, slot: usize, next: &StandingBid) {
        let profile = &self.slots[slot].profile;
        if profile.live.is_some() {
            let live = self.live_by_vertical.get_mut(&profile.vertical).expect("a live bid has its vertical");
            live.retain(|other| *other != slot);
        } else if next.profile.live.is_some() || next.profile.vertical != profile.vertical {
            let board = self.boards.get_mut(&profile.vertical).expect("a listed bid has its board");
            board.remove(u32::try_from(slot).expect("fewer than four billion bids"));
        }
    }
}

/// Which dimension of the board stands for which reason.
fn refusal_by(dimension: Dimension) -> Refusal {
    match dimension {
        Dimension::Origin => Refusal::Origin,
        Dimension::State => Refusal::State,
        Dimension::AreaCode => Refusal::AreaCode,
        Dimension::Zip3 => Refusal::Zip,
        Dimension::Language => Refusal::Language,
        Dimension::Attestation => Refusal::Attestation,
        Dimension::Seller => Refusal::Seller,
        Dimension::Tag => Refusal::Tags,
    }
}

/// What a board can filter of a bid's criteria. A radius, denied sellers, and all but one positive tag rule are left to the exact
/// check, as is whatever shares a bucket.
fn filters(criteria: &Criteria, filters: &mut Filters) {
    filters.clear();
    criteria.origins.iter().for_each(|origin| filters.admit(Dimension::Origin, origin_bucket(*origin)));
    criteria.states.iter().for_each(|state| filters.admit(Dimension::State, state_bucket(*state)));
    for area_code in &criteria.area_codes {
        filters.admit(Dimension::AreaCode, area_code.saturating_sub(200));
    }
    if criteria.zip_radius.is_none() {
        criteria.zips.iter().for_each(|zip| filters.admit(Dimension::Zip3, zip3(*zip)));
    }
    for language in &criteria.languages {
        filters.admit(Dimension::Language, language_bucket(*language));
    }
    if let Some(least) = criteria.min_attestation {
        let enough = [Attestation::A, Attestation::B, Attestation::C].into_iter().filter(|it| *it >= least);
        enough.for_each(|enough| filters.admit(Dimension::Attestation, enough as u16));
    }
    criteria.sellers.iter().for_each(|seller| filters.admit(Dimension::Seller, seller_bucket(*seller)));
    let positive = criteria.tags.iter().filter(|rule| !rule.not);
    let mut values = positive.filter_map(|rule| match &rule.is {
        TagTest::Equals(value) => Some((&rule.name, std::slice::from_ref(value).iter().collect::<Vec<_>>())),
        TagTest::In(values) => Some((&rule.name, values.iter().collect())),
        _ => None,
    });
    if let Some((name, values)) = values.next() {
        filters.name(Dimension::Tag);
        values.into_iter().for_each(|value| filters.admit(Dimension::Tag, tag_bucket(name, value)));
    }
}

/// Where a call falls in each dimension.
fn query(call: &CallFacts) -> Query {
    let mut query = Query::default();
    query.add(Dimension::Origin, origin_bucket(call.origin));
    if let Some(state) = call.state {
        query.add(Dimension::State, state_bucket(state));
    }
    if let Some(area_code) = call.area_code {
        query.add(Dimension::AreaCode, area_code.saturating_sub(200));
    }
    if let Some(zip) = call.zip {
        query.add(Dimension::Zip3, zip3(zip));
    }
    if let Some(language) = call.language {
        query.add(Dimension::Language, language_bucket(language));
    }
    if let Some(attestation) = call.attestation {
        query.add(Dimension::Attestation, attestation as u16);
    }
    query.add(Dimension::Seller, seller_bucket(call.seller));
    for (name, value) in call.tags.iter() {
        query.add(Dimension::Tag, tag_bucket(name, value));
    }
    query
}

fn origin_bucket(origin: CallOrigin) -> u16 {
    origin as u16
}

fn letters_bucket([first, second]: [u8; 2]) -> u16 {
    u16::from(first & 31) * 26 + u16::from(second & 31)
}

fn state_bucket(state: State) -> u16 {
    letters_bucket(state.letters())
}

fn language_bucket(language: Language) -> u16 {
    letters_bucket(language.letters())
}

fn zip3(zip: crate::place::Zip) -> u16 {
    u16::try_from(zip.number() / 100).expect("three digits")
}

fn seller_bucket(seller: AccountId) -> u16 {
    hashed(seller.0.as_bytes().iter())
}

fn tag_bucket(name: &str, value: &str) -> u16 {
    hashed(name.as_bytes().iter().chain(b"=").chain(value.as_bytes()))
}

/// FNV-1a (Fowler, Noll, Vo), folded to 16 bits: the same in every process, so that boards are.
fn hashed<'a>(bytes: impl Iterator<Item = &'a u8>) -> u16 {
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let folded = hash ^ (hash >> 32);
    u16::try_from((folded ^ (folded >> 16)) & 0xffff).expect("16 bits")
}
