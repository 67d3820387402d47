//! A baseline: one JSON file in `benches/baselines`, one for each bench target.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

const FOLDER: &str = "benches/baselines";

/// What one bench target measured once, and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Baseline {
    /// The package the bench is in.
    pub(super) package: String,
    /// The bench target.
    pub(super) bench: String,
    /// How to measure it again.
    pub(super) command: String,
    /// Processor, cores and compiler.
    pub(super) machine: String,
    /// The day, such as 2026-11-22.
    pub(super) date: String,
    /// The benchmark that every other one is divided by.
    pub(super) yardstick: String,
    /// Median time of one iteration, in nanoseconds, by benchmark.
    pub(super) medians_ns: BTreeMap<String, f64>,
}

impl Baseline {
    /// Every baseline there is, by name.
    pub(super) fn all(root: &Path) -> Result<BTreeMap<String, Self>> {
        let folder = root.join(FOLDER);
        let mut baselines = BTreeMap::new();
        for entry in std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
            let path = entry?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".json")) else {
                continue;
            };
            let text =
                std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            let baseline = serde_json::from_str(&text).with_context(|| format!("{}", path.display()))?;
            baselines.insert(name.to_owned(), baseline);
        }
        Ok(baselines)
    }

    /// The same benches as measured now, here.
    pub(super) fn replaced_by(&self, medians_ns: BTreeMap<String, f64>) -> Result<Self> {
        let date = said_by("date", &["-u", "+%F"])?;
        // A tenth of a nanosecond is more than any of these figures is sure of.
        let rounded = medians_ns.into_iter().map(|(id, ns)| (id, (ns * 10.0).round() / 10.0)).collect();
        Ok(Self { machine: machine()?, date, medians_ns: rounded, ..self.clone() })
    }

    /// Writes it in place of the one that is there.
    pub(super) fn save(&self, root: &Path, name: &str) -> Result<()> {
        let path = root.join(FOLDER).join(format!("{name}.json"));
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(&path, format!("{text}\n")).with_context(|| format!("writing {}", path.display()))
    }
}

/// Such as `2 x AMD EPYC 7B13, rustc 1.95.0`.
fn machine() -> Result<String> {
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("an unnamed processor", |(_, model)| model.trim());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let rustc = said_by("rustc", &["--version"])?;
    let rustc = rustc.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    Ok(format!("{cores} x {model}, {rustc}"))
}

fn said_by(program: &str, arguments: &[&str]) -> Result<String> {
    let output =
        Command::new(program).args(arguments).output().with_context(|| format!("running {program}"))?;
    if !output.status.success() {
        bail!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
