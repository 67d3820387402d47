//! Pings as partners send them to Ringba, over ping endpoints.

use crate::house::{Answer, BUYER, House, NUMBER, OTHER_SELLER, SELLER, Who, bid, tracking_number};
use axum::body::Body;
use axum::http::{Request, header};
use gateway::HttpConfig;
use serde_json::{Value, json};

/// A house with a bid of 30, for callers from New York over 60, and an endpoint for its number.
async fn with_an_endpoint(config: &HttpConfig) -> (House, String) {
    let house = House::with(config);
    house.furnish().await;
    let mut roofs = bid(BUYER, 30);
    roofs["criteria"] = json!({ "states": ["NY"], "tags": [{ "name": "age", "is": { "greater": 60 } }] });
    roofs["conversion"] = json!({ "min_connected_s": 90 });
    house.ask(Who::Buyer, "POST", "/v1/bid-profiles", roofs).await.expect(201);
    let made = endpoint(&house, Who::Seller).await.expect(201);
    let rtb_id = made.json["rtb_id"].as_str().expect("a secret").to_owned();
    assert_eq!(made.json["path"], format!("/v1/production/{rtb_id}.json"));
    (house, rtb_id)
}

async fn endpoint(house: &House, who: Who) -> Answer {
    house.ask(who, "POST", "/v1/ping-endpoints", json!({ "number": NUMBER, "name": "Partner" })).await
}

async fn get(house: &House, path: &str) -> Answer {
    house.send(Request::get(path).body(Body::empty()).expect("a request")).await
}

async fn post(house: &House, path: &str, content_type: &str, body: impl Into<Body>) -> Answer {
    let request = Request::post(path).header(header::CONTENT_TYPE, content_type).body(body.into());
    house.send(request.expect("a request")).await
}

#[tokio::test]
async fn a_partner_moves_by_changing_a_url() {
    let config = HttpConfig { public_sip_host: Some("sip.example.com".to_owned()), ..HttpConfig::default() };
    let (house, rtb_id) = with_an_endpoint(&config).await;
    let path = format!("/v1/production/{rtb_id}.json");
    let won =
        get(&house, &format!("{path}?CID=12125550142&State=NY&age=67&exposeCallerId=yes")).await.expect(200);
    assert!(won.header("content-type").starts_with("application/json"));
    assert_eq!((&won.json["bidAmount"], &won.json["phoneNumber"]), (&json!(21.0), &json!(NUMBER)));
    assert_eq!(won.json["sipAddress"], format!("{NUMBER}@sip.example.com"));
    assert_eq!(won.json["bidTerms"], json!([{ "code": 102, "callMinDuration": 90 }]));
    assert!(won.json["expireInSeconds"].as_i64().is_some_and(|seconds| (1..=30).contains(&seconds)));
    assert!(!won.text.contains(&BUYER.to_string()), "{}", won.text);

    // The same ping in every other way: each is answered with what the first one won.
    let json = json!({ "CID": "+12125550142", "State": "NY", "age": 67 }).to_string();
    let form = "CID=2125550142&State=ny&age=67";
    let xml = "<BidRequest><CID>12125550142</CID><State>NY</State><age>67</age></BidRequest>";
    for (content_type, body) in [
        ("application/json", json.as_str()),
        ("application/x-www-form-urlencoded", form),
        ("application/xml", xml),
    ] {
        let again = post(&house, &path, content_type, body.to_owned()).await.expect(200);
        assert_eq!(again.json["bidId"], won.json["bidId"], "{content_type}: {}", again.text);
    }
    let xml_path = format!("/v1/any-word_1/{rtb_id}.xml?{form}");
    let in_xml = get(&house, &xml_path).await.expect(200);
    assert_eq!(in_xml.header("content-type"), "application/xml");
    assert!(in_xml.text.contains("<bidAmount>21.0</bidAmount>"), "{}", in_xml.text);
    assert!(in_xml.text.contains("<bidTerms><item><callMinDuration>90</callMinDuration>"), "{}", in_xml.text);
    get(&house, &format!("/v1/production/{rtb_id}?{form}")).await.expect(200);
}

