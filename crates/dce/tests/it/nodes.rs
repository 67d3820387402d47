//! Several nodes and one book, on a real PostgreSQL: calls and requests on any of them, and what becomes of both when one dies.

use crate::exchange::{Exchange, Setup};
use crate::marketplace::{Buyer, DEPOSIT_MICROS, NUMBER, buyer_balance, load, seller_balance};
use crate::patience::until;
use crate::sipp::{caller, target};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use test_servers::postgresql::Server;
use test_servers::redis::RedisServer;

/// A database and what all nodes of it have in common.
struct Cluster {
    database: Server,
    folder: tempfile::TempDir,
}

/// What a node that may have the book logs at another one's death.
const TAKES_OVER: [&str; 5] = [
    "this node is without the book; looking for it",
    "open calls wait for their nodes",
    "closed the calls that were open when the exchange last stopped",
    "the session of a node is over",
    "the book cannot be taken over",
];

impl Cluster {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        std::fs::write(folder.path().join("node.key"), "0123456789abcdef".repeat(4)).expect("writable");
        Self { database: Server::start(""), folder }
    }

    /// Sections that every node has, with these roles.
    fn sections(&self, roles: &str) -> String {
        let key = self.folder.path().join("node.key");
        format!(
            "[store]\nkind = \"postgresql\"\nurl = \"{}\"\n[node]\nroles = [{roles}]\nkey_file = \"{}\"\n\
             listen = \"127.0.0.1:0\"\n",
            self.database.url("postgres"),
            key.display(),
        )
    }

    /// A node that does everything and, as the first one, has the book.
    fn first(&self) -> Exchange {
        Exchange::start_with(Setup { more: &self.sections(ALL), ..Setup::default() })
    }

    /// One more node.
    fn another(&self, first: &Exchange, roles: &str) -> Exchange {
        let node = first.another_with(Setup { more: &self.sections(roles), ..Setup::default() });
        wait_until_ready(&node);
        node
    }
}

const ALL: &str = "\"gateway\", \"telephony\", \"engine\", \"worker\"";
const EDGE: &str = "\"gateway\", \"telephony\"";

fn wait_until_ready(node: &Exchange) {
    until("the node is ready", || (node.ask("GET", "/health/ready", None).0 == 200).then_some(()));
}

fn has_book(node: &Exchange) -> bool {
    let (_, readiness) = node.ask("GET", "/health/ready", None);
    let readiness: Value = serde_json::from_str(&readiness).expect("JSON");
    let checks = readiness["checks"].as_array().expect("a list");
    let engine = checks.iter().find(|check| check["name"] == "engine").expect("it is checked");
    let finding = engine["finding"].as_str().expect("a text");
    engine["passed"] == true && !finding.starts_with("at ")
}

#[test]
fn a_call_on_one_node_is_decided_on_another() {
    let cluster = Cluster::start();
    let book = cluster.first();
    let edge = cluster.another(&book, EDGE);
    assert!(has_book(&book) && !has_book(&edge));
    let target = target("target_answers");
    // Changes of the marketplace are asked of the node without the book.
    load(&edge, &[Buyer::at(target.port)]);
    caller("caller_hangs_up").pausing(1_200).completes(edge.udp);
    target.succeeds();
    let call = edge.ended_call();
    assert_eq!(json!([call["outcome"], call["ended_by"]]), json!(["converted", "caller"]), "{call}");
    assert_eq!(call, book.ended_call(), "both read the same");
    assert_eq!(buyer_balance(&edge, 0), json!([DEPOSIT_MICROS - 50_000_000, 0]));
    edge.stop_and_verify();
    book.stop_and_verify();
}

