//! Usage: what every bid and every cap group has taken, and whether there is room for more.

use crate::bid::BidProfile;
use crate::bid::caps::{CapGroup, Caps, Limit, Pacing, Period};
use crate::id::{BidProfileId, CapGroupId};
use crate::ledger::money::Micros;
use crate::schedule::LocalTime;
use crate::time::Timestamp;
use crate::track_record::TrackRecord;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::collections::HashMap;

/// Whose usage it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CapOwner {
    /// A bid's own.
    Bid(BidProfileId),
    /// That of all the bids of a group.
    Group(CapGroupId),
}

/// The numbers of the periods a moment lies in, on one wall clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Periods {
    /// Hours since 1970.
    pub hour: i32,
    /// Days since 1970.
    pub day: i32,
    /// Weeks, from Monday, since 1970.
    pub week: i32,
    /// Months since the year 0.
    pub month: i32,
}

/// What one attempt was counted against, so that the same periods get it back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Counted {
    /// The bid's own periods.
    pub bid: Periods,
    /// Its group, and the group's periods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<(CapGroupId, Periods)>,
}

/// What was taken in one period.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// The period's number.
    pub number: i32,
    /// Calls answered or ringing.
    pub calls: u32,
    /// Calls converted, or that may yet convert.
    pub conversions: u32,
    /// Micro-units charged or held.
    pub spend_micros: Micros,
}

/// Usage as it is stored: the latest period of each kind, hour to total.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Whose.
    pub owner: CapOwner,
    /// What was taken: hour, day, week, month, total.
    pub taken: [Taken; 5],
    /// What came of the bid's calls; a group has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<TrackRecord>,
}

/// Which cap is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CapReached {
    /// Calls at the same time.
    ConcurrentCalls,
    /// Calls in a period.
    Calls,
    /// Conversions in a period.
    Conversions,
    /// Money in a period.
    Spend,
    /// The share of the day's limit that has been released so far.
    Paced,
    /// Any cap of the group.
    Group,
}

/// What one bid or group has in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct InUse {
    concurrent_calls: u32,
    /// As the bid's track record says it, where a search finds it beside the calls.
    rests_until: Option<Timestamp>,
    taken: [Taken; 5],
}

/// What one bid has in use, and what came of its calls; most bids of a large market have had none yet.
#[derive(Debug, Clone, Default)]
struct Used {
    in_use: InUse,
    record: TrackRecord,
}

/// What a bid without calls has in use.
static NOTHING: Used = Used { in_use: InUse::NOTHING, record: TrackRecord::EMPTY };

#[derive(Debug, Clone)]
struct GroupInUse {
    group: CapGroup,
    time_zone: TimeZone,
    in_use: InUse,
}

/// The usage of every bid, by its slot in the index, and of every cap group.
#[derive(Debug, Clone, Default)]
pub struct Usages {
    bids: Vec<Option<Box<Used>>>,
    /// The most one call of each bid can cost: what its known room is counted in.
    room_holds: Vec<Micros>,
    /// How many calls each bid can surely take before its caps have to be asked; 0 is not known. Side by side, because a search
    /// asks this of every bid it meets.
    rooms: Vec<Cell<u32>>,
    groups: HashMap<CapGroupId, GroupInUse>,
}

impl Periods {
    /// The periods this local time lies in.
    pub fn at(local: &LocalTime) -> Self {
        let day = local.day.0;
        Self {
            hour: day * 24 + i32::from(local.minute_of_day / 60),
            day,
            // 1970-01-01 was a Thursday.
            week: (day + 3).div_euclid(7),
            month: local.month,
        }
    }

    fn numbers(self) -> [i32; 5] {
        [self.hour, self.day, self.week, self.month, 0]
    }
}

impl Period {
    fn index(self) -> usize {
        match self {
            Self::Hour => 0,
            Self::Day => 1,
            Self::Week => 2,
            Self::Month => 3,
            Self::Total => 4,
        }
    }
}

impl InUse {
    const NOTHING: Self = Self {
        concurrent_calls: 0,
        rests_until: None,
        taken: [Taken { number: 0, calls: 0, conversions: 0, spend_micros: Micros::ZERO }; 5],
    };

