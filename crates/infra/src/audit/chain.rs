//! Entries in their chain: each with its number, the hash of the one before it, and its own.

use super::hash::Hash;
use exchange::audit::{Actor, AuditEntry};
use exchange::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The end of the chain: what the writer knows of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Head {
    /// The number of the last entry; 0 before the first.
    pub seq: i64,
    /// When it was.
    pub at: Timestamp,
    /// Its hash; all zeros before the first.
    pub hash: Hash,
}

/// An entry as it is written. Its content is kept as plain text, as found: a check must be able to look at anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedEntry {
    /// Its number, from 1 and without gaps.
    pub seq: i64,
    /// When, in microseconds since 1970; never before the entry before it.
    pub at: Timestamp,
    /// Who asked for it: `api_key`, `command_line` or `exchange`.
    pub actor: String,
    /// Which API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<String>,
    /// What that key may do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// What was done, such as `account.opened`.
    pub action: String,
    /// To what, such as `account/<id>`.
    pub subject: String,
    /// The particulars: JSON without blanks, fields in the order of their names.
    #[serde(with = "as_json")]
    pub detail: String,
    /// The hash of the entry before it; all zeros for the first.
    pub previous_hash: Hash,
    /// SHA-256 of `previous_hash` and the content.
    pub hash: Hash,
}

impl Head {
    /// Puts an entry at the end of the chain.
    pub fn seal(&mut self, entry: &AuditEntry) -> SealedEntry {
        let (api_key, role) = match entry.actor {
            Actor::ApiKey { id, role } => (Some(id.to_string()), Some(role.name().to_owned())),
            Actor::CommandLine | Actor::Exchange => (None, None),
        };
        let mut sealed = SealedEntry {
            seq: self.seq + 1,
            // A clock that went back must not put entries into a month that is over.
            at: entry.at.max(self.at),
            actor: entry.actor.name().to_owned(),
            api_key,
            role,
            action: entry.action.name().to_owned(),
            subject: entry.subject.clone(),
            detail: canonical(&entry.detail),
            previous_hash: self.hash,
            hash: Hash::default(),
        };
        sealed.hash = sealed.content_hash();
        *self = Self { seq: sealed.seq, at: sealed.at, hash: sealed.hash };
        sealed
    }
}

impl SealedEntry {
    /// What its hash must be: SHA-256 of the 32 bytes of the hash before it and of the JSON array of its content, with the detail
    /// as a text.
    pub fn content_hash(&self) -> Hash {
        let content = (
            self.seq,
            self.at.0,
            &self.actor,
            &self.api_key,
            &self.role,
            &self.action,
            &self.subject,
            &self.detail,
        );
        let content = serde_json::to_vec(&content).expect("numbers and texts are JSON");
        Hash(Sha256::new().chain_update(self.previous_hash.0).chain_update(content).finalize().into())
    }

    /// The event that takes a copy of it elsewhere: its type and its data.
    pub(crate) fn event(&self) -> (&'static str, Value) {
        ("audit.recorded", serde_json::to_value(self).expect("an entry is JSON"))
    }
}

/// JSON without blanks, the fields of objects in the order of their names.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort_unstable();
            let fields = names
                .into_iter()
                .map(|name| format!("{}:{}", Value::from(name.as_str()), canonical(&fields[name])));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(","))
        }
        plain => plain.to_string(),
    }
}

/// The detail is a text in the store and JSON in an export.
mod as_json {
    use super::canonical;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::Value;

    pub(super) fn serialize<S: Serializer>(detail: &str, serializer: S) -> Result<S::Ok, S::Error> {
        let value: Value = serde_json::from_str(detail).unwrap_or_else(|_| Value::String(detail.to_owned()));
        value.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        Value::deserialize(deserializer).map(|value| canonical(&value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use exchange::audit::{AuditAction, RoleKind};
    use serde_json::json;
    use uuid::Uuid;

    fn entry(at: i64) -> AuditEntry {
        AuditEntry {
            at: Timestamp(at),
            actor: Actor::ApiKey { id: Uuid::from_u128(7), role: RoleKind::Admin },
            action: AuditAction::AccountOpened,
            subject: "account/1".to_owned(),
            detail: json!({ "name": "Zo\u{eb} \"Z\"", "at": [2, 1], "in": { "b": 1, "a": null } }),
        }
    }

    #[test]
    fn entries_are_numbered_dated_and_chained() {
        let mut head = Head::default();
        let (one, two) = (head.seal(&entry(9)), head.seal(&entry(5)));
        assert_eq!((one.seq, one.previous_hash), (1, Hash::default()));
        assert_eq!((two.seq, two.previous_hash), (2, one.hash));
        assert_eq!(two.at, one.at, "a clock that went back");
        assert_eq!(head, Head { seq: 2, at: Timestamp(9), hash: two.hash });
        assert_eq!(one.detail, r#"{"at":[2,1],"in":{"a":null,"b":1},"name":"Zoë \"Z\""}"#);
    }

    #[test]
    fn the_hash_is_what_the_documents_say() {
        let one = Head::default().seal(&entry(9));
        let content = r#"[1,9,"api_key","00000000-0000-0000-0000-000000000007","admin","account.opened","account/1","{\"at\":[2,1],\"in\":{\"a\":null,\"b\":1},\"name\":\"Zoë \\\"Z\\\"\"}"]"#;
        let expected = Sha256::new().chain_update([0; 32]).chain_update(content).finalize();
        assert_eq!(one.hash.0, <[u8; 32]>::from(expected));
    }

    #[test]
    fn an_export_reads_back_to_the_byte() {
        let one = Head::default().seal(&entry(9));
        let line = serde_json::to_string(&one).expect("JSON");
        let read: SealedEntry = serde_json::from_str(&line).expect("our own line");
        assert_eq!(read, one);
        assert_eq!(read.content_hash(), one.hash);
    }
}
