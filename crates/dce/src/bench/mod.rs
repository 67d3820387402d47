//! Benchmarks: every figure the project claims, from one command anyone can run.

pub(crate) mod percentiles;
mod ground;
mod market;
mod auction;
mod decision;
mod plain;
mod settle;
mod outbox;
mod restart;
mod reserve;
mod nodes;

use crate::command_line::{BenchCommand, Format};
use crate::failure::Failure;
use crate::{load, one, print};
use serde::Serialize;
use serde_json::Value;

/// Runs one benchmark and prints its figures.
pub(crate) fn run(command: &BenchCommand) -> Result<(), Vec<Failure>> {
    match command {
        BenchCommand::Decision { bids, calls, seed, format } => {
            let figures = decision::run(*bids as usize, *calls as usize, *seed);
            report(&figures, *format, figures.differences, "route plans differ from the naive scan's")
        }
        BenchCommand::Auction { bids, updates_per_s, calls, seed, format } => {
            let figures = auction::run(*bids as usize, *updates_per_s, *calls as usize, *seed);
            report(&figures, *format, figures.differences, "answers differ from the naive scan's")
        }
        BenchCommand::Settle { settings, calls, in_flight, buyers, format } => {
            let config = load(settings)?.config;
            let settled =
                settle::Load { calls: *calls as usize, in_flight: *in_flight as usize, buyers: *buyers };
            let figures = settle::run(&config, settled).map_err(one)?;
            let violations = usize::try_from(figures.violations).unwrap_or(usize::MAX);
            report(&figures, *format, violations, "violations in the books")
        }
        BenchCommand::Outbox { settings, events, paced_per_s, paced_s, format } => {
            let config = load(settings)?.config;
            let figures = outbox::run(&config, *events as usize, *paced_per_s, *paced_s).map_err(one)?;
            report(&figures, *format, figures.faults, "events are missing or out of order")
        }
        BenchCommand::Restart { settings, bids, seed, format } => {
            let config = load(settings)?.config;
            let figures = restart::run(&config, *bids as usize, *seed).map_err(one)?;
            report(&figures, *format, figures.missing, "bids are missing after the restart")
        }
        BenchCommand::Reserve { settings, reservations, format } => {
            let config = load(settings)?.config;
            let figures = reserve::run(&config.coordination, *reservations as usize).map_err(one)?;
            report(&figures, *format, figures.faults, "reservations or balances are wrong")
        }
        BenchCommand::Nodes { settings, changes, format } => {
            let config = load(settings)?.config;
            let figures = nodes::run(settings, &config, *changes as usize).map_err(one)?;
            report(&figures, *format, figures.missed, "changed bids were not in the next ping's answer")
        }
    }
}

/// Shows the figures, and fails when there are any of what must not be.
fn report(figures: &impl Serialize, format: Format, wrong: usize, what: &str) -> Result<(), Vec<Failure>> {
    show(figures, format).map_err(one)?;
    if wrong == 0 { Ok(()) } else { Err(one(Failure::found(format!("{wrong} {what}")))) }
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
