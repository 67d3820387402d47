//! Terms: what a search asks of nearly every bid it meets, worked out when the bid is placed, on one cache line.
//!
//! The answer is always that of [`offer`]; the terms only know when the long way to it can be spared.

use crate::auction::index::StandingBid;
use crate::auction::matching::{CallFacts, Market, Offer, Refusal, WallClocks, cap_refusal, offer};
use crate::bid::Price;
use crate::ledger::money::Micros;
use crate::schedule::{DaySet, LocalTime, Schedule};
use std::cell::Cell;

/// One bid's terms.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub(super) struct Terms {
    buyer: u32,
    zone: u16,
    price: Price,
    hold: Micros,
    hours: Hours,
    /// The board decides about its criteria exactly, and its price is the same for every call.
    is_plain: bool,
}

/// When the target is open.
#[derive(Debug, Clone)]
enum Hours {
    /// The same hours on some days of every week: from the first minute to before the second.
    Weekly { days: DaySet, from: u16, to: u16 },
    /// Anything else. The minute for which it is known whether it is open, doubled, and one more if it is.
    Other { known: Cell<i64> },
}

impl Hours {
    fn of(schedule: &Schedule) -> Self {
        match schedule.weekly() {
            Some((days, from, to)) => Self::Weekly { days, from: from.0, to: to.0 },
            None => Self::Other { known: Cell::new(i64::MIN) },
        }
    }
}

impl Terms {
    pub(super) fn of(standing: &StandingBid, buyer: u32, criteria_are_exact: bool) -> Self {
        let profile = &standing.profile;
        Self {
            buyer,
            zone: u16::try_from(standing.zone).expect("there are fewer than a thousand time zones"),
            price: profile.price,
            hold: profile.price.most(standing.max_call_s),
            hours: Hours::of(&profile.schedule),
            is_plain: criteria_are_exact && profile.modifiers.is_empty(),
        }
    }

    /// The most one of its calls can cost.
    pub(super) fn hold(&self) -> Micros {
        self.hold
    }

    /// What the bid, listed at `expected`, offers for a call that its board admits, as [`offer`] says it.
    #[inline]
    pub(super) fn offer(
        &self,
        slot: usize,
        expected: Micros,
        standing: &StandingBid,
        call: &CallFacts,
        market: &Market,
        clocks: &WallClocks,
    ) -> Result<Offer, Refusal> {
        if !self.is_plain || call.rules.quality_adjusted || !call.deals.is_empty() {
            return offer(slot, standing, call, market, clocks);
        }
        if expected < call.floor {
            return Err(Refusal::BelowFloor);
        }
        let has_room = market.usages.has_room(slot);
        if !has_room && market.usages.is_resting(slot, market.now) {
            return Err(Refusal::Resting);
        }
        let Some(buyer) = market.buyers.at(self.buyer).filter(|buyer| buyer.is_active) else {
            return Err(Refusal::BuyerNotActive);
        };
        if buyer.currency != call.currency {
            return Err(Refusal::Currency);
        }
        let local = clocks.read(usize::from(self.zone));
        if !self.is_open(standing, &local, clocks.minute()) {
            return Err(Refusal::Closed);
        }
        if !has_room {
            let checked = market.usages.check(slot, &standing.profile, &local, self.hold, market.now);
            checked.map_err(cap_refusal)?;
            market.usages.note_room(slot, &standing.profile.caps);
        }
        if buyer.spendable < self.hold {
            return Err(Refusal::InsufficientFunds);
        }
        Ok(Offer { price: self.price, expected, score: expected, quality: None })
    }

    #[inline]
    fn is_open(&self, standing: &StandingBid, local: &LocalTime, minute: i64) -> bool {
        let known = match &self.hours {
            Hours::Weekly { days, from, to } => {
                return days.contains(local.weekday) && (*from..*to).contains(&local.minute_of_day);
            }
            Hours::Other { known } => known,
        };
        if known.get().div_euclid(2) == minute {
            return known.get().rem_euclid(2) == 1;
        }
        let is_open = standing.profile.schedule.is_open(local);
        known.set(minute * 2 + i64::from(is_open));
        is_open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_terms_of_a_bid_are_one_cache_line() {
        assert_eq!(size_of::<Terms>(), 64);
    }
}
