//! The outbox: what happened, in order, for whoever publishes it.

use crate::store::connection::Row;
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
}

impl Reader {
    /// The events that follow `after`, oldest first, [`MAX_PAGE`] at most. 0 is the beginning.
    pub fn events_after(&self, after: i64, limit: u32) -> Result<Vec<OutboxEvent>, StoreError> {
        let sql = "SELECT seq, type, subject, at, data FROM outbox WHERE seq > $1 ORDER BY seq LIMIT $2";
        let most = i64::from(limit.clamp(1, MAX_PAGE));
        self.with(|connection| {
            let store_id = connection.row("SELECT store_id FROM identity", &[], |row| row.get(0))?;
            let store_id: [u8; 8] = store_id.ok_or(StoreError::NoIdentity)?;
            connection.rows(sql, &[after.into(), most.into()], |row| event(row, store_id))
        })
    }
}

fn event(row: &dyn Row, store_id: [u8; 8]) -> Result<OutboxEvent, StoreError> {
    let seq: i64 = row.get(0)?;
    // Version 8 (RFC 9562 section 5.8): ours to fill. The store, then the place in its outbox.
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&store_id);
    bytes[8..].copy_from_slice(&seq.to_be_bytes());
    Ok(OutboxEvent {
        seq,
        id: Builder::from_custom_bytes(bytes).into_uuid(),
        kind: row.get(1)?,
        subject: row.get(2)?,
        at: Timestamp(row.get(3)?),
        data: row.document("outbox", 4)?,
    })
}
