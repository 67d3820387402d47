//! The thread that owns the book: takes messages in order, decides, hands each unit to the store's writer, and lets the
//! actions out once it is durable.

use crate::clock::Clock;
use crate::documents::{Document, Documents};
use crate::handle::{CommandError, Engine};
use crate::inbox::{Gauges, Inbox, Message, Pings};
use crate::live_bidders::LiveBidders;
use crate::nodes::COME_BACK_MAX;
use crate::nodes::legs::Legs;
use crate::owner::{Decided, Owner, Recovery};
use exchange::compliance::area_code::RuleDataError;
use exchange::compliance::screening::Screening;
use exchange::effect::{Action, Input, Record};
use exchange::id::CallId;
use exchange::policy::Policy;
use exchange::snapshot::Snapshot;
use exchange::time::Timestamp;
use infra::store::{CommitResult, OnDurable, Rejection, Store, StoreError, StoreHealth, UnitOfWork, Writer};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;

/// Bounds of the engine.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineConfig {
    /// New calls and commands are refused while more messages than this are waiting.
    pub waiting_max: usize,
    /// How often a sign of life is written while calls are open, in milliseconds: the most a crash can leave unbilled.
    pub heartbeat_ms: u64,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self { waiting_max: 10_000, heartbeat_ms: 1_000 }
    }
}

/// Why the engine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The screening rules cannot be used.
    #[error(transparent)]
    Rules(#[from] RuleDataError),
    /// The system gives no thread.
    #[error("no thread for the engine: {0}; raise the process limit")]
    Thread(std::io::Error),
}

/// The running thread. Stop it, or it runs until the process ends.
#[derive(Debug)]
pub struct EngineThread {
    inbox: Inbox,
    thread: JoinHandle<()>,
}

impl EngineThread {
    /// Ends every open call whose legs are on this node in good order, writes everything, and returns when it is on disk. Reservations
    /// that have not run out stay, for the next start; so do calls of other nodes, for whoever takes the book over.
    pub fn stop(self) {
        self.inbox.gauges.stopping.store(true, Ordering::Relaxed);
        if self.inbox.send(Message::Stop).is_ok() {
            // A panic of the owner has been reported by the panic hook; there is nothing left to save here.
            let _ = self.thread.join();
        }
        flush(&self.inbox.writer);
    }
}

/// Loads the store, recovers what was open, and starts deciding. Actions come out on `actions` in the order they were
/// decided, each only when what led to it is durable. Live bidders are asked at once. The channel has no bound of its own: its depth is bounded by the
/// calls that were let in, a few actions each.
pub fn start(
    store: &Store,
    config: &EngineConfig,
    policy: Policy,
    live_bidders: LiveBidders,
    actions: UnboundedSender<(CallId, Action)>,
) -> Result<(Engine, EngineThread), StartError> {
    let reservation_ms_max = policy.reservation_ms_max;
    let around = Around { live_bidders, documents: Documents::default(), actions };
    let (inbox, thread) = begin(store, config, policy, around, Owner::recover)?;
    Ok((Engine::here(inbox, reservation_ms_max), thread))
}

/// The same on one of several nodes: `engine`, which was without the book, has it from now on. Open calls wait for the nodes that have
/// their legs.
pub fn take_over(
    engine: &Engine,
    store: &Store,
    config: &EngineConfig,
    policy: Policy,
    actions: UnboundedSender<(CallId, Action)>,
) -> Result<EngineThread, StartError> {
    let (live_bidders, documents) = (engine.live_bidders().clone(), engine.documents().clone());
    let around = Around { live_bidders, documents, actions };
    let (inbox, thread) = begin(store, config, policy, around, Owner::take_over)?;
    engine.sit_down(inbox);
    Ok(thread)
}

/// How an owner is restored.
type Recover = fn(Snapshot, Policy, Arc<Screening>, Timestamp) -> Recovery;

/// What an owner has to do with on its node.
struct Around {
    live_bidders: LiveBidders,
    documents: Documents,
    actions: UnboundedSender<(CallId, Action)>,
}

