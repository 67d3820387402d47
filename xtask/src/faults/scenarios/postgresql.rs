//! The database dies, hangs, is slow, and is replaced by its replica.

use super::PAUSE;
use crate::faults::stage::{Outcome, Play, Stage};
use anyhow::Result;
use std::time::Duration;
use test_servers::postgresql::Server;

/// How often the server is killed.
const KILLS: u32 = 5;
/// Settings for servers of a moment: nothing here is about losing power.
pub(super) const QUICK: &str = "-c fsync=off";

pub(super) fn killed(stage: &Stage<'_>) -> Result<Outcome> {
    let server = Server::start(QUICK);
    let mut play = Play::start(stage, &store(&server.url("postgres")))?;
    for _ in 0..KILLS {
        server.order("kill");
        let away = Duration::from_millis(play.random.u64(0..2_000));
        play.goes_on(away)?;
        server.order("start");
        play.note_injected()?;
        play.goes_on(Duration::from_secs(2))?;
    }
    play.end(true)
}

pub(super) fn paused(stage: &Stage<'_>) -> Result<Outcome> {
    let server = Server::start(QUICK);
    let mut play = Play::start(stage, &store(&server.url("postgres")))?;
    server.order("pause");
    play.goes_on(PAUSE)?;
    server.order("resume");
    play.note_injected()?;
    play.end(true)
}

pub(super) fn slow(stage: &Stage<'_>) -> Result<Outcome> {
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

pub(super) fn replica_promoted(stage: &Stage<'_>) -> Result<Outcome> {
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

/// The setting that keeps the books on this server.
pub(super) fn store(url: &str) -> String {
    format!("\n[store]\nkind = \"postgresql\"\nurl = \"{url}\"\n")
}

fn sql_on(server: &Server, sql: &str) -> Result<()> {
    server.sql("postgres", sql).map(drop).map_err(|error| anyhow::anyhow!("{sql}: {error}"))
}
