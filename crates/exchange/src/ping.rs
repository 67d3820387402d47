//! Ping/post: a seller asks what a call would bring before it sends it, and gets the answer held for a while.

use crate::auction::matching::Refusal;
use crate::bid::Conversion;
use crate::call::Arrival;
use crate::id::CallId;
use crate::ledger::money::{Currency, Micros};
use crate::phone_number::PhoneNumber;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// A seller's ping: the call that is to come, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PingRequest {
    /// The call that is to come.
    pub arrival: Arrival,
    /// How long it wants the answer held, in milliseconds; absent is the exchange's own time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
}

/// What a ping is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PingAnswer {
    /// The call is sold if it comes in time.
    Reserved(Reservation),
    /// It is not wanted.
    Rejected(PingRejection),
}

/// What a ping won. Money and capacity are held for it until it expires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Reservation {
    /// Its identity.
    pub id: CallId,
    /// What the seller earns if the call converts, in micro-units: of a price per minute, for a typical call.
    pub payout_micros: Micros,
    /// In this currency.
    pub currency: Currency,
    /// When the call converts.
    pub conversion: Conversion,
    /// The number to send the call to.
    pub number: PhoneNumber,
    /// It is held until then.
    pub expires_at: Timestamp,
    /// Whether an earlier ping for the same caller had already won it.
    pub is_repeat: bool,
}

/// Why a ping is not wanted: one cause each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum PingRejection {
    /// The number is not listed, not active, or not the seller's.
    UnknownNumber,
    /// The caller's number is needed: the reservation is honoured only for it.
    CallerMissing,
    /// A screening rule refuses the call.
    ScreenedOut {
        /// The rule's name.
        rule: String,
    },
    /// No bid at all is for this vertical.
    NoBidder,
    /// Live bidders were asked, none of them had a bid, and no other bid is for this vertical.
    NoLiveBid,
    /// There are bids, and none takes this call; what refused the one that came closest.
    NoMatch {
        /// The reason that comes last in the order of questions among those found.
        closest: Refusal,
    },
    /// The same caller's first ping is still being decided: ask again in a moment.
    BeingDecided,
    /// The exchange is stopping.
    Stopping,
}
