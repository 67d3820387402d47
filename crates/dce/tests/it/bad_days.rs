//! Bad days: wrong configuration, a damaged or taken data directory, ports in use, a full disk. One clear line each.

use crate::binary::{directory, run};
use crate::exchange::{Exchange, Setup};
use crate::marketplace::{Buyer, NUMBER, load};
use crate::patience::until;
use crate::sipp::{caller, target};
use serde_json::json;
use std::net::{TcpListener, UdpSocket};

/// `serve`, which must not start: its exit code, and all that it says.
fn refuses(directory: &tempfile::TempDir, settings: &[&str]) -> (Option<i32>, String) {
    let mut arguments = vec!["serve", "--set", "log.level=error"];
    for setting in settings {
        arguments.extend(["--set", setting]);
    }
    let ran = run(directory, &arguments);
    assert_eq!(ran.stdout, "");
    (ran.code, ran.stderr)
}

const FREE_PORTS: [&str; 2] = ["http.listen=127.0.0.1:0", "sip.listen=udp://127.0.0.1:0"];

#[test]
fn an_unknown_key_is_one_line() {
    let directory = directory();
    std::fs::write(directory.path().join("dce.toml"), "[sip]\nlisen = []\n").expect("writable");
    let ran = run(&directory, &["serve", "--config", "dce.toml"]);
    let expected = "dce: dce.toml:2: unknown key sip.lisen; did you mean sip.listen?\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(2), expected));
}

#[test]
fn a_damaged_database_is_one_line() {
    let directory = directory();
    std::fs::create_dir(directory.path().join("dce-data")).expect("writable");
    std::fs::write(directory.path().join("dce-data/exchange.sqlite"), [0x5a; 8_192]).expect("writable");
    let expected = "dce: dce-data/exchange.sqlite: not a sound SQLite database (file is not a database); \
                    restore it from a backup\n";
    assert_eq!(refuses(&directory, &FREE_PORTS), (Some(3), expected.to_owned()));
}

#[test]
fn a_data_directory_in_use_is_one_line() {
    let exchange = Exchange::start();
    let second = exchange.run(&[
        "serve",
        "--data",
        "data",
        "--set",
        "log.level=error",
        "--set",
        FREE_PORTS[0],
        "--set",
        FREE_PORTS[1],
    ]);
    let expected = format!(
        "dce: data/exchange.lock: locked by another process (pid {}); stop it, or use another data directory\n",
        exchange.pid()
    );
    assert_eq!((second.code, second.stderr), (Some(3), expected));
    exchange.stop_and_verify();
}

#[test]
fn a_port_in_use_is_one_line() {
    let directory = directory();
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let tcp = (tcp.local_addr().expect("bound"), tcp);
    let udp = (udp.local_addr().expect("bound"), udp);
    let cases = [
        (
            format!("http.listen={}", tcp.0),
            format!(
                "dce: http.listen {}: the port is in use; stop what uses it, or set another port\n",
                tcp.0
            ),
        ),
        (
            format!("sip.listen=udp://{}", udp.0),
            format!(
                "dce: sip.listen: udp://{} is in use; stop the program that listens there, or change sip.listen\n",
                udp.0
            ),
        ),
        (
            format!("sip.listen=tcp://{}", tcp.0),
            format!(
                "dce: sip.listen: tcp://{} is in use; stop the program that listens there, or change sip.listen\n",
                tcp.0
            ),
        ),
    ];
    for (setting, expected) in cases {
        assert_eq!(refuses(&directory, &[FREE_PORTS[0], FREE_PORTS[1], &setting]), (Some(3), expected));
    }
}

/// Changes the number's tags, which takes a good part of the disk each time; whether that was acknowledged.
fn write_much(exchange: &Exchange, times: usize) -> bool {
    let mut number = exchange.get(&format!("/v1/tracking-numbers/{NUMBER}"));
    number["tags"] = json!({ "note": "x".repeat(100_000), "times": times.to_string() });
    let (status, answer) = exchange.ask("PUT", &format!("/v1/tracking-numbers/{NUMBER}"), Some(&number));
    assert!(status == 200 || status == 503, "{status} {answer}");
    status == 200
}

