//! Where the exchange's state lives: the durable store.
//!
//! Absent on purpose: decisions. The store writes what it is given, all of it or none, and reads it back.

pub mod store;
