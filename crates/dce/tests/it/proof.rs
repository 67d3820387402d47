//! `dce simulate` and `dce bench`: what they promise to print, and that it holds.

use crate::binary::{directory, run};
use serde_json::Value;

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
fn settlements_are_durable_and_the_books_are_in_order() {
    let settle = figures(&["bench", "settle", "--calls", "500", "--in-flight", "64", "--format", "json"]);
    assert_eq!(settle["violations"], 0, "{settle}");
    positive(&settle, &["settlements_per_s", "fsyncs_per_s", "p50_ms", "p99_ms", "bare_fsyncs_per_s"]);
}
