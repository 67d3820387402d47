//! The only broker dies and hangs: events wait, and arrive.

use super::PAUSE;
use crate::faults::stage::{Outcome, Play, Stage};
use anyhow::Result;
use test_servers::kafka::KafkaServer;

pub(super) fn killed(stage: &Stage<'_>) -> Result<Outcome> {
    kafka_away(stage, "kill", "start")
}

pub(super) fn paused(stage: &Stage<'_>) -> Result<Outcome> {
    kafka_away(stage, "pause", "resume")
}

/// Kafka is away for a while. Calls go on; afterwards every event arrives.
fn kafka_away(stage: &Stage<'_>, away: &str, back: &str) -> Result<Outcome> {
    let server = KafkaServer::start();
    let mut play = Play::start(stage, &bus(&server.broker()))?;
    server.order(away);
    play.goes_on(PAUSE)?;
    server.order(back);
    play.note_injected()?;
    events_arrive(&mut play)?;
    play.end(true)
}

/// Waits until the events that waited are with Kafka.
pub(super) fn events_arrive(play: &mut Play) -> Result<()> {
    play.until("Kafka is back, but the events that waited do not arrive", |play| {
        // Calls go on, so a few events are always on their way.
        Ok(play.metric("dce_kafka_events_waiting")? < 100.0
            && play.metric("dce_kafka_events_sent_total")? > 0.0)
    })
}

/// The setting that sends events to this broker.
pub(super) fn bus(broker: &str) -> String {
    format!("\n[bus.kafka]\nbrokers = [\"{broker}\"]\nreplicas = 1\n")
}
