//! The exchange itself is killed, and its disk and clock misbehave.

use super::PAUSE;
use super::postgresql::{QUICK, store};
use crate::faults::stage::{Outcome, Play, Stage};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use test_servers::postgresql::Server;

/// How long the exchange lives between two kills, in milliseconds.
const LIFE_MS: std::ops::RangeInclusive<u64> = 200..=1_500;
/// The library that gives a program another clock, as Debian's package `libfaketime` has it.
const FAKE_CLOCK: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
/// The source of the library that gives a program a slow disk.
const SLOW_DISK: &str = include_str!("slow_disk.c");

pub(super) fn exchange_killed(stage: &Stage<'_>) -> Result<Outcome> {
    killed(Play::start(stage, "")?, stage.arguments.kills)
}

pub(super) fn exchange_killed_on_postgresql(stage: &Stage<'_>) -> Result<Outcome> {
    let server = Server::start(QUICK);
    killed(Play::start(stage, &store(&server.url("postgres")))?, stage.arguments.kills)
}

/// Kills the exchange so many times. A kill gives no reason to log an error.
fn killed(mut play: Play, kills: u32) -> Result<Outcome> {
    for _ in 0..kills {
        let life = Duration::from_millis(play.random.u64(LIFE_MS));
        play.goes_on(life)?;
        play.kill_exchange()?;
    }
    play.end(false)
}

/// No file of the exchange may grow, which its database meets like a full disk.
pub(super) fn disk_full(stage: &Stage<'_>) -> Result<Outcome> {
    let mut play = Play::start(stage, "")?;
    for _ in 0..3 {
        limit_files(play.show.process(), "1")?;
        play.goes_on(Duration::from_secs(3))?;
        limit_files(play.show.process(), "unlimited")?;
        play.note_injected()?;
        play.goes_on(Duration::from_secs(1))?;
    }
    play.end(true)
}

fn limit_files(process: u32, bytes: &str) -> Result<()> {
    let status = Command::new("prlimit")
        .args(["--pid", &process.to_string(), &format!("--fsize={bytes}:unlimited")])
        .status()
        .context("running prlimit")?;
    if !status.success() {
        bail!("prlimit does not set the exchange's limit ({status})");
    }
    Ok(())
}

/// Every sync of a file takes longer: first as on a disk that is overloaded, then as on one that hangs.
pub(super) fn disk_slow(stage: &Stage<'_>) -> Result<Outcome> {
    let (library, delay) = (stage.folder.join("slow_disk.so"), stage.folder.join("delay"));
    build_slow_disk(stage.folder, &library)?;
    let set = |delay_ms: u32| std::fs::write(&delay, delay_ms.to_string()).context("slowing the disk down");
    set(0)?;
    let variables = vec![
        ("LD_PRELOAD", library.display().to_string()),
        ("SLOW_DISK_DELAY_FILE", delay.display().to_string()),
    ];
    let mut play = Play::start_with(stage, "", variables)?;
    for delay_ms in [200, 3_000] {
        set(delay_ms)?;
        let before = play.show.deposits.acknowledged();
        play.goes_on(PAUSE)?;
        let acknowledged = play.show.deposits.acknowledged() - before;
        set(0)?;
        // The payer sends one after the other, and each waits for a sync that begins after it came.
        let most = usize::try_from(PAUSE.as_millis() / u128::from(delay_ms))? + 2;
        if acknowledged > most {
            bail!(
                "{acknowledged} deposits were taken where {most} could be: the disk was not slow, or nobody waited for it"
            );
        }
        play.note_injected()?;
    }
    play.end(false)
}

fn build_slow_disk(folder: &Path, library: &Path) -> Result<()> {
    let source = folder.join("slow_disk.c");
    std::fs::write(&source, SLOW_DISK).context("writing slow_disk.c")?;
    let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(library).arg(&source).status();
    if !built.context("running the C compiler")?.success() {
        bail!("cc does not build slow_disk.c; install a C compiler");
    }
    Ok(())
}

/// The exchange counts on from the clock it saw at its start: no bill may notice.
pub(super) fn clock_jump(stage: &Stage<'_>) -> Result<Outcome> {
    if !Path::new(FAKE_CLOCK).exists() {
        bail!("{FAKE_CLOCK} is missing; install Debian's package libfaketime");
    }
    let clock = stage.folder.join("clock");
    let set = |shift: &str| std::fs::write(&clock, shift).context("setting the clock");
    set("+0s")?;
    let variables = vec![
        ("LD_PRELOAD", FAKE_CLOCK.to_owned()),
        ("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    let mut play = Play::start_with(stage, "", variables)?;
    for shift in ["+3600s", "-3600s"] {
        set(shift)?;
        play.goes_on(Duration::from_secs(3))?;
        play.note_injected()?;
    }
    // A start under the clock that was set back: time does not run backwards in the books.
    play.kill_exchange()?;
    play.end(false)
}
