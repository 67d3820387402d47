//! `dce simulate` and `dce bench`: what they promise to print, and that it holds.

use crate::binary::{directory, run};
use crate::exchange::{Exchange, Setup};
use serde_json::Value;
use test_servers::postgresql::Server;
use test_servers::redis::RedisServer;

/// Runs a command that prints one JSON object and must succeed.
fn figures(arguments: &[&str]) -> Value {
    let ran = run(&directory(), arguments);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.stdout))
}

fn positive(figures: &Value, keys: &[&str]) {
    for key in keys {
        let place = format!("/{}", key.replace('.', "/"));
        let figure = figures.pointer(&place).and_then(Value::as_f64);
        assert!(figure.is_some_and(|figure| figure > 0.0), "{key} in {figures}");
    }
}

#[test]
fn simulated_worlds_keep_every_promise() {
    let worlds = figures(&["simulate", "--seeds", "200", "--calls", "25", "--format", "json"]);
    assert_eq!(worlds["violations"], 0, "{worlds}");
    // Worlds in which nothing goes wrong would prove nothing.
    positive(&worlds, &["connected", "converted", "crashes", "packets_lost", "writes", "refused_disk_full"]);
    positive(&worlds, &["pings", "reserved", "redeemed", "expired", "live_asked", "live_won", "dealt"]);
}

#[test]
fn the_index_decides_as_the_naive_scan_does() {
    let decision = figures(&["bench", "decision", "--bids", "1000", "--calls", "400", "--format", "json"]);
    assert_eq!(decision["differences"], 0, "{decision}");
    positive(
        &decision,
        &["bids", "calls", "decision_us.p50", "decision_us.p99", "naive_us.p50", "naive_us.p99"],
    );
}

#[test]
fn a_restart_finds_every_bid() {
    let restart = figures(&["bench", "restart", "--bids", "2000", "--format", "json"]);
    assert_eq!((&restart["missing"], &restart["store"]), (&0.into(), &"sqlite".into()), "{restart}");
    let both = ["restart.total_ms", "from_documents.total_ms"];
    positive(&restart, &[&["bids", "changed", "read_bytes", "read_ms", "image_ms"][..], &both].concat());
}

#[test]
fn benchmarks_stand_on_what_the_configuration_names_and_on_nothing_real() {
    let database = Server::start("");
    let config = directory();
    let toml = format!("[store]\nkind = \"postgresql\"\nurl = \"{}\"\n", database.url("postgres"));
    std::fs::write(config.path().join("dce.toml"), toml).expect("writable");
    let bench =
        |arguments: &[&str]| run(&config, &[&["bench"], arguments, &["--config", "dce.toml"]].concat());
    let restart = bench(&["restart", "--bids", "2000", "--format", "json"]);
    assert_eq!(restart.code, Some(0), "{restart:?}");
    let restart: Value = serde_json::from_str(&restart.stdout).expect("JSON");
    assert_eq!((&restart["missing"], &restart["store"]), (&0.into(), &"postgresql".into()), "{restart}");
    positive(&restart, &["read_bytes", "read_ms", "restart.load_ms", "from_documents.load_ms"]);
    // From here on there are books in it.
    for wrong in ["restart", "settle", "nodes"] {
        let refused = bench(&[wrong]);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.stderr.contains("there are accounts in it; name an empty database"), "{refused:?}");
    }
}

#[test]
fn a_benchmark_says_which_setting_it_misses() {
    for (arguments, says) in [
        (&["reserve"][..], "coordination.kind is memory; set it to redis"),
        (&["outbox"], "bus.kafka.brokers is not set; name Kafka's brokers"),
        (&["nodes"], "store.kind is sqlite: several nodes share a PostgreSQL"),
        (&["settle", "--set", "store.kind=postgresql"], "store.url is not set"),
        (&["settle", "--config", "missing.toml"], "missing.toml"),
    ] {
        let ran = run(&directory(), &[&["bench"], arguments].concat());
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains(says) && ran.stderr.lines().count() == 1, "{}", ran.stderr);
    }
    for gone in [&["settle", "--store", "x"][..], &["reserve", "--url", "x"], &["outbox", "--brokers", "x"]] {
        assert_eq!(run(&directory(), &[&["bench"], gone].concat()).code, Some(2), "{gone:?}");
    }
}

#[test]
fn reservations_are_measured_on_a_redis_that_no_node_uses() {
    let redis = RedisServer::start();
    let url = format!("coordination.url=unix://{}", redis.socket());
    let on_redis = ["--set", "coordination.kind=redis", "--set", &url];
    let few = ["bench", "reserve", "--reservations", "50", "--format", "json"];
    let reserve = figures(&[&few[..], &on_redis].concat());
    assert_eq!(reserve["faults"], 0, "{reserve}");
    positive(&reserve, &["one_in_flight.reserve_us.p50", "reservations_per_s", "hot_ratio"]);

    let coordination = format!("[coordination]\nkind = \"redis\"\nurl = \"unix://{}\"\n", redis.socket());
    let exchange = Exchange::start_with(Setup { more: &coordination, ..Setup::default() });
    let refused = run(&directory(), &[&few[..], &on_redis].concat());
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(
        refused.stderr.contains("an exchange uses it under the prefix dce, with so many nodes: 1"),
        "{refused:?}"
    );
    exchange.stop_and_verify();
}

#[test]
fn a_changed_bid_is_in_the_next_pings_answer_on_another_node() {
    let database = Server::start("");
    let url = format!("store.url={}", database.url("postgres"));
    let on_postgresql = ["--set", "store.kind=postgresql", "--set", &url];
    let nodes =
        figures(&[&["bench", "nodes", "--changes", "10", "--format", "json"][..], &on_postgresql].concat());
    assert_eq!(nodes["missed"], 0, "{nodes}");
    positive(&nodes, &["from_the_book.seen_ms.p50", "from_another.seen_ms.p99", "remembered_reads_per_s"]);
}

#[test]
fn settlements_are_durable_and_the_books_are_in_order() {
    let settle = figures(&["bench", "settle", "--calls", "500", "--in-flight", "64", "--format", "json"]);
    assert_eq!(settle["violations"], 0, "{settle}");
    positive(&settle, &["settlements_per_s", "fsyncs_per_s", "p50_ms", "p99_ms", "bare_fsyncs_per_s"]);
}
