//! Dead letters: events that a group of consumers refused for good.

use super::conditions::Conditions;
use super::events::{event_id, store_id};
use crate::store::connection::{ReadConnection, Row};
use crate::store::consumers::read_state;
use crate::store::{DeadLetter, LetterId, LetterState, Listing, OutboxEvent, Page, Reader, StoreError};
use exchange::time::Timestamp;
use uuid::Uuid;

/// Which dead letters are wanted; an absent field takes any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LetterFilter {
    /// Those of this group.
    pub consumer: Option<String>,
    /// Those of this event; several groups may have refused it.
    pub event: Option<Uuid>,
    /// Those that have come this far.
    pub state: Option<LetterState>,
}

/// How many dead letters of a group wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LetterCounts {
    /// All that wait.
    pub waiting: u64,
    /// Of those, how many are to be given again.
    pub asked_for: u64,
}

const SELECT: &str =
    "SELECT consumer, seq, times, state, put_at, finding, type, subject, at, data FROM dead_letters";

/// Letters somebody asked for, which have not been refused again since.
const ASKED_FOR: &str = "EXISTS (SELECT 1 FROM replays WHERE replays.consumer = dead_letters.consumer
    AND replays.seq = dead_letters.seq AND replays.times = dead_letters.times)";

impl Reader {
    /// Dead letters, by group, in the order of their events.
    pub fn dead_letters(
        &self,
        filter: &LetterFilter,
        page: &Page,
    ) -> Result<Listing<DeadLetter>, StoreError> {
        let after = page.cursor(read_cursor)?;
        // An event's place is in its id.
        let seq = filter.event.map(|event| OutboxEvent::seq_of(event).unwrap_or(-1));
        let conditions = Conditions::default()
            .when("consumer = ?", filter.consumer.clone())
            .when("seq = ?", seq)
            .when("state = ?", filter.state.map(LetterState::name));
        let conditions = match after {
            Some((consumer, seq)) => {
                conditions.and("(consumer, seq) > (?, ?)", [consumer.into(), seq.into()])
            }
            None => conditions,
        };
        let (sql, values) = conditions.page(SELECT, "consumer, seq", page);
        let items = self.with(|connection| letters(connection, &sql, &values))?;
        Ok(page.listing(items, |letter| format!("{}_{}", letter.event.seq, letter.consumer)))
    }

    /// All that wait and pass the filter, at most `most`: what a replay is asked for.
    pub fn waiting_letters(&self, filter: &LetterFilter, most: u32) -> Result<Vec<LetterId>, StoreError> {
        let filter = LetterFilter { state: Some(LetterState::Waiting), ..filter.clone() };
        let mut found = Vec::new();
        let mut page = Some(Page::first(crate::store::MAX_PAGE));
        while let Some(asked) = page.filter(|_| found.len() < most as usize) {
            let listing = self.dead_letters(&filter, &asked)?;
            page = asked.following(&listing);
            found.extend(listing.items.iter().map(DeadLetter::id));
        }
        found.truncate(most as usize);
        Ok(found)
    }

    /// Letters of a group that somebody asked to be given again, at most `most`.
    pub(crate) fn letters_asked_for(&self, consumer: &str, most: u32) -> Result<Vec<DeadLetter>, StoreError> {
        let sql = format!(
            "{SELECT} WHERE consumer = $1 AND state = 'waiting' AND {ASKED_FOR} ORDER BY seq LIMIT $2"
        );
        let values = [consumer.into(), i64::from(most).into()];
        self.with(|connection| letters(connection, &sql, &values))
    }

    /// How many letters of a group wait.
    pub fn letter_counts(&self, consumer: &str) -> Result<LetterCounts, StoreError> {
        let sql = format!(
            "SELECT count(*), coalesce(sum(CASE WHEN {ASKED_FOR} THEN 1 ELSE 0 END), 0) FROM dead_letters
             WHERE consumer = $1 AND state = 'waiting'"
        );
        let counts = self.with(|connection| {
            connection.row(&sql, &[consumer.into()], |row| {
                let (waiting, asked_for): (i64, i64) = (row.get(0)?, row.get(1)?);
                Ok(LetterCounts { waiting: waiting.cast_unsigned(), asked_for: asked_for.cast_unsigned() })
            })
        })?;
        Ok(counts.unwrap_or_default())
    }
}

fn letters(
    connection: &dyn ReadConnection,
    sql: &str,
    values: &[crate::store::connection::Value],
) -> Result<Vec<DeadLetter>, StoreError> {
    let store_id = store_id(connection)?;
    connection.rows(sql, values, |row| letter(row, store_id))
}

fn letter(row: &dyn Row, store_id: [u8; 8]) -> Result<DeadLetter, StoreError> {
    let seq = row.get(1)?;
    Ok(DeadLetter {
        consumer: row.get(0)?,
        times: row.get(2)?,
        state: read_state(row.get(3)?)?,
        put_at: Timestamp(row.get(4)?),
        finding: row.get(5)?,
        event: OutboxEvent {
            seq,
            id: event_id(store_id, seq),
            kind: row.get(6)?,
            subject: row.get(7)?,
            at: Timestamp(row.get(8)?),
            data: row.document("dead_letters", 9)?,
        },
    })
}

/// A cursor is the last letter's place and group.
fn read_cursor(text: &str) -> Option<(String, i64)> {
    let (seq, consumer) = text.split_once('_')?;
    Some((consumer.to_owned(), seq.parse().ok()?))
}
