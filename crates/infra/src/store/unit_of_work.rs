//! A unit of work: what one step writes, all of it or nothing.

use exchange::audit::AuditEntry;
use exchange::effect::{JournalEntry, Record};

/// What one step of the core writes. Committed whole or not at all, in the order submitted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitOfWork {
    /// What was put in; absent when nothing was decided, such as the exchange's own start.
    pub journal: Option<JournalEntry>,
    /// What came out, in the order the step gave it.
    pub records: Vec<Record>,
}

impl UnitOfWork {
    /// An entry in the audit log of something that no command did.
    pub fn of_audit(entry: AuditEntry) -> Self {
        Self { journal: None, records: vec![Record::Audit(Box::new(entry))] }
    }

    /// Whether there is nothing to write. It still waits its turn behind the units before it.
    pub fn is_empty(&self) -> bool {
        self.journal.is_none() && self.records.is_empty()
    }
}

/// What became of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitResult {
    /// It is on disk and survives a crash of the process, the system or the power.
    Durable,
    /// Nothing of it was written, and writing it again would not help: the caller has a bug.
    Rejected(Rejection),
    /// Nothing of it was written: the store was shut down before it could be.
    Abandoned,
}

/// Why a unit can never be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// A transfer of this reason is booked already.
    #[error("transfer '{reason}' is booked already; a reason moves money once")]
    DuplicateTransfer {
        /// The transfer's unique key.
        reason: String,
    },
    /// A receipt of this call is written already.
    #[error("call {call} has a receipt already; a receipt is written once")]
    DuplicateReceipt {
        /// The call.
        call: String,
    },
    /// An amount of zero or less.
    #[error("transfer '{reason}' moves {amount_micros} micro-units; move more than zero")]
    NotPositive {
        /// The transfer's unique key.
        reason: String,
        /// What it would move.
        amount_micros: i64,
    },
    /// A balance would leave the range of an `i64`.
    #[error("ledger account {ledger} would pass what an i64 of micro-units holds; move less")]
    Overflow {
        /// The ledger account.
        ledger: String,
    },
    /// Any other rule of the schema.
    #[error("{what}: {finding}; the unit breaks a rule of the schema")]
    Constraint {
        /// Which record.
        what: &'static str,
        /// What SQLite says.
        finding: String,
    },
}

type Callback = Box<dyn FnOnce(CommitResult) + Send>;

/// Told exactly once what became of a unit, on the writer's thread, in the order of submission. It must be quick
/// and must not wait for the store. Dropped untold, it says [`CommitResult::Abandoned`].
pub struct OnDurable(Option<Callback>);

impl OnDurable {
    /// Calls `callback` once.
    pub fn new(callback: impl FnOnce(CommitResult) + Send + 'static) -> Self {
        Self(Some(Box::new(callback)))
    }

    /// Says what became of the unit.
    pub fn tell(mut self, result: CommitResult) {
        if let Some(callback) = self.0.take() {
            callback(result);
        }
    }
}

impl Drop for OnDurable {
    fn drop(&mut self) {
        if let Some(callback) = self.0.take() {
            callback(CommitResult::Abandoned);
        }
    }
}

impl std::fmt::Debug for OnDurable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnDurable")
    }
}
