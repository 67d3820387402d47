//! How a call's end is put into SIP: final status, `Reason` (RFC 3326, with the causes of ITU-T Q.850), `Retry-After`.

use crate::config::SipConfig;
use exchange::call::{EndedBy, FailureCause};
use exchange::effect::EndReason;

/// What to say to the legs that are still up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ending {
    /// For a caller that is not connected.
    pub(crate) status: u16,
    /// `Reason`, for every leg.
    pub(crate) reason: String,
    /// Whether the caller should come back later.
    pub(crate) retry_after: bool,
}

impl Ending {
    fn new(status: u16, cause: u8, text: &str) -> Self {
        let text = text.replace(['"', '\\'], "'");
        Self { status, reason: format!("Q.850;cause={cause};text=\"{text}\""), retry_after: status == 503 }
    }

    /// The table for what the exchange decides.
    pub(crate) fn of(reason: &EndReason, config: &SipConfig) -> Self {
        match reason {
            EndReason::UnknownNumber => Self::new(404, 1, "Unallocated number"),
            EndReason::ScreenedOut { rule } => Self::new(603, 21, rule),
            EndReason::NoBidder => Self::new(config.no_bidder_status, 34, "No bidder"),
            EndReason::Unanswered { last } => Self::unanswered(*last),
            EndReason::Abandoned => Self::new(487, 16, "Caller gave up"),
            EndReason::Over { by } => match by {
                EndedBy::Caller => Self::new(480, 16, "Caller hung up"),
                EndedBy::Target => Self::new(480, 16, "Target hung up"),
                EndedBy::MaxDuration => Self::new(480, 16, "Longest duration reached"),
                EndedBy::PeerLost => Self::peer_lost(),
                EndedBy::Shutdown | EndedBy::Crash => Self::new(503, 41, "Exchange stopped"),
            },
            EndReason::Stopping => Self::new(503, 41, "Exchange is stopping"),
        }
    }

    fn unanswered(last: FailureCause) -> Self {
        match last {
            FailureCause::Busy => Self::new(486, 17, "User busy"),
            FailureCause::Declined => Self::new(480, 21, "Call rejected"),
            FailureCause::RingTimeout => Self::new(480, 19, "No answer"),
            FailureCause::Unreachable => Self::new(480, 27, "Destination out of order"),
            FailureCause::Rejected { sip_status } => {
                let reason = format!("SIP;cause={sip_status};text=\"Target rejected the call\"");
                Self { status: 480, reason, retry_after: false }
            }
            FailureCause::HungUpEarly { .. } => Self::new(480, 16, "Target hung up"),
            FailureCause::NoLongerEligible => Self::new(480, 34, "No bidder left"),
        }
    }

    /// A peer stopped answering.
    pub(crate) fn peer_lost() -> Self {
        Self::new(408, 102, "Recovery on timer expiry")
    }

    /// The caller refused the session with another target.
    pub(crate) fn move_refused(sip_status: u16) -> Self {
        let reason = format!("SIP;cause={sip_status};text=\"Caller refused the new session\"");
        Self { status: 480, reason, retry_after: false }
    }

    /// Too much to do.
    pub(crate) fn overloaded() -> Self {
        Self::new(503, 42, "Exchange is overloaded")
    }
}

/// What a final response of a target means.
pub(crate) fn failure_cause(status: u16) -> FailureCause {
    match status {
        486 | 600 => FailureCause::Busy,
        401 | 403 | 407 | 433 | 603 | 607 | 608 => FailureCause::Declined,
        sip_status => FailureCause::Rejected { sip_status },
    }
}
