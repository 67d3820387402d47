//! The little of session descriptions (RFC 8866) that a caller's move from one target to another needs. Otherwise they pass
//! through unread.

use crate::body::Body;
use std::ops::Range;

/// Lines that say where media goes and which way, besides `m=`.
const MEDIA_LINES: [&[u8]; 8] = [
    b"c=",
    b"a=sendonly",
    b"a=recvonly",
    b"a=inactive",
    b"a=crypto:",
    b"a=fingerprint:",
    b"a=ice-ufrag:",
    b"a=ice-pwd:",
];

impl Body {
    /// This description as the next one of the session that `previous` belongs to, although somebody else made it: under
    /// the same origin, its version one higher if anything changed (RFC 3264 section 8). What is no session
    /// description, or names no origin, stays as it is.
    pub(crate) fn continuing(self, previous: &Self) -> Self {
        let (Some(was), Some(is)) = (origin(previous), origin(&self)) else { return self };
        let unchanged = previous.bytes()[..was.line.start] == self.bytes()[..is.line.start]
            && previous.bytes()[was.line.end..] == self.bytes()[is.line.end..];
        let version = if unchanged { was.version } else { was.version.saturating_add(1) };
        let [user, session, net, family, address] = was.others;
        let line = format!("o={user} {session} {version} {net} {family} {address}");
        let (before, after) = (&self.bytes()[..is.line.start], &self.bytes()[is.line.end..]);
        let bytes = [before, line.as_bytes(), after].concat();
        self.with_bytes(bytes)
    }

    /// Whether media must flow otherwise than `offered` said: elsewhere, in another direction, or under other keys. That an
    /// answer names fewer formats than an offer changes nothing.
    pub(crate) fn moves_media_of(&self, offered: &Self) -> bool {
        !media_lines(self).eq(media_lines(offered))
    }
}

/// An `o=` line.
struct Origin<'a> {
    /// Where it stands, without its line break.
    line: Range<usize>,
    version: u64,
    /// All but the version.
    others: [&'a str; 5],
}

fn origin(body: &Body) -> Option<Origin<'_>> {
    if !body.is_session_description() {
        return None;
    }
    let mut start = 0;
    for line in body.bytes().split(|byte| *byte == b'\n') {
        if line.starts_with(b"o=") {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let mut fields = std::str::from_utf8(&line[2..]).ok()?.split(' ');
            let mut next = || fields.next().filter(|field| !field.is_empty());
            let (user, session, version) = (next()?, next()?, next()?.parse().ok()?);
            let others = [user, session, next()?, next()?, next()?];
            return Some(Origin { line: start..start + line.len(), version, others });
        }
        start += line.len() + 1;
    }
    None
}

/// What decides how media flows, in order: of `m=` the kind, port and protocol.
fn media_lines(body: &Body) -> impl Iterator<Item = &[u8]> {
    body.bytes().split(|byte| matches!(byte, b'\r' | b'\n')).filter_map(|line| {
        if line.starts_with(b"m=") {
            let formats = line.iter().enumerate().filter(|(_, byte)| **byte == b' ').nth(2);
            return Some(&line[..formats.map_or(line.len(), |(at, _)| at)]);
        }
        MEDIA_LINES.iter().any(|start| line.starts_with(start)).then_some(line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::{Headers, Name};

    fn body_as(content_type: &str, text: &str) -> Body {
        let mut headers = Headers::default();
        headers.push(Name::ContentType, content_type);
        Body::of(&headers, text.as_bytes()).expect("not empty")
    }

    fn sdp(text: &str) -> Body {
        body_as("application/sdp", text)
    }

    #[test]
    fn a_session_goes_on_under_its_first_origin() {
        let first = sdp("v=0\r\no=a 1 7 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\n");
        let cases = [
            // Another's description, and what becomes of it.
            (
                "v=0\r\no=b 99 3 IN IP6 ::1\r\ns=-\r\nc=IN IP4 192.0.2.2\r\n",
                "v=0\r\no=a 1 8 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.2\r\n",
            ),
            (
                "v=0\r\no=b 99 3 IN IP6 ::1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\n",
                "v=0\r\no=a 1 7 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\n",
            ),
            ("v=0\no=b 9 3 IN IP4 ::1\ns=x\n", "v=0\no=a 1 8 IN IP4 192.0.2.1\ns=x\n"),
            ("v=0\r\ns=-\r\n", "v=0\r\ns=-\r\n"),
            ("v=0\r\no=b 99 three IN IP4 h\r\n", "v=0\r\no=b 99 three IN IP4 h\r\n"),
        ];
        for (next, expected) in cases {
            assert_eq!(sdp(next).continuing(&first), sdp(expected), "{next}");
        }
        let other = body_as("multipart/mixed", "o=b 9 3 IN IP4 h");
        assert_eq!(other.clone().continuing(&first), other);
    }

    #[test]
    fn media_moves_when_it_goes_elsewhere_or_another_way() {
        let offered = "v=0\r\nc=IN IP4 h\r\nm=audio 4000 RTP/AVP 0 8 18\r\na=rtpmap:0 PCMU/8000\r\n";
        let cases = [
            ("v=0\r\no=x\r\nc=IN IP4 h\r\nm=audio 4000 RTP/AVP 0\r\na=sendrecv\r\n", false),
            ("v=0\r\nc=IN IP4 i\r\nm=audio 4000 RTP/AVP 0 8 18\r\n", true),
            ("v=0\r\nc=IN IP4 h\r\nm=audio 4002 RTP/AVP 0 8 18\r\n", true),
            ("v=0\r\nc=IN IP4 h\r\nm=audio 4000 RTP/SAVP 0 8 18\r\n", true),
            ("v=0\r\nc=IN IP4 h\r\nm=audio 4000 RTP/AVP 0\r\na=sendonly\r\n", true),
            ("v=0\r\nc=IN IP4 h\r\nm=audio 4000 RTP/AVP 0\r\nm=video 0 RTP/AVP 31\r\n", true),
        ];
        for (answer, moves) in cases {
            assert_eq!(sdp(answer).moves_media_of(&sdp(offered)), moves, "{answer}");
        }
    }
}