fn begin(
    store: &Store,
    config: &EngineConfig,
    policy: Policy,
    Around { live_bidders, documents, actions }: Around,
    recover: Recover,
) -> Result<(Inbox, EngineThread), StartError> {
    let snapshot = store.load()?;
    let last_alive_at = snapshot.last_alive_at;
    let clock = Clock::start(last_alive_at);
    let screening = Arc::new(Screening::new(policy.screening.clone())?);
    let Recovery { owner, units, waiting } = recover(snapshot, policy, screening, clock.now());
    if !units.is_empty() {
        tracing::warn!(calls = units.len(), "closed the calls that were open when the exchange last stopped");
    }
    if !waiting.is_empty() {
        tracing::warn!(calls = waiting.len(), "open calls wait for their nodes");
    }
    let (sender, messages) = mpsc::channel();
    let inbox = Inbox {
        sender,
        gauges: Arc::new(Gauges { waiting_max: config.waiting_max, ..Gauges::default() }),
        writer: store.writer(),
        pings: Pings::default(),
        live_bidders,
        documents,
        legs: Legs::default(),
        clock,
    };
    inbox.legs.await_nodes(waiting, last_alive_at, Instant::now() + COME_BACK_MAX);
    let heartbeat = Duration::from_millis(config.heartbeat_ms.max(1));
    let runner = Runner { owner, actions, heartbeat, inbox: inbox.clone() };
    for unit in units {
        runner.write(unit, |_| {});
    }
    flush(&inbox.writer);
    runner.show();
    let thread = std::thread::Builder::new()
        .name("engine".to_owned())
        .spawn(move || runner.run(&messages))
        .map_err(StartError::Thread)?;
    Ok((inbox.clone(), EngineThread { inbox, thread }))
}

/// Waits until everything submitted is on disk; not while the disk refuses, for that could be for ever.
fn flush(writer: &Writer) {
    if writer.health() == StoreHealth::Healthy
        && let Err(error) = writer.commit(UnitOfWork::default())
    {
        tracing::error!(%error, "the last units of work may not be written");
    }
}

struct Runner {
    owner: Owner,
    actions: UnboundedSender<(CallId, Action)>,
    heartbeat: Duration,
    /// Its own, for answers that come back to it.
    inbox: Inbox,
}

