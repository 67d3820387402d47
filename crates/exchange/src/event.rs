//! Events: what the exchange tells the rest of the world, in the order it happened. CloudEvents 1.0 types are
//! `type` below; the shell adds id, source and time.

use crate::id::{AccountId, BidProfileId, CallId};
use crate::time::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// Something that happened, for the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Such as `call.routed`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What it is about; also the key that orders it.
    pub subject: Subject,
    /// When.
    pub at: Timestamp,
    /// The facts.
    pub data: Value,
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A call.
    Call(CallId),
    /// An account.
    Account(AccountId),
    /// A bid profile.
    BidProfile(BidProfileId),
}
