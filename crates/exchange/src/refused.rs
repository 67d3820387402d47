//! What is wrong with a command: every problem at once, each with its field and its fix.

use crate::account::{Account, AccountKind};
use crate::auction::clear::AuctionType;
use crate::bid::caps::{CapGroup, Limit};
use crate::bid::criteria::{Criteria, TagRule, TagTest};
use crate::bid::price::{PriceChange, REPORT_WITHIN_S};
use crate::bid::sip_uri::is_sip_uri;
use crate::bid::{BidProfile, Price};
use crate::book::MOST_MONEY;
use crate::ledger::money::Micros;
use crate::recent_calls::WINDOW_S_MAX;
use crate::tracking_number::TrackingNumber;
use crate::trading_rules::{Deal, Duplicates, Recovery, Scope, ScopedRules};
use serde::Serialize;
use std::borrow::Cow;

/// Why a command changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandRefused {
    /// Fields with problems; never empty.
    #[error("{}", list(.0))]
    Invalid(Vec<FieldError>),
    /// There is no such thing.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(String),
}

/// One field's problem and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct FieldError {
    /// Such as `price.amount_micros`.
    pub field: Cow<'static, str>,
    /// What is wrong with its value.
    pub problem: Cow<'static, str>,
    /// What to send instead.
    pub fix: Cow<'static, str>,
}

fn list(errors: &[FieldError]) -> String {
    errors
        .iter()
        .map(|error| format!("{} {}: {}", error.field, error.problem, error.fix))
        .collect::<Vec<_>>()
        .join("; ")
}

pub(crate) fn field_error(
    field: impl Into<Cow<'static, str>>,
    problem: impl Into<Cow<'static, str>>,
    fix: impl Into<Cow<'static, str>>,
) -> FieldError {
    FieldError { field: field.into(), problem: problem.into(), fix: fix.into() }
}

impl CommandRefused {
    /// `Ok` when there are no problems.
    pub(crate) fn unless_valid(problems: Vec<FieldError>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self::Invalid(problems)) }
    }
}

fn name_problem(field: &'static str, text: &str) -> Option<FieldError> {
    (text.trim().is_empty() || text.len() > 200 || text.chars().any(char::is_control)).then(|| {
        let problem = "is empty, longer than 200 bytes, or has control characters";
        field_error(field, problem, "give a short name")
    })
}

fn amount_problem(field: &'static str, amount: Micros, least: i64) -> Option<FieldError> {
    (amount.0 < least || amount > MOST_MONEY).then(|| {
        field_error(
            field,
            format!("is not between {least} and {}", MOST_MONEY.0),
            "give micro-units: 1.00 is 1000000",
        )
    })
}

/// Verticals and tag names are identifiers, so that bids and numbers meet on the same spelling.
fn word_problem(field: impl Into<Cow<'static, str>>, word: &str) -> Option<FieldError> {
    let well_formed = !word.is_empty()
        && word.len() <= 64
        && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    (!well_formed).then(|| {
        field_error(
            field,
            format!("'{word}' is not a plain word"),
            "use 1 to 64 of a-z, 0-9 and _, such as home_services",
        )
    })
}

impl Account {
    pub(crate) fn problems(&self) -> Vec<FieldError> {
        let mut problems = Vec::new();
        problems.extend(name_problem("name", &self.name));
        problems.extend(amount_problem("credit_limit_micros", self.credit_limit_micros, 0));
        if self.kind == AccountKind::Seller && self.credit_limit_micros != Micros::ZERO {
            problems.push(field_error(
                "credit_limit_micros",
                "is set for a seller",
                "leave it at 0: only buyers have credit",
            ));
        }
        problems
    }
}

