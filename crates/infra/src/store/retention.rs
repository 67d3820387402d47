//! Retention: how long what grows with the calls is kept, and the thread that sees to it: once at the start, then every day.
//!
//! On PostgreSQL whole months are detached, and partitions are made for the months to come. On SQLite old events are deleted, a few at a
//! time; records stay for as long as the file does. Nowhere does anything go that somebody still needs: an open call, a revenue that is
//! awaited, a dispute that is not settled, an event that a reader of the outbox has not had.

use super::postgresql::retention as postgresql;
use super::sqlite::retention as sqlite;
use super::{Place, StoreError, wall_clock};
use exchange::time::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, ToSpan};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two rounds.
const EVERY: Duration = Duration::from_hours(24);
/// After a round that failed, or that left something for another time of the day.
const AGAIN: Duration = Duration::from_mins(10);
/// How long a stop waits for what is under way. Past it the thread ends with the process, and the database undoes what was half done.
const STOP_MAX: Duration = Duration::from_secs(2);

/// How long what is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionConfig {
    /// Calls, receipts, transfers and the audit log, in whole months.
    pub records_months: u32,
    /// The journal, from which past calls are replayed, in days.
    pub journal_days: u32,
    /// Events in the outbox, once everybody has read them, in days.
    pub outbox_days: u32,
}

impl Default for RetentionConfig {
    /// Five years, as long as records of calls must be kept; events are copies of what the records say.
    fn default() -> Self {
        Self { records_months: 60, journal_days: 1_826, outbox_days: 90 }
    }
}

/// Up to when things may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cutoffs {
    pub(super) records: Date,
    pub(super) journal: Date,
    pub(super) outbox: Date,
}

impl Cutoffs {
    fn of(config: &RetentionConfig, now: Timestamp) -> Self {
        let today = now.to_jiff().to_zoned(TimeZone::UTC).date();
        let before = |span: Span| today.saturating_sub(span);
        Self {
            records: before(i64::from(config.records_months).months()),
            journal: before(i64::from(config.journal_days).days()),
            outbox: before(i64::from(config.outbox_days).days()),
        }
    }
}

/// Who reads the outbox, and how far everybody has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Readers {
    pub(super) read_up_to: i64,
    /// Who is furthest behind; nobody where nobody reads.
    pub(super) last: Option<String>,
}

impl Readers {
    /// By the places that readers have noted; where a group on Kafka began (`floor ...`) is none. Those of whom one is expected have read
    /// nothing while there is none.
    pub(super) fn of(cursors: Vec<(String, i64)>, expected: &[String]) -> Self {
        let is_missing = |name: &&String| cursors.iter().all(|(noted, _)| noted != *name);
        let missing: Vec<_> = expected.iter().filter(is_missing).map(|name| (name.clone(), 0)).collect();
        let places = cursors.into_iter().filter(|(name, _)| !name.starts_with("floor "));
        match places.chain(missing).min_by_key(|(_, seq)| *seq) {
            Some((name, seq)) => Self { read_up_to: seq, last: Some(name) },
            None => Self { read_up_to: i64::MAX, last: None },
        }
    }
}

/// What was done, in one round or in all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleared {
    /// Partitions made for months to come.
    pub partitions_made: u64,
    /// Months of tables that were detached.
    pub months_detached: u64,
    /// Events deleted one by one; those of detached months are not counted.
    pub events_deleted: u64,
    /// What was due to go, and why it stays; of the latest round.
    pub kept: Vec<String>,
}

/// Does what is due on the store at `place`. `readers` are the names under which those who read the outbox note their places: of these
/// there must be one before any event goes. `stopping` ends it early.
pub fn clear(
    place: &Place,
    config: &RetentionConfig,
    readers: &[String],
    now: Timestamp,
    stopping: &AtomicBool,
) -> Result<Cleared, StoreError> {
    let cutoffs = Cutoffs::of(config, now);
    match place {
        Place::Directory(directory) => sqlite::clear(directory, cutoffs, readers, stopping),
        Place::Postgresql(url) => postgresql::clear(url, cutoffs, readers, stopping),
    }
}

/// How it goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetentionStatus {
    /// Since the start.
    pub cleared: Cleared,
    /// Why the latest round failed.
    pub failing: Option<String>,
}

