//! Runs a bench target and reads what criterion wrote down.

use super::BenchVsArguments;
use super::baseline::Baseline;
use crate::repository::Repository;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Folders below criterion's own: group, function, parameter, and one to spare.
const DEPTH_MAX: usize = 4;

#[derive(Deserialize)]
struct Benchmark {
    full_id: String,
}

#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    point_estimate: f64,
}

/// Measures a baseline's benchmarks: the median time of one iteration, in nanoseconds, by benchmark.
pub(super) fn run(
    repository: &Repository,
    baseline: &Baseline,
    arguments: &BenchVsArguments,
) -> Result<BTreeMap<String, f64>> {
    // A place of its own, so that nothing of an earlier run is taken for this one's.
    let results = repository.root.join("target/bench-vs").join(&baseline.bench);
    if results.exists() {
        std::fs::remove_dir_all(&results).with_context(|| format!("clearing {}", results.display()))?;
    }
    let mut cargo = repository.cargo();
    cargo.args(["bench", "-p", &baseline.package, "--bench", &baseline.bench, "--", "--noplot"]);
    if arguments.quick {
        cargo.arg("--quick");
    }
    if let Some(filter) = &arguments.filter {
        cargo.arg(format!("({filter})|^{}$", baseline.yardstick));
    }
    let status = cargo.env("CRITERION_HOME", &results).status().context("running cargo bench")?;
    if !status.success() {
        bail!("{}: failed with {status}", baseline.command);
    }
    let mut medians_ns = BTreeMap::new();
    for folder in folders_with_results(&results, DEPTH_MAX)? {
        let benchmark: Benchmark = read(&folder.join("benchmark.json"))?;
        let estimates: Estimates = read(&folder.join("estimates.json"))?;
        medians_ns.insert(benchmark.full_id, estimates.median.point_estimate);
    }
    Ok(medians_ns)
}

fn folders_with_results(folder: &Path, depth: usize) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if !path.is_dir() {
            continue;
        }
        if path.ends_with("new") {
            found.push(path);
        } else if depth > 0 {
            found.extend(folders_with_results(&path, depth - 1)?);
        }
    }
    Ok(found)
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{}", path.display()))
}