    /// What is taken of the periods of a moment: nothing of a period that has not been seen yet. A clock that stepped back does
    /// not bring a period back.
    fn in_period(&self, period: usize, numbers: [i32; 5]) -> Taken {
        let taken = self.taken[period];
        let number = numbers[period];
        if number > taken.number { Taken { number, ..Taken::default() } } else { taken }
    }

    /// One call more. Returns the periods it was counted in: later ones than asked for where the clock stepped back, so that
    /// these get it back.
    fn take(&mut self, periods: Periods, hold: Micros) -> Periods {
        let numbers = periods.numbers();
        self.concurrent_calls += 1;
        for period in 0..numbers.len() {
            let taken = self.in_period(period, numbers);
            self.taken[period] = Taken {
                number: taken.number,
                calls: taken.calls + 1,
                conversions: taken.conversions + 1,
                spend_micros: Micros(taken.spend_micros.0.saturating_add(hold.0)),
            };
        }
        let [hour, day, week, month, _] = self.taken.map(|taken| taken.number);
        Periods { hour, day, week, month }
    }

    /// One call fewer.
    fn end(&mut self, periods: Periods, change: impl Fn(&mut Taken)) {
        self.concurrent_calls = self.concurrent_calls.saturating_sub(1);
        self.correct(periods, change);
    }

    /// Figures change only in the periods that a call was counted in and that still last.
    fn correct(&mut self, periods: Periods, change: impl Fn(&mut Taken)) {
        for (taken, number) in self.taken.iter_mut().zip(periods.numbers()) {
            if taken.number == number {
                change(taken);
            }
        }
    }

    /// How many more calls of at most `hold` fit under a limit while its period lasts.
    fn room_under(&self, limit: &Limit, hold: Micros) -> u32 {
        let taken = self.taken[limit.per.index()];
        let spend = limit.spend_micros.map(|cap| {
            let free = cap.0.saturating_sub(taken.spend_micros.0).max(0);
            u32::try_from(free / hold.0.max(1)).unwrap_or(u32::MAX)
        });
        let calls = limit.calls.map(|cap| cap.saturating_sub(taken.calls));
        let conversions = limit.conversions.map(|cap| cap.saturating_sub(taken.conversions));
        [spend, calls, conversions].into_iter().flatten().min().unwrap_or(u32::MAX)
    }

    fn check(&self, limits: &[Limit], numbers: [i32; 5], hold: Micros) -> Result<(), CapReached> {
        for limit in limits {
            let taken = self.in_period(limit.per.index(), numbers);
            if limit.calls.is_some_and(|cap| taken.calls >= cap) {
                return Err(CapReached::Calls);
            }
            if limit.conversions.is_some_and(|cap| taken.conversions >= cap) {
                return Err(CapReached::Conversions);
            }
            if limit.spend_micros.is_some_and(|cap| taken.spend_micros.0.saturating_add(hold.0) > cap.0) {
                return Err(CapReached::Spend);
            }
        }
        Ok(())
    }
}

/// Even pacing: whether the day's limits, cut down to the share of its opening minutes that has begun, have room. The share is
/// rounded up to whole calls, and the first call of a day always has room.
fn is_paced_out(
    bid: &BidProfile,
    in_use: &InUse,
    numbers: [i32; 5],
    local: &LocalTime,
    hold: Micros,
) -> bool {
    let released = |cap: i64| bid.schedule.released(local, cap);
    let daily = bid.caps.limits.iter().filter(|limit| limit.per == Period::Day);
    let taken = in_use.in_period(Period::Day.index(), numbers);
    let first = taken.calls == 0;
    daily.into_iter().any(|limit| {
        let calls = limit.calls.is_some_and(|cap| i64::from(taken.calls) > released(i64::from(cap)));
        let conversions =
            limit.conversions.is_some_and(|cap| i64::from(taken.conversions) > released(i64::from(cap)));
        let spend = limit
            .spend_micros
            .is_some_and(|cap| taken.spend_micros.0.saturating_add(hold.0) > released(cap.0));
        !first && (calls || conversions || spend)
    })
}

impl Usages {
    /// Makes room for a bid's usage; its slot is the next one, or that of its earlier version, whose usage it takes over. `hold` is
    /// the most one of its calls can cost.
    pub fn place_bid(&mut self, slot: usize, caps: &Caps, hold: Micros) {
        if self.bids.len() <= slot {
            self.make_room(slot + 1);
        }
        self.room_holds[slot] = hold;
        self.note_room(slot, caps);
    }

