//! The relay: a thread that copies the outbox to Kafka, in order, and remembers how far it came.
//!
//! It goes on after the last event it noted as sent: what was sent and not noted, because the process died, is sent again with
//! the same identity. While Kafka is away the outbox grows and the relay tries again; nothing else waits for it.

use super::KafkaConfig;
use super::producer::BatchProducer;
use crate::bus::BusError;
use crate::store::{Reader, StoreError, Writer};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Under this name the relay's place in the outbox is kept.
pub const CURSOR: &str = "kafka relay";
/// Events sent at once.
const BATCH: u32 = 5_000;
/// How often the outbox is looked at while it has nothing new.
const LOOK: Duration = Duration::from_millis(20);
/// The first pause after a failure; it doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(100);
/// The longest pause between two tries.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// How the relay is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RelayStatus {
    /// The last event of the outbox that Kafka has.
    pub sent: i64,
    /// Events sent since the start.
    pub count: u64,
    /// Events of the outbox that Kafka does not have yet, as of the latest try.
    pub waiting: u64,
    /// Why the latest try failed; absent while it goes well.
    pub failing: Option<String>,
}

/// The running thread. Dropping it gives up the batch under way: the next start sends it again.
pub struct Relay {
    status: Arc<Mutex<RelayStatus>>,
    stopping: Arc<AtomicBool>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Starts it, and asks nothing of the database or the brokers: when they are away the thread waits for them. `source` is the `source` of the events.
    pub fn start(
        config: &KafkaConfig,
        source: &str,
        reader: Reader,
        writer: Writer,
    ) -> Result<Self, StoreError> {
        let status = Arc::new(Mutex::new(RelayStatus::default()));
        let stopping = Arc::new(AtomicBool::new(false));
        let mut copier = Copier {
            config: config.clone(),
            source: source.to_owned(),
            reader,
            writer,
            sent: None,
            producer: None,
            status: Arc::clone(&status),
            stopping: Arc::clone(&stopping),
        };
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name("kafka-relay".to_owned())
            .spawn(move || copier.run(&stopped))
            .map_err(StoreError::NoThread)?;
        Ok(Self { status, stopping, stop: Some(stop), thread: Some(thread) })
    }

    /// How it is doing.
    pub fn status(&self) -> RelayStatus {
        lock(&self.status).clone()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the Kafka relay panicked");
        }
    }
}

fn lock(status: &Mutex<RelayStatus>) -> MutexGuard<'_, RelayStatus> {
    status.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Copier {
    config: KafkaConfig,
    source: String,
    reader: Reader,
    writer: Writer,
    /// The last event that was sent, once the store has said so.
    sent: Option<i64>,
    /// Made anew after each failure, so that nothing of the failed batch is left in it.
    producer: Option<BatchProducer>,
    status: Arc<Mutex<RelayStatus>>,
    stopping: Arc<AtomicBool>,
}

impl Copier {
    fn run(&mut self, stopped: &Receiver<()>) {
        let mut retry = RETRY_MIN;
        loop {
            let pause = match self.copy() {
                Ok(copied) => {
                    retry = RETRY_MIN;
                    if copied == 0 { LOOK } else { Duration::ZERO }
                }
                Err(error) => {
                    self.note_failure(&error);
                    let pause = retry;
                    retry = (retry * 2).min(RETRY_MAX);
                    pause
                }
            };
            if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    /// One batch; how many events it had.
    fn copy(&mut self) -> Result<usize, BusError> {
        let sent = self.sent()?;
        if self.producer.is_none() {
            self.config.create_topics()?;
        }
        let producer = match self.producer.take() {
            Some(producer) => producer,
            None => BatchProducer::new(&self.config, Arc::clone(&self.stopping))?,
        };
        let producer = self.producer.insert(producer);
        let events = self.reader.outbox_after(sent, BATCH)?;
        if let Some(last) = events.last() {
            producer.send(&events, &self.source)?;
            self.writer.set_cursor(CURSOR, last.seq)?;
            self.sent = Some(last.seq);
        }
        // A batch that is not full was all there is.
        let waiting = if events.len() < BATCH as usize { 0 } else { self.waiting()? };
        let mut status = lock(&self.status);
        status.sent = self.sent.unwrap_or(sent);
        status.count += events.len() as u64;
        status.waiting = waiting;
        if status.failing.take().is_some() {
            tracing::info!(sent = status.sent, "events flow to Kafka again");
        }
        Ok(events.len())
    }

    /// The last event that was sent, in this life or an earlier one.
    fn sent(&mut self) -> Result<i64, StoreError> {
        let sent = match self.sent {
            Some(sent) => sent,
            None => self.reader.cursor(CURSOR)?,
        };
        self.sent = Some(sent);
        Ok(sent)
    }

    /// Events behind the last one that was sent.
    fn waiting(&mut self) -> Result<u64, StoreError> {
        let waiting = self.reader.outbox_end()?.saturating_sub(self.sent()?);
        Ok(u64::try_from(waiting).unwrap_or(0))
    }

    fn note_failure(&mut self, error: &BusError) {
        self.producer = None;
        // Where the store fails as well, the number stays what it was.
        let waiting = self.waiting();
        let mut status = lock(&self.status);
        status.sent = self.sent.unwrap_or(status.sent);
        status.waiting = waiting.unwrap_or(status.waiting);
        if status.failing.is_none() {
            tracing::warn!(%error, sent = status.sent, "events wait in the outbox; the relay keeps trying");
        }
        status.failing = Some(error.to_string());
    }
}
