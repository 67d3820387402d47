//! Reading a bidder's answer. Numbers are read from their text: a price never passes through a float.

use super::pool::Answer;
use exchange::bid::Destination;
use exchange::bid::live::{AnswerMapping, LiveSaid, NoLiveBid};
use exchange::bid::sip_uri::is_sip_uri;
use exchange::ledger::money::Micros;
use hyper::StatusCode;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The longest buffer a bidder may ask for, in seconds, as in bid profiles.
const MIN_CONNECTED_S_MAX: u32 = 86_400;

/// What the bidder said, or why it cannot be used.
pub(super) fn understand(
    answer: &Answer,
    mapping: &AnswerMapping,
    most_micros: Micros,
) -> Result<LiveSaid, NoLiveBid> {
    match answer.status {
        StatusCode::OK if answer.is_encoded => Err(NoLiveBid::Garbled),
        StatusCode::OK => bid(&answer.body, mapping, most_micros),
        StatusCode::NO_CONTENT => Err(NoLiveBid::Declined),
        _ => Err(NoLiveBid::Failed),
    }
}

fn bid(body: &[u8], mapping: &AnswerMapping, most_micros: Micros) -> Result<LiveSaid, NoLiveBid> {
    let json: &RawValue = serde_json::from_slice(body).map_err(|_| NoLiveBid::Garbled)?;
    let field = |pointer: &Option<String>| pointer.as_deref().and_then(|pointer| find(json, pointer));
    if field(&mapping.accepted).is_some_and(is_refusal) {
        return Err(NoLiveBid::Declined);
    }
    let price = find(json, &mapping.price).ok_or(NoLiveBid::Declined)?;
    let price_micros = price_micros(price).ok_or(NoLiveBid::Garbled)?;
    if !(Micros::ZERO..=most_micros).contains(&price_micros) {
        return Err(NoLiveBid::Garbled);
    }
    let min_connected_s = field(&mapping.min_connected_s).map(seconds).transpose()?;
    let destination = field(&mapping.sip_uri).map(destination).transpose()?;
    Ok(LiveSaid::Bid { price_micros, min_connected_s, destination })
}

/// The value at a JSON pointer (RFC 6901); `None` where there is none, or where it is null.
fn find<'a>(json: &'a RawValue, pointer: &str) -> Option<&'a RawValue> {
    let mut value = json;
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        // A name that is there twice is the last one's, as most readers of JSON have it (RFC 8259 section 4).
        value = match value.get().as_bytes().first()? {
            b'{' => serde_json::from_str::<BTreeMap<String, &RawValue>>(value.get()).ok()?.remove(&token)?,
            b'[' => {
                let is_index = token == "0" || !token.starts_with(['0', '+']);
                let index = token.parse::<usize>().ok().filter(|_| is_index)?;
                serde_json::from_str::<Vec<&RawValue>>(value.get()).ok()?.get(index).copied()?
            }
            _ => return None,
        };
    }
    (value.get() != "null").then_some(value)
}

/// False, or a number that is zero.
fn is_refusal(value: &RawValue) -> bool {
    let text = value.get();
    let is_number = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    text == "false" || (is_number && mantissa.bytes().all(|byte| b"-0.".contains(&byte)))
}

/// A number such as 12.5, or a text such as "12.50".
fn price_micros(value: &RawValue) -> Option<Micros> {
    text_or_number(value).parse().ok()
}

/// The content of a text, the digits of a number; whatever else it is stays as it is written, and is neither.
fn text_or_number(value: &RawValue) -> String {
    serde_json::from_str::<String>(value.get()).unwrap_or_else(|_| value.get().to_owned())
}

fn seconds(value: &RawValue) -> Result<u32, NoLiveBid> {
    let text = text_or_number(value);
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = text.parse().ok().filter(|seconds| is_plain && *seconds <= MIN_CONNECTED_S_MAX);
    seconds.ok_or(NoLiveBid::Garbled)
}

