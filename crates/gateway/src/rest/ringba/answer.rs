//! What a partner is answered: Ringba's names and numbers, with our reasons beside them.

use crate::problem::{FieldProblem, Problem};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use exchange::auction::matching::Refusal;
use exchange::id::CallId;
use exchange::ledger::money::{MICROS_PER_UNIT, Micros};
use exchange::ping::{PingRejection, Reservation};
use exchange::time::Timestamp;
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// What kind of term a bid has: the call's length. It is the only kind there is.
const CALL_LENGTH: u16 = 102;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Xml,
}

impl Format {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Xml => "application/xml",
        }
    }
}

/// Why there is no bid: Ringba's number for it, and our own reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reject {
    code: u16,
    detail: String,
}

impl Reject {
    fn new(code: u16, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }

    pub(super) fn unknown() -> Self {
        Self::new(1001, "unknown_endpoint")
    }

    pub(super) fn too_often() -> Self {
        Self::new(1024, "rate_limited")
    }

    pub(super) fn caller_missing() -> Self {
        Self::new(1100, "caller_missing")
    }

    pub(super) fn caller_refused() -> Self {
        Self::new(1004, "caller_unusable")
    }

    /// The table of `docs/ringba.md`.
    pub(super) fn of(rejection: &PingRejection) -> Self {
        match rejection {
            PingRejection::UnknownNumber => Self::new(1001, "unknown_number"),
            PingRejection::BeingDecided => Self::new(1024, "being_decided"),
            PingRejection::Stopping => Self::new(1001, "stopping"),
            PingRejection::CallerMissing => Self::caller_missing(),
            PingRejection::NoBidder => Self::new(1003, "no_bidder"),
            PingRejection::NoLiveBid => Self::new(1003, "no_live_bid"),
            PingRejection::NoMatch { closest } => Self::new(code(*closest), name(*closest)),
            PingRejection::ScreenedOut { rule } => {
                let code = match rule.as_str() {
                    "seller_standing" => 1001,
                    "calling_hours" => 1007,
                    _ => 1004,
                };
                Self::new(code, format!("screened_out:{rule}"))
            }
        }
    }

    fn reason(&self) -> &'static str {
        match self.code {
            1001 => "Disabled (Code: 1001)",
            1002 => "Initial tag filter (Code: 1002)",
            1004 => "Caller ID (Code: 1004)",
            1007 => "Closed or capped (Code: 1007)",
            1024 => "Rate limited (Code: 1024)",
            1100 => "Caller ID missing (Code: 1100)",
            _ => "No capacity (Code: 1003)",
        }
    }
}

/// Ringba's number for what refused the bids that came closest.
fn code(closest: Refusal) -> u16 {
    match closest {
        Refusal::Origin
        | Refusal::State
        | Refusal::AreaCode
        | Refusal::Zip
        | Refusal::Language
        | Refusal::Seller
        | Refusal::SellerQuality
        | Refusal::Tags
        | Refusal::Modifier => 1002,
        Refusal::Attestation | Refusal::FraudScore | Refusal::Duplicate => 1004,
        Refusal::BelowFloor
        | Refusal::BelowDealFloor
        | Refusal::Paused
        | Refusal::Resting
        | Refusal::BuyerNotActive
        | Refusal::Currency
        | Refusal::Closed
        | Refusal::ConcurrencyCap
        | Refusal::CallCap
        | Refusal::ConversionCap
        | Refusal::SpendCap
        | Refusal::Paced
        | Refusal::GroupCap
        | Refusal::InsufficientFunds => 1003,
    }
}

/// As receipts have it, such as `concurrency_cap`.
fn name(refusal: Refusal) -> String {
    let name = serde_json::to_value(refusal).ok();
    name.as_ref().and_then(Value::as_str).unwrap_or("no_match").to_owned()
}

/// An answer, before it is written.
#[derive(Debug)]
pub(super) struct Answer(Value);

impl Answer {
    pub(super) fn accepted(reservation: &Reservation, sip_uri: Option<&str>, now: Timestamp) -> Self {
        let number = reservation.number.to_string();
        let mut fields = json!({
            "bidId": reservation.id,
            "bidAmount": units(reservation.payout_micros),
            "currency": reservation.currency,
            "expireInSeconds": reservation.expires_at.ms_since(now) / 1_000,
            "bidExpireDT": reservation.expires_at.to_jiff().to_string(),
            "phoneNumber": number,
            "phoneNumberNoPlus": number.trim_start_matches('+'),
            "bidTerms": [{
                "code": CALL_LENGTH,
                "callMinDuration": reservation.conversion.min_connected_s,
            }],
        });
        if let Some(address) = sip_uri.and_then(|uri| uri.strip_prefix("sip:")) {
            fields["sipAddress"] = address.into();
        }
        Self(fields)
    }

