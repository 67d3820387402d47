//! When a consumer may be called. Binds outbound solicitation, and a transfer carries it along; a consumer who
//! dialled or asked for the call may be spoken to at any hour.
//!
//! A call is allowed only when it is within the hours of every rule that may bind it, in every time zone the
//! consumer may be in: the area code says one place, the seller may state another, and either may be true.

use crate::compliance::area_code::{AreaCodes, RuleDataError, Zone, ZoneSet};
use crate::compliance::holiday::{Holiday, day_of};
use crate::compliance::verdict::Check;
use crate::phone_number::PhoneNumber;
use crate::place::State;
use crate::schedule::{Day, MinuteOfDay};
use crate::time::Timestamp;
use crate::tracking_number::CallOrigin;
use jiff::civil::{Date, DateTime};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The name of this rule in a [`Check`].
pub const CALLING_HOURS: &str = "calling_hours";

const FILE: &str = "data/calling_hours.json";
const EXEMPT: &str = "47 CFR 64.1200(c)(1) binds telephone solicitations only";
const EMERGENCY: &str = "operator's policy 'emergency_states': telemarketing barred in a declared emergency";

/// Every rule about calling hours, and where the exchange knows callers to be.
#[derive(Debug, Clone)]
pub struct CallingHours {
    rules: Vec<Rule>,
    unknown_place_zones: ZoneSet,
}

/// The consumer of one call, as far as calling hours are concerned.
#[derive(Debug, Clone, Copy)]
pub struct Consumer {
    /// How the consumer came to be on the line.
    pub origin: CallOrigin,
    /// The consumer's number; `None` when it is withheld.
    pub number: Option<PhoneNumber>,
    /// The consumer's state as the seller says it.
    pub stated_state: Option<State>,
}

/// One rule: whom it binds, from when, and the hours it leaves open.
#[derive(Debug, Clone)]
struct Rule {
    name: String,
    /// None binds every call.
    states: Vec<State>,
    /// Open from the first minute until before the second, by [`Day`].
    week: [Option<(u16, u16)>; 7],
    holidays: Vec<Holiday>,
    effective_from: Date,
    effective_until: Option<Date>,
    /// With the day of effect and the confidence, as it is shown.
    citation: String,
    note: Option<String>,
}

/// Where a consumer may be.
struct Place<'a> {
    states_of_area_code: &'a [State],
    stated_state: Option<State>,
    zones: ZoneSet,
    is_known: bool,
}

impl Place<'_> {
    fn may_be_in(&self, state: State) -> bool {
        self.stated_state == Some(state) || self.states_of_area_code.contains(&state)
    }
}

impl CallingHours {
    /// The rules this crate ships.
    ///
    /// # Errors
    /// What is wrong with the first rule that cannot be used.
    pub fn shipped(area_codes: &AreaCodes) -> Result<Self, RuleDataError> {
        Self::parse(include_str!("../../data/calling_hours.json"), area_codes)
    }

    /// Reads rules as JSON; `data/README.md` of this crate explains the fields.
    ///
    /// # Errors
    /// What is wrong with the first rule that cannot be used.
    pub fn parse(json: &str, area_codes: &AreaCodes) -> Result<Self, RuleDataError> {
        let file: RuleFile = serde_json::from_str(json).map_err(|error| RuleDataError {
            file: FILE,
            line: error.line(),
            problem: error.to_string(),
        })?;
        let whole_file = |problem: String| RuleDataError { file: FILE, line: 0, problem };
        let mut unknown_place_zones = ZoneSet::default();
        for name in &file.unknown_place_zones {
            let zone = area_codes.zone_named(name).ok_or_else(|| {
                whole_file(format!(
                    "unknown_place_zones: no area code lies in '{name}'; name a zone of area_codes.csv"
                ))
            })?;
            unknown_place_zones = unknown_place_zones.union(zone);
        }
        if unknown_place_zones.is_empty() {
            return Err(whole_file(
                "unknown_place_zones is empty; list the zones a caller of unknown place may be in".to_owned(),
            ));
        }
        let rules =
            file.rules.into_iter().map(Rule::try_from).collect::<Result<_, _>>().map_err(whole_file)?;
        Ok(Self { rules, unknown_place_zones })
    }

