//! A Redis server of a test's own: nothing kept on disk, reached over a socket in its folder.

use crate::keeper::{Keeper, Program};
use infra::coordination::{Coordination, CoordinationConfig, CoordinationKind, RedisUrl};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

const PROGRAM: Program = Program {
    name: "redis",
    user: None,
    make: "redis-server --version",
    run: r#"redis-server --port 0 --unixsocket "$folder/redis.sock" --save '' --appendonly no --dir "$folder""#,
    ready: r#"redis-cli -s "$folder/redis.sock" PING | grep -q PONG"#,
    more: "false",
    end: "KILL",
    variables: &[],
};

/// A running server.
pub(crate) struct RedisServer(Keeper);

impl RedisServer {
    pub(crate) fn start() -> Self {
        Self(Keeper::start(&PROGRAM))
    }

    /// `kill`, `start`, `pause` or `resume`; returns when it is done.
    pub(crate) fn order(&self, order: &str) {
        self.0.order(order);
    }

    /// Where it listens.
    fn socket(&self) -> String {
        format!("{}/redis.sock", self.0.folder().display())
    }

    /// How a node reaches it. Tests are slower than nodes: they wait longer.
    pub(crate) fn config(&self, key_prefix: &str) -> CoordinationConfig {
        CoordinationConfig {
            kind: CoordinationKind::Redis,
            url: Some(RedisUrl::parse(&format!("unix://{}", self.socket())).expect("a sound URL")),
            key_prefix: key_prefix.to_owned(),
            timeout_ms: 5_000,
            ..CoordinationConfig::default()
        }
    }

    /// Says something to it, word by word, and gives what it answers, line by line.
    pub(crate) fn say(&self, words: &[&str]) -> Vec<String> {
        let output = Command::new("redis-cli").args(["-s", &self.socket()]).args(words).output();
        let output = output.expect("redis-cli runs").stdout;
        String::from_utf8_lossy(&output).lines().map(str::to_owned).collect()
    }
}

/// The server that tests share, each under a prefix of its own.
pub(crate) fn shared() -> &'static RedisServer {
    static SERVER: OnceLock<RedisServer> = OnceLock::new();
    SERVER.get_or_init(RedisServer::start)
}

/// A prefix that nobody else has.
pub(crate) fn prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("test{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A node of an exchange of its own on the shared server.
pub(crate) async fn node() -> Coordination {
    Coordination::start(&shared().config(&prefix())).await.expect("Redis is there")
}
