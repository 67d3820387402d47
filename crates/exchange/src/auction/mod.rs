//! The auction.

pub mod receipt;
