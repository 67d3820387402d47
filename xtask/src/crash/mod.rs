//! `cargo xtask crash`: the real process under real SIP load is killed again and again; what was acknowledged must be there,
//! once.
//!
//! SIPp offers calls and plays the buyers, a thread pays money in, and `dce serve` is killed with SIGKILL at random times
//! and started again. What the outside saw is written down by the outside: the numbers of the callers that got a 200, the
//! references of the deposits that got a 2xx. At the end these are looked up in the books.

use crate::repository::Repository;
use crate::under_load::deposits::Deposits;
use crate::under_load::exchange::{self, Exchange, Site};
use crate::under_load::load::Load;
use crate::under_load::report::{Cycle, Report};
use crate::under_load::{books, marketplace};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

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
    let site = Site::prepare(binary, folder, "")?;
    let mut exchange = Exchange::start(&site)?;
    let buyers = marketplace::load(&site.api)?;
    let mut load = Load::start(folder, &buyers, site.sip, arguments.cps)?;
    let deposits =
        Deposits::start(site.api.clone(), buyers.iter().map(|buyer| buyer.account.clone()).collect());
    let mut report = Report { seed, cycles: arguments.cycles, ..Report::default() };

    for number in 1..=arguments.cycles {
        let life = Duration::from_millis(random.u64(LIFE_MS));
        std::thread::sleep(life);
        exchange.kill()?;
        let down = Instant::now();
        exchange = Exchange::start(&site)?;
        let cycle = Cycle {
            number,
            cycles: arguments.cycles,
            life,
            down: down.elapsed(),
            calls_answered: load.answered()?.len(),
            deposits_acknowledged: deposits.acknowledged(),
        };
        arguments.format.say(&cycle.to_string());
        load.must_run()?;
        if number % KILLS_PER_AUDIT == 0 && number != arguments.cycles {
            exchange.stop()?;
            report.note_audit(&site.verify()?);
            exchange = Exchange::start(&site)?;
        }
    }

    let paid_in = deposits.stop()?;
    load.stop()?;
    site.wait_until_idle()?;
    books::compare(&site.api, &buyers, &load, &paid_in, &mut report)?;
    exchange.stop()?;
    report.note_audit(&site.verify()?);
    report.violations.extend(site.logged_errors()?);
    if report.calls_answered == 0 || report.deposits_acknowledged == 0 {
        bail!("no call was answered, or no deposit acknowledged: this run says nothing");
    }
    Ok(report)
}
