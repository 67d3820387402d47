//! SIP and tel URIs, read in place (RFC 3261 section 19.1, RFC 3966).

use crate::field::{self, FieldError, Params};
use crate::peer::{Peer, Transport};
use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The scheme of a URI, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `tel:`
    Tel,
    /// Any other scheme; such a URI is kept but not understood.
    Other,
}

/// A URI, as parts of the text it was read from.
#[derive(Debug, Clone, Copy)]
pub struct Uri<'a> {
    /// Its scheme.
    pub scheme: Scheme,
    /// The user part, still escaped; for `tel:` the number.
    pub user: Option<&'a str>,
    /// The host; empty unless the scheme is `sip` or `sips`. An IPv6 address keeps its brackets.
    pub host: &'a str,
    /// The port, if given.
    pub port: Option<u16>,
    /// What follows the host, such as `transport=tcp;lr`.
    pub params: Params<'a>,
    /// What follows `?`, if anything.
    pub headers: Option<&'a str>,
}

impl<'a> Uri<'a> {
    /// Reads a whole URI strictly.
    pub fn parse(text: &'a str) -> Result<Self, FieldError> {
        let (scheme, rest) = text.split_once(':').ok_or(FieldError("a URI has a scheme, such as sip:"))?;
        let scheme_is_well_formed = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
        if !scheme_is_well_formed {
            return Err(FieldError("the URI's scheme is malformed"));
        }
        if text.bytes().any(|b| !(0x21..0x7f).contains(&b) || matches!(b, b'<' | b'>' | b'"')) {
            return Err(FieldError("a URI has no blanks, quotes, angle brackets or non-ASCII characters"));
        }
        let scheme = [("sip", Scheme::Sip), ("sips", Scheme::Sips), ("tel", Scheme::Tel)]
            .into_iter()
            .find(|(name, _)| scheme.eq_ignore_ascii_case(name))
            .map_or(Scheme::Other, |(_, scheme)| scheme);
        match scheme {
            Scheme::Sip | Scheme::Sips => Self::parse_sip(scheme, rest),
            Scheme::Tel => {
                let (number, params) = rest.split_once(';').unwrap_or((rest, ""));
                let params = Params::parse(params)?;
                Ok(Self { scheme, user: Some(number), host: "", port: None, params, headers: None })
            }
            Scheme::Other => Ok(Self {
                scheme,
                user: None,
                host: "",
                port: None,
                params: Params::default(),
                headers: None,
            }),
        }
    }

    fn parse_sip(scheme: Scheme, rest: &'a str) -> Result<Self, FieldError> {
        let (user, rest) = match rest.split_once('@') {
            Some((userinfo, rest)) => (Some(read_user(userinfo)?), rest),
            None => (None, rest),
        };
        let (rest, headers) = match rest.split_once('?') {
            Some((rest, headers)) => (rest, Some(headers)),
            None => (rest, None),
        };
        let (host_port, params) = rest.split_once(';').unwrap_or((rest, ""));
        let (host, port) = read_host_port(host_port)?;
        let params = Params::parse(params)?;
        if headers.is_some_and(|headers| headers.contains('@')) {
            return Err(FieldError("'@' in a URI's headers must be escaped"));
        }
        Ok(Self { scheme, user, host, port, params, headers })
    }

    /// The user part before any `;` parameters, with `%` escapes resolved.
    pub fn plain_user(&self) -> Cow<'a, str> {
        let user = self.user.unwrap_or("");
        let user = user.split_once(';').map_or(user, |(number, _)| number);
        unescape(user)
    }

    /// The address to send to, when the host is an IP address and the transport one we speak. The port defaults to
    /// 5060, the transport to UDP.
    pub fn peer(&self) -> Option<Peer> {
        self.peer_at(host_ip(self.host)?)
    }

    /// The address to send to when the host is known to be at `ip`; `None` if we do not speak the transport.
    pub fn peer_at(&self, ip: IpAddr) -> Option<Peer> {
        if self.scheme != Scheme::Sip {
            return None;
        }
        let transport = match self.params.get("transport") {
            None => Transport::Udp,
            Some(name) if name.eq_ignore_ascii_case("udp") => Transport::Udp,
            Some(name) if name.eq_ignore_ascii_case("tcp") => Transport::Tcp,
            Some(_) => return None,
        };
        Some(Peer { transport, address: SocketAddr::new(ip, self.port.unwrap_or(5060)) })
    }

    /// The host's name, when it is a name whose address has to be looked up.
    pub fn host_name(&self) -> Option<&'a str> {
        (self.scheme == Scheme::Sip && host_ip(self.host).is_none()).then_some(self.host)
    }
}

