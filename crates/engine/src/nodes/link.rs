//! On a node that does not have the book: the way to it, and what must be said again when that breaks.

use super::message::{Answer, FromBook, Question, ToBook};
use crate::handle::{BookPlace, EngineStatus, Overloaded};
use crate::inbox::{Inbox, Message, PING_TIMEOUT};
use exchange::effect::{Action, Input};
use exchange::id::CallId;
use infra::store::StoreHealth;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

/// The way to the book. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Link(Arc<Mutex<Shared>>);

#[derive(Debug, Default)]
struct Shared {
    session: Option<Session>,
    /// Calls whose legs are here, with what happened to each that the book may not have heard of.
    calls: HashMap<CallId, Vec<Input>>,
    asks: HashMap<u64, oneshot::Sender<Answer>>,
    asked: u64,
}

#[derive(Debug)]
struct Session {
    to_book: UnboundedSender<ToBook>,
    address: String,
    status: EngineStatus,
}

impl Shared {
    fn send(&self, message: ToBook) -> bool {
        self.session.as_ref().is_some_and(|session| session.to_book.send(message).is_ok())
    }
}

impl Link {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn call(&self, call: CallId, input: Input) -> Result<(), Overloaded> {
        let mut shared = self.shared();
        match input {
            Input::Arrived(_) => {
                let takes_calls = shared.session.as_ref().is_some_and(|session| {
                    session.status.has_room && session.status.store == StoreHealth::Healthy
                });
                if !takes_calls {
                    return Err(Overloaded);
                }
                shared.calls.insert(call, Vec::new());
            }
            // It may be about a call of another node. Its bid is missed, like one that is late.
            Input::BidAnswered(_) => {}
            _ => {
                if let Some(inputs) = shared.calls.get_mut(&call) {
                    inputs.push(input.clone());
                }
            }
        }
        // Without a session it is said again in the next one.
        shared.send(ToBook::Call { call, input });
        Ok(())
    }

    /// Asks the book; nothing when it is away, or goes away before it answers.
    pub(crate) async fn ask(&self, question: Question) -> Option<Answer> {
        let (answer_to, answer) = oneshot::channel();
        let number = {
            let mut shared = self.shared();
            shared.asked += 1;
            let number = shared.asked;
            if !shared.send(ToBook::Ask { number, question }) {
                return None;
            }
            shared.asks.insert(number, answer_to);
            number
        };
        let answered = tokio::time::timeout(PING_TIMEOUT, answer).await;
        self.shared().asks.remove(&number);
        answered.ok()?.ok()
    }

    pub(crate) fn status(&self) -> EngineStatus {
        let shared = self.shared();
        match &shared.session {
            Some(session) => session.status.clone(),
            None => unknown(shared.calls.len()),
        }
    }

    pub(crate) fn book_place(&self) -> BookPlace {
        let session = &self.shared().session;
        session.as_ref().map_or(BookPlace::Away, |session| BookPlace::At(session.address.clone()))
    }

    /// Begins a session: says which calls are here, then again what may not have been heard of each.
    pub(super) fn begin(&self, address: &str, node: &str, to_book: UnboundedSender<ToBook>) {
        let mut shared = self.shared();
        let calls = shared.calls.keys().copied().collect();
        let (address, status) = (address.to_owned(), unknown(0));
        shared.session = Some(Session { to_book, address, status });
        shared.send(ToBook::Hello { protocol: super::PROTOCOL, node: node.to_owned(), calls });
        for (call, inputs) in &shared.calls {
            for input in inputs.iter().cloned().chain([Input::Resumed]) {
                shared.send(ToBook::Call { call: *call, input });
            }
        }
    }

    /// The session is over. Who asked is told that nobody knows.
    pub(super) fn end(&self) {
        let mut shared = self.shared();
        shared.session = None;
        shared.asks.clear();
    }

    /// Notes what the book says, and passes on what is to be done for a call.
    pub(super) fn hear(&self, message: FromBook) -> Option<(CallId, Action)> {
        let mut shared = self.shared();
        match message {
            FromBook::Act { call, action } => {
                match &action {
                    Action::EndCall { .. } => drop(shared.calls.remove(&call)),
                    // What the targets before this one did has been heard.
                    Action::RingTarget { .. } => {
                        if let Some(inputs) = shared.calls.get_mut(&call) {
                            inputs.retain(|input| matches!(input, Input::CallerHungUp | Input::PeerLost));
                        }
                    }
                    _ => {}
                }
                return Some((call, action));
            }
            FromBook::Answer { number, answer } => {
                let asker = shared.asks.remove(&number);
                // The asker may have gone away.
                asker.map(|asker| asker.send(answer));
            }
            FromBook::Status(status) => {
                if let Some(session) = &mut shared.session {
                    session.status = status;
                }
            }
            FromBook::Welcome | FromBook::Bidder(_) | FromBook::Changed { .. } => {}
        }
        None
    }

    /// The book comes to this node: its calls are told to it, as they would be to another.
    pub(crate) fn hand_over(&self, inbox: &Inbox) {
        let mut shared = self.shared();
        let calls = std::mem::take(&mut shared.calls);
        inbox.legs.forget(calls.keys().copied());
        for (call, inputs) in calls {
            for input in inputs.into_iter().chain([Input::Resumed]) {
                // Refused only when the engine is gone, and the process with it.
                let _ = inbox.send(Message::Call { call, input });
            }
        }
        drop(shared);
        self.end();
    }

    /// The calls whose legs are here.
    pub(crate) fn calls(&self) -> Vec<CallId> {
        self.shared().calls.keys().copied().collect()
    }
}

/// How the engine is doing as long as it has not said so: no call is taken.
fn unknown(live_calls: usize) -> EngineStatus {
    EngineStatus {
        waiting: 0,
        has_room: false,
        live_calls,
        pings: 0,
        bid_profiles: 0,
        stopping: false,
        store: StoreHealth::Healthy,
    }
}
