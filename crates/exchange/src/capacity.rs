//! Capacity: how many calls and how much of its daily caps each bid has in use.

use crate::bid::Caps;
use crate::effect::DailyUsage;
use crate::id::BidProfileId;
use crate::ledger::money::Micros;
use crate::schedule::CalendarDay;
use std::collections::HashMap;

/// Which cap is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CapReached {
    /// Calls at the same time.
    ConcurrentCalls,
    /// Calls today.
    DailyCalls,
    /// Money today.
    DailySpend,
}

/// What every bid has in use. A bid that never took a call has no entry.
#[derive(Debug, Clone, Default)]
pub struct Capacity {
    in_use: HashMap<BidProfileId, InUse>,
}

#[derive(Debug, Clone, Copy)]
struct InUse {
    concurrent_calls: u32,
    day: CalendarDay,
    day_calls: u32,
    day_spend: Micros,
}

impl InUse {
    fn on(day: CalendarDay) -> Self {
        Self { concurrent_calls: 0, day, day_calls: 0, day_spend: Micros::ZERO }
    }

    /// A new day begins at nothing; calls in progress go on. A clock that stepped back does not bring a day back.
    fn turn_to(&mut self, day: CalendarDay) {
        if day > self.day {
            *self = Self { concurrent_calls: self.concurrent_calls, ..Self::on(day) };
        }
    }
}

impl Capacity {
    /// Takes up usage as it was stored. Open calls are added with [`Capacity::resume`].
    pub fn restore(&mut self, usage: &DailyUsage) {
        let in_use = self.in_use.entry(usage.bid).or_insert(InUse::on(usage.day));
        in_use.day = usage.day;
        in_use.day_calls = usage.calls;
        in_use.day_spend = usage.spend_micros;
    }

    /// Counts a call that was open before a restart; its daily usage is already in the stored figures.
    pub fn resume(&mut self, bid: BidProfileId, day: CalendarDay) {
        self.in_use.entry(bid).or_insert(InUse::on(day)).concurrent_calls += 1;
    }

    /// Whether one more call of at most `hold` fits under the caps.
    pub fn check(
        &self,
        bid: BidProfileId,
        caps: &Caps,
        day: CalendarDay,
        hold: Micros,
    ) -> Result<(), CapReached> {
        let mut in_use = self.in_use.get(&bid).copied().unwrap_or(InUse::on(day));
        in_use.turn_to(day);
        if caps.concurrent_calls.is_some_and(|cap| in_use.concurrent_calls >= cap) {
            return Err(CapReached::ConcurrentCalls);
        }
        if caps.daily_calls.is_some_and(|cap| in_use.day_calls >= cap) {
            return Err(CapReached::DailyCalls);
        }
        if caps.daily_spend_micros.is_some_and(|cap| in_use.day_spend.0.saturating_add(hold.0) > cap.0) {
            return Err(CapReached::DailySpend);
        }
        Ok(())
    }

    /// Takes capacity for a call; the caller has checked.
    pub fn take(&mut self, bid: BidProfileId, day: CalendarDay, hold: Micros) -> DailyUsage {
        let in_use = self.in_use.entry(bid).or_insert(InUse::on(day));
        in_use.turn_to(day);
        in_use.concurrent_calls += 1;
        in_use.day_calls += 1;
        in_use.day_spend.0 += hold.0;
        in_use.usage(bid)
    }

    /// Gives back all that an unanswered call took.
    pub fn give_back(&mut self, bid: BidProfileId, day: CalendarDay, hold: Micros) -> Option<DailyUsage> {
        self.end(bid, day, |in_use| {
            in_use.day_calls = in_use.day_calls.saturating_sub(1);
            in_use.day_spend.0 -= hold.0;
        })
    }

    /// Ends an answered call: it stays counted, its money becomes what was charged.
    pub fn finish(
        &mut self,
        bid: BidProfileId,
        day: CalendarDay,
        hold: Micros,
        charge: Micros,
    ) -> Option<DailyUsage> {
        self.end(bid, day, |in_use| in_use.day_spend.0 += charge.0 - hold.0)
    }

    /// Calls a bid has ringing or connected.
    pub fn concurrent_calls(&self, bid: BidProfileId) -> u32 {
        self.in_use.get(&bid).map_or(0, |in_use| in_use.concurrent_calls)
    }

    /// One call fewer; its day's figures change only while that day lasts.
    fn end(
        &mut self,
        bid: BidProfileId,
        day: CalendarDay,
        change: impl FnOnce(&mut InUse),
    ) -> Option<DailyUsage> {
        let in_use = self.in_use.get_mut(&bid)?;
        in_use.concurrent_calls = in_use.concurrent_calls.saturating_sub(1);
        if in_use.day != day {
            return None;
        }
        change(in_use);
        Some(in_use.usage(bid))
    }
}

impl InUse {
    fn usage(&self, bid: BidProfileId) -> DailyUsage {
        DailyUsage { bid, day: self.day, calls: self.day_calls, spend_micros: self.day_spend }
    }
}
