//! Metering: what a connected call costs.

use crate::bid::{Conversion, Price};
use crate::ledger::money::Micros;

impl Price {
    /// What a converted call of this length costs. Time is billed in whole seconds begun, rounded up to the billing
    /// increments (30/6 bills 31 s as 36 s); a fraction of a micro-unit is dropped.
    pub fn charge(&self, connected_ms: u64) -> Micros {
        match *self {
            Self::PerCall { amount_micros } => amount_micros,
            Self::PerMinute { rate_micros, first_increment_s, next_increment_s } => {
                let connected_s = connected_ms.div_ceil(1_000);
                let first_s = u64::from(first_increment_s);
                let next_s = u64::from(next_increment_s.max(1));
                let billed_s = first_s + connected_s.saturating_sub(first_s).div_ceil(next_s) * next_s;
                let charge = i128::from(rate_micros.0) * i128::from(billed_s) / 60;
                Micros(i64::try_from(charge).unwrap_or(i64::MAX))
            }
            Self::RevenueShare { min_micros, .. } => min_micros,
        }
    }

    /// What a typical call is expected to bring: the order of the auction.
    pub fn expected(&self, typical_call_ms: u64) -> Micros {
        match *self {
            Self::RevenueShare { expected_micros, .. } => expected_micros,
            _ => self.charge(typical_call_ms),
        }
    }

    /// The most a call of at most `max_call_s` seconds can cost: what is held while it rings and runs.
    pub fn most(&self, max_call_s: u32) -> Micros {
        self.charge(u64::from(max_call_s) * 1_000)
    }
}

impl Conversion {
    /// Whether a call connected for this long is billable. The timer runs from the target's answer.
    pub fn is_met(&self, connected_ms: u64) -> bool {
        connected_ms >= u64::from(self.min_connected_s) * 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn billing_increments() {
        let per_minute = |first_increment_s, next_increment_s| Price::PerMinute {
            rate_micros: Micros::units(3),
            first_increment_s,
            next_increment_s,
        };
        for (price, connected_ms, charge) in [
            (Price::PerCall { amount_micros: Micros::units(25) }, 1, "25.00"),
            (per_minute(60, 60), 1, "3.00"),
            (per_minute(60, 60), 60_000, "3.00"),
            (per_minute(60, 60), 60_001, "6.00"),
            (per_minute(30, 6), 0, "1.50"),
            (per_minute(30, 6), 30_000, "1.50"),
            (per_minute(30, 6), 30_001, "1.80"),
            (per_minute(30, 6), 37_000, "2.10"),
            (per_minute(1, 1), 1_001, "0.10"),
        ] {
            assert_eq!(price.charge(connected_ms).to_string(), charge, "{price:?} for {connected_ms} ms");
        }
    }
}
