//! `dce events dead-letters|replay`: events that consumers refused, and giving them again.

use crate::command_line::{EventsCommand, Format};
use crate::config::Config;
use crate::failure::Failure;
use crate::print;
use comfy_table::{Table, presets};
use exchange::audit::Actor;
use infra::bus::BusError;
use infra::bus::kafka::{KafkaConfig, UnreadableMessage};
use infra::store::{
    DeadLetter, LetterFilter, LetterId, Page, Place, PostgresqlError, Store, StoreError, StoreOptions,
};
use serde_json::{Value, json};
use uuid::Uuid;

/// Letters that one command has given again.
const REPLAYED_MAX: u32 = 100_000;

/// Runs it on the books, or on the Kafka, of this configuration.
pub(crate) fn run(config: &Config, command: &EventsCommand) -> Result<(), Failure> {
    match command {
        EventsCommand::DeadLetters { group, kafka: true, format } => {
            let mut messages = kafka(config)?.unreadable_messages().map_err(away)?;
            messages.retain(|message| group.as_ref().is_none_or(|group| message.group == *group));
            print(&show(*format, &messages, messages_table))
        }
        EventsCommand::DeadLetters { group, kafka: false, format } => {
            list(config.place(), group.clone(), *format)
        }
        EventsCommand::Replay { id, group, kafka: true, format, .. } => {
            give_back(kafka(config)?, id.as_deref(), group.as_deref(), *format)
        }
        EventsCommand::Replay { id, group, kafka: false, format, .. } => {
            replay(config.place(), id.as_deref(), group.clone(), *format)
        }
    }
}

fn kafka(config: &Config) -> Result<&KafkaConfig, Failure> {
    if config.bus.kafka.brokers.is_empty() {
        return Err(Failure::usage(
            "--kafka: bus.kafka.brokers is empty; name brokers, or leave --kafka out",
        ));
    }
    Ok(&config.bus.kafka)
}

fn away(error: BusError) -> Failure {
    Failure::environment(error.to_string())
}

fn show<T: serde::Serialize>(format: Format, items: &[T], table: impl FnOnce(&[T]) -> String) -> String {
    match format {
        Format::Json => format!("{}\n", json!({ "dead_letters": items })),
        Format::Text => table(items),
    }
}

/// What a running exchange can be asked instead.
fn or_ask(error: StoreError, what: &str) -> Failure {
    match error {
        StoreError::Locked { .. } | StoreError::Postgresql(PostgresqlError::Taken { .. }) => {
            Failure::environment(format!("{error}; or ask the running exchange: {what} of its API"))
        }
        error => error.into(),
    }
}

fn list(place: Place, consumer: Option<String>, format: Format) -> Result<(), Failure> {
    let reader = Store::open_read_only(place).map_err(|error| or_ask(error, "GET /v1/dead-letters"))?;
    let filter = LetterFilter { consumer, ..LetterFilter::default() };
    let mut letters = Vec::new();
    let mut page = Some(Page::first(infra::store::MAX_PAGE));
    while let Some(asked) = page {
        let listing = reader.dead_letters(&filter, &asked)?;
        page = asked.following(&listing);
        letters.extend(listing.items.iter().map(as_json));
    }
    print(&show(format, &letters, letters_table))
}

fn as_json(letter: &DeadLetter) -> Value {
    json!({
        "id": letter.event.id,
        "group": letter.consumer,
        "type": letter.event.kind,
        "subject": letter.event.subject,
        "state": letter.state,
        "times": letter.times,
        "put_at": letter.put_at,
        "finding": letter.finding,
    })
}

fn letters_table(letters: &[Value]) -> String {
    let fields = ["id", "group", "type", "state", "times", "finding"];
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(fields);
    for letter in letters {
        table.add_row(fields.map(|field| match &letter[field] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }));
    }
    format!("{table}\n")
}

fn messages_table(messages: &[UnreadableMessage]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["id", "from", "group", "given back", "finding"]);
    for UnreadableMessage { id, from, group, finding, replayed, .. } in messages {
        let replayed = if *replayed { "yes" } else { "no" };
        table.add_row([id, from, group, replayed, finding]);
    }
    format!("{table}\n")
}

fn replay(place: Place, id: Option<&str>, consumer: Option<String>, format: Format) -> Result<(), Failure> {
    let event = id.map(str::parse::<Uuid>).transpose();
    let event = event.map_err(|error| {
        Failure::usage(format!("--id: {error}; give one that `dce events dead-letters` shows"))
    })?;
    let store = Store::open(place, &StoreOptions::default())
        .map_err(|error| or_ask(error, "POST /v1/dead-letters/replay"))?;
    let reader = store.reader();
    let filter = LetterFilter { consumer, event, state: None };
    let letters = reader.waiting_letters(&filter, REPLAYED_MAX)?;
    if letters.is_empty()
        && event.is_some()
        && reader.dead_letters(&filter, &Page::first(1))?.items.is_empty()
    {
        return Err(Failure::usage("--id: there is no such dead letter; see `dce events dead-letters`"));
    }
    if !letters.is_empty() {
        store.writer().replay_dead_letters(letters.clone(), Actor::CommandLine)?;
    }
    let asked: Vec<_> = letters
        .iter()
        .map(|LetterId { consumer, seq, .. }| json!({ "group": consumer, "seq": seq }))
        .collect();
    print(&match format {
        Format::Json => format!("{}\n", json!({ "asked_for": asked })),
        Format::Text => {
            format!("{} events are given again once the exchange runs\n", letters.len())
        }
    })
}

fn give_back(
    kafka: &KafkaConfig,
    id: Option<&str>,
    group: Option<&str>,
    format: Format,
) -> Result<(), Failure> {
    let mut messages = kafka.unreadable_messages().map_err(away)?;
    messages.retain(|message| {
        id.is_none_or(|id| message.id == id) && group.is_none_or(|group| message.group == group)
    });
    if messages.is_empty() && id.is_some() {
        return Err(Failure::usage("--id: there is no such message; see `dce events dead-letters --kafka`"));
    }
    let given = kafka.give_back(messages).map_err(away)?;
    print(&match format {
        Format::Json => format!("{}\n", json!({ "given_back": given })),
        Format::Text => format!("{} messages are back in their topics\n", given.len()),
    })
}
