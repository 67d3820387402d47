//! What nodes share dies, hangs and is emptied. Nothing of it is in the books: calls go on, and the API does what the policy says.

use super::PAUSE;
use crate::faults::stage::{Outcome, Play, Stage};
use anyhow::{Result, bail};
use std::time::Duration;
use test_servers::redis::RedisServer;

/// How often it is killed, and emptied.
const TIMES: u32 = 5;
/// How long the exchange may take to notice. It pings once a second, and gives an answer half of one.
const NOTICE: Duration = Duration::from_secs(3);

/// What the exchange is to do without Redis.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    Degrade,
    Refuse,
}

/// How it goes away and comes back, how often, and for how long.
struct Absence {
    leave: &'static str,
    come_back: &'static str,
    times: u32,
    time: Duration,
}

const KILL: Absence =
    Absence { leave: "kill", come_back: "start", times: TIMES, time: Duration::from_secs(5) };
const HANG: Absence = Absence { leave: "pause", come_back: "resume", times: 1, time: PAUSE };

pub(super) fn killed(stage: &Stage<'_>) -> Result<Outcome> {
    away(stage, Policy::Degrade, &KILL)
}

pub(super) fn killed_refusing(stage: &Stage<'_>) -> Result<Outcome> {
    away(stage, Policy::Refuse, &KILL)
}

pub(super) fn paused(stage: &Stage<'_>) -> Result<Outcome> {
    away(stage, Policy::Degrade, &HANG)
}

pub(super) fn paused_refusing(stage: &Stage<'_>) -> Result<Outcome> {
    away(stage, Policy::Refuse, &HANG)
}

fn away(stage: &Stage<'_>, policy: Policy, absence: &Absence) -> Result<Outcome> {
    let server = RedisServer::start();
    let settings = coordination(&format!("unix://{}", server.socket()), policy);
    let mut play = Play::start(stage, &settings)?;
    for _ in 0..absence.times {
        server.order(absence.leave);
        policy_holds(&mut play, policy, absence.time)?;
        server.order(absence.come_back);
        is_found_again(&mut play)?;
    }
    play.end(false)
}

/// Everything in it is gone, and every other time its functions as well: whoever asks next puts them back.
pub(super) fn flushed(stage: &Stage<'_>) -> Result<Outcome> {
    let server = RedisServer::start();
    let settings = coordination(&format!("unix://{}", server.socket()), Policy::Refuse);
    let mut play = Play::start(stage, &settings)?;
    for time in 0..TIMES {
        server.say(&["FLUSHALL"]);
        if time % 2 == 1 {
            server.say(&["FUNCTION", "FLUSH"]);
        }
        let before = play.show.deposits.acknowledged();
        play.until("Redis was emptied, and no deposit has been taken since", |play| {
            Ok(play.show.deposits.acknowledged() > before)
        })?;
        play.note_injected()?;
    }
    if server.say(&["DBSIZE"]) == ["0"] {
        bail!("nothing is in Redis: the exchange does not use it, and this run says nothing");
    }
    if play.metric("dce_redis_losses_total")? > 0.0 {
        bail!("an emptied Redis was taken for one that is away");
    }
    play.end(false)
}

/// Lets the time pass, and sees that the exchange notices and does as it was told.
pub(super) fn policy_holds(play: &mut Play, policy: Policy, time: Duration) -> Result<()> {
    play.goes_on(NOTICE)?;
    let before = play.show.deposits.acknowledged();
    play.goes_on(time.saturating_sub(NOTICE))?;
    let taken = play.show.deposits.acknowledged() - before;
    let (status, body) = play.show.site.api.ask("GET", "/health/ready", None)?;
    match policy {
        Policy::Degrade if taken == 0 || status != 200 => {
            bail!(
                "without Redis {taken} deposits were taken and readiness was {status} ({body}); it was to go on"
            )
        }
        Policy::Refuse if taken > 0 || status != 503 => {
            bail!(
                "without Redis {taken} deposits were taken and readiness was {status} ({body}); it was to refuse"
            )
        }
        _ => Ok(()),
    }
}

/// It is over; waits until the exchange is ready, and uses Redis again.
pub(super) fn is_found_again(play: &mut Play) -> Result<()> {
    play.note_injected()?;
    play.until("the exchange does not find Redis again", |play| Ok(play.metric("dce_redis_up")? > 0.0))
}

/// The setting that has nodes agree on this server. It has longer to answer than usual: the machine that this runs on may be busy.
pub(super) fn coordination(url: &str, policy: Policy) -> String {
    let when_lost = if policy == Policy::Degrade { "degrade" } else { "refuse" };
    format!(
        "\n[coordination]\nkind = \"redis\"\nurl = \"{url}\"\ntimeout_ms = 500\nwhen_lost = \"{when_lost}\"\n"
    )
}
