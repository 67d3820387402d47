//! Metering: what a connected call costs.

use crate::bid::{Conversion, Price};
use crate::ledger::money::Micros;

impl Price {
    /// What a converted call of this length costs. Time is billed in whole seconds begun, rounded up to the billing
    /// increments (30/6 bills 31 s as 36 s); a fraction of a micro-unit is dropped. Of a revenue share, the least.
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
        match *self {
            Self::RevenueShare { max_micros, .. } => max_micros,
            _ => self.charge(u64::from(max_call_s) * 1_000),
        }
    }

    /// What a converted call costs in all once the buyer's revenue from it is known: its share, at least the least and at most the
    /// most. A price that is no share costs what it cost.
    pub fn charge_for(&self, revenue: Micros, charged: Micros) -> Micros {
        match *self {
            Self::RevenueShare { share_basis_points, min_micros, max_micros, .. } => {
                revenue.share(share_basis_points).max(min_micros).min(max_micros)
            }
            _ => charged,
        }
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
    fn a_share_of_the_revenue_is_at_least_the_least_and_at_most_the_most() {
        let share = Price::RevenueShare {
            share_basis_points: 1_500,
            min_micros: Micros::units(5),
            max_micros: Micros::units(40),
            expected_micros: Micros::units(20),
            report_within_s: 3_600,
        };
        assert_eq!((share.charge(60_000), share.most(60)), (Micros::units(5), Micros::units(40)));
        for (revenue, charge) in [
            ("0", "5.00"),
            ("33.33", "5.00"),
            ("33.34", "5.001"),
            ("200", "30.00"),
            ("266.67", "40.00"),
            ("9000000000", "40.00"),
            // A millionth less is dropped, never rounded up.
            ("100.000001", "15.00"),
        ] {
            let revenue = revenue.parse().expect("an amount");
            assert_eq!(share.charge_for(revenue, Micros::units(5)).to_string(), charge, "{revenue}");
        }
    }

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