impl TrackingNumber {
    pub(crate) fn problems(&self) -> Vec<FieldError> {
        let mut problems = Vec::new();
        problems.extend(word_problem("vertical", &self.vertical));
        problems.extend(amount_problem("floor_micros", self.floor_micros, 0));
        if self.payout_basis_points > 10_000 {
            problems.push(field_error(
                "payout_basis_points",
                "is above 10000",
                "give basis points: 7000 is 70 %",
            ));
        }
        if self.tags.len() > 64 {
            problems.push(field_error("tags", "has more than 64 entries", "keep the 64 that bids ask for"));
        }
        problems.extend(self.tags.keys().find_map(|name| word_problem("tags", name)));
        problems
    }
}

impl BidProfile {
    pub(crate) fn problems(&self) -> Vec<FieldError> {
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
        if self.schedule.hours.iter().any(|open| open.from >= open.to) {
            let fix = "give a later 'to'; a stretch past midnight is two, one for each day";
            problems.push(field_error(
                "schedule.hours",
                "has a stretch that does not end after it begins",
                fix,
            ));
        }
        problems.extend(limit_problems("caps.limits", &self.caps.limits));
        if self.caps.concurrent_calls_by_hour.len() > 7 {
            problems.push(field_error(
                "caps.concurrent_calls_by_hour",
                "has more than 7 days",
                "give each day once",
            ));
        }
        if self.schedule.holidays.len() > 100 {
            problems.push(field_error("schedule.holidays", "has more than 100 days", "drop those gone by"));
        }
        if self.weight == 0 || self.weight > 1_000_000 {
            problems.push(field_error("weight", "is not between 1 and 1000000", "1 is an ordinary share"));
        }
        if self.skills.len() > 64 {
            problems.push(field_error("skills", "has more than 64 entries", "keep those that calls ask for"));
        }
        problems.extend(self.skills.iter().find_map(|skill| word_problem("skills", skill)));
        if self.priority == 0 {
            problems.push(field_error("priority", "is 0", "1 goes first"));
        }
        problems.extend(self.destination_problem());
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

    fn destination_problem(&self) -> Option<FieldError> {
        let uris = &self.destination.sip_uris;
        if uris.is_empty() || uris.len() > 8 {
            return Some(field_error(
                "destination.sip_uris",
                "does not have 1 to 8 entries",
                "give the target's trunks, best first",
            ));
        }
        let malformed = uris.iter().find(|uri| !is_sip_uri(uri));
        malformed.map(|uri| {
            let problem = format!("'{}' is not a SIP URI", uri.chars().take(60).collect::<String>());
            field_error(
                "destination.sip_uris",
                problem,
                "write sip:user@host:port, with ;transport=tcp for TCP",
            )
        })
    }
}

impl Criteria {
    /// The problems of criteria; `field` is where they stand.
    pub(crate) fn problems(&self, field: &str) -> Vec<FieldError> {
        let mut problems = Vec::new();
        let at = |name: &str| format!("{field}.{name}");
        if self.area_codes.iter().any(|area_code| !(200..1_000).contains(area_code)) {
            problems.push(field_error(
                at("area_codes"),
                "has an area code outside 200 to 999",
                "give three-digit area codes",
            ));
        }
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
                "has a radius outside 1 to 3000 miles",
                "give whole miles",
            ));
        }
        if self.zip_radius.is_some_and(|radius| !crate::place::is_known(radius.zip)) {
            problems.push(field_error(
                at("zip_radius.zip"),
                "has a radius around a ZIP code that is not on the map",
                "take a neighbouring one",
            ));
        }
        if self.tags.len() > 64 {
            problems.push(field_error(at("tags"), "has more than 64 tag rules", "ask for at most 64"));
        }
        let rules = self.tags.iter().enumerate();
        problems.extend(rules.filter_map(|(place, rule)| rule.problem(&at(&format!("tags[{place}]")))));
        if self.max_fraud_score.is_some_and(|score| score > 100) {
            problems.push(field_error(at("max_fraud_score"), "has a fraud score above 100", "give 0 to 100"));
        }
        if self.min_seller_quality.is_some_and(|quality| quality > 1_000) {
            problems.push(field_error(
                at("min_seller_quality"),
                "has a seller quality above 1000",
                "give 0 to 1000",
            ));
        }
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

