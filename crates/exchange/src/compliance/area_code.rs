//! Where a North American caller may be: from area code or state to time zones.

use crate::place::State;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;

/// A data file of rules that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file} line {line}: {problem}")]
pub struct RuleDataError {
    /// Which file.
    pub file: &'static str,
    /// Which line, from 1; 0 when the whole file is meant.
    pub line: usize,
    /// What is wrong, and what is expected instead.
    pub problem: String,
}

/// The area codes of the North American Numbering Plan, their states and time zones.
#[derive(Debug, Clone)]
pub struct AreaCodes {
    zones: Vec<Zone>,
    /// Ascending by code.
    codes: Vec<AreaCode>,
    zones_of_state: BTreeMap<State, ZoneSet>,
}

/// A time zone, resolved once when the data was read.
#[derive(Debug, Clone)]
pub struct Zone {
    /// IANA name, such as `America/New_York`.
    pub name: String,
    /// Its rules.
    pub time_zone: TimeZone,
}

/// What is known about one area code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AreaCode {
    /// The three digits.
    pub code: u16,
    /// Whether it belongs to a place.
    pub kind: AreaCodeKind,
    /// Its states or provinces; none for countries of the Caribbean and numbers without a place.
    pub states: Vec<State>,
    /// Every time zone its numbers lie in; none exactly when it has no place.
    pub zones: ZoneSet,
}

/// What an area code is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AreaCodeKind {
    /// Numbers of a place.
    Geographic,
    /// The called party pays.
    TollFree,
    /// The caller pays extra.
    PremiumRate,
    /// Personal and other numbers without a place.
    NonGeographic,
}

/// A set of the zones of one [`AreaCodes`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ZoneSet(u64);

impl ZoneSet {
    /// Whether it has no zone.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The zones of both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

const FILE: &str = "data/area_codes.csv";

impl AreaCodes {
    /// The data this crate ships.
    ///
    /// # Errors
    /// The first line that is not a valid area code.
    pub fn shipped() -> Result<Self, RuleDataError> {
        Self::parse(include_str!("../../data/area_codes.csv"))
    }

    /// Reads lines of `area_code,kind,states,zones`, lists separated by spaces, `#` beginning a comment.
    ///
    /// # Errors
    /// The first line that is not a valid area code.
    pub fn parse(text: &str) -> Result<Self, RuleDataError> {
        let mut codes = Self { zones: Vec::new(), codes: Vec::new(), zones_of_state: BTreeMap::new() };
        let mut has_header = false;
        for (index, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let error = |problem: String| RuleDataError { file: FILE, line: index + 1, problem };
            if has_header {
                codes.add_line(line).map_err(error)?;
            } else if line == "area_code,kind,states,zones" {
                has_header = true;
            } else {
                return Err(error("the first line must be 'area_code,kind,states,zones'".to_owned()));
            }
        }
        Ok(codes)
    }

    fn add_line(&mut self, line: &str) -> Result<(), String> {
        let columns: Vec<&str> = line.split(',').collect();
        let [code, kind, states, zones] = columns[..] else {
            return Err(format!("{} columns; write area_code,kind,states,zones", columns.len()));
        };
        let code: u16 =
            code.parse().map_err(|_| format!("'{code}' is not an area code; write 200 to 999"))?;
        if !(200..=999).contains(&code) {
            return Err(format!("{code} is not an area code; write 200 to 999"));
        }
        let kind = match kind {
            "geographic" => AreaCodeKind::Geographic,
            "toll_free" => AreaCodeKind::TollFree,
            "premium_rate" => AreaCodeKind::PremiumRate,
            "non_geographic" => AreaCodeKind::NonGeographic,
            _ => {
                return Err(format!(
                    "'{kind}' is not a kind; write geographic, toll_free, premium_rate or non_geographic"
                ));
            }
        };
        let states = states
            .split_ascii_whitespace()
            .map(|state| State::try_from(state.to_owned()))
            .collect::<Result<Vec<_>, _>>()?;
        let mut set = ZoneSet::default();
        for name in zones.split_ascii_whitespace() {
            set = set.union(self.intern(name)?);
        }
        if (kind == AreaCodeKind::Geographic) == set.is_empty() {
            return Err("a geographic code needs time zones, any other has none".to_owned());
        }
        for state in &states {
            let zones = self.zones_of_state.entry(*state).or_default();
            *zones = zones.union(set);
        }
        match self.find(code) {
            Ok(_) => return Err(format!("{code} is listed twice; keep one line")),
            Err(place) => self.codes.insert(place, AreaCode { code, kind, states, zones: set }),
        }
        Ok(())
    }

