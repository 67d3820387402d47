//! More than one node, and one book. The node that has the book hosts the others: what happens to their calls, and what is asked of
//! their APIs, comes to its owner; what it decides goes back to the node that has the call's legs.
//!
//! Nothing is lost when the node with the book dies: another takes the book over from the store, the others find it by the address it
//! leaves there, say which calls they have, and say again what these calls told last. A call that no node comes back for is closed as
//! after a crash.
//!
//! Absent on purpose: who may have the book (the store's lock says), and a second copy of it.

mod frame;
mod host;
mod join;
pub(crate) mod legs;
pub(crate) mod link;
pub(crate) mod message;

pub use frame::{BadNodeKey, NodeKey};
pub use host::host;
pub use join::{Node, join};

use std::time::Duration;

/// The protocol between nodes. Nodes of two versions do not talk: they are stopped for the change.
const PROTOCOL: u32 = 2;

/// How often each side gives a sign of life.
const LIFE: Duration = Duration::from_millis(500);

/// Messages sent together at most.
const TOGETHER_MAX: usize = 256;

/// A side that was not heard for this long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// How long a node may take to come back for its calls, once it is gone, or once another node took the book over.
pub(crate) const COME_BACK_MAX: Duration = Duration::from_secs(10);
