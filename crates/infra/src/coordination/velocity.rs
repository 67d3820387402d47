//! Velocity counters: how often something happened to a key within a minute, an hour and a day, and for how long the key is shut out
//! when that was too often. What counts is what was refused, such as a wrong API key.
//!
//! Windows slide: what happened in the one before counts by the part of it that still lies within the last minute, hour or day. The
//! arithmetic is here once, in whole milliseconds; `redis/dce.lua` has the same integers for the counts that all nodes share.
//!
//! Whether a key is shut out is known without asking anybody: whoever counts the one too many tells all nodes.

use super::{Adapter, Coordination, CoordinationError};
use std::collections::HashMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A minute, an hour and a day.
const WINDOWS_MS: [u64; 3] = [60_000, 3_600_000, 86_400_000];

/// Keys counted at most, each day. Past it a new key is told to wait each time, and is not shut out.
pub(super) const KEYS_MAX: usize = 100_000;

/// Keys this node knows to be shut out at most. One that is not known is counted once more.
const SHUT_MAX: usize = 100_000;

/// How long a key waits that there was no room to count.
const UNCOUNTED_WAIT: Duration = Duration::from_mins(1);

/// How often something may happen; at least once each. The one that reaches a limit shuts its key out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VelocityLimits {
    /// Within a minute.
    pub per_minute: u32,
    /// Within an hour.
    pub per_hour: u32,
    /// Within 24 hours.
    pub per_day: u32,
}

impl VelocityLimits {
    pub(super) fn each(self) -> [u64; 3] {
        [self.per_minute, self.per_hour, self.per_day].map(|limit| u64::from(limit.max(1)))
    }

    /// What one of `nodes` may count, so that all of them together count no more; at least 1 each.
    fn share(self, nodes: u32) -> Self {
        let of = |limit: u32| (limit / nodes.max(1)).max(1);
        Self { per_minute: of(self.per_minute), per_hour: of(self.per_hour), per_day: of(self.per_day) }
    }
}

/// What counting came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Velocity {
    /// It may happen again.
    Within,
    /// It was the one too many: the key is shut out for so long, on every node.
    ShutOut {
        /// How long.
        for_: Duration,
    },
    /// There was no room to count it: this one waits, and the key is not shut out.
    Uncounted {
        /// How long.
        for_: Duration,
    },
}

impl Velocity {
    /// Reads a wait in milliseconds; none is known of what was not counted.
    pub(super) fn of(wait_ms: Option<u64>) -> Self {
        match wait_ms {
            None => Self::Uncounted { for_: UNCOUNTED_WAIT },
            Some(0) => Self::Within,
            Some(wait_ms) => Self::ShutOut { for_: Duration::from_millis(wait_ms) },
        }
    }
}

/// A count for each of many keys, over all nodes.
#[derive(Debug)]
pub struct VelocityCounter {
    name: &'static str,
    limits: VelocityLimits,
    coordination: Coordination,
    cells: Cells,
}

impl VelocityCounter {
    /// Counters of this name: nodes that use the same one share its counts.
    pub fn new(coordination: &Coordination, name: &'static str, limits: VelocityLimits) -> Self {
        Self { name, limits, coordination: coordination.clone(), cells: Cells::new(Instant::now()) }
    }

    /// For how much longer a key is shut out, as far as this node knows. Nobody is asked.
    pub fn shut_for(&self, key: &impl Display) -> Option<Duration> {
        let shut = &self.coordination.0.known.shut;
        if shut.is_empty() { None } else { shut.left(&subject(self.name, key), Instant::now()) }
    }

    /// Counts one more of this key.
    pub async fn count(&self, key: &impl Display) -> Result<Velocity, CoordinationError> {
        let here = |limits| Velocity::of(self.cells.count(limits, &key.to_string(), Instant::now()));
        let counted = match self.coordination.adapter() {
            Adapter::Memory(_) => here(self.limits),
            Adapter::Redis(redis) => match redis.count(self.name, key, self.limits).await {
                Err(_) if redis.degrades() => here(self.limits.share(redis.nodes())),
                counted => counted?,
            },
        };
        if let Velocity::ShutOut { for_ } = counted {
            self.coordination.0.known.shut.put(subject(self.name, key), Instant::now() + for_);
        }
        Ok(counted)
    }
}