    /// Whether the consumer may be called at `now`. `emergency_states` are closed altogether.
    pub fn check(
        &self,
        consumer: Consumer,
        emergency_states: &BTreeSet<State>,
        area_codes: &AreaCodes,
        now: Timestamp,
    ) -> Check {
        match consumer.origin {
            CallOrigin::OrganicInbound => {
                return Check::pass(CALLING_HOURS, "does not apply: the consumer dialled", EXEMPT);
            }
            CallOrigin::CallbackRequested => {
                return Check::pass(CALLING_HOURS, "does not apply: the consumer asked for the call", EXEMPT);
            }
            CallOrigin::OutboundTransfer | CallOrigin::Outbound => {}
        }
        let place = self.place(consumer, area_codes);
        if let Some(state) = emergency_states.iter().find(|state| place.may_be_in(**state)) {
            return Check::refuse(CALLING_HOURS, format!("closed: emergency declared in {state}"), EMERGENCY);
        }
        for zone in area_codes.zones_in(place.zones) {
            let local = local_time(zone, now);
            for rule in self.rules_binding(&place, local.date()) {
                if let Some(closed) = rule.why_closed(local) {
                    let finding = format!("closed in {}: {} there, {closed}", zone.name, clock(local));
                    return Check::refuse(CALLING_HOURS, finding + place.caveat(), rule.citation.clone());
                }
            }
        }
        self.open(&place, area_codes, now)
    }

    /// Writes down why the call is allowed: the clock in every zone and every rule that was met.
    fn open(&self, place: &Place<'_>, area_codes: &AreaCodes, now: Timestamp) -> Check {
        let mut finding = String::with_capacity(128);
        let mut citation = String::with_capacity(256);
        let mut latest_date = Date::MIN;
        for (index, zone) in area_codes.zones_in(place.zones).enumerate() {
            let local = local_time(zone, now);
            latest_date = latest_date.max(local.date());
            let separator = if index == 0 { "open: " } else { ", " };
            finding.push_str(separator);
            finding.push_str(&zone.name);
            finding.push(' ');
            push_clock(&mut finding, local);
        }
        finding.push_str(place.caveat());
        for rule in self.rules_binding(place, latest_date) {
            if !citation.is_empty() {
                citation.push_str("; ");
            }
            citation.push_str(&rule.citation);
            if let Some(note) = &rule.note {
                finding.push_str("; ");
                finding.push_str(&rule.name);
                finding.push_str(": ");
                finding.push_str(note);
            }
        }
        Check::pass(CALLING_HOURS, finding, citation)
    }

    fn place<'a>(&self, consumer: Consumer, area_codes: &'a AreaCodes) -> Place<'a> {
        let area_code =
            consumer.number.and_then(PhoneNumber::area_code).and_then(|code| area_codes.get(code));
        let zones_of_number = area_code.map(|known| known.zones).unwrap_or_default();
        let zones_stated =
            consumer.stated_state.map(|state| area_codes.zones_of_state(state)).unwrap_or_default();
        let zones = zones_of_number.union(zones_stated);
        Place {
            states_of_area_code: area_code.map(|known| known.states.as_slice()).unwrap_or_default(),
            stated_state: consumer.stated_state,
            zones: if zones.is_empty() { self.unknown_place_zones } else { zones },
            is_known: !zones.is_empty(),
        }
    }

    fn rules_binding<'a>(&'a self, place: &'a Place<'_>, date: Date) -> impl Iterator<Item = &'a Rule> {
        self.rules.iter().filter(move |rule| {
            let binds_place =
                rule.states.is_empty() || rule.states.iter().any(|state| place.may_be_in(*state));
            let in_force =
                rule.effective_from <= date && rule.effective_until.is_none_or(|until| date < until);
            binds_place && in_force
        })
    }
}

impl Place<'_> {
    fn caveat(&self) -> &'static str {
        if self.is_known { "" } else { "; place unknown, so every zone of the United States counts" }
    }
}

impl Rule {
    /// `None` when this rule leaves the consumer's clock open.
    fn why_closed(&self, local: DateTime) -> Option<String> {
        if let Some(holiday) = self.holidays.iter().find(|holiday| holiday.falls_on(local.date())) {
            return Some(format!("{} rule bars {}", self.name, holiday.name()));
        }
        let minute = minute_of_day(local);
        match self.week[day_of(local.weekday()) as usize] {
            Some((from, to)) if (from..to).contains(&minute) => None,
            Some((from, to)) => {
                let [from, to] = [from, to].map(|minute| String::from(MinuteOfDay(minute)));
                Some(format!("{} rule allows {from} to {to}", self.name))
            }
            None => Some(format!("{} rule bars the whole day", self.name)),
        }
    }
}

