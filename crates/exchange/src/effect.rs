//! What goes into a step and what comes out of it: inputs, and the effects it asks of the shell.

use crate::account::{Account, AccountStatus};
use crate::auction::receipt::Receipt;
use crate::audit::AuditEntry;
use crate::bid::caps::CapGroup;
use crate::bid::live::{BidNotice, BidRequest, LiveAnswer};
use crate::bid::{BidProfile, BidStatus, Destination};
use crate::call::{Arrival, Call, EndedBy, FailureCause};
use crate::dispute::{ChargedCall, Dispute, DisputeReason};
use crate::event::Event;
use crate::id::{AccountId, BidProfileId, CallId};
use crate::ledger::money::Micros;
use crate::ledger::transfer::Transfer;
use crate::phone_number::CallerId;
use crate::ping::{PingAnswer, PingRequest};
use crate::time::Timestamp;
use crate::track_record::SellerRecord;
use crate::tracking_number::TrackingNumber;
use crate::trading_rules::{Deal, ScopedRules};
use crate::usage::Usage;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Something that happened to a call. Inputs that come too late (an answer after the ring timeout) change nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "input", rename_all = "snake_case")]
pub enum Input {
    /// An INVITE came from a known trunk.
    Arrived(Arrival),
    /// A seller asks what a call would bring, and wants it reserved.
    Pinged(PingRequest),
    /// A live bidder answered, or will not.
    BidAnswered(LiveAnswer),
    /// The time for live bids is over.
    BiddingClosed,
    /// The reservation's time is over.
    ReservationExpired,
    /// The target answered: 200 to the INVITE.
    TargetAnswered {
        /// Which attempt, from 1.
        attempt: u8,
    },
    /// The target did not take the call.
    TargetFailed {
        /// Which attempt, from 1.
        attempt: u8,
        /// Why.
        cause: FailureCause,
    },
    /// The target rang for the whole ring timeout.
    RingTimedOut {
        /// Which attempt, from 1.
        attempt: u8,
    },
    /// The caller hung up: CANCEL before the answer, BYE after it.
    CallerHungUp,
    /// The target hung up: BYE.
    TargetHungUp,
    /// A side stopped answering: session timer (RFC 4028), or no ACK.
    PeerLost,
    /// The call reached its longest duration with this target.
    MaxDurationReached {
        /// Which attempt, from 1.
        attempt: u8,
    },
    /// The time for the buyer of a converted call to report its revenue is over.
    RevenueWindowClosed,
    /// The exchange is shutting down and can wait no longer for the call to end by itself.
    ShutDown,
    /// The node that has the call's legs found the book again, after it, the book's node or the way between them was away. Its
    /// timers went with the old one, and what the node was last told may not have reached it.
    Resumed,
    /// The exchange came back after a crash and found this call open.
    Recovered {
        /// The last moment the exchange is known to have run.
        last_alive_at: Timestamp,
    },
}

/// A change of the marketplace asked for by a person or a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Opens an account, with its status as given.
    OpenAccount {
        /// The new account.
        account: Account,
    },
    /// Approves, suspends or closes an account.
    SetAccountStatus {
        /// Which.
        account: AccountId,
        /// Its new status.
        status: AccountStatus,
    },
    /// Changes how far below zero a buyer's balance may go.
    SetCreditLimit {
        /// Which buyer.
        account: AccountId,
        /// The new limit, in micro-units.
        credit_limit_micros: Micros,
    },
    /// Lists a tracking number, or changes it.
    PutTrackingNumber {
        /// The number as it shall be.
        number: TrackingNumber,
    },
    /// Places a bid profile, or changes it. It takes part in the next auction.
    PutBidProfile {
        /// The bid profile as it shall be.
        bid: Box<BidProfile>,
    },
    /// Pauses or resumes a bid profile.
    SetBidStatus {
        /// Which.
        bid: BidProfileId,
        /// Its new status.
        status: BidStatus,
    },
    /// Sets caps that several bids of a buyer share.
    PutCapGroup {
        /// The group as it shall be.
        group: CapGroup,
    },
    /// Sets the trading rules of a vertical, a seller or a number.
    PutTradingRules {
        /// The rules as they shall be.
        rules: Box<ScopedRules>,
    },
    /// Agrees a private deal, or changes it.
    PutDeal {
        /// The deal as it shall be.
        deal: Deal,
    },
    /// A buyer reports what it earned from a call that it bought for a share of that. It changes nothing where this is not awaited
    /// from this buyer: reported already, too late, another kind of price.
    ReportRevenue {
        /// The call.
        call: CallId,
        /// Who bought it.
        buyer: AccountId,
        /// What it earned, in micro-units.
        revenue_micros: Micros,
        /// Its own reference.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// A buyer disputes a converted call.
    DisputeCall {
        /// The call, as the store has it.
        charged: Box<ChargedCall>,
        /// What is wrong.
        reason: DisputeReason,
        /// In the buyer's own words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// The house decides a dispute.
    SettleDispute {
        /// The call.
        call: CallId,
        /// Whether the charge goes back.
        upheld: bool,
    },
    /// Books a buyer's payment. The same reference again changes nothing.
    Deposit {
        /// Whose balance.
        account: AccountId,
        /// How much, in micro-units.
        amount_micros: Micros,
        /// The payment's own reference.
        reference: String,
    },
}

/// What a step asks of the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Write this. All records of one step are written together or not at all.
    Record(Record),
    /// Do this, but only once the step's records are durable.
    Act(Action),
}