/// A key among those of all counters.
pub(super) fn subject(name: &str, key: &impl Display) -> String {
    format!("{name}:{key}")
}

/// What happened to one key: for each window its number, and how often in it and in the one before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Cell([Window; 3]);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Window {
    number: u64,
    current: u64,
    previous: u64,
}

impl Window {
    /// The window that this moment is in. A clock that went back stays in the latest one.
    fn at(self, width_ms: u64, now_ms: u64) -> Self {
        let number = (now_ms / width_ms).max(self.number);
        let (current, previous) = match number - self.number {
            0 => (self.current, self.previous),
            1 => (0, self.current),
            _ => (0, 0),
        };
        Self { number, current, previous }
    }

    /// How long until there is room for one more, in milliseconds.
    fn wait_ms(self, width_ms: u64, limit: u64, now_ms: u64) -> u64 {
        let Self { number, current, previous } = self;
        let elapsed_ms = now_ms.saturating_sub(number * width_ms);
        if current >= limit {
            // In the next window they are the ones before, and the oldest of them is past after a moment.
            return width_ms - elapsed_ms + 1;
        }
        if current + previous * (width_ms - elapsed_ms) / width_ms < limit {
            return 0;
        }
        width_ms + 1 - ((limit - current) * width_ms).div_ceil(previous) - elapsed_ms
    }
}

impl Cell {
    /// Counts one more, up to the limits, and says how long to wait until there is room for another.
    fn count(&mut self, limits: [u64; 3], now_ms: u64) -> u64 {
        let mut longest_ms = 0;
        for ((window, width_ms), limit) in self.0.iter_mut().zip(WINDOWS_MS).zip(limits) {
            *window = window.at(width_ms, now_ms);
            window.current = (window.current + 1).min(limit);
            longest_ms = longest_ms.max(window.wait_ms(width_ms, limit, now_ms));
        }
        longest_ms
    }

    /// Whether all of it is past.
    fn is_past(&self, now_ms: u64) -> bool {
        let windows = self.0.iter().zip(WINDOWS_MS);
        windows.map(|(window, width_ms)| window.at(width_ms, now_ms)).all(|at| at.current + at.previous == 0)
    }
}

/// The counts of this process.
#[derive(Debug)]
struct Cells {
    origin: Instant,
    by_key: Mutex<HashMap<String, Cell>>,
}

impl Cells {
    fn new(origin: Instant) -> Self {
        Self { origin, by_key: Mutex::default() }
    }

    /// The wait in milliseconds; nothing when there is no room to count.
    fn count(&self, limits: VelocityLimits, key: &str, now: Instant) -> Option<u64> {
        let now_ms = u64::try_from((now - self.origin).as_millis()).unwrap_or(u64::MAX);
        let mut cells = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        if !cells.contains_key(key) && cells.len() >= KEYS_MAX {
            cells.retain(|_, cell| !cell.is_past(now_ms));
            if cells.len() >= KEYS_MAX {
                return None;
            }
        }
        Some(cells.entry(key.to_owned()).or_default().count(limits.each(), now_ms))
    }
}

/// Keys that this node knows to be shut out, and until when.
#[derive(Debug, Default)]
pub(super) struct Shut {
    until: Mutex<HashMap<String, Instant>>,
    /// How many there are, to be looked at without the lock.
    count: AtomicUsize,
}

