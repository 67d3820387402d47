//! The pure core of the exchange. It decides; it does nothing.
//!
//! Absent on purpose: async, I/O, a clock, randomness, the environment. Time and ids are arguments, and what must
//! happen in the world comes back as [`effect::Effect`]s.

pub mod call_flow;
pub mod call;
pub mod ping;
pub mod dispute;
pub mod effect;
pub mod event;
pub mod audit;
pub mod book;
pub mod account;
pub mod tracking_number;
pub mod bid;
pub mod trading_rules;
pub mod track_record;
pub mod schedule;
pub mod compliance;
pub mod fraud;
pub mod auction;
pub mod routing;
pub mod usage;
pub mod recent_calls;
pub mod ledger;
pub mod analytics;
pub mod policy;
pub mod refused;
pub mod snapshot;
pub mod id;
pub mod hash;
pub mod phone_number;
pub mod place;
pub mod time;
