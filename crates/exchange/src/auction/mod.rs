//! The auction: which bids want a call, in which order, at which price.
//!
//! Absent on purpose: money and capacity are only looked at here, never taken; that is [`crate::call_flow`]'s.

pub mod board;
pub mod matching;
pub mod buyers;
mod buckets;
mod terms;
pub mod index;
pub mod contest;
pub mod clear;
pub mod receipt;
