//! The effects of one step, gathered in the order they were decided.

use crate::auction::receipt::{AuctionReceipt, Receipt, Versions};
use crate::book::Book;
use crate::call::{Attempt, Call};
use crate::compliance::verdict::Check;
use crate::effect::{Action, Effect, Record};
use crate::event::{Event, Fact, Subject};
use crate::fraud::score;
use crate::id::CallId;
use crate::ledger::transfer::Transfer;
use crate::ping::{PingAnswer, PingRejection};
use crate::time::Timestamp;

pub(super) fn count(things: usize) -> u32 {
    u32::try_from(things).unwrap_or(u32::MAX)
}

/// The effects of one step, in the order they were decided.
pub(super) struct Effects {
    pub(super) call: CallId,
    pub(super) now: Timestamp,
    pub(super) decided: Vec<Effect>,
}

impl Effects {
    pub(super) fn of(call: CallId, now: Timestamp) -> Self {
        Self { call, now, decided: Vec::with_capacity(16) }
    }

    pub(super) fn write(&mut self, record: Record) {
        self.decided.push(Effect::Record(record));
    }

    pub(super) fn act(&mut self, action: Action) {
        self.decided.push(Effect::Act(action));
    }

    pub(super) fn tell(&mut self, fact: Fact) {
        self.write(Record::Event(Event { subject: Subject::Call(self.call), at: self.now, fact }));
    }

    pub(super) fn answer(&mut self, answer: PingAnswer) {
        self.act(Action::AnswerPing(Box::new(answer)));
    }

    /// Answers a ping that won nothing. A call has nobody to answer here.
    pub(super) fn refuse(&mut self, call: &Call, rejection: PingRejection) {
        if call.is_ping {
            self.answer(PingAnswer::Rejected(rejection));
        }
    }

    pub(super) fn receipt(&mut self, screening: Vec<Check>, auction: Option<AuctionReceipt>) {
        let (call, decided_at) = (self.call, self.now);
        let versions = Versions { exchange: env!("CARGO_PKG_VERSION").into(), fraud_score: score::VERSION };
        let receipt = Receipt { call, decided_at, versions, screening, auction, decided_in_ns: None };
        self.write(Record::Receipt(Box::new(receipt)));
    }

    /// What a bid, and its group, have taken by now.
    pub(super) fn usage(&mut self, book: &Book, slot: usize, attempt: &Attempt) {
        self.write(Record::Usage(Box::new(book.usages.of_bid(slot, attempt.bid))));
        let group = attempt.counted.group.and_then(|(group, _)| book.usages.of_group(group));
        self.decided.extend(group.map(|usage| Effect::Record(Record::Usage(Box::new(usage)))));
    }

    pub(super) fn book(&mut self, book: &mut Book, transfers: impl IntoIterator<Item = Transfer>) {
        for transfer in transfers {
            book.book_transfer(&transfer);
            self.write(Record::Transfer(transfer));
        }
    }
}
