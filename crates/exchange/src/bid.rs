//! Bid profiles: a buyer's standing bid, saying what it pays, for which calls, when, and how many.

use crate::id::{AccountId, BidProfileId};
use crate::ledger::money::Micros;
use crate::schedule::Schedule;
use crate::tracking_number::CallOrigin;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A standing bid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct BidProfile {
    /// Its identity; an earlier one wins a tie.
    pub id: BidProfileId,
    /// The buyer who pays.
    pub buyer: AccountId,
    /// For people.
    pub name: String,
    /// Whether it takes part in auctions.
    pub status: BidStatus,
    /// What it pays.
    pub price: Price,
    /// When a call counts as converted, and so is charged.
    pub conversion: Conversion,
    /// Which calls it is for.
    pub criteria: Criteria,
    /// When its target takes calls.
    #[serde(default)]
    pub schedule: Schedule,
    /// How many calls and how much money; absent is unlimited.
    #[serde(default)]
    pub caps: Caps,
    /// 1 goes first among bids of equal price.
    #[serde(default = "first_priority")]
    pub priority: u8,
    /// Where its calls go.
    pub destination: Destination,
    /// How long its target may ring, in milliseconds; absent is the exchange's own timeout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring_timeout_ms: Option<u64>,
    /// The longest a call may last, in seconds; absent is the exchange's own limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_call_s: Option<u32>,
}

fn first_priority() -> u8 {
    1
}

/// Whether a bid profile takes part in auctions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum BidStatus {
    /// It bids.
    Active,
    /// It does not bid until resumed.
    Paused,
}

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
}

/// When a call converts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Conversion {
    /// The buffer: seconds connected, from the target's answer, before the call is billable.
    pub min_connected_s: u32,
}

/// Which calls a bid is for. An empty set takes any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Criteria {
    /// The one vertical it is for.
    pub vertical: String,
    /// Origins it takes.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub origins: BTreeSet<CallOrigin>,
    /// States it takes, as two-letter codes.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub states: BTreeSet<State>,
    /// Area codes it takes.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub area_codes: BTreeSet<u16>,
    /// Tags the tracking number must carry, with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// A United States state, territory, or Canadian province: two capital letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(value_type = String, example = "FL"))]
#[serde(try_from = "String", into = "String")]
pub struct State([u8; 2]);

impl TryFrom<String> for State {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match <[u8; 2]>::try_from(text.as_bytes()) {
            Ok(code) if code.iter().all(u8::is_ascii_uppercase) => Ok(Self(code)),
            _ => Err(format!("'{text}' is not a state; write two capital letters such as FL")),
        }
    }
}

impl From<State> for String {
    fn from(state: State) -> Self {
        state.to_string()
    }
}

impl State {
    /// Its two capital letters.
    pub(crate) fn letters(self) -> [u8; 2] {
        self.0
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).expect("two ASCII capitals"))
    }
}

/// How many calls and how much money. Absent is unlimited; a cap of 0 lets nothing through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Caps {
    /// Calls at the same time, ringing or connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrent_calls: Option<u32>,
    /// Answered calls a day, in the schedule's time zone. A call that rings counts until it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daily_calls: Option<u32>,
    /// Micro-units a day, in the schedule's time zone. A hold counts until it is released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daily_spend_micros: Option<Micros>,
}

/// Where a bid's calls go: one target, reachable over one or more trunks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// SIP URIs in order of preference, such as `sip:+18005550100@203.0.113.7:5060;transport=udp`. The healthy
    /// ones are tried first; a trunk that cannot be reached hands over to the next within the same attempt.
    pub sip_uris: Vec<String>,
}
