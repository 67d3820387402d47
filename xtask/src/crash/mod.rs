//! `cargo xtask crash`: the real process under real SIP load is killed again and again; what was acknowledged must be there,
//! once.
//!
//! SIPp offers calls and plays the buyers, a thread pays money in, and `dce serve` is killed with SIGKILL at random times
//! and started again. What the outside saw is written down by the outside: the numbers of the callers that got a 200, the
//! references of the deposits that got a 2xx. At the end these are looked up in the books.

use crate::repository::Repository;
use crate::under_load::exchange::{self, Site};
use crate::under_load::report::{Cycle, Report};
use crate::under_load::show::Show;
use anyhow::{Context, Result};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// How long the exchange may live between two kills.
const LIFE_MS: std::ops::RangeInclusive<u64> = 200..=2_000;
/// After so many kills the exchange is stopped in good order once, and its books are audited.
const KILLS_PER_AUDIT: u32 = 5;

/// What to put the exchange through.
#[derive(clap::Args)]
pub(crate) struct CrashArguments {
    /// How many times to kill the exchange
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    cycles: u32,
    /// Decides when the kills come; drawn when absent
    #[arg(long)]
    seed: Option<u64>,
    /// Calls offered a second
    #[arg(long, default_value_t = 80, value_parser = clap::value_parser!(u32).range(1..=500))]
    cps: u32,
    /// Cargo's profile to build with: release or dev
    #[arg(long, default_value = "release")]
    profile: String,
    /// For people or for machines
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// How the result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One JSON object on stdout; progress goes to stderr.
    Json,
}

impl Format {
    /// A line about how it goes.
    pub(crate) fn say(self, line: &str) {
        match self {
            Self::Text => println!("{line}"),
            Self::Json => eprintln!("{line}"),
        }
    }
}

/// Runs the cycles. Fails when anything acknowledged is lost or there twice, and when the books are not in order.
pub(crate) fn run(repository: &Repository, arguments: &CrashArguments) -> Result<ExitCode> {
    crate::prerequisite::provide(&["dce".to_owned()])?;
    let binary = exchange::build(repository, &arguments.profile)?;
    let folder = std::env::temp_dir().join(format!("dce-crash-{}", std::process::id()));
    std::fs::create_dir(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    arguments.format.say(&format!("seed {seed}, {} cps, data in {}", arguments.cps, folder.display()));
    let outcome = torment(&binary, &folder, arguments, seed);
    match outcome {
        Ok(report) if report.is_clean() => {
            std::fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
            conclude(arguments, &report);
            Ok(ExitCode::SUCCESS)
        }
        Ok(report) => {
            conclude(arguments, &report);
            eprintln!("everything is kept in {}; again: --seed {seed}", folder.display());
            Ok(ExitCode::FAILURE)
        }
        Err(error) => Err(error.context(format!("kept in {}; again: --seed {seed}", folder.display()))),
    }
}

fn conclude(arguments: &CrashArguments, report: &Report) {
    match arguments.format {
        Format::Text => println!("{report}"),
        Format::Json => println!("{}", report.json()),
    }
}

fn torment(binary: &Path, folder: &Path, arguments: &CrashArguments, seed: u64) -> Result<Report> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut show = Show::start(Site::prepare(binary, folder, "")?, folder, arguments.cps)?;
    for number in 1..=arguments.cycles {
        let life = Duration::from_millis(random.u64(LIFE_MS));
        show.goes_on(life)?;
        let down = show.kill_exchange()?;
        let cycle = Cycle {
            number,
            cycles: arguments.cycles,
            life,
            down,
            calls_answered: show.load.answered()?.len(),
            deposits_acknowledged: show.deposits.acknowledged(),
        };
        arguments.format.say(&cycle.to_string());
        if number % KILLS_PER_AUDIT == 0 && number != arguments.cycles {
            show.audit()?;
        }
    }
    // A kill gives no reason to log an error.
    show.end(seed, arguments.cycles, |_| false)
}
