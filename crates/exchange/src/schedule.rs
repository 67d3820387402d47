//! Opening hours: seven days by twenty-four hours, in the target's own time zone.

use crate::time::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// An IANA time zone name, known to exist.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(value_type = String, example = "America/New_York"))]
#[serde(try_from = "String", into = "String")]
pub struct ZoneName(String);

impl ZoneName {
    /// The zone's rules.
    pub fn time_zone(&self) -> TimeZone {
        TimeZone::get(&self.0).expect("checked when the name was read")
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// A name that was checked before.
    pub(crate) fn known(name: &str) -> Self {
        Self(name.to_owned())
    }
}

impl Default for ZoneName {
    fn default() -> Self {
        Self("UTC".to_owned())
    }
}

impl TryFrom<String> for ZoneName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match TimeZone::get(&text) {
            Ok(_) => Ok(Self(text)),
            Err(_) => {
                Err(format!("'{text}' is not a time zone; write an IANA name such as America/New_York"))
            }
        }
    }
}

impl From<ZoneName> for String {
    fn from(name: ZoneName) -> Self {
        name.0
    }
}

impl fmt::Display for ZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A day on the calendar of some time zone, as days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct CalendarDay(pub i32);

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

/// Some days of the week.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DaySet(u8);

impl DaySet {
    /// Every day.
    pub const ALL: Self = Self(0x7f);

    /// Adds a day; whether it was not there yet.
    pub fn insert(&mut self, day: Day) -> bool {
        let is_new = !self.contains(day);
        self.0 |= 1 << day as u8;
        is_new
    }

    /// Whether a day is one of them.
    pub fn contains(self, day: Day) -> bool {
        self.0 & (1 << day as u8) != 0
    }
}

/// A stretch of one day: open from the first minute, closed again at the second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct OpenHours {
    /// The day.
    pub day: Day,
    /// `09:00`: the first minute it is open.
    pub from: MinuteOfDay,
    /// `17:30`: the first minute it is closed. `24:00` is the end of the day.
    pub to: MinuteOfDay,
}

/// A minute of a day, 0 to 1,440, written `HH:MM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(value_type = String, example = "09:00"))]
#[serde(try_from = "String", into = "String")]
pub struct MinuteOfDay(pub u16);

impl TryFrom<String> for MinuteOfDay {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let error = || format!("'{text}' is not a time of day; write HH:MM from 00:00 to 24:00");
        let (hours, minutes) = text.split_once(':').ok_or_else(error)?;
        if hours.len() != 2 || minutes.len() != 2 {
            return Err(error());
        }
        let hours: u16 = hours.parse().map_err(|_| error())?;
        let minutes: u16 = minutes.parse().map_err(|_| error())?;
        let minute = hours * 60 + minutes;
        if minutes > 59 || minute > 24 * 60 { Err(error()) } else { Ok(Self(minute)) }
    }
}

impl From<MinuteOfDay> for String {
    fn from(minute: MinuteOfDay) -> Self {
        format!("{:02}:{:02}", minute.0 / 60, minute.0 % 60)
    }
}

/// When a target takes calls. No hours at all means always.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// The target's own time zone.
    pub time_zone: ZoneName,
    /// Its open hours.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hours: Vec<OpenHours>,
    /// Days it is closed, whatever the hours say.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub holidays: BTreeSet<Holiday>,
}

/// A day on which a target is closed: `2026-12-25`, or `12-25` for that day of every year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(value_type = String, example = "12-25"))]
#[serde(try_from = "String", into = "String")]
pub struct Holiday((Option<i16>, i8, i8));

impl TryFrom<String> for Holiday {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        // 2024 is a leap year: the 29th of February is a day of "every year" that has one.
        let (year, dated) = match text.len() {
            10 => (true, text.clone()),
            _ => (false, format!("2024-{text}")),
        };
        let date: Date =
            dated.parse().map_err(|_| format!("'{text}' is not a day; write 2026-12-25 or 12-25"))?;
        Ok(Self((year.then(|| date.year()), date.month(), date.day())))
    }
}

impl From<Holiday> for String {
    fn from(holiday: Holiday) -> Self {
        let Holiday((year, month, day)) = holiday;
        let year = year.map(|year| format!("{year:04}-")).unwrap_or_default();
        format!("{year}{month:02}-{day:02}")
    }
}

impl Holiday {
    fn is_on(self, day: CalendarDay) -> bool {
        let epoch = Date::constant(1970, 1, 1);
        let Ok(date) = epoch.checked_add(jiff::Span::new().days(day.0)) else { return false };
        let Self((year, month, day)) = self;
        year.is_none_or(|year| year == date.year()) && (month, day) == (date.month(), date.day())
    }
}

impl Schedule {
    /// Whether it is open at this local time.
    pub fn is_open(&self, local: &LocalTime) -> bool {
        if self.holidays.iter().any(|holiday| holiday.is_on(local.day)) {
            return false;
        }
        self.hours.is_empty() || self.hours.iter().any(|open| open.holds(local.weekday, local.minute_of_day))
    }

