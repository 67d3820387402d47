//! The consumer that makes the roll-ups.

use super::{Begin, Consumer, ConsumerOptions, Refusal, Runner, Stopping, Taken};
use crate::bus::Bus;
use crate::store::{ANALYTICS, OutboxEvent, Reader, StoreError, Writer};
use exchange::analytics::roll_up::{CallFact, RolledCall};
use exchange::id::CallId;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Calls whose hour, seller and vertical are remembered: those that were received last. Others are looked up.
const CALLS_MAX: usize = 50_000;

/// Folds calls' events.
pub struct RollUps {
    reader: Reader,
    calls: HashMap<CallId, RolledCall>,
    /// In the order they were received.
    order: VecDeque<CallId>,
}

/// Starts making roll-ups. They are made from the outbox itself, on either bus: they are in the same database, so that the group's place
/// is part of the same unit of work.
pub fn start_roll_ups(reader: Reader, writer: Writer) -> Result<Runner, StoreError> {
    let options = ConsumerOptions {
        batch_max: 500,
        // Reports may be a quarter of a second old; each write costs the disk a part of a sync.
        pause: Duration::from_millis(250),
        tries_max: None,
        ..ConsumerOptions::default()
    };
    let bus = Bus::Local { reader: reader.clone(), writer: writer.clone() };
    let consumer = RollUps::new(reader.clone());
    Runner::start(ANALYTICS, bus, reader, writer, consumer, options, Begin::AtTheBeginning)
}

impl RollUps {
    /// Nothing remembered yet.
    pub fn new(reader: Reader) -> Self {
        Self { reader, calls: HashMap::new(), order: VecDeque::new() }
    }

    fn remember(&mut self, id: CallId, call: RolledCall) {
        if self.calls.insert(id, call).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > CALLS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.calls.remove(&oldest);
        }
    }

    /// Looks up the calls of these facts that are not known.
    fn look_up(&mut self, facts: &[Option<(CallId, CallFact)>]) -> Result<(), StoreError> {
        let mut unknown: Vec<CallId> = Vec::new();
        for (call, _) in facts.iter().flatten() {
            if !self.calls.contains_key(call) && !unknown.contains(call) {
                unknown.push(*call);
            }
        }
        for (id, call) in self.reader.calls_of(&unknown)? {
            self.remember(id, RolledCall::from(&call));
        }
        Ok(())
    }
}

/// Which call an event is about, and what it says, if that counts.
fn read(event: &OutboxEvent) -> Result<Option<(CallId, CallFact)>, String> {
    let Some(call) = event.subject.strip_prefix("call/") else { return Ok(None) };
    let Some(fact) = CallFact::read(&event.kind, &event.data)? else { return Ok(None) };
    let call = call.parse::<CallId>().map_err(|error| format!("subject: {error}"))?;
    Ok(Some((call, fact)))
}

impl Consumer for RollUps {
    fn take(&mut self, events: &[OutboxEvent], _stopping: Stopping<'_>) -> Taken {
        let mut taken = Taken::default();
        let mut facts = Vec::new();
        let mut poison = None;
        for event in events {
            match read(event) {
                Ok(fact) => {
                    if let Some((id, CallFact::Received(received))) = &fact {
                        self.remember(*id, received.call(event.at));
                    }
                    facts.push(fact);
                }
                Err(finding) => {
                    poison = Some(Refusal::ForGood(finding));
                    break;
                }
            }
        }
        if let Err(error) = self.look_up(&facts) {
            taken.refusal = Some(Refusal::ForNow(error.to_string()));
            return taken;
        }
        for fact in facts {
            if let Some((id, fact)) = fact {
                let Some(call) = self.calls.get(&id) else {
                    taken.refusal = Some(Refusal::ForGood(format!("call {id} is not in the books")));
                    return taken;
                };
                if let Some((key, adds)) = fact.adds(call) {
                    taken.effect.roll_ups.entry(key).or_default().add(&adds);
                }
            }
            taken.count += 1;
        }
        taken.refusal = poison;
        taken
    }
}