    /// Makes room for the usage of so many bids in all.
    pub fn make_room(&mut self, bids: usize) {
        self.bids.resize(bids, None);
        self.room_holds.resize(bids, Micros::ZERO);
        self.rooms.resize(bids, Cell::default());
    }

    fn used(&self, slot: usize) -> &Used {
        self.bids[slot].as_deref().unwrap_or(&NOTHING)
    }

    fn used_mut(&mut self, slot: usize) -> &mut Used {
        self.bids[slot].get_or_insert_default()
    }

    /// Whether a bid can surely take one more call, of at most the hold it was placed with, as far as rests and caps are concerned.
    #[inline]
    pub fn has_room(&self, slot: usize) -> bool {
        self.rooms[slot].get() > 0
    }

    /// Works out how many more such calls a bid can surely take. What is taken of a period counts as if the period
    /// lasted: time can only make more room.
    pub fn note_room(&self, slot: usize, caps: &Caps) {
        let depends_on_more =
            caps.group.is_some() || caps.pacing == Pacing::Even || !caps.concurrent_calls_by_hour.is_empty();
        let in_use = &self.used(slot).in_use;
        let room = if depends_on_more || in_use.rests_until.is_some() {
            0
        } else {
            let free = caps.concurrent_calls.map(|cap| cap.saturating_sub(in_use.concurrent_calls));
            let limits = caps.limits.iter().map(|limit| in_use.room_under(limit, self.room_holds[slot]));
            limits.fold(free.unwrap_or(u32::MAX), u32::min)
        };
        self.rooms[slot].set(room.saturating_sub(1));
    }

    /// Sets a group's caps; what it has in use stays.
    pub fn put_group(&mut self, group: CapGroup) {
        let in_use = self.groups.get(&group.id).map(|there| there.in_use).unwrap_or_default();
        let time_zone = group.time_zone.time_zone();
        self.groups.insert(group.id, GroupInUse { group, time_zone, in_use });
    }

    /// A group's caps.
    pub fn group(&self, id: CapGroupId) -> Option<&CapGroup> {
        self.groups.get(&id).map(|there| &there.group)
    }

    /// Takes up a bid's usage as it was stored. Open calls are added with [`Usages::resume`].
    pub fn restore_bid(&mut self, slot: usize, usage: &Usage) {
        let record = usage.record.clone().unwrap_or_default();
        let used = self.used_mut(slot);
        used.in_use.taken = usage.taken;
        used.in_use.rests_until = record.rests_until;
        used.record = record;
        self.rooms[slot].set(0);
    }

