//! The operator's policy: what the exchange does where the law and the bids leave a choice.

use serde::{Deserialize, Serialize};

/// Settings of the exchange's own decisions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// How long a target may ring when its bid does not say, in milliseconds.
    pub ring_timeout_ms: u64,
    /// The longest a call may last when its bid does not say, in seconds.
    pub max_call_s: u32,
    /// The winner and its fall-backs: how many targets a call may ring.
    pub route_plan_max: u8,
    /// The connected time, in seconds, at which per-minute bids are compared with per-call bids.
    pub typical_call_s: u32,
    /// The house's own trading rules, where no vertical, seller or number has others.
    pub trading: crate::trading_rules::TradingRules,
    /// How long a ping's reservation lasts when the ping does not say, in milliseconds.
    pub reservation_ms: u64,
    /// The longest a ping may ask for, in milliseconds.
    pub reservation_ms_max: u64,
    /// Screening.
    pub screening: crate::compliance::screening::ScreeningPolicy,
}

impl Policy {
    /// The connected time at which prices per minute are compared with others, in milliseconds.
    pub fn typical_call_ms(&self) -> u64 {
        u64::from(self.typical_call_s) * 1_000
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            ring_timeout_ms: 30_000,
            max_call_s: 7_200,
            route_plan_max: 5,
            typical_call_s: 300,
            trading: crate::trading_rules::TradingRules::default(),
            reservation_ms: 30_000,
            reservation_ms_max: 120_000,
            screening: crate::compliance::screening::ScreeningPolicy::default(),
        }
    }
}
