//! The outside world: SIPp as carrier and as buyers, through every kill without a pause.

use super::exchange::within;
use super::marketplace::{Buyer, NUMBER};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::fs::File;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// How long the carrier's calls may take to end when no more are offered.
const LAST_CALLS_TIMEOUT: Duration = Duration::from_secs(10);
/// More calls than this run can offer, each with a caller's number of its own.
const CALLERS_MAX: u32 = 2_000_000;

const CARRIER: &str = include_str!("../../sipp/carrier.xml");
const BUYER: &str = include_str!("../../sipp/buyer.xml");

/// What is put in the place of what, for calls that stay up: the carrier talks on, the buyer is never busy and never loses patience.
const STAYS_UP: [(&str, &str); 3] = [
    (r#"<pause distribution="uniform" min="300" max="2200" />"#, r#"<pause milliseconds="600000" />"#),
    (r#" next="busy" chance="0.2""#, ""),
    (r#"<recv request="BYE" timeout="6000" />"#, r#"<recv request="BYE" timeout="600000" />"#),
];

/// The running programs. Dropping ends them.
pub(crate) struct Load {
    carrier: Sipp,
    buyers: Vec<Sipp>,
}

struct Sipp {
    name: String,
    child: Child,
    folder: PathBuf,
}

impl Load {
    /// Starts buyers, then the carrier.
    pub(crate) fn start(folder: &Path, buyers: &[Buyer], exchange: SocketAddr, cps: u32) -> Result<Self> {
        Self::of(folder, buyers, exchange, (CARRIER, BUYER), &["-r", &cps.to_string(), "-l", "5000"])
    }

    /// The same for so many calls that stay up.
    pub(crate) fn start_to_stay(
        folder: &Path,
        buyers: &[Buyer],
        exchange: SocketAddr,
        cps: u32,
        calls: u32,
    ) -> Result<Self> {
        let stays_up = |scenario: &str| {
            STAYS_UP
                .iter()
                .fold(scenario.to_owned(), |scenario, (instead_of, put)| scenario.replace(instead_of, put))
        };
        let (cps, calls) = (cps.to_string(), calls.to_string());
        let arguments = ["-r", &cps, "-l", &calls, "-m", &calls];
        Self::of(folder, buyers, exchange, (&stays_up(CARRIER), &stays_up(BUYER)), &arguments)
    }

    fn of(
        folder: &Path,
        buyers: &[Buyer],
        exchange: SocketAddr,
        (carrier, buyer_scenario): (&str, &str),
        rate: &[&str],
    ) -> Result<Self> {
        let mut targets = Vec::new();
        for (index, buyer) in buyers.iter().enumerate() {
            let arguments = ["-p".to_owned(), buyer.port.to_string(), "-l".to_owned(), "20000".to_owned()];
            targets.push(Sipp::start(folder, &format!("buyer-{index}"), buyer_scenario, &arguments)?);
        }
        // One number after the other: 2 in front, because an exchange code begins with 2 to 9.
        let callers = format!("SEQUENTIAL,PRINTF={CALLERS_MAX},PRINTFOFFSET=2000000\n+1212%07d;\n");
        std::fs::write(folder.join("callers.csv"), callers).context("writing callers.csv")?;
        let port = free_port()?.to_string();
        let arguments =
            [&["-p", &port, "-s", NUMBER, "-inf", "../callers.csv"][..], rate, &[&exchange.to_string()]]
                .concat()
                .into_iter()
                .map(str::to_owned)
                .collect::<Vec<_>>();
        let carrier = Sipp::start(folder, "carrier", carrier, &arguments)?;
        Ok(Self { carrier, buyers: targets })
    }

    /// Fails when a SIPp has ended: then this run no longer says anything.
    pub(crate) fn must_run(&mut self) -> Result<()> {
        for sipp in self.buyers.iter_mut().chain([&mut self.carrier]) {
            if let Some(status) = sipp.child.try_wait()? {
                bail!("SIPp ({}) ended by itself ({status}): {}", sipp.name, sipp.last_words());
            }
        }
        Ok(())
    }

    /// Offers no more calls, waits a while for those that are up, and ends the carrier.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.must_run()?;
        let pid = self.carrier.child.id().to_string();
        // SIPp's own way to end gently.
        Command::new("kill").args(["-USR1", &pid]).status().context("running kill")?;
        let ended = within(LAST_CALLS_TIMEOUT, || Ok(self.carrier.child.try_wait()?))?;
        if ended.is_none() {
            // Calls that a kill left without an end keep it waiting; they end here.
            self.carrier.child.kill().context("ending the carrier")?;
            self.carrier.child.wait()?;
        }
        Ok(())
    }

    /// The numbers of the callers that were offered.
    pub(crate) fn offered(&self) -> Result<BTreeSet<String>> {
        self.carrier.logged("offered ")
    }

    /// The numbers of the callers that got a 200.
    pub(crate) fn answered(&self) -> Result<BTreeSet<String>> {
        self.carrier.logged("answered ")
    }
}

impl Sipp {
    fn start(folder: &Path, name: &str, scenario: &str, arguments: &[String]) -> Result<Self> {
        let own = folder.join(name);
        std::fs::create_dir(&own).with_context(|| format!("creating {}", own.display()))?;
        std::fs::write(own.join("scenario.xml"), scenario).context("writing a scenario")?;
        let screen = File::create(own.join("screen"))?;
        let errors = screen.try_clone()?;
        let child = Command::new("sipp")
            .current_dir(&own)
            .args(["-sf", "scenario.xml", "-i", "127.0.0.1", "-aa", "-nostdin", "-skip_rlimit"])
            .args(["-trace_logs", "-log_file", "log", "-f", "60"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(screen)
            .stderr(errors)
            .spawn()
            .context("starting sipp")?;
        Ok(Self { name: name.to_owned(), child, folder: own })
    }

    /// What the scenario logged behind this word. The last line may be cut off; it is left for the next look.
    fn logged(&self, word: &str) -> Result<BTreeSet<String>> {
        let path = self.folder.join("log");
        if !path.exists() {
            return Ok(BTreeSet::new());
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        Ok(whole.lines().filter_map(|line| line.trim().strip_prefix(word)).map(str::to_owned).collect())
    }

    fn last_words(&self) -> String {
        let screen = std::fs::read(self.folder.join("screen")).unwrap_or_default();
        let screen = String::from_utf8_lossy(&screen);
        screen.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().to_owned()
    }
}

impl Drop for Sipp {
    fn drop(&mut self) {
        // Has ended already in the good case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody uses, for UDP and TCP. It is below those the system gives out by itself: a client that connects to
/// one of these while the exchange is down could be given the same port, and be connected to itself.
pub(crate) fn free_port() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 12_000 + u16::try_from(std::process::id() % 200)? * 80;
    for _ in 0..1_000 {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port from {first} on")
}
