//! SIP: turns packets into inputs of the exchange and its actions into packets.
//!
//! Bottom up: [`message`] reads and writes bytes, [`transaction`] makes them reliable. Nothing here reads a clock or
//! touches a socket: packets, time and randomness come in as arguments and packets to send come out as values.

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