    /// Takes up a group's usage as it was stored.
    pub fn restore_group(&mut self, id: CapGroupId, usage: &Usage) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.in_use.taken = usage.taken;
        }
    }

    /// Counts a call that was open before a restart; what it took is already in the stored figures.
    pub fn resume(&mut self, slot: usize, counted: &Counted) {
        self.rooms[slot].set(0);
        self.used_mut(slot).in_use.concurrent_calls += 1;
        if let Some(group) = counted.group.and_then(|(id, _)| self.groups.get_mut(&id)) {
            group.in_use.concurrent_calls += 1;
        }
    }

    /// What came of a bid's calls.
    pub fn record(&self, slot: usize) -> &TrackRecord {
        &self.used(slot).record
    }

    /// Adds to what came of a bid's calls.
    pub fn change_record<T>(&mut self, slot: usize, change: impl FnOnce(&mut TrackRecord) -> T) -> T {
        let Used { in_use, record } = self.used_mut(slot);
        let changed = change(record);
        if record.rests_until != in_use.rests_until {
            in_use.rests_until = record.rests_until;
            self.rooms[slot].set(0);
        }
        changed
    }

    /// Whether a bid's target is given a rest.
    pub fn is_resting(&self, slot: usize, now: Timestamp) -> bool {
        self.used(slot).in_use.rests_until.is_some_and(|until| now < until)
    }

    /// Calls a bid has ringing or connected.
    pub fn concurrent_calls(&self, slot: usize) -> u32 {
        self.used(slot).in_use.concurrent_calls
    }

    /// Whether one more call of at most `hold` fits under a bid's caps and those of its group.
    pub fn check(
        &self,
        slot: usize,
        bid: &BidProfile,
        local: &LocalTime,
        hold: Micros,
        now: Timestamp,
    ) -> Result<(), CapReached> {
        let caps = &bid.caps;
        if caps.is_unlimited() {
            return Ok(());
        }
        let in_use = &self.used(slot).in_use;
        if caps.concurrent_calls_at(local).is_some_and(|cap| in_use.concurrent_calls >= cap) {
            return Err(CapReached::ConcurrentCalls);
        }
        let numbers = Periods::at(local).numbers();
        in_use.check(&caps.limits, numbers, hold)?;
        if caps.pacing == Pacing::Even && is_paced_out(bid, in_use, numbers, local, hold) {
            return Err(CapReached::Paced);
        }
        match caps.group.and_then(|id| self.groups.get(&id)) {
            Some(group) if !group.has_room(hold, now) => Err(CapReached::Group),
            _ => Ok(()),
        }
    }

    /// Takes room for a call; the caller has checked. Also says which periods of whose usage changed.
    pub fn take(
        &mut self,
        slot: usize,
        bid: &BidProfile,
        local: &LocalTime,
        hold: Micros,
        now: Timestamp,
    ) -> Counted {
        let periods = self.used_mut(slot).in_use.take(Periods::at(local), hold);
        let room = if hold > self.room_holds[slot] { 0 } else { self.rooms[slot].get() };
        self.rooms[slot].set(room.saturating_sub(1));
        let group = bid.caps.group.and_then(|id| {
            let group = self.groups.get_mut(&id)?;
            let periods = Periods::at(&LocalTime::at(now, &group.time_zone));
            Some((id, group.in_use.take(periods, hold)))
        });
        Counted { bid: periods, group }
    }

    /// Gives back all that an unanswered call took.
    pub fn give_back(&mut self, slot: usize, counted: &Counted, hold: Micros) {
        self.end(slot, counted, |taken| {
            taken.calls = taken.calls.saturating_sub(1);
            taken.conversions = taken.conversions.saturating_sub(1);
            taken.spend_micros.0 -= hold.0;
        });
    }

    /// Ends an answered call: it stays counted, its money becomes what was charged, or is still held, and it stays a conversion
    /// if it is one.
    pub fn finish(&mut self, slot: usize, counted: &Counted, hold: Micros, charge: Option<Micros>) {
        self.end(slot, counted, |taken| {
            taken.spend_micros.0 += charge.unwrap_or_default().0 - hold.0;
            if charge.is_none() {
                taken.conversions = taken.conversions.saturating_sub(1);
            }
        });
    }

    /// Takes back, after the call, what stayed counted as spent and was not charged in the end.
    pub fn give_back_spend(&mut self, slot: usize, counted: &Counted, unspent: Micros) {
        let change = |taken: &mut Taken| taken.spend_micros.0 -= unspent.0;
        self.used_mut(slot).in_use.correct(counted.bid, change);
        if let Some((id, periods)) = counted.group
            && let Some(group) = self.groups.get_mut(&id)
        {
            group.in_use.correct(periods, change);
        }
    }

    fn end(&mut self, slot: usize, counted: &Counted, change: impl Fn(&mut Taken)) {
        self.used_mut(slot).in_use.end(counted.bid, &change);
        if let Some((id, periods)) = counted.group
            && let Some(group) = self.groups.get_mut(&id)
        {
            group.in_use.end(periods, change);
        }
    }

    /// A bid's usage, to store.
    pub fn of_bid(&self, slot: usize, id: BidProfileId) -> Usage {
        let Used { in_use, record } = self.used(slot);
        Usage { owner: CapOwner::Bid(id), taken: in_use.taken, record: Some(record.clone()) }
    }

    /// A group's usage, to store.
    pub fn of_group(&self, id: CapGroupId) -> Option<Usage> {
        let group = self.groups.get(&id)?;
        Some(Usage { owner: CapOwner::Group(id), taken: group.in_use.taken, record: None })
    }
}

impl GroupInUse {
    fn has_room(&self, hold: Micros, now: Timestamp) -> bool {
        let Self { group, time_zone, in_use } = self;
        if group.concurrent_calls.is_some_and(|cap| in_use.concurrent_calls >= cap) {
            return false;
        }
        let numbers = Periods::at(&LocalTime::at(now, time_zone)).numbers();
        in_use.check(&group.limits, numbers, hold).is_ok()
    }
}
