//! Several nodes on one database: calls come to one that does not have the book, while the one that has it dies, or cannot be reached.

use super::postgresql::QUICK;
use crate::faults::stage::{Outcome, Play, Stage};
use crate::under_load::exchange::{Exchange, Site};
use crate::under_load::load::free_port;
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::time::Duration;
use test_servers::network::{Network, ServerAddress};
use test_servers::postgresql::Server;

/// How long the node with the book lives before it is killed, in milliseconds.
const LIFE_MS: std::ops::RangeInclusive<u64> = 1_000..=3_000;
/// How long the network between two nodes is cut: too short to be noticed, long enough to be, too long for the calls to wait.
const CUTS: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(6), Duration::from_secs(20)];
/// How long it stays whole before the next cut.
const WHOLE: Duration = Duration::from_secs(3);

/// The roles of the node that calls come to.
const EDGE: &str = "\"gateway\", \"telephony\"";

/// A node that may have the book, and nothing else to do.
struct EngineNode {
    site: Site,
    exchange: Exchange,
}

impl EngineNode {
    /// To be done for every node before any is started: it makes an admin key, for which nobody else may have the books.
    fn prepare(stage: &Stage<'_>, server: &Server, name: &str, more: &str) -> Result<Site> {
        let folder = stage.folder.join(name);
        std::fs::create_dir(&folder).context("creating a node's folder")?;
        let settings = section(stage, server, "\"gateway\", \"engine\", \"worker\"")?;
        Site::prepare(stage.binary, &folder, &format!("{settings}{more}"))
    }

    fn start(site: Site) -> Result<Self> {
        let exchange = Exchange::start(&site)?;
        Ok(Self { site, exchange })
    }

    fn stop(mut self, outcome: &mut Outcome) -> Result<()> {
        self.exchange.stop()?;
        outcome.report.violations.extend(self.site.logged_errors()?);
        Ok(())
    }
}

/// What the nodes have in common, with these roles.
fn section(stage: &Stage<'_>, server: &Server, roles: &str) -> Result<String> {
    let key: PathBuf = stage.folder.join("node.key");
    std::fs::write(&key, "5".repeat(64)).context("writing the nodes' key")?;
    let url = server.url("postgres");
    Ok(format!(
        "[store]\nkind = \"postgresql\"\nurl = \"{url}\"\n[node]\nroles = [{roles}]\nkey_file = \"{}\"\n",
        key.display()
    ))
}

/// The node with the book is killed again and again; the other one takes it over each time.
pub(super) fn book_killed(stage: &Stage<'_>) -> Result<Outcome> {
    let server = Server::start(QUICK);
    let edge = section(stage, &server, EDGE)?;
    let edge = Site::prepare(stage.binary, stage.folder, &edge)?;
    let listen = "listen = \"127.0.0.1:0\"\n";
    let one = EngineNode::prepare(stage, &server, "one", listen)?;
    let other = EngineNode::prepare(stage, &server, "other", listen)?;
    let (mut with_book, mut heir) = (EngineNode::start(one)?, EngineNode::start(other)?);
    let mut play = Play::on(stage, edge)?;
    for _ in 0..stage.arguments.kills {
        let life = Duration::from_millis(play.random.u64(LIFE_MS));
        play.goes_on(life)?;
        with_book.exchange.kill()?;
        play.note_injected()?;
        with_book.exchange = Exchange::start(&with_book.site)?;
        std::mem::swap(&mut with_book, &mut heir);
    }
    let mut outcome = play.end(false)?;
    heir.stop(&mut outcome)?;
    with_book.stop(&mut outcome)?;
    Ok(outcome)
}

/// The network between a node and the one that has the book is cut.
pub(super) fn cut_between_nodes(stage: &Stage<'_>) -> Result<Outcome> {
    let server = Server::start(QUICK);
    let port = free_port()?;
    let network = Network::to(ServerAddress::Port(port));
    let edge = section(stage, &server, EDGE)?;
    let edge = Site::prepare(stage.binary, stage.folder, &edge)?;
    let listen =
        format!("listen = \"127.0.0.1:{port}\"\nadvertised_address = \"127.0.0.1:{}\"\n", network.port());
    let with_book = EngineNode::start(EngineNode::prepare(stage, &server, "one", &listen)?)?;
    let mut play = Play::on(stage, edge)?;
    for end in [Network::heal, Network::heal_forgetful] {
        for cut in CUTS {
            network.cut();
            play.goes_on(cut)?;
            end(&network);
            play.note_injected()?;
            play.goes_on(WHOLE)?;
        }
    }
    let mut outcome = play.end(false)?;
    with_book.stop(&mut outcome)?;
    Ok(outcome)
}