#[tokio::test]
async fn rejects_have_ringbas_numbers_and_our_reasons() {
    let (house, rtb_id) = with_an_endpoint(&HttpConfig::default()).await;
    for (query, code, detail) in [
        ("State=NY&age=67", 1100, "caller_missing"),
        ("CID=&State=NY&age=67", 1100, "caller_missing"),
        ("CID=anonymous&State=NY&age=67", 1004, "caller_unusable"),
        ("CID=12125550142&State=FL&age=67", 1002, "state"),
        ("CID=12125550142&State=NY&age=20", 1002, "tags"),
        ("CID=12125550142&State=NY", 1002, "tags"),
    ] {
        let reject = get(&house, &format!("/v1/production/{rtb_id}.json?{query}")).await.expect(200).json;
        assert_eq!(
            (&reject["rejectCode"], &reject["rejectDetail"], &reject["bidAmount"]),
            (&json!(code), &json!(detail), &json!(0)),
            "{query}"
        );
        let reason = reject["rejectReason"].as_str().unwrap_or_default();
        assert!(reason.contains(&format!("(Code: {code})")), "{reason}");
    }
}

#[tokio::test]
async fn what_is_left_out_is_named_in_the_answer() {
    let (house, rtb_id) = with_an_endpoint(&HttpConfig::default()).await;
    let path = format!("/v1/production/{rtb_id}");
    let fields = |answer: &Answer| -> Vec<String> {
        let ignored = answer.json["ignored"].as_array().cloned().unwrap_or_default();
        ignored.iter().map(|one| format!("{} {}", one["field"], one["problem"]).replace('"', "")).collect()
    };
    let reject =
        get(&house, &format!("{path}.json?CID=13055550142&State=Nowhere&zip=1&age=67")).await.expect(200);
    assert_eq!(reject.json["rejectDetail"], "state");
    assert_eq!(fields(&reject), ["State is not a state", "zip is not a ZIP code"]);

    let won = get(&house, &format!("{path}.json?CID=12125550142&State=NY&age=67&expireInSeconds=600"))
        .await
        .expect(200);
    assert_eq!(fields(&won), ["expireInSeconds is not between 1 and 120"]);
    assert!(
        won.json["expireInSeconds"].as_i64().is_some_and(|seconds| (1..=30).contains(&seconds)),
        "{}",
        won.text
    );

    let longer = get(&house, &format!("{path}.json?CID=12125550143&State=NY&age=67&expireInSeconds=90"))
        .await
        .expect(200);
    assert_eq!((fields(&longer).len(), &longer.json["ignored"]), (0, &Value::Null));
    assert!(
        longer.json["expireInSeconds"].as_i64().is_some_and(|seconds| (31..=90).contains(&seconds)),
        "{}",
        longer.text
    );

    let in_xml = get(&house, &format!("{path}.xml?CID=12125550144&State=XX&age=67")).await.expect(200);
    assert!(in_xml.text.contains("<ignored><item><field>State</field>"), "{}", in_xml.text);
}

#[tokio::test]
async fn problems_come_in_the_format_that_was_asked_for() {
    let (house, rtb_id) = with_an_endpoint(&HttpConfig::default()).await;
    for (suffix, content_type, begins) in [
        (
            "xml",
            "application/problem+xml",
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<problem xmlns=\"urn:ietf:rfc:7807\"><",
        ),
        ("json", "application/problem+json", "{\"type\":\"urn:dce:problem:unsupported-media-type\""),
    ] {
        let path = format!("/v1/production/{rtb_id}.{suffix}");
        let problem = post(&house, &path, "text/plain", "CID=1").await.expect(415);
        assert_eq!(problem.header("content-type"), content_type);
        assert!(problem.text.starts_with(begins), "{}", problem.text);
        assert!(problem.text.contains("urn:dce:problem:unsupported-media-type"), "{}", problem.text);
        assert!(!problem.header("x-request-id").is_empty());
        post(&house, &path, "application/json", "x".repeat(16 * 1024 + 1)).await.expect(413);
    }
}

