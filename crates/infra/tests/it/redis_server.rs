//! How tests reach their Redis.

use infra::coordination::{Coordination, CoordinationConfig, CoordinationKind, RedisUrl};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use test_servers::redis::RedisServer;

/// How a node reaches it. Tests are slower than nodes: they wait longer.
pub(crate) fn config(server: &RedisServer, key_prefix: &str) -> CoordinationConfig {
    CoordinationConfig {
        kind: CoordinationKind::Redis,
        url: Some(RedisUrl::parse(&format!("unix://{}", server.socket())).expect("a sound URL")),
        key_prefix: key_prefix.to_owned(),
        timeout_ms: 5_000,
        ..CoordinationConfig::default()
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
    Coordination::start(&config(shared(), &prefix())).await.expect("Redis is there")
}
