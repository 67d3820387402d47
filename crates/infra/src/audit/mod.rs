//! The audit log: entries chained by hashes, anchors that sign how far the chain came, and the check of both.
//!
//! The hash of an entry covers its content and the hash before it, so no row can be changed, removed, inserted or moved without
//! the chain showing it; unless all that follows is chained again. That is what anchors are for: a signed statement of the last
//! entry, which nobody can make without the key, and of which a copy can be kept elsewhere.
//!
//! Absent on purpose: the database. The store's writer seals entries, its reader streams them, and an export is checked without it.

mod hash;
mod chain;
mod anchor;
mod check;
mod anchorer;

pub use anchor::{Anchor, KeyError, PublicKey, SigningKey, Statement};
pub use anchorer::Anchorer;
pub use chain::{Head, SealedEntry};
pub use check::{AuditReport, Begins, Check, Ends, Finding};
pub use hash::{Hash, NotAHash};
