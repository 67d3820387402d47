//! A Redis server of our own: nothing kept on disk, reached over a socket in its folder.

use crate::keeper::{Keeper, Program};
use crate::{Certificate, free_port};
use std::process::Command;

const PROGRAM: Program = Program {
    name: "redis",
    user: None,
    make: r#"umask 077 && printf '%s' "$certificate" > "$folder/server.crt" && printf '%s' "$key" > "$folder/server.key""#,
    run: r#"redis-server $listen ${certificate:+--tls-cert-file "$folder/server.crt" --tls-key-file "$folder/server.key" \
        --tls-ca-cert-file "$folder/server.crt" --tls-auth-clients no} --unixsocket "$folder/redis.sock" --save '' --appendonly no --dir "$folder""#,
    ready: r#"redis-cli -s "$folder/redis.sock" PING | grep -q PONG"#,
    more: "false",
    end: "KILL",
    variables: &[],
};

/// A running server.
pub struct RedisServer {
    port: u16,
    keeper: Keeper,
}

impl RedisServer {
    /// Starts one.
    pub fn start() -> Self {
        Self::keep(0, "--port 0".to_owned(), None)
    }

    /// Starts one that listens on a port of loopback as well.
    pub fn start_on_loopback() -> Self {
        let port = free_port();
        Self::keep(port, format!("--bind 127.0.0.1 --port {port}"), None)
    }

    /// Starts one that speaks TLS on a port of loopback.
    pub fn start_with_tls(certificate: &Certificate) -> Self {
        let port = free_port();
        Self::keep(port, format!("--bind 127.0.0.1 --port 0 --tls-port {port}"), Some(certificate))
    }

    fn keep(port: u16, listen: String, certificate: Option<&Certificate>) -> Self {
        let pem = |part: fn(&Certificate) -> &String| certificate.map(part).cloned().unwrap_or_default();
        let variables = [
            ("listen", listen),
            ("certificate", pem(|certificate| &certificate.chain_pem)),
            ("key", pem(|certificate| &certificate.key_pem)),
        ];
        Self { port, keeper: Keeper::start(&Program { variables: &variables, ..PROGRAM }) }
    }

    /// The port of loopback it listens on; 0 where it has only its socket.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `kill`, `start`, `pause` or `resume`; returns when it is done.
    pub fn order(&self, order: &str) {
        self.keeper.order(order);
    }

    /// The socket it listens on.
    pub fn socket(&self) -> String {
        format!("{}/redis.sock", self.keeper.folder().display())
    }

    /// Says something to it, word by word, and gives what it answers, line by line.
    pub fn say(&self, words: &[&str]) -> Vec<String> {
        let output = Command::new("redis-cli").args(["-s", &self.socket()]).args(words).output();
        let output = output.expect("redis-cli runs").stdout;
        String::from_utf8_lossy(&output).lines().map(str::to_owned).collect()
    }
}