/// A row to write. Later versions of the same thing replace earlier ones; transfers, receipts, events
/// and entries of the audit log only ever add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An account as it now is.
    Account(Account),
    /// A tracking number as it now is.
    TrackingNumber(TrackingNumber),
    /// A bid profile as it now is.
    BidProfile(Arc<BidProfile>),
    /// A call as it now is.
    Call(Box<Call>),
    /// What a bid or a cap group has taken.
    Usage(Box<Usage>),
    /// What came of a seller's calls.
    SellerRecord(AccountId, SellerRecord),
    /// A cap group as it now is.
    CapGroup(CapGroup),
    /// Trading rules as they now are.
    TradingRules(Box<ScopedRules>),
    /// A deal as it now is.
    Deal(Deal),
    /// A dispute as it now is.
    Dispute(Box<Dispute>),
    /// Money that moved.
    Transfer(Transfer),
    /// How the call was decided.
    Receipt(Box<Receipt>),
    /// For the outbox.
    Event(Event),
    /// For the audit log.
    Audit(Box<AuditEntry>),
}

/// Something to do in the outside world.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Ask a live bidder. Nothing durable hangs on it, so it does not wait for the disk.
    RequestBid(Box<BidRequest>),
    /// Tell a live bidder how the auction ended for it.
    NotifyBidder(Box<BidNotice>),
    /// Come back with [`Input::BiddingClosed`] after this long. It does not wait for the disk either.
    StartBiddingTimer {
        /// In milliseconds.
        after_ms: u64,
    },
    /// Tell the seller who pinged.
    AnswerPing(Box<PingAnswer>),
    /// Come back with [`Input::ReservationExpired`] after this long.
    StartReservationTimer {
        /// In milliseconds.
        after_ms: u64,
    },
    /// Come back with [`Input::RevenueWindowClosed`] after this long, also after a restart.
    StartRevenueTimer {
        /// In milliseconds.
        after_ms: u64,
    },
    /// Ring a target. The caller hears ringing meanwhile; if it was connected to another target before, it waits.
    RingTarget {
        /// Which attempt, from 1.
        attempt: u8,
        /// Where.
        destination: Destination,
        /// Whom to show as the caller.
        caller: CallerId,
    },
    /// Stop ringing a target: CANCEL, or BYE if its answer crosses.
    CancelTarget {
        /// Which attempt, from 1.
        attempt: u8,
    },
    /// Connect the caller with the target that answered: 200 to the caller, or a re-INVITE if it was connected before.
    ConnectCaller {
        /// Which attempt, from 1.
        attempt: u8,
    },
    /// End every leg that is still up: a final response to a caller that is not connected, BYE otherwise.
    EndCall {
        /// Why.
        reason: EndReason,
    },
    /// Come back with [`Input::RingTimedOut`] after this long.
    StartRingTimer {
        /// Which attempt, from 1.
        attempt: u8,
        /// In milliseconds.
        after_ms: u64,
    },
    /// Come back with [`Input::MaxDurationReached`] after this long.
    StartDurationTimer {
        /// Which attempt, from 1.
        attempt: u8,
        /// In milliseconds.
        after_ms: u64,
    },
}

/// Why a call's legs are ended. Telephony turns it into a SIP status and a `Reason` header (RFC 3326).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum EndReason {
    /// Nobody owns the number dialled, or it is not active.
    UnknownNumber,
    /// A screening rule refused the call.
    ScreenedOut {
        /// The rule's name.
        rule: String,
    },
    /// No bid wanted it.
    NoBidder,
    /// Every target of the route plan failed; the last one for this cause.
    Unanswered {
        /// Why the last target failed.
        last: FailureCause,
    },
    /// The caller gave up before an answer.
    Abandoned,
    /// A connected call ended.
    Over {
        /// Who or what ended it.
        by: EndedBy,
    },
    /// The exchange is stopping, or cannot write.
    Stopping,
}

/// One line of the journal: what was put in, in the order it was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// When it was decided; the core's `now`.
    pub at: Timestamp,
    /// What was put in.
    pub entry: JournalInput,
}

/// What was put in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JournalInput {
    /// To a call.
    Call {
        /// Which.
        call: CallId,
        /// What happened to it.
        input: Input,
    },
    /// To the marketplace.
    Command(Command),
}
