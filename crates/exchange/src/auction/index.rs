//! The index over standing bids: per vertical, best first, so the first matches found are the best ones.

use crate::auction::matching::{CallFacts, Market, Refusal, WallClocks, refusal};
use crate::bid::{BidProfile, State};
use crate::id::BidProfileId;
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
    /// What one call is expected to bring, in micro-units: the price of a typical call.
    pub expected: Micros,
    /// The most one call can cost, in micro-units: what is held.
    pub hold: Micros,
    /// The longest a call may last, in seconds.
    pub max_call_s: u32,
    /// Its schedule's time zone, in the index's list of zones.
    pub zone: usize,
}

impl StandingBid {
    /// The order of the auction: highest expected price, then lowest priority number, then the earlier bid.
    fn rank(&self) -> (Reverse<Micros>, u8, BidProfileId) {
        (Reverse(self.expected), self.profile.priority, self.profile.id)
    }
}

/// What most bids are refused by, side by side in the order of the search: a search that refuses a hundred bids reads a few
/// cache lines instead of a hundred bids.
#[derive(Debug, Clone)]
struct Listed {
    slot: usize,
    expected: Micros,
    /// A filter over the states of the criteria: a state whose bit is missing is not among them. All bits when any is taken.
    states: u128,
}

impl Listed {
    fn new(slot: usize, standing: &StandingBid) -> Self {
        let states = &standing.profile.criteria.states;
        let bits = states.iter().fold(0, |bits, state| bits | state_bit(*state));
        Self { slot, expected: standing.expected, states: if states.is_empty() { u128::MAX } else { bits } }
    }

    /// Whether the bid can be refused without looking at it: only for reasons that come first in [`refusal`].
    fn refusal(&self, call: &CallFacts, state: u128) -> Option<Refusal> {
        if self.expected < call.floor {
            return Some(Refusal::BelowFloor);
        }
        (self.states & state == 0 && self.states != u128::MAX).then_some(Refusal::State)
    }
}

/// One of 128 bits; the 69 states, territories and provinces of North America share few.
fn state_bit(state: State) -> u128 {
    let [first, second] = state.letters();
    1 << ((u32::from(first - b'A') * 26 + u32::from(second - b'A')) % 127)
}

/// All standing bids.
#[derive(Debug, Clone, Default)]
pub struct BidIndex {
    slots: Vec<StandingBid>,
    slot_by_id: HashMap<BidProfileId, usize>,
    best_first_by_vertical: HashMap<String, Vec<Listed>>,
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
    /// Slots of the bids that want the call, best first, at most as many as asked for.
    pub slots: Vec<usize>,
}

impl BidIndex {
    /// Places a bid, or puts it in place of its earlier version.
    pub fn put(&mut self, profile: BidProfile, policy: &Policy) {
        let max_call_s = profile.max_call_s.unwrap_or(policy.max_call_s);
        let standing = StandingBid {
            expected: profile.price.charge(u64::from(policy.typical_call_s) * 1_000),
            hold: profile.price.most(max_call_s),
            max_call_s,
            zone: self.zone(&profile.schedule.time_zone),
            profile,
        };
        let slot = if let Some(slot) = self.slot_by_id.get(&standing.profile.id).copied() {
            self.unlist(slot);
            self.slots[slot] = standing;
            slot
        } else {
            self.slot_by_id.insert(standing.profile.id, self.slots.len());
            self.slots.push(standing);
            self.slots.len() - 1
        };
        self.list(slot);
    }

    /// One bid by its identity.
    pub fn get(&self, id: BidProfileId) -> Option<&StandingBid> {
        self.slot_by_id.get(&id).map(|slot| &self.slots[*slot])
    }

    /// One bid by the slot that a search found.
    pub fn at(&self, slot: usize) -> &StandingBid {
        &self.slots[slot]
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

    /// The best `wanted` bids for a call. Looks from the best price down and stops when it has enough, or when prices
    /// fall below the floor.
    pub fn search(&self, call: &CallFacts, market: &Market, wanted: usize) -> Found {
        let mut found = Found::default();
        let mut clocks = self.clocks(market.now);
        let best_first = self.best_first_by_vertical.get(call.vertical).map_or(&[][..], Vec::as_slice);
        let state = call.state.map_or(0, state_bit);
        for listed in best_first {
            if found.slots.len() == wanted {
                break;
            }
            found.considered += 1;
            let refused = listed
                .refusal(call, state)
                .or_else(|| refusal(&self.slots[listed.slot], call, market, &mut clocks));
            match refused {
                None => found.slots.push(listed.slot),
                Some(reason) => {
                    *found.refused.entry(reason).or_default() += 1;
                    if reason == Refusal::BelowFloor {
                        break;
                    }
                }
            }
        }
        found
    }

    /// The same answer as [`BidIndex::search`] by looking at every bid and sorting: the oracle of its tests and the
    /// yardstick of its benchmark.
    pub fn scan(&self, call: &CallFacts, market: &Market, wanted: usize) -> Vec<usize> {
        let mut clocks = self.clocks(market.now);
        let mut matching: Vec<usize> = (0..self.slots.len())
            .filter(|slot| {
                let standing = &self.slots[*slot];
                standing.profile.criteria.vertical == call.vertical
                    && refusal(standing, call, market, &mut clocks).is_none()
            })
            .collect();
        matching.sort_by_key(|slot| self.slots[*slot].rank());
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
        let rank = self.slots[slot].rank();
        let vertical = self.slots[slot].profile.criteria.vertical.clone();
        let best_first = self.best_first_by_vertical.entry(vertical).or_default();
        let place = best_first.partition_point(|other| self.slots[other.slot].rank() < rank);
        best_first.insert(place, Listed::new(slot, &self.slots[slot]));
    }

    fn unlist(&mut self, slot: usize) {
        let rank = self.slots[slot].rank();
        let vertical = &self.slots[slot].profile.criteria.vertical;
        let best_first =
            self.best_first_by_vertical.get_mut(vertical).expect("a listed bid has its vertical");
        let place = best_first.partition_point(|other| self.slots[other.slot].rank() < rank);
        debug_assert_eq!(best_first[place].slot, slot, "ranks are unique because ids are");
        best_first.remove(place);
    }
}
