//! Outside parties over HTTP. Today these are live bidders: RTB targets who are asked for a price while the caller waits.
//!
//! Absent on purpose: the book, decisions, the store. A request and its deadline come in, what was said (or why nothing was)
//! goes out; what it is worth is decided in `exchange`.

pub mod rtb;
