//! A Redis server of our own: nothing kept on disk, reached over a socket in its folder.

use crate::keeper::{Keeper, Program};
use std::process::Command;

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
pub struct RedisServer(Keeper);

impl RedisServer {
    /// Starts one.
    pub fn start() -> Self {
        Self(Keeper::start(&PROGRAM))
    }

    /// `kill`, `start`, `pause` or `resume`; returns when it is done.
    pub fn order(&self, order: &str) {
        self.0.order(order);
    }

    /// The socket it listens on.
    pub fn socket(&self) -> String {
        format!("{}/redis.sock", self.0.folder().display())
    }

    /// Says something to it, word by word, and gives what it answers, line by line.
    pub fn say(&self, words: &[&str]) -> Vec<String> {
        let output = Command::new("redis-cli").args(["-s", &self.socket()]).args(words).output();
        let output = output.expect("redis-cli runs").stdout;
        String::from_utf8_lossy(&output).lines().map(str::to_owned).collect()
    }
}
