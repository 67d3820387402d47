//! What a bidder is sent, and what not.

use crate::asking::{ask, bid_id, client, http_target, price, request, request_to};
use crate::bidder::{Behaviour, Bidder, bid};
use exchange::bid::criteria::Attestation;
use exchange::bid::live::{BidRequest, CallerDisclosure, HttpTarget, LiveVia};
use exchange::id::CallId;
use std::collections::BTreeMap;
use uuid::Uuid;

const CALL: &str = "00000000-0000-0000-0000-00000000ca11";
const BID: &str = "00000000-0000-0000-0000-000000000001";

/// Asks a bidder that bids, and gives what it was sent: the request line, the headers by small name, the body.
async fn sent(
    change: impl FnOnce(&mut BidRequest, &mut HttpTarget),
) -> (String, BTreeMap<String, String>, String) {
    let bidder = Bidder::always(Behaviour::Write(bid("5"))).await;
    let (mut asked, mut target) = (request_to(1, &bidder), http_target(bidder.url("/ping")));
    change(&mut asked, &mut target);
    asked.bidder.via = LiveVia::Http(target);
    assert_eq!(ask(&client(), asked).await, price(5_000_000));
    let text = bidder.requests().remove(0);
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let (line, headers) = head.split_once("\r\n").expect("headers");
    let headers = headers.lines().filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    (line.to_owned(), headers, body.to_owned())
}

#[tokio::test]
async fn the_exchange_s_own_request() {
    let (line, headers, body) = sent(|asked, _| asked.attestation = Some(Attestation::A)).await;
    assert_eq!(line, "POST /ping HTTP/1.1");
    assert_eq!(headers["content-type"], "application/json");
    assert!(headers["host"].starts_with("127.0.0.1:"), "{headers:?}");
    assert!(!headers.contains_key("accept-encoding"));
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let expected = serde_json::json!({
        "version": 1, "id": CALL, "bid": BID, "vertical": "home_services", "origin": "organic_inbound",
        "state": "FL", "zip": "33101", "area_code": 305, "attestation": "A",
        "tags": {"source": "search & \"more\""}, "floor": "1.50", "currency": "USD", "tmax_ms": 20_000,
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn a_template_and_headers_of_the_bidder_s_own() {
    let (line, headers, body) = sent(|asked, target| {
        asked.bidder.timeout_ms = Some(5_000);
        target.url.push_str("/{vertical}?s={state}&l={language}&t={tag.source}&n={tag.none}");
        target.headers = [("X-Api-Key", "secret"), ("Content-Type", "application/vnd.ping+json")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let body = r#"{"c":"{call}","b":"{bid}","t":"{tag.source}","f":{floor},"m":{floor_micros},"d":{deadline_ms},"o":"{origin}","a":"{area_code}{zip}{currency}{attestation}"}"#;
        target.body = Some(body.to_owned());
    })
    .await;
    assert_eq!(line, "POST /ping/home_services?s=FL&l=&t=search%20%26%20%22more%22&n= HTTP/1.1");
    assert_eq!(headers["x-api-key"], "secret");
    assert_eq!(headers["content-type"], "application/vnd.ping+json");
    let expected = format!(
        r#"{{"c":"{CALL}","b":"{BID}","t":"search & \"more\"","f":1.50,"m":1500000,"d":5000,"o":"organic_inbound","a":"30533101USD"}}"#
    );
    assert_eq!(body, expected);
}

#[tokio::test]
async fn an_empty_body_is_a_get() {
    let (line, headers, body) = sent(|_, target| {
        target.url.push_str("?floor={floor}");
        target.body = Some(String::new());
    })
    .await;
    assert_eq!((line.as_str(), body.as_str()), ("GET /ping?floor=1.50 HTTP/1.1", ""));
    assert!(!headers.contains_key("content-type"));
}

#[tokio::test]
async fn a_url_without_a_path() {
    let (line, _, _) = sent(|_, target| target.url = target.url.replace("/ping", "?a=1")).await;
    assert_eq!(line, "POST /?a=1 HTTP/1.1");
}

/// What was sent of the caller: in the exchange's own body, and in a template.
async fn shown(disclosure: CallerDisclosure, number: u128, call: u128) -> (serde_json::Value, String) {
    let own = sent(|asked, _| {
        asked.bidder.caller = disclosure;
        (asked.bid, asked.call) = (bid_id(number), CallId(Uuid::from_u128(call)));
    });
    let (_, own_headers, body) = own.await;
    let template = sent(|asked, target| {
        asked.bidder.caller = disclosure;
        asked.bid = bid_id(number);
        target.url.push_str("?c={caller}");
        target.body = Some(r#"{"c":"{caller}"}"#.to_owned());
    });
    let (line, _, templated) = template.await;
    let all = format!("{own_headers:?}{body}{line}{templated}");
    assert_eq!(all.contains("3055550123"), disclosure == CallerDisclosure::Number, "{all}");
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let templated: serde_json::Value = serde_json::from_str(&templated).expect("JSON");
    (body["caller"].clone(), templated["c"].as_str().expect("a text").to_owned())
}

#[tokio::test]
async fn the_caller_s_number_is_withheld_or_a_token_or_shown() {
    assert_eq!(shown(CallerDisclosure::Withheld, 1, 1).await, (serde_json::Value::Null, String::new()));
    let number = serde_json::json!({"number": "+13055550123"});
    assert_eq!(shown(CallerDisclosure::Number, 1, 1).await, (number, "+13055550123".to_owned()));
    let (token, text) = shown(CallerDisclosure::Token, 1, 1).await;
    assert_eq!(token, serde_json::json!({ "token": text }));
    assert_eq!(text.len(), 32);
    assert_eq!(shown(CallerDisclosure::Token, 1, 2).await.1, text, "the same on another call");
    assert_ne!(shown(CallerDisclosure::Token, 2, 1).await.1, text, "another for another bidder");
}

#[tokio::test]
async fn the_url_is_the_one_of_the_latest_request() {
    let (old, new) =
        (Bidder::always(Behaviour::Write(bid("5"))).await, Bidder::always(Behaviour::Write(bid("6"))).await);
    let client = client();
    assert_eq!(ask(&client, request_to(1, &old)).await, price(5_000_000));
    assert_eq!(ask(&client, request(1, http_target(new.url("/")))).await, price(6_000_000));
    assert_eq!(ask(&client, request_to(1, &old)).await, price(5_000_000));
    assert_eq!((old.requests().len(), new.requests().len()), (2, 1));
}
