//! The journal: what was put in, in the order it was decided.

use crate::store::{Reader, StoreError};
use exchange::effect::{JournalEntry, JournalInput};
use exchange::time::Timestamp;

impl Reader {
    /// How many entries the journal has.
    pub fn journal_entries(&self) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM journal";
        let count = self.with(|connection| connection.row(sql, &[], |row| row.get::<i64>(0)))?;
        Ok(count.unwrap_or_default().cast_unsigned())
    }

    /// Entries after `seq`, at most `most`, each with its own seq. An entry that this version cannot read has no content:
    /// the shapes of old inputs are not kept up.
    pub fn journal_after(
        &self,
        seq: i64,
        most: usize,
    ) -> Result<Vec<(i64, Option<JournalEntry>)>, StoreError> {
        let sql = "SELECT seq, at, document FROM journal WHERE seq > $1 ORDER BY seq LIMIT $2";
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.with(|connection| {
            connection.rows(sql, &[seq.into(), most.into()], |row| {
                let entry: Option<JournalInput> = serde_json::from_str(row.get(2)?).ok();
                let at = Timestamp(row.get(1)?);
                Ok((row.get(0)?, entry.map(|entry| JournalEntry { at, entry })))
            })
        })
    }
}