    /// The days, the opening and the closing minute, where that is all there is to it: the same stretch on each of its days, and
    /// no holidays.
    pub fn weekly(&self) -> Option<(DaySet, MinuteOfDay, MinuteOfDay)> {
        if !self.holidays.is_empty() {
            return None;
        }
        let Some(first) = self.hours.first() else {
            return Some((DaySet::ALL, MinuteOfDay(0), MinuteOfDay(24 * 60)));
        };
        let mut days = DaySet::default();
        let is_weekly = self
            .hours
            .iter()
            .all(|open| (open.from, open.to) == (first.from, first.to) && days.insert(open.day));
        is_weekly.then_some((days, first.from, first.to))
    }

    /// How many of the day's opening minutes have begun, and how many there are: what even pacing spreads a day's limits
    /// over.
    pub fn opening_minutes(&self, local: &LocalTime) -> (u32, u32) {
        let now = local.minute_of_day + 1;
        if self.hours.is_empty() {
            return (u32::from(now), 24 * 60);
        }
        let mut today: Vec<(u16, u16)> = self
            .hours
            .iter()
            .filter(|open| open.day == local.weekday)
            .map(|open| (open.from.0, open.to.0))
            .collect();
        today.sort_unstable();
        let (mut begun, mut all, mut counted_to) = (0, 0, 0);
        for (from, to) in today {
            // Stretches may overlap: count each minute once.
            let from = from.max(counted_to);
            counted_to = counted_to.max(to);
            all += u32::from(to.saturating_sub(from));
            begun += u32::from(to.min(now).saturating_sub(from));
        }
        (begun, all)
    }

    /// Even pacing: how much of a day's cap may be used by this minute, rounded down.
    pub fn released(&self, local: &LocalTime, cap: i64) -> i64 {
        let (begun, all) = self.opening_minutes(local);
        let share = i128::from(cap) * i128::from(begun) / i128::from(all.max(1));
        i64::try_from(share).unwrap_or(i64::MAX)
    }
}

impl OpenHours {
    fn holds(&self, day: Day, minute_of_day: u16) -> bool {
        self.day == day && (self.from.0..self.to.0).contains(&minute_of_day)
    }
}

/// One moment on the wall clock of one time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime {
    /// The calendar day.
    pub day: CalendarDay,
    /// The day of the week.
    pub weekday: Day,
    /// Minutes since local midnight, 0 to 1,439.
    pub minute_of_day: u16,
    /// Months since January of the year 0.
    pub month: i32,
}

impl LocalTime {
    /// What the clock on the wall shows in `zone` at `now`.
    pub fn at(now: Timestamp, zone: &TimeZone) -> Self {
        let local = zone.to_datetime(now.to_jiff());
        let (date, time): (Date, Time) = (local.date(), local.time());
        let epoch = Date::constant(1970, 1, 1);
        let days = (date - epoch).get_days();
        let weekday = match date.weekday() {
            jiff::civil::Weekday::Monday => Day::Mon,
            jiff::civil::Weekday::Tuesday => Day::Tue,
            jiff::civil::Weekday::Wednesday => Day::Wed,
            jiff::civil::Weekday::Thursday => Day::Thu,
            jiff::civil::Weekday::Friday => Day::Fri,
            jiff::civil::Weekday::Saturday => Day::Sat,
            jiff::civil::Weekday::Sunday => Day::Sun,
        };
        let minute = i32::from(time.hour()) * 60 + i32::from(time.minute());
        Self {
            day: CalendarDay(days),
            weekday,
            minute_of_day: u16::try_from(minute).unwrap_or(0),
            month: i32::from(date.year()) * 12 + i32::from(date.month()) - 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAYS: [Day; 7] = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun];

    fn schedule(hours: &[(Day, u16, u16)]) -> Schedule {
        let hours = hours.iter().map(|(day, from, to)| OpenHours {
            day: *day,
            from: MinuteOfDay(*from),
            to: MinuteOfDay(*to),
        });
        Schedule { hours: hours.collect(), ..Schedule::default() }
    }

    fn check(hours: &[(Day, u16, u16)], is_weekly: bool) {
        let schedule = schedule(hours);
        let weekly = schedule.weekly();
        assert_eq!(weekly.is_some(), is_weekly, "{hours:?}");
        let Some((days, from, to)) = weekly else { return };
        for (day, weekday) in (0..).zip(DAYS) {
            for minute_of_day in [0, 539, 540, 1_019, 1_020, 1_439] {
                let local = LocalTime { day: CalendarDay(day), weekday, minute_of_day, month: 0 };
                let is_open = days.contains(weekday) && (from.0..to.0).contains(&minute_of_day);
                assert_eq!(is_open, schedule.is_open(&local), "{hours:?} on {weekday:?} at {minute_of_day}");
            }
        }
    }

    #[test]
    fn the_same_hours_on_some_days_are_weekly() {
        check(&[], true);
        check(&[(Day::Mon, 540, 1_020)], true);
        check(&[(Day::Mon, 540, 1_020), (Day::Sun, 540, 1_020)], true);
        check(&[(Day::Mon, 540, 1_020), (Day::Sun, 0, 1_440)], false);
        check(&[(Day::Mon, 540, 1_020), (Day::Mon, 540, 1_020)], false);
    }

    #[test]
    fn holidays_are_not_weekly() {
        let holiday = Holiday::try_from("12-25".to_owned()).expect("a day");
        assert_eq!(Schedule { holidays: [holiday].into(), ..schedule(&[]) }.weekly(), None);
    }
}
