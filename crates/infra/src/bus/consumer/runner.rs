//! The thread that feeds one group's consumer: events in order, effect before commit, what is refused for good aside.

use super::seen::Seen;
use super::{Consumer, Refusal};
use crate::bus::{Bus, BusError, Subscription, place_of};
use crate::store::{
    DeadLetter, Effect, LetterCounts, LetterState, OutboxEvent, Reader, StoreError, Writer, wall_clock,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Events of which it is remembered that they were taken: more than the relay to Kafka may send again at once.
const SEEN_MAX: usize = 20_000;
/// How long it waits for Kafka, which gives what it has bit by bit.
const PATIENCE: Duration = Duration::from_millis(100);
/// How often it looks for dead letters that are to be given again.
const LETTERS_LOOK: Duration = Duration::from_secs(1);
/// Dead letters given again at once.
const LETTERS_MAX: u32 = 100;

/// Where a group that is new begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// With the first event there is.
    AtTheBeginning,
    /// With what happens from now on.
    AtTheEnd,
}

/// Bounds of one consumer.
#[derive(Debug, Clone)]
pub struct ConsumerOptions {
    /// Events given to it at once.
    pub batch_max: u32,
    /// How long it rests when it had all there was.
    pub pause: Duration,
    /// The first pause after a refusal; it doubles up to `retry_max`.
    pub retry_min: Duration,
    /// The longest pause between two tries.
    pub retry_max: Duration,
    /// An event that it refuses for good is put aside after so many tries.
    pub refusals_max: u32,
    /// One that it refuses for now after so many; absent, never.
    pub tries_max: Option<u32>,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            batch_max: 100,
            pause: Duration::from_millis(100),
            retry_min: Duration::from_millis(200),
            retry_max: Duration::from_mins(1),
            refusals_max: 3,
            tries_max: Some(20),
        }
    }
}

/// How a consumer is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsumerStatus {
    /// Events taken since the start.
    pub taken: u64,
    /// Events that are behind the last one taken, as of the latest look.
    pub waiting: u64,
    /// Dead letters.
    pub letters: LetterCounts,
    /// Since when nothing goes forward, and why; absent while it does.
    pub stuck: Option<(Instant, String)>,
}

/// The running thread. Dropping it stops it: events under way come again after the next start.
pub struct Runner {
    group: String,
    status: Arc<Mutex<ConsumerStatus>>,
    stopping: Arc<AtomicBool>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Runner {
    /// Starts feeding `consumer`. When the database or the brokers are away the thread waits for them.
    pub fn start(
        group: &str,
        bus: Bus,
        reader: Reader,
        writer: Writer,
        consumer: impl Consumer,
        options: ConsumerOptions,
        begin: Begin,
    ) -> Result<Self, StoreError> {
        let status = Arc::new(Mutex::new(ConsumerStatus::default()));
        let stopping = Arc::new(AtomicBool::new(false));
        let (stop, stopped) = channel();
        // What happens from now on, and not from when the thread comes to it.
        let end = reader.outbox_end().ok();
        let mut feeder = Feeder {
            group: group.to_owned(),
            bus,
            reader,
            writer,
            consumer,
            options,
            begin,
            end,
            subscription: None,
            floor: 0,
            last: 0,
            seen: Seen::new(SEEN_MAX),
            letters_looked_at: None,
            status: Arc::clone(&status),
            stopping: Arc::clone(&stopping),
            stopped,
        };
        let thread = std::thread::Builder::new()
            .name("consumer".to_owned())
            .spawn(move || feeder.run())
            .map_err(StoreError::NoThread)?;
        Ok(Self { group: group.to_owned(), status, stopping, stop: Some(stop), thread: Some(thread) })
    }

    /// The group it feeds.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// How it is doing.
    pub fn status(&self) -> ConsumerStatus {
        lock(&self.status).clone()
    }

    /// Asks it to stop, and does not wait: a write may be under way that waits for the disk until the store is closed.
    pub fn begin_stop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        drop(self.stop.take());
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.begin_stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(group = %self.group, "the thread of a consumer panicked");
        }
    }
}

