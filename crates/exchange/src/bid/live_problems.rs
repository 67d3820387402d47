//! What is wrong with a live bidder: every problem at once, before it is ever asked.

use crate::bid::live::{AnswerMapping, HttpTarget, LiveBidder, LiveVia};
use crate::bid::template::{self, Escaping, Placeholder};
use crate::refused::{FieldError, field_error};
use core::net::Ipv6Addr;
use serde::de::IgnoredAny;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The longest URL, in bytes, before its placeholders are filled.
const URL_BYTES_MAX: usize = 2_048;
/// The longest body, in bytes, before its placeholders are filled.
const BODY_BYTES_MAX: usize = 16 * 1_024;
/// The most headers, and the most bytes of all their names and values.
const HEADERS_MAX: usize = 32;
const HEADERS_BYTES_MAX: usize = 8 * 1_024;
/// The longest JSON pointer, in bytes.
const POINTER_BYTES_MAX: usize = 256;

/// Headers that are the connection's or the exchange's own to set (RFC 9110 sections 7.2, 7.6.1, 8.6, 10.1.1, 12.5.3).
const HEADERS_RESERVED: [&str; 14] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl LiveBidder {
    /// Everything that is wrong with it, each with its field below the bid profile's `live`.
    pub fn problems(&self) -> Vec<FieldError> {
        let bounds = [
            (
                "live.timeout_ms",
                self.timeout_ms,
                5_000,
                "give milliseconds, or leave it out for the auction's deadline",
            ),
            ("live.requests_per_s", self.requests_per_s, 10_000, "leave it out for 100"),
            ("live.in_flight_max", self.in_flight_max, 1_000, "leave it out for 32"),
        ];
        let mut problems: Vec<FieldError> = bounds
            .into_iter()
            .filter(|(_, value, most, _)| value.is_some_and(|value| !(1..=*most).contains(&value)))
            .map(|(field, _, most, fix)| field_error(field, format!("is not between 1 and {most}"), fix))
            .collect();
        if let LiveVia::Http(target) = &self.via {
            problems.extend(target.problems());
        }
        problems
    }
}

impl HttpTarget {
    fn problems(&self) -> Vec<FieldError> {
        let mut problems = url_problems("live.via.http.url", &self.url, |_| true);
        if let Some(url) = &self.notice_url {
            let is_known =
                |placeholder: Placeholder<'_>| matches!(placeholder, Placeholder::Call | Placeholder::Bid);
            problems.extend(url_problems("live.via.http.notice_url", url, is_known));
        }
        problems.extend(header_problems(&self.headers));
        problems.extend(self.body.as_deref().and_then(body_problem));
        problems.extend(self.answer.problems());
        problems
    }
}

fn unknown_placeholders(
    field: &'static str,
    text: &str,
    is_known: impl Fn(Placeholder<'_>) -> bool,
) -> Option<FieldError> {
    let unknown = template::problems(text, is_known);
    (!unknown.is_empty()).then(|| {
        let problem = format!("has placeholders that stand for nothing here: {}", unknown.join(", "));
        field_error(field, problem, "use those of the documentation, such as {call} or {tag.source}")
    })
}

fn url_problems(
    field: &'static str,
    url: &str,
    is_known: impl Fn(Placeholder<'_>) -> bool,
) -> Vec<FieldError> {
    if url.len() > URL_BYTES_MAX {
        let problem = format!("is longer than {URL_BYTES_MAX} bytes");
        return vec![field_error(field, problem, "send what is long in the body")];
    }
    let mut problems: Vec<_> = unknown_placeholders(field, url, is_known).into_iter().collect();
    let scheme = ["http://", "https://"].into_iter().find(|scheme| url.starts_with(scheme));
    let Some(after) = scheme.and_then(|scheme| url.strip_prefix(scheme)) else {
        let fix = "write https://bidder.example.com/ping";
        problems.push(field_error(field, "does not begin with http:// or https://", fix));
        return problems;
    };
    let (authority, path) = after.split_at(after.find(['/', '?', '#']).unwrap_or(after.len()));
    if authority.contains('{') {
        problems.push(field_error(
            field,
            "has a placeholder in its host",
            "put it into the path or the query",
        ));
    } else if authority.contains('@') {
        problems.push(field_error(field, "has a user name or password", "send credentials in a header"));
    } else if !is_authority(authority) {
        problems.push(field_error(field, "has no well-formed host", "write a host name, maybe with :port"));
    }
    let filled = template::render(path, Escaping::Url, |_| Cow::Borrowed("x"));
    if filled.contains('#') {
        problems.push(field_error(field, "has a fragment", "leave out what follows the #"));
    } else if !filled.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte)) {
        let fix = "percent-encode them, such as %20 for a space";
        problems.push(field_error(field, "has characters that no URL has", fix));
    }
    problems
}

