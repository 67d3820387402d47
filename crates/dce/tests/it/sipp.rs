//! SIPp (Debian: `sip-tester`) as carrier and as buyer: real peers that are none of our code. Scenarios: `tests/sipp/`.

use crate::patience::until;
use std::fs::File;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use tempfile::TempDir;

/// SIPp gives up after this long by itself, in seconds.
const TIMEOUT_S: &str = "30";

/// The caller's number in every test.
pub(crate) const CALLER: &str = "+12125550123";

/// A running SIPp, which plays one scenario for one call. Dropping it ends it.
pub(crate) struct Sipp {
    child: Child,
    scenario: String,
    directory: TempDir,
    /// Where it listens.
    pub(crate) port: u16,
}

/// What a carrier does.
pub(crate) struct Caller<'a> {
    scenario: &'a str,
    called: &'a str,
    from: &'a str,
    pause_ms: u64,
    tcp: bool,
}

/// A carrier that plays this scenario.
pub(crate) fn caller(scenario: &str) -> Caller<'_> {
    Caller { scenario, called: crate::marketplace::NUMBER, from: CALLER, pause_ms: 0, tcp: false }
}

impl<'a> Caller<'a> {
    /// Calls another number.
    pub(crate) fn called(self, called: &'a str) -> Self {
        Self { called, ..self }
    }

    /// Calls from another number.
    pub(crate) fn from(self, from: &'a str) -> Self {
        Self { from, ..self }
    }

    /// How long the scenario's pause lasts, in milliseconds.
    pub(crate) fn pausing(self, pause_ms: u64) -> Self {
        Self { pause_ms, ..self }
    }

    /// Over TCP.
    pub(crate) fn over_tcp(self) -> Self {
        Self { tcp: true, ..self }
    }

    /// Sends the call on its way.
    pub(crate) fn calls(self, exchange: SocketAddr) -> Sipp {
        let pause = self.pause_ms.to_string();
        let to = exchange.to_string();
        let transport = if self.tcp { "t1" } else { "u1" };
        let arguments = ["-s", self.called, "-key", "caller", self.from, "-d", &pause, "-t", transport, &to];
        Sipp::start(self.scenario, &arguments)
    }

    /// Makes the call and sees it through to its end; what the scenario logged.
    pub(crate) fn completes(self, exchange: SocketAddr) -> String {
        self.calls(exchange).succeeds()
    }
}

/// A buyer's target that plays this scenario for one call. It listens when this returns.
pub(crate) fn target(scenario: &str) -> Sipp {
    target_pausing(scenario, 0)
}

/// A buyer's target whose scenario has a pause, in milliseconds.
pub(crate) fn target_pausing(scenario: &str, pause_ms: u64) -> Sipp {
    let mut sipp = Sipp::start(scenario, &["-d", &pause_ms.to_string()]);
    until("the target listens", || {
        sipp.must_run();
        is_listening(sipp.port).then_some(())
    });
    sipp
}

impl Sipp {
    fn start(scenario: &str, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sipp").join(format!("{scenario}.xml"));
        let port = free_port();
        let screen = File::create(directory.path().join("screen")).expect("writable");
        let errors = screen.try_clone().expect("one more handle");
        let child = Command::new("sipp")
            .current_dir(directory.path())
            .arg("-sf")
            .arg(path)
            .args(["-i", "127.0.0.1", "-p", &port.to_string(), "-m", "1", "-aa", "-nostdin"])
            .args(["-timeout", TIMEOUT_S, "-timeout_error", "-skip_rlimit"])
            .args(["-trace_err", "-error_file", "errors", "-trace_msg", "-message_file", "messages"])
            .args(["-trace_logs", "-log_file", "log"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(screen)
            .stderr(errors)
            .spawn()
            .expect("SIPp is needed: run `cargo xtask test`, which installs it (Debian: sip-tester)");
        Self { child, scenario: scenario.to_owned(), directory, port }
    }

    /// Waits for its end: the scenario must have been played to the end. What it logged.
    pub(crate) fn succeeds(mut self) -> String {
        let status = until("SIPp ends", || self.child.try_wait().expect("a child"));
        assert_eq!(status.code(), Some(0), "{}: {}", self.scenario, self.account());
        self.read("log").split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Ends a target that must not have been called.
    pub(crate) fn was_not_called(mut self) {
        self.must_run();
        assert_eq!(self.read("messages"), "", "{} was called", self.scenario);
    }

    fn must_run(&mut self) {
        let ended = self.child.try_wait().expect("a child");
        assert_eq!(ended, None, "{} ended early: {}", self.scenario, self.account());
    }

    /// What it has to say for itself.
    fn account(&self) -> String {
        format!("\n--- errors\n{}\n--- messages\n{}", self.read("errors"), self.read("messages"))
    }

    fn read(&self, name: &str) -> String {
        let path: PathBuf = self.directory.path().join(name);
        // SIPp makes its files when it has something to write.
        std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }
}

impl Drop for Sipp {
    fn drop(&mut self) {
        // Has ended already in the good case.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- SIPp {}{}", self.scenario, self.account());
        }
    }
}

/// A port nobody uses, below those the system gives out by itself, and given out once in this process.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test processes start at different places, so that two at once seldom meet.
    let first = 12_000 + u16::try_from(std::process::id() % 200).expect("below 200") * 80;
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(step < 4_000, "no free port");
        let port = first + step;
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Whether somebody listens on this UDP port of loopback. Asking the kernel disturbs nobody, unlike binding it.
fn is_listening(port: u16) -> bool {
    let sockets = std::fs::read_to_string("/proc/net/udp").expect("Linux");
    sockets.contains(&format!(" 0100007F:{port:04X} "))
}
