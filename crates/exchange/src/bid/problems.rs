//! What is wrong with a bid profile: every problem at once, without a look into the book.

use crate::bid::caps::{Caps, Limit, Pacing, Period};
use crate::bid::criteria::{Criteria, TagRule, TagTest};
use crate::bid::price::{PriceChange, REPORT_WITHIN_S};
use crate::bid::sip_uri::is_sip_uri;
use crate::bid::{BidProfile, Price};
use crate::book::MOST_MONEY;
use crate::refused::{FieldError, amount_problem, field_error, name_problem, word_problem};
use crate::schedule::DaySet;

/// The most trunks of one target.
const SIP_URIS_MAX: usize = 8;
/// The most limits of one bid or group.
const LIMITS_MAX: usize = 16;
/// The most tag rules of one set of criteria.
const TAG_RULES_MAX: usize = 64;
/// Of one list of thousands, so many entries are named.
const LISTED_MAX: usize = 20;

impl BidProfile {
    /// Everything that is wrong with it, as far as that can be told without the book.
    pub fn problems(&self) -> Vec<FieldError> {
        let mut problems = Vec::new();
        problems.extend(name_problem("name", &self.name));
        problems.extend(self.price.problems());
        problems.extend(word_problem("vertical", &self.vertical));
        problems.extend(self.criteria.problems("criteria"));
        problems.extend(self.modifier_problems());
        if self.schedule.hours.len() > 100 {
            problems.push(field_error(
                "schedule.hours",
                "has more than 100 stretches",
                "join those that touch",
            ));
        }
        for (place, _) in self.schedule.hours.iter().enumerate().filter(|(_, open)| open.from >= open.to) {
            let fix = "give a later 'to'; a stretch past midnight is two, one for each day";
            problems.push(field_error(
                format!("schedule.hours[{place}]"),
                "does not end after it begins",
                fix,
            ));
        }
        problems.extend(self.caps.problems());
        if self.schedule.holidays.len() > 100 {
            problems.push(field_error("schedule.holidays", "has more than 100 days", "drop those gone by"));
        }
        if self.weight == 0 || self.weight > 1_000_000 {
            problems.push(field_error("weight", "is not between 1 and 1000000", "1 is an ordinary share"));
        }
        if self.skills.len() > 64 {
            problems.push(field_error("skills", "has more than 64 entries", "keep those that calls ask for"));
        }
        problems.extend(self.skills.iter().filter_map(|skill| word_problem("skills", skill)));
        if self.priority == 0 {
            problems.push(field_error("priority", "is 0", "1 goes first"));
        }
        problems.extend(self.destination_problems());
        problems.extend(self.live_problems());
        if self.ring_timeout_ms.is_some_and(|timeout_ms| !(1_000..=180_000).contains(&timeout_ms)) {
            problems.push(field_error(
                "ring_timeout_ms",
                "is not between 1000 and 180000",
                "leave it out for the default",
            ));
        }
        if self.max_call_s.is_some_and(|max_call_s| !(1..=86_400).contains(&max_call_s)) {
            problems.push(field_error(
                "max_call_s",
                "is not between 1 and 86400",
                "leave it out for the default",
            ));
        }
        if self.max_call_s.is_some_and(|max_call_s| max_call_s < self.conversion.min_connected_s) {
            problems.push(field_error(
                "max_call_s",
                "is below conversion.min_connected_s",
                "a call could never convert",
            ));
        }
        if self.conversion.min_connected_s > 86_400 {
            problems.push(field_error("conversion.min_connected_s", "is above 86400", "give seconds"));
        }
        problems
    }

