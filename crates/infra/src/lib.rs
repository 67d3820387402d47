//! Where the exchange's state lives, the durable store, and the audit log in it; the bus that tells others of it; and what nodes agree
//! on.
//!
//! Absent on purpose: decisions. The store writes what it is given, all of it or none, and reads it back.

pub mod store;
pub mod audit;
pub mod bus;
pub mod coordination;
