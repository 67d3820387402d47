//! Legal holidays as data: a fixed date, the n-th weekday of a month, or so many days after Easter.

use crate::schedule::Day;
use jiff::civil::{Date, Weekday};
use serde::Deserialize;

/// A holiday of every year.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Holiday {
    /// The same date every year.
    Fixed(FixedHoliday),
    /// The n-th weekday of a month.
    NthWeekday(NthWeekdayHoliday),
    /// So many days after Western Easter Sunday.
    AfterEaster(EasterHoliday),
}

/// The same date every year.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedHoliday {
    /// For people.
    pub name: String,
    /// 1 is January.
    pub month: i8,
    /// 1 is the first.
    pub day: i8,
}

/// The n-th weekday of a month.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NthWeekdayHoliday {
    /// For people.
    pub name: String,
    /// 1 is January.
    pub month: i8,
    /// The weekday.
    pub weekday: Day,
    /// 1 is the first of the month, -1 the last.
    pub nth: i8,
}

/// So many days after Western Easter Sunday.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EasterHoliday {
    /// For people.
    pub name: String,
    /// Negative is before Easter.
    pub days_after_easter: i16,
}

impl Holiday {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Fixed(holiday) => &holiday.name,
            Self::NthWeekday(holiday) => &holiday.name,
            Self::AfterEaster(holiday) => &holiday.name,
        }
    }

    /// Whether it falls on this date.
    pub fn falls_on(&self, date: Date) -> bool {
        match self {
            Self::Fixed(holiday) => (date.month(), date.day()) == (holiday.month, holiday.day),
            Self::NthWeekday(holiday) => {
                let nth = (date.day() - 1) / 7 + 1;
                let is_last = date.day() + 7 > date.days_in_month();
                date.month() == holiday.month
                    && day_of(date.weekday()) == holiday.weekday
                    && (nth == holiday.nth || (holiday.nth == -1 && is_last))
            }
            Self::AfterEaster(holiday) => {
                date.day_of_year() == easter_day_of_year(date.year()) + holiday.days_after_easter
            }
        }
    }
}

/// A weekday in this crate's terms.
pub(super) fn day_of(weekday: Weekday) -> Day {
    match weekday {
        Weekday::Monday => Day::Mon,
        Weekday::Tuesday => Day::Tue,
        Weekday::Wednesday => Day::Wed,
        Weekday::Thursday => Day::Thu,
        Weekday::Friday => Day::Fri,
        Weekday::Saturday => Day::Sat,
        Weekday::Sunday => Day::Sun,
    }
}

/// Easter Sunday as a day of the year, from 1. Source: the Gregorian computus of Meeus, Jones and Butcher.
fn easter_day_of_year(year: i16) -> i16 {
    let year = i32::from(year);
    let (golden, century, rest) = (year % 19, year / 100, year % 100);
    let epact = (19 * golden + century - century / 4 - (century - (century + 8) / 25 + 1) / 3 + 15) % 30;
    let to_sunday = (32 + 2 * (century % 4) + 2 * (rest / 4) - epact - rest % 4) % 7;
    let correction = (golden + 11 * epact + 22 * to_sunday) / 451;
    let days_after_march_21 = epact + to_sunday - 7 * correction + 1;
    let is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    i16::try_from(80 + i32::from(is_leap) + days_after_march_21).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holiday(json: &str) -> Holiday {
        serde_json::from_str(json).expect(json)
    }

    #[test]
    fn holidays_fall_on_their_dates() {
        for (json, on, not_on) in [
            (r#"{"name":"Christmas","month":12,"day":25}"#, "2026-12-25", "2026-12-24"),
            (r#"{"name":"MLK","month":1,"weekday":"mon","nth":3}"#, "2026-01-19", "2026-01-12"),
            (r#"{"name":"Memorial","month":5,"weekday":"mon","nth":-1}"#, "2026-05-25", "2026-05-18"),
            (r#"{"name":"Memorial","month":5,"weekday":"mon","nth":-1}"#, "2027-05-31", "2027-05-24"),
            (r#"{"name":"Good Friday","days_after_easter":-2}"#, "2026-04-03", "2026-04-10"),
            (r#"{"name":"Good Friday","days_after_easter":-2}"#, "2024-03-29", "2024-03-28"),
            (r#"{"name":"Mardi Gras","days_after_easter":-47}"#, "2026-02-17", "2026-02-18"),
            (r#"{"name":"Easter","days_after_easter":0}"#, "2038-04-25", "2038-03-21"),
            (r#"{"name":"Easter","days_after_easter":0}"#, "2000-04-23", "2000-04-22"),
        ] {
            let holiday = holiday(json);
            assert!(holiday.falls_on(on.parse().expect(on)), "{} on {on}", holiday.name());
            assert!(!holiday.falls_on(not_on.parse().expect(not_on)), "{} on {not_on}", holiday.name());
        }
    }

    #[test]
    fn a_misspelt_holiday_is_refused() {
        assert!(serde_json::from_str::<Holiday>(r#"{"name":"X","month":1,"dya":1}"#).is_err());
    }
}
