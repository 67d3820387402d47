//! The index over standing bids: per vertical, best first, so the first matches found are the best ones.

use crate::auction::matching::{CallFacts, Market, Offer, Refusal, WallClocks, offer};
use crate::bid::BidProfile;
use crate::bid::price::highest;
use crate::hash::FastMap;
use crate::id::{AccountId, BidProfileId};
use crate::ledger::money::Micros;
use crate::policy::Policy;
use crate::schedule::ZoneName;
use jiff::tz::TimeZone;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

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

/// The order of an auction: highest score, then lowest priority number, then the earlier bid.
pub type Rank = (Reverse<Micros>, u8, BidProfileId);

impl StandingBid {
    /// Where it ranks with this score.
    pub fn rank(&self, score: Micros) -> Rank {
        (Reverse(score), self.profile.priority, self.profile.id)
    }
}

/// All standing bids.
#[derive(Debug, Clone, Default)]
pub struct BidIndex {
    slots: Vec<StandingBid>,
    slot_by_id: FastMap<BidProfileId, usize>,
    best_first_by_vertical: HashMap<String, Vec<usize>>,
    live_by_vertical: HashMap<String, Vec<usize>>,
    slots_by_buyer: FastMap<AccountId, Vec<usize>>,
    zones: Vec<TimeZone>,
    zone_by_name: HashMap<ZoneName, usize>,
}

/// The bids found for a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Bids looked at.
    pub considered: u32,
    /// Of those, how many were refused, by reason.
    pub refused: BTreeMap<Refusal, u32>,
    /// The bids that want the call, best first, at most as many as asked for.
    pub offers: Vec<(usize, Offer)>,
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
            self.unlist(slot);
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
        let mut found = Found::default();
        let mut clocks = self.clocks(market.now);
        let best_first = self.best_first_by_vertical.get(call.vertical).map_or(&[][..], Vec::as_slice);
        for slot in best_first {
            let standing = &self.slots[*slot];
            let worst = found.offers.last().map(|(slot, offer)| self.slots[*slot].rank(offer.score));
            let full = found.offers.len() == wanted;
            if full && worst.is_some_and(|worst| standing.rank(standing.listed) > worst) {
                break;
            }
            found.considered += 1;
            match offer(*slot, standing, call, market, &mut clocks) {
                Ok(offer) => self.keep_best(&mut found.offers, (*slot, offer), wanted),
                Err(reason) => *found.refused.entry(reason).or_default() += 1,
            }
        }
        found
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
        let vertical = standing.profile.vertical.clone();
        if standing.profile.live.is_some() {
            self.live_by_vertical.entry(vertical).or_default().push(slot);
            return;
        }
        let rank = standing.rank(standing.listed);
        let best_first = self.best_first_by_vertical.entry(vertical).or_default();
        let place = best_first.partition_point(|other| {
            let other = &self.slots[*other];
            other.rank(other.listed) < rank
        });
        best_first.insert(place, slot);
    }

    fn unlist(&mut self, slot: usize) {
        let standing = &self.slots[slot];
        let vertical = &standing.profile.vertical;
        let list = if standing.profile.live.is_some() {
            &mut self.live_by_vertical
        } else {
            &mut self.best_first_by_vertical
        };
        let listed = list.get_mut(vertical).expect("a listed bid has its vertical");
        listed.retain(|other| *other != slot);
    }
}
