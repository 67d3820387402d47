//! On the node that has the book: which other node has the legs of which call.

use super::message::FromBook;
use exchange::effect::Action;
use exchange::id::CallId;
use exchange::time::Timestamp;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::mpsc::UnboundedSender;

/// Calls whose legs are on other nodes. What is not in here has its legs on this one. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Legs(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    calls: Mutex<HashMap<CallId, Place>>,
    /// Calls whose node is away, to be looked at without the lock.
    away: AtomicUsize,
}

#[derive(Debug)]
enum Place {
    /// On the node of this session.
    On { session: u64, node: UnboundedSender<FromBook> },
    /// On a node that is away, and may come back.
    Away { last_alive_at: Timestamp, until: Instant },
}

impl Legs {
    fn calls(&self) -> MutexGuard<'_, HashMap<CallId, Place>> {
        self.0.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, calls: &HashMap<CallId, Place>) {
        let away = calls.values().filter(|place| matches!(place, Place::Away { .. })).count();
        self.0.away.store(away, Ordering::Relaxed);
    }

    /// Notes that the node of a session has the legs of these calls.
    pub(super) fn bind(
        &self,
        session: u64,
        node: &UnboundedSender<FromBook>,
        bound: impl IntoIterator<Item = CallId>,
    ) {
        let mut calls = self.calls();
        let mut was_away = false;
        for call in bound {
            let before = calls.insert(call, Place::On { session, node: node.clone() });
            was_away |= matches!(before, Some(Place::Away { .. }));
        }
        if was_away {
            self.count(&calls);
        }
    }

    /// Notes that no other node has the legs of these calls.
    pub(super) fn forget(&self, forgotten: impl IntoIterator<Item = CallId>) {
        let mut calls = self.calls();
        let mut was_away = false;
        for call in forgotten {
            was_away |= matches!(calls.remove(&call), Some(Place::Away { .. }));
        }
        if was_away {
            self.count(&calls);
        }
    }

    /// A session is over: its calls wait for their node, which was heard last at `last_alive_at`.
    pub(super) fn lose(&self, session: u64, last_alive_at: Timestamp, until: Instant) {
        let mut calls = self.calls();
        let lost = calls
            .values_mut()
            .filter(|place| matches!(place, Place::On { session: of, .. } if *of == session));
        for place in lost {
            *place = Place::Away { last_alive_at, until };
        }
        self.count(&calls);
    }

    /// Calls that were open when the book was taken over wait for their nodes.
    pub(crate) fn await_nodes(
        &self,
        open: impl IntoIterator<Item = CallId>,
        last_alive_at: Timestamp,
        until: Instant,
    ) {
        let mut calls = self.calls();
        calls.extend(open.into_iter().map(|call| (call, Place::Away { last_alive_at, until })));
        self.count(&calls);
    }

    /// Calls that no node came back for, with when their node was last known to be there; each is named once.
    pub(crate) fn given_up(&self, now: Instant) -> Vec<(CallId, Timestamp)> {
        if self.0.away.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        let mut calls = self.calls();
        let mut given_up = Vec::new();
        calls.retain(|call, place| match place {
            Place::Away { last_alive_at, until } if *until <= now => {
                given_up.push((*call, *last_alive_at));
                false
            }
            _ => true,
        });
        self.count(&calls);
        given_up.sort_unstable();
        given_up
    }

    /// Whether the legs of a call are on this node.
    pub(crate) fn are_here(&self, call: CallId) -> bool {
        !self.calls().contains_key(&call)
    }

    /// Whether the node that has the legs of a call is away.
    pub(crate) fn are_away(&self, call: CallId) -> bool {
        self.0.away.load(Ordering::Relaxed) > 0 && matches!(self.calls().get(&call), Some(Place::Away { .. }))
    }

    /// Sends an action to the node that has the call's legs; gives it back if that is this one. A node that is away is told how its
    /// calls stand when it comes back.
    pub(crate) fn send(&self, call: CallId, action: Action) -> Option<Action> {
        let mut calls = self.calls();
        let Some(place) = calls.get(&call) else { return Some(action) };
        let is_over = matches!(action, Action::EndCall { .. });
        if let Place::On { node, .. } = place {
            // A session that is over has its calls taken away in a moment.
            let _ = node.send(FromBook::Act { call, action });
        }
        if is_over && matches!(calls.remove(&call), Some(Place::Away { .. })) {
            self.count(&calls);
        }
        None
    }
}
