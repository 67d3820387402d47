//! `dce serve` as a process: it starts, answers, refuses what it must, and stops in good order.

use crate::binary::{dce, directory, run};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Ports that are free, whichever they are.
const ANY_PORTS: [&str; 4] = ["--set", "http.listen=127.0.0.1:0", "--set", "sip.listen=udp://127.0.0.1:0"];

/// A running server. Dropping it kills it.
pub(crate) struct Server {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
    address: SocketAddr,
}

impl Server {
    pub(crate) fn start(directory: &TempDir, settings: &[&str]) -> Self {
        let mut arguments = vec!["serve", "--set", "log.format=json"];
        arguments.extend(ANY_PORTS);
        arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
        let mut child = dce(directory, &arguments).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let mut log = BufReader::new(child.stderr.take().expect("piped"));
        let mut address = None;
        loop {
            let mut line = String::new();
            assert_ne!(log.read_line(&mut line).expect("readable"), 0, "ended before it was ready");
            let entry: serde_json::Value = serde_json::from_str(&line).expect("every line is JSON");
            if let Some(listening) = entry["address"].as_str() {
                // SIP's have a scheme in front.
                address = listening.parse().ok().or(address);
            }
            if entry["message"] == "ready" {
                break;
            }
        }
        Self { child, log, address: address.expect("an address") }
    }

    fn get(&self, path: &str, key: &str) -> String {
        let mut stream = TcpStream::connect(self.address).expect("listening");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("settable");
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("writable");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    /// Sends SIGTERM, and returns the exit code and the rest of the log.
    pub(crate) fn stop(mut self) -> (Option<i32>, String) {
        let kill = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(kill.expect("kill runs").success());
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).expect("readable");
        (self.child.wait().expect("it ends").code(), rest)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Has ended already in the good case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_serves_a_key_made_before_and_stops_on_a_signal() {
    let directory = directory();
    let key = run(&directory, &["key", "create", "--name", "first", "--role", "admin"]).stdout;
    let server = Server::start(&directory, &[]);
    assert!(server.get("/health/ready", "").starts_with("HTTP/1.1 200"), "ready without a key");
    assert!(server.get("/v1/accounts", key.trim()).starts_with("HTTP/1.1 200"), "the key works");
    assert!(server.get("/v1/accounts", "dce_wrong").starts_with("HTTP/1.1 401"), "another one does not");

    let locked = run(&directory, &["key", "create", "--name", "second", "--role", "admin"]);
    assert_eq!(locked.code, Some(3), "{locked:?}");
    assert!(locked.stderr.contains("/v1/api-keys"), "says what to do instead: {}", locked.stderr);

    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("everything is on disk"), "{log}");
    assert_eq!(run(&directory, &["verify"]).code, Some(0));
}

#[test]
fn without_its_redis_it_goes_on_or_refuses_as_the_policy_says() {
    let redis = ["coordination.kind=redis", "coordination.url=redis://:secret@127.0.0.1:1"];
    for (when_lost, status, finding) in [
        ("coordination.when_lost=degrade", 200, "away, limits are this node's own share"),
        ("coordination.when_lost=refuse", 503, "away, and the policy is to refuse"),
    ] {
        let directory = directory();
        let key = run(&directory, &["key", "create", "--name", "first", "--role", "admin"]).stdout;
        let server = Server::start(&directory, &[redis[0], redis[1], when_lost]);
        let health = server.get("/health/ready", "");
        assert!(health.starts_with(&format!("HTTP/1.1 {status}")), "{when_lost}: {health}");
        assert!(health.contains(finding), "{when_lost}: {health}");
        let accounts = server.get("/v1/accounts", key.trim());
        assert!(accounts.starts_with(&format!("HTTP/1.1 {status}")), "{when_lost}: {accounts}");
        let (code, log) = server.stop();
        assert_eq!(code, Some(0), "{log}");
        assert!(!log.contains("secret"), "{log}");
    }
}
