//! The one writer: a thread that commits waiting units together, so that many share one sync of the disk.
//!
//! Order is the promise: units are committed, and their callbacks told, in the order they were submitted. While the
//! database refuses, the writer keeps the batch in hand and tries again; nothing of it is told to be durable before it is.
//! How a batch is committed is the database's business: [`Commit`].

use super::read::api_keys::ApiKey;
use super::{CommitResult, Effect, LetterId, OnDurable, Rejection, StoreError, StoreOptions, UnitOfWork};
use crate::audit::Anchor;
use exchange::audit::{Actor, AuditEntry};
use exchange::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The first pause after a failed commit; it doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(20);
/// The longest pause between two tries.
const RETRY_MAX: Duration = Duration::from_secs(2);
/// A commit without an answer for so long counts as failing, though it may succeed yet: what waits behind it waits as long.
const STALLED_AFTER: Duration = Duration::from_secs(2);
/// How long what the exchange logs by itself may wait for the disk: a stop must end, also on a day when the disk is full.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether commits succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreHealth {
    /// They do.
    Healthy,
    /// They do not. The writer keeps trying, and everything submitted waits.
    Failing {
        /// When the first one failed.
        since: Timestamp,
        /// How many tries failed since.
        tries: u32,
        /// Why the latest one failed.
        error: String,
    },
}

/// Why a unit was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// As many units wait as may. The unit is handed back.
    #[error("the store's queue is full; shed load, or raise `queue_max`")]
    QueueFull(Box<(UnitOfWork, OnDurable)>),
    /// The store is shut down. The unit is handed back.
    #[error("the store is stopped; start the exchange again")]
    Stopped(Box<(UnitOfWork, OnDurable)>),
}

/// Where units of work are submitted. Clones share the queue.
#[derive(Clone)]
pub struct Writer {
    queue: SyncSender<Job>,
    shared: Arc<Shared>,
}

/// What the writer's thread is asked to do.
enum Job {
    Write(Work, OnDurable),
    Stop,
}

/// What can be written.
pub(super) enum Work {
    Unit(UnitOfWork),
    Alive(Timestamp),
    NewApiKey { key: Box<ApiKey>, secret_hash: [u8; 32], actor: Actor },
    RevokeApiKey { key: Box<ApiKey>, at: Timestamp, actor: Actor },
    AuditAnchor(Box<Anchor>),
    Cursor { name: String, seq: i64 },
    Consumed(Box<Effect>),
    Replay { letters: Vec<LetterId>, at: Timestamp, actor: Actor },
}

struct Shared {
    control: Mutex<Control>,
    changed: Condvar,
    health: Mutex<StoreHealth>,
    units: AtomicU64,
    syncs: AtomicU64,
    is_replaced: AtomicBool,
    started: Instant,
    /// When the commit under way began, in milliseconds after `started`; 0 while there is none.
    committing_since_ms: AtomicU64,
}

#[derive(Clone, Copy)]
struct Control {
    stopping: bool,
    max_pages: Option<u32>,
}

impl Shared {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }

    /// How long the commit under way has taken, where that is too long.
    fn stalled_for(&self) -> Option<Duration> {
        let since_ms = self.committing_since_ms.load(Ordering::Relaxed);
        let taken = Duration::from_millis(self.now_ms().saturating_sub(since_ms));
        (since_ms > 0 && taken >= STALLED_AFTER).then_some(taken)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writer")
    }
}

impl Writer {
    /// Submits a unit and returns at once. `on_durable` is told exactly once, unless the unit is handed back.
    pub fn submit(&self, unit: UnitOfWork, on_durable: OnDurable) -> Result<(), SubmitError> {
        self.queue.try_send(Job::Write(Work::Unit(unit), on_durable)).map_err(|error| match error {
            TrySendError::Full(job) => SubmitError::QueueFull(job.taken_back()),
            TrySendError::Disconnected(job) => SubmitError::Stopped(job.taken_back()),
        })
    }

    /// Submits a unit, waiting for room in the queue: without end while the store fails. Not for a callback.
    pub fn submit_blocking(&self, unit: UnitOfWork, on_durable: OnDurable) -> Result<(), SubmitError> {
        let sent = self.queue.send(Job::Write(Work::Unit(unit), on_durable));
        sent.map_err(|error| SubmitError::Stopped(error.0.taken_back()))
    }

    /// Submits a unit and waits until it is durable. For tools and tests; not for a callback.
    pub fn commit(&self, unit: UnitOfWork) -> Result<(), StoreError> {
        self.write(Work::Unit(unit))
    }

