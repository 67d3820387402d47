//! What an endpoint saw of a call, told once when it is over.

use super::EndpointCallId;
use exchange::time::Timestamp;

/// One finished call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallReport {
    /// Which call of this endpoint.
    pub id: EndpointCallId,
    /// Placed or received.
    pub side: Side,
    /// When the INVITE was sent or received.
    pub invited_at: Timestamp,
    /// When the first 180 or 183 was received or sent.
    pub ringing_at: Option<Timestamp>,
    /// When the 2xx was received or sent.
    pub answered_at: Option<Timestamp>,
    /// When it ended: the BYE or the final response, sent or received.
    pub ended_at: Timestamp,
    /// The final response to the INVITE, received or sent.
    pub status: Option<u16>,
    /// The `Reason` that came with the final response or the BYE.
    pub reason: Option<String>,
    /// Re-INVITEs of ours that were accepted: 2 after a hold and its end.
    pub reinvites_accepted: u8,
    /// How it ended.
    pub end: CallEnd,
}

/// Which side of the call an endpoint played.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// It placed the call.
    Caller,
    /// It was called.
    Target {
        /// The user part of the Request-URI.
        user: String,
    },
}

/// How a call ended for an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallEnd {
    /// It was refused: a final response of 300 or above.
    Refused,
    /// The caller gave up before the answer.
    Cancelled,
    /// This side sent the BYE, and it was answered.
    HungUp,
    /// The other side sent the BYE.
    HungUpByPeer,
    /// This side vanished, as planned.
    Vanished,
    /// The other side fell silent: no final response, no ACK, or no answer to a BYE.
    PeerLost,
}

impl CallReport {
    /// Milliseconds from answer to end.
    pub fn connected_ms(&self) -> Option<u64> {
        Some(self.ended_at.ms_since(self.answered_at?))
    }

    /// Microseconds from the INVITE to the first sign of it being worked on that people can hear: 180, 183 or 200.
    pub fn set_up_us(&self) -> Option<u64> {
        u64::try_from(self.ringing_at.or(self.answered_at)? - self.invited_at).ok()
    }
}