#[test]
fn a_call_outlives_the_node_that_has_the_book() {
    let cluster = Cluster::start();
    let mut first = cluster.first();
    let heir = cluster.another(&first, ALL);
    let edge = cluster.another(&first, EDGE);
    let (lives, dies) = (target("target_answers"), target("target_answers"));
    load(&edge, &[Buyer::at(lives.port)]);
    let talking = caller("caller_hangs_up").pausing(8_000).calls(edge.udp);
    until("the call is connected", || (connected(&edge) == 1).then_some(()));
    // Another one, whose legs die with the node that has the book.
    let dearer = Buyer { price_micros: 60_000_000, ..Buyer::at(dies.port) };
    bid_again(&edge, &dearer);
    let cut_off = caller("caller_hangs_up").pausing(60_000).from("+12125550177").calls(first.udp);
    until("both calls are connected", || (connected(&edge) == 2).then_some(()));
    first.kill();
    let killed_at = Instant::now();
    until("the book is on the other node", || has_book(&heir).then_some(()));
    until("the third node has found it", || (edge.ask("GET", "/health/ready", None).0 == 200).then_some(()));
    println!("the book was taken over after {:?}", killed_at.elapsed());
    assert!(connected(&edge) >= 1, "the call goes on");
    talking.succeeds();
    drop((cut_off, dies));
    lives.succeeds();
    let calls = until("both calls have ended", || {
        let calls = edge.get("/v1/calls");
        let calls = calls["items"].as_array().expect("a list").clone();
        calls.iter().all(|call| call["state"] == "ended").then_some(calls)
    });
    println!("the last call of the dead node was closed after {:?}", killed_at.elapsed());
    let mut ended: Vec<&str> = calls.iter().map(|call| call["ended_by"].as_str().unwrap_or("?")).collect();
    ended.sort_unstable();
    assert_eq!(ended, ["caller", "crash"], "{calls:?}");
    let survivor = calls.iter().find(|call| call["ended_by"] == "caller").expect("one of two");
    let connected_ms = survivor["connected_ms"].as_u64().expect("a number");
    assert!((8_000..12_000).contains(&connected_ms), "it was billed throughout: {survivor}");
    assert_eq!(buyer_balance(&edge, 0)[1], json!(0), "nothing is held any more");
    let charged: i64 = calls.iter().map(|call| call["charge_micros"].as_i64().unwrap_or(0)).sum();
    assert_eq!(seller_balance(&edge), json!(charged * 7 / 10));
    edge.stop_and_verify_despite(&TAKES_OVER);
    heir.stop_and_verify_despite(&TAKES_OVER);
}

#[test]
fn a_hang_up_while_nobody_has_the_book_is_heard_when_somebody_has() {
    let cluster = Cluster::start();
    let mut first = cluster.first();
    let edge = cluster.another(&first, EDGE);
    let target = target("target_answers");
    load(&edge, &[Buyer::at(target.port)]);
    let talking = caller("caller_hangs_up").pausing(2_000).calls(edge.udp);
    until("the call is connected", || (connected(&edge) == 1).then_some(()));
    first.kill();
    talking.succeeds();
    let turned_away = caller("caller_is_refused").calls(edge.udp);
    assert!(turned_away.succeeds().starts_with("503"), "a new call is turned away");
    let next = edge.another_with(Setup { more: &cluster.sections(ALL), ..Setup::default() });
    target.succeeds();
    let call = edge.ended_call();
    assert_eq!(json!([call["outcome"], call["ended_by"]]), json!(["converted", "caller"]), "{call}");
    assert_eq!(buyer_balance(&edge, 0), json!([DEPOSIT_MICROS - 50_000_000, 0]));
    edge.stop_and_verify_despite(&TAKES_OVER);
    next.stop_and_verify_despite(&TAKES_OVER);
}

#[test]
fn the_book_is_handed_over_when_its_node_stops() {
    let cluster = Cluster::start();
    let mut first = cluster.first();
    let heir = cluster.another(&first, ALL);
    let target = target("target_answers");
    load(&heir, &[Buyer::at(target.port)]);
    let talking = caller("caller_hangs_up").pausing(6_000).calls(heir.udp);
    until("the call is connected", || (connected(&heir) == 1).then_some(()));
    assert_eq!(first.stop(), Some(0), "{}", first.log());
    until("the book is on the other node", || has_book(&heir).then_some(()));
    talking.succeeds();
    target.succeeds();
    let call = heir.ended_call();
    assert_eq!(json!([call["outcome"], call["ended_by"]]), json!(["converted", "caller"]), "{call}");
    // A node comes back, and finds the book where it went.
    let back = cluster.another(&heir, ALL);
    assert!(!has_book(&back) && has_book(&heir));
    back.stop_and_verify_despite(&TAKES_OVER);
    heir.stop_and_verify_despite(&TAKES_OVER);
}