    /// Adds an API key on behalf of `actor`, with its entry in the audit log, and waits until both are durable. A session is refused
    /// where its key is revoked or has as many as it may; with one, some that are over are deleted.
    pub fn insert_api_key(&self, key: ApiKey, secret_hash: [u8; 32], actor: Actor) -> Result<(), StoreError> {
        self.write(Work::NewApiKey { key: Box::new(key), secret_hash, actor })
    }

    /// Revokes an API key with its sessions, or a session, on behalf of `actor`, with its entry in the audit log, and waits until all of
    /// it is durable. One revoked before keeps its first moment; whoever asks for that looks first, so that nothing is logged.
    pub fn revoke_api_key(&self, key: ApiKey, at: Timestamp, actor: Actor) -> Result<(), StoreError> {
        self.write(Work::RevokeApiKey { key: Box::new(key), at, actor })
    }

    /// Adds an entry to the audit log of something that no command did, and waits until it is durable, but not for ever.
    pub fn write_audit_entry(&self, entry: AuditEntry) -> Result<(), StoreError> {
        self.write_soon(Work::Unit(UnitOfWork::of_audit(entry)))
    }

    /// Adds an anchor of the audit log, and waits until it is durable, but not for ever.
    pub fn write_audit_anchor(&self, anchor: Anchor) -> Result<(), StoreError> {
        self.write_soon(Work::AuditAnchor(Box::new(anchor)))
    }

    /// Keeps how far somebody who reads the outbox came, and waits until that is durable.
    pub fn set_cursor(&self, name: &str, seq: i64) -> Result<(), StoreError> {
        self.write(Work::Cursor { name: name.to_owned(), seq })
    }

    /// Writes what events came to for a group of consumers, with how far it came, and waits until that is durable.
    pub fn write_effect(&self, effect: Effect) -> Result<(), StoreError> {
        self.write(Work::Consumed(Box::new(effect)))
    }

    /// Has dead letters given again on behalf of `actor`, with an entry in the audit log, and waits until that is durable.
    pub fn replay_dead_letters(&self, letters: Vec<LetterId>, actor: Actor) -> Result<(), StoreError> {
        self.write(Work::Replay { letters, at: wall_clock(), actor })
    }

    /// Notes that the exchange runs at this moment; commits do so by themselves. Skipped when the queue is full:
    /// then there are commits.
    pub fn heartbeat(&self, now: Timestamp) {
        let unheard = OnDurable::new(|_| {});
        if self.queue.try_send(Job::Write(Work::Alive(now), unheard)).is_err() {
            tracing::debug!("heartbeat skipped: the store's queue is full or the store is stopped");
        }
    }

    /// Whether commits succeed, and within a reasonable time.
    pub fn health(&self) -> StoreHealth {
        let health = lock(&self.shared.health).clone();
        match (&health, self.shared.stalled_for()) {
            (StoreHealth::Healthy, Some(stalled_for)) => StoreHealth::Failing {
                since: Timestamp(wall_clock().0 - i64::try_from(stalled_for.as_micros()).unwrap_or(0)),
                tries: 1,
                error: format!("a commit has no answer for {} s", stalled_for.as_secs()),
            },
            _ => health,
        }
    }

    /// Whether it may never write again: another one took the database over, or the database lost what was acknowledged.
    pub fn is_replaced(&self) -> bool {
        self.shared.is_replaced.load(Ordering::Relaxed)
    }

    /// Units made durable and syncs of the disk so far.
    pub fn units_and_syncs(&self) -> (u64, u64) {
        (self.shared.units.load(Ordering::Relaxed), self.shared.syncs.load(Ordering::Relaxed))
    }

    /// Changes the quota on the database file, in pages of 4 KiB; absent is the disk. A failing writer tries again
    /// at once.
    pub fn set_max_pages(&self, max_pages: Option<u32>) {
        lock(&self.shared.control).max_pages = max_pages;
        self.shared.changed.notify_all();
    }

    fn write(&self, work: Work) -> Result<(), StoreError> {
        let (on_durable, outcome) = awaited();
        self.queue.send(Job::Write(work, on_durable)).map_err(|_| StoreError::Stopped)?;
        outcome_of(outcome.recv().unwrap_or(CommitResult::Abandoned))
    }

