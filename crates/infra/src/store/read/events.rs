//! The outbox: what happened, in order, for whoever publishes it.

use crate::store::connection::{ReadConnection, Row};
use crate::store::{MAX_PAGE, Reader, StoreError};
use exchange::time::Timestamp;
use serde_json::{Value, json};
use uuid::{Builder, Uuid};

/// An event as it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEvent {
    /// Its place in the outbox; grows, and is never used twice.
    pub seq: i64,
    /// Its identity, the same each time it is read: consumers drop what they have seen.
    pub id: Uuid,
    /// Such as `call.routed`.
    pub kind: String,
    /// What it is about, such as `call/<id>`; also the key that orders it.
    pub subject: String,
    /// When.
    pub at: Timestamp,
    /// The facts.
    pub data: Value,
}

impl OutboxEvent {
    /// As a `CloudEvents` 1.0 JSON object (`CloudEvents` 1.0.2, JSON event format).
    pub fn cloud_event(&self, source: &str) -> Value {
        json!({
            "specversion": "1.0",
            "id": self.id.to_string(),
            "source": source,
            "type": self.kind,
            "subject": self.subject,
            "time": self.at.to_jiff().to_string(),
            "datacontenttype": "application/json",
            "data": self.data,
        })
    }

    /// An event's place in the outbox, which is in its id; nothing for ids that are none of ours.
    pub(crate) fn seq_of(id: Uuid) -> Option<i64> {
        // The second half: see `event_id`.
        let (_, seq) = id.as_u64_pair();
        i64::try_from(seq & SEQ_BITS).ok()
    }

    /// Reads what [`OutboxEvent::cloud_event`] wrote; or says what is wrong with it.
    pub fn from_cloud_event(value: &Value) -> Result<Self, String> {
        let text = |field: &str| value[field].as_str().ok_or_else(|| format!("no text in `{field}`"));
        let id: Uuid = text("id")?.parse().map_err(|_| "`id` is not a UUID")?;
        let time: jiff::Timestamp = text("time")?.parse().map_err(|_| "`time` is not a time")?;
        let seq = Self::seq_of(id).ok_or("`id` is none of ours")?;
        Ok(Self {
            seq,
            id,
            kind: text("type")?.to_owned(),
            subject: text("subject")?.to_owned(),
            at: Timestamp(time.as_microsecond()),
            data: value["data"].clone(),
        })
    }
}

/// The bits of the second half of an event's id that are its place in the outbox: two are taken by the UUID's variant.
const SEQ_BITS: u64 = (1 << 62) - 1;

impl Reader {
    /// The events that follow `after`, oldest first, [`MAX_PAGE`] at most. 0 is the beginning.
    pub fn events_after(&self, after: i64, limit: u32) -> Result<Vec<OutboxEvent>, StoreError> {
        self.outbox_after(after, limit.clamp(1, MAX_PAGE))
    }

    /// The same without the bound of the API's pages.
    pub(crate) fn outbox_after(&self, after: i64, limit: u32) -> Result<Vec<OutboxEvent>, StoreError> {
        let sql = "SELECT seq, type, subject, at, data FROM outbox WHERE seq > $1 ORDER BY seq LIMIT $2";
        let most = i64::from(limit);
        self.with(|connection| {
            let store_id = store_id(connection)?;
            connection.rows(sql, &[after.into(), most.into()], |row| event(row, store_id))
        })
    }

    /// The last event's place in the outbox; 0 while there is none.
    pub(crate) fn outbox_end(&self) -> Result<i64, StoreError> {
        let end = self.with(|connection| {
            connection.row("SELECT coalesce(max(seq), 0) FROM outbox", &[], |row| row.get(0))
        })?;
        Ok(end.unwrap_or(0))
    }

    /// How far somebody who reads the outbox came; 0 is the beginning.
    pub fn cursor(&self, name: &str) -> Result<i64, StoreError> {
        Ok(self.place(name)?.unwrap_or(0))
    }

    /// The same, and nothing of whom nobody has heard.
    pub(crate) fn place(&self, name: &str) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT seq FROM cursors WHERE name = $1";
        self.with(|connection| connection.row(sql, &[name.to_owned().into()], |row| row.get(0)))
    }
}

/// Which store this is: the first half of its events' ids.
pub(in crate::store) fn store_id(connection: &dyn ReadConnection) -> Result<[u8; 8], StoreError> {
    let id = connection.row("SELECT store_id FROM identity", &[], |row| row.get(0))?;
    id.ok_or(StoreError::NoIdentity)
}

/// The identity of the event at a place of a store's outbox. Version 8 (RFC 9562 section 5.8): ours to fill. The store, then the place.
pub(super) fn event_id(store_id: [u8; 8], seq: i64) -> Uuid {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&store_id);
    bytes[8..].copy_from_slice(&seq.to_be_bytes());
    Builder::from_custom_bytes(bytes).into_uuid()
}

fn event(row: &dyn Row, store_id: [u8; 8]) -> Result<OutboxEvent, StoreError> {
    let seq: i64 = row.get(0)?;
    Ok(OutboxEvent {
        seq,
        id: event_id(store_id, seq),
        kind: row.get(1)?,
        subject: row.get(2)?,
        at: Timestamp(row.get(3)?),
        data: row.document("outbox", 4)?,
    })
}