fn local_time(zone: &Zone, now: Timestamp) -> DateTime {
    zone.time_zone.to_datetime(now.to_jiff())
}

fn minute_of_day(local: DateTime) -> u16 {
    u16::try_from(i16::from(local.hour()) * 60 + i16::from(local.minute())).unwrap_or(0)
}

fn clock(local: DateTime) -> String {
    let mut text = String::with_capacity(16);
    push_clock(&mut text, local);
    text
}

/// Appends such as `Sun 20:59`.
fn push_clock(text: &mut String, local: DateTime) {
    let day = DAY_NAMES[day_of(local.weekday()) as usize];
    // Writing to a `String` cannot fail.
    let _ = write!(text, "{day} {:02}:{:02}", local.hour(), local.minute());
}

const DAY_NAMES: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    unknown_place_zones: Vec<String>,
    rules: Vec<RuleEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleEntry {
    name: String,
    #[serde(default)]
    states: Vec<State>,
    hours: Vec<HoursEntry>,
    #[serde(default)]
    holidays: Vec<Holiday>,
    citation: String,
    effective_from: Date,
    #[serde(default)]
    effective_until: Option<Date>,
    confidence: Confidence,
    #[serde(default)]
    note: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HoursEntry {
    days: Days,
    from: MinuteOfDay,
    to: MinuteOfDay,
}

/// How sure its author was of a rule.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Confidence {
    High,
    Medium,
    Low,
}

/// Days in a row: `mon-fri`, or one: `sun`.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Days {
    first: usize,
    last: usize,
}

impl TryFrom<String> for Days {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let error =
            || format!("'{text}' are not days; write mon, tue, wed, thu, fri, sat or sun, or two as mon-fri");
        let index =
            |name: &str| DAY_NAMES.iter().position(|day| day.to_ascii_lowercase() == name).ok_or_else(error);
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        let days = Self { first: index(first)?, last: index(last)? };
        if days.first > days.last { Err(error()) } else { Ok(days) }
    }
}

impl TryFrom<RuleEntry> for Rule {
    type Error = String;
    fn try_from(entry: RuleEntry) -> Result<Self, String> {
        let mut week = [None; 7];
        for hours in &entry.hours {
            if hours.from >= hours.to {
                return Err(format!("rule '{}': hours end before they begin; write from < to", entry.name));
            }
            for day in &mut week[hours.days.first..=hours.days.last] {
                if day.replace((hours.from.0, hours.to.0)).is_some() {
                    return Err(format!("rule '{}': a day has two entries of hours; write one", entry.name));
                }
            }
        }
        let confidence = match entry.confidence {
            Confidence::High => "high",
            Confidence::Medium => "medium",
            Confidence::Low => "low",
        };
        let citation = format!("{} (from {}, confidence {confidence})", entry.citation, entry.effective_from);
        Ok(Self {
            name: entry.name,
            states: entry.states,
            week,
            holidays: entry.holidays,
            effective_from: entry.effective_from,
            effective_until: entry.effective_until,
            citation,
            note: entry.note,
        })
    }
}

/// [`Day`] as an index of a week, which begins on Monday.
const _: () = assert!(Day::Mon as usize == 0 && Day::Sun as usize == 6);

#[cfg(test)]
mod tests {
    use super::*;

    fn consumer(origin: &str, number: &str, state: &str) -> Consumer {
        Consumer {
            origin: serde_json::from_str(&format!("\"{origin}\"")).expect(origin),
            number: number.parse().ok(),
            stated_state: (state != "-").then(|| State::try_from(state.to_owned()).expect(state)),
        }
    }

