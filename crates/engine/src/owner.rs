//! The owner of the book: gives it inputs one at a time and turns what it decides into a unit of work and actions.
//!
//! Absent on purpose: threads, channels, the clock. The simulator drives this very code in virtual time.

use crate::timers::Timers;
use exchange::audit::{Actor, AuditEntry};
use exchange::book::Book;
use exchange::call::Call;
use exchange::call_flow::{self, IllegalInput};
use exchange::compliance::screening::Screening;
use exchange::effect::{Action, Command, Effect, Input, JournalEntry, JournalInput, Record};
use exchange::id::CallId;
use exchange::policy::Policy;
use exchange::refused::CommandRefused;
use exchange::snapshot::Snapshot;
use exchange::time::Timestamp;
use infra::store::UnitOfWork;
use std::sync::Arc;

/// The book and the timers its calls asked for.
#[derive(Debug)]
pub struct Owner {
    book: Book,
    timers: Timers,
}

/// What one input came to: write the unit; when it is durable, do the actions, in order.
#[derive(Debug, Default)]
pub struct Decided {
    /// What to write. May be empty: then the actions still wait their turn.
    pub unit: UnitOfWork,
    /// What to do.
    pub actions: Vec<Action>,
}

/// An owner restored after a restart, and what its recovery decided about the calls that were open.
#[derive(Debug)]
pub struct Recovery {
    /// The owner, with no open call left but reservations that have not run out, and calls that wait.
    pub owner: Owner,
    /// One unit for each call that was closed: its hold is released, or settled up to the last sign of life.
    pub units: Vec<UnitOfWork>,
    /// Open calls that were left open, for nodes that may come back for them.
    pub waiting: Vec<CallId>,
}

impl Owner {
    /// Restores the book and closes every call that was open when the exchange stopped. Reservations that have not run out are
    /// kept, with a timer for the time they have left.
    /// Calls that had ended, and whose buyers may still report their revenue, go on waiting for that.
    pub fn recover(
        snapshot: Snapshot,
        policy: Policy,
        screening: Arc<Screening>,
        now: Timestamp,
    ) -> Recovery {
        Self::restore(snapshot, policy, screening, now, |_| false)
    }

    /// The same where other nodes may have the legs of calls: these stay open, without timers, until their node comes back
    /// ([`Input::Resumed`]) or is given up ([`Input::Recovered`]).
    pub fn take_over(
        snapshot: Snapshot,
        policy: Policy,
        screening: Arc<Screening>,
        now: Timestamp,
    ) -> Recovery {
        Self::restore(snapshot, policy, screening, now, |call| !call.is_ping)
    }

    fn restore(
        snapshot: Snapshot,
        policy: Policy,
        screening: Arc<Screening>,
        now: Timestamp,
        waits: fn(&Call) -> bool,
    ) -> Recovery {
        let last_alive_at = snapshot.last_alive_at;
        let (mut waiting, mut open): (Vec<CallId>, Vec<CallId>) =
            snapshot.open_calls.keys().partition(|call| waits(&snapshot.open_calls[*call]));
        open.sort_unstable();
        waiting.sort_unstable();
        let mut owner = Self { book: Book::restore(snapshot, policy, screening), timers: Timers::default() };
        for call in owner.book.awaiting_revenue() {
            if let Some(awaited) = call.awaited_revenue() {
                owner.timers.await_revenue(call.id, awaited.report_until);
            }
        }
        let units = open
            .into_iter()
            .map(|call| {
                let decided = owner.call(call, Input::Recovered { last_alive_at }, now);
                decided.expect("an open call can be recovered").unit
            })
            .filter(|unit| !unit.is_empty())
            .collect();
        Recovery { owner, units, waiting }
    }

    /// Gives one input to one call. What a target's ringing needs is told by [`Owner::let_out`].
    pub fn call(&mut self, call: CallId, input: Input, now: Timestamp) -> Result<Decided, IllegalInput> {
        let effects = call_flow::step(&mut self.book, call, input.clone(), now)?;
        let decided = decided(JournalInput::Call { call, input }, effects, now);
        let waits = |action: &&Action| matches!(action, Action::StartRingTimer { .. });
        for action in decided.actions.iter().filter(|action| !waits(action)) {
            self.timers.start_for(call, action, now);
        }
        Ok(decided)
    }

    /// An action was let out, its unit being durable. A target's time to ring begins here: it is not the target's fault when the disk
    /// is slow.
    pub fn let_out(&mut self, call: CallId, action: &Action, now: Timestamp) {
        if let Action::StartRingTimer { .. } = action {
            self.timers.start_for(call, action, now);
        }
    }

    /// Changes the marketplace. What a command changed and its entry in the audit log are one unit of work; one that changed nothing
    /// (a deposit that is booked already) has no entry.
    pub fn command(
        &mut self,
        command: Command,
        actor: Actor,
        now: Timestamp,
    ) -> Result<UnitOfWork, CommandRefused> {
        let mut effects = self.book.apply(command.clone(), now)?;
        if !effects.is_empty() {
            let entry = AuditEntry::of_command(&command, actor, now);
            effects.push(Effect::Record(Record::Audit(Box::new(entry))));
        }
        Ok(decided(JournalInput::Command(command), effects, now).unit)
    }

    /// The next timer that is due, as an input to its call.
    pub fn due(&mut self, now: Timestamp) -> Option<(CallId, Input)> {
        self.timers.pop_due(now)
    }

    /// When the next timer is due.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.timers.next_due()
    }

    /// Every call that is open, in the order they arrived.
    pub fn open_calls(&self) -> Vec<CallId> {
        let mut open: Vec<CallId> = self.book.calls().map(|call| call.id).collect();
        open.sort_unstable();
        open
    }

    /// The book, to look at.
    pub fn book(&self) -> &Book {
        &self.book
    }
}

/// Splits effects into what is written and what is done. An input that changed nothing is not journalled.
fn decided(input: JournalInput, effects: Vec<Effect>, now: Timestamp) -> Decided {
    let mut decided = Decided::default();
    for effect in effects {
        match effect {
            Effect::Record(record) => decided.unit.records.push(record),
            Effect::Act(action) => decided.actions.push(action),
        }
    }
    if !decided.unit.records.is_empty() {
        decided.unit.journal = Some(JournalEntry { at: now, entry: input });
    }
    decided
}