    pub(super) fn rejected(ping: Option<CallId>, reject: Reject) -> Self {
        let reason = reject.reason();
        let Reject { code, detail } = reject;
        let mut fields =
            json!({ "bidAmount": 0, "rejectReason": reason, "rejectCode": code, "rejectDetail": detail });
        if let Some(ping) = ping {
            fields["bidId"] = json!(ping);
        }
        Self(fields)
    }

    /// Names the fields that were left out, if there are any.
    #[must_use]
    pub(super) fn with_ignored(mut self, ignored: &[FieldProblem]) -> Self {
        if !ignored.is_empty() {
            self.0["ignored"] = json!(ignored);
        }
        self
    }

    /// In XML the root is `bidResponse`, and a list's elements are called `item`.
    pub(super) fn render(&self, format: Format) -> String {
        match format {
            Format::Json => self.0.to_string(),
            Format::Xml => {
                let mut xml = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n".to_owned();
                write_element(&mut xml, "bidResponse", &self.0);
                xml
            }
        }
    }
}

/// A problem in the format that was asked for: in XML it is `application/problem+xml` (RFC 7807, appendix A), with the request's id
/// in its header alone.
pub(super) fn problem(problem: Problem, format: Format) -> Response {
    if format == Format::Json {
        return problem.into_response();
    }
    let mut xml =
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<problem xmlns=\"urn:ietf:rfc:7807\">".to_owned();
    if let Value::Object(members) = problem.members() {
        write_fields(&mut xml, &members);
    }
    xml.push_str("</problem>");
    // The rest of the response, such as Retry-After, is as in JSON.
    let (mut head, _) = problem.render(None).into_parts();
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+xml"));
    head.headers.remove(header::CONTENT_LENGTH);
    (head, xml).into_response()
}

/// In units of the currency. The digits are those of the exact amount: below 9 billion a float holds all six decimals.
fn units(micros: Micros) -> f64 {
    micros.0 as f64 / MICROS_PER_UNIT as f64
}

fn write_element(xml: &mut String, name: &str, value: &Value) {
    // Writing to a String does not fail.
    let _ = write!(xml, "<{name}>");
    match value {
        Value::Object(fields) => write_fields(xml, fields),
        Value::Array(items) => items.iter().for_each(|item| write_element(xml, "item", item)),
        Value::String(text) => xml.push_str(&escaped(text)),
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) => xml.push_str(&value.to_string()),
    }
    let _ = write!(xml, "</{name}>");
}

fn write_fields(xml: &mut String, fields: &Map<String, Value>) {
    fields.iter().for_each(|(name, value)| write_element(xml, name, value));
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_causes_of_1003_stay_apart() {
        let of = |closest| Reject::of(&PingRejection::NoMatch { closest });
        for (closest, code, detail) in [
            (Refusal::Paused, 1003, "paused"),
            (Refusal::ConcurrencyCap, 1003, "concurrency_cap"),
            (Refusal::Closed, 1003, "closed"),
            (Refusal::BelowFloor, 1003, "below_floor"),
            (Refusal::Tags, 1002, "tags"),
            (Refusal::Zip, 1002, "zip"),
            (Refusal::Duplicate, 1004, "duplicate"),
        ] {
            assert_eq!(of(closest), Reject::new(code, detail));
        }
        let screened = |rule: &str| Reject::of(&PingRejection::ScreenedOut { rule: rule.to_owned() });
        for (rule, code) in [("calling_hours", 1007), ("seller_standing", 1001), ("repeat_caller", 1004)] {
            assert_eq!(screened(rule), Reject::new(code, format!("screened_out:{rule}")));
        }
    }

    #[test]
    fn xml_has_the_fields_of_json() {
        let rejected = Answer::rejected(None, Reject::new(1003, "a<b&c"));
        assert_eq!(
            rejected.render(Format::Xml),
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<bidResponse><bidAmount>0</bidAmount><rejectCode>1003</rejectCode>\
             <rejectDetail>a&lt;b&amp;c</rejectDetail><rejectReason>No capacity (Code: 1003)</rejectReason></bidResponse>"
        );
    }
}
