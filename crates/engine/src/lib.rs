//! Runs the pure core: one owner of the in-memory book, the journal, recovery, timers; the ways to it, from this node and from others.
//!
//! Absent on purpose: decisions (they are `exchange`'s), SQL (`infra`'s), packets of calls (`telephony`'s).

mod owner;
mod timers;
mod clock;
mod inbox;
mod handle;
mod live_bidders;
mod documents;
mod runner;
pub mod nodes;

pub use documents::Documents;
pub use handle::{BookPlace, CommandError, Engine, EngineStatus, Overloaded};
pub use live_bidders::{BidderConnection, BidderMessage, LiveBidders};
pub use owner::{Decided, Owner, Recovery};
pub use partners::rtb::{Caller, OwnNotice, OwnRequest};
pub use runner::{EngineConfig, EngineThread, StartError, start, take_over};
