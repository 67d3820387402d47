//! The same caller again within a moment: a dialler, a broker loop or a carrier's double, not a person.

use crate::phone_number::PhoneNumber;
use crate::time::Timestamp;
use std::collections::{BTreeMap, VecDeque};

/// Who called within the last moments. Its memory is bounded by the window and by a number of entries.
#[derive(Debug, Clone)]
pub struct RepeatCaller {
    window_ms: u64,
    entries_max: usize,
    /// In the order they were seen; the front is dropped when it leaves the window.
    sightings: VecDeque<(Timestamp, PhoneNumber)>,
    /// Each caller's latest sighting that is still in `sightings`.
    latest: BTreeMap<PhoneNumber, Timestamp>,
}

impl RepeatCaller {
    /// Remembers callers for `window_ms`, the latest `entries_max` of them. Under a flood beyond that the oldest
    /// are forgotten: a repeat may be missed, memory never grows. A window of 0 matches nobody.
    pub fn new(window_ms: u64, entries_max: usize) -> Self {
        Self { window_ms, entries_max, sightings: VecDeque::new(), latest: BTreeMap::new() }
    }

    /// Notes a caller, and says how many milliseconds ago the same one was seen within the window. Every sighting
    /// starts the window anew. Anonymous callers are nobody in particular: do not ask about them.
    pub fn seen(&mut self, caller: PhoneNumber, now: Timestamp) -> Option<u64> {
        while let Some((at, _)) = self.sightings.front()
            && (now.ms_since(*at) >= self.window_ms || self.sightings.len() >= self.entries_max)
        {
            self.forget_oldest();
        }
        let earlier = self.latest.get(&caller).map(|at| now.ms_since(*at));
        let is_kept = self.window_ms > 0 && self.entries_max > 0;
        if is_kept && self.latest.insert(caller, now) != Some(now) {
            self.sightings.push_back((now, caller));
        }
        earlier.filter(|ms_ago| *ms_ago < self.window_ms)
    }

    fn forget_oldest(&mut self) {
        let Some((at, caller)) = self.sightings.pop_front() else { return };
        if self.latest.get(&caller) == Some(&at) {
            self.latest.remove(&caller);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(last: u64) -> PhoneNumber {
        format!("+1212555{last:04}").parse().expect("a number")
    }

    fn at_ms(ms: u64) -> Timestamp {
        Timestamp(1_790_000_000_000_000).plus_ms(ms)
    }

    #[test]
    fn a_caller_is_a_repeat_only_within_the_window() {
        let mut callers = RepeatCaller::new(2_000, 100);
        for (ms, caller, expected) in [
            (0, 1, None),
            (500, 2, None),
            (1_999, 1, Some(1_999)),
            (3_998, 1, Some(1_999)), // the window began anew
            (5_998, 1, None),        // exactly the window later
            (5_998, 1, Some(0)),     // twice in one microsecond
            (5_000, 1, Some(0)),     // the clock stepped back
        ] {
            assert_eq!(callers.seen(number(caller), at_ms(ms)), expected, "caller {caller} at {ms} ms");
        }
    }

    #[test]
    fn memory_is_bounded_by_entries_and_by_the_window() {
        let mut callers = RepeatCaller::new(2_000, 10);
        for caller in 0..1_000 {
            callers.seen(number(caller), at_ms(1));
        }
        assert_eq!((callers.sightings.len(), callers.latest.len()), (10, 10));
        assert_eq!(callers.seen(number(999), at_ms(2)), Some(1));
        assert_eq!(callers.seen(number(0), at_ms(2)), None, "forgotten under the flood");
        callers.seen(number(1), at_ms(60_000));
        assert_eq!((callers.sightings.len(), callers.latest.len()), (1, 1));
    }

    #[test]
    fn one_caller_flooding_stays_a_repeat_and_stays_bounded() {
        let mut callers = RepeatCaller::new(2_000, 10);
        callers.seen(number(1), at_ms(0));
        for ms in 1..100 {
            assert_eq!(callers.seen(number(1), at_ms(ms)), Some(1));
        }
        assert_eq!((callers.sightings.len(), callers.latest.len()), (10, 1));
    }

    #[test]
    fn a_window_of_zero_matches_nobody() {
        let mut callers = RepeatCaller::new(0, 10);
        assert_eq!(callers.seen(number(1), at_ms(0)), None);
        assert_eq!(callers.seen(number(1), at_ms(0)), None);
    }
}
