//! The faults: what each one does, in the order people would ask.

use super::stage::{Outcome, Play, Stage};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use test_servers::kafka::KafkaServer;
use test_servers::postgresql::Server;

/// How long the exchange lives between two kills, in milliseconds.
const LIFE_MS: std::ops::RangeInclusive<u64> = 200..=1_500;
/// How often a server is killed.
const SERVER_KILLS: u32 = 5;
/// How long a server that is paused says nothing.
const PAUSE: Duration = Duration::from_secs(10);
/// How long Kafka's events may take to arrive once it is back.
const CATCH_UP: Duration = Duration::from_mins(1);
/// Settings for servers of a moment: nothing here is about losing power.
const QUICK: &str = "-c fsync=off";
/// The library that gives a program another clock, as Debian's package `libfaketime` has it.
const FAKE_CLOCK: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// One kind of bad day.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) run: fn(&Stage<'_>) -> Result<Outcome>,
}

/// All of them.
pub(super) const SCENARIOS: [Scenario; 10] = [
    Scenario { name: "exchange-killed", about: "SIGKILL, on SQLite", run: exchange_killed },
    Scenario {
        name: "exchange-killed-on-postgresql",
        about: "SIGKILL, on PostgreSQL",
        run: exchange_killed_on_postgresql,
    },
    Scenario {
        name: "postgresql-killed",
        about: "SIGKILL of the database, which recovers from its log",
        run: postgresql_killed,
    },
    Scenario { name: "postgresql-paused", about: "the database hangs for 10 s", run: postgresql_paused },
    Scenario { name: "postgresql-slow", about: "every commit takes 100 ms longer", run: postgresql_slow },
    Scenario {
        name: "replica-promoted",
        about: "the primary dies, its synchronous replica takes over",
        run: replica_promoted,
    },
    Scenario { name: "kafka-killed", about: "SIGKILL of the only broker, away for 10 s", run: kafka_killed },
    Scenario { name: "kafka-paused", about: "the only broker hangs for 10 s", run: kafka_paused },
    Scenario { name: "disk-full", about: "the file system takes nothing for 3 s", run: disk_full },
    Scenario { name: "clock-jump", about: "the clock goes an hour forward, then two back", run: clock_jump },
];

fn exchange_killed(stage: &Stage<'_>) -> Result<Outcome> {
    killed(Play::start(stage, "")?, stage.arguments.kills)
}

fn exchange_killed_on_postgresql(stage: &Stage<'_>) -> Result<Outcome> {
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

fn postgresql_killed(stage: &Stage<'_>) -> Result<Outcome> {
    let server = Server::start(QUICK);
    let mut play = Play::start(stage, &store(&server.url("postgres")))?;
    for _ in 0..SERVER_KILLS {
        server.order("kill");
        let away = Duration::from_millis(play.random.u64(0..2_000));
        play.goes_on(away)?;
        server.order("start");
        play.note_injected()?;
        play.goes_on(Duration::from_secs(2))?;
    }
    play.end(true)
}

fn postgresql_paused(stage: &Stage<'_>) -> Result<Outcome> {
    let server = Server::start(QUICK);
    let mut play = Play::start(stage, &store(&server.url("postgres")))?;
    server.order("pause");
    play.goes_on(PAUSE)?;
    server.order("resume");
    play.note_injected()?;
    play.end(true)
}

fn postgresql_slow(stage: &Stage<'_>) -> Result<Outcome> {
    let server = Server::start("");
    let mut play = Play::start(stage, &store(&server.url("postgres")))?;
    for (delay_us, time) in [(100_000, PAUSE), (0, Duration::from_secs(2))] {
        // The setting may not be changed within a transaction, which several statements at once would be.
        for sql in [
            &format!("ALTER SYSTEM SET commit_delay = {delay_us}"),
            "ALTER SYSTEM SET commit_siblings = 0",
            "SELECT pg_reload_conf()",
        ] {
            sql_on(&server, sql)?;
        }
        play.goes_on(time)?;
    }
    play.note_injected()?;
    play.end(false)
}

fn replica_promoted(stage: &Stage<'_>) -> Result<Outcome> {
    let primary = Server::start(QUICK);
    let replica = primary.replica(QUICK);
    // What is acknowledged is on the replica as well: only then can a failover lose nothing.
    for sql in ["ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"] {
        sql_on(&primary, sql)?;
    }
    let hosts = format!("{},{}", primary.folder().display(), replica.folder().display());
    let either = format!("host={hosts} user=dce dbname=postgres target_session_attrs=read-write");
    let settings = format!("{}replica_url = \"{}\"\n", store(&either), replica.url("postgres"));
    let mut play = Play::start(stage, &settings)?;
    primary.order("kill");
    play.goes_on(Duration::from_secs(1))?;
    replica.order("promote");
    play.note_injected()?;
    play.end(true)
}

fn kafka_killed(stage: &Stage<'_>) -> Result<Outcome> {
    kafka_away(stage, "kill", "start")
}

fn kafka_paused(stage: &Stage<'_>) -> Result<Outcome> {
    kafka_away(stage, "pause", "resume")
}

/// Kafka is away for a while. Calls go on; afterwards every event arrives.
fn kafka_away(stage: &Stage<'_>, away: &str, back: &str) -> Result<Outcome> {
    let server = KafkaServer::start();
    let brokers = server.broker();
    let mut play = Play::start(stage, &format!("\n[bus.kafka]\nbrokers = [\"{brokers}\"]\nreplicas = 1\n"))?;
    server.order(away);
    play.goes_on(PAUSE)?;
    server.order(back);
    play.note_injected()?;
    let sent = crate::under_load::exchange::within(CATCH_UP, || {
        let waiting = metric(&play, "dce_kafka_events_waiting")?;
        let sent = metric(&play, "dce_kafka_events_sent_total")?;
        play.goes_on(Duration::from_millis(200))?;
        // Calls go on, so a few events are always on their way.
        Ok((waiting < 100.0 && sent > 0.0).then_some(()))
    })?;
    sent.context("Kafka is back, but the events that waited do not arrive")?;
    play.end(true)
}

/// One figure of the exchange's own metrics; 0 before there is one.
fn metric(play: &Play, name: &str) -> Result<f64> {
    let (_, text) = play.show.site.api.ask("GET", "/metrics", None)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    Ok(line.unwrap_or(0.0))
}

/// No file of the exchange may grow, which its database meets like a full disk.
fn disk_full(stage: &Stage<'_>) -> Result<Outcome> {
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

/// The exchange counts on from the clock it saw at its start: no bill may notice.
fn clock_jump(stage: &Stage<'_>) -> Result<Outcome> {
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

/// The setting that keeps the books on this server.
fn store(url: &str) -> String {
    format!("\n[store]\nkind = \"postgresql\"\nurl = \"{url}\"\n")
}

fn sql_on(server: &Server, sql: &str) -> Result<()> {
    server.sql("postgres", sql).map(drop).map_err(|error| anyhow::anyhow!("{sql}: {error}"))
}
