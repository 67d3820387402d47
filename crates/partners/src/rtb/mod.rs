//! Live bidders over HTTP: each is asked by one request, within its own time, its own rate and its own connections, so that one
//! that is slow, broken or hanging costs the others nothing.
//!
//! The way of a request: [`RtbClient::ask`] (`client`) finds the state of the target (`target`), which lets it in or refuses it
//! (`rate`, `breaker`); the request is written (`request`, `token`), sent over a connection of the target's own (`pool`,
//! `connect`, `address`), and its answer is read (`answer`). `notice` tells the bidder how the auction ended.

mod config;
mod client;
mod target;
mod rate;
mod breaker;
mod latency;
pub(crate) mod request;
mod token;
pub(crate) mod pool;
pub(crate) mod connect;
mod address;
mod answer;
mod notice;

pub use breaker::Circuit;
pub use client::RtbClient;
pub use config::{BreakerConfig, RtbConfig};
pub use notice::OwnNotice;
pub use request::{Caller, OwnRequest};
pub use target::TargetStatus;