    fn modifier_problems(&self) -> Vec<FieldError> {
        let mut problems = Vec::new();
        if self.modifiers.len() > 32 {
            problems.push(field_error(
                "modifiers",
                "has more than 32 entries",
                "join those that do the same",
            ));
        }
        let is_share = matches!(self.price, Price::RevenueShare { .. });
        for (place, modifier) in self.modifiers.iter().enumerate() {
            let change = || format!("modifiers[{place}].change");
            problems.extend(modifier.when.problems(&format!("modifiers[{place}].when")));
            let outside = match modifier.change {
                PriceChange::AddMicros(micros) => micros.0.abs() > MOST_MONEY.0,
                PriceChange::MultiplyBasisPoints(factor) => !(1..=1_000_000).contains(&factor),
                PriceChange::OverrideMicros(micros) => !(1..=MOST_MONEY.0).contains(&micros.0),
                PriceChange::Reject => false,
            };
            if outside {
                let fix = "give micro-units above 0, or 1 to 1000000 basis points; 12500 is a quarter more";
                problems.push(field_error(change(), "is out of bounds", fix));
            }
            if is_share && modifier.change != PriceChange::Reject {
                let fix = "only reject works there: the amount is the buyer's to report";
                problems.push(field_error(change(), "changes a revenue share", fix));
            }
        }
        problems
    }

    fn live_problems(&self) -> Vec<FieldError> {
        let Some(live) = &self.live else { return Vec::new() };
        let mut problems = live.problems();
        if !matches!(self.price, Price::PerCall { .. }) {
            problems.push(field_error(
                "price.type",
                "is not per_call for a live bidder",
                "give the most it may bid for one call",
            ));
        }
        if !self.modifiers.is_empty() {
            problems.push(field_error("modifiers", "are set for a live bidder", "it names its own price"));
        }
        problems
    }

    fn destination_problems(&self) -> Vec<FieldError> {
        let uris = &self.destination.sip_uris;
        if uris.is_empty() || uris.len() > SIP_URIS_MAX {
            let problem = format!("does not have 1 to {SIP_URIS_MAX} entries");
            let fix = "give the target's trunks, best first";
            return vec![field_error("destination.sip_uris", problem, fix)];
        }
        let malformed = uris.iter().enumerate().filter(|(_, uri)| !is_sip_uri(uri));
        let problem = |(place, _)| {
            let fix = "write sip:user@host:port, with ;transport=tcp for TCP";
            field_error(format!("destination.sip_uris[{place}]"), "is not a SIP URI", fix)
        };
        malformed.map(problem).collect()
    }
}

impl Criteria {
    /// The problems of criteria; `field` is where they stand.
    pub(crate) fn problems(&self, field: &str) -> Vec<FieldError> {
        let mut problems = Vec::new();
        let at = |name: &str| format!("{field}.{name}");
        let area_codes = self.area_codes.iter().filter(|area_code| !(200..1_000).contains(*area_code));
        problems.extend(area_codes.take(LISTED_MAX).map(|area_code| {
            let problem = format!("names {area_code}, which is not between 200 and 999");
            field_error(at("area_codes"), problem, "give three-digit area codes")
        }));
        let unknown = self.states.iter().filter(|state| !state.is_known());
        problems.extend(unknown.map(|state| {
            let fix = "name states, territories and provinces by their postal codes, such as FL, PR or ON";
            field_error(at("states"), format!("names {state}, which there is not"), fix)
        }));
        if self.zips.len() > 50_000 {
            problems.push(field_error(
                at("zips"),
                "has more than 50000 ZIP codes",
                "name states, or a radius",
            ));
        }
        if self.zip_radius.is_some_and(|radius| !(1..=3_000).contains(&radius.radius_miles)) {
            problems.push(field_error(
                at("zip_radius.radius_miles"),
                "is not between 1 and 3000",
                "give whole miles",
            ));
        }
        if self.zip_radius.is_some_and(|radius| !crate::place::is_known(radius.zip)) {
            problems.push(field_error(
                at("zip_radius.zip"),
                "is not on the map of ZIP codes",
                "take a neighbouring one",
            ));
        }
        if self.tags.len() > TAG_RULES_MAX {
            problems.push(field_error(at("tags"), "has more than 64 tag rules", "ask for at most 64"));
        }
        let rules = self.tags.iter().enumerate();
        problems.extend(rules.filter_map(|(place, rule)| rule.problem(&at(&format!("tags[{place}]")))));
        problems.extend(contradictions(&self.tags, &at("tags")));
        if self.max_fraud_score.is_some_and(|score| score > 100) {
            problems.push(field_error(at("max_fraud_score"), "is above 100", "give 0 to 100"));
        }
        if self.min_seller_quality.is_some_and(|quality| quality > 1_000) {
            problems.push(field_error(at("min_seller_quality"), "is above 1000", "give 0 to 1000"));
        }
        let both = self.sellers.intersection(&self.denied_sellers);
        problems.extend(both.map(|seller| {
            let problem = format!("names {seller}, which is one of sellers too");
            field_error(at("denied_sellers"), problem, "take it out of one of them")
        }));
        for (name, sellers) in [("sellers", &self.sellers), ("denied_sellers", &self.denied_sellers)] {
            if sellers.len() > 1_000 {
                problems.push(field_error(
                    at(name),
                    "names more than 1000 sellers",
                    "name those that matter",
                ));
            }
        }
        problems
    }
}

