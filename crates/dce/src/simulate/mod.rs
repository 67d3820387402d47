//! `dce simulate`: seeded worlds in virtual time. The engine and the signalling are the real ones; network, disk, clock
//! and people are not.

mod tally;
mod market;
mod people;
mod sellers;
mod bidders;
mod network;
mod disk;
mod books;
mod promises;
mod auctions;
mod agenda;
mod world;

use crate::command_line::Format;
use crate::config::Config;
use crate::{failure, print};
use books::{Books, Digests};
use exchange::compliance::screening::Screening;
use exchange::policy::Policy;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tally::Tally;

/// Every this many seeds one is played twice: equal seeds must give equal worlds, or a failure could not be replayed.
const REPLAY_EVERY: u64 = 50;
/// Failing seeds that are kept in full.
const FAILURES_MAX: usize = 20;

/// What all the worlds came to.
#[derive(Debug, Serialize)]
struct Simulation {
    seeds: u64,
    first_seed: u64,
    #[serde(flatten)]
    tally: Tally,
    violations: usize,
    failures: Vec<Failure>,
    took_s: f64,
}

/// A seed that broke a promise.
#[derive(Debug, Serialize)]
struct Failure {
    seed: u64,
    violations: Vec<String>,
    /// Plays exactly this world again.
    replay: String,
}

/// Plays the worlds, prints what they came to, and fails when a promise was broken.
pub(crate) fn run(
    first_seed: u64,
    seeds: u64,
    calls: u32,
    trace: bool,
    format: Format,
) -> Result<(), failure::Failure> {
    if trace {
        world::play(first_seed, calls, &shipped_screening(), true);
    }
    let progress = ProgressBar::new(seeds).with_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} worlds, {eta} left").expect("a valid template"),
    );
    let simulation = play_all(first_seed, seeds, calls, |_| progress.inc(1));
    progress.finish_and_clear();
    print(&match format {
        Format::Text => simulation.to_string(),
        Format::Json => {
            format!("{}\n", serde_json::to_string(&simulation).expect("numbers and text serialise"))
        }
    })?;
    match simulation.failures.first() {
        None => Ok(()),
        Some(failure) => Err(failure::Failure::found(format!(
            "{} violations; replay the first with: {}",
            simulation.violations, failure.replay
        ))),
    }
}

/// One world on the stack of a configuration.
#[derive(Debug, Serialize)]
struct InBooks {
    seed: u64,
    #[serde(flatten)]
    tally: Tally,
    #[serde(flatten)]
    digests: Digests,
}

/// Plays one world on the stack of a configuration, prints what that came to, and fails when a promise was broken.
pub(crate) fn run_in_books(
    config: &Config,
    seed: u64,
    calls: u32,
    format: Format,
) -> Result<(), failure::Failure> {
    let (verdict, books) = world::play_in_books(seed, calls, &shipped_screening(), Books::open(config)?);
    let mut digests = books.map(Books::conclude).expect("the world gives its books back")?;
    digests.violations.splice(0..0, verdict.violations);
    let violations = digests.violations.len();
    let in_books = InBooks { seed, tally: verdict.tally, digests };
    print(&match format {
        Format::Text => in_books.to_string(),
        Format::Json => {
            format!("{}\n", serde_json::to_string(&in_books).expect("numbers and text serialise"))
        }
    })?;
    if violations == 0 { Ok(()) } else { Err(failure::Failure::found(format!("{violations} violations"))) }
}

impl std::fmt::Display for InBooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { seed, tally, digests } = self;
        for violation in &digests.violations {
            writeln!(f, "{violation}")?;
        }
        let Tally { calls, converted, writes, crashes, .. } = tally;
        let Digests { ledger_digest, events_digest, figures_digest, events, violations } = digests;
        writeln!(
            f,
            "seed {seed}: {calls} calls, {converted} converted; {writes} units written, {crashes} crashes, {events} events; \
             {} violations\nledger   {ledger_digest}\nevents   {events_digest}\nfigures  {figures_digest}",
            violations.len()
        )
    }
}

fn shipped_screening() -> Arc<Screening> {
    Arc::new(Screening::new(Policy::default().screening).expect("the shipped rules are sound"))
}

/// Plays `seeds` worlds of `calls` calls each on all cores, telling `progress` after each.
fn play_all(first_seed: u64, seeds: u64, calls: u32, progress: impl Fn(u64) + Sync) -> Simulation {
    let started = Instant::now();
    let screening = shipped_screening();
    let next = AtomicU64::new(0);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut share = (Tally::default(), 0, Vec::new());
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= seeds {
                return share;
            }
            let seed = first_seed.wrapping_add(index);
            let violations = play(seed, calls, &screening, index.is_multiple_of(REPLAY_EVERY), &mut share.0);
            share.1 += violations.len();
            if !violations.is_empty() && share.2.len() < FAILURES_MAX {
                let replay = format!("dce simulate --seeds 1 --first-seed {seed} --calls {calls}");
                share.2.push(Failure { seed, violations, replay });
            }
            progress(index + 1);
        }
    };
    let shares: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a world panicked: that is a defect")).collect()
    });
    let mut simulation = Simulation {
        seeds,
        first_seed,
        tally: Tally::default(),
        violations: 0,
        failures: Vec::new(),
        took_s: started.elapsed().as_secs_f64(),
    };
    for (tally, violations, failures) in shares {
        simulation.tally.add(&tally);
        simulation.violations += violations;
        simulation.failures.extend(failures);
    }
    simulation.failures.sort_by_key(|failure| failure.seed);
    simulation.failures.truncate(FAILURES_MAX);
    simulation
}

impl std::fmt::Display for Simulation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for Failure { seed, violations, replay } in &self.failures {
            writeln!(f, "seed {seed}: {}\n    {replay}", violations.join("\n    "))?;
        }
        let Tally { calls, connected, converted, pings, reserved, redeemed, expired, .. } = self.tally;
        let Tally { live_asked, live_won, dealt, crashes, refused_disk_full, .. } = self.tally;
        let Tally { packets, packets_lost, writes, virtual_s, .. } = self.tally;
        writeln!(
            f,
            "{} worlds in {:.1} s: {calls} calls, {connected} connected, {converted} converted; \
             {pings} pings, {reserved} reserved, {redeemed} redeemed, {expired} expired; \
             {live_asked} live bidders asked, {live_won} won; {dealt} places by deals; \
             {packets} packets, {packets_lost} lost; {writes} units written, {crashes} crashes, \
             {refused_disk_full} calls refused by a full disk; {virtual_s} virtual seconds; {} violations",
            self.seeds, self.took_s, self.violations
        )
    }
}

fn play(seed: u64, calls: u32, screening: &Arc<Screening>, twice: bool, tally: &mut Tally) -> Vec<String> {
    let verdict = world::play(seed, calls, screening, false);
    tally.add(&verdict.tally);
    let mut violations = verdict.violations;
    if twice && world::play(seed, calls, screening, false).digest != verdict.digest {
        violations
            .push("the same seed gave another world: something does not follow from the seed".to_owned());
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_world() {
        let screening = shipped_screening();
        let digests: Vec<u64> =
            (1..=12).map(|seed| world::play(seed, 20, &screening, false).digest).collect();
        let again: Vec<u64> = (1..=12).map(|seed| world::play(seed, 20, &screening, false).digest).collect();
        assert_eq!(digests, again);
        let different: std::collections::BTreeSet<u64> = digests.iter().copied().collect();
        assert_eq!(different.len(), digests.len(), "different seeds, different worlds");
    }
}
