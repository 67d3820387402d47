//! The faults: what each one does, in the order people would ask.

mod exchange;
mod postgresql;
mod redis;
mod kafka;
mod network;
mod nodes;

use super::stage::{Outcome, Stage};
use anyhow::Result;
use std::time::Duration;

/// How long what is paused or cut off says nothing.
const PAUSE: Duration = Duration::from_secs(10);

/// One kind of bad day.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) run: fn(&Stage<'_>) -> Result<Outcome>,
}

/// All of them.
pub(super) const SCENARIOS: [Scenario; 21] = [
    Scenario { name: "exchange-killed", about: "SIGKILL, on SQLite", run: exchange::exchange_killed },
    Scenario {
        name: "exchange-killed-on-postgresql",
        about: "SIGKILL, on PostgreSQL",
        run: exchange::exchange_killed_on_postgresql,
    },
    Scenario {
        name: "postgresql-killed",
        about: "SIGKILL of the database, which recovers from its log",
        run: postgresql::killed,
    },
    Scenario { name: "postgresql-paused", about: "the database hangs for 10 s", run: postgresql::paused },
    Scenario { name: "postgresql-slow", about: "every commit takes 100 ms longer", run: postgresql::slow },
    Scenario {
        name: "replica-promoted",
        about: "the primary dies, its synchronous replica takes over",
        run: postgresql::replica_promoted,
    },
    Scenario {
        name: "redis-killed",
        about: "SIGKILL of Redis; the exchange goes on with limits of its own",
        run: redis::killed,
    },
    Scenario {
        name: "redis-killed-refusing",
        about: "SIGKILL of Redis; the exchange refuses until it is back",
        run: redis::killed_refusing,
    },
    Scenario {
        name: "redis-paused",
        about: "Redis hangs for 10 s; the exchange goes on",
        run: redis::paused,
    },
    Scenario {
        name: "redis-paused-refusing",
        about: "Redis hangs for 10 s; the exchange refuses",
        run: redis::paused_refusing,
    },
    Scenario {
        name: "redis-flushed",
        about: "Redis loses all it has, and its functions",
        run: redis::flushed,
    },
    Scenario { name: "kafka-killed", about: "SIGKILL of the only broker, away for 10 s", run: kafka::killed },
    Scenario { name: "kafka-paused", about: "the only broker hangs for 10 s", run: kafka::paused },
    Scenario {
        name: "network-cut-postgresql",
        about: "the network to the database is cut for 10 s, twice",
        run: network::cut_from_postgresql,
    },
    Scenario {
        name: "network-cut-redis",
        about: "the network to Redis is cut for 10 s, twice",
        run: network::cut_from_redis,
    },
    Scenario {
        name: "network-cut-kafka",
        about: "the network to the broker is cut for 10 s, twice",
        run: network::cut_from_kafka,
    },
    Scenario {
        name: "node-with-book-killed",
        about: "of two nodes that may have the book the one that has it, again and again",
        run: nodes::book_killed,
    },
    Scenario {
        name: "network-cut-nodes",
        about: "the network between two nodes is cut for 2, 6 and 20 s, twice",
        run: nodes::cut_between_nodes,
    },
    Scenario { name: "disk-full", about: "the file system takes nothing for 3 s", run: exchange::disk_full },
    Scenario {
        name: "disk-slow",
        about: "every sync takes 200 ms longer, then 3 s",
        run: exchange::disk_slow,
    },
    Scenario {
        name: "clock-jump",
        about: "the clock goes an hour forward, then two back",
        run: exchange::clock_jump,
    },
];
