//! Webhooks and dead letters of a whole exchange, with receivers that hang, refuse and come back.

use crate::exchange::{Exchange, Setup};
use crate::patience::until;
use crate::receiver::{Manner, Receiver};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// 24 bytes, and more.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn webhook(name: &str, receiver: &Receiver, more: &str) -> String {
    let url = receiver.url();
    format!("[[webhooks]]\nname = \"{name}\"\nurl = \"{url}\"\nsecret = \"{SECRET}\"\n{more}\n")
}

/// Opens a seller's account, which is an event.
fn open(exchange: &Exchange, name: &str) {
    let account = json!({ "kind": "seller", "name": name, "status": "active" });
    exchange.send("POST", "/v1/accounts", &account);
}

/// Waits until so many different events of accounts were taken; all that were, in order.
fn taken(receiver: &Receiver, count: usize) -> Vec<String> {
    until("the events come", || {
        let ids: Vec<String> = receiver.taken().into_iter().map(|(id, _)| id).collect();
        (ids.iter().collect::<BTreeSet<_>>().len() >= count).then_some(ids)
    })
}

fn line(exchange: &Exchange) -> String {
    let ready = exchange.get("/health/ready");
    let checks = ready["checks"].as_array().expect("a list").clone();
    let check = checks.iter().find(|check| check["name"] == "consumers").expect("a line");
    assert_eq!(check["passed"], true, "calls can be taken without consumers");
    check["finding"].as_str().expect("a text").to_owned()
}

#[test]
fn events_are_posted_signed_and_one_slow_webhook_holds_up_nobody() {
    let (good, hanging) = (Receiver::start(Manner::Answers(204)), Receiver::start(Manner::Hangs));
    let only = "types = [\"account.*\"]\ntimeout_ms = 300";
    let more = webhook("good", &good, only) + &webhook("hanging", &hanging, only);
    let mut exchange = Exchange::start_with(Setup { more: &more, ..Setup::default() });
    for number in 0..5 {
        open(&exchange, &format!("Seller {number}"));
    }
    let ids = taken(&good, 5);
    assert_eq!(ids.len(), 5, "each came once");
    for received in good.received() {
        assert_eq!(received.event["id"], json!(received.id));
        assert_eq!(received.event["type"], "account.changed");
        assert!(received.signature.starts_with("v1,") && received.signature.len() == 47, "{received:?}");
        assert!(received.timestamp.parse::<i64>().expect("seconds") > 1_600_000_000);
    }
    let stuck = until("the hanging one is seen to be stuck", || {
        Some(line(&exchange)).filter(|line| line.contains("webhook hanging: stuck"))
    });
    assert!(
        stuck.contains("analytics: 0 events waiting") && stuck.contains("webhook good: 0 events waiting"),
        "{stuck}"
    );
    let metrics = exchange.ask("GET", "/metrics", None).1;
    assert!(metrics.contains("dce_consumer_events_waiting{consumer=\"webhook good\"} 0"), "{metrics}");

    // It comes back, and has everything.
    hanging.behave(Manner::Answers(200));
    assert_eq!(taken(&hanging, 5).into_iter().collect::<BTreeSet<_>>(), ids.into_iter().collect());
    until("it is well", || (!line(&exchange).contains("stuck")).then_some(()));
    assert_eq!(exchange.stop(), Some(0), "{}", exchange.log());
    assert!(!exchange.log().contains("MfKQ9r8GKYqr"), "no secret is logged");
    let shown = exchange.run(&["config", "show", "--config", "dce.toml"]);
    assert!(shown.stdout.contains("name = \"good\"") && !shown.stdout.contains("MfKQ9r8GKYqr"), "{shown:?}");
    exchange.verify();
}

#[test]
fn killed_between_the_effect_and_the_commit_an_event_comes_again_with_the_same_id() {
    let receiver = Receiver::start(Manner::Hangs);
    let more = webhook("crm", &receiver, "types = [\"account.changed\"]\ntimeout_ms = 30_000");
    let setup = Setup { more: &more, ..Setup::default() };
    let mut exchange = Exchange::start_with(setup);
    open(&exchange, "Seller");
    let first = until("it has come", || receiver.received().first().cloned());
    // Somebody has it, and nobody has said so.
    exchange.kill();
    receiver.behave(Manner::Answers(200));
    let exchange = exchange.again_with(setup);
    open(&exchange, "Another");
    let ids = taken(&receiver, 2);
    assert_eq!(ids[0], first.id, "the same event, and before the next one");
    assert_eq!(ids.len(), 2);
    exchange.stop_and_verify();
}