    fn intern(&mut self, name: &str) -> Result<ZoneSet, String> {
        if let Some(known) = self.zone_named(name) {
            return Ok(known);
        }
        if self.zones.len() == 64 {
            return Err(format!("'{name}' is the 65th time zone; a set of zones holds 64"));
        }
        let time_zone = TimeZone::get(name).map_err(|_| {
            format!("'{name}' is not a time zone; write an IANA name such as America/New_York")
        })?;
        self.zones.push(Zone { name: name.to_owned(), time_zone });
        Ok(ZoneSet(1 << (self.zones.len() - 1)))
    }

    fn find(&self, code: u16) -> Result<usize, usize> {
        self.codes.binary_search_by_key(&code, |known| known.code)
    }

    /// What is known about an area code; `None` when it is not assigned.
    pub fn get(&self, code: u16) -> Option<&AreaCode> {
        self.find(code).ok().map(|place| &self.codes[place])
    }

    /// The state an area code lies in; `None` when it lies in several, in none, or is not assigned.
    pub fn only_state_of(&self, code: u16) -> Option<State> {
        match self.get(code)?.states[..] {
            [state] => Some(state),
            _ => None,
        }
    }

    /// Every time zone of a state or province; empty when no area code belongs to it.
    pub fn zones_of_state(&self, state: State) -> ZoneSet {
        self.zones_of_state.get(&state).copied().unwrap_or_default()
    }

    /// The zone of this IANA name, as a set of one; `None` when no area code lies in it.
    pub fn zone_named(&self, name: &str) -> Option<ZoneSet> {
        self.zones.iter().position(|zone| zone.name == name).map(|index| ZoneSet(1 << index))
    }

    /// The zones of a set, in the order of the data.
    pub fn zones_in(&self, set: ZoneSet) -> impl Iterator<Item = &Zone> {
        self.zones.iter().enumerate().filter(move |(index, _)| set.0 >> index & 1 == 1).map(|(_, zone)| zone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn describe(codes: &AreaCodes, code: u16) -> String {
        let Some(found) = codes.get(code) else { return "unassigned".to_owned() };
        let states: Vec<String> = found.states.iter().map(ToString::to_string).collect();
        let zones: Vec<&str> = codes.zones_in(found.zones).map(|zone| zone.name.as_str()).collect();
        format!("{} in {}", states.join(" "), zones.join(" "))
    }

    #[test]
    fn shipped_codes_name_states_and_every_zone() {
        let codes = AreaCodes::shipped().expect("the shipped file parses");
        for (code, expected) in [
            (212, "NY in America/New_York"),
            (208, "ID in America/Los_Angeles America/Boise"),
            (850, "FL in America/New_York America/Chicago"),
            (928, "AZ in America/Denver America/Phoenix"),
            (902, "NS PE in America/Halifax"),
            (787, "PR in America/Puerto_Rico"),
            (345, " in America/Cayman"),
            (800, " in "),
            (211, "unassigned"),
        ] {
            assert_eq!(describe(&codes, code), expected, "area code {code}");
        }
    }

    #[test]
    fn every_state_and_province_has_an_area_code() {
        let codes = AreaCodes::shipped().expect("the shipped file parses");
        let all = "AL AK AZ AR CA CO CT DE DC FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY \
            NC ND OH OK OR PA RI SC SD TN TX UT VT VA WA WV WI WY PR VI GU MP AS \
            AB BC MB NB NL NS NT NU ON PE QC SK YT";
        for state in all.split_ascii_whitespace() {
            let state = State::try_from(state.to_owned()).expect("two capitals");
            assert!(!codes.zones_of_state(state).is_empty(), "{state} has no area code");
        }
        assert_eq!(codes.zones_of_state.len(), all.split_ascii_whitespace().count());
    }

    #[test]
    fn a_bad_line_is_named() {
        let header = "area_code,kind,states,zones\n";
        for (line, problem) in [
            ("212,geographic,NY", "3 columns"),
            ("100,geographic,NY,America/New_York", "100 is not an area code"),
            ("212,mobile,NY,America/New_York", "'mobile' is not a kind"),
            ("212,geographic,New York,America/New_York", "'New' is not a state"),
            ("212,geographic,NY,America/Gotham", "'America/Gotham' is not a time zone"),
            ("212,geographic,NY,", "a geographic code needs time zones"),
            ("800,toll_free,,America/New_York", "any other has none"),
            ("212,geographic,NY,UTC\n212,geographic,NY,UTC", "212 is listed twice"),
        ] {
            let error = AreaCodes::parse(&format!("{header}{line}\n")).expect_err(line);
            assert!(error.to_string().contains(problem), "{line}: {error}");
        }
        assert_eq!(AreaCodes::parse("212,geographic,NY,UTC").expect_err("no header").line, 1);
    }
}
