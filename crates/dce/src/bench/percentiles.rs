//! Percentiles of exact measurements.

use serde::Serialize;

/// The median and the ninety-ninth percentile, in the unit that the field's name says.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Percentiles {
    /// Of durations in nanoseconds, shown in microseconds.
    pub(crate) fn of_ns(nanoseconds: Vec<u64>) -> Self {
        Self::of(nanoseconds, 1_000.0)
    }

    /// Of whole numbers, each divided by `unit` for show: the smallest value that at least p % do not exceed.
    pub(crate) fn of(mut values: Vec<u64>, unit: f64) -> Self {
        values.sort_unstable();
        let at = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100).max(1);
            values.get(rank - 1).map_or(0.0, |value| *value as f64 / unit)
        };
        Self { p50: at(50), p99: at(99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let percentiles = Percentiles::of((1..=200).rev().collect(), 1.0);
        assert_eq!(format!("{percentiles:?}"), "Percentiles { p50: 100.0, p99: 198.0 }");
        assert_eq!(format!("{:?}", Percentiles::of(vec![], 1.0)), "Percentiles { p50: 0.0, p99: 0.0 }");
        assert_eq!(format!("{:?}", Percentiles::of(vec![7], 1.0)), "Percentiles { p50: 7.0, p99: 7.0 }");
    }
}