fn lock(status: &Mutex<ConsumerStatus>) -> MutexGuard<'_, ConsumerStatus> {
    status.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Feeder<C> {
    group: String,
    bus: Bus,
    reader: Reader,
    writer: Writer,
    consumer: C,
    options: ConsumerOptions,
    begin: Begin,
    /// The last event there was at the start, where the store could say.
    end: Option<i64>,
    /// Made anew after each failure: it begins where the group last committed.
    subscription: Option<Box<dyn Subscription>>,
    /// Events up to this one are none of the group's business.
    floor: i64,
    /// The last event that was given out.
    last: i64,
    seen: Seen,
    letters_looked_at: Option<Instant>,
    status: Arc<Mutex<ConsumerStatus>>,
    stopping: Arc<AtomicBool>,
    stopped: Receiver<()>,
}

impl<C: Consumer> Feeder<C> {
    fn run(&mut self) {
        let mut retry = self.options.retry_min;
        loop {
            let pause = match self.round() {
                Ok(is_all) => {
                    retry = self.options.retry_min;
                    if is_all { self.options.pause } else { Duration::ZERO }
                }
                // The store may be closed by then.
                Err(_) if self.stopping.load(Ordering::Relaxed) => return,
                Err(error) => {
                    self.subscription = None;
                    self.note_trouble(&error.to_string());
                    let pause = retry;
                    retry = (retry * 2).min(self.options.retry_max);
                    pause
                }
            };
            if self.wait(pause) {
                return;
            }
        }
    }

