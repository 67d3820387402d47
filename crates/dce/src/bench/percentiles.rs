//! Percentiles of exact measurements.

use serde::Serialize;

/// Percentiles in the unit that the field's name says. Reports for machines have the first two.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    #[serde(skip)]
    pub(crate) p90: f64,
    #[serde(skip)]
    pub(crate) max: f64,
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
        Self { p50: at(50), p99: at(99), p90: at(90), max: at(100) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let of = |values| {
            let Percentiles { p50, p90, p99, max } = Percentiles::of(values, 1.0);
            format!("{p50} {p90} {p99} {max}")
        };
        assert_eq!(of((1..=200).rev().collect()), "100 180 198 200");
        assert_eq!(of(vec![]), "0 0 0 0");
        assert_eq!(of(vec![7]), "7 7 7 7");
    }
}