impl TagRule {
    fn problem(&self, field: &str) -> Option<FieldError> {
        let bytes = match &self.is {
            TagTest::Equals(text) | TagTest::Contains(text) => text.len(),
            TagTest::In(texts) => texts.iter().map(String::len).sum(),
            TagTest::Greater(_) | TagTest::Less(_) | TagTest::Matches(_) => 0,
        };
        let test = || format!("{field}.is");
        word_problem(format!("{field}.name"), &self.name)
            .or_else(|| (bytes > 10_000).then(|| field_error(test(), "is above 10000 bytes", "shorten it")))
            .or_else(|| {
                let is_empty = matches!(&self.is, TagTest::In(texts) if texts.is_empty());
                is_empty.then(|| field_error(test(), "names no values", "name those that will do"))
            })
    }
}

/// Tag rules that no call meets, each at the last rule that makes it so.
fn contradictions(rules: &[TagRule], field: &str) -> Vec<FieldError> {
    // More rules than that are a problem of their own, and would take long.
    let rules = rules.get(..TAG_RULES_MAX).unwrap_or(rules);
    let mut problems: Vec<FieldError> = Vec::new();
    let mut names_done: Vec<&str> = Vec::new();
    for (place, rule) in rules.iter().enumerate() {
        if names_done.contains(&rule.name.as_str()) {
            continue;
        }
        let of_name: Vec<&TagRule> = rules[..=place].iter().filter(|other| other.name == rule.name).collect();
        if of_name.len() > 1 && !can_be_met(&of_name) {
            names_done.push(&rule.name);
            problems.push(field_error(
                format!("{field}[{place}].is"),
                format!("contradicts the rules before it: no '{}' meets them all", rule.name),
                "take one of them out, or join them with \"in\"",
            ));
        }
    }
    problems
}

/// Whether some value of one tag, or its absence, may meet all of these rules; yes where that cannot be told.
fn can_be_met(rules: &[&TagRule]) -> bool {
    let wanted = rules.iter().filter(|rule| !rule.not);
    let all_met = |value: &str| rules.iter().all(|rule| rule.is_met(Some(value)));
    for rule in wanted.clone() {
        match &rule.is {
            TagTest::Equals(value) => return all_met(value),
            TagTest::In(values) => return values.is_empty() || values.iter().any(|value| all_met(value)),
            TagTest::Contains(_) | TagTest::Greater(_) | TagTest::Less(_) | TagTest::Matches(_) => {}
        }
    }
    let above = wanted.clone().filter_map(|rule| match rule.is {
        TagTest::Greater(bound) => Some(i128::from(bound)),
        _ => None,
    });
    let below = wanted.clone().filter_map(|rule| match rule.is {
        TagTest::Less(bound) => Some(i128::from(bound)),
        _ => None,
    });
    let is_empty_range = above.max().zip(below.min()).is_some_and(|(above, below)| above + 1 >= below);
    let is_denied = |rule: &&&TagRule| rules.iter().any(|other| other.not && other.is == rule.is);
    !is_empty_range && !wanted.clone().any(|rule| is_denied(&rule))
}

