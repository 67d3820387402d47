//! What is said over a session: JSON texts with a `type`. Requests and notices have the shape that bidders over HTTP know.

use crate::problem::{FieldProblem, Kind, Problem};
use crate::request::misread;
use engine::{OwnNotice, OwnRequest};
use exchange::bid::Destination;
use exchange::bid::live::{LiveSaid, NoLiveBid};
use exchange::bid::sip_uri::is_sip_uri;
use exchange::id::{BidProfileId, CallId};
use exchange::ledger::money::Micros;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The longest buffer a bidder may ask for, in seconds, as in bid profiles.
const MIN_CONNECTED_S_MAX: u32 = 86_400;

/// What a bidder is told.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ToBidder<'a> {
    /// Which bid profiles calls are offered to over this session: at its beginning, and when that changes.
    Bids { bids: &'a [BidProfileId] },
    /// A call to bid for.
    BidRequest(OwnRequest<'a>),
    /// How an auction ended.
    Notice(OwnNotice),
    /// Something the bidder said cannot be used.
    Error { detail: &'a str, errors: &'a [FieldProblem] },
}

/// What a bidder says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    r#type: Verb,
    /// The request's `id`.
    call: CallId,
    bid: BidProfileId,
    /// In units of the currency: `"12.50"`, or a number.
    #[serde(default)]
    price: Option<Value>,
    #[serde(default)]
    min_connected_s: Option<u32>,
    #[serde(default)]
    sip_uri: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verb {
    Bid,
    NoBid,
}

/// An answer that can be read; whether it was asked for, and its price, is still to be seen.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) call: CallId,
    pub(super) bid: BidProfileId,
    said: Said,
}

/// A message that cannot be read, and the request it was meant for, if that can be told.
#[derive(Debug)]
pub(super) struct Misread {
    pub(super) problem: Problem,
    pub(super) meant: Option<(CallId, BidProfileId)>,
}

/// Reads a message.
pub(super) fn read(text: &str) -> Result<Answer, Misread> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let said: Result<Said, _> = serde_path_to_error::deserialize(&mut reader);
    let said = said.map_err(|error| misread(&error.path().to_string(), error.inner()));
    match said.and_then(|said| reader.end().map(|()| said).map_err(|error| misread(".", &error))) {
        Ok(said) => Ok(Answer { call: said.call, bid: said.bid, said }),
        Err(problem) => Err(Misread { problem, meant: meant(text) }),
    }
}

fn meant(text: &str) -> Option<(CallId, BidProfileId)> {
    let value: Value = serde_json::from_str(text).ok()?;
    let id = |field: &str| value.get(field)?.as_str();
    Some((id("call")?.parse().ok()?, id("bid")?.parse().ok()?))
}

impl Answer {
    /// What it says, if it is within bounds.
    pub(super) fn said(self, most_micros: Micros) -> Result<LiveSaid, Problem> {
        let Said { r#type, price, min_connected_s, sip_uri, .. } = self.said;
        if r#type == Verb::NoBid {
            return Ok(LiveSaid::Nothing { reason: NoLiveBid::Declined });
        }
        let price_micros = price_micros(price)?;
        if price_micros > most_micros {
            let problem = format!("is above {most_micros}, the most this bid profile may offer");
            return Err(invalid("price", problem, "bid at most that, or raise the bid profile's price"));
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

fn price_micros(price: Option<Value>) -> Result<Micros, Problem> {
    let text = match price {
        Some(Value::String(text)) => text,
        Some(Value::Number(number)) => number.to_string(),
        Some(_) => return Err(invalid("price", "is neither text nor number", "write it as \"12.50\"")),
        None => return Err(invalid("price", "is missing", "add it, or send no_bid")),
    };
    let price = text.parse().ok().filter(|price| *price >= Micros::ZERO);
    price.ok_or_else(|| invalid("price", "is not an amount of at least 0", "write it as \"12.50\""))
}

fn invalid(field: &str, problem: impl Into<String>, fix: &str) -> Problem {
    Problem::field(Kind::Invalid, field, problem, fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: &str = "00000000-0000-0000-0000-0000000000c1";
    const BID: &str = "00000000-0000-0000-0000-0000000000b1";

    fn with(fields: &str) -> String {
        format!(r#"{{"call":"{CALL}","bid":"{BID}",{fields}}}"#)
    }

    fn said(fields: &str) -> Result<LiveSaid, Problem> {
        let answer = read(&with(fields)).map_err(|misread| misread.problem)?;
        answer.said(Micros::units(50))
    }

    #[test]
    fn bids_are_exact_and_may_bring_their_own_target() {
        let bid = |price_micros, min_connected_s, uri: Option<&str>| LiveSaid::Bid {
            price_micros: Micros(price_micros),
            min_connected_s,
            destination: uri.map(Destination::of),
        };
        let uri = "sip:agent@203.0.113.7:5060";
        for (fields, expected) in [
            (r#""type":"bid","price":"12.50""#.to_owned(), bid(12_500_000, None, None)),
            (r#""type":"bid","price":12.34"#.to_owned(), bid(12_340_000, None, None)),
            (r#""type":"bid","price":0"#.to_owned(), bid(0, None, None)),
            (r#""type":"bid","price":"50""#.to_owned(), bid(50_000_000, None, None)),
            (
                format!(r#""type":"bid","price":"1","min_connected_s":90,"sip_uri":"{uri}""#),
                bid(1_000_000, Some(90), Some(uri)),
            ),
            (r#""type":"no_bid""#.to_owned(), LiveSaid::Nothing { reason: NoLiveBid::Declined }),
        ] {
            assert_eq!(said(&fields), Ok(expected), "{fields}");
        }
    }

    #[test]
    fn what_cannot_be_used_names_the_field() {
        for (fields, field) in [
            (r#""price":"1""#, "type"),
            (r#""type":"offer","price":"1""#, "type"),
            (r#""type":"bid""#, "price"),
            (r#""type":"bid","price":"50.000001""#, "price"),
            (r#""type":"bid","price":"-1""#, "price"),
            (r#""type":"bid","price":"$5""#, "price"),
            (r#""type":"bid","price":0.0000001"#, "price"),
            (r#""type":"bid","price":["5"]"#, "price"),
            (r#""type":"bid","price":"1","min_connected_s":86401"#, "min_connected_s"),
            (r#""type":"bid","price":"1","min_connected_s":-1"#, "min_connected_s"),
            (r#""type":"bid","price":"1","sip_uri":"tel:+1""#, "sip_uri"),
            (r#""type":"bid","price":"1","prize":"1""#, "prize"),
        ] {
            let problem = said(fields).expect_err(fields);
            assert_eq!(problem.errors()[0].field, field, "{fields}");
        }
    }

    #[test]
    fn a_message_that_cannot_be_read_may_still_say_what_it_was_about() {
        let known = (CALL.parse().expect("an id"), BID.parse().expect("an id"));
        for (text, meant) in [
            (with(r#""type":"bid","price":"1","prize":"1""#), Some(known)),
            (format!(r#"{{"call":"{CALL}","bid":"me","type":"no_bid"}}"#), None),
            (format!(r#"["{CALL}","{BID}"]"#), None),
            ("{".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(read(&text).expect_err("unreadable").meant, meant, "{text}");
        }
    }
}
