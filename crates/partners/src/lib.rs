//! Outside parties over HTTP: live bidders (RTB targets), who are asked for a price while the caller waits, and webhooks, which are told
//! what happened.
//!
//! Absent on purpose: the book, decisions, the store. A request and its deadline come in, what was said (or why nothing was)
//! goes out; what it is worth is decided in `exchange`.

pub mod rtb;
pub mod webhook;