impl Shut {
    fn until(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Shuts out. Of two moments the later one holds.
    pub(super) fn put(&self, subject: String, until: Instant) {
        let mut shut = self.until();
        if shut.len() >= SHUT_MAX {
            let now = Instant::now();
            shut.retain(|_, until| *until > now);
        }
        if shut.len() < SHUT_MAX || shut.contains_key(&subject) {
            let known = shut.entry(subject).or_insert(until);
            *known = until.max(*known);
        }
        self.count.store(shut.len(), Ordering::Relaxed);
    }

    /// How much longer a key is shut out. One whose time is over is forgotten.
    fn left(&self, subject: &str, now: Instant) -> Option<Duration> {
        let mut shut = self.until();
        let left = shut.get(subject)?.saturating_duration_since(now);
        if left > Duration::ZERO {
            return Some(left);
        }
        shut.remove(subject);
        self.count.store(shut.len(), Ordering::Relaxed);
        None
    }

    /// What another node counted: the key, and how long it is shut out, in milliseconds.
    pub(super) fn hear(&self, words: &str) -> Option<()> {
        let (subject, wait_ms) = words.rsplit_once(' ')?;
        let wait = Duration::from_millis(wait_ms.parse().ok()?);
        self.put(subject.to_owned(), Instant::now().checked_add(wait)?);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: VelocityLimits = VelocityLimits { per_minute: 3, per_hour: 5, per_day: 7 };

    /// The same steps as on Redis: see `tests/it/coordination.rs`.
    #[test]
    fn the_one_that_reaches_a_limit_waits_until_the_window_has_slid() {
        let mut cell = Cell::default();
        let mut steps = 0;
        for line in include_str!("../../tests/it/velocity.txt").lines().filter(|line| !line.starts_with('#'))
        {
            let mut figures = line.split(' ').map_while(|word| word.parse::<u64>().ok());
            let (at_ms, wait_ms) = (figures.next().expect("a moment"), figures.next().expect("a wait"));
            assert_eq!(cell.count(LIMITS.each(), at_ms), wait_ms, "{line}");
            steps += 1;
        }
        assert!(steps > 10, "{steps} steps");
    }

    #[test]
    fn after_the_wait_there_is_room_for_one_and_not_a_moment_before() {
        let mut state = 7_u64;
        let mut draw = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for _ in 0..2_000 {
            let (width_ms, limit) = (1 + draw(90_000), 1 + draw(40));
            let window = Window { number: 3, current: draw(limit + 1), previous: draw(limit + 1) };
            let now_ms = 3 * width_ms + draw(width_ms);
            let is_full = |at_ms: u64| {
                let Window { number, current, previous } = window.at(width_ms, at_ms);
                let elapsed_ms = at_ms - number * width_ms;
                current + previous * (width_ms - elapsed_ms) / width_ms >= limit
            };
            let wait_ms = window.wait_ms(width_ms, limit, now_ms);
            let case = format!("{window:?} width {width_ms} limit {limit} now {now_ms} wait {wait_ms}");
            assert_eq!(is_full(now_ms), wait_ms > 0, "{case}");
            assert!(!is_full(now_ms + wait_ms), "{case}");
            // A limit of one in a window of one millisecond slides in one step.
            assert!(wait_ms == 0 || is_full(now_ms + wait_ms - 1), "{case}");
        }
    }

    #[test]
    fn memory_is_bounded_and_what_is_past_makes_room() {
        let origin = Instant::now();
        let cells = Cells::new(origin);
        for key in 0..KEYS_MAX {
            assert_eq!(cells.count(LIMITS, &key.to_string(), origin), Some(0));
        }
        assert_eq!(cells.count(LIMITS, "one more", origin), None);
        assert_eq!(cells.count(LIMITS, "7", origin), Some(0), "one that is counted is counted on");
        let later = origin + Duration::from_hours(48);
        assert_eq!(cells.count(LIMITS, "one more", later), Some(0));
        assert_eq!(cells.by_key.lock().expect("not poisoned").len(), 1);
    }

    #[test]
    fn shares_of_all_nodes_are_no_more_than_the_whole() {
        let share = VelocityLimits { per_minute: 30, per_hour: 300, per_day: 1 }.share(4);
        assert_eq!(share, VelocityLimits { per_minute: 7, per_hour: 75, per_day: 1 });
        assert_eq!(LIMITS.share(0), LIMITS, "one node at least");
    }

    #[test]
    fn the_later_moment_holds_and_a_time_that_is_over_is_forgotten() {
        let (shut, now) = (Shut::default(), Instant::now());
        assert!(shut.is_empty());
        shut.put("a".to_owned(), now + Duration::from_secs(9));
        shut.put("a".to_owned(), now + Duration::from_secs(5));
        assert_eq!(shut.left("a", now), Some(Duration::from_secs(9)));
        assert_eq!(shut.left("b", now), None);
        assert_eq!(shut.left("a", now + Duration::from_secs(9)), None);
        assert!(shut.is_empty());
        for (words, is_heard) in
            [("wrong_key:192.0.2.1 5000", true), ("wrong_key:192.0.2.1", false), ("a b", false)]
        {
            assert_eq!(shut.hear(words).is_some(), is_heard, "{words}");
        }
    }
}
