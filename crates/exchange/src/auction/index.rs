//! The index over standing bids: per vertical a [`Board`], best first, so the first matches found are the best ones.

use crate::auction::board::{Board, Dimension, Filters, Query, Rank};
use crate::auction::buckets::Buckets;
use crate::auction::buyers::Buyers;
use crate::auction::matching::{CallFacts, Market, Offer, Refusal, Refusals, WallClocks, ZoneClock, offer};
use crate::auction::terms::Terms;
use crate::bid::price::highest;
use crate::bid::{BidProfile, BidStatus};
use crate::hash::FastMap;
use crate::id::{AccountId, BidProfileId};
use crate::ledger::money::Micros;
use crate::policy::Policy;
use crate::schedule::ZoneName;
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

/// How many of the best-ranked bids a receipt counts refusals of.
const TALLY_MAX: u32 = 4_096;

/// A bid profile with what is worked out once, when it is placed.
#[derive(Debug, Clone)]
pub struct StandingBid {
    /// The bid profile.
    pub profile: Arc<BidProfile>,
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
    /// By slot as well.
    terms: Vec<Terms>,
    slot_by_id: FastMap<BidProfileId, usize>,
    boards: FastMap<String, Board>,
    live_by_vertical: HashMap<String, Vec<usize>>,
    slots_by_buyer: FastMap<AccountId, Vec<usize>>,
    /// Cleared and filled again for each bid that is placed.
    filters: Filters,
    buckets: Buckets,
    zones: Vec<ZoneClock>,
    zone_by_name: HashMap<ZoneName, usize>,
}

/// A bid that is to be listed.
struct Listing {
    rank: Rank,
    columns: Box<[u16]>,
    slot: u32,
    is_active: bool,
}

/// The bids found for a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The bids that want the call, best first, at most as many as asked for.
    pub offers: Vec<(usize, Offer)>,
    /// Bids that passed the board's filters and were refused all the same, by reason.
    pub refused: Refusals,
    /// Where the search stopped; absent when it went to the end.
    pub stopped_at: Option<Rank>,
    /// What was asked of the board.
    query: Query,
}

/// How many bids a search passed over, by the first reason of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Considered {
    /// Bids looked at.
    pub bids: u32,
    /// Of those, how many were refused, by reason.
    pub refused: Refusals,
}

/// The most one call of this bid can be expected to bring, whatever its modifiers make of it.
pub fn listed(profile: &BidProfile, policy: &Policy) -> Micros {
    highest(profile.price, &profile.modifiers).expected(policy.typical_call_ms())
}

impl BidIndex {
    /// Places a bid, or puts it in place of its earlier version. Returns its slot, which stays its own for ever.
    pub fn put(&mut self, profile: Arc<BidProfile>, policy: &Policy, buyers: &Buyers) -> usize {
        let (standing, terms) = self.work_out(profile, policy, buyers);
        let slot = if let Some(slot) = self.slot_by_id.get(&standing.profile.id).copied() {
            self.unlist(slot, &standing);
            self.slots[slot] = standing;
            self.terms[slot] = terms;
            slot
        } else {
            self.add_slot(standing, terms)
        };
        self.list(slot);
        slot
    }

    /// Places all bids of a restored book, in an index that has none yet: [`BidIndex::put`] for each of them, several times as fast.
    /// What a profile says is read once, in the order the profiles lie in memory, and the boards are then filled best first.
    pub fn fill(
        &mut self,
        profiles: BTreeMap<BidProfileId, Arc<BidProfile>>,
        policy: &Policy,
        buyers: &Buyers,
    ) {
        debug_assert!(self.is_empty(), "slots are given in order");
        self.slots.reserve(profiles.len());
        self.terms.reserve(profiles.len());
        self.slot_by_id.reserve(profiles.len());
        let mut listings: FastMap<String, Vec<Listing>> = FastMap::default();
        for profile in profiles.into_values() {
            let (standing, terms) = self.work_out(profile, policy, buyers);
            let (rank, is_live) = (standing.rank(standing.listed), standing.profile.live.is_some());
            let slot = self.add_slot(standing, terms);
            if is_live {
                self.list(slot);
                continue;
            }
            let profile = &self.slots[slot].profile;
            let listing = Listing {
                rank,
                columns: self.filters.columns(),
                slot: number(slot),
                is_active: profile.status == BidStatus::Active,
            };
            match listings.get_mut(&profile.vertical) {
                Some(listings) => listings.push(listing),
                None => _ = listings.insert(profile.vertical.clone(), vec![listing]),
            }
        }
        for (vertical, mut listings) in listings {
            listings.sort_unstable_by_key(|listing| listing.rank);
            let board = self.boards.entry(vertical).or_default();
            for Listing { rank, columns, slot, is_active } in listings {
                board.append(slot, rank, columns);
                board.set_live(slot, is_active);
            }
        }
    }

