//! `cargo xtask bench-vs`: runs the criterion benches and compares them with the baselines in the repository.
//!
//! Machines differ and drift, so no absolute time is compared: each baseline names one of its benchmarks as its yardstick, and a
//! benchmark's figure is its median divided by the yardstick's median of the same run.

mod baseline;
mod measured;
mod comparison;

use crate::repository::Repository;
use anyhow::{Result, bail};
use baseline::Baseline;
use clap::Args;
use comparison::Comparison;
use std::process::ExitCode;

/// `cargo xtask bench-vs ...`
#[derive(Args)]
pub(crate) struct BenchVsArguments {
    /// Only the baseline of this name, such as `board`
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Only benchmarks that match this regular expression (and the yardstick)
    #[arg(long, value_name = "REGEX")]
    filter: Option<String>,
    /// Fewer samples: faster, and less sure
    #[arg(long)]
    quick: bool,
    /// How much a ratio may grow, in percent
    #[arg(long, default_value_t = 25, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    tolerance: u32,
    /// Fail when a benchmark grew beyond the tolerance, or was not run
    #[arg(long)]
    strict: bool,
    /// Write what was measured as the new baseline
    #[arg(long, conflicts_with_all = ["filter", "strict", "quick"])]
    record: bool,
}

/// Runs the benches of every baseline, or of the one that is asked for.
pub(crate) fn run(repository: &Repository, arguments: &BenchVsArguments) -> Result<ExitCode> {
    let baselines = Baseline::all(&repository.root)?;
    let wanted: Vec<_> = baselines
        .into_iter()
        .filter(|(name, _)| arguments.only.as_ref().is_none_or(|only| only == name))
        .collect();
    if wanted.is_empty() {
        bail!("no such baseline; benches/baselines has one file for each");
    }
    let mut regressed = false;
    for (name, baseline) in wanted {
        let medians_ns = measured::run(repository, &baseline, arguments)?;
        let comparison = Comparison::of(&baseline, &medians_ns, f64::from(arguments.tolerance))?;
        println!("{name}: {}, {}\n{comparison}", baseline.machine, baseline.date);
        regressed |= comparison.has_regressed();
        if arguments.record {
            baseline.replaced_by(medians_ns)?.save(&repository.root, &name)?;
            println!("recorded in benches/baselines/{name}.json");
        }
    }
    Ok(if arguments.strict && regressed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
