//! Real servers, and a network that can be cut, for tests and for `cargo xtask faults`: each in a folder and at an address of its own, gone when its program is.
//!
//! A server that is missing or does not start panics with what to install: a test without it says nothing.

mod keeper;
pub mod postgresql;
pub mod redis;
pub mod kafka;
pub mod network;
