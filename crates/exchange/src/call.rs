//! A call: what arrived, and the state it is in. A state carries the data that only makes sense in it.

use crate::bid::criteria::Attestation;
use crate::bid::live::LiveAnswer;
use crate::bid::{Conversion, Destination, Price};
use crate::compliance::verdict::Check;
use crate::id::{AccountId, BidProfileId, CallId};
use crate::ledger::money::Micros;
use crate::phone_number::{CallerId, PhoneNumber};
use crate::place::{Language, State, Zip};
use crate::time::Timestamp;
use crate::tracking_number::{CallOrigin, TrackingNumber};
use crate::usage::Counted;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a carrier's INVITE says, or a seller's ping.
// A field of an earlier version that nobody knows any more must not get lost when its journal is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arrival {
    /// The number dialled.
    pub called: PhoneNumber,
    /// Who calls.
    pub caller: CallerId,
    /// Name of the carrier trunk it came over; `ping` for a ping.
    pub trunk: String,
    /// What else is known of the consumer.
    #[serde(default)]
    pub stated: Stated,
}

/// What the seller, or the carrier, says about the consumer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Stated {
    /// The consumer's state, from the `X-Consumer-State` header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// The consumer's ZIP code, from `X-Consumer-Zip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zip: Option<Zip>,
    /// The consumer's language, from `X-Consumer-Language`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// How sure the carrier is of the caller's number, from `P-Attestation-Indicator`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attestation: Option<Attestation>,
    /// Tags of this call, in place of the tracking number's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

impl Stated {
    /// The consumer's state: as stated, else that of the ZIP code.
    pub fn consumer_state(&self) -> Option<State> {
        self.state.or_else(|| self.zip?.state())
    }
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
    /// What is known of the consumer.
    #[serde(default)]
    pub stated: Stated,
    /// The seller who is paid if it converts.
    pub seller: AccountId,
    /// What it is about.
    pub vertical: String,
    /// How the consumer came to be on the line.
    pub origin: CallOrigin,
    /// The seller's share of the charge, in basis points.
    pub payout_basis_points: u16,
    /// Whether it is a ping: an offer of a call that is still to come.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_ping: bool,
    /// Targets that were rung and did not take it, in order.
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
    /// Live bidders are being asked.
    Bidding {
        /// What screening said.
        screening: Vec<Check>,
        /// Who has not answered yet.
        awaited: Vec<BidProfileId>,
        /// What the others said.
        answers: Vec<LiveAnswer>,
        /// How long the reservation lasts that a ping asks for, in milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reserve_ms: Option<u64>,
    },
    /// A ping won: money and capacity are held for the call that is to come.
    Reserved {
        /// What is held.
        attempt: Attempt,
        /// Where the call goes when it comes.
        planned: Planned,
        /// When it is given back.
        expires_at: Timestamp,
    },
    /// A target is being rung; its money and capacity are held.
    Ringing {
        /// The target being rung.
        attempt: Attempt,
        /// The rest of the route plan, best first.
        fallbacks: Vec<Planned>,
        /// Targets already rung after one that hung up early.
        #[serde(default)]
        recoveries: u8,
    },
    /// Caller and target are connected; the meter runs.
    Connected {
        /// The target that answered.
        attempt: Attempt,
        /// When it answered.
        answered_at: Timestamp,
        /// The rest of the route plan, for when the target hangs up early.
        #[serde(default)]
        fallbacks: Vec<Planned>,
        /// Targets already rung after one that hung up early.
        #[serde(default)]
        recoveries: u8,
    },
    /// Over. Nothing is held any more, but for what the buyer's revenue may add ([`Call::awaited_revenue`]).
    Ended {
        /// How it ended.
        outcome: Outcome,
        /// When.
        ended_at: Timestamp,
    },
}

/// One place in the route plan: a bid on the terms of the auction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Planned {
    /// The bid.
    pub bid: BidProfileId,
    /// The price it cleared at.
    pub price: Price,
    /// When the call converts.
    pub conversion: Conversion,
    /// Where a live bidder wants the call; absent, where its bid profile says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Destination>,
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
    /// The periods whose caps it counts against.
    #[serde(default)]
    pub counted: Counted,
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
    /// It answered, and hung up too early for the call to convert.
    HungUpEarly {
        /// Milliseconds it was connected.
        connected_ms: u64,
    },
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
    /// The exchange stopped before a target answered.
    Interrupted,
    /// A ping's reservation was used by this call.
    Redeemed {
        /// The call.
        by: CallId,
    },
    /// No call came for a ping's reservation in time.
    Expired,
    /// Connected, but not for long enough. Nobody pays.
    NotConverted {
        /// Who was connected.
        attempt: Attempt,
        /// Milliseconds from answer to end.
        connected_ms: u64,
        /// Who or what ended it.
        ended_by: EndedBy,
        /// Whether it was long enough, but the same buyer was charged for the same caller before.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_duplicate: bool,
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
        /// What the buyer's revenue adds, where the price is a share of it. What was added is in the charge.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revenue: Option<SharedRevenue>,
    },
}

