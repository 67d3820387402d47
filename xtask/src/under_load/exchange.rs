//! The exchange that is killed: `dce serve` on loopback, always on the same ports and data.

use super::http::Api;
use super::load::free_port;
use crate::repository::Repository;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs::OpenOptions;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// After a start the exchange must be ready within this.
const READY_TIMEOUT: Duration = Duration::from_secs(20);
/// After SIGTERM it must have ended within this; it drains for [`DRAIN_S`].
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
const DRAIN_S: u64 = 5;
/// When no more calls are offered, those that are up must have ended within this.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often to look.
const LOOK: Duration = Duration::from_millis(10);

/// Everything that outlives one process of the exchange.
pub(crate) struct Site {
    binary: PathBuf,
    folder: PathBuf,
    /// What the exchange is given beside this program's own environment.
    pub(crate) variables: Vec<(&'static str, String)>,
    /// Where calls are taken.
    pub(crate) sip: SocketAddr,
    /// Where the API is.
    pub(crate) api: Api,
}

/// One process of the exchange. Dropping it kills it.
pub(crate) struct Exchange {
    child: Child,
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Builds the binary; where it is.
pub(crate) fn build(repository: &Repository, profile: &str) -> Result<PathBuf> {
    let mut cargo = repository.cargo();
    // With the whole workspace's features, so that what other commands built is not built again.
    cargo.args(["build", "--locked", "--workspace", "--bin", "dce", "--profile", profile]);
    cargo.args(["--message-format", "json-render-diagnostics"]).stderr(Stdio::inherit());
    let output = cargo.output().context("running cargo build")?;
    if !output.status.success() {
        bail!("the exchange does not build");
    }
    let messages = String::from_utf8(output.stdout).context("cargo's messages are not UTF-8")?;
    let mut executables = messages.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    });
    executables.next_back().context("cargo built no executable")
}

impl Site {
    /// A data directory with an admin key, a configuration with these settings behind the usual ones, and ports that are free now.
    pub(crate) fn prepare(binary: &Path, folder: &Path, settings: &str) -> Result<Self> {
        let (tcp, udp) = (loopback(free_port()?), loopback(free_port()?));
        let config = format!(
            "[data]\ndirectory = \"data\"\n\n\
             [http]\nlisten = [\"{tcp}\"]\nrequests_per_minute = 1_000_000\nrequests_burst = 100_000\n\n\
             [sip]\nlisten = [\"udp://{udp}\"]\ntrunks = [{{ name = \"carrier\", sources = [\"127.0.0.1\"] }}]\n\n\
             [log]\nlevel = \"warn\"\nformat = \"json\"\n\n[shutdown]\ndrain_timeout_s = {DRAIN_S}\n{settings}"
        );
        std::fs::write(folder.join("dce.toml"), config).context("writing the configuration")?;
        let api = Api { address: tcp, key: String::new() };
        let mut site = Self {
            binary: binary.to_owned(),
            folder: folder.to_owned(),
            variables: Vec::new(),
            sip: udp,
            api,
        };
        let key = site.command(&["key", "create", "--name", "crash", "--role", "admin"]).output()?;
        if !key.status.success() {
            bail!("dce key create: {}", String::from_utf8_lossy(&key.stderr).trim());
        }
        let key = String::from_utf8(key.stdout).context("the key is not text")?;
        key.trim().clone_into(&mut site.api.key);
        Ok(site)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        // Without a file size limit's signal, a write past it fails like one to a full disk.
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(&self.binary);
        command
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.folder)
            .args(arguments)
            .args(["--config", "dce.toml"])
            .stdin(Stdio::null());
        command
    }

    /// Audits the books while no process has them; what `dce verify` reports.
    pub(crate) fn verify(&self) -> Result<Value> {
        let output = self.command(&["verify", "--format", "json"]).output().context("running dce verify")?;
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("dce verify: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }

    /// Errors that any of the processes logged. A kill is no reason for one.
    pub(crate) fn logged_errors(&self) -> Result<Vec<String>> {
        let log = std::fs::read_to_string(self.folder.join("serve.log")).context("reading serve.log")?;
        Ok(log.lines().filter(|line| line.contains("\"level\":\"ERROR\"")).map(str::to_owned).collect())
    }

    /// Waits until no call is up.
    pub(crate) fn wait_until_idle(&self) -> Result<()> {
        let idle = within(IDLE_TIMEOUT, || {
            let totals = self.api.get("/v1/totals")?;
            Ok((totals["open"] == 0).then_some(()))
        })?;
        idle.context("calls are still up although nobody calls any more")
    }
}

impl Exchange {
    /// Starts it; returns when it takes calls.
    pub(crate) fn start(site: &Site) -> Result<Self> {
        let log = OpenOptions::new().create(true).append(true).open(site.folder.join("serve.log"))?;
        let child =
            site.command(&["serve"]).stdout(Stdio::null()).stderr(log).spawn().context("starting dce")?;
        let mut exchange = Self { child };
        let ready = within(READY_TIMEOUT, || {
            if let Some(status) = exchange.child.try_wait()? {
                bail!("the exchange ended instead of starting ({status}); serve.log has its reason");
            }
            let ready = site.api.ask("GET", "/health/ready", None);
            Ok(matches!(ready, Ok((200, _))).then_some(()))
        })?;
        ready.context("the exchange was not ready in time")?;
        Ok(exchange)
    }

    /// The number of its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, in the middle of whatever it does.
    pub(crate) fn kill(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the exchange ended by itself ({status}); serve.log has its last words");
        }
        self.child.kill().context("killing the exchange")?;
        self.child.wait().context("waiting for its end")?;
        Ok(())
    }

    /// SIGTERM, after which it must end in good order.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-TERM", &pid]).status().context("running kill")?;
        if !status.success() {
            bail!("the exchange ended by itself; serve.log has its last words");
        }
        let ended: Option<ExitStatus> = within(STOP_TIMEOUT, || Ok(self.child.try_wait()?))?;
        match ended {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("the exchange stopped badly ({status}); serve.log has the reason"),
            None => bail!("the exchange did not stop in time"),
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // Has ended already in the good case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks until there is something to see; none when there was nothing in time.
pub(crate) fn within<T>(timeout: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
    let started = Instant::now();
    loop {
        if let Some(seen) = look()? {
            return Ok(Some(seen));
        }
        if started.elapsed() >= timeout {
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
}
