//! Live bidders: buyers who are asked for a price while the caller waits.
//!
//! What is asked and what was answered are data here; asking is the shell's.

use crate::bid::Destination;
use crate::bid::criteria::Attestation;
use crate::id::{BidProfileId, CallId};
use crate::ledger::money::{Currency, Micros};
use crate::phone_number::PhoneNumber;
use crate::place::{Language, State, Zip};
use crate::tracking_number::CallOrigin;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a live bidder is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LiveBidder {
    /// How to reach it.
    pub via: LiveVia,
    /// How long it has, in milliseconds; never longer than the auction's own deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u32>,
    /// Asked at most this many times a second; absent is 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_s: Option<u32>,
    /// Requests without an answer at the same time; absent is 32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight_max: Option<u32>,
    /// What it learns of the caller's number before it has won.
    #[serde(default)]
    pub caller: CallerDisclosure,
}

/// How to reach a live bidder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LiveVia {
    /// An RTB target: one HTTP request for each call.
    Http(HttpTarget),
    /// A bidder that keeps a connection open to the exchange and answers on it.
    Connection,
}

/// An RTB target. Texts may hold placeholders: `{call}`, `{bid}`, `{vertical}`, `{origin}`, `{state}`, `{zip}`, `{area_code}`,
/// `{language}`, `{attestation}`, `{caller}`, `{floor}` (as 12.34), `{floor_micros}`, `{currency}`, `{deadline_ms}` and `{tag.NAME}`. What is not known is
/// empty. In the URL they are percent-encoded; in a JSON body they are escaped as text between quotes is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct HttpTarget {
    /// `http://` or `https://`.
    pub url: String,
    /// Headers sent with the request, such as an API key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The JSON body of a POST; absent is the exchange's own bid request, and an empty text makes the request a GET.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Where the answer's JSON says what.
    #[serde(default)]
    pub answer: AnswerMapping,
    /// Told by POST how the auction ended for it; absent, it is not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice_url: Option<String>,
}

impl HttpTarget {
    /// Partners put credentials into headers, URLs and bodies: of these only that there is something, and the URLs' hosts.
    #[must_use]
    pub fn without_secrets(&self) -> Self {
        const HIDDEN: &str = "***";
        Self {
            url: host_of(&self.url),
            headers: self.headers.keys().map(|name| (name.clone(), HIDDEN.to_owned())).collect(),
            body: self.body.as_ref().map(|_| HIDDEN.to_owned()),
            answer: self.answer.clone(),
            notice_url: self.notice_url.as_deref().map(host_of),
        }
    }
}

