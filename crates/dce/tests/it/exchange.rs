//! A whole exchange under test: `dce serve` as its own process, a data directory, an admin key, and the REST API.

use crate::binary::{Ran, dce, run};
use crate::patience::until;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// Any one answer of the API takes less than this, or something is badly wrong.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Every address that calls come from in these tests.
const LOOPBACK_TRUNK: &str = r#"[{ name = "carrier", sources = ["127.0.0.1"] }]"#;

/// What differs from the defaults: more lines for sections of its configuration.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Setup<'a> {
    /// Of `[data]`.
    pub(crate) data: &'a str,
    /// Of `[http]`.
    pub(crate) http: &'a str,
    /// Of `[sip]`.
    pub(crate) sip: &'a str,
    /// Its carriers; none is loopback.
    pub(crate) trunks: Option<&'a str>,
    /// Whole sections.
    pub(crate) more: &'a str,
}

impl Setup<'_> {
    fn config(&self) -> String {
        let Self { data, http, sip, trunks, more } = self;
        let trunks = trunks.unwrap_or(LOOPBACK_TRUNK);
        format!(
            "[data]\ndirectory = \"data\"\n{data}\n[http]\nlisten = [\"127.0.0.1:0\"]\n{http}\n\
             [sip]\nlisten = [\"udp://127.0.0.1:0\", \"tcp://127.0.0.1:0\"]\ntrunks = {trunks}\n{sip}\n\
             [log]\nformat = \"json\"\n\n[shutdown]\ndrain_timeout_s = 5\n{more}\n"
        )
    }
}

/// A running exchange. Dropping it kills it.
pub(crate) struct Exchange {
    directory: Arc<TempDir>,
    child: Child,
    key: String,
    http: SocketAddr,
    /// Where calls are taken over UDP.
    pub(crate) udp: SocketAddr,
    /// Where calls are taken over TCP.
    pub(crate) tcp: SocketAddr,
}

impl Exchange {
    /// Starts one with the defaults, free ports, and loopback as its carrier.
    pub(crate) fn start() -> Self {
        Self::start_with(Setup::default())
    }

    /// Starts one that differs from the defaults.
    pub(crate) fn start_with(setup: Setup<'_>) -> Self {
        let directory = Arc::new(tempfile::tempdir().expect("a directory"));
        std::fs::write(directory.path().join("dce.toml"), setup.config()).expect("writable");
        let create = ["key", "create", "--config", "dce.toml", "--name", "tests", "--role", "admin"];
        let key = run(&directory, &create);
        assert_eq!(key.code, Some(0), "{key:?}");
        Self::serve(directory, key.stdout.trim().to_owned(), setup)
    }

    /// Starts another one on the same data, after this one has ended.
    pub(crate) fn again_with(&self, setup: Setup<'_>) -> Self {
        Self::serve(Arc::clone(&self.directory), self.key.clone(), setup)
    }

    /// Starts another node of the same exchange, in a directory of its own.
    pub(crate) fn another_with(&self, setup: Setup<'_>) -> Self {
        Self::serve(Arc::new(tempfile::tempdir().expect("a directory")), self.key.clone(), setup)
    }

    fn serve(directory: Arc<TempDir>, key: String, setup: Setup<'_>) -> Self {
        std::fs::write(directory.path().join("dce.toml"), setup.config()).expect("writable");
        let log = File::create(directory.path().join("serve.log")).expect("writable");
        let mut command = dce(&directory, &["serve", "--config", "dce.toml"]);
        let child = command.stdout(Stdio::null()).stderr(log).spawn().expect("the binary runs");
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut exchange = Self { directory, child, key, http: nowhere, udp: nowhere, tcp: nowhere };
        exchange.wait_until_ready();
        exchange
    }