/// A converted call's price that is a share of the buyer's revenue, after the least of it was charged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SharedRevenue {
    /// Until when the buyer may report.
    pub report_until: Timestamp,
    /// The seller's share of the charge, in basis points: as at the end of the call, so 0 where it was paid for the caller before.
    pub payout_basis_points: u16,
    /// How far it has come.
    #[serde(flatten)]
    pub stage: RevenueStage,
}

/// Whether the buyer reported its revenue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum RevenueStage {
    /// Not yet.
    Awaited {
        /// What is still held: the most that may be added.
        held_micros: Micros,
    },
    /// It did, and paid its share.
    Reported {
        /// What it earned.
        revenue_micros: Micros,
        /// Its own reference.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
        /// What that added to the charge.
        added_micros: Micros,
        /// How much of it the seller earned.
        added_payout_micros: Micros,
        /// When.
        reported_at: Timestamp,
    },
    /// Not in time: what was held was given back.
    Lapsed,
}

/// A call whose buyer may still report its revenue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AwaitedRevenue<'a> {
    /// Who was connected, and who pays.
    pub attempt: &'a Attempt,
    /// What is still held.
    pub held_micros: Micros,
    /// Until when.
    pub report_until: Timestamp,
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

impl Stated {
    /// What is stated here, else what was stated earlier. Attestation is the carrier's word about one call: it is not carried
    /// over.
    fn or(&self, earlier: &Self) -> Self {
        let mut tags = earlier.tags.clone();
        tags.extend(self.tags.clone());
        Self {
            state: self.state.or(earlier.state),
            zip: self.zip.or(earlier.zip),
            language: self.language.or(earlier.language),
            attestation: self.attestation,
            tags,
        }
    }
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
            stated: arrival.stated,
            seller: number.seller,
            vertical: number.vertical.clone(),
            origin: number.origin,
            payout_basis_points: number.payout_basis_points,
            is_ping: false,
            failed_attempts: Vec::new(),
            state: CallState::Received,
        }
    }

    /// The call that a ping announced: on the commercial terms the ping was answered on, and with what the ping said of the
    /// consumer where the call itself is silent.
    pub(crate) fn announced_by(&self, ping: &Self) -> Self {
        Self {
            stated: self.stated.or(&ping.stated),
            vertical: ping.vertical.clone(),
            origin: ping.origin,
            payout_basis_points: ping.payout_basis_points,
            ..self.clone()
        }
    }

    /// Whether a target ever answered it, even one that hung up too early.
    pub fn was_connected(&self) -> bool {
        let is_connected = matches!(
            self.state,
            CallState::Connected { .. }
                | CallState::Ended { outcome: Outcome::NotConverted { .. } | Outcome::Converted { .. }, .. }
        );
        is_connected || self.failed_attempts.iter().any(|failed| failed.cause.is_early_hang_up())
    }

    /// What is still held of a converted call's money, because its buyer may report its revenue.
    pub fn awaited_revenue(&self) -> Option<AwaitedRevenue<'_>> {
        let CallState::Ended { outcome: Outcome::Converted { attempt, revenue: Some(revenue), .. }, .. } =
            &self.state
        else {
            return None;
        };
        let RevenueStage::Awaited { held_micros } = revenue.stage else { return None };
        Some(AwaitedRevenue { attempt, held_micros, report_until: revenue.report_until })
    }

    /// The attempt of an open call that holds money now.
    pub fn held_attempt(&self) -> Option<&Attempt> {
        match &self.state {
            CallState::Reserved { attempt, .. }
            | CallState::Ringing { attempt, .. }
            | CallState::Connected { attempt, .. } => Some(attempt),
            CallState::Received | CallState::Bidding { .. } | CallState::Ended { .. } => None,
        }
    }
}

impl SharedRevenue {
    /// What is still held for it.
    pub fn held_micros(&self) -> Micros {
        match self.stage {
            RevenueStage::Awaited { held_micros } => held_micros,
            RevenueStage::Reported { .. } | RevenueStage::Lapsed => Micros::ZERO,
        }
    }
}

impl FailureCause {
    /// Whether the target answered first.
    pub fn is_early_hang_up(self) -> bool {
        matches!(self, Self::HungUpEarly { .. })
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
            Self::Redeemed { .. } => "redeemed",
            Self::Expired => "expired",
            Self::NotConverted { .. } => "not_converted",
            Self::Converted { .. } => "converted",
        }
    }
}
