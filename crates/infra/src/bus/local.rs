//! The embedded bus: a group reads the outbox, and its place is a row of the store.

use super::{BusError, Subscription, place_of};
use crate::store::{OutboxEvent, Reader, Writer};
use std::time::{Duration, Instant};

/// How often the outbox is looked at while it has nothing new.
const LOOK: Duration = Duration::from_millis(20);

/// A group's way through the outbox. One member a group: there is one process.
pub(super) struct Tail {
    reader: Reader,
    writer: Writer,
    cursor: String,
    /// The last event given out.
    given: i64,
    /// The last event that was committed.
    committed: i64,
}

impl Tail {
    pub(super) fn new(reader: Reader, writer: Writer, group: &str) -> Result<Self, BusError> {
        let cursor = place_of(group);
        let given = reader.cursor(&cursor)?;
        Ok(Self { reader, writer, cursor, given, committed: given })
    }
}

impl Subscription for Tail {
    fn next(&mut self, most: u32, patience: Duration) -> Result<Vec<OutboxEvent>, BusError> {
        let until = Instant::now() + patience;
        loop {
            let events = self.reader.events_after(self.given, most)?;
            if let Some(last) = events.last() {
                self.given = last.seq;
                return Ok(events);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(events);
            }
            std::thread::sleep(left.min(LOOK));
        }
    }

    fn take_place(&mut self) -> Option<(String, i64)> {
        let is_new = self.given > self.committed;
        self.committed = self.given;
        is_new.then(|| (self.cursor.clone(), self.given))
    }

    fn commit(&mut self) -> Result<(), BusError> {
        if self.given > self.committed {
            self.writer.set_cursor(&self.cursor, self.given)?;
            self.committed = self.given;
        }
        Ok(())
    }
}
