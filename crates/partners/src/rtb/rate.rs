//! How often a bidder is asked: the generic cell rate algorithm (ITU-T I.371 annex A), one number of state.

/// A rate with room for one second's requests at once: a bidder is asked `per_s` times in a burst, and then as often as the rate
/// refills. Time is in nanoseconds since any fixed moment.
#[derive(Debug, Default)]
pub(super) struct Rate {
    /// When the last request let in would have been due if requests came evenly.
    due_ns: u64,
}

const SECOND_NS: u64 = 1_000_000_000;

impl Rate {
    /// Whether one more may be asked now; counts it when it may.
    pub(super) fn take(&mut self, per_s: u32, now_ns: u64) -> bool {
        let interval_ns = SECOND_NS / u64::from(per_s.max(1));
        let due_ns = self.due_ns.max(now_ns);
        // A rate that was lowered meanwhile cannot owe more than its own second.
        let due_ns = due_ns.min(now_ns + SECOND_NS);
        let is_in_time = due_ns + interval_ns <= now_ns + SECOND_NS;
        if is_in_time {
            self.due_ns = due_ns + interval_ns;
        }
        is_in_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `tries` at one moment are let in.
    fn burst(rate: &mut Rate, per_s: u32, now_ns: u64, tries: u32) -> usize {
        (0..tries).filter(|_| rate.take(per_s, now_ns)).count()
    }

    #[test]
    fn a_second_at_once_and_then_as_it_refills() {
        let mut rate = Rate::default();
        assert_eq!(burst(&mut rate, 10, 0, 100), 10);
        assert_eq!(burst(&mut rate, 10, 99_999_999, 100), 0);
        assert_eq!(burst(&mut rate, 10, 100_000_000, 100), 1);
        assert_eq!(burst(&mut rate, 10, 600_000_000, 100), 5);
        assert_eq!(burst(&mut rate, 10, 60 * SECOND_NS, 100), 10);
    }

    #[test]
    fn a_rate_that_changes_counts_at_once() {
        let mut rate = Rate::default();
        assert_eq!(burst(&mut rate, 1, 0, 5), 1);
        assert_eq!(burst(&mut rate, 10_000, SECOND_NS / 2, 50_000), 5_000);
        assert_eq!(burst(&mut rate, 1, SECOND_NS, 5), 0);
        assert_eq!(burst(&mut rate, 1, 3 * SECOND_NS, 5), 1);
    }
}
