//! Which events a group has had of late: those that come again are dropped.

use std::collections::{HashSet, VecDeque};
use uuid::Uuid;

/// The latest ids, a bounded number of them.
#[derive(Debug)]
pub(super) struct Seen {
    ids: HashSet<Uuid>,
    order: VecDeque<Uuid>,
    ids_max: usize,
}

impl Seen {
    pub(super) fn new(ids_max: usize) -> Self {
        Self { ids: HashSet::new(), order: VecDeque::new(), ids_max }
    }

    pub(super) fn has(&self, id: Uuid) -> bool {
        self.ids.contains(&id)
    }

    pub(super) fn add(&mut self, ids: impl IntoIterator<Item = Uuid>) {
        for id in ids {
            if self.ids.insert(id) {
                self.order.push_back(id);
            }
        }
        while self.order.len() > self.ids_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_known_and_the_rest_forgotten() {
        let mut seen = Seen::new(3);
        seen.add((1..=4).chain([4]).map(Uuid::from_u128));
        let known: Vec<bool> = (1..=5).map(|id| seen.has(Uuid::from_u128(id))).collect();
        assert_eq!(known, [false, true, true, true, false]);
        assert_eq!((seen.ids.len(), seen.order.len()), (3, 3));
    }
}