    /// Each line of the file is a case: `at | origin | number | stated state | verdict | part of the finding`.
    #[test]
    fn cases() {
        let area_codes = AreaCodes::shipped().expect("the shipped area codes parse");
        let hours = CallingHours::shipped(&area_codes).expect("the shipped rules parse");
        let mut cases = 0;
        for line in include_str!("../../tests/cases/calling_hours.txt")
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let columns: Vec<&str> = line.split('|').map(str::trim).collect();
            let [at, origin, number, state, verdict, finding] = columns[..] else {
                panic!("not a case: {line}")
            };
            let at: jiff::Zoned = at.parse().expect(at);
            let check = hours.check(
                consumer(origin, number, state),
                &BTreeSet::new(),
                &area_codes,
                at.timestamp().into(),
            );
            let expected = match verdict {
                "open" => true,
                "closed" => false,
                _ => panic!("'{verdict}' is neither open nor closed: {line}"),
            };
            assert_eq!(check.passed, expected, "{line}\nfound {check:?}");
            assert!(check.finding.contains(finding), "{line}\nfound {check:?}");
            assert!(!check.citation.is_empty(), "{line}\nfound {check:?}");
            cases += 1;
        }
        assert!(cases > 50, "only {cases} cases were read");
    }

    #[test]
    fn a_declared_emergency_closes_a_state_at_any_hour() {
        let area_codes = AreaCodes::shipped().expect("the shipped area codes parse");
        let hours = CallingHours::shipped(&area_codes).expect("the shipped rules parse");
        let closed = BTreeSet::from([State::try_from("LA".to_owned()).expect("a state")]);
        let noon: jiff::Zoned = "2026-03-10T12:00[America/Chicago]".parse().expect("a time");
        for (origin, number, state, passed) in [
            ("outbound_transfer", "+15045550100", "-", false),
            ("outbound_transfer", "+12125550100", "LA", false),
            ("outbound_transfer", "+12125550100", "-", true),
            ("organic_inbound", "+15045550100", "-", true),
        ] {
            let check =
                hours.check(consumer(origin, number, state), &closed, &area_codes, noon.timestamp().into());
            assert_eq!(check.passed, passed, "{origin} {number} {state}: {check:?}");
        }
    }

    #[test]
    fn rules_bind_from_their_first_day_until_their_last() {
        let area_codes = AreaCodes::shipped().expect("the shipped area codes parse");
        let json = r#"{ "unknown_place_zones": ["America/New_York"], "rules": [
            { "name": "old", "hours": [{ "days": "mon-sun", "from": "08:00", "to": "20:00" }], "citation": "x",
              "effective_from": "2020-01-01", "effective_until": "2026-07-01", "confidence": "high" },
            { "name": "new", "hours": [{ "days": "mon-sun", "from": "10:00", "to": "24:00" }], "citation": "y",
              "effective_from": "2026-07-01", "confidence": "low" }] }"#;
        let hours = CallingHours::parse(json, &area_codes).expect("valid rules");
        for (at, passed) in [
            ("2019-12-31T23:59[America/New_York]", true),
            ("2020-01-01T00:00[America/New_York]", false),
            ("2026-06-30T09:00[America/New_York]", true),
            ("2026-06-30T21:00[America/New_York]", false),
            ("2026-07-01T09:00[America/New_York]", false),
            ("2026-07-01T23:59[America/New_York]", true),
        ] {
            let now: jiff::Zoned = at.parse().expect(at);
            let consumer = consumer("outbound", "+12125550100", "-");
            let check = hours.check(consumer, &BTreeSet::new(), &area_codes, now.timestamp().into());
            assert_eq!(check.passed, passed, "{at}: {check:?}");
        }
    }

    #[test]
    fn a_rule_that_cannot_be_used_is_named() {
        let area_codes = AreaCodes::shipped().expect("the shipped area codes parse");
        let rule = |hours: &str| {
            format!(
                r#"{{ "unknown_place_zones": ["America/New_York"], "rules": [{{ "name": "X", "hours": [{hours}],
                   "citation": "x", "effective_from": "2020-01-01", "confidence": "high" }}] }}"#
            )
        };
        for (json, problem) in [
            (rule(r#"{ "days": "sun-mon", "from": "08:00", "to": "20:00" }"#), "'sun-mon' are not days"),
            (rule(r#"{ "days": "sun", "from": "20:00", "to": "08:00" }"#), "rule 'X': hours end before"),
            (rule(r#"{ "days": "sun", "from": "8:00", "to": "20:00" }"#), "'8:00' is not a time of day"),
            (
                rule(
                    r#"{ "days": "mon-sun", "from": "08:00", "to": "20:00" },
                       { "days": "sun", "from": "12:00", "to": "20:00" }"#,
                ),
                "rule 'X': a day has two entries",
            ),
            (
                r#"{ "unknown_place_zones": ["Asia/Tokyo"], "rules": [] }"#.to_owned(),
                "no area code lies in 'Asia/Tokyo'",
            ),
            (r#"{ "unknown_place_zones": [], "rules": [] }"#.to_owned(), "unknown_place_zones is empty"),
            (r#"{ "unknown_place_zones": [], "ruels": [] }"#.to_owned(), "unknown field `ruels`"),
        ] {
            let error = CallingHours::parse(&json, &area_codes).expect_err(problem);
            assert!(error.to_string().contains(problem), "{error}");
        }
    }
}