/// A host name, an IPv4 address or an IPv6 address in brackets, maybe with a port (RFC 3986 section 3.2.2).
fn is_authority(authority: &str) -> bool {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) if address.parse::<Ipv6Addr>().is_ok() => (address, rest),
        Some(_) => return false,
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            let is_label = |label: &str| {
                let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
                (1..=63).contains(&label.len()) && label.bytes().all(is_legal)
            };
            let is_name = host.strip_suffix('.').unwrap_or(host).split('.').all(is_label);
            if !is_name || host.len() > 253 {
                return false;
            }
            (host, port)
        }
    };
    let is_port = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    !host.is_empty() && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

fn header_problems(headers: &BTreeMap<String, String>) -> Vec<FieldError> {
    let field = "live.via.http.headers";
    let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if headers.len() > HEADERS_MAX || bytes > HEADERS_BYTES_MAX {
        let problem = format!("has more than {HEADERS_MAX} entries or {HEADERS_BYTES_MAX} bytes");
        return vec![field_error(field, problem, "send only those that the bidder asks for")];
    }
    let mut problems = Vec::new();
    let mut seen = Vec::new();
    for (name, value) in headers {
        // The name may hold anything, and the value may be a secret: only a well-formed name is shown.
        let lower_case = name.to_ascii_lowercase();
        if name.is_empty() || !name.bytes().all(is_token_byte) {
            let fix = "use letters, digits and hyphens, such as X-Api-Key";
            problems.push(field_error(field, "has a name that no header has", fix));
        } else if HEADERS_RESERVED.contains(&lower_case.as_str()) {
            let fix = "leave it out: the exchange sets it where it is needed";
            problems.push(field_error(
                field,
                format!("has {lower_case}, which is the connection's own"),
                fix,
            ));
        } else if seen.contains(&lower_case) {
            problems.push(field_error(
                field,
                format!("has {lower_case} twice"),
                "names differ not by case alone",
            ));
        } else if value.trim() != value || !value.bytes().all(|byte| (b' '..0x7f).contains(&byte)) {
            let fix = "use printable ASCII without spaces around it";
            problems.push(field_error(field, format!("has a value of {lower_case} that no header has"), fix));
        }
        seen.push(lower_case);
    }
    problems
}

/// A byte of a token (RFC 9110 section 5.6.2).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn body_problem(body: &str) -> Option<FieldError> {
    let field = "live.via.http.body";
    if body.len() > BODY_BYTES_MAX {
        let problem = format!("is longer than {BODY_BYTES_MAX} bytes");
        return Some(field_error(field, problem, "leave out what the bidder does not read"));
    }
    if body.is_empty() {
        return None;
    }
    if let Some(problem) = unknown_placeholders(field, body, |_| true) {
        return Some(problem);
    }
    // JSON whatever the values are: nothing known, and a text that would end a string early.
    let is_json = |text: &'static str| {
        let value =
            |placeholder: Placeholder<'_>| Cow::Borrowed(if placeholder.is_number() { "1" } else { text });
        serde_json::from_str::<IgnoredAny>(&template::render(body, Escaping::Json, value)).is_ok()
    };
    (!is_json("") || !is_json("x\"")).then(|| {
        let fix = "put placeholders between quotes; only {floor}, {floor_micros} and {deadline_ms} may stand without";
        field_error(field, "is not JSON once its placeholders are filled", fix)
    })
}

impl AnswerMapping {
    fn problems(&self) -> Vec<FieldError> {
        let pointers = [
            ("live.via.http.answer.price", Some(&self.price)),
            ("live.via.http.answer.accepted", self.accepted.as_ref()),
            ("live.via.http.answer.sip_uri", self.sip_uri.as_ref()),
            ("live.via.http.answer.min_connected_s", self.min_connected_s.as_ref()),
        ];
        pointers
            .into_iter()
            .filter(|(_, pointer)| pointer.is_some_and(|pointer| !is_json_pointer(pointer)))
            .map(|(field, _)| {
                field_error(field, "is not a JSON pointer", "write it as /bid or /bids/0/price")
            })
            .collect()
    }
}

