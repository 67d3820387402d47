//! The fold of events into roll-ups, against what the calls themselves say: for every case of the corpus.

use exchange::analytics::roll_up::{CallFact, Figures, RollUpKey, RolledCall, of_call};
use exchange::call::Call;
use exchange::dispute::Dispute;
use exchange::effect::{Effect, Record};
use exchange::event::Subject;
use exchange::id::CallId;
use std::collections::BTreeMap;

/// What was folded so far, and what a store would have.
#[derive(Default)]
pub(crate) struct Fold {
    received: BTreeMap<CallId, RolledCall>,
    folded: BTreeMap<RollUpKey, Figures>,
    calls: BTreeMap<CallId, Call>,
    disputes: BTreeMap<CallId, Dispute>,
}

impl Fold {
    pub(crate) fn note(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Record(Record::Call(call)) => {
                    self.calls.insert(call.id, (**call).clone());
                }
                Effect::Record(Record::Dispute(dispute)) => {
                    self.disputes.insert(dispute.charged.call, (**dispute).clone());
                }
                Effect::Record(Record::Event(event)) => {
                    let Subject::Call(id) = event.subject else { continue };
                    // As it comes from the bus.
                    let data = serde_json::to_value(&event.fact).expect("plain data");
                    let fact = CallFact::read(event.kind(), &data).expect("events of ours can be read");
                    let Some(fact) = fact else { continue };
                    if let CallFact::Received(received) = &fact {
                        self.received.insert(id, received.call(event.at));
                    }
                    if let Some((key, adds)) = fact.adds(&self.received[&id]) {
                        self.folded.entry(key).or_default().add(&adds);
                    }
                }
                Effect::Record(_) | Effect::Act(_) => {}
            }
        }
    }

    /// Both come to the same, but for targets rung, which the books do not keep of every call.
    pub(crate) fn check(mut self) -> Result<(), String> {
        for call in self.calls.values() {
            for (key, figures) in of_call(call, self.disputes.get(&call.id)) {
                self.folded.entry(key).or_default().subtract(&figures);
            }
        }
        let differs =
            self.folded.iter().find(|(_, left)| Figures { routed: 0, ..**left } != Figures::default());
        differs.map_or(Ok(()), |differs| Err(format!("events and calls differ by {differs:?}")))
    }
}
