//! The handle by which the rest of the process reaches the owner of the book, on this node or on another.

use crate::documents::Documents;
use crate::inbox::Inbox;
use crate::live_bidders::LiveBidders;
use crate::nodes::link::Link;
use crate::nodes::message::{Answer, Question};
use exchange::audit::Actor;
use exchange::effect::{Command, Input};
use exchange::id::CallId;
use exchange::ping::{PingAnswer, PingRequest};
use exchange::refused::{CommandRefused, FieldError};
use exchange::time::Timestamp;
use infra::store::{ApiKey, LetterId, StoreHealth};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};

/// A cheap, cloneable handle.
#[derive(Debug, Clone)]
pub struct Engine {
    seat: Arc<RwLock<Seat>>,
    live_bidders: LiveBidders,
    documents: Documents,
    reservation_ms_max: u64,
}

/// Where the owner is. It comes to this node when the one that has it stops or dies; it never leaves a node that runs.
#[derive(Debug, Clone)]
pub(crate) enum Seat {
    Here(Inbox),
    Elsewhere(Link),
}

/// The exchange has more to do than it can: refuse the call and say when to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("the exchange is overloaded; try again in a few seconds")]
pub struct Overloaded;

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum CommandError {
    /// It is wrong; every problem is listed.
    #[error("{}", CommandRefused::Invalid(.0.clone()))]
    Invalid(Vec<FieldError>),
    /// There is no such thing.
    #[error("there is no such {0}")]
    NotFound(Cow<'static, str>),
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    /// Too much is waiting.
    #[error("the exchange is overloaded; try again in a few seconds")]
    Overloaded,
    /// The exchange is shutting down, or the store could not take it.
    #[error("the exchange is stopping; try again when it is back")]
    Stopping,
    /// The node that has the book went away before it answered, or is being looked for.
    #[error(
        "the node that has the book is away, and nobody knows whether it was done; ask again in a few seconds"
    )]
    Away,
}

impl From<CommandRefused> for CommandError {
    fn from(refused: CommandRefused) -> Self {
        match refused {
            CommandRefused::Invalid(errors) => Self::Invalid(errors),
            CommandRefused::NotFound(what) => Self::NotFound(what.into()),
            CommandRefused::Conflict(why) => Self::Conflict(why),
        }
    }
}

/// How the engine is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineStatus {
    /// Messages waiting for the owner.
    pub waiting: usize,
    /// Whether new calls and commands are taken: not too much is waiting, here or to be passed on, and it is not stopping.
    pub has_room: bool,
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

/// Where the book is, as a node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BookPlace {
    /// On this node.
    Here,
    /// On the node at this address.
    At(String),
    /// Nobody answers to it.
    Away,
}

impl Engine {
    pub(crate) fn here(inbox: Inbox, reservation_ms_max: u64) -> Self {
        let (live_bidders, documents) = (inbox.live_bidders.clone(), inbox.documents.clone());
        // Every commit is made here.
        documents.listen(true);
        Self { seat: Arc::new(RwLock::new(Seat::Here(inbox))), live_bidders, documents, reservation_ms_max }
    }

    /// For a node that does not have the book: it [joins](crate::nodes::join) the one that does, or [takes it over](crate::take_over).
    pub fn elsewhere(live_bidders: LiveBidders, reservation_ms_max: u64) -> Self {
        let seat = Arc::new(RwLock::new(Seat::Elsewhere(Link::default())));
        Self { seat, live_bidders, documents: Documents::default(), reservation_ms_max }
    }

