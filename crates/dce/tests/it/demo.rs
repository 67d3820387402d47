//! `dce demo`: a whole exchange with callers and targets, in one process.

use crate::binary::{dce, directory, run};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

const CALLS: u64 = 60;

/// What `--format json` promises.
const KEYS: [&str; 17] = [
    "offered",
    "screened_out",
    "no_bidder",
    "bridged",
    "fell_back",
    "converted",
    "recovered",
    "live",
    "second_price_savings_micros",
    "charged_micros",
    "paid_micros",
    "margin_micros",
    "ledger_sum_micros",
    "open_holds",
    "violations",
    "decision_us",
    "setup_ms",
];

#[test]
fn a_demo_trades_audits_itself_and_stays_up_for_a_look() {
    let here = directory();
    let calls = CALLS.to_string();
    let arguments =
        ["demo", "--calls", &calls, "--cps", "60", "--format", "json", "--data-dir", "kept", "--keep"];
    let mut demo = dce(&here, &arguments).stdout(Stdio::piped()).spawn().expect("the binary runs");
    let mut lines = BufReader::new(demo.stdout.take().expect("piped")).lines();
    let mut object = || -> Value {
        let line = lines.next().expect("a line").expect("readable");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    };
    let summary = object();
    for key in KEYS {
        assert!(!summary[key].is_null(), "{key} is missing in {summary}");
    }
    let count = |key: &str| summary[key].as_i64().unwrap_or_else(|| panic!("{key} in {summary}"));
    assert_eq!(count("violations"), 0, "{summary}");
    assert_eq!(count("offered").cast_unsigned(), CALLS);
    assert_eq!((count("ledger_sum_micros"), count("open_holds")), (0, 0));
    assert_eq!(count("charged_micros"), count("paid_micros") + count("margin_micros"));
    assert!(count("bridged") >= count("converted") && count("converted") > 0, "{summary}");
    let live = |key: &str| summary["live"][key].as_i64().unwrap_or_else(|| panic!("live.{key} in {summary}"));
    assert!(live("asked") > live("bid") && live("bid") >= live("won") && live("won") > 0, "{summary}");
    assert!(live("timed_out") > 0 && live("garbled") > 0, "one hangs, one is garbled: {summary}");
    assert!(summary["pings"]["redeemed"].as_i64() > Some(0), "{summary}");
    assert!(count("second_price_savings_micros") > 0, "{summary}");
    for latency in ["decision_us", "setup_ms"] {
        let percentile = |name: &str| summary[latency][name].as_f64().expect("a number");
        assert!(percentile("p50") > 0.0 && percentile("p99") >= percentile("p50"), "{summary}");
    }

    let invitation = object();
    let text = |key: &str| invitation[key].as_str().unwrap_or_else(|| panic!("{key} in {invitation}"));
    let address = text("http").trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("the API listens");
    let head = format!(
        "GET /v1/calls?limit=1 HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
        text("api_key")
    );
    stream.write_all(head.as_bytes()).expect("writable");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let interrupt = Command::new("kill").args(["-INT", &demo.id().to_string()]).status();
    assert!(interrupt.expect("kill runs").success());
    assert_eq!(demo.wait().expect("it ends").code(), Some(0));
    assert!(lines.next().is_none(), "nothing but the two objects");

    let verified = run(&here, &["verify", "--data", "kept"]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    let again = run(&here, &["demo", "--calls", "1", "--data-dir", "kept"]);
    assert_eq!((again.code, again.stdout.as_str()), (Some(2), ""));
    assert_eq!(
        again.stderr.trim_end(),
        "dce: --data-dir: kept holds an exchange already; name an empty directory"
    );
}

#[test]
fn for_people_it_shows_figures_and_one_receipt() {
    let here = directory();
    let ran = run(&here, &["demo", "--calls", "30", "--cps", "100", "--seed", "2"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for part in
        ["offered", "One receipt in full", "auction: ", "was asked and bid", "ledger", "Audit: 0 violations"]
    {
        assert!(ran.stdout.contains(part), "{part} is missing in\n{}", ran.stdout);
    }
    assert_eq!(ran.stderr, "", "no terminal, no progress bar");
}

#[test]
fn wrong_arguments_are_refused() {
    let here = directory();
    for arguments in [["demo", "--calls", "0"], ["demo", "--cps", "0"], ["demo", "--format", "xml"]] {
        assert_eq!(run(&here, &arguments).code, Some(2), "{arguments:?}");
    }
}
