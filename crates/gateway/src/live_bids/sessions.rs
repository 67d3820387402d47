//! The sessions that are open: how many each key has, and how they hear of changed bid profiles and of the end.

use crate::problem::{Kind, Problem};
use exchange::id::{AccountId, BidProfileId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{broadcast, watch};
use uuid::Uuid;

/// Sessions one key may have at a time: one to work with, and some to change over.
const PER_KEY_MAX: usize = 4;
/// Changes a session may be behind; past it, it reads its bid profiles anew.
const CHANGES_MAX: usize = 256;

/// All sessions.
#[derive(Debug)]
pub(crate) struct Sessions {
    open: Arc<Mutex<HashMap<Uuid, usize>>>,
    total_max: usize,
    changes: broadcast::Sender<BidChange>,
    stopping: watch::Sender<bool>,
}

/// A bid profile that was placed or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BidChange {
    pub(crate) buyer: AccountId,
    pub(crate) bid: BidProfileId,
    /// Whether it is asked over a connection now.
    pub(crate) is_connected: bool,
}

/// Why there is no further session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TooMany {
    /// This key has as many as it may.
    OfKey { most: usize },
    /// The exchange has as many as it may.
    OfAll,
}

impl From<TooMany> for Problem {
    fn from(too_many: TooMany) -> Self {
        match too_many {
            TooMany::OfKey { most } => {
                let detail = format!("this key has {most} sessions, the most there may be; end one first");
                Self::new(Kind::RateLimited, detail).with_retry_after_s(5)
            }
            TooMany::OfAll => Self::new(Kind::Overloaded, "too many live bid sessions; try again later"),
        }
    }
}

/// One session's place; dropped, it is free again.
#[derive(Debug)]
pub(crate) struct Place {
    key: Uuid,
    open: Arc<Mutex<HashMap<Uuid, usize>>>,
}

impl Sessions {
    pub(crate) fn new(total_max: usize) -> Self {
        let (changes, _) = broadcast::channel(CHANGES_MAX);
        let (stopping, _) = watch::channel(false);
        Self { open: Arc::default(), total_max, changes, stopping }
    }

    /// A place for one more session of this key.
    pub(crate) fn open(&self, key: Uuid) -> Result<Place, TooMany> {
        let mut open = lock(&self.open);
        if open.values().sum::<usize>() >= self.total_max {
            return Err(TooMany::OfAll);
        }
        let of_key = open.entry(key).or_default();
        if *of_key >= PER_KEY_MAX {
            return Err(TooMany::OfKey { most: PER_KEY_MAX });
        }
        *of_key += 1;
        metrics::gauge!("dce_live_bid_sessions").increment(1.0);
        Ok(Place { key, open: Arc::clone(&self.open) })
    }

    /// Tells the sessions of this buyer that a bid profile of its was placed or changed.
    pub(crate) fn tell(&self, change: BidChange) {
        // Nobody listens when there is no session.
        let _ = self.changes.send(change);
    }

    /// Ends all sessions.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    pub(super) fn changes(&self) -> broadcast::Receiver<BidChange> {
        self.changes.subscribe()
    }

    pub(super) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        if let Some(of_key) = open.get_mut(&self.key) {
            *of_key -= 1;
            if *of_key == 0 {
                open.remove(&self.key);
            }
        }
        metrics::gauge!("dce_live_bid_sessions").decrement(1.0);
    }
}

fn lock(open: &Mutex<HashMap<Uuid, usize>>) -> MutexGuard<'_, HashMap<Uuid, usize>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_by_key_and_in_all() {
        let sessions = Sessions::new(6);
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut places: Vec<_> = (0..4).map(|_| sessions.open(one).expect("a place")).collect();
        assert_eq!(sessions.open(one).err(), Some(TooMany::OfKey { most: 4 }));
        let _others = [sessions.open(other).expect("a place"), sessions.open(other).expect("a place")];
        assert_eq!(sessions.open(other).err(), Some(TooMany::OfAll));
        places.pop();
        sessions.open(one).expect("the place that was given back");
    }
}