/// A URL's scheme and host: user names and passwords stand before the host, keys after it.
fn host_of(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}/***")
}

/// Where an answer's JSON says what, as JSON pointers (RFC 6901). An answer of 204, or without a price, is no bid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct AnswerMapping {
    /// The price: a number or a text such as `"12.50"`, in units of the currency.
    pub price: String,
    /// If it is there and false, or a number that is zero, there is no bid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<String>,
    /// The target's SIP URI; absent is the bid profile's own destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sip_uri: Option<String>,
    /// Seconds connected before the call is billable; absent is the bid profile's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_connected_s: Option<String>,
}

impl Default for AnswerMapping {
    fn default() -> Self {
        Self {
            price: "/bid".to_owned(),
            accepted: None,
            sip_uri: Some("/sip_uri".to_owned()),
            min_connected_s: Some("/min_connected_s".to_owned()),
        }
    }
}

/// What a live bidder learns of the caller's number before it has won.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CallerDisclosure {
    /// Nothing but what its own fields say, such as the area code.
    #[default]
    Withheld,
    /// A token: the same number gives this bidder the same token, and only the exchange can tell whose it is.
    Token,
    /// The whole number.
    Number,
}

/// What one live bidder is asked about one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BidRequest {
    /// The call.
    pub call: CallId,
    /// The bid profile that is asked.
    pub bid: BidProfileId,
    /// How it is reached.
    pub bidder: LiveBidder,
    /// The answer must be here after this many milliseconds.
    pub deadline_ms: u32,
    /// The least it must offer, in micro-units.
    pub floor_micros: Micros,
    /// The most it may offer, in micro-units.
    pub most_micros: Micros,
    /// The currency of both.
    pub currency: Currency,
    /// What the call is about.
    pub vertical: String,
    /// How the consumer came to be on the line.
    pub origin: CallOrigin,
    /// The consumer's state.
    pub state: Option<State>,
    /// The consumer's ZIP code.
    pub zip: Option<Zip>,
    /// The caller's area code.
    pub area_code: Option<u16>,
    /// The consumer's language.
    pub language: Option<Language>,
    /// How sure the carrier is of the caller's number.
    pub attestation: Option<Attestation>,
    /// The call's tags.
    pub tags: BTreeMap<String, String>,
    /// The caller's number, for the shell to withhold, to turn into a token, or to show, as the bidder's disclosure says.
    pub caller: Option<PhoneNumber>,
}

impl BidRequest {
    /// How long the bidder has, in milliseconds: its own timeout, but never past the deadline.
    pub fn time_ms(&self) -> u32 {
        self.bidder.timeout_ms.map_or(self.deadline_ms, |timeout_ms| timeout_ms.min(self.deadline_ms))
    }
}

/// A live bidder's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LiveAnswer {
    /// The bid profile that was asked.
    pub bid: BidProfileId,
    /// What it said.
    pub said: LiveSaid,
}

/// What a live bidder said, or why nothing usable came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "said", rename_all = "snake_case")]
pub enum LiveSaid {
    /// A bid for this call.
    Bid {
        /// For the call, in micro-units.
        price_micros: Micros,
        /// Its own buffer, in seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min_connected_s: Option<u32>,
        /// Its own target.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        destination: Option<Destination>,
    },
    /// Nothing usable.
    Nothing {
        /// Why.
        reason: NoLiveBid,
    },
}

/// Why a live bidder has no bid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum NoLiveBid {
    /// It answered that it does not bid.
    Declined,
    /// It had not answered by the deadline, or by its own timeout.
    TimedOut,
    /// It could not be reached, or the connection broke.
    Unreachable,
    /// It answered with an error status.
    Failed,
    /// Its answer could not be read: not JSON, no such price, a price outside its bounds, a destination that is none.
    Garbled,
    /// Its answer was larger than 64 KiB.
    TooLarge,
    /// Not asked: it has more requests in flight than it may.
    Busy,
    /// Not asked: it was asked as often as it may this second.
    RateLimited,
    /// Not asked: it failed too often of late.
    CircuitOpen,
    /// Not asked: it keeps no connection open.
    NotConnected,
}

/// How an auction ended for a live bidder who bid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BidNotice {
    /// The call.
    pub call: CallId,
    /// Its bid profile.
    pub bid: BidProfileId,
    /// How it is reached.
    pub bidder: LiveBidder,
    /// Won, or lost and why.
    pub result: BidResult,
}

/// Won, or lost and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum BidResult {
    /// It is rung first, at this price.
    Won {
        /// What it pays if the call converts, in micro-units.
        price_micros: Micros,
    },
    /// Another goes first.
    Lost {
        /// Why.
        reason: LossReason,
        /// The least that would have won, in micro-units; absent where no price would have.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min_to_win_micros: Option<Micros>,
    },
}

/// Why a bid lost. The names follow OpenRTB's loss reasons (List 5.25 of OpenRTB 2.6), whose numbers are `below_floor` 100,
/// `below_deal_floor` 101, `lost_to_higher_bid` 102, `lost_to_deal` 103 and `late` 2; the others are the exchange's own:
/// `lost_by_routing`, another went first for something other than its price, such as priority, turn, chance, skill, distance, an
/// estimate, or the caller's last target; `lost_to_reservation`, a ping had won the call before it came; `not_eligible`, money,
/// caps or standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LossReason {
    /// Below the floor (100).
    BelowFloor,
    /// Below the floor of its deal (101).
    BelowDealFloor,
    /// Lost to a higher bid (102).
    LostToHigherBid,
    /// Lost to a bid for a private deal (103).
    LostToDeal,
    /// Another went first for something other than its price.
    LostByRouting,
    /// A ping had won the call before it came.
    LostToReservation,
    /// It cannot take the call: money, caps or standing.
    NotEligible,
    /// The answer came after the deadline (2, time-out).
    Late,
}
