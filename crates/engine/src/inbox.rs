//! The way to the owner of the book from within its own process.

use crate::clock::Clock;
use crate::documents::Documents;
use crate::handle::{CommandError, EngineStatus, Overloaded};
use crate::live_bidders::LiveBidders;
use crate::nodes::legs::Legs;
use exchange::audit::Actor;
use exchange::effect::{Action, Command, Input};
use exchange::id::CallId;
use exchange::ping::{PingAnswer, PingRequest};
use exchange::time::Timestamp;
use infra::store::{ApiKey, LetterId, StoreError, StoreHealth, Writer};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// Longer than any auction may take: past it something is wrong, such as a disk that does not answer.
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the owner takes its messages. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Inbox {
    pub(crate) sender: Sender<Message>,
    pub(crate) gauges: Arc<Gauges>,
    pub(crate) writer: Writer,
    pub(crate) pings: Pings,
    pub(crate) live_bidders: LiveBidders,
    pub(crate) documents: Documents,
    pub(crate) legs: Legs,
    pub(crate) clock: Clock,
}

/// Pings whose askers wait for an answer.
pub(crate) type Pings = Arc<Mutex<HashMap<CallId, oneshot::Sender<PingAnswer>>>>;

/// What reaches the owner.
#[derive(Debug)]
pub(crate) enum Message {
    Call {
        call: CallId,
        input: Input,
    },
    /// This action of a call was let out.
    LetOut {
        call: CallId,
        action: Action,
    },
    Command {
        command: Command,
        actor: Actor,
        reply: oneshot::Sender<Result<(), CommandError>>,
    },
    Stop,
}

/// What the owner tells the rest of the process, without being asked.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    pub(crate) waiting: AtomicUsize,
    pub(crate) waiting_max: usize,
    pub(crate) live_calls: AtomicUsize,
    pub(crate) pings: AtomicUsize,
    pub(crate) bid_profiles: AtomicUsize,
    pub(crate) stopping: AtomicBool,
    /// As many events wait to be passed on as may.
    pub(crate) outbox_is_full: AtomicBool,
}

impl Inbox {
    pub(crate) fn call(&self, call: CallId, input: Input) -> Result<(), Overloaded> {
        let arrived = matches!(input, Input::Arrived(_) | Input::Pinged(_));
        if arrived && (!self.has_room() || !matches!(self.writer.health(), StoreHealth::Healthy)) {
            return Err(Overloaded);
        }
        self.send(Message::Call { call, input }).map_err(|()| Overloaded)
    }

    pub(crate) async fn command(&self, command: Command, actor: Actor) -> Result<(), CommandError> {
        if self.gauges.stopping.load(Ordering::Relaxed) {
            return Err(CommandError::Stopping);
        }
        if !self.has_room() {
            return Err(CommandError::Overloaded);
        }
        let (reply, answer) = oneshot::channel();
        self.send(Message::Command { command, actor, reply }).map_err(|()| CommandError::Stopping)?;
        answer.await.unwrap_or(Err(CommandError::Stopping))
    }

    pub(crate) async fn ping(&self, id: CallId, request: PingRequest) -> Result<PingAnswer, Overloaded> {
        let (answer_to, answer) = oneshot::channel();
        self.pings().insert(id, answer_to);
        let asked = self.call(id, Input::Pinged(request));
        let answered = match asked {
            Ok(()) => tokio::time::timeout(PING_TIMEOUT, answer).await.ok().and_then(Result::ok),
            Err(Overloaded) => None,
        };
        self.pings().remove(&id);
        answered.ok_or(Overloaded)
    }

    pub(crate) async fn insert_api_key(
        &self,
        key: ApiKey,
        secret_hash: [u8; 32],
        actor: Actor,
    ) -> Result<(), CommandError> {
        self.written(move |writer| writer.insert_api_key(key, secret_hash, actor)).await
    }

    pub(crate) async fn revoke_api_key(
        &self,
        key: ApiKey,
        at: Timestamp,
        actor: Actor,
    ) -> Result<(), CommandError> {
        self.written(move |writer| writer.revoke_api_key(key, at, actor)).await
    }

    pub(crate) async fn replay_dead_letters(
        &self,
        letters: Vec<LetterId>,
        actor: Actor,
    ) -> Result<(), CommandError> {
        self.written(move |writer| writer.replay_dead_letters(letters, actor)).await
    }

    /// Writes what the owner has nothing to do with, on a thread that may wait.
    async fn written(
        &self,
        write: impl FnOnce(&Writer) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), CommandError> {
        // It would wait until the disk is well again, with a thread.
        if self.writer.health() != StoreHealth::Healthy {
            return Err(CommandError::Overloaded);
        }
        let writer = self.writer.clone();
        match tokio::task::spawn_blocking(move || write(&writer)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(StoreError::Rejected(rejection))) => Err(CommandError::Conflict(rejection.to_string())),
            _ => Err(CommandError::Stopping),
        }
    }

    pub(crate) fn pings(&self) -> MutexGuard<'_, HashMap<CallId, oneshot::Sender<PingAnswer>>> {
        self.pings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn status(&self) -> EngineStatus {
        EngineStatus {
            waiting: self.gauges.waiting.load(Ordering::Relaxed),
            has_room: self.has_room(),
            live_calls: self.gauges.live_calls.load(Ordering::Relaxed),
            pings: self.gauges.pings.load(Ordering::Relaxed),
            bid_profiles: self.gauges.bid_profiles.load(Ordering::Relaxed),
            stopping: self.gauges.stopping.load(Ordering::Relaxed),
            store: self.writer.health(),
        }
    }

    /// Whether new calls and commands are taken: not too much is waiting, here or to be passed on, and it is not stopping.
    fn has_room(&self) -> bool {
        self.gauges.waiting.load(Ordering::Relaxed) < self.gauges.waiting_max
            && !self.gauges.stopping.load(Ordering::Relaxed)
            && !self.gauges.outbox_is_full.load(Ordering::Relaxed)
    }

    pub(crate) fn send(&self, message: Message) -> Result<(), ()> {
        self.gauges.waiting.fetch_add(1, Ordering::Relaxed);
        self.sender.send(message).map_err(|_| {
            self.gauges.waiting.fetch_sub(1, Ordering::Relaxed);
        })
    }
}
