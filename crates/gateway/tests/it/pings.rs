//! Pings: what a call would bring, and why it is not wanted.

use crate::house::{BUYER, House, NUMBER, Who, bid};
use exchange::call::{Arrival, Stated};
use exchange::effect::{Action, Input};
use exchange::id::CallId;
use exchange::phone_number::CallerId;
use gateway::HttpConfig;
use serde_json::{Value, json};
use uuid::Uuid;

const CALLER: &str = "+12125550142";

fn ping() -> Value {
    json!({ "number": NUMBER, "caller": CALLER, "state": "NY", "tags": { "campaign_id": "spring" } })
}

/// A house with a bid of 30 for roofing calls from New York.
async fn with_a_bid(config: &HttpConfig) -> House {
    let house = House::with(config);
    house.furnish().await;
    let mut roofs = bid(BUYER, 30);
    roofs["criteria"] = json!({ "states": ["NY"] });
    roofs["conversion"] = json!({ "min_connected_s": 90 });
    house.ask(Who::Buyer, "POST", "/v1/bid-profiles", roofs).await.expect(201);
    house
}

#[tokio::test]
async fn a_ping_wins_a_reservation_and_the_call_redeems_it() {
    let config = HttpConfig { public_sip_host: Some("sip.example.com".to_owned()), ..HttpConfig::default() };
    let mut house = with_a_bid(&config).await;
    let answer = house.ask(Who::Seller, "POST", "/v1/pings", ping()).await.expect(200);
    assert_eq!(answer.json["accepted"], true);
    assert_eq!(
        (&answer.json["payout_micros"], &answer.json["currency"]),
        (&json!(21_000_000), &json!("USD")),
        "70 % of 30"
    );
    assert_eq!((&answer.json["min_connected_s"], &answer.json["is_repeat"]), (&json!(90), &json!(false)));
    assert_eq!(answer.json["sip_uri"], format!("sip:{NUMBER}@sip.example.com"));
    for secret in [BUYER.to_string(), "30000000".to_owned()] {
        assert!(!answer.text.contains(&secret), "a seller sees {secret}: {}", answer.text);
    }
    let again = house.ask(Who::Seller, "POST", "/v1/pings", ping()).await.expect(200).json;
    assert_eq!((&again["id"], &again["is_repeat"]), (&answer.json["id"], &json!(true)));

    let path = format!("/v1/calls/{}", answer.json["id"].as_str().expect("an id"));
    assert_eq!(house.get(Who::Seller, &path).await.expect(200).json["state"], "reserved");
    let to_the_winner = house.get(Who::Buyer, &path).await.expect(200).json;
    let shown = to_the_winner["caller"].as_str().expect("a text");
    assert!(shown.contains('*'), "nobody has called yet, and perhaps nobody will: {shown}");
    let arrival = Arrival {
        called: NUMBER.parse().expect("a number"),
        caller: CallerId::from_user_part(CALLER),
        trunk: "carrier-7".to_owned(),
        stated: Stated::default(),
    };
    house.engine.call(CallId(Uuid::from_u128(0xca11)), Input::Arrived(arrival)).expect("room");
    while !matches!(house.next_action().await, Action::EndCall { .. } | Action::RingTarget { .. }) {}
    let redeemed = house.get(Who::Seller, &path).await.expect(200).json;
    assert_eq!(redeemed["outcome"], "redeemed");
}

#[tokio::test]
async fn a_no_is_an_answer_with_its_own_reason() {
    let house = with_a_bid(&HttpConfig::default()).await;
    let with = |field: &str, value: Value| {
        let mut ping = ping();
        ping[field] = value;
        ping
    };
    let no_match = |closest: &str| json!({ "reason": "no_match", "closest": closest });
    let cases = [
        (Who::Seller, with("number", json!("+18005550199")), json!({ "reason": "unknown_number" })),
        (Who::OtherSeller, ping(), json!({ "reason": "unknown_number" })),
        (Who::Admin, with("number", json!("+18005550199")), json!({ "reason": "unknown_number" })),
        (Who::Seller, with("caller", Value::Null), json!({ "reason": "caller_missing" })),
        (Who::Seller, with("state", json!("FL")), no_match("state")),
    ];
    for (who, ping, expected) in cases {
        let answer = house.ask(who, "POST", "/v1/pings", ping).await.expect(200);
        assert_eq!(answer.json["accepted"], false, "{}", answer.text);
        for (field, value) in expected.as_object().expect("fields") {
            assert_eq!(&answer.json[field], value, "{who:?} {}", answer.text);
        }
        let has_receipt = answer.json["reason"] == "no_match";
        assert_eq!(answer.json["id"].is_string(), has_receipt, "{}", answer.text);
    }
    let accepted = house.ask(Who::Admin, "POST", "/v1/pings", ping()).await.expect(200);
    assert_eq!((&accepted.json["accepted"], &accepted.json["sip_uri"]), (&json!(true), &Value::Null));
}

#[tokio::test]
async fn a_ping_that_cannot_be_read_names_the_field() {
    let house = with_a_bid(&HttpConfig::default()).await;
    let many: serde_json::Map<_, _> = (0..33).map(|tag| (format!("tag_{tag}"), json!("x"))).collect();
    let cases = [
        ("number", json!("five")),
        ("caller", json!("anonymous")),
        ("state", json!("New York")),
        ("state", json!("XX")),
        ("zip", json!("1001")),
        ("language", json!("Spanish")),
        ("attestation", json!("D")),
        ("expires_in_ms", json!(0)),
        ("expires_in_ms", json!(120_001)),
        ("tags", Value::Object(many)),
        ("tags", json!({ "Campaign": "x" })),
        ("tags", json!({ "campaign": "" })),
        ("tags", json!({ "campaign": "a\u{7}b" })),
        ("tags", json!({ "campaign": "x".repeat(257) })),
        ("price", json!(1)),
    ];
    for (field, value) in cases {
        let mut ping = ping();
        ping[field] = value;
        let problem = house.ask(Who::Seller, "POST", "/v1/pings", ping).await.expect(422);
        assert_eq!(problem.fields(), [field], "{}", problem.text);
    }
}

#[tokio::test]
async fn a_ping_that_cannot_be_taken_is_told_every_reason() {
    let house = with_a_bid(&HttpConfig::default()).await;
    let mut wrong = ping();
    wrong["state"] = json!("XX");
    wrong["expires_in_ms"] = json!(3_600_000);
    wrong["tags"] = json!({ "Campaign": "x", "ok": "x", "No Word": "x" });
    let problem = house.ask(Who::Seller, "POST", "/v1/pings", wrong.clone()).await.expect(422);
    assert_eq!(problem.fields(), ["tags", "tags", "state", "expires_in_ms"], "{}", problem.text);
    assert_eq!(problem.json["errors"][3]["problem"], "is not between 1 and 120000", "the true maximum");

    wrong["zip"] = json!(33_101);
    wrong["number"] = Value::Null;
    let problem = house.ask(Who::Seller, "POST", "/v1/pings", wrong).await.expect(422);
    assert_eq!(problem.fields(), ["number", "zip"], "without a number nothing else can be asked");

    let mut longest = ping();
    longest["expires_in_ms"] = json!(120_000);
    let answer = house.ask(Who::Seller, "POST", "/v1/pings", longest).await.expect(200).json;
    let received =
        house.get(Who::Seller, "/v1/calls").await.expect(200).json["items"][0]["received_at"].as_i64();
    let held_us = answer["expires_at"].as_i64().zip(received).map(|(expires, received)| expires - received);
    assert_eq!(held_us, Some(120_000_000));
}