impl Caps {
    fn problems(&self) -> Vec<FieldError> {
        let mut problems = limit_problems("caps.limits", &self.limits);
        let mut days = DaySet::default();
        for (place, row) in self.concurrent_calls_by_hour.iter().enumerate() {
            if !days.insert(row.day) {
                let field = format!("caps.concurrent_calls_by_hour[{place}].day");
                problems.push(field_error(field, "is there already", "give each day once"));
            }
        }
        if self.pacing == Pacing::Even && !self.limits.iter().any(|limit| limit.per == Period::Day) {
            let fix = "add a limit per day, or leave pacing out";
            problems.push(field_error("caps.pacing", "is even without a limit per day to spread", fix));
        }
        problems
    }
}

/// What is wrong with limits; `field` is where they stand.
pub(crate) fn limit_problems(field: &str, limits: &[Limit]) -> Vec<FieldError> {
    let mut problems = Vec::new();
    if limits.len() > LIMITS_MAX {
        let problem = format!("has more than {LIMITS_MAX} entries");
        return vec![field_error(field.to_owned(), problem, "give one for each period")];
    }
    for (place, limit) in limits.iter().enumerate() {
        let at = |name: &str| format!("{field}[{place}].{name}");
        problems.extend(limit.spend_micros.and_then(|cap| amount_problem(at("spend_micros"), cap, 0)));
        if limit.units().iter().all(|(_, is_set)| !is_set) {
            let fix = "give calls, conversions or spend_micros";
            problems.push(field_error(format!("{field}[{place}]"), "is a limit of nothing", fix));
        }
        let before = limits[..place].iter().filter(|other| other.per == limit.per);
        for (index, (unit, is_set)) in limit.units().into_iter().enumerate() {
            if is_set && before.clone().any(|other| other.units()[index].1) {
                let fix = "keep the lower of them";
                problems.push(field_error(at(unit), "is limited already in the same period", fix));
            }
        }
    }
    problems
}

