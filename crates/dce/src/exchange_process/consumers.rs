//! Who makes something of what happened: the roll-ups and the webhooks. They run where the book is.

use crate::config::Config;
use crate::failure::Failure;
use crate::key;
use gateway::EVENT_SOURCE;
use infra::bus::Bus;
use infra::bus::consumer::{
    Begin, Consumer, ConsumerOptions, ConsumerStatus, Refusal, Runner, Stopping, Taken, start_roll_ups,
};
use infra::store::{OutboxEvent, Reader, Store};
use partners::webhook::{Webhook, WebhookConfig, WebhookError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Events given to a webhook at once: the most that come again when the process dies.
const WEBHOOK_BATCH: u32 = 16;

/// How often a webhook that waits for an answer looks whether it is to stop.
const STOP_LOOK: Duration = Duration::from_millis(50);

/// How long a stop waits for the roll-ups.
const CATCH_UP: Duration = Duration::from_secs(2);

/// All that run here.
pub(super) struct Consumers(Vec<Runner>);

impl Consumers {
    /// Starts them. They wait for the database and the brokers by themselves.
    pub(super) fn start(config: &Config, store: &Store) -> Result<Self, Failure> {
        let mut runners = vec![start_roll_ups(store.reader(), store.writer())?];
        for webhook in &config.webhooks {
            runners.push(start_webhook(config, webhook, store)?);
        }
        Ok(Self(runners))
    }

    /// Asks all of them to stop, and does not wait.
    pub(super) fn begin_stop(&mut self) {
        self.0.iter_mut().for_each(Runner::begin_stop);
    }

    /// How each of them is doing, by group.
    pub(super) fn status(&self) -> Vec<(String, ConsumerStatus)> {
        self.0.iter().map(|runner| (runner.group().to_owned(), runner.status())).collect()
    }
}

/// Waits a moment for the roll-ups to have what the calls that ended last came to.
pub(super) fn catch_up(reader: &Reader) {
    let until = Instant::now() + CATCH_UP;
    while Instant::now() < until && reader.roll_ups_are_behind().unwrap_or(false) {
        std::thread::sleep(STOP_LOOK);
    }
}

fn start_webhook(config: &Config, webhook: &WebhookConfig, store: &Store) -> Result<Runner, Failure> {
    let (reader, writer) = (store.reader(), store.writer());
    let bus = if config.bus.kafka.brokers.is_empty() {
        Bus::Local { reader: reader.clone(), writer: writer.clone() }
    } else {
        Bus::Kafka(config.bus.kafka.clone())
    };
    let options = ConsumerOptions {
        batch_max: WEBHOOK_BATCH,
        retry_min: Duration::from_millis(500),
        tries_max: Some(webhook.tries_max),
        ..ConsumerOptions::default()
    };
    let group = format!("webhook {}", webhook.name);
    let consumer =
        ToWebhook { webhook: Webhook::new(webhook.clone(), Vec::new()), runtime: Handle::current() };
    Ok(Runner::start(&group, bus, reader, writer, consumer, options, Begin::AtTheEnd)?)
}

/// Passes events on to a webhook, one after the other.
struct ToWebhook {
    webhook: Webhook,
    runtime: Handle,
}

impl Consumer for ToWebhook {
    fn take(&mut self, events: &[OutboxEvent], stopping: Stopping<'_>) -> Taken {
        let mut taken = Taken::default();
        for event in events {
            if self.webhook.config().wants(&event.kind) {
                match self.send(event, stopping) {
                    Ok(()) => count(&self.webhook.config().name, "taken"),
                    Err(refusal) => {
                        count(&self.webhook.config().name, "refused");
                        taken.refusal = Some(refusal);
                        return taken;
                    }
                }
            }
            taken.count += 1;
        }
        taken
    }
}

fn count(name: &str, result: &'static str) {
    metrics::counter!("dce_webhook_requests_total", "webhook" => name.to_owned(), "result" => result)
        .increment(1);
}

impl ToWebhook {
    fn send(&mut self, event: &OutboxEvent, stopping: Stopping<'_>) -> Result<(), Refusal> {
        let body = event.cloud_event(EVENT_SOURCE).to_string();
        let at_s = key::now().0 / 1_000_000;
        let webhook = &mut self.webhook;
        let sent = self.runtime.block_on(async {
            let mut sending = std::pin::pin!(webhook.send(event.id, at_s, body));
            loop {
                tokio::select! {
                    sent = &mut sending => return sent,
                    () = tokio::time::sleep(STOP_LOOK) => if stopping() {
                        return Err(WebhookError::NoAnswer("the exchange is stopping".to_owned()));
                    },
                }
            }
        });
        sent.map_err(|error| {
            let finding = error.to_string();
            if error.is_for_good() { Refusal::ForGood(finding) } else { Refusal::ForNow(finding) }
        })
    }
}

/// How consumers are doing, in one line.
pub(super) fn in_words(consumers: &[(String, ConsumerStatus)]) -> String {
    let each = consumers.iter().map(|(group, status)| {
        let letters = match status.letters.waiting {
            0 => String::new(),
            waiting => format!(", {waiting} dead letters"),
        };
        match &status.stuck {
            None => format!("{group}: {} events waiting{letters}", status.waiting),
            Some((since, _)) => format!(
                "{group}: stuck for {} s, {} events waiting{letters}; the log has the reason",
                since.elapsed().as_secs(),
                status.waiting
            ),
        }
    });
    each.collect::<Vec<_>>().join("; ")
}
