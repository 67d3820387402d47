//! Events: what the exchange tells the rest of the world, in the order it happened.
//!
//! Absent on purpose: the caller's number. Whoever may see it asks the API for the call.

use crate::account::AccountStatus;
use crate::auction::clear::AuctionType;
use crate::auction::receipt::Loss;
use crate::bid::Price;
use crate::bid::live::NoLiveBid;
use crate::call::{EndedBy, FailureCause};
use crate::dispute::DisputeReason;
use crate::effect::{Effect, Record};
use crate::fraud::score::{FraudScore, Signal};
use crate::id::{AccountId, BidProfileId, CallId, CapGroupId, DealId};
use crate::ledger::money::Micros;
use crate::ledger::transfer::{LedgerAccount, Transfer, TransferReason};
use crate::phone_number::PhoneNumber;
use crate::routing::Algorithm;
use crate::time::Timestamp;
use crate::tracking_number::CallOrigin;
use crate::trading_rules::Scope;
use serde::{Serialize, Serializer};
use std::fmt;

/// Something that happened, for the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What it is about; also the key that orders it.
    pub subject: Subject,
    /// When.
    pub at: Timestamp,
    /// What happened.
    pub fact: Fact,
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "id", rename_all = "snake_case")]
pub enum Subject {
    /// A call.
    Call(CallId),
    /// An account.
    Account(AccountId),
    /// A bid profile.
    BidProfile(BidProfileId),
    /// A tracking number.
    TrackingNumber(PhoneNumber),
    /// The exchange as a whole.
    Exchange,
}

