//! The handle by which the rest of the process reaches the owner of the book.

use crate::live_bidders::LiveBidders;
use exchange::audit::Actor;
use exchange::effect::{Command, Input};
use exchange::id::CallId;
use exchange::ping::{PingAnswer, PingRequest};
use exchange::refused::{CommandRefused, FieldError};
use infra::store::{StoreHealth, Writer};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// A cheap, cloneable handle.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(crate) inbox: Sender<Message>,
    pub(crate) gauges: Arc<Gauges>,
    pub(crate) writer: Writer,
    pub(crate) pings: Pings,
    pub(crate) live_bidders: LiveBidders,
    pub(crate) reservation_ms_max: u64,
}

/// Pings whose askers wait for an answer.
pub(crate) type Pings = Arc<Mutex<HashMap<CallId, oneshot::Sender<PingAnswer>>>>;

/// Longer than any auction may take: past it something is wrong, such as a disk that does not answer.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// What reaches the owner.
#[derive(Debug)]
pub(crate) enum Message {
    Call { call: CallId, input: Input },
    Command { command: Command, actor: Actor, reply: oneshot::Sender<Result<(), CommandError>> },
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
}

/// The exchange has more to do than it can: refuse the call and say when to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the exchange is overloaded; try again in a few seconds")]
pub struct Overloaded;

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// It is wrong; every problem is listed.
    #[error("{}", CommandRefused::Invalid(.0.clone()))]
    Invalid(Vec<FieldError>),
    /// There is no such thing.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    /// Too much is waiting.
    #[error("the exchange is overloaded; try again in a few seconds")]
    Overloaded,
    /// The exchange is shutting down, or the store could not take it.
    #[error("the exchange is stopping; try again when it is back")]
    Stopping,
}

impl From<CommandRefused> for CommandError {
    fn from(refused: CommandRefused) -> Self {
        match refused {
            CommandRefused::Invalid(errors) => Self::Invalid(errors),
            CommandRefused::NotFound(what) => Self::NotFound(what),
            CommandRefused::Conflict(why) => Self::Conflict(why),
        }
    }
}

/// How the engine is doing.
#[derive(Debug, Clone)]
pub struct EngineStatus {
    /// Messages waiting for the owner.
    pub waiting: usize,
    /// Calls that have not ended.
    pub live_calls: usize,
    /// Pings that are being decided, or that won and whose calls have not come yet.
    pub pings: usize,
    /// Bid profiles in the book.
    pub bid_profiles: usize,
    /// Whether it is shutting down.
    pub stopping: bool,
    /// Whether units are being written.
    pub store: StoreHealth,
}

impl Engine {
    /// Gives an input to a call. New calls are refused when too much is waiting, when the store cannot write, or at
    /// shutdown; inputs to calls already accepted always get through, and are few for each.
    pub fn call(&self, call: CallId, input: Input) -> Result<(), Overloaded> {
        let arrived = matches!(input, Input::Arrived(_) | Input::Pinged(_));
        if arrived && (!self.has_room() || !matches!(self.writer.health(), StoreHealth::Healthy)) {
            return Err(Overloaded);
        }
        self.send(Message::Call { call, input }).map_err(|()| Overloaded)
    }

    /// Changes the marketplace on behalf of `actor`; returns when the change, and its entry in the audit log, is durable.
    pub async fn command(&self, command: Command, actor: Actor) -> Result<(), CommandError> {
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

    /// Asks what a call would bring; returns when the answer, and what it reserves, is durable.
    pub async fn ping(&self, id: CallId, request: PingRequest) -> Result<PingAnswer, Overloaded> {
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

    pub(crate) fn pings(&self) -> MutexGuard<'_, HashMap<CallId, oneshot::Sender<PingAnswer>>> {
        self.pings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who can be asked for live bids.
    pub fn live_bidders(&self) -> &LiveBidders {
        &self.live_bidders
    }

    /// The longest a ping may ask to have its answer held, in milliseconds; what asks for more is held no longer.
    pub fn reservation_ms_max(&self) -> u64 {
        self.reservation_ms_max
    }

    /// How it is doing.
    pub fn status(&self) -> EngineStatus {
        EngineStatus {
            waiting: self.gauges.waiting.load(Ordering::Relaxed),
            live_calls: self.gauges.live_calls.load(Ordering::Relaxed),
            pings: self.gauges.pings.load(Ordering::Relaxed),
            bid_profiles: self.gauges.bid_profiles.load(Ordering::Relaxed),
            stopping: self.gauges.stopping.load(Ordering::Relaxed),
            store: self.writer.health(),
        }
    }

    /// Whether new calls and commands are taken: not too much is waiting, and it is not stopping.
    pub fn has_room(&self) -> bool {
        self.gauges.waiting.load(Ordering::Relaxed) < self.gauges.waiting_max
            && !self.gauges.stopping.load(Ordering::Relaxed)
    }

    pub(crate) fn send(&self, message: Message) -> Result<(), ()> {
        self.gauges.waiting.fetch_add(1, Ordering::Relaxed);
        self.inbox.send(message).map_err(|_| {
            self.gauges.waiting.fetch_sub(1, Ordering::Relaxed);
        })
    }
}
