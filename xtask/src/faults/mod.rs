//! `cargo xtask faults`: the real exchange under real SIP load, while what it stands on is killed, paused, emptied, moved, cut off, slowed
//! down or full.
//!
//! Each fault has servers, books and calls of its own. What the outside saw acknowledged (callers that got a 200, deposits that got a
//! 2xx) is looked up in the books at the end, and the books are audited: nothing lost, nothing twice, every hold settled.

mod stage;
mod scenarios;

use crate::crash::Format;
use crate::repository::Repository;
use crate::under_load::exchange;
use crate::{kafka, prerequisite};
use anyhow::{Context, Result, bail};
use scenarios::{SCENARIOS, Scenario};
use serde_json::{Value, json};
use stage::{Outcome, Stage};
use std::process::ExitCode;

/// What to put the exchange through.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask faults\n  cargo xtask faults --only replica-promoted --only kafka-killed\n  \
                        cargo xtask faults --kills 5 --format json"
)]
pub(crate) struct FaultsArguments {
    /// Only these faults, by name; absent is all
    #[arg(long, value_name = "FAULT", value_parser = scenario_names())]
    only: Vec<String>,
    /// How many times the exchange is killed where that is the fault
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    kills: u32,
    /// Decides when things happen; drawn when absent
    #[arg(long)]
    seed: Option<u64>,
    /// Calls offered a second
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=500))]
    cps: u32,
    /// Cargo's profile to build with: release or dev
    #[arg(long, default_value = "release")]
    profile: String,
    /// For people or for machines
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

fn scenario_names() -> clap::builder::PossibleValuesParser {
    SCENARIOS.map(|scenario| clap::builder::PossibleValue::new(scenario.name).help(scenario.about)).into()
}

/// Runs the faults one after the other. Fails when anything acknowledged is lost or there twice, when the books are not in
/// order, and when a fault could not be made.
pub(crate) fn run(repository: &Repository, arguments: &FaultsArguments) -> Result<ExitCode> {
    let needed = ["dce", "infra", "xtask"].map(str::to_owned);
    prerequisite::provide(&needed)?;
    kafka::provide(repository, &needed)?;
    let binary = exchange::build(repository, &arguments.profile)?;
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    arguments.format.say(&format!("seed {seed}, {} calls a second", arguments.cps));
    let chosen = SCENARIOS
        .iter()
        .filter(|it| arguments.only.is_empty() || arguments.only.iter().any(|name| name == it.name));
    let mut results = Vec::new();
    for scenario in chosen {
        let folder = std::env::temp_dir().join(format!("dce-fault-{}-{}", scenario.name, std::process::id()));
        std::fs::create_dir(&folder).with_context(|| format!("creating {}", folder.display()))?;
        let stage = Stage { binary: &binary, folder: &folder, arguments, seed };
        let outcome = (scenario.run)(&stage).with_context(|| {
            format!("{}: kept in {}; again: --seed {seed}", scenario.name, folder.display())
        })?;
        arguments.format.say(&line(scenario, &outcome));
        if outcome.report.is_clean() {
            std::fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
        } else {
            arguments.format.say(&format!("{}\nkept in {}", outcome.report, folder.display()));
        }
        results.push((scenario, outcome));
    }
    if results.is_empty() {
        bail!("no fault was chosen");
    }
    let clean = results.iter().all(|(_, outcome)| outcome.report.is_clean());
    if arguments.format == Format::Json {
        let results: Vec<Value> =
            results.iter().map(|(scenario, outcome)| outcome.json(scenario.name)).collect();
        println!("{}", json!({ "seed": seed, "faults": results, "clean": clean }));
    }
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One line for people.
fn line(scenario: &Scenario, outcome: &Outcome) -> String {
    let report = &outcome.report;
    format!(
        "{:32} {:3} injected, back within {:6} ms; {:5} calls offered, {:5} answered; {:5} deposits acknowledged; lost {}, twice {}, \
         violations {}",
        scenario.name,
        outcome.injected,
        outcome.longest_outage.as_millis(),
        report.calls_offered,
        report.calls_answered,
        report.deposits_acknowledged,
        report.lost.len(),
        report.twice.len(),
        report.violations.len()
    )
}
