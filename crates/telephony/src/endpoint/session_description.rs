//! Session descriptions (RFC 8866) as a telephone gives them: one audio stream and its direction.

use crate::header::{Headers, Name};
use std::net::SocketAddr;

/// Which way media flows, from the describing side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    /// The answer to an offer (RFC 3264 section 6.1).
    pub(super) fn answering(offer: &[u8]) -> Self {
        let has = |attribute: &[u8]| {
            offer.split(|byte| matches!(byte, b'\r' | b'\n')).any(|line| line == attribute)
        };
        if has(b"a=sendonly") {
            Self::RecvOnly
        } else if has(b"a=recvonly") {
            Self::SendOnly
        } else if has(b"a=inactive") {
            Self::Inactive
        } else {
            Self::SendRecv
        }
    }

    fn attribute(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }
}

/// What one telephone says of its media, again and again.
pub(super) struct Media {
    session: u64,
    /// Counts up with every description.
    version: u32,
}

impl Media {
    pub(super) fn new(session: u64) -> Self {
        Self { session, version: 0 }
    }

    /// Puts a fresh description into a message.
    pub(super) fn describe(
        &mut self,
        local: SocketAddr,
        direction: Direction,
        headers: &mut Headers,
        body: &mut Vec<u8>,
    ) {
        self.version += 1;
        let (session, version) = (self.session, self.version);
        let family = if local.is_ipv4() { "IP4" } else { "IP6" };
        let (ip, direction) = (local.ip(), direction.attribute());
        // Even ports from 20,000: where a telephone would listen. No media is sent.
        let port = 20_000 + session % 20_000 * 2;
        headers.set(Name::ContentType, "application/sdp");
        *body = format!(
            "v=0\r\no=- {session} {version} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
             a={direction}\r\n"
        )
        .into_bytes();
    }
}
