//! Header field values with a structure: parameters, addresses, `Via`, `CSeq`. Read in place, on demand.

use crate::method::Method;
use crate::peer::Peer;
use crate::uri::{self, Uri};
use std::net::SocketAddr;

/// What is wrong with a field's value, in words for the peer's engineer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FieldError(pub &'static str);

/// Whether `text` is a token (RFC 3261 section 25.1).
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b))
}

/// Reads decimal digits only (no sign), up to `u32::MAX`.
pub fn read_number(text: &str) -> Option<u32> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// Splits at `separator`, but not inside quoted strings or angle brackets. Parts are trimmed.
pub fn split_outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = find_outside_quotes(text, separator);
        rest = end.map(|at| &text[at + separator.len_utf8()..]);
        Some(text[..end.unwrap_or(text.len())].trim())
    })
}

/// Where `wanted` first stands outside quoted strings and angle brackets.
fn find_outside_quotes(text: &str, wanted: char) -> Option<usize> {
    let (mut quoted, mut escaped, mut bracketed) = (false, false, false);
    for (at, character) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if quoted {
            escaped = character == '\\';
            quoted = character != '"';
        } else if character == wanted && !bracketed {
            return Some(at);
        } else {
            match character {
                '"' => quoted = true,
                '<' => bracketed = true,
                '>' => bracketed = false,
                _ => {}
            }
        }
    }
    None
}

/// `;name=value` parameters. Names match without regard to case.
#[derive(Debug, Clone, Copy, Default)]
pub struct Params<'a>(&'a str);

impl<'a> Params<'a> {
    /// Reads and checks what stands after the first `;`.
    pub fn parse(text: &'a str) -> Result<Self, FieldError> {
        let params = Self(text.trim());
        if params.iter().all(|(name, value)| is_param_name(name) && value.is_none_or(is_param_value)) {
            Ok(params)
        } else {
            Err(FieldError("a parameter is malformed; write ;name or ;name=value"))
        }
    }

    /// Name and value of each. A value in quotes keeps them.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
        split_outside_quotes(self.0, ';').skip(usize::from(self.0.is_empty())).map(
            |parameter| match parameter.split_once('=') {
                Some((name, value)) => (name.trim_end(), Some(value.trim_start())),
                None => (parameter, None),
            },
        )
    }

    /// The value of a parameter that has one.
    pub fn get(self, name: &str) -> Option<&'a str> {
        self.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).and_then(|(_, value)| value)
    }

    /// Whether a parameter is there, with or without a value.
    pub fn has(self, name: &str) -> bool {
        self.iter().any(|(other, _)| other.eq_ignore_ascii_case(name))
    }
}

/// URI parameter names may hold a few characters more than tokens.
fn is_param_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.!%*_+`'~[]/:&$()".contains(&b))
}

fn is_param_value(text: &str) -> bool {
    if let Some(inside) = text.strip_prefix('"') {
        return closes_at_end(inside);
    }
    is_param_name(text) || uri::host_ip(text).is_some()
}

/// Whether the quoted string that begins before `text` ends exactly at its end.
fn closes_at_end(text: &str) -> bool {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1 == text.len(),
            _ => {}
        }
    }
    false
}

/// The value of `From`, `To`, `Contact`, `Route` and the like.
#[derive(Debug, Clone, Copy)]
pub struct NameAddr<'a> {
    /// The display name as written, quotes included; empty if there is none.
    pub display: &'a str,
    /// The URI's text, known to be well formed.
    pub uri_text: &'a str,
    /// The URI.
    pub uri: Uri<'a>,
    /// The field's own parameters, such as `tag`.
    pub params: Params<'a>,
}

impl<'a> NameAddr<'a> {
    /// Reads `"Display" <uri>;params` or `uri;params`.
    pub fn parse(text: &'a str) -> Result<Self, FieldError> {
        let text = text.trim();
        let Some(open) = find_outside_quotes(text, '<') else {
            // Without brackets, parameters belong to the field, and the URI has neither comma nor question mark.
            let (uri_text, params) = text.split_once(';').unwrap_or((text, ""));
            if uri_text.contains([',', '?', '"']) {
                return Err(FieldError(
                    "a URI with ',' or '?' is written in angle brackets, and a quote must close",
                ));
            }
            let uri_text = uri_text.trim_end();
            return Ok(Self {
                display: "",
                uri_text,
                uri: Uri::parse(uri_text)?,
                params: Params::parse(params)?,
            });
        };
        let display = text[..open].trim_end();
        let display_is_well_formed = match display.strip_prefix('"') {
            Some(inside) => closes_at_end(inside),
            None => display.split_ascii_whitespace().all(is_token),
        };
        if !display_is_well_formed {
            return Err(FieldError("a display name is tokens, or one quoted string"));
        }
        let (uri_text, rest) = text[open + 1..].split_once('>').ok_or(FieldError("'<' without its '>'"))?;
        let params = match rest.trim_start().strip_prefix(';') {
            Some(params) => Params::parse(params)?,
            None if rest.trim().is_empty() => Params::default(),
            None => return Err(FieldError("only parameters may follow '>'")),
        };
        Ok(Self { display, uri_text, uri: Uri::parse(uri_text)?, params })
    }

    /// The dialog tag, in `From` and `To`.
    pub fn tag(&self) -> Option<&'a str> {
        self.params.get("tag")
    }
}

/// One `Via`.
#[derive(Debug, Clone, Copy)]
pub struct Via<'a> {
    /// Such as `UDP`.
    pub transport: &'a str,
    /// Where the sender says it is.
    pub host: &'a str,
    /// The port the sender says it listens on.
    pub port: Option<u16>,
    /// `branch`, `received`, `rport` and others.
    pub params: Params<'a>,
}

/// What every branch of RFC 3261 begins with.
pub const BRANCH_COOKIE: &str = "z9hG4bK";

impl<'a> Via<'a> {
    /// Reads one value, not a list.
    pub fn parse(text: &'a str) -> Result<Self, FieldError> {
        const SHAPE: FieldError = FieldError("a Via is written SIP/2.0/UDP host:port;branch=...");
        let (head, params) = text.split_once(';').unwrap_or((text, ""));
        let (name, rest) = head.split_once('/').ok_or(SHAPE)?;
        let (version, rest) = rest.split_once('/').ok_or(SHAPE)?;
        let rest = rest.trim();
        let (transport, sent_by) = rest.split_once([' ', '\t']).ok_or(SHAPE)?;
        if !name.trim().eq_ignore_ascii_case("SIP") || version.trim() != "2.0" || !is_token(transport) {
            return Err(SHAPE);
        }
        let (host, port) = uri::read_host_port(sent_by.trim())?;
        Ok(Self { transport, host, port, params: Params::parse(params)? })
    }

    /// The transaction's branch, if it has one with something behind the cookie of RFC 3261.
    pub fn branch(&self) -> Option<&'a str> {
        self.params.get("branch")
    }

    /// Where responses go, the request having come from `source` (RFC 3261 section 18.2.2, RFC 3581).
    pub fn reply_to(&self, source: Peer) -> Peer {
        if source.transport.is_reliable() || self.params.has("rport") {
            return source;
        }
        let address = SocketAddr::new(source.address.ip(), self.port.unwrap_or(5060));
        Peer { transport: source.transport, address }
    }
}

/// A `CSeq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CSeq {
    /// Below 2^31.
    pub number: u32,
    /// The method of the request.
    pub method: Method,
}

