//! What the people at the endpoints do: whom they call, how they answer, when they hang up.

use exchange::place::State;
use std::net::SocketAddr;

/// A call to be placed. It has no `Debug`, so that its numbers do not reach a log.
#[derive(Clone)]
pub struct CallSpec {
    /// The exchange's SIP address.
    pub to: SocketAddr,
    /// The number dialled: the user part of the Request-URI.
    pub called: String,
    /// The user part of `From`: a number, `anonymous`, or anything else a broken carrier might send.
    pub caller: String,
    /// The consumer's state, for `X-Consumer-State`.
    pub stated_state: Option<State>,
    /// Whether the INVITE comes without an offer, which the ACK then answers.
    pub late_offer: bool,
    /// What the caller does.
    pub then: CallerPlan,
}

/// What a caller does. Whatever the plan, a caller who hears nothing final for [`PATIENCE_MS`] gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallerPlan {
    /// Hangs up so long after the answer, unless the other side does before.
    TalkFor {
        /// Milliseconds from the answer.
        ms: u64,
    },
    /// Gives up so long after dialling: CANCEL, or BYE when the answer came before.
    CancelAfter {
        /// Milliseconds from the INVITE.
        ms: u64,
    },
    /// Neither sends nor hears anything from then on, like a telephone whose battery is empty.
    Vanish {
        /// Milliseconds from the INVITE.
        after_ms: u64,
    },
    /// Puts the call on hold, takes it back, talks on and hangs up.
    HoldThenTalk {
        /// Milliseconds from the answer to the hold.
        before_ms: u64,
        /// Milliseconds on hold.
        hold_ms: u64,
        /// Milliseconds from taking it back to hanging up.
        after_ms: u64,
    },
}

/// How a target takes a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetPlan {
    /// Rings, answers, talks.
    AnswerAfter {
        /// Milliseconds of ringing.
        ring_ms: u64,
        /// Milliseconds from the answer to hanging up; absent: waits for the other side to.
        talk_ms: Option<u64>,
    },
    /// The same with 183 and early media instead of 180.
    EarlyMediaThenAnswer {
        /// Milliseconds of early media.
        ring_ms: u64,
        /// Milliseconds from the answer to hanging up; absent: waits for the other side to.
        talk_ms: Option<u64>,
    },
    /// 486.
    Busy,
    /// Any other final response.
    Reject {
        /// 300 to 699.
        status: u16,
    },
    /// Rings until the caller gives up, or for [`PATIENCE_MS`].
    RingForever,
    /// Says nothing at all, as if the INVITE never came.
    Silent,
    /// Rings, answers, talks, and from then on neither sends nor hears anything.
    Vanish {
        /// Milliseconds of ringing.
        ring_ms: u64,
        /// Milliseconds from the answer.
        after_ms: u64,
    },
}

/// How long anybody waits for an answer at most, in milliseconds: timer C of RFC 3261 section 16.6.
pub const PATIENCE_MS: u64 = 180_000;

/// Something to do, so long after the step before it; the first after the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) after_ms: u64,
    pub(super) act: Act,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Answer,
    StopRinging,
    Hold,
    Resume,
    HangUp,
    Vanish,
}

impl CallerPlan {
    /// What happens unless the answer comes first, and how long after the INVITE.
    pub(super) fn before_answer(self) -> Step {
        match self {
            Self::CancelAfter { ms } => Step { after_ms: ms, act: Act::HangUp },
            Self::Vanish { after_ms } => Step { after_ms, act: Act::Vanish },
            Self::TalkFor { .. } | Self::HoldThenTalk { .. } => {
                Step { after_ms: PATIENCE_MS, act: Act::HangUp }
            }
        }
    }

    /// What happens after an answer that came `waited_ms` after the INVITE.
    pub(super) fn after_answer(self, waited_ms: u64) -> Vec<Step> {
        match self {
            Self::TalkFor { ms } => vec![Step { after_ms: ms, act: Act::HangUp }],
            Self::CancelAfter { ms } => {
                vec![Step { after_ms: ms.saturating_sub(waited_ms), act: Act::HangUp }]
            }
            Self::Vanish { after_ms } => {
                vec![Step { after_ms: after_ms.saturating_sub(waited_ms), act: Act::Vanish }]
            }
            Self::HoldThenTalk { before_ms, hold_ms, after_ms } => vec![
                Step { after_ms: before_ms, act: Act::Hold },
                Step { after_ms: hold_ms, act: Act::Resume },
                Step { after_ms, act: Act::HangUp },
            ],
        }
    }
}

/// What a target does about an INVITE, once it does anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reaction {
    Refuse {
        status: u16,
    },
    Ignore,
    /// Rings with this status until the step.
    Ring {
        status: u16,
        until: Step,
    },
}

impl TargetPlan {
    pub(super) fn reaction(self) -> Reaction {
        let answer_after = |after_ms| Step { after_ms, act: Act::Answer };
        match self {
            Self::AnswerAfter { ring_ms, .. } | Self::Vanish { ring_ms, .. } => {
                Reaction::Ring { status: 180, until: answer_after(ring_ms) }
            }
            Self::EarlyMediaThenAnswer { ring_ms, .. } => {
                Reaction::Ring { status: 183, until: answer_after(ring_ms) }
            }
            Self::RingForever => {
                Reaction::Ring { status: 180, until: Step { after_ms: PATIENCE_MS, act: Act::StopRinging } }
            }
            Self::Busy => Reaction::Refuse { status: 486 },
            Self::Reject { status } => Reaction::Refuse { status },
            Self::Silent => Reaction::Ignore,
        }
    }

    pub(super) fn after_answer(self) -> Vec<Step> {
        match self {
            Self::AnswerAfter { talk_ms: Some(after_ms), .. }
            | Self::EarlyMediaThenAnswer { talk_ms: Some(after_ms), .. } => {
                vec![Step { after_ms, act: Act::HangUp }]
            }
            Self::Vanish { after_ms, .. } => vec![Step { after_ms, act: Act::Vanish }],
            _ => Vec::new(),
        }
    }
}
