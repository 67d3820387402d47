//! API keys that were looked up a moment ago, by the hash of their secret, so that not every request reads the store.
//!
//! A key that is revoked is forgotten on every node at once; a node that would not hear of it remembers none. Keys that are
//! unknown are not remembered: nobody fills this with guesses, and a new key works at once.

use crate::store::ApiKey;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;
use uuid::Uuid;

/// How long a key is believed without asking the store: what bounds the harm when word of a revocation is lost.
const KNOWN_FOR: Duration = Duration::from_secs(5);

/// Keys remembered at most.
const KEYS_MAX: usize = 10_000;

/// SHA-256 of a key's secret.
pub type SecretHash = [u8; 32];

/// One look into the store, shared by all who wait for it.
type Look = Arc<OnceCell<Option<ApiKey>>>;

/// The keys this node remembers.
#[derive(Debug, Default)]
pub(super) struct ApiKeys(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Whether revocations are heard of.
    is_listening: bool,
    /// Counts revocations: what was read before one is not remembered after it.
    revocations: u64,
    known: HashMap<SecretHash, Known>,
    looks: HashMap<SecretHash, Look>,
}

#[derive(Debug)]
struct Known {
    key: ApiKey,
    until: Instant,
}

/// Takes a look out of the table when nobody waits for it any more.
struct Waiting<'a> {
    keys: &'a ApiKeys,
    hash: SecretHash,
    look: Look,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.keys.state();
        let is_last = state
            .looks
            .get(&self.hash)
            // The table has one, this has one.
            .is_some_and(|look| Arc::ptr_eq(look, &self.look) && Arc::strong_count(look) <= 2);
        if is_last {
            state.looks.remove(&self.hash);
        }
    }
}

impl ApiKeys {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether revocations are heard of from now on; nothing of before is believed.
    pub(super) fn listen(&self, is_listening: bool) {
        let mut state = self.state();
        state.is_listening = is_listening;
        state.revocations += 1;
        state.known.clear();
        state.looks.clear();
    }

    /// Forgets a key that is revoked.
    pub(super) fn forget(&self, id: Uuid) {
        let mut state = self.state();
        state.revocations += 1;
        state.known.retain(|_, known| known.key.id != id);
        // Who asks from now on must not be told what was read before.
        state.looks.clear();
    }

    /// The key with this secret, as remembered, or as `read` finds it. Many who ask at once cause one reading.
    pub(super) async fn find<E, Reading: Future<Output = Result<Option<ApiKey>, E>>>(
        &self,
        hash: SecretHash,
        read: impl FnOnce() -> Reading,
    ) -> Result<Option<ApiKey>, E> {
        let (look, revocations) = {
            let mut state = self.state();
            if let Some(known) = state.known.get(&hash).filter(|known| Instant::now() < known.until) {
                return Ok(Some(known.key.clone()));
            }
            (Arc::clone(state.looks.entry(hash).or_default()), state.revocations)
        };
        let waiting = Waiting { keys: self, hash, look };
        let found = waiting.look.get_or_try_init(read).await?.clone();
        if let Some(key) = &found {
            self.remember(hash, key, revocations);
        }
        Ok(found)
    }

    fn remember(&self, hash: SecretHash, key: &ApiKey, revocations: u64) {
        let mut state = self.state();
        if !state.is_listening || state.revocations != revocations {
            return;
        }
        let now = Instant::now();
        if state.known.len() >= KEYS_MAX {
            state.known.retain(|_, known| now < known.until);
        }
        if state.known.len() < KEYS_MAX {
            state.known.entry(hash).or_insert_with(|| Known { key: key.clone(), until: now + KNOWN_FOR });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use exchange::time::Timestamp;
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicU32, Ordering};

    const HASH: SecretHash = [7; 32];

    fn key(id: u128) -> ApiKey {
        ApiKey {
            id: Uuid::from_u128(id),
            name: "a key".to_owned(),
            role: "admin".to_owned(),
            account: None,
            created_at: Timestamp(0),
            revoked_at: None,
        }
    }

    fn listening() -> ApiKeys {
        let keys = ApiKeys::default();
        keys.listen(true);
        keys
    }

    /// Asks for the key, counting how often the store is read.
    async fn ask(keys: &ApiKeys, found: Option<ApiKey>, reads: &AtomicU32) -> Option<ApiKey> {
        let read = || async {
            reads.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok::<_, Infallible>(found)
        };
        let Ok(key) = keys.find(HASH, read).await;
        key
    }

    #[tokio::test]
    async fn a_key_is_read_once_until_it_is_revoked() {
        let (keys, reads) = (listening(), AtomicU32::new(0));
        for _ in 0..3 {
            assert_eq!(ask(&keys, Some(key(1)), &reads).await, Some(key(1)));
        }
        assert_eq!(reads.load(Ordering::Relaxed), 1);
        keys.forget(Uuid::from_u128(2));
        assert_eq!(ask(&keys, None, &reads).await, Some(key(1)), "another was revoked");
        keys.forget(Uuid::from_u128(1));
        assert_eq!(ask(&keys, None, &reads).await, None);
    }

    #[tokio::test]
    async fn many_who_ask_at_once_cause_one_reading() {
        let (keys, reads) = (listening(), AtomicU32::new(0));
        let ask = || ask(&keys, Some(key(1)), &reads);
        let (a, b, c) = tokio::join!(ask(), ask(), ask());
        assert_eq!([a, b, c], [Some(key(1)), Some(key(1)), Some(key(1))]);
        assert_eq!(reads.load(Ordering::Relaxed), 1);
        assert!(keys.state().looks.is_empty(), "nothing is left behind");
    }

    #[tokio::test]
    async fn what_was_read_before_a_revocation_is_not_believed_after_it() {
        let (keys, reads) = (listening(), AtomicU32::new(0));
        let slow = keys.find(HASH, || async {
            // Read, and then overtaken by the revocation.
            keys.forget(Uuid::from_u128(1));
            Ok::<_, Infallible>(Some(key(1)))
        });
        assert_eq!(slow.await, Ok(Some(key(1))), "it asked before");
        assert_eq!(ask(&keys, None, &reads).await, None);
    }

    #[tokio::test]
    async fn a_node_that_hears_nothing_remembers_nothing_and_unknown_keys_are_never_remembered() {
        let (keys, reads) = (listening(), AtomicU32::new(0));
        assert_eq!(ask(&keys, None, &reads).await, None);
        assert_eq!(ask(&keys, Some(key(1)), &reads).await, Some(key(1)), "made in between");
        keys.listen(false);
        for _ in 0..2 {
            assert_eq!(ask(&keys, Some(key(1)), &reads).await, Some(key(1)));
        }
        assert_eq!(reads.load(Ordering::Relaxed), 4);
    }
}
