//! What was read from the store a moment ago, so that not every request reads it again: API keys by the hash of their secret, documents
//! by their id.
//!
//! What changes is forgotten on every node at once; a node that would not hear of it remembers nothing. What is not there is not
//! remembered: nobody fills this with guesses, and a new key works at once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

/// How long something is believed without asking the store: what bounds the harm when word of a change is lost.
const KNOWN_FOR: Duration = Duration::from_secs(5);

/// Values of one kind that are remembered at most.
const VALUES_MAX: usize = 10_000;

/// One look into the store, shared by all who wait for it.
type Look<V> = Arc<OnceCell<Option<V>>>;

/// What this node remembers of one kind.
#[derive(Debug)]
pub struct Remembered<K: Hash + Eq, V>(Mutex<State<K, V>>);

#[derive(Debug)]
struct State<K, V> {
    /// Whether changes are heard of.
    is_listening: bool,
    /// Counts changes: what was read before one is not remembered after it.
    changes: u64,
    known: HashMap<K, Known<V>>,
    looks: HashMap<K, Look<V>>,
}

#[derive(Debug)]
struct Known<V> {
    value: V,
    until: Instant,
}

/// Takes a look out of the table when nobody waits for it any more.
struct Waiting<'a, K: Hash + Eq, V> {
    remembered: &'a Remembered<K, V>,
    key: K,
    look: Look<V>,
}

impl<K: Hash + Eq, V> Drop for Waiting<'_, K, V> {
    fn drop(&mut self) {
        let mut state = self.remembered.state();
        let is_last = state
            .looks
            .get(&self.key)
            // The table has one, this has one.
            .is_some_and(|look| Arc::ptr_eq(look, &self.look) && Arc::strong_count(look) <= 2);
        if is_last {
            state.looks.remove(&self.key);
        }
    }
}

impl<K: Hash + Eq, V> Default for Remembered<K, V> {
    /// Listening to nobody yet.
    fn default() -> Self {
        let (known, looks) = (HashMap::new(), HashMap::new());
        Self(Mutex::new(State { is_listening: false, changes: 0, known, looks }))
    }
}

impl<K: Hash + Eq, V> Remembered<K, V> {
    fn state(&self) -> MutexGuard<'_, State<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether changes are heard of from now on; nothing of before is believed.
    pub fn listen(&self, is_listening: bool) {
        let mut state = self.state();
        state.is_listening = is_listening;
        state.changes += 1;
        state.known.clear();
        state.looks.clear();
    }

    /// Forgets what has changed.
    pub fn forget(&self, has_changed: impl Fn(&K, &V) -> bool) {
        let mut state = self.state();
        state.changes += 1;
        state.known.retain(|key, known| !has_changed(key, &known.value));
        // Who asks from now on must not be told what was read before.
        state.looks.clear();
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Remembered<K, V> {
    /// What is under this key, as remembered, or as `read` finds it. Many who ask at once cause one reading.
    pub async fn find<E, Reading: Future<Output = Result<Option<V>, E>>>(
        &self,
        key: K,
        read: impl FnOnce() -> Reading,
    ) -> Result<Option<V>, E> {
        let (look, changes) = {
            let mut state = self.state();
            if let Some(known) = state.known.get(&key).filter(|known| Instant::now() < known.until) {
                return Ok(Some(known.value.clone()));
            }
            (Arc::clone(state.looks.entry(key.clone()).or_default()), state.changes)
        };
        let waiting = Waiting { remembered: self, key: key.clone(), look };
        let found = waiting.look.get_or_try_init(read).await?.clone();
        if let Some(value) = &found {
            self.remember(key, value, changes);
        }
        Ok(found)
    }

    fn remember(&self, key: K, value: &V, changes: u64) {
        let mut state = self.state();
        if !state.is_listening || state.changes != changes {
            return;
        }
        let now = Instant::now();
        if state.known.len() >= VALUES_MAX {
            state.known.retain(|_, known| now < known.until);
        }
        // Whoever waited longest for a look does not make it younger.
        let is_there = state.known.get(&key).is_some_and(|known| now < known.until);
        if !is_there && (state.known.len() < VALUES_MAX || state.known.contains_key(&key)) {
            state.known.insert(key, Known { value: value.clone(), until: now + KNOWN_FOR });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicU32, Ordering};

    type Keys = Remembered<u8, &'static str>;

    fn listening() -> Keys {
        let keys = Keys::default();
        keys.listen(true);
        keys
    }

    /// Asks for the key, counting how often the store is read.
    async fn ask(keys: &Keys, found: Option<&'static str>, reads: &AtomicU32) -> Option<&'static str> {
        let read = || async {
            reads.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok::<_, Infallible>(found)
        };
        let Ok(value) = keys.find(7, read).await;
        value
    }

    #[tokio::test]
    async fn a_value_is_read_once_until_it_changes() {
        let (keys, reads) = (listening(), AtomicU32::new(0));
        for _ in 0..3 {
            assert_eq!(ask(&keys, Some("one"), &reads).await, Some("one"));
        }
        assert_eq!(reads.load(Ordering::Relaxed), 1);
        keys.forget(|key, _| *key == 8);
        assert_eq!(ask(&keys, None, &reads).await, Some("one"), "another has changed");
        keys.forget(|_, value| *value == "one");
        assert_eq!(ask(&keys, None, &reads).await, None);
    }

    #[tokio::test]
    async fn what_is_too_old_is_read_again_and_remembered_again() {
        let (keys, reads) = (listening(), AtomicU32::new(0));
        ask(&keys, Some("one"), &reads).await;
        keys.state().known.get_mut(&7).expect("remembered").until = Instant::now();
        for _ in 0..3 {
            assert_eq!(ask(&keys, Some("two"), &reads).await, Some("two"));
        }
        assert_eq!(reads.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn many_who_ask_at_once_cause_one_reading() {
        let (keys, reads) = (listening(), AtomicU32::new(0));
        let ask = || ask(&keys, Some("one"), &reads);
        let (a, b, c) = tokio::join!(ask(), ask(), ask());
        assert_eq!([a, b, c], [Some("one"), Some("one"), Some("one")]);
        assert_eq!(reads.load(Ordering::Relaxed), 1);
        assert!(keys.state().looks.is_empty(), "nothing is left behind");
    }

    #[tokio::test]
    async fn what_was_read_before_a_change_is_not_believed_after_it() {
        let (keys, reads) = (listening(), AtomicU32::new(0));
        let slow = keys.find(7, || async {
            // Read, and then overtaken by the change.
            keys.forget(|key, _| *key == 7);
            Ok::<_, Infallible>(Some("one"))
        });
        assert_eq!(slow.await, Ok(Some("one")), "it asked before");
        assert_eq!(ask(&keys, None, &reads).await, None);
    }

    #[tokio::test]
    async fn a_node_that_hears_nothing_remembers_nothing_and_what_is_not_there_is_never_remembered() {
        let (keys, reads) = (listening(), AtomicU32::new(0));
        assert_eq!(ask(&keys, None, &reads).await, None);
        assert_eq!(ask(&keys, Some("one"), &reads).await, Some("one"), "made in between");
        keys.listen(false);
        for _ in 0..2 {
            assert_eq!(ask(&keys, Some("one"), &reads).await, Some("one"));
        }
        assert_eq!(reads.load(Ordering::Relaxed), 4);
    }
}
