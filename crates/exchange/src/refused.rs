//! What is wrong with a command: every problem at once, each with its field and its fix.

use crate::account::{Account, AccountKind};
use crate::bid::live::LiveBidder;
use crate::bid::sip_uri::is_sip_uri;
use crate::bid::{BidProfile, Price};
use crate::book::MOST_MONEY;
use crate::ledger::money::Micros;
use crate::tracking_number::TrackingNumber;
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
    pub field: &'static str,
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
    field: &'static str,
    problem: impl Into<Cow<'static, str>>,
    fix: impl Into<Cow<'static, str>>,
) -> FieldError {
    FieldError { field, problem: problem.into(), fix: fix.into() }
}

impl CommandRefused {
    /// `Ok` when there are no problems.
    pub(crate) fn unless_valid(problems: Vec<FieldError>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self::Invalid(problems)) }
    }
}

fn name_problem(field: &'static str, text: &str) -> Option<FieldError> {
    (text.trim().is_empty() || text.len() > 200)
        .then(|| field_error(field, "is empty or longer than 200 bytes", "give a short name"))
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
fn word_problem(field: &'static str, word: &str) -> Option<FieldError> {
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
        problems.extend(word_problem("criteria.vertical", &self.criteria.vertical));
        if self.criteria.area_codes.iter().any(|area_code| !(200..1_000).contains(area_code)) {
            problems.push(field_error(
                "criteria.area_codes",
                "has a code outside 200 to 999",
                "give three-digit area codes",
            ));
        }
        if self.criteria.tags.len() > 64 {
            problems.push(field_error(
                "criteria.tags",
                "has more than 64 entries",
                "ask for at most 64 tags",
            ));
        }
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
        problems.extend(
            self.caps.daily_spend_micros.and_then(|cap| amount_problem("caps.daily_spend_micros", cap, 0)),
        );
        if self.priority == 0 {
            problems.push(field_error("priority", "is 0", "1 goes first"));
        }
        problems.extend(self.destination_problem());
        problems.extend(self.live.iter().flat_map(LiveBidder::problems));
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
        }
    }
}