#[tokio::test]
async fn what_is_no_ping_is_not_shadowed_nor_borne() {
    let (house, rtb_id) = with_an_endpoint(&HttpConfig::default()).await;
    let unknown = "0".repeat(32);
    let reject = get(&house, &format!("/v1/production/{unknown}.json")).await.expect(404).json;
    assert_eq!((&reject["rejectCode"], &reject["rejectDetail"]), (&json!(1001), &json!("unknown_endpoint")));
    for path in ["/v1/nothing/else", "/v1/production/short.json", &format!("/v1/production/{rtb_id}.txt")] {
        assert_eq!(get(&house, path).await.expect(404).json["type"], "urn:dce:problem:not-found", "{path}");
    }
    get(&house, &format!("/v1/calls/{rtb_id}")).await.expect(401);
    let path = format!("/v1/production/{rtb_id}.json");
    post(&house, &path, "application/json", "x".repeat(16 * 1024 + 1)).await.expect(413);
    post(&house, &path, "application/json", "[]").await.expect(400);
    post(&house, &path, "text/plain", "CID=1").await.expect(415);
    get(&house, &format!("{path}?CID={}", "1".repeat(8 * 1024))).await.expect(413);
}

#[tokio::test]
async fn an_endpoint_is_its_sellers_and_ends_when_revoked() {
    let (house, rtb_id) = with_an_endpoint(&HttpConfig::default()).await;
    assert_eq!(endpoint(&house, Who::OtherSeller).await.expect(422).fields(), ["number"]);
    let listed = house.get(Who::Seller, "/v1/ping-endpoints").await.expect(200);
    assert!(!listed.text.contains(&rtb_id), "the secret is shown once");
    assert_eq!(listed.json["items"][0]["seller"], json!(SELLER));
    let id = listed.ids("id")[0].to_owned();
    assert_eq!(house.get(Who::OtherSeller, "/v1/ping-endpoints").await.expect(200).ids("id").len(), 0);
    assert_eq!(house.get(Who::Analyst, "/v1/ping-endpoints").await.expect(200).ids("id"), [id.as_str()]);

    // The secret is no API key, and an API key is no endpoint.
    let bearer = Request::get("/v1/calls").header(header::AUTHORIZATION, format!("Bearer {rtb_id}"));
    house.send(bearer.body(Body::empty()).expect("a request")).await.expect(401);
    let keys = house.get(Who::Admin, "/v1/api-keys").await.expect(200);
    let seller_key = keys.json["items"].as_array().expect("keys").iter().find(|key| key["role"] == "seller");
    let seller_key = seller_key.and_then(|key| key["id"].as_str()).expect("a seller's key").to_owned();
    house
        .ask(Who::Seller, "DELETE", &format!("/v1/ping-endpoints/{seller_key}"), Value::Null)
        .await
        .expect(404);

    let path = format!("/v1/ping-endpoints/{id}");
    house.ask(Who::OtherSeller, "DELETE", &path, Value::Null).await.expect(404);
    house.ask(Who::Seller, "DELETE", &path, Value::Null).await.expect(204);
    get(&house, &format!("/v1/production/{rtb_id}.json?CID=12125550142")).await.expect(404);
}

#[tokio::test]
async fn an_operator_makes_endpoints_for_any_number() {
    let (house, _) = with_an_endpoint(&HttpConfig::default()).await;
    let other = "+18005550199";
    let path = format!("/v1/tracking-numbers/{other}");
    house.ask(Who::Admin, "PUT", &path, tracking_number(other, OTHER_SELLER)).await.expect(200);
    let new = json!({ "number": other, "name": "Partner" });
    let made = house.ask(Who::Admin, "POST", "/v1/ping-endpoints", new).await.expect(201).json;
    assert_eq!(made["seller"], json!(OTHER_SELLER));
}

#[tokio::test]
async fn an_endpoint_that_asks_too_often_is_told_so_in_ringbas_way() {
    let config = HttpConfig { requests_per_minute: 1, requests_burst: 10, ..HttpConfig::default() };
    let (house, rtb_id) = with_an_endpoint(&config).await;
    let path = format!("/v1/production/{rtb_id}.json");
    for _ in 0..10 {
        assert_eq!(get(&house, &path).await.expect(200).json["rejectCode"], 1100);
    }
    assert_eq!(get(&house, &path).await.expect(200).json["rejectCode"], 1024);
}
