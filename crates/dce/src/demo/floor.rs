//! The trading floor: the exchange with a marketplace in it, and the sockets of those who call and are called.

use super::bidders::LiveBidders;
use super::terms;
use crate::config::{Config, DataConfig};
use crate::exchange_process::ExchangeProcess;
use crate::failure::Failure;
use crate::live_bidders::LiveBiddersConfig;
use crate::marketplace::{Layout, Marketplace, Pace};
use exchange::audit::Actor;
use exchange::effect::Command;
use exchange::time::Timestamp;
use gateway::HttpConfig;
use infra::store::{Page, Reader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use telephony::config::{CarrierTrunk, ListenAddress, SipConfig};
use telephony::peer::Peer;
use tempfile::TempDir;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// Call centres listen on this many sockets.
const TARGET_SOCKETS: usize = 2;
/// 2026-01-01T00:00:00Z: the accounts are old customers.
const OPENED_AT: Timestamp = Timestamp(1_767_225_600_000_000);
/// Whose calls are taken.
const THIS_MACHINE: &str = "127.0.0.1";
/// How long calls that are up may go on when the floor closes.
const DRAIN: Duration = Duration::from_secs(1);

/// Everything that runs.
pub(super) struct Floor {
    exchange: ExchangeProcess,
    directory: Directory,
    sip: SocketAddr,
    pub(super) marketplace: Marketplace,
    /// They answer as long as the floor is open.
    _live_bidders: LiveBidders,
}

/// The sockets of the outside world.
pub(super) struct Sockets {
    pub(super) carrier: UdpSocket,
    pub(super) targets: Vec<UdpSocket>,
}

enum Directory {
    Given(PathBuf),
    Temporary(TempDir),
}

impl Floor {
    /// Starts the exchange on free ports, loads the marketplace, and gives the outside world its sockets.
    pub(super) async fn open(directory: Option<&Path>, seed: u64) -> Result<(Self, Sockets), Failure> {
        let directory = match directory {
            Some(given) => Directory::Given(given.to_owned()),
            None => Directory::Temporary(tempfile::Builder::new().prefix("dce-demo-").tempdir().map_err(
                |error| {
                    Failure::environment(format!("temporary directory: {error}; name one with --data-dir"))
                },
            )?),
        };
        let sockets = Sockets::bind().await?;
        let layout = layout(seed, &sockets)?;
        let mut marketplace =
            Marketplace::make(&layout).map_err(|error| Failure::environment(error.to_string()))?;
        let live_bidders = LiveBidders::start(seed).await?;
        marketplace.bids.extend(terms::live_bids(&marketplace, &live_bidders.addresses)?);
        let exchange = ExchangeProcess::start(&config(directory.path())).await?;
        let sip = exchange.sip_addresses().first().map(|peer| peer.address);
        let sip = sip.ok_or_else(|| Failure::environment("the exchange does not listen for SIP"))?;
        let floor = Self { exchange, directory, sip, marketplace, _live_bidders: live_bidders };
        match floor.load().await {
            Ok(()) => Ok((floor, sockets)),
            Err(failure) => {
                // Why it could not be loaded says more than how it stopped.
                let _ = floor.close(false).await;
                Err(failure)
            }
        }
    }

    /// Tells the exchange of the marketplace: many commands at once, so that they share syncs to the disk.
    async fn load(&self) -> Result<(), Failure> {
        if !self.reader().accounts(&infra::store::AccountFilter::default(), &Page::first(1))?.items.is_empty()
        {
            return Err(Failure::usage(format!(
                "--data-dir: {} holds an exchange already; name an empty directory",
                self.directory.path().display()
            )));
        }
        let [accounts, wares] = self.marketplace.commands();
        for wave in [accounts, wares, terms::commands(&self.marketplace)] {
            let mut commands: JoinSet<_> = wave.into_iter().map(|command| self.command(command)).collect();
            while let Some(done) = commands.join_next().await {
                done.map_err(|error| Failure::environment(format!("loading the marketplace: {error}")))??;
            }
        }
        Ok(())
    }

    fn command(&self, command: Command) -> impl Future<Output = Result<(), Failure>> + use<> {
        let engine = self.exchange.engine();
        async move {
            engine
                .command(command, Actor::CommandLine)
                .await
                .map_err(|error| Failure::environment(format!("loading the marketplace: {error}")))
        }
    }

    /// Where calls are taken.
    pub(super) fn sip(&self) -> SocketAddr {
        self.sip
    }

    /// Where the API listens.
    pub(super) fn http(&self) -> Option<SocketAddr> {
        self.exchange.http_addresses().first().copied()
    }

    /// Where the exchange keeps its state.
    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn exchange(&self) -> &ExchangeProcess {
        &self.exchange
    }

    pub(super) fn reader(&self) -> Reader {
        self.exchange.reader()
    }

    /// Stops the exchange. A temporary directory is removed unless it shall be kept.
    pub(super) async fn close(self, keeps_directory: bool) -> Result<(), Failure> {
        let stopped = self.exchange.stop(DRAIN).await;
        if let Directory::Temporary(directory) = self.directory
            && keeps_directory
        {
            let _ = directory.keep();
        }
        stopped
    }
}

impl Directory {
    fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Temporary(directory) => directory.path(),
        }
    }
}

impl Sockets {
    async fn bind() -> Result<Self, Failure> {
        let carrier = bind().await?;
        let mut targets = Vec::with_capacity(TARGET_SOCKETS);
        for _ in 0..TARGET_SOCKETS {
            targets.push(bind().await?);
        }
        Ok(Self { carrier, targets })
    }
}

async fn bind() -> Result<UdpSocket, Failure> {
    UdpSocket::bind(("127.0.0.1", 0))
        .await
        .map_err(|error| Failure::environment(format!("no UDP socket on 127.0.0.1: {error}")))
}

pub(super) fn address_of(socket: &UdpSocket) -> Result<SocketAddr, Failure> {
    socket.local_addr().map_err(|error| Failure::environment(format!("UDP socket: {error}")))
}

fn layout(seed: u64, sockets: &Sockets) -> Result<Layout, Failure> {
    Ok(Layout {
        seed,
        opened_at: OPENED_AT,
        trunks: sockets.targets.iter().map(address_of).collect::<Result<_, _>>()?,
        buyers: 220,
        bids_per_buyer: 10,
        sellers: 50,
        // Real calls convert after a minute or two. A demo is to be over by then.
        pace: Pace { buffer_s: 1..=3, ring_timeout_ms: 1_500..=2_500, max_call_s: 600 },
    })
}

fn config(directory: &Path) -> Config {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    Config {
        data: DataConfig { directory: directory.to_owned(), ..DataConfig::default() },
        http: HttpConfig { listen: vec![any_port.to_string()], ..HttpConfig::default() },
        sip: SipConfig {
            listen: vec![ListenAddress(Peer::udp(any_port))],
            trunks: vec![CarrierTrunk {
                name: "demo_carrier".to_owned(),
                sources: vec![THIS_MACHINE.parse().expect("an address")],
            }],
            // As everything here: a fraction of what a real network needs.
            trunk_timeout_ms: 1_000,
            ..SipConfig::default()
        },
        live_bidders: LiveBiddersConfig { allow_private_addresses: true, ..LiveBiddersConfig::default() },
        ..Config::default()
    }
}
