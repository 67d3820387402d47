//! The bid profile itself.

use crate::bid::caps::Caps;
use crate::bid::criteria::Criteria;
use crate::bid::live::{LiveBidder, LiveVia};
use crate::bid::price::{Modifier, Price};
use crate::id::{AccountId, BidProfileId};
use crate::place::Zip;
use crate::schedule::Schedule;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A standing bid; or, when it has a live bidder, the standing terms on which that bidder is asked.
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
    /// The one vertical it is for.
    pub vertical: String,
    /// What it pays. For a live bidder: the most it may answer for one call.
    pub price: Price,
    /// What changes the price for some calls, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modifiers: Vec<Modifier>,
    /// When a call counts as converted, and so is charged.
    pub conversion: Conversion,
    /// Which calls it is for.
    #[serde(default)]
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
    /// Its share beside bids of the same priority where routing goes by weight or percentage.
    #[serde(default = "one_share")]
    pub weight: u32,
    /// What its target can do, where routing goes by skill.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub skills: BTreeSet<String>,
    /// Where its target is, where routing goes by distance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Zip>,
    /// Where its calls go.
    pub destination: Destination,
    /// How long its target may ring, in milliseconds; absent is the exchange's own timeout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring_timeout_ms: Option<u64>,
    /// The longest a call may last, in seconds; absent is the exchange's own limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_call_s: Option<u32>,
    /// Who is asked for a price while the caller waits; absent, the price stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Box<LiveBidder>>,
}

impl BidProfile {
    /// Without what opens a live bidder's doors: for eyes other than its buyer's.
    #[must_use]
    pub fn without_secrets(&self) -> Self {
        let mut shown = self.clone();
        if let Some(LiveBidder { via: LiveVia::Http(target), .. }) = shown.live.as_deref_mut() {
            *target = target.without_secrets();
        }
        shown
    }

    /// A bid for every call of a vertical, at all hours, without caps, that is charged as soon as its target answers.
    pub fn new(
        id: BidProfileId,
        buyer: AccountId,
        vertical: &str,
        price: Price,
        destination: Destination,
    ) -> Self {
        Self {
            id,
            buyer,
            name: "a bid".to_owned(),
            status: BidStatus::Active,
            vertical: vertical.to_owned(),
            price,
            modifiers: Vec::new(),
            conversion: Conversion { min_connected_s: 0 },
            criteria: Criteria::default(),
            schedule: Schedule::default(),
            caps: Caps::default(),
            priority: first_priority(),
            weight: one_share(),
            skills: BTreeSet::new(),
            location: None,
            destination,
            ring_timeout_ms: None,
            max_call_s: None,
            live: None,
        }
    }
}

impl Destination {
    /// One target over one trunk.
    pub fn of(sip_uri: impl Into<String>) -> Self {
        Self { sip_uris: vec![sip_uri.into()] }
    }
}

fn first_priority() -> u8 {
    1
}

fn one_share() -> u32 {
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

/// When a call converts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Conversion {
    /// The buffer: seconds connected, from the target's answer, before the call is billable.
    pub min_connected_s: u32,
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