impl Limit {
    /// What it may limit, and whether it does.
    fn units(&self) -> [(&'static str, bool); 3] {
        [
            ("calls", self.calls.is_some()),
            ("conversions", self.conversions.is_some()),
            ("spend_micros", self.spend_micros.is_some()),
        ]
    }
}

impl Price {
    fn problems(&self) -> Vec<FieldError> {
        match *self {
            Self::PerCall { amount_micros } => {
                amount_problem("price.amount_micros", amount_micros, 1).into_iter().collect()
            }
            Self::PerMinute { rate_micros, first_increment_s, next_increment_s } => {
                let mut problems: Vec<_> =
                    amount_problem("price.rate_micros", rate_micros, 1).into_iter().collect();
                // Ten thousand times less than the most money, so that a day of minutes still fits.
                if rate_micros.0 > MOST_MONEY.0 / 10_000 {
                    problems.push(field_error(
                        "price.rate_micros",
                        "is too large",
                        "give micro-units for sixty seconds",
                    ));
                }
                if first_increment_s > 3_600 {
                    problems.push(field_error(
                        "price.first_increment_s",
                        "is above 3600",
                        "give seconds, such as 30",
                    ));
                }
                if !(1..=3_600).contains(&next_increment_s) {
                    problems.push(field_error(
                        "price.next_increment_s",
                        "is not between 1 and 3600",
                        "give seconds, such as 6",
                    ));
                }
                problems
            }
            Self::RevenueShare {
                share_basis_points,
                min_micros,
                max_micros,
                expected_micros,
                report_within_s,
            } => {
                let mut problems: Vec<_> = [
                    amount_problem("price.min_micros", min_micros, 0),
                    amount_problem("price.max_micros", max_micros, 1),
                    amount_problem("price.expected_micros", expected_micros, 1),
                ]
                .into_iter()
                .flatten()
                .collect();
                if !(1..=10_000).contains(&share_basis_points) {
                    problems.push(field_error(
                        "price.share_basis_points",
                        "is not between 1 and 10000",
                        "give basis points: 1500 is 15 %",
                    ));
                }
                if min_micros > max_micros {
                    let fix = "give at least min_micros: it is the most that a call may cost";
                    problems.push(field_error("price.max_micros", "is below min_micros", fix));
                } else if !(min_micros..=max_micros).contains(&expected_micros) {
                    problems.push(field_error(
                        "price.expected_micros",
                        "is not between min_micros and max_micros",
                        "give what a call comes to on average",
                    ));
                }
                if !REPORT_WITHIN_S.contains(&report_within_s) {
                    problems.push(field_error(
                        "price.report_within_s",
                        "is not between 60 and 2592000",
                        "give seconds: 86400 is a day",
                    ));
                }
                problems
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn bid() -> Value {
        json!({
            "id": "00000000-0000-0000-0000-0000000000b1",
            "buyer": "00000000-0000-0000-0000-000000000001",
            "name": "roofs",
            "status": "active",
            "vertical": "roofing",
            "price": { "type": "per_call", "amount_micros": 1 },
            "conversion": { "min_connected_s": 90 },
            "destination": { "sip_uris": ["sip:roofs@example.com"] },
        })
    }

    /// The problems of a bid with these members, as "field problem".
    fn problems(members: &Value) -> Vec<String> {
        let mut bid = bid();
        let members = members.as_object().expect("an object").clone();
        bid.as_object_mut().expect("an object").extend(members);
        let bid: BidProfile = serde_json::from_value(bid).expect("a bid");
        let problems = bid.problems();
        assert!(problems.iter().all(|problem| !problem.fix.is_empty()), "{problems:?}");
        problems.iter().map(|problem| format!("{} {}", problem.field, problem.problem)).collect()
    }

    #[test]
    fn all_of_several_are_named_each_in_its_place() {
        let share = |least, expected, most| {
            json!({ "type": "revenue_share", "share_basis_points": 1_500, "min_micros": least,
                    "expected_micros": expected, "max_micros": most })
        };
        let hours = |day, from, to| json!({ "day": day, "from": from, "to": to });
        let row = |day| json!({ "day": day, "calls": vec![1; 24] });
        let seller = "00000000-0000-0000-0000-000000000051";
        let cases = [
            (json!({}), &[] as &[&str]),
            (
                json!({ "skills": ["A", "b", "c d"] }),
                &["skills 'A' is not a plain word", "skills 'c d' is not a plain word"],
            ),
            (
                json!({ "destination": { "sip_uris": ["tel:1", "sip:a@b", "sip:a b@c"] } }),
                &["destination.sip_uris[0] is not a SIP URI", "destination.sip_uris[2] is not a SIP URI"],
            ),
            (
                json!({ "schedule": { "time_zone": "UTC", "hours": [
                    hours("mon", "09:00", "09:00"), hours("mon", "09:00", "17:00"), hours("tue", "17:00", "09:00")] } }),
                &[
                    "schedule.hours[0] does not end after it begins",
                    "schedule.hours[2] does not end after it begins",
                ],
            ),
            (
                json!({ "caps": { "limits": [
                    { "per": "day", "calls": 5 }, { "per": "day" }, { "per": "hour", "calls": 5 },
                    { "per": "day", "calls": 9, "spend_micros": -1 }, { "per": "day", "spend_micros": 1 }] } }),
                &[
                    "caps.limits[1] is a limit of nothing",
                    "caps.limits[3].spend_micros is not between 0 and 9223372036854775",
                    "caps.limits[3].calls is limited already in the same period",
                    "caps.limits[4].spend_micros is limited already in the same period",
                ],
            ),
            (
                json!({ "caps": { "concurrent_calls_by_hour": [row("mon"), row("tue"), row("mon")] } }),
                &["caps.concurrent_calls_by_hour[2].day is there already"],
            ),
            (
                json!({ "caps": { "pacing": "even", "limits": [{ "per": "hour", "calls": 5 }] } }),
                &["caps.pacing is even without a limit per day to spread"],
            ),
            (json!({ "caps": { "pacing": "even", "limits": [{ "per": "day", "calls": 5 }] } }), &[]),
            (json!({ "price": share(5, 7, 3) }), &["price.max_micros is below min_micros"]),
            (
                json!({ "price": share(3, 9, 5) }),
                &["price.expected_micros is not between min_micros and max_micros"],
            ),
            (json!({ "price": share(3, 4, 5) }), &[]),
            (
                json!({ "criteria": { "states": ["FL", "XX", "ZZ"], "area_codes": [99, 305, 1000] } }),
                &[
                    "criteria.area_codes names 99, which is not between 200 and 999",
                    "criteria.area_codes names 1000, which is not between 200 and 999",
                    "criteria.states names XX, which there is not",
                    "criteria.states names ZZ, which there is not",
                ],
            ),
            (
                json!({ "criteria": { "sellers": [seller], "denied_sellers": [seller] } }),
                &[
                    "criteria.denied_sellers names 00000000-0000-0000-0000-000000000051, which is one of sellers too",
                ],
            ),
            (
                json!({ "modifiers": [{ "change": "reject" }, { "when": { "states": ["XX"] }, "change": "reject" }] }),
                &["modifiers[1].when.states names XX, which there is not"],
            ),
        ];
        for (members, expected) in cases {
            assert_eq!(problems(&members), expected, "{members}");
        }
    }

    #[test]
    fn tag_rules_that_no_call_meets_contradict_each_other() {
        let rule = |is: Value| json!({ "name": "source", "is": is });
        let not = |is: Value| json!({ "name": "source", "is": is, "not": true });
        let equals = |value: &str| json!({ "equals": value });
        let of_other = json!({ "name": "other", "is": { "equals": "b" } });
        for (rules, at) in [
            (vec![rule(equals("a")), rule(equals("b"))], Some(1)),
            (vec![rule(equals("a")), of_other.clone(), not(equals("a"))], Some(2)),
            (vec![rule(equals("a")), rule(json!({ "in": ["b", "c"] }))], Some(1)),
            (vec![rule(json!({ "in": ["a", "b"] })), not(equals("a")), not(equals("b"))], Some(2)),
            (vec![rule(json!({ "greater": 5 })), rule(json!({ "less": 6 }))], Some(1)),
            (vec![rule(json!({ "greater": 5 })), rule(equals("5"))], Some(1)),
            (vec![rule(json!({ "contains": "x" })), not(json!({ "contains": "x" }))], Some(1)),
            (vec![rule(equals("a")), rule(json!({ "matches": "^b" }))], Some(1)),
            (vec![rule(equals("a")), of_other], None),
            (vec![rule(equals("a")), rule(equals("a")), not(equals("b"))], None),
            (vec![rule(json!({ "in": ["a", "b"] })), not(equals("a"))], None),
            (vec![rule(json!({ "greater": 5 })), rule(json!({ "less": 7 }))], None),
            (vec![not(equals("a")), not(equals("b")), not(json!({ "contains": "" }))], None),
            (vec![rule(json!({ "contains": "x" })), rule(json!({ "contains": "y" }))], None),
        ] {
            let found = problems(&json!({ "criteria": { "tags": rules } }));
            let expected = at.map(|at| {
                format!("criteria.tags[{at}].is contradicts the rules before it: no 'source' meets them all")
            });
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{rules:?}");
        }
    }
}
