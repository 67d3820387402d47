//! Sessions of API keys: begun, used, listed, ended, and over by themselves, over REST, web sockets and gRPC.

use crate::house::{BUYER, House, Who};
use crate::{grpc, live_bids};
use gateway::HttpConfig;
use serde_json::{Value, json};

const SESSIONS: &str = "/v1/sessions";

/// Begins one; its id and its secret.
async fn begin(house: &House, who: Who, terms: Value) -> (String, String) {
    let began = house.ask(who, "POST", SESSIONS, terms).await.expect(201).json;
    let text = |field: &str| began[field].as_str().expect(field).to_owned();
    (text("id"), text("secret"))
}

#[tokio::test]
async fn a_session_may_what_its_key_may_until_it_is_ended() {
    let house = House::furnished().await;
    let (id, secret) = begin(&house, Who::Buyer, json!({})).await;
    let accounts = house.ask_with(Some(&secret), "GET", "/v1/accounts", Value::Null).await.expect(200);
    assert_eq!(accounts.ids("id"), [BUYER.to_string()], "its own account");
    house.ask_with(Some(&secret), "GET", "/v1/totals", Value::Null).await.expect(403);
    house.ask_with(Some(&secret), "POST", SESSIONS, json!({})).await.expect(403);

    let listed = house.get(Who::Buyer, SESSIONS).await.expect(200);
    assert_eq!(listed.ids("id"), [&id]);
    let part = secret.rsplit('_').next().expect("three parts");
    assert!(!listed.text.contains(part), "the secret is shown once only");
    let (began_at, expires_at) =
        (&listed.json["items"][0]["began_at"], &listed.json["items"][0]["expires_at"]);
    assert_eq!(
        expires_at.as_i64().zip(began_at.as_i64()).map(|(end, start)| end - start),
        Some(3_600_000_000)
    );

    let path = format!("{SESSIONS}/{id}");
    house.ask(Who::OtherBuyer, "DELETE", &path, Value::Null).await.expect(404);
    house.ask(Who::Admin, "DELETE", &format!("/v1/api-keys/{id}"), Value::Null).await.expect(404);
    house.ask(Who::Buyer, "DELETE", &format!("{SESSIONS}/current"), Value::Null).await.expect(404);
    house.ask_with(Some(&secret), "DELETE", &format!("{SESSIONS}/current"), Value::Null).await.expect(204);
    house.ask_with(Some(&secret), "GET", "/v1/accounts", Value::Null).await.expect(401);
    house.ask(Who::Buyer, "DELETE", &path, Value::Null).await.expect(204);
    assert!(house.get(Who::Buyer, SESSIONS).await.expect(200).ids("id").is_empty());
    house.get(Who::Buyer, "/v1/accounts").await.expect(200);
}

#[tokio::test]
async fn a_key_that_is_revoked_ends_its_sessions_and_no_others() {
    let house = House::furnished().await;
    let new = json!({ "name": "Acme's console", "role": "buyer", "account": BUYER });
    let made = house.ask(Who::Admin, "POST", "/v1/api-keys", new).await.expect(201).json;
    let key = made["key"].as_str().expect("a key");
    let began = house.ask_with(Some(key), "POST", SESSIONS, json!({})).await.expect(201).json;
    let secret = began["secret"].as_str().expect("a secret");
    let (_, other) = begin(&house, Who::Buyer, json!({})).await;
    house.ask_with(Some(secret), "GET", "/v1/accounts", Value::Null).await.expect(200);

    let path = format!("/v1/api-keys/{}", made["id"].as_str().expect("an id"));
    house.ask(Who::Admin, "DELETE", &path, Value::Null).await.expect(204);
    for gone in [key, secret] {
        house.ask_with(Some(gone), "GET", "/v1/accounts", Value::Null).await.expect(401);
    }
    house.ask_with(Some(&other), "GET", "/v1/accounts", Value::Null).await.expect(200);
    assert!(house.verify().violations.is_empty());
}

