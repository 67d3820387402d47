//! Fraud signals.

pub mod repeat_caller;
pub mod score;
