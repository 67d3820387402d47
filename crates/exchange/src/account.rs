//! Accounts: who buys calls, who sells them, and the house between them.

use crate::id::AccountId;
use crate::ledger::money::{Currency, Micros};
use crate::schedule::ZoneName;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What an account is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AccountKind {
    /// Bids for calls and pays for those that convert.
    Buyer,
    /// Owns tracking numbers and is paid for calls that convert.
    Seller,
}

/// Whether an account may trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AccountStatus {
    /// Opened, not yet approved: holds no bids and sells no calls.
    Pending,
    /// Trades.
    Active,
    /// Stopped by the operator; calls in progress finish.
    Suspended,
    /// Ended for good; its history stays.
    Closed,
}

/// A buyer's or a seller's account. The house has none: its margin is a ledger account of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Its identity.
    pub id: AccountId,
    /// Buyer or seller.
    pub kind: AccountKind,
    /// For people.
    pub name: String,
    /// Whether it may trade.
    pub status: AccountStatus,
    /// IANA name; daily caps and statements follow this zone's midnight.
    pub time_zone: ZoneName,
    /// The currency of its balance, bids and payouts.
    pub currency: Currency,
    /// How far below zero a buyer's balance may go, in micro-units. 0 is prepaid.
    pub credit_limit_micros: Micros,
    /// When it was opened.
    pub opened_at: Timestamp,
}

impl Account {
    /// An account that trades in US dollars, prepaid, with its midnight in UTC.
    pub fn new(id: AccountId, kind: AccountKind, name: impl Into<String>, opened_at: Timestamp) -> Self {
        Self {
            id,
            kind,
            name: name.into(),
            status: AccountStatus::Active,
            time_zone: ZoneName::default(),
            currency: Currency::USD,
            credit_limit_micros: Micros::ZERO,
            opened_at,
        }
    }
}