    fn wait_until_ready(&mut self) {
        let addresses = until("the exchange is ready", || {
            assert_eq!(self.child.try_wait().expect("a child"), None, "it ended: {}", self.log());
            let log = self.log();
            let lines = || log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines().find(|line| line["message"] == "ready")?;
            Some(lines().filter_map(|line| line["address"].as_str().map(str::to_owned)).collect::<Vec<_>>())
        });
        for address in addresses {
            match address.split_once("://") {
                Some(("udp", address)) => self.udp = address.parse().expect("an address"),
                Some(("tcp", address)) => self.tcp = address.parse().expect("an address"),
                _ => self.http = address.parse().expect("an address"),
            }
        }
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("serve.log")).expect("readable")
    }

    /// The process's resident memory, in KiB.
    pub(crate) fn memory_kib(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it is running");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has memory");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Asks the API; a body makes it a command. The answer's status and text.
    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, String) {
        self.ask_with(&self.key, method, path, body)
    }

    /// The same with any key.
    pub(crate) fn ask_with(
        &self,
        key: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> (u16, String) {
        let body = body.map(ToString::to_string).unwrap_or_default();
        let mut stream = TcpStream::connect(self.http).expect("listening");
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).expect("settable");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            key,
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("writable");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, body.to_owned())
    }

    /// Asks the API for JSON that must be there.
    pub(crate) fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, None);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// Sends the API a command that must be carried out.
    pub(crate) fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.ask(method, path, Some(body));
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        serde_json::from_str(&answer).expect("JSON")
    }

    /// The one call there was, once it has ended.
    pub(crate) fn ended_call(&self) -> Value {
        until("the call has ended", || {
            let calls = self.get("/v1/calls");
            let calls = calls["items"].as_array().expect("a list");
            assert!(calls.len() <= 1, "more than one call: {calls:?}");
            calls.first().filter(|call| call["state"] == "ended").cloned()
        })
    }

    /// The money a call moved, in order, as `(reason, micros)`.
    pub(crate) fn transfers(&self, call: &Value) -> Vec<(String, i64)> {
        let path = format!("/v1/calls/{}/transfers", call["id"].as_str().expect("an id"));
        let transfers = self.get(&path);
        let items = transfers["items"].as_array().expect("a list").iter();
        items
            .map(|transfer| {
                let reason = transfer["reason"]["reason"].as_str().expect("a reason");
                (reason.to_owned(), transfer["amount_micros"].as_i64().expect("an amount"))
            })
            .collect()
    }

    /// Ends it with SIGTERM; its exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        let kill = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(kill.expect("kill runs").success());
        until("the exchange has stopped", || self.child.try_wait().expect("a child")).code()
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("a child");
    }

    /// Ends it with SIGTERM and audits its books: exit code 0, nothing logged that an operator should worry about, no
    /// violation, nothing held, sum 0.
    pub(crate) fn stop_and_verify(self) {
        self.stop_and_verify_despite(&[]);
    }

    /// The same, when these warnings may be logged.
    pub(crate) fn stop_and_verify_despite(mut self, expected: &[&str]) {
        assert_eq!(self.stop(), Some(0), "{}", self.log());
        let mut worries = [self.logged("ERROR"), self.logged("WARN")].concat();
        worries.retain(|worry| !expected.contains(&worry.as_str()));
        assert_eq!(worries, Vec::<String>::new(), "nothing here is worth a warning");
        self.verify();
    }

    /// Audits its books, after it has ended.
    pub(crate) fn verify(&self) {
        let verified = self.run(&["verify", "--config", "dce.toml", "--format", "json"]);
        assert_eq!(verified.code, Some(0), "{verified:?}");
        let report: Value = serde_json::from_str(&verified.stdout).expect("JSON");
        let found = json!([report["violations"], report["open_holds"], report["ledger_sum_micros"]]);
        assert_eq!(found, json!([0, 0, 0]), "{report}");
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged at this level, such as `WARN`: the messages.
    pub(crate) fn logged(&self, level: &str) -> Vec<String> {
        let log = self.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .filter(|line| line["level"] == level)
            .filter_map(|line| line["message"].as_str().map(str::to_owned))
            .collect()
    }

    /// Runs another command in its directory.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        run(&self.directory, arguments)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // Has ended already in the good case.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the exchange's log\n{}", self.log());
        }
    }
}
