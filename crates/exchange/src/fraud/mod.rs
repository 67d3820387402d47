//! Fraud signals.

pub mod repeat_caller;
