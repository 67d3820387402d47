//! The journal: what was put in, in the order it was decided.

use super::Reader;
use crate::store::StoreError;
use exchange::effect::{JournalEntry, JournalInput};
use exchange::time::Timestamp;

impl Reader {
    /// How many entries the journal has.
    pub fn journal_entries(&self) -> Result<u64, StoreError> {
        self.with(|connection| {
            let count: i64 = connection.query_row("SELECT count(*) FROM journal", [], |row| row.get(0))?;
            Ok(count.cast_unsigned())
        })
    }

    /// Entries after `seq`, at most `most`, each with its own seq. An entry that this version cannot read has no content:
    /// the shapes of old inputs are not kept up.
    pub fn journal_after(
        &self,
        seq: i64,
        most: usize,
    ) -> Result<Vec<(i64, Option<JournalEntry>)>, StoreError> {
        self.with(|connection| {
            let sql = "SELECT seq, at, document FROM journal WHERE seq > ?1 ORDER BY seq LIMIT ?2";
            let mut statement = connection.prepare_cached(sql)?;
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            let mut rows = statement.query([seq, most])?;
            let mut entries = Vec::new();
            while let Some(row) = rows.next()? {
                let document: String = row.get(2)?;
                let entry: Option<JournalInput> = serde_json::from_str(&document).ok();
                let at = Timestamp(row.get(1)?);
                entries.push((row.get(0)?, entry.map(|entry| JournalEntry { at, entry })));
            }
            Ok(entries)
        })
    }
}
