//! Consumers: who makes something of what happened, and the thread that feeds each.
//!
//! A consumer's group goes on behind an event only after its effect: so an event comes at least once, whatever dies. Where the effect is
//! in the store, it and the group's place are one unit of work, and every event counts exactly once. An effect elsewhere may be
//! repeated after a crash: it is told under the event's id, which stays the same. An event that is refused for good is put aside as a
//! dead letter and keeps nobody waiting.

mod runner;
mod seen;
mod roll_ups;

pub use roll_ups::{RollUps, start_roll_ups};
pub use runner::{Begin, ConsumerOptions, ConsumerStatus, Runner};

use crate::store::{Effect, OutboxEvent};

/// Whether the runner is stopping: what takes long looks at it.
pub type Stopping<'a> = &'a dyn Fn() -> bool;

/// Makes something of events.
pub trait Consumer: Send + 'static {
    /// Takes events in their order, the first ones of them at least. What is to be in the store is given back, and written with the
    /// group's place.
    fn take(&mut self, events: &[OutboxEvent], stopping: Stopping<'_>) -> Taken;
}

/// What became of events.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// How many were taken, from the first on.
    pub count: usize,
    /// What they came to in the store.
    pub effect: Effect,
    /// Why the next one was not.
    pub refusal: Option<Refusal>,
}

/// Why an event was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It may be, later.
    ForNow(String),
    /// It is the event's fault.
    ForGood(String),
}

impl Refusal {
    /// What was found.
    pub fn finding(&self) -> &str {
        let (Self::ForNow(finding) | Self::ForGood(finding)) = self;
        finding
    }
}
