//! Disputes: a buyer says that a call was not what it was charged for, once, and the house decides.
//!
//! Absent on purpose: caps. A refund gives nothing back to the caps the call counted against; the call was taken.

use crate::book::Book;
use crate::call::{Attempt, Call, CallState, Outcome};
use crate::effect::{Effect, Record};
use crate::event::{Event, Fact, Subject};
use crate::id::{AccountId, BidProfileId, CallId};
use crate::ledger::money::Micros;
use crate::ledger::transfer::{LedgerAccount, Transfer, TransferReason};
use crate::refused::{CommandRefused, FieldError, field_error};
use crate::time::Timestamp;
use crate::track_record::TrackRecord;
use serde::{Deserialize, Serialize};

/// The longest note, in bytes.
const NOTE_BYTES_MAX: usize = 500;

/// How long after its end a call may be disputed, in seconds: 7 days.
pub const DISPUTE_WINDOW_S: u32 = 7 * 24 * 3_600;

/// A converted call, as far as a dispute goes into it. Ended calls are not in the book: whoever asks reads it from the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ChargedCall {
    /// The call.
    pub call: CallId,
    /// The bid that was connected.
    pub bid: BidProfileId,
    /// Who was charged.
    pub buyer: AccountId,
    /// Who earned.
    pub seller: AccountId,
    /// What the seller earned, in micro-units.
    pub payout_micros: Micros,
    /// What the house kept, in micro-units.
    pub margin_micros: Micros,
    /// When the call ended.
    pub ended_at: Timestamp,
}

impl ChargedCall {
    /// What is to be known of a call that was charged. Nothing of one that was not, or whose buyer's revenue may still add to it.
    pub fn of(call: &Call) -> Option<Self> {
        let CallState::Ended { outcome, ended_at } = &call.state else { return None };
        let Outcome::Converted { attempt: Attempt { bid, buyer, .. }, payout_micros, margin_micros, .. } =
            outcome
        else {
            return None;
        };
        let is_settled = call.awaited_revenue().is_none() && payout_micros.0 + margin_micros.0 > 0;
        is_settled.then_some(Self {
            call: call.id,
            bid: *bid,
            buyer: *buyer,
            seller: call.seller,
            payout_micros: *payout_micros,
            margin_micros: *margin_micros,
            ended_at: *ended_at,
        })
    }

    /// What the buyer was charged.
    pub fn charge_micros(&self) -> Micros {
        Micros(self.payout_micros.0 + self.margin_micros.0)
    }

    /// Until when it may be disputed.
    pub fn dispute_until(&self) -> Timestamp {
        self.ended_at.plus_ms(u64::from(DISPUTE_WINDOW_S) * 1_000)
    }
}

/// What is wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DisputeReason {
    /// The consumer wanted something else.
    WrongVertical,
    /// The consumer is a customer of the buyer's already, or called before.
    Duplicate,
    /// A machine, a prank, or somebody paid to call.
    Spam,
    /// The consumer is not where the bid buys.
    OutsideArea,
    /// The consumer had not asked to be called, or wanted nothing.
    NotInterested,
    /// Something else: the note says what.
    Other,
}

/// How far a dispute has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum DisputeStage {
    /// The house has not decided.
    Open,
    /// The charge stands.
    Rejected {
        /// When that was decided, in microseconds since 1970.
        decided_at: Timestamp,
    },
    /// The charge went back.
    Upheld {
        /// When that was decided, in microseconds since 1970.
        decided_at: Timestamp,
    },
}

impl DisputeStage {
    /// As it is written: `open`, `rejected`, `upheld`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Rejected { .. } => "rejected",
            Self::Upheld { .. } => "upheld",
        }
    }
}

/// A buyer's dispute of one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispute {
    /// What it is about.
    #[serde(flatten)]
    pub charged: ChargedCall,
    /// What is wrong.
    pub reason: DisputeReason,
    /// In the buyer's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When it was disputed.
    pub disputed_at: Timestamp,
    /// How far it has come.
    #[serde(flatten)]
    pub stage: DisputeStage,
}