#[tokio::test]
async fn a_session_is_over_at_its_end_everywhere() {
    let (house, server) = live_bids::unhurried().await;
    let (_, secret) = begin(&house, Who::Buyer, json!({ "ttl_s": 3 })).await;
    let mut socket = live_bids::Bidder::connect_with(Some(&secret), &server, "").await.expect("a session");
    let mut stream = grpc::Bidder::connect_with(Some(&secret), &server, "").await.expect("a session");
    assert!(socket.hear().await.expect("its bids")["bids"].is_array());
    let reason = socket.hear().await.expect_err("its time is over");
    assert!(reason.starts_with("the session of the API key is over"), "{reason}");
    let status = stream.end().await;
    assert_eq!((status.code(), status.message()), (tonic::Code::Unauthenticated, reason.as_str()));
    let over = house.ask_with(Some(&secret), "GET", "/v1/accounts", Value::Null).await.expect(401);
    assert!(
        over.json["detail"].as_str().expect("a detail").starts_with("the session is over"),
        "{}",
        over.text
    );
    assert!(house.get(Who::Buyer, SESSIONS).await.expect(200).ids("id").is_empty());
}

#[tokio::test]
async fn a_session_asks_for_no_more_than_its_key_has_and_lasts_a_day_at_most() {
    let house = House::furnished().await;
    for (who, terms, status, field) in [
        (Who::Buyer, json!({ "ttl_s": 0 }), 422, "ttl_s"),
        (Who::Buyer, json!({ "ttl_s": 86_401 }), 422, "ttl_s"),
        (Who::Buyer, json!({ "role": "admin" }), 403, "role"),
        (Who::Buyer, json!({ "role": "seller" }), 403, "role"),
        (Who::Analyst, json!({ "role": "admin" }), 403, "role"),
        (Who::Admin, json!({ "role": "buyer" }), 403, "role"),
    ] {
        let refused = house.ask(who, "POST", SESSIONS, terms.clone()).await.expect(status);
        assert_eq!(refused.fields(), [field], "{terms}");
    }
    let (_, secret) = begin(&house, Who::Admin, json!({ "role": "analyst", "ttl_s": 86_400 })).await;
    house.ask_with(Some(&secret), "GET", "/v1/totals", Value::Null).await.expect(200);
    house.ask_with(Some(&secret), "GET", "/v1/api-keys", Value::Null).await.expect(403);
}

#[tokio::test]
async fn a_key_has_so_many_sessions_and_shares_its_requests_with_them() {
    let house = House::furnished().await;
    let (first, secret) = begin(&house, Who::Buyer, json!({})).await;
    for _ in 1..20 {
        begin(&house, Who::Buyer, json!({})).await;
    }
    let refused = house.ask(Who::Buyer, "POST", SESSIONS, json!({})).await.expect(409);
    assert_eq!(refused.json["detail"], "this key has 20 live sessions, the most there may be; end one first");
    begin(&house, Who::OtherBuyer, json!({})).await;
    house.ask(Who::Buyer, "DELETE", &format!("{SESSIONS}/{first}"), Value::Null).await.expect(204);
    begin(&house, Who::Buyer, json!({})).await;
    house.ask_with(Some(&secret), "GET", SESSIONS, Value::Null).await.expect(401);

    let config = HttpConfig { requests_per_minute: 1, requests_burst: 3, ..HttpConfig::default() };
    let house = House::with(&config);
    let (_, secret) = begin(&house, Who::Seller, json!({})).await;
    let asked = house.ask_with(Some(&secret), "GET", SESSIONS, Value::Null).await.expect(200);
    assert_eq!(asked.header("ratelimit"), "\"key\";r=1");
    assert_eq!(house.get(Who::Seller, SESSIONS).await.expect(200).header("ratelimit"), "\"key\";r=0");
    house.ask_with(Some(&secret), "GET", SESSIONS, Value::Null).await.expect(429);
}

#[tokio::test]
async fn the_audit_log_names_the_key_and_no_secret() {
    let house = House::furnished().await;
    let (id, secret) = begin(&house, Who::Seller, json!({})).await;
    let current = format!("{SESSIONS}/current");
    house.ask_with(Some(&secret), "DELETE", &current, Value::Null).await.expect(204);
    let listed =
        house.get(Who::Analyst, &format!("/v1/audit-entries?subject=session/{id}")).await.expect(200);
    let items = listed.json["items"].as_array().expect("items");
    let actions: Vec<_> = items.iter().map(|entry| &entry["action"]).collect();
    assert_eq!(actions, ["session.ended", "session.began"]);
    let key = house.key(Who::Seller).expect("a key");
    let key = key.split('_').nth(1).expect("an id").parse::<uuid::Uuid>().expect("an id").to_string();
    assert_eq!((&items[0]["api_key"], &items[1]["api_key"]), (&json!(key), &json!(key)));
    assert_eq!(items[1]["detail"]["key"], json!(key));
    assert!(!listed.text.contains(secret.rsplit('_').next().expect("three parts")), "no secrets");
}