impl CSeq {
    /// Reads `number method`.
    pub fn parse(text: &str) -> Result<Self, FieldError> {
        const SHAPE: FieldError = FieldError("a CSeq is a number below 2147483648 and a method");
        let (number, method) = text.split_once([' ', '\t']).ok_or(SHAPE)?;
        let number = read_number(number).filter(|number| *number < 1 << 31).ok_or(SHAPE)?;
        let method = Method::read(method.trim()).ok_or(SHAPE)?;
        Ok(Self { number, method })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses() {
        let cases = [
            ("\"A. \\\"B\\\" <C>\" <sip:a@h>;tag=1", "sip:a@h", Some("1")),
            ("Anonymous <sip:c8o@anonymous.invalid> ; tag = xyz", "sip:c8o@anonymous.invalid", Some("xyz")),
            ("sip:a@h;tag=2", "sip:a@h", Some("2")),
            ("<sip:a@h;tag=3>", "sip:a@h;tag=3", None),
            ("<sip:a@h>", "sip:a@h", None),
        ];
        for (text, uri, tag) in cases {
            let address = NameAddr::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((address.uri_text, address.tag()), (uri, tag), "{text}");
        }
    }

    #[test]
    fn refuses_broken_addresses() {
        let cases = [
            "",
            "*",
            "\"Mr. J. User <sip:j@h>",
            "Bell, Alexander <sip:a@h>",
            "<sip:a@h",
            "<sip:a@h> junk",
            "< sip:a@h>",
            "sip:a@h?Route=%3Csip:x%3E",
            "\"a\" \"b\" <sip:a@h>",
            "<sip:a@h>;tag=\"x",
        ];
        for text in cases {
            assert!(NameAddr::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_vias() {
        let via =
            Via::parse("SIP  / 2.0  / TCP     spindle.example.com : 99  ;  branch  =   z9hG4bK9ikj8  ;rport")
                .unwrap();
        assert_eq!((via.transport, via.host, via.port), ("TCP", "spindle.example.com", Some(99)));
        assert_eq!(via.branch(), Some("z9hG4bK9ikj8"));
        assert!(via.params.has("RPORT"));
        for text in
            ["", "SIP/2.0/UDP", "SIP/1.0/UDP h", "HTTP/2.0/UDP h", "SIP/2.0/UDP h:port", "SIP/2.0/UDP h i"]
        {
            assert!(Via::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_cseqs() {
        assert_eq!(CSeq::parse("0009  INVITE").unwrap(), CSeq { number: 9, method: Method::Invite });
        for text in
            ["", "1", "INVITE", "-1 INVITE", "2147483648 INVITE", "36893488147419103232 INVITE", "1 INV ITE"]
        {
            assert!(CSeq::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn splits_lists_outside_quotes_and_brackets() {
        let parts: Vec<_> = split_outside_quotes("\"a,\\\"b\" <sip:a,b@h>, <sip:c@h> ,d", ',').collect();
        assert_eq!(parts, ["\"a,\\\"b\" <sip:a,b@h>", "<sip:c@h>", "d"]);
    }
}