fn limit_problems(field: &'static str, limits: &[Limit]) -> Vec<FieldError> {
    let mut problems = Vec::new();
    if limits.len() > 16 {
        problems.push(field_error(field, "has more than 16 entries", "give one for each period"));
    }
    let spends = limits.iter().filter_map(|limit| limit.spend_micros);
    problems.extend(spends.filter_map(|cap| amount_problem(field, cap, 0)).take(1));
    if limits
        .iter()
        .any(|limit| limit.calls.is_none() && limit.conversions.is_none() && limit.spend_micros.is_none())
    {
        problems.push(field_error(
            field,
            "has a limit of nothing",
            "give calls, conversions or spend_micros",
        ));
    }
    problems
}

impl CapGroup {
    pub(crate) fn problems(&self) -> Vec<FieldError> {
        let mut problems: Vec<FieldError> = name_problem("name", &self.name).into_iter().collect();
        problems.extend(limit_problems("limits", &self.limits));
        problems
    }
}

impl Deal {
    pub(crate) fn problems(&self) -> Vec<FieldError> {
        let mut problems: Vec<FieldError> = name_problem("name", &self.name).into_iter().collect();
        problems.extend(amount_problem("floor_micros", self.floor_micros, 0));
        problems.extend(self.vertical.as_ref().and_then(|vertical| word_problem("vertical", vertical)));
        if self.buyers.is_empty() || self.buyers.len() > 16 {
            problems.push(field_error("buyers", "does not have 1 to 16 entries", "name the deal's buyers"));
        }
        problems
    }
}

impl ScopedRules {
    pub(crate) fn problems(&self) -> Vec<FieldError> {
        let mut problems = Vec::new();
        if let Scope::Vertical(vertical) = &self.scope {
            problems.extend(word_problem("scope.vertical", vertical));
        }
        problems.extend(self.floor_micros.and_then(|floor| amount_problem("floor_micros", floor, 0)));
        problems.extend(self.increment_micros.and_then(|step| amount_problem("increment_micros", step, 0)));
        if self.auction_type == Some(AuctionType::FixedPrice)
            && self.floor_micros.is_none_or(|floor| floor <= Micros::ZERO)
        {
            problems.push(field_error(
                "floor_micros",
                "is not set for a fixed price",
                "give the price: every winner pays the floor",
            ));
        }
        if self
            .bidding_deadline_ms
            .is_some_and(|deadline_ms| deadline_ms != 0 && !(5..=5_000).contains(&deadline_ms))
        {
            let fix = "0 asks no live bidder";
            problems.push(field_error("bidding_deadline_ms", "is not 0, or 5 to 5000", fix));
        }
        if self.recovery.is_some_and(|Recovery { attempts_max, early_s }| attempts_max > 20 || early_s > 600)
        {
            problems.push(field_error(
                "recovery",
                "is above 20 attempts or 600 s",
                "5 attempts and 10 s are usual",
            ));
        }
        let too_long = |Duplicates { routing_window_s, charge_window_s, payout_window_s, .. }: Duplicates| {
            [routing_window_s, charge_window_s, payout_window_s]
                .iter()
                .any(|window_s| *window_s > WINDOW_S_MAX)
        };
        if self.duplicates.is_some_and(too_long) {
            problems.push(field_error(
                "duplicates",
                "has a window above 31 days",
                "give seconds, up to 2678400",
            ));
        }
        problems
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
                if !(min_micros <= expected_micros && expected_micros <= max_micros) {
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

/// What is wrong with somebody's own reference.
pub(crate) fn reference_problem(reference: &str, fix: &'static str) -> Option<FieldError> {
    let is_wrong = reference.is_empty() || reference.len() > 100 || reference.chars().any(char::is_control);
    let problem = "is empty, longer than 100 bytes, or has control characters";
    is_wrong.then(|| field_error("reference", problem, fix))
}