#[test]
fn on_a_full_disk_nothing_is_promised_and_nothing_is_lost() {
    let quota = Setup { data: "max_pages = 256", http: "request_timeout_ms = 1_000", ..Setup::default() };
    let mut exchange = Exchange::start_with(quota);
    let target = target("target_answers");
    load(&exchange, &[Buyer { min_connected_s: 60, ..Buyer::at(target.port) }]);
    let acknowledged = (0..100).take_while(|times| write_much(&exchange, *times)).count();
    assert!((1..100).contains(&acknowledged), "the quota is a mebibyte: {acknowledged}");

    assert_eq!(exchange.ask("GET", "/health/ready", None).0, 503);
    let refused = caller("caller_is_refused").completes(exchange.udp);
    assert_eq!(refused, "503 Q.850;cause=42;text=\"Exchange is overloaded\"");
    assert_eq!(exchange.logged("ERROR"), ["commits fail; the store keeps trying"], "one line");

    assert_eq!(exchange.stop(), Some(3), "{}", exchange.log());
    let log = exchange.log();
    let expected = "dce: data/exchange.sqlite: the disk, or the store's page quota, is full; free space or raise \
                    `max_pages`; what was acknowledged is on disk, what was waiting is not";
    assert_eq!(log.lines().last(), Some(expected), "{log}");
    exchange.verify();

    let exchange = exchange.again_with(Setup::default());
    let tags = exchange.get(&format!("/v1/tracking-numbers/{NUMBER}"))["tags"]["times"].clone();
    assert_eq!(tags, (acknowledged - 1).to_string(), "the last one acknowledged");
    caller("caller_hangs_up").completes(exchange.udp);
    target.succeeds();
    assert_eq!(exchange.ended_call()["outcome"], "not_converted");
    exchange.stop_and_verify();
}

#[test]
fn with_too_many_events_for_a_kafka_that_is_away_nothing_new_is_taken() {
    // Nobody listens there.
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let kafka = |waiting_max: u32| {
        format!("[bus.kafka]\nbrokers = [\"127.0.0.1:{port}\"]\nwaiting_events_max = {waiting_max}\n")
    };
    let (tight, wide) = (kafka(1), kafka(1_000));
    let mut exchange = Exchange::start_with(Setup { more: &wide, ..Setup::default() });
    let target = target("target_answers");
    load(&exchange, &[Buyer { min_connected_s: 60, ..Buyer::at(target.port) }]);
    assert_eq!(exchange.stop(), Some(0), "{}", exchange.log());

    let mut exchange = exchange.again_with(Setup { more: &tight, ..Setup::default() });
    let answer = until("it says that it is not ready", || {
        let (status, answer) = exchange.ask("GET", "/health/ready", None);
        (status == 503 && answer.contains("waiting_events_max")).then_some(answer)
    });
    assert!(answer.contains("no new calls until it takes some"), "{answer}");
    let path = format!("/v1/tracking-numbers/{NUMBER}");
    let number = exchange.get(&path);
    until("changes are refused", || (exchange.ask("PUT", &path, Some(&number)).0 == 503).then_some(()));
    let refused = caller("caller_is_refused").completes(exchange.udp);
    assert_eq!(refused, "503 Q.850;cause=42;text=\"Exchange is overloaded\"");
    assert_eq!(exchange.stop(), Some(0), "{}", exchange.log());

    let exchange = exchange.again_with(Setup { more: &wide, ..Setup::default() });
    caller("caller_hangs_up").completes(exchange.udp);
    target.succeeds();
    assert_eq!(exchange.ended_call()["outcome"], "not_converted");
    exchange.stop_and_verify_despite(&["events wait in the outbox; the relay keeps trying"]);
}
