//! Runs the pure core: one owner of the in-memory book, the journal, recovery, timers.
//!
//! Absent on purpose: decisions (they are `exchange`'s), SQL (`infra`'s), packets (`telephony`'s).

mod owner;
mod timers;
mod clock;
mod handle;
mod live_bidders;
mod runner;

pub use handle::{CommandError, Engine, EngineStatus, Overloaded};
pub use live_bidders::{BidderConnection, BidderMessage, LiveBidders};
pub use owner::{Decided, Owner, Recovery};
pub use partners::rtb::{Caller, OwnNotice, OwnRequest};
pub use runner::{EngineConfig, EngineThread, StartError, start};