    pub(crate) fn seat(&self) -> Seat {
        self.seat.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The book is here from now on. Calls whose legs are on this node are handed over to it.
    pub(crate) fn sit_down(&self, inbox: Inbox) {
        let mut seat = self.seat.write().unwrap_or_else(PoisonError::into_inner);
        if let Seat::Elsewhere(link) = &*seat {
            link.hand_over(&inbox);
        }
        self.documents.listen(true);
        *seat = Seat::Here(inbox);
    }

    /// The session with the node that has the book is over: changes are not heard of, unless the book has come to this node.
    pub(crate) fn lose_sight(&self) {
        if let Seat::Elsewhere(_) = &*self.seat.read().unwrap_or_else(PoisonError::into_inner) {
            self.documents.listen(false);
        }
    }

    /// Gives an input to a call. New calls are refused when too much is waiting, when the store cannot write, when the node with the
    /// book is away, or at shutdown; inputs to calls already accepted always get through, and are few for each.
    pub fn call(&self, call: CallId, input: Input) -> Result<(), Overloaded> {
        match &*self.seat.read().unwrap_or_else(PoisonError::into_inner) {
            Seat::Here(inbox) => inbox.call(call, input),
            Seat::Elsewhere(link) => link.call(call, input),
        }
    }

    /// Changes the marketplace on behalf of `actor`; returns when the change, and its entry in the audit log, is durable.
    pub async fn command(&self, command: Command, actor: Actor) -> Result<(), CommandError> {
        match self.seat() {
            Seat::Here(inbox) => inbox.command(command, actor).await,
            Seat::Elsewhere(link) => done(link.ask(Question::Command { command, actor }).await),
        }
    }

    /// Asks what a call would bring; returns when the answer, and what it reserves, is durable.
    pub async fn ping(&self, id: CallId, request: PingRequest) -> Result<PingAnswer, Overloaded> {
        match self.seat() {
            Seat::Here(inbox) => inbox.ping(id, request).await,
            Seat::Elsewhere(link) => match link.ask(Question::Ping { call: id, request }).await {
                Some(Answer::Ping(answer)) => answer,
                _ => Err(Overloaded),
            },
        }
    }

    /// Adds an API key or a session on behalf of `actor`; returns when it, and its entry in the audit log, is durable.
    pub async fn insert_api_key(
        &self,
        key: ApiKey,
        secret_hash: [u8; 32],
        actor: Actor,
    ) -> Result<(), CommandError> {
        match self.seat() {
            Seat::Here(inbox) => inbox.insert_api_key(key, secret_hash, actor).await,
            Seat::Elsewhere(link) => done(link.ask(Question::InsertApiKey { key, secret_hash, actor }).await),
        }
    }

    /// Revokes an API key with its sessions, or a session, on behalf of `actor`; returns when that, and its entry in the audit log, is
    /// durable. One revoked before keeps its first moment; whoever asks for that looks first, so that nothing is logged.
    pub async fn revoke_api_key(&self, key: ApiKey, at: Timestamp, actor: Actor) -> Result<(), CommandError> {
        match self.seat() {
            Seat::Here(inbox) => inbox.revoke_api_key(key, at, actor).await,
            Seat::Elsewhere(link) => done(link.ask(Question::RevokeApiKey { key, at, actor }).await),
        }
    }

    /// Has events given again that consumers had refused, on behalf of `actor`; returns when that, and its entry in the audit log, is
    /// durable.
    pub async fn replay_dead_letters(
        &self,
        letters: Vec<LetterId>,
        actor: Actor,
    ) -> Result<(), CommandError> {
        match self.seat() {
            Seat::Here(inbox) => inbox.replay_dead_letters(letters, actor).await,
            Seat::Elsewhere(link) => done(link.ask(Question::ReplayDeadLetters { letters, actor }).await),
        }
    }

    /// Asks for the end of every call whose legs are on this node, where the book is elsewhere: this node stops.
    pub fn end_calls_here(&self) {
        if let Seat::Elsewhere(link) = self.seat() {
            for call in link.calls() {
                // Without a session the next one is told, or the call is given up.
                let _ = link.call(call, Input::ShutDown);
            }
        }
    }

    /// Whether as many events wait to be passed on as may: no new calls and commands are taken then. Said where the book is.
    pub fn set_outbox_full(&self, is_full: bool) {
        if let Seat::Here(inbox) = self.seat() {
            inbox.gauges.outbox_is_full.store(is_full, Ordering::Relaxed);
        }
    }

    /// What this node remembers of the store's documents.
    pub fn documents(&self) -> &Documents {
        &self.documents
    }

    /// Who can be asked for live bids by this node.
    pub fn live_bidders(&self) -> &LiveBidders {
        &self.live_bidders
    }

    /// The longest a ping may ask to have its answer held, in milliseconds; what asks for more is held no longer.
    pub fn reservation_ms_max(&self) -> u64 {
        self.reservation_ms_max
    }

    /// How it is doing.
    pub fn status(&self) -> EngineStatus {
        match &*self.seat.read().unwrap_or_else(PoisonError::into_inner) {
            Seat::Here(inbox) => inbox.status(),
            Seat::Elsewhere(link) => link.status(),
        }
    }

    /// Where the book is.
    pub fn book_place(&self) -> BookPlace {
        match &*self.seat.read().unwrap_or_else(PoisonError::into_inner) {
            Seat::Here(_) => BookPlace::Here,
            Seat::Elsewhere(link) => link.book_place(),
        }
    }
}

fn done(answer: Option<Answer>) -> Result<(), CommandError> {
    match answer {
        Some(Answer::Done(result)) => result,
        _ => Err(CommandError::Away),
    }
}
