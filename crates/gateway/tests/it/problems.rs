//! What cannot be read, is too large, or is not there: each a problem of its own.

use crate::house::{Answer, BUYER, House, Who};
use axum::body::Body;
use axum::http::{Request, header};
use serde_json::json;

async fn post(house: &House, content_type: &str, body: impl Into<Body>) -> Answer {
    let key = house.key(Who::Admin).expect("a key");
    let request = Request::post("/v1/accounts")
        .header(header::AUTHORIZATION, format!("Bearer {key}"))
        .header(header::CONTENT_TYPE, content_type)
        .body(body.into());
    house.send(request.expect("a request")).await
}

fn check(answer: &Answer, status: u16, kind: &str) {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.json["type"], format!("urn:dce:problem:{kind}"));
    assert_eq!(answer.json["status"], status);
    assert_eq!(answer.json["request_id"], answer.header("x-request-id"));
    assert!(answer.json["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{}", answer.text);
}

#[tokio::test]
async fn bodies_that_cannot_be_read_say_why() {
    let house = House::open();
    let json = "application/json";
    let good = json!({ "kind": "buyer", "name": "Acme" }).to_string();
    check(&post(&house, "text/plain", good.clone()).await, 415, "unsupported-media-type");
    check(&post(&house, json, "{\"kind\":").await, 400, "malformed-request");
    check(&post(&house, json, format!("{good} x")).await, 400, "malformed-request");
    check(&post(&house, json, vec![0xff, 0xfe]).await, 400, "malformed-request");
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(gateway::BODY_BYTES_MAX));
    check(&post(&house, json, large).await, 413, "too-large");
    assert_eq!(post(&house, "application/json; charset=utf-8", good).await.status.as_u16(), 201);
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_too() {
    let house = House::open();
    check(&house.get(Who::Admin, "/v1/nothing").await, 404, "not-found");
    check(&house.get(Who::Admin, &format!("/v1/accounts/{BUYER}")).await, 404, "not-found");
    check(&house.get(Who::Admin, &format!("/v1/calls/{BUYER}/receipt")).await, 404, "not-found");
    check(&house.get(Who::Nobody, "/v1/accounts").await, 401, "not-authenticated");
    let refused = house.ask(Who::Admin, "DELETE", "/v1/accounts", serde_json::Value::Null).await;
    check(&refused, 405, "method-not-allowed");
    assert_eq!(refused.header("allow"), "POST,GET,HEAD");
    assert_eq!(
        house.get(Who::Nobody, "/v1/accounts").await.header("www-authenticate"),
        "Bearer realm=\"dce\""
    );
}

#[tokio::test]
async fn paths_and_queries_name_what_is_wrong() {
    let house = House::open();
    let cases = [
        ("/v1/accounts/me", "path"),
        ("/v1/tracking-numbers/+1", "path"),
        ("/v1/accounts?kind=house", "kind"),
        ("/v1/accounts?limit=many", "limit"),
        ("/v1/accounts?limit=0", "limit"),
        ("/v1/accounts?limit=201", "limit"),
        ("/v1/accounts?color=red", "color"),
        ("/v1/accounts?after=!", "after"),
        ("/v1/calls?seller=me", "seller"),
        ("/v1/calls?state=received", "state"),
        ("/v1/calls?outcome=happy", "outcome"),
        ("/v1/events?after=x", "after"),
        ("/v1/calls?from=2020", "from"),
        ("/v1/calls?to=yesterday", "to"),
        ("/v1/totals?from=1782864000", "from"),
    ];
    for (path, field) in cases {
        let problem = house.get(Who::Admin, path).await;
        check(&problem, 400, "malformed-request");
        assert_eq!(problem.fields(), [field], "{path}: {}", problem.text);
    }
}

#[tokio::test]
async fn a_query_is_told_everything_that_is_wrong_with_it() {
    let house = House::open();
    let path = "/v1/calls?from=2020&limit=many&outcome=convertd&colour=red";
    let problem = house.get(Who::Admin, path).await.expect(400);
    assert_eq!(problem.fields(), ["from", "limit", "outcome", "colour"], "{}", problem.text);
    let said = |index: usize, name: &str| {
        problem.json["errors"][index][name].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(said(2, "fix"), "send converted");
    assert!(said(0, "fix").contains("2026-07-01T00:00:00Z"), "{}", problem.text);
    for moment in ["2026-07-01T00:00:00Z", "2026-07-01T00:00:00-04:00", "1782864000000000"] {
        house.get(Who::Admin, &format!("/v1/calls?from={moment}&to={moment}")).await.expect(200);
    }
}

#[tokio::test]
async fn the_callers_own_request_id_comes_back() {
    let house = House::open();
    let request = Request::get("/health/live").header("x-request-id", "trace-42").body(Body::empty());
    let answer = house.send(request.expect("a request")).await.expect(200);
    assert_eq!(answer.header("x-request-id"), "trace-42");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("cache-control"), "no-store");
}
