//! Benchmarks: every figure the project claims, from one command anyone can run.

pub(crate) mod percentiles;
mod market;
mod auction;
mod decision;
mod plain;
mod settle;
mod outbox;
mod restart;
mod reserve;

use crate::command_line::{BenchCommand, Format};
use crate::failure::Failure;
use crate::print;
use infra::coordination::RedisUrl;
use serde::Serialize;
use serde_json::Value;

/// Runs one benchmark and prints its figures.
pub(crate) fn run(command: &BenchCommand) -> Result<(), Failure> {
    match command {
        BenchCommand::Decision { bids, calls, seed, format } => {
            let figures = decision::run(*bids as usize, *calls as usize, *seed);
            show(&figures, *format)?;
            none_of(figures.differences as u64, "route plans differ from the naive scan's")
        }
        BenchCommand::Auction { bids, updates_per_s, calls, seed, format } => {
            let figures = auction::run(*bids as usize, *updates_per_s, *calls as usize, *seed);
            show(&figures, *format)?;
            none_of(figures.differences as u64, "answers differ from the naive scan's")
        }
        BenchCommand::Settle { calls, in_flight, buyers, store, format } => {
            let load = settle::Load {
                calls: *calls as usize,
                in_flight: *in_flight as usize,
                buyers: *buyers,
                postgresql: store.as_deref(),
            };
            let figures = settle::run(&load)?;
            show(&figures, *format)?;
            none_of(figures.violations, "violations in the books")
        }
        BenchCommand::Outbox { brokers, events, paced_per_s, paced_s, format } => {
            let figures = outbox::run(brokers.clone(), *events as usize, *paced_per_s, *paced_s)?;
            show(&figures, *format)?;
            none_of(figures.faults as u64, "events are missing or out of order")
        }
        BenchCommand::Restart { bids, seed, format } => {
            let figures = restart::run(*bids as usize, *seed)?;
            show(&figures, *format)?;
            none_of(figures.missing as u64, "bids are missing after the restart")
        }
        BenchCommand::Reserve { url, reservations, format } => {
            let url = RedisUrl::parse(url).map_err(|error| Failure::usage(format!("--url {error}")))?;
            let figures = reserve::run(url, *reservations as usize)?;
            show(&figures, *format)?;
            none_of(figures.faults as u64, "reservations or balances are wrong")
        }
    }
}

/// Fails when there are any of what must not be.
fn none_of(count: u64, what: &str) -> Result<(), Failure> {
    if count == 0 { Ok(()) } else { Err(Failure::found(format!("{count} {what}"))) }
}

/// One JSON object, or one line a figure.
fn show(figures: &impl Serialize, format: Format) -> Result<(), Failure> {
    let figures = serde_json::to_value(figures).expect("figures serialise");
    print(&match format {
        Format::Json => format!("{figures}\n"),
        Format::Text => lines("", &figures),
    })
}

fn lines(name: &str, value: &Value) -> String {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(field, value)| {
                lines(&if name.is_empty() { field.clone() } else { format!("{name} {field}") }, value)
            })
            .collect(),
        Value::Number(number) => match number.as_f64() {
            Some(figure) if number.is_f64() => format!("{name:24} {figure:>14.3}\n"),
            _ => format!("{name:24} {number:>14}\n"),
        },
        other => format!("{name:24} {other}\n"),
    }
}
