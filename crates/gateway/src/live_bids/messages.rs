//! What is said over a session, whatever it is written in: `json` and `grpc::messages` are its two encodings.

use crate::problem::{FieldProblem, Kind, Problem};
use engine::{OwnNotice, OwnRequest};
use exchange::bid::Destination;
use exchange::bid::live::{LiveSaid, NoLiveBid};
use exchange::bid::sip_uri::is_sip_uri;
use exchange::id::{BidProfileId, CallId};
use exchange::ledger::money::Micros;
use serde::Serialize;

/// The longest message a bidder may send, in bytes.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// The longest buffer a bidder may ask for, in seconds, as in bid profiles.
const MIN_CONNECTED_S_MAX: u32 = 86_400;

/// What a bidder is told. As JSON it is an object with a `type`.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ToBidder<'a> {
    /// Which bid profiles calls are offered to over this session: at its beginning, and when that changes.
    Bids { bids: &'a [BidProfileId] },
    /// A call to bid for. Requests and notices have the shape that bidders over HTTP know.
    BidRequest(OwnRequest<'a>),
    /// How an auction ended.
    Notice(OwnNotice),
    /// Something the bidder said cannot be used.
    Error { detail: &'a str, errors: &'a [FieldProblem] },
}

/// An answer to a bid request. Whether it was asked for, and whether it is within bounds, is still to be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The request's `id`.
    pub(crate) call: CallId,
    pub(crate) bid: BidProfileId,
    /// Absent when it does not bid.
    pub(crate) offer: Option<Offer>,
}

/// A bid as it was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) price_micros: Micros,
    /// What the price's field is called in the encoding.
    pub(crate) price_field: &'static str,
    pub(crate) min_connected_s: Option<u32>,
    pub(crate) sip_uri: Option<String>,
}

/// A message that cannot be read, and the request it was meant for, if that can be told.
#[derive(Debug)]
pub(crate) struct Misread {
    pub(crate) problem: Problem,
    pub(crate) meant: Option<(CallId, BidProfileId)>,
}

impl Answer {
    /// What it says, if it is within bounds.
    pub(super) fn said(self, most_micros: Micros) -> Result<LiveSaid, Problem> {
        let Some(Offer { price_micros, price_field, min_connected_s, sip_uri }) = self.offer else {
            return Ok(LiveSaid::Nothing { reason: NoLiveBid::Declined });
        };
        if price_micros < Micros::ZERO {
            return Err(invalid(price_field, "is below 0", "bid at least 0, or do not bid"));
        }
        if price_micros > most_micros {
            let problem = format!("is above {most_micros}, the most this bid profile may offer");
            return Err(invalid(price_field, problem, "bid at most that, or raise the bid profile's price"));
        }
        if min_connected_s.is_some_and(|seconds| seconds > MIN_CONNECTED_S_MAX) {
            return Err(invalid("min_connected_s", "is above 86400", "give seconds"));
        }
        if sip_uri.as_deref().is_some_and(|uri| !is_sip_uri(uri)) {
            return Err(invalid("sip_uri", "is not a SIP URI", "write sip:user@host:port"));
        }
        let destination = sip_uri.map(Destination::of);
        Ok(LiveSaid::Bid { price_micros, min_connected_s, destination })
    }
}

/// A field that cannot be used.
pub(crate) fn invalid(field: &str, problem: impl Into<String>, fix: &str) -> Problem {
    Problem::field(Kind::Invalid, field, problem, fix)
}
