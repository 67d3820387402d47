//! The conversation as JSON texts, each an object with a `type`.

use super::messages::{Answer, Misread, Offer, invalid};
use crate::problem::Problem;
use crate::request::{RequestBody, amount, from_json};
use exchange::id::{BidProfileId, CallId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// What a bidder says.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Verb {
    Bid,
    NoBid,
}

impl RequestBody for Said {}

/// Reads a message.
pub(super) fn read(text: &str) -> Result<Answer, Misread> {
    from_json(text.as_bytes()).and_then(answer).map_err(|problem| Misread { problem, meant: meant(text) })
}

fn answer(said: Said) -> Result<Answer, Problem> {
    let Said { r#type, call, bid, price, min_connected_s, sip_uri } = said;
    let offer = match r#type {
        Verb::NoBid => None,
        Verb::Bid => {
            let missing = || invalid("price", "is missing", "add it, or send no_bid");
            let price_micros = amount("price", &price.ok_or_else(missing)?)?;
            Some(Offer { price_micros, price_field: "price", min_connected_s, sip_uri })
        }
    };
    Ok(Answer { call, bid, offer })
}

fn meant(text: &str) -> Option<(CallId, BidProfileId)> {
    let value: Value = serde_json::from_str(text).ok()?;
    let id = |field: &str| value.get(field)?.as_str();
    Some((id("call")?.parse().ok()?, id("bid")?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use exchange::bid::Destination;
    use exchange::bid::live::{LiveSaid, NoLiveBid};
    use exchange::ledger::money::Micros;

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
        let several = said(r#""type":"offer","price":"1","min_connected_s":-1,"prize":"1""#);
        let problem = several.expect_err("three faults");
        let fields: Vec<&str> = problem.errors().iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["min_connected_s", "prize", "type"]);
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
