//! Where the exchange's state lives, the durable store, the audit log in it, and the bus that tells
//! others of it.
//!
//! Absent on purpose: decisions. The store writes what it is given, all of it or none, and reads it back.

pub mod store;
pub mod audit;
pub mod bus;
