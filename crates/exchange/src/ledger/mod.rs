//! The ledger: money, double entry, holds, metering and settlement.

pub mod money;
pub mod transfer;
pub mod balances;
pub mod meter;
pub mod settle;
