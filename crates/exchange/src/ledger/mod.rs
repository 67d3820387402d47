//! The ledger: money, double entry, holds and settlement.

pub mod money;
pub mod transfer;