/// What happened. Serialises to the `data` of a CloudEvent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum Fact {
    /// An INVITE to a known tracking number.
    CallReceived {
        /// The tracking number.
        called: PhoneNumber,
        /// Its seller.
        seller: AccountId,
        /// Its vertical.
        vertical: String,
        /// How the consumer came to be on the line.
        origin: CallOrigin,
        /// The carrier trunk.
        trunk: String,
        /// Whether it is a ping: the call itself is still to come.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_ping: bool,
    },
    /// Every screening rule let the call pass.
    ComplianceChecked {
        /// How many rules were asked.
        rules: u32,
    },
    /// A screening rule refused the call.
    ComplianceViolated {
        /// The rule.
        rule: String,
        /// What was found.
        finding: String,
        /// On what authority.
        citation: String,
    },
    /// The call's fraud score was worked out.
    FraudScored {
        /// 0 is without suspicion, 100 the most.
        score: FraudScore,
        /// What raised it.
        signals: Vec<Signal>,
        /// The version of the signals and their points.
        version: u32,
    },
    /// An auction began.
    AuctionStarted {
        /// What is sold.
        vertical: String,
        /// How the price will be set.
        auction_type: AuctionType,
        /// The least a bid must offer, in micro-units.
        floor_micros: Micros,
        /// Live bidders that are asked.
        asked: u32,
        /// How long they have, in milliseconds; 0 when none is asked.
        deadline_ms: u32,
    },
    /// A live bidder bid for this call.
    LiveBidPlaced {
        /// The bid profile.
        bid: BidProfileId,
        /// Who would pay.
        buyer: AccountId,
        /// For the call, in micro-units.
        price_micros: Micros,
    },
    /// A live bidder will not bid for this call, or cannot.
    LiveBidMissed {
        /// The bid profile.
        bid: BidProfileId,
        /// Why.
        reason: NoLiveBid,
    },
    /// An auction was cleared.
    AuctionCompleted {
        /// How the price was set.
        auction_type: AuctionType,
        /// Bids looked at.
        considered: u32,
        /// Bids in the route plan.
        ranked: u32,
        /// The bid that is rung first, if any.
        winner: Option<BidProfileId>,
        /// What it pays: the price it cleared at.
        price: Option<Price>,
        /// What the call was expected to bring at the price it offered, in micro-units.
        expected_micros: Option<Micros>,
        /// The ping that had won the call before it came.
        #[serde(skip_serializing_if = "Option::is_none")]
        reservation: Option<CallId>,
        /// Bids that wanted the call and did not win it.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        lost: Vec<Loss>,
    },
    /// The route plan was made.
    RoutingDecision {
        /// By which algorithm.
        algorithm: Algorithm,
        /// The winner, then the fall-backs.
        plan: Vec<BidProfileId>,
    },
    /// A ping won: the call is sold if it comes in time.
    PingReserved {
        /// The bid.
        bid: BidProfileId,
        /// Who pays.
        buyer: AccountId,
        /// Money held, in micro-units.
        hold_micros: Micros,
        /// Until when.
        expires_at: Timestamp,
    },
    /// A target that let calls ring out is given a rest.
    BidRested {
        /// Until when.
        until: Timestamp,
    },
    /// A target is being rung; its money is held.
    CallRouted {
        /// Which attempt, from 1.
        attempt: u8,
        /// The bid.
        bid: BidProfileId,
        /// Who pays.
        buyer: AccountId,
        /// Money held, in micro-units.
        hold_micros: Micros,
    },
    /// A target did not take the call.
    CallAttemptFailed {
        /// Which attempt, from 1.
        attempt: u8,
        /// The bid.
        bid: BidProfileId,
        /// Why.
        failure: FailureCause,
    },
    /// Caller and target are connected.
    CallBridged {
        /// Which attempt, from 1.
        attempt: u8,
        /// The bid.
        bid: BidProfileId,
        /// Who pays.
        buyer: AccountId,
    },
    /// The call is over.
    CallEnded {
        /// Such as `converted`; the names of [`crate::call::Outcome`].
        outcome: &'static str,
        /// Who was connected last; absent when it never was.
        #[serde(skip_serializing_if = "Option::is_none")]
        buyer: Option<AccountId>,
        /// Milliseconds connected; absent when it never was.
        #[serde(skip_serializing_if = "Option::is_none")]
        connected_ms: Option<u64>,
        /// Who or what ended it, once connected.
        #[serde(skip_serializing_if = "Option::is_none")]
        ended_by: Option<EndedBy>,
        /// Whether it was long enough to convert, and is not charged because the same buyer was for the same caller before.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_duplicate: bool,
    },
    /// The call converted and was charged.
    CallConverted {
        /// The bid.
        bid: BidProfileId,
        /// Who paid.
        buyer: AccountId,
        /// Who earned.
        seller: AccountId,
        /// What the buyer paid, in micro-units.
        charge_micros: Micros,
        /// What the seller earned, in micro-units.
        payout_micros: Micros,
        /// What the house kept, in micro-units.
        margin_micros: Micros,
    },
    /// The buyer reported its revenue from a call that was sold for a share of it.
    CallRevenueReported {
        /// The bid.
        bid: BidProfileId,
        /// Who reported, and paid.
        buyer: AccountId,
        /// Who earned.
        seller: AccountId,
        /// What the buyer earned, in micro-units.
        revenue_micros: Micros,
        /// The buyer's own reference.
        #[serde(skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
        /// What that added to the buyer's charge, in micro-units.
        added_micros: Micros,
        /// Of that, what the seller earned, in micro-units.
        added_payout_micros: Micros,
        /// What the buyer paid in all, in micro-units.
        charge_micros: Micros,
        /// What the seller earned in all, in micro-units.
        payout_micros: Micros,
        /// What the house kept in all, in micro-units.
        margin_micros: Micros,
    },
    /// The buyer did not report its revenue in time: what was held for its share was given back.
    CallRevenueLapsed {
        /// The bid.
        bid: BidProfileId,
        /// Who did not report.
        buyer: AccountId,
        /// What was given back, in micro-units.
        released_micros: Micros,
    },
    /// The buyer disputes the call it was charged for.
    CallDisputed {
        /// The bid.
        bid: BidProfileId,
        /// Who disputes.
        buyer: AccountId,
        /// Who earned.
        seller: AccountId,
        /// What is wrong.
        reason: DisputeReason,
        /// What the buyer was charged, in micro-units.
        charge_micros: Micros,
    },
    /// The house decided the dispute.
    CallDisputeSettled {
        /// The bid.
        bid: BidProfileId,
        /// Who disputed.
        buyer: AccountId,
        /// Who earned.
        seller: AccountId,
        /// Whether the charge went back.
        upheld: bool,
        /// What went back to the buyer, in micro-units.
        refunded_micros: Micros,
        /// Of that, what the seller gave back, in micro-units.
        refunded_payout_micros: Micros,
    },
    /// A bid profile was placed or changed.
    BidPlaced {
        /// Whose.
        buyer: AccountId,
        /// Its vertical.
        vertical: String,
        /// Whether it takes part in auctions.
        active: bool,
    },
    /// An account was opened or its status or limit changed.
    AccountChanged {
        /// Its status now.
        status: AccountStatus,
        /// Its credit limit now, in micro-units.
        credit_limit_micros: Micros,
    },
    /// A buyer's payment was booked.
    DepositBooked {
        /// How much, in micro-units.
        amount_micros: Micros,
        /// The payment's own reference.
        reference: String,
    },
    /// A cap group was set.
    CapGroupSet {
        /// The group.
        group: CapGroupId,
    },
    /// Trading rules were set.
    TradingRulesSet {
        /// Where they apply.
        scope: Scope,
    },
    /// A private deal was agreed or changed.
    DealSet {
        /// The deal.
        deal: DealId,
        /// Whether it is in force.
        active: bool,
    },
    /// A tracking number was listed or changed.
    TrackingNumberListed {
        /// Whose.
        seller: AccountId,
        /// Its vertical.
        vertical: String,
        /// Whether calls to it are taken.
        active: bool,
    },
    /// A step of a call moved money: all of it, in the order it was booked.
    CallMoneyPosted {
        /// What moved.
        transfers: Vec<PostedTransfer>,
    },
    /// An account's money moved without a call: all of it, in the order it was booked.
    AccountMoneyPosted {
        /// What moved.
        transfers: Vec<PostedTransfer>,
    },
}