impl Runner {
    fn run(mut self, messages: &Receiver<Message>) {
        let mut last_heartbeat = Instant::now();
        loop {
            let patience = self.patience().min(self.heartbeat);
            match messages.recv_timeout(patience) {
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(message) => {
                    self.inbox.gauges.waiting.fetch_sub(1, Ordering::Relaxed);
                    self.take(message);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.fire_timers();
            self.give_up_calls();
            if last_heartbeat.elapsed() >= self.heartbeat {
                last_heartbeat = Instant::now();
                if self.owner.book().calls().len() > 0 {
                    self.inbox.writer.heartbeat(self.inbox.clock.now());
                }
            }
            self.show();
        }
        for call in self.owner.open_calls() {
            if self.inbox.legs.are_here(call) {
                self.step(call, Input::ShutDown);
            }
        }
        self.show();
    }

    /// How long until the next timer is due.
    fn patience(&self) -> Duration {
        let micros = self.owner.next_due().map_or(i64::MAX, |due| due - self.inbox.clock.now());
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Call { call, input } => self.step(call, input),
            Message::LetOut { call, action } => self.owner.let_out(call, &action, self.inbox.clock.now()),
            Message::Command { command, actor, reply } => {
                match self.owner.command(command, actor, self.inbox.clock.now()) {
                    Err(refused) => drop(reply.send(Err(refused.into()))),
                    // The asker may have gone away; the change stands all the same.
                    Ok(unit) => self.write(unit, |result| drop(reply.send(answer_of(result)))),
                }
            }
            Message::Stop => {}
        }
    }

    fn fire_timers(&mut self) {
        while let Some((call, input)) = self.owner.due(self.inbox.clock.now()) {
            // Whether a target still rings on a node that is away nobody knows: its time begins anew when the node is back.
            let is_unknown = matches!(input, Input::RingTimedOut { .. }) && self.inbox.legs.are_away(call);
            if !is_unknown {
                self.step(call, input);
            }
        }
    }

    /// Closes the calls whose node did not come back.
    fn give_up_calls(&mut self) {
        for (call, last_alive_at) in self.inbox.legs.given_up(Instant::now()) {
            self.step(call, Input::Recovered { last_alive_at });
        }
    }

    fn step(&mut self, call: CallId, input: Input) {
        let started = Instant::now();
        match self.owner.call(call, input, self.inbox.clock.now()) {
            Ok(mut decided) => {
                note_duration(&mut decided, started.elapsed());
                self.carry_out(call, decided);
            }
            Err(illegal) => tracing::error!(%call, %illegal, "input refused: a defect, please report it"),
        }
    }

    fn carry_out(&self, call: CallId, Decided { unit, actions }: Decided) {
        if unit.is_empty() && actions.is_empty() {
            return;
        }
        let actions = self.ask_live_bidders(call, actions);
        let (out, inbox) = (self.actions.clone(), self.inbox.clone());
        self.write(unit, move |result| match result {
            CommitResult::Durable => {
                for action in actions {
                    match action {
                        Action::NotifyBidder(notice) => inbox.live_bidders.notify(*notice),
                        Action::AnswerPing(answer) => {
                            let asker = inbox.pings().remove(&call);
                            // The asker may have gone away; the reservation stands until it expires.
                            asker.map(|asker| asker.send(*answer));
                        }
                        action => {
                            if let Action::StartRingTimer { .. } = action {
                                // The owner is gone only when the process is stopping.
                                let _ = inbox.send(Message::LetOut { call, action: action.clone() });
                            }
                            if let Some(action) = inbox.legs.send(call, action) {
                                // Without telephony (an exchange that only serves its API) nobody listens.
                                let _ = out.send((call, action));
                            }
                        }
                    }
                }
            }
            CommitResult::Rejected(rejection) => stop_at_once(&rejection),
            CommitResult::Abandoned => {
                tracing::error!(%call, "unit of work not written: the store has stopped");
            }
        });
    }

    /// Asks for live bids at once: nothing that is durable hangs on a question. What is left waits for the disk.
    fn ask_live_bidders(&self, call: CallId, actions: Vec<Action>) -> Vec<Action> {
        let (questions, others): (Vec<Action>, Vec<Action>) =
            actions.into_iter().partition(|action| matches!(action, Action::RequestBid(_)));
        for question in questions {
            let Action::RequestBid(request) = question else { continue };
            let inbox = self.inbox.clone();
            self.inbox.live_bidders.ask(*request, move |answer| {
                // Refused only when the engine is gone, and the call with it.
                let _ = inbox.call(call, Input::BidAnswered(answer));
            });
        }
        others
    }

    /// Hands a unit to the writer, waiting while its queue is full: that is how a slow disk slows the exchange down.
    fn write(&self, unit: UnitOfWork, told: impl FnOnce(CommitResult) + Send + 'static) {
        let changed: Vec<Document> = unit.records.iter().filter_map(Document::of).collect();
        let documents = self.inbox.documents.clone();
        let on_durable = OnDurable::new(move |result| {
            // Before anybody hears that it is done.
            if result == CommitResult::Durable && !changed.is_empty() {
                documents.changed(changed);
            }
            told(result);
        });
        if self.inbox.writer.submit_blocking(unit, on_durable).is_err() {
            tracing::error!("unit of work not written: the store has stopped");
        }
    }

    fn show(&self) {
        let book = self.owner.book();
        let pings = book.pings();
        self.inbox.gauges.pings.store(pings, Ordering::Relaxed);
        self.inbox.gauges.live_calls.store(book.calls().len().saturating_sub(pings), Ordering::Relaxed);
        self.inbox.gauges.bid_profiles.store(book.bids().len(), Ordering::Relaxed);
    }
}

/// A unit that can never be written means that the book in memory is ahead of the books on disk, by a defect of ours. Every
/// further decision would build on money that is not there, so nothing more is decided: the next start restores the book from
/// the disk, which is whole.
fn stop_at_once(rejection: &Rejection) -> ! {
    tracing::error!(%rejection, "unit of work refused by the store: a defect, please report it; stopping at once");
    std::process::abort()
}

/// Puts the time the decision took on its receipt, if it made one; the core has no clock.
fn note_duration(decided: &mut Decided, took: Duration) {
    let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    for record in &mut decided.unit.records {
        if let Record::Receipt(receipt) = record {
            metrics::histogram!("dce_decision_seconds").record(took.as_secs_f64());
            receipt.decided_in_ns = Some(took_ns);
        }
    }
}

/// What whoever asked for a change is told of its becoming durable.
fn answer_of(result: CommitResult) -> Result<(), CommandError> {
    match result {
        CommitResult::Durable => Ok(()),
        CommitResult::Rejected(rejection) => Err(CommandError::Conflict(rejection.to_string())),
        CommitResult::Abandoned => Err(CommandError::Stopping),
    }
}