    fn write_soon(&self, work: Work) -> Result<(), StoreError> {
        let (on_durable, outcome) = awaited();
        let not_yet = StoreError::NotYet { waited_s: PATIENCE.as_secs() };
        match self.queue.try_send(Job::Write(work, on_durable)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(not_yet),
            Err(TrySendError::Disconnected(_)) => return Err(StoreError::Stopped),
        }
        match outcome.recv_timeout(PATIENCE) {
            Err(RecvTimeoutError::Timeout) => Err(not_yet),
            outcome => outcome_of(outcome.unwrap_or(CommitResult::Abandoned)),
        }
    }
}

/// Told what becomes of a unit, and where that is heard.
fn awaited() -> (OnDurable, Receiver<CommitResult>) {
    let (told, outcome) = sync_channel(1);
    let on_durable = OnDurable::new(move |result| {
        // Nobody waits any more if the waiting thread died, or lost its patience.
        let _ = told.send(result);
    });
    (on_durable, outcome)
}

fn outcome_of(result: CommitResult) -> Result<(), StoreError> {
    match result {
        CommitResult::Durable => Ok(()),
        CommitResult::Rejected(rejection) => Err(rejection.into()),
        CommitResult::Abandoned => Err(StoreError::Stopped),
    }
}

impl Job {
    fn taken_back(self) -> Box<(UnitOfWork, OnDurable)> {
        match self {
            Self::Write(Work::Unit(unit), on_durable) => Box::new((unit, on_durable)),
            Self::Write(..) | Self::Stop => Box::new((UnitOfWork::default(), OnDurable::new(|_| {}))),
        }
    }
}

/// How one database commits. There is one implementation for each database.
pub(super) trait Commit: Send + 'static {
    /// One try at one transaction with the whole batch, which is not empty. The same batch comes again until it
    /// succeeds: what an earlier try may have written, though nobody heard, must not be written again.
    fn commit(&mut self, batch: &Batch) -> Result<Rejected, CommitFailure>;

    /// Sets the quota on the database file, in pages of 4 KiB, where the database is a file of ours.
    fn set_max_pages(&mut self, _max_pages: Option<u32>) -> Result<(), StoreError> {
        Ok(())
    }

    /// Nothing will be written any more.
    fn close(&mut self);
}

/// What is committed together, in order, and who is told.
pub(super) type Batch = Vec<(Work, OnDurable)>;

/// Units that were left out, by their place in the batch, in order.
pub(super) type Rejected = Vec<(usize, Rejection)>;

/// Why nothing of a batch was written, or nobody knows.
pub(super) enum CommitFailure {
    /// It may go better next time.
    ForNow(StoreError),
    /// This writer may never write again.
    ForGood(StoreError),
}

/// The thread, from the side of the store that owns it.
pub(super) struct WriterThread {
    handle: Writer,
    thread: Option<JoinHandle<()>>,
}

impl WriterThread {
    pub(super) fn start(mut database: impl Commit, options: &StoreOptions) -> Result<Self, StoreError> {
        let (queue, jobs) = sync_channel(options.queue_max.max(1));
        let shared = Arc::new(Shared {
            control: Mutex::new(Control { stopping: false, max_pages: options.max_pages }),
            changed: Condvar::new(),
            health: Mutex::new(StoreHealth::Healthy),
            units: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
            is_replaced: AtomicBool::new(false),
            started: Instant::now(),
            committing_since_ms: AtomicU64::new(0),
        });
        let (group_max, group_wait) =
            (options.group_max.max(1), Duration::from_micros(options.group_wait_us));
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || {
                Loop { database: &mut database, shared: &for_thread }.run(&jobs, group_max, group_wait);
                database.close();
            })
            .map_err(StoreError::NoThread)?;
        Ok(Self { handle: Writer { queue, shared }, thread: Some(thread) })
    }

    pub(super) fn handle(&self) -> Writer {
        self.handle.clone()
    }
}

impl Drop for WriterThread {
    /// Finishes what was submitted; a batch that fails now is abandoned instead of tried for ever.
    fn drop(&mut self) {
        lock(&self.handle.shared.control).stopping = true;
        self.handle.shared.changed.notify_all();
        // An error means that the thread is gone already.
        let _ = self.handle.queue.send(Job::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer panicked");
        }
    }
}

/// The thread, from within.
struct Loop<'a, D> {
    database: &'a mut D,
    shared: &'a Shared,
}

