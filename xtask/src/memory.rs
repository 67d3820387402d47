//! `cargo xtask memory`: the memory of a call that is up, in the real process with real calls.
//!
//! SIPp sets up calls that stay up. What the process has resident when all of them are, less what it had when a tenth of them was, is divided
//! by the calls in between; once when the last one was just answered, and once after SIP's longest timer (RFC 3261: 32 s), when
//! nothing is kept any more of how they were set up.

use crate::crash::Format;
use crate::repository::Repository;
use crate::under_load::exchange::{self, Exchange, Site, within};
use crate::under_load::load::Load;
use crate::under_load::marketplace;
use anyhow::{Context, Result};
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Until all calls must be up.
const SET_UP_TIMEOUT: Duration = Duration::from_mins(5);
/// A little more than the longest timer of a transaction, 64 times T1.
const TRANSACTIONS_OVER: Duration = Duration::from_secs(36);

/// What is measured.
#[derive(clap::Args)]
pub(crate) struct MemoryArguments {
    /// Calls that are up at the same time
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u32).range(100..=20_000))]
    calls: u32,
    /// Calls set up a second
    #[arg(long, default_value_t = 150, value_parser = clap::value_parser!(u32).range(1..=500))]
    cps: u32,
    /// Cargo's profile to build with: release or dev
    #[arg(long, default_value = "release")]
    profile: String,
    /// For people or for machines
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Bytes for each call that is up.
struct Figures {
    just_set_up: u64,
    settled_down: u64,
}

/// Measures and prints.
pub(crate) fn run(repository: &Repository, arguments: &MemoryArguments) -> Result<ExitCode> {
    crate::prerequisite::provide(&["dce".to_owned()])?;
    let binary = exchange::build(repository, &arguments.profile)?;
    let folder = std::env::temp_dir().join(format!("dce-memory-{}", std::process::id()));
    std::fs::create_dir(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let measured = measure(&binary, &folder, arguments);
    let Figures { just_set_up, settled_down } =
        measured.with_context(|| format!("kept in {}", folder.display()))?;
    std::fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
    match arguments.format {
        Format::Text => println!(
            "{} calls up: {just_set_up} bytes each when just set up, {settled_down} bytes each {} s later",
            arguments.calls,
            TRANSACTIONS_OVER.as_secs()
        ),
        Format::Json => println!(
            "{}",
            json!({
                "calls": arguments.calls,
                "bytes_per_call_just_set_up": just_set_up,
                "bytes_per_call": settled_down,
            })
        ),
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(binary: &Path, folder: &Path, arguments: &MemoryArguments) -> Result<Figures> {
    let site = Site::prepare(binary, folder, "")?;
    let exchange = Exchange::start(&site)?;
    let buyer = marketplace::load_for_long_calls(&site.api)?;
    let (few, all) = (arguments.calls / 10, arguments.calls);
    let mut load = Load::start_to_stay(folder, &[buyer], site.sip, arguments.cps, all)?;
    let wait_for = |calls: u32| {
        let up = within(SET_UP_TIMEOUT, || {
            let totals = site.api.get("/v1/totals")?;
            Ok(totals["open"].as_u64().filter(|open| *open >= u64::from(calls)))
        })?;
        up.with_context(|| format!("{calls} calls were not up in time"))
    };
    let first = (wait_for(few)?, resident_bytes(exchange.process())?);
    let last = (wait_for(all)?, resident_bytes(exchange.process())?);
    load.must_run()?;
    std::thread::sleep(TRANSACTIONS_OVER);
    wait_for(all).context("calls ended that should have stayed up")?;
    let later = (last.0, resident_bytes(exchange.process())?);
    let per_call = |(calls, bytes): (u64, u64)| bytes.saturating_sub(first.1) / (calls - first.0).max(1);
    Ok(Figures { just_set_up: per_call(last), settled_down: per_call(later) })
}

/// What a process has in memory (`VmRSS` of proc(5)).
fn resident_bytes(process: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).context("reading /proc")?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = resident.and_then(|text| text.trim().strip_suffix(" kB")).context("no VmRSS")?;
    Ok(kibibytes.trim().parse::<u64>().context("VmRSS is not a number")? * 1024)
}
