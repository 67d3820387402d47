//! Prices, and the modifiers that change them for some calls.

use crate::auction::matching::CallFacts;
use crate::bid::criteria::Criteria;
use crate::book::MOST_MONEY;
use crate::ledger::money::Micros;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// What a bid pays for a converted call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Price {
    /// The same for every converted call.
    PerCall {
        /// Micro-units for the call.
        amount_micros: Micros,
    },
    /// By connected time.
    PerMinute {
        /// Micro-units for sixty seconds.
        rate_micros: Micros,
        /// Billed at least this many seconds, such as the first 30 of 30/6.
        first_increment_s: u32,
        /// After that in steps of this many seconds, such as the 6 of 30/6.
        next_increment_s: u32,
    },
    /// A share of what the buyer earns from the call. The most is held when it rings, the least charged when it converts, the
    /// rest when the buyer reports its revenue; unreported, the rest is given back.
    RevenueShare {
        /// The share, in basis points: 1,500 is 15 %.
        share_basis_points: u16,
        /// Charged at least, in micro-units.
        min_micros: Micros,
        /// Charged at most, in micro-units.
        max_micros: Micros,
        /// What a call is expected to come to, in micro-units; its place in the auction.
        expected_micros: Micros,
        /// How long after the call the buyer may report its revenue, in seconds; absent is 24 hours. What may still be charged is
        /// held until then.
        #[serde(default = "report_within_s")]
        report_within_s: u32,
    },
}

/// What a buyer may have to report its revenue in: a minute to 30 days.
pub(crate) const REPORT_WITHIN_S: RangeInclusive<u32> = 60..=30 * 24 * 3_600;

/// Most sales are closed, and reported by the buyers' systems, on the day of the call; every hour more is an hour in which the
/// buyer's money is held for nothing.
fn report_within_s() -> u32 {
    24 * 3_600
}

/// A change of the price for some calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Modifier {
    /// For which calls; without any criteria, for all.
    #[serde(default)]
    pub when: Criteria,
    /// What it does to the price that the modifiers before it left.
    pub change: PriceChange,
}

/// What a modifier does to a price: to the amount of a price per call, to the rate of one per minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum PriceChange {
    /// Adds micro-units; negative ones are taken off.
    AddMicros(Micros),
    /// Multiplies by basis points: 12,500 is a quarter more.
    MultiplyBasisPoints(u32),
    /// Sets micro-units in its place.
    OverrideMicros(Micros),
    /// Does not bid at all.
    Reject,
}

impl PriceChange {
    /// The amount after the change, `None` when it rejects. An amount below one micro-unit is no bid.
    fn apply(self, amount: Micros) -> Option<Micros> {
        let changed = match self {
            Self::AddMicros(add) => i128::from(amount.0) + i128::from(add.0),
            Self::MultiplyBasisPoints(factor) => i128::from(amount.0) * i128::from(factor) / 10_000,
            Self::OverrideMicros(set) => i128::from(set.0),
            Self::Reject => 0,
        };
        let most = i128::from(MOST_MONEY.0);
        (changed >= 1).then(|| Micros(i64::try_from(changed.min(most)).expect("at most MOST_MONEY")))
    }
}

/// The price for one call once every modifier that applies to it has had its turn; `None` when one rejects it.
pub fn modified(price: Price, modifiers: &[Modifier], call: &CallFacts) -> Option<Price> {
    let applying = modifiers.iter().filter(|modifier| modifier.when.refusal(call).is_none());
    let mut amount = price.amount();
    for modifier in applying {
        amount = modifier.change.apply(amount)?;
    }
    Some(price.with_amount(amount))
}

/// The most the modifiers can make of the price, for any call: where the bid is listed.
pub fn highest(price: Price, modifiers: &[Modifier]) -> Price {
    let highest = modifiers.iter().fold(price.amount(), |amount, modifier| {
        modifier.change.apply(amount).map_or(amount, |changed| changed.max(amount))
    });
    price.with_amount(highest)
}

impl Price {
    /// The number that modifiers and clearing work on: amount, rate, or what a share is expected to come to.
    pub fn amount(&self) -> Micros {
        match *self {
            Self::PerCall { amount_micros } => amount_micros,
            Self::PerMinute { rate_micros, .. } => rate_micros,
            Self::RevenueShare { expected_micros, .. } => expected_micros,
        }
    }

    /// The same kind of price with another amount. A revenue share has none to set: it stays as it is.
    #[must_use]
    pub fn with_amount(self, amount: Micros) -> Self {
        match self {
            Self::PerCall { .. } => Self::PerCall { amount_micros: amount },
            Self::PerMinute { first_increment_s, next_increment_s, .. } => {
                Self::PerMinute { rate_micros: amount, first_increment_s, next_increment_s }
            }
            share @ Self::RevenueShare { .. } => share,
        }
    }
}
