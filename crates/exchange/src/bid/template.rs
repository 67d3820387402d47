//! Templates of requests to live bidders: which placeholders there are, what they stand for, and how a text is filled.
//!
//! Asking is the shell's; this is only text in, text out, so that a bid profile is checked with what later fills it.

use crate::bid::criteria::Attestation;
use crate::bid::live::BidRequest;
use crate::tracking_number::CallOrigin;
use std::borrow::Cow;
use std::fmt::Write;

/// What a placeholder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placeholder<'a> {
    /// `{call}`
    Call,
    /// `{bid}`
    Bid,
    /// `{vertical}`
    Vertical,
    /// `{origin}`, such as `organic_inbound`.
    Origin,
    /// `{state}`
    State,
    /// `{zip}`
    Zip,
    /// `{area_code}`
    AreaCode,
    /// `{language}`
    Language,
    /// `{attestation}`: `A`, `B` or `C`.
    Attestation,
    /// `{caller}`: nothing, a token, or the number, as the bidder's disclosure says.
    Caller,
    /// `{floor}`, as 12.34.
    Floor,
    /// `{floor_micros}`
    FloorMicros,
    /// `{currency}`
    Currency,
    /// `{deadline_ms}`: how long the bidder has.
    DeadlineMs,
    /// `{tag.NAME}`
    Tag(&'a str),
}

impl<'a> Placeholder<'a> {
    /// The placeholder of this name, written without its braces.
    pub fn named(name: &'a str) -> Option<Self> {
        Some(match name {
            "call" => Self::Call,
            "bid" => Self::Bid,
            "vertical" => Self::Vertical,
            "origin" => Self::Origin,
            "state" => Self::State,
            "zip" => Self::Zip,
            "area_code" => Self::AreaCode,
            "language" => Self::Language,
            "attestation" => Self::Attestation,
            "caller" => Self::Caller,
            "floor" => Self::Floor,
            "floor_micros" => Self::FloorMicros,
            "currency" => Self::Currency,
            "deadline_ms" => Self::DeadlineMs,
            _ => return name.strip_prefix("tag.").filter(|tag| is_tag_name(tag)).map(Self::Tag),
        })
    }

    /// Always a number, so that it may stand in JSON without quotes.
    pub fn is_number(self) -> bool {
        matches!(self, Self::Floor | Self::FloorMicros | Self::DeadlineMs)
    }

    /// What it stands for in one request; empty where that is not known. `caller` is what the bidder may learn of the number.
    pub fn value<'b>(self, request: &'b BidRequest, caller: &'b str) -> Cow<'b, str> {
        let known = |text: Option<String>| Cow::Owned(text.unwrap_or_default());
        match self {
            Self::Call => Cow::Owned(request.call.to_string()),
            Self::Bid => Cow::Owned(request.bid.to_string()),
            Self::Vertical => Cow::Borrowed(&request.vertical),
            Self::Origin => Cow::Borrowed(origin_word(request.origin)),
            Self::State => known(request.state.map(String::from)),
            Self::Zip => known(request.zip.map(String::from)),
            Self::AreaCode => known(request.area_code.map(|area_code| area_code.to_string())),
            Self::Language => known(request.language.map(String::from)),
            Self::Attestation => Cow::Borrowed(request.attestation.map_or("", attestation_letter)),
            Self::Caller => Cow::Borrowed(caller),
            Self::Floor => Cow::Owned(request.floor_micros.to_string()),
            Self::FloorMicros => Cow::Owned(request.floor_micros.0.to_string()),
            Self::Currency => Cow::Owned(request.currency.to_string()),
            Self::DeadlineMs => Cow::Owned(request.time_ms().to_string()),
            Self::Tag(name) => Cow::Borrowed(request.tags.get(name).map_or("", String::as_str)),
        }
    }
}

fn is_tag_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=64).contains(&name.len()) && name.bytes().all(is_plain)
}

/// The origin as the API writes it.
pub fn origin_word(origin: CallOrigin) -> &'static str {
    match origin {
        CallOrigin::OrganicInbound => "organic_inbound",
        CallOrigin::CallbackRequested => "callback_requested",
        CallOrigin::OutboundTransfer => "outbound_transfer",
        CallOrigin::Outbound => "outbound",
    }
}

fn attestation_letter(attestation: Attestation) -> &'static str {
    match attestation {
        Attestation::A => "A",
        Attestation::B => "B",
        Attestation::C => "C",
    }
}

/// Where a template is used, which decides how values are escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escaping {
    /// Percent-encoded: everything but the unreserved characters of RFC 3986 section 2.3.
    Url,
    /// As text between the quotes of a JSON string (RFC 8259 section 7).
    Json,
}