/// The host as an IP address, if it is one.
pub fn host_ip(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse().ok().filter(IpAddr::is_ipv4),
    }
}

fn read_user(userinfo: &str) -> Result<&str, FieldError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/:%".contains(&b);
    if userinfo.is_empty() || !userinfo.bytes().all(allowed) {
        return Err(FieldError("the URI's user part has a character that must be escaped, or is empty"));
    }
    let escapes_are_whole = userinfo
        .split('%')
        .skip(1)
        .all(|after| after.len() >= 2 && after.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit));
    if !escapes_are_whole {
        return Err(FieldError("'%' in a URI is followed by two hexadecimal digits"));
    }
    Ok(userinfo.split_once(':').map_or(userinfo, |(user, _password)| user))
}

/// Reads `host` or `host:port`.
pub(crate) fn read_host_port(text: &str) -> Result<(&str, Option<u16>), FieldError> {
    let (host, port) = match text.rfind(']') {
        Some(end) => (&text[..=end], text[end + 1..].trim_start()),
        None => text.find(':').map_or((text, ""), |at| (&text[..at], &text[at..])),
    };
    let host = host.trim_end();
    let port = match port.strip_prefix(':').map(str::trim) {
        Some(digits) => Some(
            field::read_number(digits)
                .and_then(|port| u16::try_from(port).ok())
                .filter(|port| *port != 0)
                .ok_or(FieldError("a port is a number from 1 to 65535"))?,
        ),
        None if port.is_empty() => None,
        None => return Err(FieldError("only a port may follow the host")),
    };
    let is_name = !host.is_empty()
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    if is_name || (host.starts_with('[') && host_ip(host).is_some()) {
        Ok((host, port))
    } else {
        Err(FieldError("the host is neither a name nor an IP address (IPv6 in brackets)"))
    }
}

fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escape = (*first == b'%').then(|| std::str::from_utf8(tail.get(..2)?).ok()).flatten();
        if let Some(byte) = escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            bytes.push(byte);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sip_uris() {
        let cases = [
            (
                "sip:+18005550100@203.0.113.7:5070;transport=tcp",
                "+18005550100",
                Some("tcp://203.0.113.7:5070"),
            ),
            ("SIP:bob@192.0.2.1", "bob", Some("udp://192.0.2.1:5060")),
            ("sip:[2001:db8::1]:5080", "", Some("udp://[2001:db8::1]:5080")),
            ("sip:%2B1212;npdi@192.0.2.1;user=phone", "+1212", Some("udp://192.0.2.1:5060")),
            ("sip:bob:secret@192.0.2.1?subject=x", "bob", Some("udp://192.0.2.1:5060")),
            ("sip:bob@example.com", "bob", None),
            ("sips:bob@192.0.2.1", "bob", None),
            ("sip:bob@192.0.2.1;transport=sctp", "bob", None),
            ("tel:+12125550123;phone-context=x", "+12125550123", None),
            ("urn:service:sos", "", None),
        ];
        for (text, user, peer) in cases {
            let uri = Uri::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(uri.plain_user(), user, "{text}");
            assert_eq!(uri.peer().map(|peer| peer.to_string()).as_deref(), peer, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_uri() {
        let cases = [
            "",
            "bob",
            ":bob",
            "1sip:x",
            "sip:",
            "sip:@host",
            "sip:bob@",
            "sip:bob@ho st",
            "sip:bob@host:0",
            "sip:bob@host:70000",
            "sip:bob@host:",
            "sip:bob@[::1",
            "sip:bob@::1",
            "sip:b%4@host",
            "sip:b%zz@host",
            "<sip:bob@host>",
            "sip:bo\"b@host",
            "sip:b[o]b@host",
            "sip:bob@host;=x",
            "sip:bob@host?a=b@c",
            "sip:\u{e4}@host",
        ];
        for text in cases {
            assert!(Uri::parse(text).is_err(), "{text}");
        }
    }
}
