//! Deadlines of many things, soonest first.

use exchange::time::Timestamp;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A queue of wake-ups. A key may be in it when its reason is long gone: whoever is woken looks at his own state, so
/// nothing need ever be searched and removed.
#[derive(Debug, Clone)]
pub struct Deadlines<K> {
    heap: BinaryHeap<Reverse<(Timestamp, K)>>,
}

impl<K: Ord> Default for Deadlines<K> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new() }
    }
}

impl<K: Ord + Copy> Deadlines<K> {
    /// Asks for `key` to be woken at `at`.
    pub fn wake(&mut self, at: Timestamp, key: K) {
        self.heap.push(Reverse((at, key)));
    }

    /// The next key whose time has come, and that time.
    pub fn pop_due(&mut self, now: Timestamp) -> Option<(Timestamp, K)> {
        let Reverse((at, _)) = self.heap.peek()?;
        if *at > now {
            return None;
        }
        self.heap.pop().map(|Reverse(due)| due)
    }

    /// When to look again. It may be earlier than anything real.
    pub fn next(&self) -> Option<Timestamp> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }
}
