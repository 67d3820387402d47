//! Telling a bidder how the auction ended.

use super::connect::Origin;
use super::pool::Message;
use super::request::{bidder_headers, message};
use exchange::bid::live::{BidNotice, BidResult, HttpTarget};
use exchange::bid::template::{self, Escaping, Placeholder};
use exchange::id::{BidProfileId, CallId};
use hyper::{HeaderMap, Method};
use serde::Serialize;
use std::borrow::Cow;

/// The notice's JSON, such as `{"version":1,"id":"...","bid":"...","result":"won","price_micros":12500000}`.
#[derive(Debug, Serialize)]
pub struct OwnNotice {
    /// Of this shape.
    pub version: u32,
    /// The call, as in the bid request.
    pub id: CallId,
    /// The bid profile.
    pub bid: BidProfileId,
    /// Won, or lost and why.
    #[serde(flatten)]
    pub result: BidResult,
}

impl OwnNotice {
    /// The notice as its bidder sees it.
    pub fn new(notice: &BidNotice) -> Self {
        Self { version: 1, id: notice.call, bid: notice.bid, result: notice.result }
    }
}

/// The notice and where it goes; `None` when the bidder has no `notice_url`, or one that is none.
pub(super) fn write(target: &HttpTarget, notice: &BidNotice) -> Option<(Origin, Message)> {
    let value = |placeholder: Placeholder<'_>| {
        Cow::<str>::Owned(match placeholder {
            Placeholder::Call => notice.call.to_string(),
            Placeholder::Bid => notice.bid.to_string(),
            _ => String::new(),
        })
    };
    let url = template::render(target.notice_url.as_deref()?, Escaping::Url, value);
    let body = serde_json::to_string(&OwnNotice::new(notice)).expect("texts and numbers are JSON");
    // The bidder's headers may hold the key to its bidding host: another host does not get them.
    let is_same_host = authority(&url) == authority(&target.url);
    let headers = if is_same_host { bidder_headers(&target.headers)? } else { HeaderMap::new() };
    message(Method::POST, &url, headers, body)
}

/// Scheme, host and port as they are written.
fn authority(url: &str) -> &str {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let end = url[after_scheme..].find(['/', '?']).map_or(url.len(), |at| after_scheme + at);
    &url[..end]
}
