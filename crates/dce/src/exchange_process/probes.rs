//! What the parts of the exchange say of themselves: to `/health/ready`, and as metrics.

use super::book::Slot;
use super::consumers::in_words;
use crate::sip_metrics;
use engine::Engine;
use gateway::Probe;
use infra::coordination::{Coordination, CoordinationStatus, WhenLost};
use infra::store::{Reader, RetentionStatus};
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use telephony::server::ServerStatus;
use tokio::sync::watch;

/// How often SIP's counters are shown, and metrics moved out of the recorder's queues, so that these cannot grow when
/// nobody looks.
const METRICS_UPKEEP: Duration = Duration::from_secs(1);

/// Whether calls are taken.
pub(super) fn sip(draining: &Arc<AtomicBool>) -> Probe {
    let draining = Arc::clone(draining);
    Arc::new(move || {
        let says = |text: &str| text.to_owned();
        if draining.load(Ordering::Relaxed) {
            Err(says("taking no new calls"))
        } else {
            Ok(says("taking calls"))
        }
    })
}

/// Kafka. Calls can be taken without it: events wait in the outbox, up to so many.
pub(super) fn kafka(slot: &Slot, waiting_max: u64) -> Probe {
    let slot = slot.clone();
    Arc::new(move || {
        let Some(relay) = slot.relay() else { return Ok("the node with the book copies events".to_owned()) };
        let status = relay.status();
        match status.failing {
            _ if status.waiting > waiting_max => Err(format!(
                "{} events waiting, more than bus.kafka.waiting_events_max: no new calls until it takes some",
                status.waiting
            )),
            None => Ok(format!("up, {} events waiting", status.waiting)),
            Some(_) => Ok(format!("away, {} events waiting; the log has the reason", status.waiting)),
        }
    })
}

/// Consumers. Calls can be taken without them: events wait in the outbox.
pub(super) fn consumers(slot: &Slot) -> Probe {
    let slot = slot.clone();
    Arc::new(move || {
        let consumers = slot.consumers();
        Ok(if consumers.is_empty() {
            "run on the node with the book".to_owned()
        } else {
            in_words(&consumers)
        })
    })
}

/// Redis. Whether calls can be taken without it is the policy's to say.
pub(super) fn redis(coordination: &Coordination) -> Probe {
    let coordination = coordination.clone();
    Arc::new(move || match coordination.status() {
        CoordinationStatus::InMemory | CoordinationStatus::Up => Ok("up".to_owned()),
        CoordinationStatus::Away { policy: WhenLost::Degrade, .. } => {
            Ok("away, limits are this node's own share; the log has the reason".to_owned())
        }
        CoordinationStatus::Away { policy: WhenLost::Refuse, .. } => {
            Err("away, and the policy is to refuse without it; the log has the reason".to_owned())
        }
    })
}

/// Shows metrics, and tells the engine when too many events wait for Kafka; for as long as it is polled.
pub(super) async fn keep_up(
    metrics: PrometheusHandle,
    sip: Option<watch::Receiver<ServerStatus>>,
    reader: Reader,
    slot: Slot,
    coordination: Coordination,
    engine: Engine,
    waiting_events_max: u64,
) {
    let mut ticks = tokio::time::interval(METRICS_UPKEEP);
    loop {
        ticks.tick().await;
        if let Some(sip) = &sip {
            sip_metrics::show(&sip.borrow());
        }
        if let Some((on_primary, on_replicas)) = reader.reads() {
            metrics::counter!("dce_store_reads_total", "server" => "primary").absolute(on_primary);
            metrics::counter!("dce_store_reads_total", "server" => "replica").absolute(on_replicas);
        }
        metrics::gauge!("dce_book_here").set(f64::from(u8::from(slot.writer().is_some())));
        if let Some(relay) = slot.relay() {
            let status = relay.status();
            metrics::counter!("dce_kafka_events_sent_total").absolute(status.count);
            metrics::gauge!("dce_kafka_events_waiting").set(status.waiting as f64);
            metrics::gauge!("dce_kafka_up").set(f64::from(u8::from(status.failing.is_none())));
            engine.set_outbox_full(status.waiting > waiting_events_max);
        }
        if let Some(RetentionStatus { cleared, failing }) = slot.retention() {
            metrics::counter!("dce_retention_partitions_made_total").absolute(cleared.partitions_made);
            metrics::counter!("dce_retention_months_detached_total").absolute(cleared.months_detached);
            metrics::counter!("dce_retention_events_deleted_total").absolute(cleared.events_deleted);
            metrics::gauge!("dce_retention_kept").set(cleared.kept.len() as f64);
            metrics::gauge!("dce_retention_failing").set(f64::from(u8::from(failing.is_some())));
        }
        for (group, status) in slot.consumers() {
            let shown = |name: &'static str, value: f64| {
                metrics::gauge!(name, "consumer" => group.clone()).set(value);
            };
            shown("dce_consumer_events_waiting", status.waiting as f64);
            shown("dce_consumer_dead_letters", status.letters.waiting as f64);
            shown(
                "dce_consumer_stuck_seconds",
                status.stuck.map_or(0.0, |(since, _)| since.elapsed().as_secs_f64()),
            );
            metrics::counter!("dce_consumer_events_total", "consumer" => group.clone())
                .absolute(status.taken);
        }
        if coordination.status() != CoordinationStatus::InMemory {
            let is_up = coordination.status() == CoordinationStatus::Up;
            metrics::gauge!("dce_redis_up").set(f64::from(u8::from(is_up)));
            metrics::counter!("dce_redis_losses_total").absolute(coordination.losses());
        }
        metrics.run_upkeep();
    }
}