/// The running thread. Dropping it ends it.
#[derive(Debug)]
pub struct RetentionJob {
    status: Arc<Mutex<RetentionStatus>>,
    stopping: Arc<AtomicBool>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl RetentionJob {
    /// Starts it.
    pub fn start(place: Place, config: RetentionConfig, readers: Vec<String>) -> Result<Self, StoreError> {
        let status = Arc::new(Mutex::new(RetentionStatus::default()));
        let stopping = Arc::new(AtomicBool::new(false));
        let (stop, stopped) = channel();
        let round =
            Round { place, config, readers, status: Arc::clone(&status), stopping: Arc::clone(&stopping) };
        let thread = std::thread::Builder::new()
            .name("retention".to_owned())
            .spawn(move || round.run(&stopped))
            .map_err(StoreError::NoThread)?;
        Ok(Self { status, stopping, stop: Some(stop), thread: Some(thread) })
    }

    /// How it goes.
    pub fn status(&self) -> RetentionStatus {
        lock(&self.status).clone()
    }
}

impl Drop for RetentionJob {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        drop(self.stop.take());
        let Some(thread) = self.thread.take() else { return };
        let until = Instant::now() + STOP_MAX;
        while !thread.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        if thread.is_finished() && thread.join().is_err() {
            tracing::error!("the thread that clears what is old panicked");
        }
    }
}

fn lock(status: &Mutex<RetentionStatus>) -> MutexGuard<'_, RetentionStatus> {
    status.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread, from within.
struct Round {
    place: Place,
    config: RetentionConfig,
    readers: Vec<String>,
    status: Arc<Mutex<RetentionStatus>>,
    stopping: Arc<AtomicBool>,
}

impl Round {
    fn run(&self, stopped: &Receiver<()>) {
        loop {
            let went_well = self.once();
            let pause = if went_well { EVERY } else { AGAIN };
            if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    /// One round; whether it did all that was due.
    fn once(&self) -> bool {
        let cleared = clear(&self.place, &self.config, &self.readers, wall_clock(), &self.stopping);
        let mut status = lock(&self.status);
        match cleared {
            Ok(Cleared { partitions_made, months_detached, events_deleted, kept }) => {
                if partitions_made + months_detached + events_deleted > 0 {
                    tracing::info!(
                        partitions_made,
                        months_detached,
                        events_deleted,
                        "retention: done for today"
                    );
                }
                for what in &kept {
                    tracing::warn!(what, "retention: due to go, but kept");
                }
                let so_far = &mut status.cleared;
                so_far.partitions_made += partitions_made;
                so_far.months_detached += months_detached;
                so_far.events_deleted += events_deleted;
                so_far.kept = kept;
                status.failing = None;
                true
            }
            Err(_) if self.stopping.load(Ordering::Relaxed) => true,
            Err(error) => {
                tracing::warn!(%error, "retention: not done; it is tried again in ten minutes");
                status.failing = Some(error.to_string());
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn five_years_are_kept_and_events_for_three_months() {
        // 2026-07-01T17:00:00Z.
        let cutoffs = Cutoffs::of(&RetentionConfig::default(), Timestamp(1_782_925_200_000_000));
        let expected =
            Cutoffs { records: date(2021, 7, 1), journal: date(2021, 7, 1), outbox: date(2026, 4, 2) };
        assert_eq!(cutoffs, expected);
    }

    #[test]
    fn the_reader_furthest_behind_says_what_may_go() {
        let cursors = |seqs: &[(&str, i64)]| -> Vec<(String, i64)> {
            seqs.iter().map(|(name, seq)| ((*name).to_owned(), *seq)).collect()
        };
        let relay = ["kafka relay".to_owned()];
        let table = [
            (cursors(&[]), &[][..], i64::MAX, None),
            (cursors(&[]), &relay[..], 0, Some("kafka relay")),
            (cursors(&[("kafka relay", 7), ("group a", 5)]), &relay[..], 5, Some("group a")),
            (cursors(&[("group a", 5)]), &relay[..], 0, Some("kafka relay")),
            (cursors(&[("kafka relay", 7), ("floor b", 2)]), &relay[..], 7, Some("kafka relay")),
        ];
        for (cursors, expected, read_up_to, last) in table {
            let readers = Readers { read_up_to, last: last.map(str::to_owned) };
            assert_eq!(Readers::of(cursors, expected), readers);
        }
    }
}