#[test]
fn two_nodes_never_sell_more_than_a_buyer_can_pay() {
    let cluster = Cluster::start();
    let book = cluster.first();
    let edge = cluster.another(&book, EDGE);
    // 1,000 dollars, 90 a call: eleven and no more.
    load(&book, &[Buyer { price_micros: 90_000_000, ..Buyer::at(9) }]);
    let sold: usize = std::thread::scope(|scope| {
        let count = |node, group| (0..20).filter(|caller| is_sold(node, group, *caller)).count();
        let pinging = [(&book, 0), (&edge, 1)].map(|(node, group)| scope.spawn(move || count(node, group)));
        pinging.into_iter().map(|pings| pings.join().expect("no panic")).sum()
    });
    assert_eq!(sold, 11);
    assert_eq!(buyer_balance(&edge, 0), json!([10_000_000, 990_000_000]));
    // Reservations that have not run out stay, and hold.
    for mut node in [edge, book] {
        assert_eq!(node.stop(), Some(0), "{}", node.log());
    }
}

#[test]
fn a_bid_changed_on_one_node_counts_on_the_next() {
    let cluster = Cluster::start();
    let book = cluster.first();
    let edge = cluster.another(&book, EDGE);
    load(&edge, &[Buyer::at(9)]);
    let bid = edge.get("/v1/bid-profiles")["items"][0]["id"].as_str().expect("an id").to_owned();
    for (turn, (changed, asked)) in [(&edge, &book), (&book, &edge)].into_iter().enumerate() {
        for (status, expected) in [("paused", false), ("active", true)] {
            changed.send("PATCH", &format!("/v1/bid-profiles/{bid}"), &json!({ "status": status }));
            assert_eq!(is_sold(asked, turn, usize::from(expected)), expected, "{status}");
        }
    }
}

#[test]
fn what_is_changed_on_one_node_is_read_on_all() {
    let cluster = Cluster::start();
    let book = cluster.first();
    let (edge, other) = (cluster.another(&book, EDGE), cluster.another(&book, EDGE));
    load(&edge, &[Buyer::at(9)]);
    let account = edge.get("/v1/bid-profiles")["items"][0]["buyer"].as_str().expect("an id").to_owned();
    let path = format!("/v1/accounts/{account}");
    let limit = |node: &Exchange| node.get(&path)["credit_limit_micros"].as_i64().expect("an amount");
    for turn in 0..30 {
        // All have it in mind.
        for node in [&book, &edge, &other] {
            limit(node);
        }
        let changed = if turn % 2 == 0 { &edge } else { &book };
        let new = i64::from(turn) * 1_000_000 + 1;
        changed.send("PATCH", &path, &json!({ "credit_limit_micros": new }));
        assert_eq!((limit(changed), limit(&book)), (new, new), "who was answered reads what it wrote");
        let changed_at = Instant::now();
        until("the other nodes read it", || (limit(&edge) == new && limit(&other) == new).then_some(()));
        assert!(changed_at.elapsed() < Duration::from_secs(5), "they were told: what is too old takes 5 s");
    }
    for node in [other, edge, book] {
        node.stop_and_verify();
    }
}