#[test]
fn what_is_refused_for_good_is_put_aside_and_can_be_given_again() {
    let receiver = Receiver::start(Manner::Answers(410));
    let more = webhook("crm", &receiver, "types = [\"account.changed\"]");
    let setup = Setup { more: &more, ..Setup::default() };
    let mut exchange = Exchange::start_with(setup);
    open(&exchange, "Refused");
    let letter = until("it is put aside", || {
        let letters = exchange.get("/v1/dead-letters");
        letters["items"].as_array().expect("a list").first().cloned()
    });
    assert_eq!(
        (&letter["consumer"], &letter["state"], &letter["finding"]),
        (&json!("webhook crm"), &json!("waiting"), &json!("answered 410; the receiver refuses it"))
    );
    // A try whose kept connection breaks is sent once more, so there may be more requests than tries.
    let requests = receiver.received();
    assert!((3..=6).contains(&requests.len()), "after three tries: {requests:?}");
    assert!(requests.iter().all(|request| json!(request.id) == letter["id"]), "{requests:?}");
    receiver.behave(Manner::Answers(200));
    open(&exchange, "Taken");
    taken(&receiver, 1);

    assert_eq!(
        exchange.send("POST", "/v1/dead-letters/replay", &json!({ "all": true })),
        json!({ "asked_for": 1 })
    );
    let ids = taken(&receiver, 2);
    assert_eq!(letter["id"], json!(ids[1]));
    until("it is noted", || (exchange.get("/v1/dead-letters")["items"][0]["state"] == "taken").then_some(()));
    let again = exchange.send("POST", "/v1/dead-letters/replay", &json!({ "all": true }));
    assert_eq!(again, json!({ "asked_for": 0 }), "safe to ask twice");

    // The same from the command line, while no server runs.
    receiver.behave(Manner::Answers(400));
    open(&exchange, "Refused again");
    until("it is put aside", || {
        (exchange.get("/v1/dead-letters?state=waiting")["items"].as_array().expect("a list").len() == 1)
            .then_some(())
    });
    let busy = exchange.run(&["events", "replay", "--config", "dce.toml", "--all"]);
    assert_eq!(busy.code, Some(3), "{busy:?}");
    assert!(busy.stderr.contains("POST /v1/dead-letters/replay"), "{busy:?}");
    assert_eq!(exchange.stop(), Some(0), "{}", exchange.log());
    let listed = exchange.run(&["events", "dead-letters", "--config", "dce.toml", "--format", "json"]);
    let listed: Value = serde_json::from_str(&listed.stdout).expect("JSON");
    let states: Vec<_> =
        listed["dead_letters"].as_array().expect("a list").iter().map(|one| &one["state"]).collect();
    assert_eq!(states, ["taken", "waiting"]);
    let asked =
        exchange.run(&["events", "replay", "--config", "dce.toml", "--all", "--group", "webhook crm"]);
    assert_eq!(
        (asked.code, asked.stdout.as_str()),
        (Some(0), "1 events are given again once the exchange runs\n")
    );
    let unknown = exchange.run(&[
        "events",
        "replay",
        "--config",
        "dce.toml",
        "--id",
        "00000000-0000-8000-8000-000000000000",
    ]);
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    receiver.behave(Manner::Answers(200));
    let exchange = exchange.again_with(setup);
    taken(&receiver, 3);
    exchange.stop_and_verify();
}

#[test]
fn a_receiver_that_is_away_for_too_long_loses_nothing() {
    let receiver = Receiver::start(Manner::Closes);
    let more = webhook("crm", &receiver, "types = [\"account.changed\"]\ntries_max = 2");
    let exchange = Exchange::start_with(Setup { more: &more, ..Setup::default() });
    open(&exchange, "One");
    open(&exchange, "Two");
    until("both are put aside", || {
        (exchange.get("/v1/dead-letters")["items"].as_array().expect("a list").len() == 2).then_some(())
    });
    receiver.behave(Manner::Answers(202));
    exchange.send("POST", "/v1/dead-letters/replay", &json!({ "consumer": "webhook crm" }));
    taken(&receiver, 2);
}

#[test]
fn a_webhook_that_cannot_work_is_named() {
    let directory = crate::binary::directory();
    let config = "[[webhooks]]\nname = \"crm\"\nurl = \"crm.example\"\nsecret = \"s3cret\"\ntypes = [\"call.invented\"]\n";
    std::fs::write(directory.path().join("dce.toml"), config).expect("writable");
    let checked = crate::binary::run(&directory, &["config", "check", "--config", "dce.toml"]);
    assert_eq!(checked.code, Some(2), "{checked:?}");
    for said in ["(crm): url is no URL", "(crm): secret is none", "'call.invented' is no type of events"] {
        assert!(checked.stderr.contains(said), "{said}: {checked:?}");
    }
    assert!(!checked.stderr.contains("s3cret"), "{checked:?}");
}