    /// Waits; whether it is to stop.
    fn wait(&self, pause: Duration) -> bool {
        self.stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout)
    }

    /// One batch, and what else there is to do. Whether that was all there is.
    fn round(&mut self) -> Result<bool, BusError> {
        self.give_letters_again()?;
        if self.subscription.is_none() {
            self.floor = self.find_floor()?;
            self.subscription = Some(self.bus.subscribe(&self.group)?);
        }
        let is_kafka = matches!(self.bus, Bus::Kafka(_));
        let patience = if is_kafka { PATIENCE } else { Duration::ZERO };
        let subscription = self.subscription.as_mut().expect("made above");
        let events = subscription.next(self.options.batch_max, patience)?;
        let is_all = events.len() < self.options.batch_max as usize;
        if let Some(last) = events.iter().map(|event| event.seq).max() {
            self.last = self.last.max(last);
            if !self.digest(events)? {
                return Ok(true);
            }
        }
        // Of the outbox a batch that is not full was all there is.
        let waiting = if is_all && !is_kafka { 0 } else { self.waiting()? };
        let mut status = lock(&self.status);
        status.waiting = waiting;
        if status.stuck.take().is_some() {
            tracing::info!(group = %self.group, "the consumer goes on");
        }
        Ok(is_all)
    }

    /// Up to where events are none of the group's business. A group that begins at the end notes where that is.
    fn find_floor(&self) -> Result<i64, BusError> {
        if self.begin == Begin::AtTheBeginning {
            return Ok(0);
        }
        let place = match self.bus {
            Bus::Local { .. } => place_of(&self.group),
            Bus::Kafka(_) => format!("floor {}", self.group),
        };
        if let Some(floor) = self.reader.place(&place)? {
            return Ok(floor);
        }
        // Where it was on the local bus, if it was there.
        let floor = match self.reader.place(&place_of(&self.group))?.or(self.end) {
            Some(floor) => floor,
            None => self.reader.outbox_end()?,
        };
        self.writer.set_cursor(&place, floor)?;
        Ok(floor)
    }

    /// Has a batch taken, and commits it. Not when it is to stop meanwhile: then the batch comes again.
    fn digest(&mut self, events: Vec<OutboxEvent>) -> Result<bool, BusError> {
        let floor = self.floor;
        let is_new = |event: &OutboxEvent| event.seq > floor && !self.seen.has(event.id);
        let events: Vec<OutboxEvent> = events.into_iter().filter(is_new).collect();
        let Some(mut effect) = self.feed(&events) else { return Ok(false) };
        let subscription = self.subscription.as_mut().expect("it gave the events");
        effect.place = subscription.take_place();
        if !effect.is_empty() {
            self.writer.write_effect(effect)?;
        }
        self.seen.add(events.iter().map(|event| event.id));
        lock(&self.status).taken += events.len() as u64;
        subscription.commit()?;
        Ok(true)
    }

    /// Has events taken or puts them aside; what they came to. Nothing when it is to stop meanwhile.
    fn feed(&mut self, events: &[OutboxEvent]) -> Option<Effect> {
        let mut effect = Effect::default();
        let mut rest = events;
        let (mut tries, mut pause) = (0, self.options.retry_min);
        while let [next, behind @ ..] = rest {
            let stopping = Arc::clone(&self.stopping);
            let taken = self.consumer.take(rest, &|| stopping.load(Ordering::Relaxed));
            effect.append(taken.effect);
            if taken.count > 0 {
                rest = &rest[taken.count..];
                (tries, pause) = (0, self.options.retry_min);
            }
            // After some were taken it is another event that was refused, which has tries of its own.
            let Some(refusal) = taken.refusal.filter(|_| taken.count == 0) else { continue };
            tries += 1;
            self.note_trouble(refusal.finding());
            if self.is_enough(&refusal, tries) {
                effect.letters.push(self.letter(next.clone(), 1, &refusal));
                rest = behind;
                (tries, pause) = (0, self.options.retry_min);
            } else if self.wait(pause) {
                return None;
            }
            pause = (pause * 2).min(self.options.retry_max);
        }
        Some(effect)
    }

    fn is_enough(&self, refusal: &Refusal, tries: u32) -> bool {
        match refusal {
            Refusal::ForGood(_) => tries >= self.options.refusals_max,
            Refusal::ForNow(_) => self.options.tries_max.is_some_and(|most| tries >= most),
        }
    }

    fn letter(&self, event: OutboxEvent, times: i64, refusal: &Refusal) -> DeadLetter {
        let finding = refusal.finding().to_owned();
        tracing::error!(group = %self.group, event = %event.id, finding, "event put aside as a dead letter");
        let (consumer, state) = (self.group.clone(), LetterState::Waiting);
        DeadLetter { consumer, event, times, state, put_at: wall_clock(), finding }
    }

    /// Gives dead letters again that somebody asked for.
    fn give_letters_again(&mut self) -> Result<(), BusError> {
        if self.letters_looked_at.is_some_and(|at| at.elapsed() < LETTERS_LOOK) {
            return Ok(());
        }
        self.letters_looked_at = Some(Instant::now());
        let mut counts = self.reader.letter_counts(&self.group)?;
        if counts.asked_for > 0 {
            for letter in self.reader.letters_asked_for(&self.group, LETTERS_MAX)? {
                self.give_again(letter)?;
                if self.stopping.load(Ordering::Relaxed) {
                    return Ok(());
                }
            }
            counts = self.reader.letter_counts(&self.group)?;
        }
        lock(&self.status).letters = counts;
        Ok(())
    }

    /// Taken, it is done with, in the same unit of work as its effect. Refused, it waits to be asked for again.
    fn give_again(&mut self, letter: DeadLetter) -> Result<(), BusError> {
        let stopping = Arc::clone(&self.stopping);
        let event = std::slice::from_ref(&letter.event);
        let taken = self.consumer.take(event, &|| stopping.load(Ordering::Relaxed));
        if self.stopping.load(Ordering::Relaxed) && taken.count == 0 {
            return Ok(());
        }
        let mut effect = taken.effect;
        effect.letters.push(match taken.refusal.filter(|_| taken.count == 0) {
            None => {
                tracing::info!(group = %self.group, event = %letter.event.id, "dead letter taken");
                DeadLetter { state: LetterState::Taken, put_at: wall_clock(), ..letter }
            }
            Some(refusal) => self.letter(letter.event, letter.times + 1, &refusal),
        });
        Ok(self.writer.write_effect(effect)?)
    }

    /// Events behind the last one that was given out.
    fn waiting(&self) -> Result<u64, StoreError> {
        let waiting = self.reader.outbox_end()?.saturating_sub(self.last);
        Ok(u64::try_from(waiting).unwrap_or(0))
    }

    fn note_trouble(&self, finding: &str) {
        // Where the store fails as well, the number stays what it was.
        let waiting = self.waiting();
        let mut status = lock(&self.status);
        status.waiting = waiting.unwrap_or(status.waiting);
        if status.stuck.is_none() {
            tracing::warn!(group = %self.group, finding, "the consumer is stuck; it is tried again");
        }
        let since = status.stuck.as_ref().map_or_else(Instant::now, |(since, _)| *since);
        status.stuck = Some((since, finding.to_owned()));
    }
}
