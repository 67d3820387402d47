//! API keys: made, used, revoked, limited.

use crate::house::{BUYER, House, NUMBER, SELLER, Who};
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, header};
use gateway::HttpConfig;
use serde_json::{Value, json};
use std::net::SocketAddr;

async fn status_with(house: &House, key: &str) -> u16 {
    let request = Request::get("/v1/accounts").header(header::AUTHORIZATION, format!("Bearer {key}"));
    house.send(request.body(Body::empty()).expect("a request")).await.status.as_u16()
}

#[tokio::test]
async fn a_key_works_until_it_is_revoked_and_not_once_after() {
    let house = House::furnished().await;
    let new = json!({ "name": "Acme's dialler", "role": "buyer", "account": BUYER });
    let made = house.ask(Who::Admin, "POST", "/v1/api-keys", new).await.expect(201).json;
    let (id, key) = (made["id"].as_str().expect("an id"), made["key"].as_str().expect("a key"));
    assert_eq!(status_with(&house, key).await, 200);
    let listed = house.get(Who::Admin, "/v1/api-keys").await.expect(200);
    assert!(listed.ids("id").contains(&id));
    assert!(
        !listed.text.contains(key.rsplit('_').next().expect("three parts")),
        "the secret is shown once only"
    );

    house.ask(Who::Admin, "DELETE", &format!("/v1/api-keys/{id}"), Value::Null).await.expect(204);
    assert_eq!(status_with(&house, key).await, 401);
    house.ask(Who::Admin, "DELETE", &format!("/v1/api-keys/{id}"), Value::Null).await.expect(204);
    house.ask(Who::Admin, "DELETE", &format!("/v1/api-keys/{BUYER}"), Value::Null).await.expect(404);
}

#[tokio::test]
async fn a_key_names_an_account_of_its_roles_kind() {
    let house = House::furnished().await;
    for new in [
        json!({ "name": "x", "role": "buyer" }),
        json!({ "name": "x", "role": "buyer", "account": SELLER }),
        json!({ "name": "x", "role": "seller", "account": BUYER }),
        json!({ "name": "x", "role": "admin", "account": BUYER }),
        json!({ "name": "x", "role": "seller", "account": "00000000-0000-0000-0000-000000000000" }),
    ] {
        let problem = house.ask(Who::Admin, "POST", "/v1/api-keys", new.clone()).await.expect(422);
        assert_eq!(problem.fields(), ["account"], "{new}");
    }
}

#[tokio::test]
async fn only_the_whole_key_opens() {
    let house = House::open();
    let key = house.key(Who::Admin).expect("a key");
    let (front, secret) = key.rsplit_once('_').expect("three parts");
    let flipped = if secret.starts_with('0') { '1' } else { '0' };
    let other_secret = format!("{front}_{flipped}{}", &secret[1..]);
    let other_id = format!("dce_{}_{secret}", uuid::Uuid::from_u128(7).simple());
    assert_eq!(status_with(&house, &key).await, 200);
    for wrong in ["", "x", &other_secret, &other_id, front, &key[..key.len() - 1]] {
        assert_eq!(status_with(&house, wrong).await, 401, "{wrong}");
    }
}

#[tokio::test]
async fn a_key_that_asks_too_often_waits_and_others_do_not() {
    let house =
        House::with(&HttpConfig { requests_per_minute: 1, requests_burst: 2, ..HttpConfig::default() });
    for remaining in [1, 0] {
        let answer = house.get(Who::Buyer, "/v1/bid-profiles").await.expect(200);
        assert_eq!(answer.header("ratelimit"), format!("\"key\";r={remaining}"));
        assert_eq!(answer.header("ratelimit-policy"), "\"key\";q=2;w=120");
    }
    let refused = house.get(Who::Buyer, "/v1/bid-profiles").await.expect(429);
    let retry_after_s: u64 = refused.header("retry-after").parse().expect("seconds");
    assert!((1..=60).contains(&retry_after_s), "{retry_after_s}");
    assert_eq!(refused.json["type"], "urn:dce:problem:rate-limited");
    house.get(Who::Seller, "/v1/tracking-numbers").await.expect(200);
}

#[tokio::test]
async fn an_address_that_tries_wrong_keys_is_shut_out_before_its_key_is_looked_up() {
    // A day's limit, so that no time passes as far as the test is concerned.
    let house = House::with(&HttpConfig { wrong_keys_per_day: 3, ..HttpConfig::default() });
    let key = house.key(Who::Admin).expect("a key");
    let ask = async |from: [u8; 4], key: &str| {
        let from = SocketAddr::from((from, 40_000));
        let request = Request::get(format!("/v1/tracking-numbers/{NUMBER}"))
            .header(header::AUTHORIZATION, format!("Bearer {key}"))
            .extension(ConnectInfo(from));
        house.send(request.body(Body::empty()).expect("a request")).await
    };
    let wrong = gateway::ApiKeyText::mint().expect("randomness").to_string();
    ask([192, 0, 2, 1], "dce_guess").await.expect(401);
    ask([192, 0, 2, 1], &wrong).await.expect(401);
    for _ in 0..5 {
        ask([192, 0, 2, 1], &key).await.expect(404);
    }
    ask([192, 0, 2, 1], "dce_guess").await.expect(401);
    for key in ["dce_guess", &key] {
        let told = ask([192, 0, 2, 1], key).await.expect(429);
        let retry_after_s: u64 = told.header("retry-after").parse().expect("seconds");
        assert!((1..=2 * 86_400).contains(&retry_after_s), "{retry_after_s}");
    }
    for _ in 0..5 {
        ask([192, 0, 2, 2], &key).await.expect(404);
    }
    ask([192, 0, 2, 2], "dce_guess").await.expect(401);
}