/// Fills every placeholder. A name that is none stands for nothing: [`problems`] refuses it when the template is placed.
pub fn render<'v>(
    template: &str,
    escaping: Escaping,
    value: impl Fn(Placeholder<'_>) -> Cow<'v, str>,
) -> String {
    let mut filled = String::with_capacity(template.len() + 64);
    for piece in pieces(template) {
        match piece {
            Piece::Text(text) => filled.push_str(text),
            Piece::Name(name) => {
                let value = Placeholder::named(name).map(&value).unwrap_or_default();
                match escaping {
                    Escaping::Url => percent_encode(&value, &mut filled),
                    Escaping::Json => json_escape(&value, &mut filled),
                }
            }
        }
    }
    filled
}

/// Each name in braces that is not a placeholder, or one that `allowed` does not have; empty when there is none.
pub fn problems(template: &str, allowed: impl Fn(Placeholder<'_>) -> bool) -> Vec<String> {
    let mut unknown: Vec<String> = pieces(template)
        .filter_map(|piece| match piece {
            Piece::Name(name) if !Placeholder::named(name).is_some_and(&allowed) => {
                Some(format!("{{{}}}", name.chars().take(70).collect::<String>()))
            }
            _ => None,
        })
        .collect();
    unknown.sort();
    unknown.dedup();
    unknown
}

enum Piece<'a> {
    Text(&'a str),
    Name(&'a str),
}

/// A name in braces is a placeholder; any other brace is text, as JSON's own are: a quote, a space or another brace follows them.
fn pieces(template: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = template;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some(name) = leading_name(rest) {
            rest = &rest[name.len() + 2..];
            return Some(Piece::Name(name));
        }
        // At least one character, which may be a brace that begins no name.
        let next = rest.char_indices().skip(1).find(|(_, character)| *character == '{');
        let next = next.map_or(rest.len(), |(at, _)| at);
        let (text, after) = rest.split_at(next);
        rest = after;
        Some(Piece::Text(text))
    })
}

fn leading_name(text: &str) -> Option<&str> {
    let (name, _) = text.strip_prefix('{')?.split_once('}')?;
    let is_named = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (!name.is_empty() && name.bytes().all(is_named)).then_some(name)
}

fn percent_encode(value: &str, filled: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            filled.push(char::from(byte));
        } else {
            write!(filled, "%{byte:02X}").expect("writing to a String does not fail");
        }
    }
}

fn json_escape(value: &str, filled: &mut String) {
    let quoted = serde_json::Value::from(value).to_string();
    filled.push_str(&quoted[1..quoted.len() - 1]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(placeholder: Placeholder<'_>) -> Cow<'static, str> {
        Cow::Borrowed(match placeholder {
            Placeholder::State => "FL",
            Placeholder::Floor => "12.34",
            Placeholder::Tag("source") => "a \"b\"/\\\n\u{e9}&x=1",
            _ => "",
        })
    }

    #[test]
    fn templates_are_filled_and_values_escaped() {
        let cases = [
            (Escaping::Url, "", ""),
            (Escaping::Url, "/ping", "/ping"),
            (Escaping::Url, "/{state}?f={floor}", "/FL?f=12.34"),
            (Escaping::Url, "?s={tag.source}", "?s=a%20%22b%22%2F%5C%0A%C3%A9%26x%3D1"),
            (Escaping::Url, "?z={zip}&s={state}", "?z=&s=FL"),
            (Escaping::Url, "{state}{state}", "FLFL"),
            (Escaping::Json, r#"{"a":{"s":"{state}"}}"#, r#"{"a":{"s":"FL"}}"#),
            (Escaping::Json, r#"{"f":{floor}}"#, r#"{"f":12.34}"#),
            (Escaping::Json, r#"["{tag.source}"]"#, "[\"a \\\"b\\\"/\\\\\\n\u{e9}&x=1\"]"),
            (Escaping::Json, "{", "{"),
            (Escaping::Json, "{{state}}", "{FL}"),
            (Escaping::Json, "{}", "{}"),
            (Escaping::Json, "\u{e9}{state}\u{e9}{", "\u{e9}FL\u{e9}{"),
            (Escaping::Json, r#"{"\u00e9":"é{unknown}"}"#, r#"{"\u00e9":"é"}"#),
        ];
        for (escaping, template, expected) in cases {
            assert_eq!(render(template, escaping, value), expected, "{template}");
        }
    }

    #[test]
    fn names_that_are_no_placeholders_are_found() {
        let cases: [(&str, &[&str]); 8] = [
            (r#"{"call":"{call}","t":"{tag.a_1}"}"#, &[]),
            ("{caller}{nobody}{nobody}", &["{nobody}"]),
            ("{Call}", &["{Call}"]),
            ("{tag.}{tag.A}{tag}", &["{tag.A}", "{tag.}", "{tag}"]),
            ("{caller-id}", &["{caller-id}"]),
            ("{ call }", &[]),
            ("{call", &[]),
            ("", &[]),
        ];
        for (template, expected) in cases {
            assert_eq!(problems(template, |_| true), expected, "{template}");
        }
        assert_eq!(problems("{call}{floor}", |placeholder| placeholder == Placeholder::Call), ["{floor}"]);
    }
}
