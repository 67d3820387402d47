//! A call: what arrived, and the state it is in. A state carries the data that only makes sense in it.

use crate::bid::{Conversion, Price, State};
use crate::id::{AccountId, BidProfileId, CallId};
use crate::ledger::money::Micros;
use crate::phone_number::{CallerId, PhoneNumber};
use crate::schedule::CalendarDay;
use crate::time::Timestamp;
use crate::tracking_number::{CallOrigin, TrackingNumber};
use serde::{Deserialize, Serialize};

/// What a carrier's INVITE says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// The number dialled.
    pub called: PhoneNumber,
    /// Who calls.
    pub caller: CallerId,
    /// Name of the carrier trunk it came over.
    pub trunk: String,
    /// The consumer's state as the seller says it, from the `X-Consumer-State` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stated_state: Option<State>,
}

/// A call to a known tracking number. Its commercial terms are those of the moment it arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Call {
    /// Its identity.
    pub id: CallId,
    /// When the INVITE was received.
    pub received_at: Timestamp,
    /// The tracking number dialled.
    pub called: PhoneNumber,
    /// Who calls.
    pub caller: CallerId,
    /// Name of the carrier trunk it came over.
    pub trunk: String,
    /// The consumer's state as the seller says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stated_state: Option<State>,
    /// The seller who is paid if it converts.
    pub seller: AccountId,
    /// What it is about.
    pub vertical: String,
    /// How the consumer came to be on the line.
    pub origin: CallOrigin,
    /// The seller's share of the charge, in basis points.
    pub payout_basis_points: u16,
    /// Targets that were rung and did not answer, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_attempts: Vec<FailedAttempt>,
    /// Where it stands.
    pub state: CallState,
}

/// Where a call stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum CallState {
    /// Arrived and being decided, within one step; never stored.
    Received,
    /// A target is being rung; its money and capacity are held.
    Ringing {
        /// The target being rung.
        attempt: Attempt,
        /// The rest of the route plan, best first.
        fallbacks: Vec<BidProfileId>,
    },
    /// Caller and target are connected; the meter runs.
    Connected {
        /// The target that answered.
        attempt: Attempt,
        /// When it answered.
        answered_at: Timestamp,
    },
    /// Over. Nothing is held any more.
    Ended {
        /// How it ended.
        outcome: Outcome,
        /// When.
        ended_at: Timestamp,
    },
}

/// One target of the route plan, taken: its money and capacity are held on the terms of its bid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Attempt {
    /// 1 is the winner, 2 the first fall-back, and so on.
    pub number: u8,
    /// The bid it rings for.
    pub bid: BidProfileId,
    /// Who pays.
    pub buyer: AccountId,
    /// The price agreed in the auction.
    pub price: Price,
    /// When the call converts.
    pub conversion: Conversion,
    /// The longest it may last, in seconds.
    pub max_call_s: u32,
    /// Money held, in micro-units: the most this call can cost.
    pub hold_micros: Micros,
    /// The day whose caps it counts against, in the target's time zone.
    pub cap_day: CalendarDay,
    /// When it began to ring.
    pub started_at: Timestamp,
}

/// A target that was rung in vain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct FailedAttempt {
    /// Its place in the route plan, from 1.
    pub number: u8,
    /// The bid it rang for.
    pub bid: BidProfileId,
    /// Whose bid.
    pub buyer: AccountId,
    /// Why it failed.
    pub cause: FailureCause,
    /// When.
    pub failed_at: Timestamp,
}

/// Why a target did not take the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum FailureCause {
    /// 486 or 600: busy.
    Busy,
    /// 603, 403 and the like: the target will not take it.
    Declined,
    /// It rang for the whole ring timeout.
    RingTimeout,
    /// No trunk of the destination answered the INVITE.
    Unreachable,
    /// Any other final SIP response.
    Rejected {
        /// The SIP status code.
        sip_status: u16,
    },
    /// Money, capacity or standing was gone by the time its turn came.
    NoLongerEligible,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// A screening rule refused it.
    ScreenedOut {
        /// The rule's name; the receipt has its citation.
        rule: String,
    },
    /// No bid wanted it.
    NoBidder,
    /// Every target of the route plan failed.
    Unanswered,
    /// The caller gave up before an answer.
    Abandoned,
    /// The exchange stopped while a target was ringing.
    Interrupted,
    /// Connected, but not for long enough. Nobody pays.
    NotConverted {
        /// Who was connected.
        attempt: Attempt,
        /// Milliseconds from answer to end.
        connected_ms: u64,
        /// Who or what ended it.
        ended_by: EndedBy,
    },
    /// Connected for long enough: charged, once.
    Converted {
        /// Who was connected.
        attempt: Attempt,
        /// Milliseconds from answer to end.
        connected_ms: u64,
        /// Who or what ended it.
        ended_by: EndedBy,
        /// What the buyer paid; `payout + margin`.
        charge_micros: Micros,
        /// What the seller earned.
        payout_micros: Micros,
        /// What the house kept.
        margin_micros: Micros,
    },
}

/// Who or what ended a connected call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// The caller hung up.
    Caller,
    /// The target hung up.
    Target,
    /// It reached its longest duration.
    MaxDuration,
    /// One side stopped answering: a session timer (RFC 4028) or an ACK that never came.
    PeerLost,
    /// The exchange shut down in good order.
    Shutdown,
    /// The exchange stopped without warning; billed up to the last moment it is known to have run.
    Crash,
}

impl Call {
    /// A call as it arrives, on the terms its tracking number has at this moment.
    pub fn received(id: CallId, arrival: Arrival, number: &TrackingNumber, now: Timestamp) -> Self {
        Self {
            id,
            received_at: now,
            called: arrival.called,
            caller: arrival.caller,
            trunk: arrival.trunk,
            stated_state: arrival.stated_state,
            seller: number.seller,
            vertical: number.vertical.clone(),
            origin: number.origin,
            payout_basis_points: number.payout_basis_points,
            failed_attempts: Vec::new(),
            state: CallState::Received,
        }
    }

    /// The attempt that holds money now.
    pub fn held_attempt(&self) -> Option<&Attempt> {
        match &self.state {
            CallState::Ringing { attempt, .. } | CallState::Connected { attempt, .. } => Some(attempt),
            CallState::Received | CallState::Ended { .. } => None,
        }
    }
}

impl Outcome {
    /// Its name in events, reports and the API.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ScreenedOut { .. } => "screened_out",
            Self::NoBidder => "no_bidder",
            Self::Unanswered => "unanswered",
            Self::Abandoned => "abandoned",
            Self::Interrupted => "interrupted",
            Self::NotConverted { .. } => "not_converted",
            Self::Converted { .. } => "converted",
        }
    }
}
