//! Tracking numbers: the numbers consumers dial, each owned by a seller.

use crate::id::AccountId;
use crate::ledger::money::Micros;
use crate::phone_number::PhoneNumber;
use crate::place::Language;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How the consumer came to be on the line; it decides which law applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CallOrigin {
    /// The consumer dialled.
    OrganicInbound,
    /// The consumer asked to be called back.
    CallbackRequested,
    /// A seller's agent dialled the consumer and transfers the call.
    OutboundTransfer,
    /// The exchange's side dials the consumer.
    Outbound,
}

/// A number a seller offers calls on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TrackingNumber {
    /// The number itself, which identifies it.
    pub number: PhoneNumber,
    /// The seller who is paid for its calls.
    pub seller: AccountId,
    /// What its calls are about, such as `home_services` or `medicare`.
    pub vertical: String,
    /// How its callers come to be on the line.
    pub origin: CallOrigin,
    /// The least a bid must offer, in micro-units.
    pub floor_micros: Micros,
    /// The seller's share of the charge, in basis points: 7,000 is 70 %. The rest is the house's margin.
    pub payout_basis_points: u16,
    /// The language its callers are addressed in, where a call does not say its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// Facts about its calls that bids can ask for.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Whether calls to it are taken.
    pub active: bool,
}
