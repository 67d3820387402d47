//! One seeded world on both stacks: SQLite, memory and the local bus; PostgreSQL, Redis and Kafka. Both must come to the same, to the last
//! transfer, event and figure.

use crate::binary::{Ran, directory, run};
use serde_json::Value;
use test_servers::kafka::KafkaServer;
use test_servers::postgresql::Server;
use test_servers::redis::RedisServer;

/// What two stacks must agree on.
const DIGESTS: [&str; 3] = ["ledger_digest", "events_digest", "figures_digest"];

fn answer(ran: &Ran) -> Value {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    serde_json::from_str(&ran.stdout).expect("JSON")
}

/// A stack of its own for each world.
struct Stacks {
    folder: tempfile::TempDir,
    database: Server,
    redis: RedisServer,
    kafka: KafkaServer,
}

impl Stacks {
    fn embedded(&self, seed: &str) -> Vec<String> {
        vec![format!("data.directory={}", self.folder.path().join(seed).display())]
    }

    fn clustered(&self, seed: &str) -> Vec<String> {
        vec![
            "store.kind=postgresql".to_owned(),
            format!("store.url={}", self.database.url(&format!("seed_{seed}"))),
            "coordination.kind=redis".to_owned(),
            format!("coordination.url=unix://{}", self.redis.socket()),
            format!("coordination.key_prefix=seed{seed}"),
            "coordination.timeout_ms=5000".to_owned(),
            format!("bus.kafka.brokers={}", self.kafka.broker()),
            format!("bus.kafka.topic_prefix=seed{seed}"),
        ]
    }

    fn run(&self, stack: &[String], command: &[&str]) -> Ran {
        let settings = stack.iter().flat_map(|setting| ["--set", setting]);
        let arguments: Vec<&str> = command.iter().copied().chain(settings).collect();
        run(&self.folder, &arguments)
    }

    /// Plays a world, and has its books audited afterwards.
    fn play(&self, stack: &[String], seed: &str) -> Value {
        let simulate = ["simulate", "--digest", "--first-seed", seed, "--calls", "120", "--format", "json"];
        let came_to = answer(&self.run(stack, &simulate));
        assert_eq!(came_to["violations"], serde_json::json!([]));
        let audited = answer(&self.run(stack, &["verify", "--format", "json"]));
        assert_eq!(audited["ledger_digest"], came_to["ledger_digest"], "what is on disk is what was told");
        assert_eq!(audited["violations"], 0);
        came_to
    }
}

#[test]
fn a_seeded_world_comes_to_the_same_on_both_stacks() {
    let stacks = Stacks {
        folder: directory(),
        database: Server::start("-c fsync=off"),
        redis: RedisServer::start(),
        kafka: KafkaServer::start(),
    };
    // Worlds with crashes and conversions, and one without a crash.
    let worlds = ["7", "9"].map(|seed| {
        stacks.database.sql("postgres", &format!("CREATE DATABASE seed_{seed}")).expect("a fresh server");
        let embedded = stacks.play(&stacks.embedded(seed), seed);
        let clustered = stacks.play(&stacks.clustered(seed), seed);
        assert_eq!(embedded, clustered);
        embedded
    });
    for digest in DIGESTS {
        assert_ne!(worlds[0][digest], worlds[1][digest], "another seed, another {digest}");
    }
    let sum =
        |name: &str| -> i64 { worlds.iter().map(|world| world[name].as_i64().expect("a number")).sum() };
    assert!(sum("crashes") > 0 && sum("converted") > 0 && sum("reserved") > 0, "{worlds:#?}");

    let again = stacks.run(&stacks.embedded("7"), &["simulate", "--digest"]);
    assert_eq!((again.code, again.stdout.as_str()), (Some(3), ""));
    assert!(
        again.stderr.ends_with("there are books already; name an empty directory or database\n"),
        "{again:?}"
    );
}
