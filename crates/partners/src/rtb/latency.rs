//! How long a bidder takes, as counts by length: small, of fixed size, and fonder of what was lately.

/// Upper ends of the lengths counted, in milliseconds; the last count is for all that is longer.
const UP_TO_MS: [u32; 24] = [
    1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 60, 70, 80, 100, 120, 150, 200, 300, 500, 700, 1_000, 2_000, 5_000,
];

/// Counts of lengths. Once there are 4,096 each count is halved, so that old ones fade.
#[derive(Debug, Default)]
pub(super) struct Latency {
    counts: [u32; UP_TO_MS.len()],
    total: u32,
}

impl Latency {
    pub(super) fn record(&mut self, took_ms: f64) {
        let place = UP_TO_MS.iter().position(|up_to_ms| took_ms <= f64::from(*up_to_ms));
        self.counts[place.unwrap_or(UP_TO_MS.len() - 1)] += 1;
        self.total += 1;
        if self.total >= 4_096 {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.total = self.counts.iter().sum();
        }
    }

    /// A length in milliseconds that this percentage of requests did not exceed; `None` before the first.
    pub(super) fn percentile_ms(&self, percent: u32) -> Option<u32> {
        let mut left = (u64::from(self.total) * u64::from(percent)).div_ceil(100);
        let place = self.counts.iter().position(|count| {
            left = left.saturating_sub(u64::from(*count));
            left == 0
        });
        place.filter(|_| self.total > 0).map(|place| UP_TO_MS[place])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_upper_ends() {
        let mut latency = Latency::default();
        assert_eq!(latency.percentile_ms(50), None);
        for took_ms in 1..=100 {
            latency.record(f64::from(took_ms));
        }
        let read = [1, 50, 99, 100].map(|percent| latency.percentile_ms(percent));
        assert_eq!(read, [Some(1), Some(50), Some(100), Some(100)]);
    }

    #[test]
    fn old_ones_fade() {
        let mut latency = Latency::default();
        for took_ms in [4.0, 60_000.0] {
            for _ in 0..10_000 {
                latency.record(took_ms);
            }
        }
        assert_eq!(latency.percentile_ms(50), Some(5_000));
        assert!(latency.total < 4_096);
    }
}