/// A buyer disputes a call. Refused where it has been disputed already, or too late.
pub(crate) fn dispute(
    book: &mut Book,
    charged: ChargedCall,
    reason: DisputeReason,
    note: Option<String>,
    now: Timestamp,
) -> Result<Vec<Effect>, CommandRefused> {
    CommandRefused::unless_valid(note.as_deref().and_then(note_problem).into_iter().collect())?;
    if book.disputes.contains_key(&charged.call) {
        return Err(CommandRefused::Conflict("the call has been disputed already".to_owned()));
    }
    if now >= charged.dispute_until() {
        let until = charged.dispute_until().to_jiff();
        return Err(CommandRefused::Conflict(format!("the call could be disputed until {until}")));
    }
    let fact = Fact::CallDisputed {
        bid: charged.bid,
        buyer: charged.buyer,
        seller: charged.seller,
        reason,
        charge_micros: charged.charge_micros(),
    };
    let dispute = Dispute { charged, reason, note, disputed_at: now, stage: DisputeStage::Open };
    let mut effects = Vec::new();
    change_bid(book, dispute.charged.bid, TrackRecord::disputed, &mut effects);
    keep(book, dispute, fact, now, &mut effects);
    Ok(effects)
}

fn note_problem(note: &str) -> Option<FieldError> {
    let is_unfit = |letter: char| letter.is_control() && letter != '\n';
    (note.len() > NOTE_BYTES_MAX || note.chars().any(is_unfit)).then(|| {
        let problem = format!("is longer than {NOTE_BYTES_MAX} bytes, or has control characters");
        field_error("note", problem, "say it in a few words")
    })
}

/// The house decides a dispute. The same decision again changes nothing; another one is refused.
pub(crate) fn settle(
    book: &mut Book,
    call: CallId,
    upheld: bool,
    now: Timestamp,
) -> Result<Vec<Effect>, CommandRefused> {
    let dispute = book.disputes.get(&call).cloned().ok_or(CommandRefused::NotFound("dispute"))?;
    let stage = match (dispute.stage, upheld) {
        (DisputeStage::Open, true) => DisputeStage::Upheld { decided_at: now },
        (DisputeStage::Open, false) => DisputeStage::Rejected { decided_at: now },
        (DisputeStage::Upheld { .. }, true) | (DisputeStage::Rejected { .. }, false) => return Ok(Vec::new()),
        (decided, _) => {
            let decided = decided.name();
            return Err(CommandRefused::Conflict(format!("the dispute is {decided} already; that stands")));
        }
    };
    let ChargedCall { bid, buyer, seller, .. } = dispute.charged;
    let mut effects = Vec::new();
    let (refunded_micros, refunded_payout_micros) = if upheld {
        (dispute.charged.charge_micros(), dispute.charged.payout_micros)
    } else {
        (Micros::ZERO, Micros::ZERO)
    };
    if upheld {
        for transfer in refund(&dispute.charged, now) {
            book.book_transfer(&transfer);
            effects.push(Effect::Record(Record::Transfer(transfer)));
        }
        change_bid(book, bid, TrackRecord::dispute_upheld, &mut effects);
        let record = book.seller_records.entry(seller).or_default();
        record.dispute_upheld();
        effects.push(Effect::Record(Record::SellerRecord(seller, record.clone())));
    }
    let fact =
        Fact::CallDisputeSettled { bid, buyer, seller, upheld, refunded_micros, refunded_payout_micros };
    keep(book, Dispute { stage, ..dispute }, fact, now, &mut effects);
    Ok(effects)
}

/// What was charged, back to the buyer, from where it went. A seller that was paid out meanwhile owes it.
fn refund(charged: &ChargedCall, now: Timestamp) -> impl Iterator<Item = Transfer> {
    let ChargedCall { call, buyer, seller, payout_micros, margin_micros, .. } = *charged;
    let to = LedgerAccount::Available(buyer);
    let parts = [
        (TransferReason::RefundPayout { call }, LedgerAccount::Payable(seller), payout_micros),
        (TransferReason::RefundMargin { call }, LedgerAccount::Margin, margin_micros),
    ];
    let moved = parts.into_iter().filter(|(_, _, amount_micros)| *amount_micros > Micros::ZERO);
    moved.map(move |(reason, from, amount_micros)| Transfer { reason, from, to, amount_micros, at: now })
}

fn change_bid(book: &mut Book, bid: BidProfileId, change: fn(&mut TrackRecord), effects: &mut Vec<Effect>) {
    if let Some(slot) = book.bids.slot(bid) {
        book.usages.change_record(slot, change);
        effects.push(Effect::Record(Record::Usage(Box::new(book.usages.of_bid(slot, bid)))));
    }
}

fn keep(book: &mut Book, dispute: Dispute, fact: Fact, now: Timestamp, effects: &mut Vec<Effect>) {
    let call = dispute.charged.call;
    book.disputes.insert(call, dispute.clone());
    effects.push(Effect::Record(Record::Dispute(Box::new(dispute))));
    effects.push(Effect::Record(Record::Event(Event { subject: Subject::Call(call), at: now, fact })));
}
