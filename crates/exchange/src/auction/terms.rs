//! Terms: what a search asks of nearly every bid it meets, worked out when the bid is placed, on one cache line.
//!
//! The answer is always that of [`offer`]; the terms only know when the long way to it can be spared.

use crate::auction::index::StandingBid;
use crate::auction::matching::{CallFacts, Market, Offer, Refusal, WallClocks, cap_refusal, offer};
use crate::bid::Price;
use crate::ledger::money::Micros;
use std::cell::Cell;

/// Microseconds in a minute: opening hours change on whole minutes.
const MINUTE_MICROS: i64 = 60_000_000;

/// One bid's terms.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    buyer: u32,
    price: Price,
    expected: Micros,
    hold: Micros,
    /// The minute for which it is known whether the target is open, and whether it is.
    open: Cell<(i64, bool)>,
    concurrent_calls_max: u32,
    /// The board decides about its criteria exactly, and its price is the same for every call.
    is_plain: bool,
    /// Its only cap, if any, is on calls at the same time.
    is_simply_capped: bool,
}

impl Terms {
    pub(super) fn of(standing: &StandingBid, buyer: u32, criteria_are_exact: bool) -> Self {
        let profile = &standing.profile;
        let caps = &profile.caps;
        let is_simply_capped =
            caps.concurrent_calls_by_hour.is_empty() && caps.limits.is_empty() && caps.group.is_none();
        Self {
            buyer,
            price: profile.price,
            expected: standing.listed,
            hold: profile.price.most(standing.max_call_s),
            open: Cell::new((i64::MIN, false)),
            concurrent_calls_max: caps.concurrent_calls.unwrap_or(u32::MAX),
            is_plain: criteria_are_exact && profile.modifiers.is_empty(),
            is_simply_capped,
        }
    }

    /// What the bid offers for a call that its board admits, as [`offer`] says it.
    pub(super) fn offer(
        &self,
        slot: usize,
        standing: &StandingBid,
        call: &CallFacts,
        market: &Market,
        clocks: &WallClocks,
    ) -> Result<Offer, Refusal> {
        if !self.is_plain || call.rules.quality_adjusted || !call.deals.is_empty() {
            return offer(slot, standing, call, market, clocks);
        }
        if self.expected < call.floor {
            return Err(Refusal::BelowFloor);
        }
        if market.usages.is_resting(slot, market.now) {
            return Err(Refusal::Resting);
        }
        let Some(buyer) = market.buyers.at(self.buyer).filter(|buyer| buyer.is_active) else {
            return Err(Refusal::BuyerNotActive);
        };
        if buyer.currency != call.currency {
            return Err(Refusal::Currency);
        }
        if !self.is_open(standing, market, clocks) {
            return Err(Refusal::Closed);
        }
        if !self.is_simply_capped {
            let local = clocks.read(standing.zone);
            if let Err(cap) = market.usages.check(slot, &standing.profile, &local, self.hold, market.now) {
                return Err(cap_refusal(cap));
            }
        } else if market.usages.concurrent_calls(slot) >= self.concurrent_calls_max {
            return Err(Refusal::ConcurrencyCap);
        }
        if buyer.spendable < self.hold {
            return Err(Refusal::InsufficientFunds);
        }
        Ok(Offer { price: self.price, expected: self.expected, score: self.expected, quality: None })
    }

    fn is_open(&self, standing: &StandingBid, market: &Market, clocks: &WallClocks) -> bool {
        let minute = market.now.0.div_euclid(MINUTE_MICROS);
        let (known, is_open) = self.open.get();
        if known == minute {
            return is_open;
        }
        let is_open = standing.profile.schedule.is_open(&clocks.read(standing.zone));
        self.open.set((minute, is_open));
        is_open
    }
}
