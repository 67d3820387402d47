//! What is wrong with a command: every problem at once, each with its field and its fix.

use crate::account::{Account, AccountKind};
use crate::auction::clear::AuctionType;
use crate::bid::caps::CapGroup;
use crate::bid::problems::limit_problems;
use crate::book::MOST_MONEY;
use crate::ledger::money::Micros;
use crate::recent_calls::WINDOW_S_MAX;
use crate::tracking_number::TrackingNumber;
use crate::trading_rules::{Deal, Duplicates, Recovery, Scope, ScopedRules};
use serde::{Deserialize, Serialize};
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

pub(crate) fn name_problem(field: &'static str, text: &str) -> Option<FieldError> {
    (text.trim().is_empty() || text.len() > 200 || text.chars().any(char::is_control)).then(|| {
        let problem = "is empty, longer than 200 bytes, or has control characters";
        field_error(field, problem, "give a short name")
    })
}

pub(crate) fn amount_problem(
    field: impl Into<Cow<'static, str>>,
    amount: Micros,
    least: i64,
) -> Option<FieldError> {
    (amount.0 < least || amount > MOST_MONEY).then(|| {
        field_error(
            field,
            format!("is not between {least} and {}", MOST_MONEY.0),
            "give micro-units: 1.00 is 1000000",
        )
    })
}

/// Verticals and tag names are identifiers, so that bids and numbers meet on the same spelling.
pub(crate) fn word_problem(field: impl Into<Cow<'static, str>>, word: &str) -> Option<FieldError> {
    let well_formed = !word.is_empty()
        && word.len() <= 64
        && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    (!well_formed).then(|| {
        field_error(
            field,
            format!("'{}' is not a plain word", word.chars().take(60).collect::<String>()),
            "use 1 to 64 of a-z, 0-9 and _, such as home_services",
        )
    })
}

impl Account {
    /// Everything that is wrong with it, as far as that can be told without the book.
    pub fn problems(&self) -> Vec<FieldError> {
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
    /// Everything that is wrong with it, as far as that can be told without the book.
    pub fn problems(&self) -> Vec<FieldError> {
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
        problems.extend(self.tags.keys().take(64).filter_map(|name| word_problem("tags", name)));
        problems
    }
}

impl CapGroup {
    /// Everything that is wrong with it, as far as that can be told without the book.
    pub fn problems(&self) -> Vec<FieldError> {
        let mut problems: Vec<FieldError> = name_problem("name", &self.name).into_iter().collect();
        problems.extend(limit_problems("limits", &self.limits));
        problems
    }
}

impl Deal {
    /// Everything that is wrong with it, as far as that can be told without the book.
    pub fn problems(&self) -> Vec<FieldError> {
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
    /// Everything that is wrong with it, as far as that can be told without the book.
    pub fn problems(&self) -> Vec<FieldError> {
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
        if let Some(Recovery { attempts_max, early_s }) = self.recovery {
            if attempts_max > 20 {
                problems.push(field_error("recovery.attempts_max", "is above 20", "5 attempts are usual"));
            }
            if early_s > 600 {
                problems.push(field_error("recovery.early_s", "is above 600", "10 seconds are usual"));
            }
        }
        if let Some(Duplicates { routing_window_s, charge_window_s, payout_window_s, .. }) = self.duplicates {
            let windows = [
                ("duplicates.routing_window_s", routing_window_s),
                ("duplicates.charge_window_s", charge_window_s),
                ("duplicates.payout_window_s", payout_window_s),
            ];
            let too_long = windows.into_iter().filter(|(_, window_s)| *window_s > WINDOW_S_MAX);
            let problem = |(field, _)| {
                let problem = format!("is above {WINDOW_S_MAX}, which is 31 days");
                field_error(field, problem, "give seconds")
            };
            problems.extend(too_long.map(problem));
        }
        problems
    }
}

/// What is wrong with somebody's own reference.
pub(crate) fn reference_problem(reference: &str, fix: &'static str) -> Option<FieldError> {
    let is_wrong = reference.is_empty() || reference.len() > 100 || reference.chars().any(char::is_control);
    let problem = "is empty, longer than 100 bytes, or has control characters";
    is_wrong.then(|| field_error("reference", problem, fix))
}