/// A transfer as it is told. Its reason and its ledger accounts are the texts that the store keys them by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PostedTransfer {
    /// Why it moved, such as `hold:<call>:1`. A reason moves money once.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    #[serde(serialize_with = "as_text")]
    pub reason: TransferReason,
    /// Where it came from, such as `available:<account>`.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    #[serde(serialize_with = "as_text")]
    pub from: LedgerAccount,
    /// Where it went.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    #[serde(serialize_with = "as_text")]
    pub to: LedgerAccount,
    /// How much, in micro-units.
    pub amount_micros: Micros,
}

fn as_text<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

impl From<&Transfer> for PostedTransfer {
    fn from(transfer: &Transfer) -> Self {
        let Transfer { reason, from, to, amount_micros, .. } = transfer;
        Self { reason: reason.clone(), from: *from, to: *to, amount_micros: *amount_micros }
    }
}

/// Tells, as the last of its effects, of all the money that one unit of work moved. Nothing where none did.
pub(crate) fn tell_posted(effects: &mut Vec<Effect>, of_call: Option<CallId>, now: Timestamp) {
    let moved = effects.iter().filter_map(|effect| match effect {
        Effect::Record(Record::Transfer(transfer)) => Some(transfer),
        _ => None,
    });
    let transfers: Vec<PostedTransfer> = moved.map(PostedTransfer::from).collect();
    let Some(first) = transfers.first() else { return };
    let (subject, fact) = match (&first.reason, of_call.or_else(|| first.reason.call())) {
        (TransferReason::Deposit { account, .. }, _) => {
            (Subject::Account(*account), Fact::AccountMoneyPosted { transfers })
        }
        (_, Some(call)) => (Subject::Call(call), Fact::CallMoneyPosted { transfers }),
        (_, None) => unreachable!("every reason but a deposit has its call"),
    };
    effects.push(Effect::Record(Record::Event(Event { subject, at: now, fact })));
}

/// A kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventKind {
    /// The CloudEvents `type`.
    pub name: &'static str,
    /// What it is about: the first part of the CloudEvents `subject`.
    pub subject: &'static str,
}

/// One table for the kind of a fact and for the list of all kinds, in the order of [`Fact`].
macro_rules! kinds {
    ($($fact:ident: $name:literal about $subject:literal,)*) => {
        impl Event {
            /// The CloudEvents `type`.
            pub fn kind(&self) -> &'static str {
                match self.fact {
                    $(Fact::$fact { .. } => $name,)*
                }
            }
        }

        /// Every kind of event, in the order of [`Fact`].
        pub const EVENT_KINDS: &[EventKind] = &[$(EventKind { name: $name, subject: $subject },)*];
    };
}

kinds! {
    CallReceived: "call.received" about "call",
    ComplianceChecked: "compliance.checked" about "call",
    ComplianceViolated: "compliance.violated" about "call",
    FraudScored: "fraud.scored" about "call",
    AuctionStarted: "auction.started" about "call",
    LiveBidPlaced: "bid.placed" about "call",
    LiveBidMissed: "bid.missed" about "call",
    AuctionCompleted: "auction.completed" about "call",
    RoutingDecision: "routing.decision" about "call",
    PingReserved: "ping.reserved" about "call",
    BidRested: "bid.rested" about "bid_profile",
    CallRouted: "call.routed" about "call",
    CallAttemptFailed: "call.attempt_failed" about "call",
    CallBridged: "call.bridged" about "call",
    CallEnded: "call.ended" about "call",
    CallConverted: "call.converted" about "call",
    CallRevenueReported: "call.revenue_reported" about "call",
    CallRevenueLapsed: "call.revenue_lapsed" about "call",
    CallDisputed: "call.disputed" about "call",
    CallDisputeSettled: "call.dispute_settled" about "call",
    BidPlaced: "bid.placed" about "bid_profile",
    AccountChanged: "account.changed" about "account",
    DepositBooked: "ledger.deposited" about "account",
    CapGroupSet: "cap_group.set" about "account",
    TradingRulesSet: "trading_rules.set" about "exchange",
    DealSet: "deal.set" about "account",
    TrackingNumberListed: "tracking_number.listed" about "tracking_number",
    CallMoneyPosted: "ledger.posted" about "call",
    AccountMoneyPosted: "ledger.posted" about "account",
}