impl<D: Commit> Loop<'_, D> {
    fn run(&mut self, jobs: &Receiver<Job>, group_max: usize, group_wait: Duration) {
        let mut batch = Batch::with_capacity(group_max);
        loop {
            let stop = gather(jobs, &mut batch, group_max, group_wait);
            let may_go_on = self.commit_until_durable(&mut batch);
            if stop || !may_go_on {
                return;
            }
        }
    }

    /// Commits the batch and tells its callbacks; tries again and again while the database refuses. Says whether this
    /// writer may write again.
    fn commit_until_durable(&mut self, batch: &mut Batch) -> bool {
        let mut pause = RETRY_MIN;
        while !batch.is_empty() {
            match self.commit(batch) {
                Ok(rejections) => {
                    *lock(&self.shared.health) = StoreHealth::Healthy;
                    tell(batch, rejections);
                }
                Err(CommitFailure::ForGood(error)) => {
                    tracing::error!(%error, "commits fail for good; nothing is written any more");
                    self.note_failure(&error);
                    self.shared.is_replaced.store(true, Ordering::Relaxed);
                    batch.clear();
                    return false;
                }
                Err(CommitFailure::ForNow(error)) => {
                    self.note_failure(&error);
                    if self.wait_to_retry(pause) {
                        // Dropped, they tell their callers that they were abandoned.
                        batch.clear();
                    }
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
        true
    }

    fn commit(&mut self, batch: &Batch) -> Result<Rejected, CommitFailure> {
        let max_pages = lock(&self.shared.control).max_pages;
        self.database.set_max_pages(max_pages).map_err(CommitFailure::ForNow)?;
        let has_rows = batch.iter().any(|(work, _)| !matches!(work, Work::Unit(unit) if unit.is_empty()));
        if !has_rows {
            return Ok(Vec::new());
        }
        self.shared.committing_since_ms.store(self.shared.now_ms(), Ordering::Relaxed);
        let committed = self.database.commit(batch);
        self.shared.committing_since_ms.store(0, Ordering::Relaxed);
        let rejections = committed?;
        self.shared.units.fetch_add((batch.len() - rejections.len()) as u64, Ordering::Relaxed);
        self.shared.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(rejections)
    }

    fn note_failure(&self, error: &StoreError) {
        let error = error.to_string();
        let mut health = lock(&self.shared.health);
        *health = match &*health {
            StoreHealth::Healthy => {
                tracing::error!(%error, "commits fail; the store keeps trying");
                StoreHealth::Failing { since: wall_clock(), tries: 1, error }
            }
            StoreHealth::Failing { since, tries, .. } => {
                StoreHealth::Failing { since: *since, tries: tries.saturating_add(1), error }
            }
        };
    }

    /// Waits, or until something changed. Says whether the store is stopping.
    fn wait_to_retry(&self, pause: Duration) -> bool {
        let control = lock(&self.shared.control);
        if control.stopping {
            return true;
        }
        let (control, _) =
            self.shared.changed.wait_timeout(control, pause).unwrap_or_else(PoisonError::into_inner);
        control.stopping
    }
}

/// Waits for one job, then takes those that wait behind it. Says whether to stop after them.
fn gather(jobs: &Receiver<Job>, batch: &mut Batch, group_max: usize, group_wait: Duration) -> bool {
    let Ok(Job::Write(work, on_durable)) = jobs.recv() else { return drain(jobs, batch) };
    batch.push((work, on_durable));
    let deadline = Instant::now() + group_wait;
    while batch.len() < group_max {
        let next = if group_wait.is_zero() {
            jobs.try_recv().map_err(|_| RecvTimeoutError::Timeout)
        } else {
            jobs.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        };
        match next {
            Ok(Job::Write(work, on_durable)) => batch.push((work, on_durable)),
            Ok(Job::Stop) => return drain(jobs, batch),
            Err(_) => return false,
        }
    }
    false
}

/// Takes what slipped in behind the order to stop.
fn drain(jobs: &Receiver<Job>, batch: &mut Batch) -> bool {
    while let Ok(job) = jobs.try_recv() {
        if let Job::Write(work, on_durable) = job {
            batch.push((work, on_durable));
        }
    }
    true
}

/// Tells every unit of the batch, in order, what became of it.
fn tell(batch: &mut Batch, rejections: Rejected) {
    let mut rejections = rejections.into_iter().peekable();
    for (place, (_, on_durable)) in batch.drain(..).enumerate() {
        let rejection = rejections.next_if(|(rejected, _)| *rejected == place);
        on_durable.tell(match rejection {
            Some((_, rejection)) => {
                tracing::error!(%rejection, "unit of work rejected");
                CommitResult::Rejected(rejection)
            }
            None => CommitResult::Durable,
        });
    }
}

/// The wall clock: for what is told to people, and for anchors. Decisions have the engine's.
pub(crate) fn wall_clock() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::default() + since_epoch
}