#[test]
fn sessions_and_shut_out_addresses_are_known_on_every_node() {
    let cluster = Cluster::start();
    let redis = RedisServer::start();
    let sections = |roles| {
        let sections = cluster.sections(roles);
        format!("{sections}[coordination]\nkind = \"redis\"\nurl = \"unix://{}\"\n", redis.socket())
    };
    let http = "wrong_keys_per_day = 3\ntrusted_proxies = [\"127.0.0.1\"]";
    let book = Exchange::start_with(Setup { more: &sections(ALL), http, ..Setup::default() });
    let edge = book.another_with(Setup { more: &sections(EDGE), http, ..Setup::default() });
    wait_until_ready(&edge);
    let new = json!({ "name": "a console", "role": "analyst" });
    let key = edge.send("POST", "/v1/api-keys", &new);
    let (id, key) = (key["id"].as_str().expect("an id"), key["key"].as_str().expect("a key"));
    let (status, began) = edge.ask_with(key, "POST", "/v1/sessions", Some(&json!({})));
    assert_eq!(status, 201, "{began}");
    let began: Value = serde_json::from_str(&began).expect("JSON");
    let secret = began["secret"].as_str().expect("a secret");
    let reads = |node: &Exchange| node.ask_with(secret, "GET", "/v1/totals", None).0;
    assert_eq!((reads(&edge), reads(&book)), (200, 200), "on the other node, too");
    redis.say(&["FLUSHALL"]);
    assert_eq!((reads(&edge), reads(&book)), (200, 200), "nobody is logged out");

    assert_eq!(edge.ask("DELETE", &format!("/v1/api-keys/{id}"), None).0, 204);
    let revoked_at = Instant::now();
    assert_eq!(reads(&edge), 401, "where the key was revoked, at once");
    until("the other node hears of it", || (reads(&book) == 401).then_some(()));
    assert!(revoked_at.elapsed() < Duration::from_secs(5), "it was told: what is too old takes 5 s");

    // The key is the end of a header: another one follows it.
    let guess = |node: &Exchange, from: &str| {
        node.ask_with(&format!("dce_guess\r\nX-Forwarded-For: {from}"), "GET", "/v1/totals", None).0
    };
    assert_eq!([guess(&edge, "192.0.2.1"), guess(&book, "192.0.2.1"), guess(&edge, "192.0.2.1")], [401; 3]);
    assert_eq!(guess(&edge, "192.0.2.1"), 429);
    until("the other node hears of it", || (guess(&book, "192.0.2.1") == 429).then_some(()));
    assert_eq!((guess(&book, "192.0.2.2"), edge.ask("GET", "/v1/totals", None).0), (401, 200));
    for node in [edge, book] {
        node.stop_and_verify_despite(&["too many wrong API keys: the address is shut out"]);
    }
}

#[test]
fn a_node_with_another_key_joins_nobody() {
    let cluster = Cluster::start();
    let book = cluster.first();
    let wrong = cluster.folder.path().join("wrong.key");
    std::fs::write(&wrong, "f".repeat(64)).expect("writable");
    let sections = cluster.sections(EDGE).replace("node.key", "wrong.key");
    let stranger = book.another_with(Setup { more: &sections, ..Setup::default() });
    until("it says that it is alone", || {
        let told = stranger.logged("WARN");
        told.iter().any(|told| told == "this node is without the book; looking for it").then_some(())
    });
    std::thread::sleep(Duration::from_millis(500));
    let (status, readiness) = stranger.ask("GET", "/health/ready", None);
    assert_eq!(status, 503, "{readiness}");
    let account = json!({ "id": "00000000-0000-7000-8000-00000000000b", "kind": "buyer", "name": "x", "status": "active" });
    let (status, problem) = stranger.ask("POST", "/v1/accounts", Some(&account));
    assert_eq!(status, 503, "{problem}");
    assert!(problem.contains("urn:dce:problem:book-away"), "{problem}");
}

/// Calls that are connected now.
fn connected(node: &Exchange) -> usize {
    let calls = node.get("/v1/calls");
    calls["items"].as_array().expect("a list").iter().filter(|call| call["state"] == "connected").count()
}

/// One more bid of the first buyer.
fn bid_again(node: &Exchange, buyer: &Buyer) {
    let account = node.get("/v1/bid-profiles")["items"][0]["buyer"].clone();
    let bid = json!({
        "buyer": account, "name": "another", "status": "active",
        "price": { "type": "per_call", "amount_micros": buyer.price_micros },
        "conversion": { "min_connected_s": buyer.min_connected_s },
        "vertical": "roofing",
        "destination": { "sip_uris": [format!("sip:+18005550100@127.0.0.1:{}", buyer.port)] },
    });
    node.send("POST", "/v1/bid-profiles", &bid);
}

/// Whether a ping from this caller wins a reservation.
fn is_sold(node: &Exchange, group: usize, caller: usize) -> bool {
    let caller = format!("+1212{:03}{caller:04}", 555 + group);
    let answer = node.send("POST", "/v1/pings", &json!({ "number": NUMBER, "caller": caller }));
    answer["accepted"] == true
}