    /// What is worked out of a profile once. Its filters are in `self.filters` afterwards.
    fn work_out(
        &mut self,
        profile: Arc<BidProfile>,
        policy: &Policy,
        buyers: &Buyers,
    ) -> (StandingBid, Terms) {
        let standing = StandingBid {
            listed: listed(&profile, policy),
            max_call_s: profile.max_call_s.unwrap_or(policy.max_call_s),
            typical_call_ms: policy.typical_call_ms(),
            zone: self.zone(&profile.schedule.time_zone),
            profile,
        };
        let criteria_are_exact = self.buckets.filters(&standing.profile.criteria, &mut self.filters);
        let buyer = buyers.number(standing.profile.buyer).unwrap_or(u32::MAX);
        let terms = Terms::of(&standing, buyer, criteria_are_exact);
        (standing, terms)
    }

    /// Gives a new bid its slot.
    fn add_slot(&mut self, standing: StandingBid, terms: Terms) -> usize {
        let slot = self.slots.len();
        self.slot_by_id.insert(standing.profile.id, slot);
        self.slots_by_buyer.entry(standing.profile.buyer).or_default().push(slot);
        self.slots.push(standing);
        self.terms.push(terms);
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

    /// All bids, by slot.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &StandingBid> {
        self.slots.iter()
    }

    /// The most one call can cost a bid whose price no modifier changes.
    pub fn hold(&self, slot: usize) -> Micros {
        self.terms[slot].hold()
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
        let Some(board) = self.boards.get(call.vertical) else { return Found::default() };
        let query = self.buckets.query(call);
        let mut found = Found { offers: Vec::with_capacity(wanted.min(64) + 1), ..Found::default() };
        let clocks = self.clocks(market.now);
        let mut worst = Rank::BEST;
        board.walk(&query, |slot, listed| {
            if found.offers.len() == wanted && listed > worst {
                found.stopped_at = Some(worst);
                return ControlFlow::Break(());
            }
            let slot = slot as usize;
            let expected = Micros(listed.price);
            match self.terms[slot].offer(slot, expected, &self.slots[slot], call, market, &clocks) {
                Ok(offer) => worst = self.add(&mut found.offers, (slot, offer), listed, worst, wanted),
                Err(reason) => found.refused.add(reason, 1),
            }
            ControlFlow::Continue(())
        });
        found.query = query;
        found
    }

    /// Adds an offer at the place of its rank, keeps the best `wanted`, and gives the rank of the last, which was `worst`.
    #[inline]
    fn add(
        &self,
        offers: &mut Vec<(usize, Offer)>,
        offer: (usize, Offer),
        listed: Rank,
        worst: Rank,
        wanted: usize,
    ) -> Rank {
        let rank = Rank { price: offer.1.score.0, ..listed };
        // Where the score is the listed price they come in order.
        if offers.is_empty() || worst < rank {
            if offers.len() < wanted {
                offers.push(offer);
                return rank;
            }
            return worst;
        }
        let rank_of = |(slot, offer): &(usize, Offer)| self.slots[*slot].rank(offer.score);
        let place = offers.partition_point(|better| rank_of(better) < rank);
        offers.insert(place, offer);
        offers.truncate(wanted);
        offers.last().map_or(worst, rank_of)
    }

    /// What a search that found this passed over: a sample of the best-priced bids where there are very many.
    pub fn considered(&self, call: &CallFacts, found: &Found) -> Considered {
        let mut considered = Considered { bids: 0, refused: found.refused };
        let Some(board) = self.boards.get(call.vertical) else { return considered };
        let tally = board.tally(&found.query, found.stopped_at, TALLY_MAX);
        considered.bids = tally.looked_at;
        let by_dimension = Dimension::ALL.into_iter().zip(tally.refused);
        let by_dimension = by_dimension.map(|(dimension, count)| (refusal_by(dimension), count));
        for (refusal, count) in by_dimension.chain([(Refusal::Paused, tally.not_live)]) {
            considered.refused.add(refusal, count);
        }
        considered
    }

    /// The same answer as [`BidIndex::search`] by looking at every bid and sorting: the oracle of its tests and the
    /// yardstick of its benchmark.
    pub fn scan(&self, call: &CallFacts, market: &Market, wanted: usize) -> Vec<(usize, Offer)> {
        let clocks = self.clocks(market.now);
        let of_the_vertical = self.slots.iter().enumerate().filter(|(_, standing)| {
            standing.profile.vertical == call.vertical && standing.profile.live.is_none()
        });
        let mut matching: Vec<(usize, Offer)> = of_the_vertical
            .filter_map(|(slot, standing)| {
                offer(slot, standing, call, market, &clocks).ok().map(|offer| (slot, offer))
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
        self.zones.push(ZoneClock::new(name.time_zone()));
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
        let rank = standing.rank(standing.listed);
        let number = number(slot);
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
            board.remove(number(slot));
        }
    }
}

/// A slot as boards number it.
fn number(slot: usize) -> u32 {
    u32::try_from(slot).expect("fewer than four billion bids")
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