fn destination(value: &RawValue) -> Result<Destination, NoLiveBid> {
    let uri = serde_json::from_str::<String>(value.get()).ok().filter(|uri| is_sip_uri(uri));
    uri.map(|uri| Destination { sip_uris: vec![uri] }).ok_or(NoLiveBid::Garbled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: u16, body: &str, mapping: &AnswerMapping) -> Result<LiveSaid, NoLiveBid> {
        let status = StatusCode::from_u16(status).expect("a status");
        let answer = Answer { status, is_encoded: false, body: body.as_bytes().to_vec() };
        understand(&answer, mapping, Micros::units(100))
    }

    #[expect(clippy::unnecessary_wraps, reason = "it stands beside the reasons why there is no bid")]
    fn bid_of(price_micros: i64) -> Result<LiveSaid, NoLiveBid> {
        let price_micros = Micros(price_micros);
        Ok(LiveSaid::Bid { price_micros, min_connected_s: None, destination: None })
    }

    #[test]
    fn prices_are_exact() {
        for (price, expected) in [
            ("12.34", bid_of(12_340_000)),
            ("12", bid_of(12_000_000)),
            ("0", bid_of(0)),
            ("0.000001", bid_of(1)),
            ("\"12.50\"", bid_of(12_500_000)),
            ("\"0.1\"", bid_of(100_000)),
            ("100", bid_of(100_000_000)),
            ("100.000000", bid_of(100_000_000)),
            ("100.000001", Err(NoLiveBid::Garbled)),
            ("12.340000000000000001", Err(NoLiveBid::Garbled)),
            ("0.0000001", Err(NoLiveBid::Garbled)),
            ("-1", Err(NoLiveBid::Garbled)),
            ("1e1", Err(NoLiveBid::Garbled)),
            ("99999999999999999999999", Err(NoLiveBid::Garbled)),
            ("\"\"", Err(NoLiveBid::Garbled)),
            ("\"$12\"", Err(NoLiveBid::Garbled)),
            ("\" 12\"", Err(NoLiveBid::Garbled)),
            ("\"NaN\"", Err(NoLiveBid::Garbled)),
            ("true", Err(NoLiveBid::Garbled)),
            ("[12]", Err(NoLiveBid::Garbled)),
            ("{}", Err(NoLiveBid::Garbled)),
            ("null", Err(NoLiveBid::Declined)),
        ] {
            let body = format!(r#" {{"other": [1, {{}}], "bid" : {price} }} "#);
            assert_eq!(said(200, &body, &AnswerMapping::default()), expected, "{price}");
        }
    }

    #[test]
    fn answers_of_many_kinds() {
        let deep = format!("{}{}", "[".repeat(60_000), "]".repeat(60_000));
        for (status, body, expected) in [
            (204, "", Err(NoLiveBid::Declined)),
            (200, "{}", Err(NoLiveBid::Declined)),
            (200, "7", Err(NoLiveBid::Declined)),
            (200, r#"{"bid":1,"bid":2}"#, bid_of(2_000_000)),
            (200, "", Err(NoLiveBid::Garbled)),
            (200, "<html>", Err(NoLiveBid::Garbled)),
            (200, r#"{"bid":5"#, Err(NoLiveBid::Garbled)),
            (200, r#"{"bid":5}{"bid":6}"#, Err(NoLiveBid::Garbled)),
            (200, "{\"bid\":5,\"x\":\"\u{0}\"}", Err(NoLiveBid::Garbled)),
            (200, &deep, Err(NoLiveBid::Declined)),
            (201, r#"{"bid":5}"#, Err(NoLiveBid::Failed)),
            (302, r#"{"bid":5}"#, Err(NoLiveBid::Failed)),
            (404, r#"{"bid":5}"#, Err(NoLiveBid::Failed)),
            (500, "", Err(NoLiveBid::Failed)),
        ] {
            let shown = &body[..body.len().min(40)];
            assert_eq!(said(status, body, &AnswerMapping::default()), expected, "{status} {shown}");
        }
        let encoded = Answer { status: StatusCode::OK, is_encoded: true, body: br#"{"bid":5}"#.to_vec() };
        let understood = understand(&encoded, &AnswerMapping::default(), Micros::units(100));
        assert_eq!(understood, Err(NoLiveBid::Garbled));
    }

    #[test]
    fn pointers_lead_to_fields() {
        let body = r#"{"seats":[{"a/b":{"~":"3.5"}},null],"ok":1}"#;
        for (pointer, expected) in [
            ("/seats/0/a~1b/~0", bid_of(3_500_000)),
            ("/ok", bid_of(1_000_000)),
            ("/seats/1", Err(NoLiveBid::Declined)),
            ("/seats/2", Err(NoLiveBid::Declined)),
            ("/seats/00", Err(NoLiveBid::Declined)),
            ("/seats/-", Err(NoLiveBid::Declined)),
            ("/ok/deeper", Err(NoLiveBid::Declined)),
            ("", Err(NoLiveBid::Garbled)),
        ] {
            let mapping = AnswerMapping { price: pointer.to_owned(), ..AnswerMapping::default() };
            assert_eq!(said(200, body, &mapping), expected, "{pointer}");
        }
        let whole = AnswerMapping { price: String::new(), ..AnswerMapping::default() };
        assert_eq!(said(200, "12.5", &whole), bid_of(12_500_000));
    }

    #[test]
    fn a_bid_that_is_not_accepted_is_none() {
        let mapping = AnswerMapping { accepted: Some("/accepted".to_owned()), ..AnswerMapping::default() };
        for (accepted, is_bid) in [
            ("true", true),
            ("1", true),
            ("0.5", true),
            ("\"yes\"", true),
            ("null", true),
            ("false", false),
            ("0", false),
            ("-0.00", false),
            ("0e9", false),
        ] {
            let body = format!(r#"{{"accepted":{accepted},"bid":5}}"#);
            let expected = if is_bid { bid_of(5_000_000) } else { Err(NoLiveBid::Declined) };
            assert_eq!(said(200, &body, &mapping), expected, "{accepted}");
        }
    }

    #[test]
    fn its_own_target_and_buffer() {
        let sip = "sip:agent@203.0.113.7:5060";
        let full = |min_connected_s, destination: Option<&str>| {
            let destination = destination.map(|uri| Destination { sip_uris: vec![uri.to_owned()] });
            Ok(LiveSaid::Bid { price_micros: Micros::units(5), min_connected_s, destination })
        };
        for (fields, expected) in [
            (format!(r#""sip_uri":"{sip}","min_connected_s":90"#), full(Some(90), Some(sip))),
            (r#""sip_uri":null,"min_connected_s":"30""#.to_owned(), full(Some(30), None)),
            (r#""min_connected_s":86400"#.to_owned(), full(Some(86_400), None)),
            (r#""min_connected_s":86401"#.to_owned(), Err(NoLiveBid::Garbled)),
            (r#""min_connected_s":-1"#.to_owned(), Err(NoLiveBid::Garbled)),
            (r#""min_connected_s":1.5"#.to_owned(), Err(NoLiveBid::Garbled)),
            (r#""min_connected_s":"+5""#.to_owned(), Err(NoLiveBid::Garbled)),
            (r#""sip_uri":"tel:+18005550100""#.to_owned(), Err(NoLiveBid::Garbled)),
            (r#""sip_uri":"sip:a@b\r\nVia: x""#.to_owned(), Err(NoLiveBid::Garbled)),
            (r#""sip_uri":"""#.to_owned(), Err(NoLiveBid::Garbled)),
            (r#""sip_uri":7"#.to_owned(), Err(NoLiveBid::Garbled)),
        ] {
            let body = format!(r#"{{"bid":5,{fields}}}"#);
            assert_eq!(said(200, &body, &AnswerMapping::default()), expected, "{fields}");
        }
    }
}
