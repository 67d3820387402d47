//! `/asyncapi.json` (`AsyncAPI` 3.0): the events as they stand in Kafka, made from the facts themselves.

use super::events::EVENT_SOURCE;
use axum::Json;
use exchange::event::{EVENT_KINDS, EventKind, Fact};
use infra::bus::kafka::topic_of_subject;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// The audit log's events; what they hold is described in `docs/audit.md`.
const AUDIT: [(&str, &str); 2] = [
    ("audit.recorded", "A whole entry of the audit log, with its hashes"),
    ("audit.anchored", "A whole anchor of the audit log, with its signature"),
];

/// One message of a channel.
struct Message {
    channel: &'static str,
    name: &'static str,
    subject: &'static str,
    data: Value,
}

/// Show how events look in Kafka.
#[utoipa::path(get, path = "/asyncapi.json", tag = "description", security(()), responses((status = 200)))]
pub(crate) async fn json() -> Json<Value> {
    Json(asyncapi())
}

/// The description of the events.
fn asyncapi() -> Value {
    let messages: Vec<Message> = facts().chain(audit()).collect();
    let channels: BTreeSet<&str> = messages.iter().map(|message| message.channel).collect();
    let described = |describe: &dyn Fn(&str) -> Value| -> Map<String, Value> {
        channels.iter().map(|channel| ((*channel).to_owned(), describe(channel))).collect()
    };
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Dependable Call Exchange: events",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "CloudEvents 1.0 in structured mode. At least once, and in order for each subject, which is the message's key. \
                            Types gain fields and never lose one. Money is in micro-units (1.00 is 1000000), moments in data are \
                            microseconds since 1970-01-01T00:00:00Z.",
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": described(&|name| channel(name, &messages)),
        "operations": described(&operation),
        "components": {
            "messages": messages.iter().map(|it| (it.key(), it.describe())).collect::<Map<_, _>>(),
            "schemas": schemas(),
        },
    })
}

/// The messages of facts: the variants of an untagged enum are described in their order.
fn facts() -> impl Iterator<Item = Message> {
    let RefOr::T(Schema::OneOf(facts)) = Fact::schema() else { unreachable!("facts are one of many") };
    EVENT_KINDS.iter().zip(facts.items).map(|(EventKind { name, subject }, data)| Message {
        channel: topic_of_subject(subject),
        name,
        subject,
        data: json!(data),
    })
}

fn audit() -> impl Iterator<Item = Message> {
    AUDIT.into_iter().map(|(name, description)| Message {
        channel: topic_of_subject("audit"),
        name,
        subject: "audit",
        data: json!({ "type": "object", "description": description }),
    })
}

/// What facts are made of.
fn schemas() -> Map<String, Value> {
    let mut schemas = Vec::new();
    Fact::schemas(&mut schemas);
    schemas.into_iter().map(|(name, schema)| (name, json!(schema))).collect()
}

impl Message {
    /// Its key among the messages: a live bid and a bid profile are both `bid.placed`.
    fn key(&self) -> String {
        format!("{}.{}", self.channel, self.name)
    }

    fn describe(&self) -> Value {
        let Self { name, subject, data, .. } = self;
        let described = data["description"].as_str().unwrap_or_default();
        let id = if matches!(*subject, "audit" | "exchange") { "" } else { "/.+" };
        json!({
            "name": name,
            "summary": described,
            "payload": {
                "type": "object",
                "required": ["specversion", "id", "source", "type", "subject", "time", "data"],
                "properties": {
                    "specversion": { "const": "1.0" },
                    "id": { "type": "string", "format": "uuid", "description": "The same when it comes again" },
                    "source": { "const": EVENT_SOURCE },
                    "type": { "const": name },
                    "subject": { "type": "string", "pattern": format!("^{subject}{id}$") },
                    "time": { "type": "string", "format": "date-time" },
                    "datacontenttype": { "const": "application/json" },
                    "data": data,
                },
            },
        })
    }
}

fn channel(channel: &str, messages: &[Message]) -> Value {
    let own = messages.iter().filter(|message| message.channel == channel);
    let messages: Map<String, Value> = own
        .map(|message| {
            let key = message.key();
            let reference = json!({ "$ref": format!("#/components/messages/{key}") });
            (key, reference)
        })
        .collect();
    json!({
        "address": format!("{{topic_prefix}}.{channel}"),
        "parameters": { "topic_prefix": { "default": "dce", "description": "bus.kafka.topic_prefix" } },
        "messages": messages,
    })
}

fn operation(channel: &str) -> Value {
    json!({ "action": "send", "channel": { "$ref": format!("#/channels/{channel}") } })
}
