//! SIP: turns packets into inputs of the exchange and its actions into packets.
//!
//! Bottom up: [`message`] reads and writes bytes, [`transaction`] makes them reliable, [`dialog`] remembers a peer,
//! `bridge` joins a caller and a target, [`stack`] is the whole; [`endpoint`] is the other side of the wire. None of these reads a clock or touches a socket:
//! packets, time and randomness come in as arguments and packets to send come out as values.

pub mod peer;
pub mod token;
pub mod deadline;
pub mod method;
pub mod uri;
pub mod field;
pub mod header;
pub mod message;
pub mod parse;
pub mod framing;
pub mod transaction;
pub mod body;
mod session_description;
pub mod dialog;
pub mod session_timer;
pub mod trunks;
pub mod hosts;
pub mod config;
mod signalling;
mod stated;
mod admission;
mod bridge;
pub mod stack;
pub mod endpoint;
mod transport;
pub mod server;
pub use transport::{BindError, TransportCounters};