/// RFC 6901 section 3: empty, or tokens that each begin with `/`; `~` only as `~0` and `~1`.
fn is_json_pointer(text: &str) -> bool {
    let escapes_are_whole = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    text.len() <= POINTER_BYTES_MAX && (text.is_empty() || text.starts_with('/')) && escapes_are_whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bid::live::CallerDisclosure;

    fn bidder(target: HttpTarget) -> LiveBidder {
        LiveBidder {
            via: LiveVia::Http(target),
            timeout_ms: None,
            requests_per_s: None,
            in_flight_max: None,
            caller: CallerDisclosure::Withheld,
        }
    }

    fn target() -> HttpTarget {
        HttpTarget {
            url: "https://bidder.example.com/ping".to_owned(),
            headers: BTreeMap::new(),
            body: None,
            answer: AnswerMapping::default(),
            notice_url: None,
        }
    }

    /// The fields with problems.
    fn fields(bidder: &LiveBidder) -> Vec<String> {
        bidder.problems().into_iter().map(|problem| problem.field.into_owned()).collect()
    }

    #[test]
    fn urls() {
        for good in [
            "http://203.0.113.7:8080/ping?vertical={vertical}&state={state}&t={tag.source}",
            "https://bidder.example.com",
            "https://bidder.example.com?cid={caller}",
            "https://[2001:db8::7]:8443/",
            "https://my_host.internal./a;b=c/%20",
        ] {
            assert_eq!(fields(&bidder(HttpTarget { url: good.to_owned(), ..target() })), [""; 0], "{good}");
        }
        let long = format!("https://bidder.example.com/{}", "x".repeat(2_048));
        for bad in [
            "",
            "bidder.example.com",
            "ftp://bidder.example.com",
            "https://",
            "https:///ping",
            "https://{state}.example.com/",
            "https://user:secret@bidder.example.com/",
            "https://bidder.example.com:0/",
            "https://bidder.example.com:+80/",
            "https://bidder.example.com:99999/",
            "https://[::1/",
            "https://[bad]/",
            "https://a..b/",
            "https://bidder.example.com/ping#top",
            "https://bidder.example.com/a b",
            "https://bidder.example.com/{",
            "https://bidder.example.com/{nobody}",
            "https://bidder.example.com/\r\nX: y",
            "https://b\u{fc}cher.example.com/",
            &long,
        ] {
            let bidder = bidder(HttpTarget { url: bad.to_owned(), ..target() });
            assert_eq!(fields(&bidder), ["live.via.http.url"], "{bad}");
        }
    }

    #[test]
    fn a_notice_knows_the_call_and_the_bid_only() {
        for (url, is_good) in
            [("https://a.example/n?c={call}&b={bid}", true), ("https://a.example/{state}", false)]
        {
            let bidder = bidder(HttpTarget { notice_url: Some(url.to_owned()), ..target() });
            assert_eq!(bidder.problems().is_empty(), is_good, "{url}");
        }
    }

    #[test]
    fn headers() {
        for (name, value, is_good) in [
            ("X-Api-Key", "secret with spaces", true),
            ("Authorization", "Bearer abc", true),
            ("Content-Type", "application/json; charset=utf-8", true),
            ("X-Empty", "", true),
            ("Host", "elsewhere.example", false),
            ("content-length", "1", false),
            ("Transfer-Encoding", "chunked", false),
            ("Connection", "close", false),
            ("X Key", "a", false),
            ("", "a", false),
            ("X-Key", "a\r\nX-Other: b", false),
            ("X-Key", " a", false),
            ("X-Key", "\u{e9}", false),
        ] {
            let headers = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            let problems = bidder(HttpTarget { headers, ..target() }).problems();
            assert_eq!(problems.is_empty(), is_good, "{name}: {value}");
        }
        let twice = BTreeMap::from(["X-Key", "x-key"].map(|name| (name.to_owned(), "a".to_owned())));
        assert_eq!(fields(&bidder(HttpTarget { headers: twice, ..target() })), ["live.via.http.headers"]);
    }

    #[test]
    fn bodies_are_json_whatever_the_values_are() {
        for (body, is_good) in [
            ("", true),
            (r#"{"call":"{call}","state":"{state}","floor":{floor},"max_ms":{deadline_ms}}"#, true),
            (r#"{"note":"in {state}, {zip}"}"#, true),
            (r#"["{tag.source}"]"#, true),
            (r#"{"state":{state}}"#, false),
            (r#"{"area":{area_code}}"#, false),
            (r#"{"{nobody}":1}"#, false),
            (r#"{"a":1"#, false),
            ("call={call}", false),
        ] {
            let bidder = bidder(HttpTarget { body: Some(body.to_owned()), ..target() });
            assert_eq!(bidder.problems().is_empty(), is_good, "{body}");
        }
    }

    #[test]
    fn pointers_and_bounds() {
        for (pointer, is_good) in [
            ("", true),
            ("/bid", true),
            ("/a~1b/0/~0", true),
            ("bid", false),
            ("/a~2", false),
            ("/a~", false),
        ] {
            let answer = AnswerMapping { price: pointer.to_owned(), ..AnswerMapping::default() };
            let problems = bidder(HttpTarget { answer, ..target() }).problems();
            assert_eq!(problems.is_empty(), is_good, "{pointer}");
        }
        let mut bidder = LiveBidder { via: LiveVia::Connection, ..bidder(target()) };
        (bidder.timeout_ms, bidder.requests_per_s, bidder.in_flight_max) =
            (Some(0), Some(10_001), Some(1_001));
        assert_eq!(fields(&bidder), ["live.timeout_ms", "live.requests_per_s", "live.in_flight_max"]);
        (bidder.timeout_ms, bidder.requests_per_s, bidder.in_flight_max) =
            (Some(5_000), Some(1), Some(1_000));
        assert_eq!(fields(&bidder), [""; 0]);
    }
}
