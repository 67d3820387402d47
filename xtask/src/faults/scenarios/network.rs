//! The network between the exchange and what it stands on is cut: nothing is refused, nothing is closed, nothing arrives.
//!
//! Twice each: first the connections survive, and what was sent arrives late; then they are forgotten on the way, so that the exchange finds
//! its own broken while the server still holds the other ends.

use super::redis::Policy;
use super::{PAUSE, kafka, postgresql, redis};
use crate::faults::stage::{Outcome, Play, Stage};
use anyhow::Result;
use std::time::Duration;
use test_servers::kafka::KafkaServer;
use test_servers::network::{Network, ServerAddress};
use test_servers::postgresql::Server;
use test_servers::redis::RedisServer;

/// How the network comes back.
const ENDS: [fn(&Network); 2] = [Network::heal, Network::heal_forgetful];
/// How long it stays whole before the next cut.
const WHOLE: Duration = Duration::from_secs(3);

pub(super) fn cut_from_postgresql(stage: &Stage<'_>) -> Result<Outcome> {
    let server = Server::start(postgresql::QUICK);
    let network = Network::to(ServerAddress::Socket(server.folder().join(".s.PGSQL.5432")));
    let url = format!("host=127.0.0.1 port={} user=dce dbname=postgres", network.port());
    let mut play = Play::start(stage, &postgresql::store(&url))?;
    for end in ENDS {
        network.cut();
        play.goes_on(PAUSE)?;
        end(&network);
        play.note_injected()?;
        play.until("the books cannot be read again", |play| {
            Ok(matches!(play.show.site.api.ask("GET", "/v1/totals", None), Ok((200, _))))
        })?;
        play.goes_on(WHOLE)?;
    }
    play.end(true)
}

pub(super) fn cut_from_redis(stage: &Stage<'_>) -> Result<Outcome> {
    let server = RedisServer::start();
    let network = Network::to(ServerAddress::Socket(server.socket().into()));
    let url = format!("redis://127.0.0.1:{}", network.port());
    let mut play = Play::start(stage, &redis::coordination(&url, Policy::Degrade))?;
    for end in ENDS {
        network.cut();
        redis::policy_holds(&mut play, Policy::Degrade, PAUSE)?;
        end(&network);
        redis::is_found_again(&mut play)?;
        play.goes_on(WHOLE)?;
    }
    play.end(false)
}

pub(super) fn cut_from_kafka(stage: &Stage<'_>) -> Result<Outcome> {
    // Clients are told where to come to: over the network that will be cut.
    let network = Network::start();
    let server = KafkaServer::start_behind(network.port());
    network.lead_to(ServerAddress::Port(server.port()));
    let mut play = Play::start(stage, &kafka::bus(&format!("127.0.0.1:{}", network.port())))?;
    for end in ENDS {
        network.cut();
        play.goes_on(PAUSE)?;
        end(&network);
        play.note_injected()?;
        kafka::events_arrive(&mut play)?;
        play.goes_on(WHOLE)?;
    }
    play.end(true)
}
