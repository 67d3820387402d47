//! What consumers leave in the store: how far they came, what they made of events, and events they refused.

use super::columns::json;
use super::connection::Value;
use super::read::events::OutboxEvent;
use super::{Rejection, StoreError};
use exchange::analytics::roll_up::{Figures, RollUpKey};
use exchange::audit::{Actor, AuditAction, AuditEntry};
use exchange::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use uuid::Uuid;

/// What some events came to for a group of consumers: written whole or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effect {
    /// How far the group came, where the store keeps that: the name of its place, and the last event it is done with.
    pub place: Option<(String, i64)>,
    /// What is added to the roll-ups.
    pub roll_ups: BTreeMap<RollUpKey, Figures>,
    /// Events that were put aside, or that were taken after they had been.
    pub letters: Vec<DeadLetter>,
}

impl Effect {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.place.is_none() && self.roll_ups.is_empty() && self.letters.is_empty()
    }

    /// Adds what other events came to, which came behind these.
    pub fn append(&mut self, other: Self) {
        self.place = other.place.or(self.place.take());
        for (key, figures) in other.roll_ups {
            self.roll_ups.entry(key).or_default().add(&figures);
        }
        self.letters.extend(other.letters);
    }
}

/// An event that a consumer refused for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Who refused it: the name of the group.
    pub consumer: String,
    /// What was refused.
    pub event: OutboxEvent,
    /// How often it was.
    pub times: i64,
    /// How far it has come.
    pub state: LetterState,
    /// When it was refused last.
    pub put_at: Timestamp,
    /// Why.
    pub finding: String,
}

/// How far a dead letter has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LetterState {
    /// It waits for somebody to have it given again.
    Waiting,
    /// Given again, it was taken.
    Taken,
}

impl LetterState {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Taken => "taken",
        }
    }
}

/// One dead letter, as whoever asks for it saw it: asked for again after it was given again, that changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterId {
    /// Who refused it.
    pub consumer: String,
    /// Its event's place in the outbox.
    pub seq: i64,
    /// How often it had been refused.
    pub times: i64,
}

impl DeadLetter {
    /// Which it is.
    pub fn id(&self) -> LetterId {
        LetterId { consumer: self.consumer.clone(), seq: self.event.seq, times: self.times }
    }

    pub(super) fn row(&self) -> Result<Vec<Value>, Rejection> {
        let Self { consumer, event, times, state, put_at, finding } = self;
        Ok(vec![
            consumer.as_str().into(),
            event.seq.into(),
            (*times).into(),
            state.name().into(),
            put_at.0.into(),
            finding.as_str().into(),
            event.kind.as_str().into(),
            event.subject.as_str().into(),
            event.at.0.into(),
            json(&event.data)?.into(),
        ])
    }
}

impl LetterId {
    pub(super) fn row(&self) -> Vec<Value> {
        vec![self.consumer.as_str().into(), self.seq.into(), self.times.into()]
    }
}

/// The row of a roll-up. Nobody's is the UUID of all zeros.
pub(super) fn roll_up_row(key: &RollUpKey, figures: &Figures) -> Vec<Value> {
    let buyer = key.buyer.map_or(Uuid::nil(), |buyer| buyer.0);
    let key = [key.hour.0.into(), key.seller.0.into(), buyer.into(), key.vertical.as_str().into()];
    key.into_iter().chain(figures.values().map(Value::from)).collect()
}

/// The audit log's entry of dead letters that are to be given again.
pub(super) fn replayed(letters: &[LetterId], at: Timestamp, actor: Actor) -> AuditEntry {
    // The outbox's numbers say which; a list without end would be no entry.
    let named: Vec<_> = letters.iter().take(100).map(|letter| (&letter.consumer, letter.seq)).collect();
    let detail = json!({ "letters": letters.len(), "first": named });
    let subject = "dead_letters".to_owned();
    AuditEntry { at, actor, action: AuditAction::DeadLettersReplayed, subject, detail }
}

/// The state of a row.
pub(super) fn read_state(text: &str) -> Result<LetterState, StoreError> {
    match text {
        "waiting" => Ok(LetterState::Waiting),
        "taken" => Ok(LetterState::Taken),
        other => Err(StoreError::Row {
            table: "dead_letters",
            row: other.to_owned(),
            finding: "not a state".to_owned(),
        }),
    }
}
