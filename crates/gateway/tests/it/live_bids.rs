//! Connected bidders over real web sockets.

use crate::house::{BUYER, House, NUMBER, OTHER_BUYER, SELLER, Who, bid};
use exchange::call::{Arrival, Stated};
use exchange::effect::{Action, Input};
use exchange::id::CallId;
use exchange::phone_number::CallerId;
use futures_util::{SinkExt, StreamExt};
use gateway::{HttpConfig, HttpServer};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message, client::IntoClientRequest};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use uuid::Uuid;

pub(crate) const CALL: CallId = CallId(Uuid::from_u128(0xca11));
pub(crate) const CALLER: &str = "+12125550142";

/// A bidder's end of a session.
pub(crate) struct Bidder(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Bidder {
    pub(crate) async fn connect(
        house: &House,
        server: &HttpServer,
        who: Who,
        query: &str,
    ) -> Result<Self, u16> {
        Self::connect_with(house.key(who).as_deref(), server, query).await
    }

    /// The same with any key.
    pub(crate) async fn connect_with(
        key: Option<&str>,
        server: &HttpServer,
        query: &str,
    ) -> Result<Self, u16> {
        let url = format!("ws://{}/v1/live-bids{query}", server.addresses()[0]);
        let mut request = url.into_client_request().expect("a request");
        if let Some(key) = key {
            let credentials = format!("Bearer {key}").parse().expect("a header");
            request.headers_mut().insert("authorization", credentials);
        }
        match connect_async(request).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// The next text, or how the session was closed.
    pub(crate) async fn hear(&mut self) -> Result<Value, String> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).expect("JSON")),
                Some(Ok(Message::Close(frame))) => {
                    return Err(frame.map(|frame| frame.reason.to_string()).unwrap_or_default());
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.to_string()),
                None => return Err("cut off".to_owned()),
            }
        }
    }

    async fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.expect("an open session");
    }
}

/// A live bid profile over a connection, at most `most` units.
pub(crate) fn live_bid(most: i64) -> Value {
    let mut live = bid(BUYER, most);
    live["live"] = json!({ "via": "connection", "caller": "withheld" });
    live
}

pub(crate) async fn place(house: &House, who: Who, bid: Value) -> String {
    let placed = house.ask(who, "POST", "/v1/bid-profiles", bid).await.expect(201);
    placed.json["id"].as_str().expect("an id").to_owned()
}

/// A furnished house whose live bidders have plenty of time, so that no test hangs on the machine's speed.
pub(crate) async fn unhurried() -> (House, HttpServer) {
    let house = House::furnished().await;
    let patience = json!({ "bidding_deadline_ms": 5_000 });
    house.ask(Who::Admin, "PUT", "/v1/trading-rules/vertical:roofing", patience).await.expect(200);
    let server = house.serve(&HttpConfig::default()).await;
    (house, server)
}

pub(crate) fn call(house: &House) {
    ring(house, CALL, CALLER);
}

/// The nth of many calls, each from somebody else.
pub(crate) fn call_again(house: &House, nth: u128) {
    ring(house, CallId(Uuid::from_u128(0xca12 + nth)), &format!("+1212555{:04}", 2_000 + nth));
}

/// A call to the number.
pub(crate) fn ring(house: &House, call: CallId, caller: &str) {
    let arrival = Arrival {
        called: NUMBER.parse().expect("a number"),
        caller: CallerId::from_user_part(caller),
        trunk: "carrier-7".to_owned(),
        stated: Stated::default(),
    };
    house.engine.call(call, Input::Arrived(arrival)).expect("room");
}

/// Waits for telephony to be asked for something, but for timers.
pub(crate) async fn routed(house: &mut House) -> Action {
    loop {
        match house.next_action().await {
            Action::StartBiddingTimer { .. } => {}
            action => return action,
        }
    }
}

#[tokio::test]
async fn a_connected_bidder_is_asked_bids_and_is_told_that_it_won() {
    let (mut house, server) = unhurried().await;
    let bid_id = place(&house, Who::Buyer, live_bid(50)).await;
    place(&house, Who::OtherBuyer, bid(OTHER_BUYER, 20)).await;
    let mut bidder = Bidder::connect(&house, &server, Who::Buyer, "").await.expect("a session");
    assert_eq!(bidder.hear().await, Ok(json!({ "type": "bids", "bids": [bid_id] })));

    call(&house);
    let request = bidder.hear().await.expect("a request");
    assert_eq!(
        (&request["type"], &request["id"], &request["bid"]),
        (&json!("bid_request"), &json!(CALL), &json!(bid_id))
    );
    assert_eq!(
        (&request["vertical"], &request["floor"], &request["currency"]),
        (&json!("roofing"), &json!("5.00"), &json!("USD"))
    );
    assert_eq!((&request["area_code"], &request["caller"]), (&json!(212), &Value::Null), "withheld");
    for secret in [CALLER, &SELLER.to_string(), &OTHER_BUYER.to_string(), NUMBER] {
        assert!(!request.to_string().contains(secret), "a bidder sees {secret}: {request}");
    }
    let own_target = "sip:agent@127.0.0.1:5099";
    bidder
        .say(json!({ "type": "bid", "call": CALL, "bid": bid_id, "price": "31.50", "sip_uri": own_target }))
        .await;
    let Action::RingTarget { destination, .. } = routed(&mut house).await else { panic!("it is rung") };
    assert_eq!(destination.sip_uris, [own_target]);
    let notice = bidder.hear().await.expect("a notice");
    assert_eq!(
        (&notice["type"], &notice["result"], &notice["price_micros"]),
        (&json!("notice"), &json!("won"), &json!(31_500_000))
    );
}

#[tokio::test]
async fn an_answer_that_cannot_be_used_is_no_bid_and_says_which_field() {
    for (answer, field, missed) in [
        (json!({ "type": "bid", "price": "50.01" }), "price", "garbled"),
        (json!({ "type": "bid", "price": "1", "prize": 2 }), "prize", "garbled"),
        (json!({ "type": "no_bid" }), "", "declined"),
    ] {
        let (mut house, server) = unhurried().await;
        let bid_id = place(&house, Who::Buyer, live_bid(50)).await;
        let mut bidder = Bidder::connect(&house, &server, Who::Buyer, "").await.expect("a session");
        bidder.hear().await.expect("its bids");
        call(&house);
        bidder.hear().await.expect("a request");
        let mut answer = answer;
        answer["call"] = json!(CALL);
        answer["bid"] = json!(bid_id);
        bidder.say(answer.clone()).await;
        if !field.is_empty() {
            let error = bidder.hear().await.expect("an error");
            assert_eq!((&error["type"], &error["errors"][0]["field"]), (&json!("error"), &json!(field)));
        }
        assert!(matches!(routed(&mut house).await, Action::EndCall { .. }), "nobody else bids");
        let receipt = house.get(Who::Admin, &format!("/v1/calls/{CALL}/receipt")).await.expect(200).json;
        assert_eq!(receipt["auction"]["live"][0]["missed"], missed, "{answer}");
        bidder.say(answer).await;
        let error = bidder.hear().await.expect("an error");
        let at = if field == "prize" { "prize" } else { "call" };
        assert_eq!(error["errors"][0]["field"], at, "a second answer is to nothing: {error}");
    }
}

#[tokio::test]
async fn nobody_answers_for_another_buyers_bid() {
    let (mut house, server) = unhurried().await;
    let bid_id = place(&house, Who::Buyer, live_bid(50)).await;
    let mut bidder = Bidder::connect(&house, &server, Who::Buyer, "").await.expect("a session");
    bidder.hear().await.expect("its bids");
    let mut rival = Bidder::connect(&house, &server, Who::OtherBuyer, "").await.expect("a session");
    assert_eq!(rival.hear().await, Ok(json!({ "type": "bids", "bids": [] })));
    call(&house);
    bidder.hear().await.expect("a request");
    rival.say(json!({ "type": "no_bid", "call": CALL, "bid": bid_id })).await;
    assert_eq!(rival.hear().await.expect("an error")["errors"][0]["field"], "call");
    bidder.say(json!({ "type": "bid", "call": CALL, "bid": bid_id, "price": 9 })).await;
    assert!(matches!(routed(&mut house).await, Action::RingTarget { .. }));
}

#[tokio::test]
async fn a_bidder_that_leaves_keeps_nobody_waiting() {
    let (mut house, server) = unhurried().await;
    place(&house, Who::Buyer, live_bid(50)).await;
    let mut bidder = Bidder::connect(&house, &server, Who::Buyer, "").await.expect("a session");
    bidder.hear().await.expect("its bids");
    call(&house);
    bidder.hear().await.expect("a request");
    drop(bidder);
    assert!(matches!(routed(&mut house).await, Action::EndCall { .. }));
    let receipt = house.get(Who::Admin, &format!("/v1/calls/{CALL}/receipt")).await.expect(200).json;
    assert_eq!(receipt["auction"]["live"][0]["missed"], "unreachable");
}

#[tokio::test]
async fn a_bid_placed_during_the_session_is_offered_over_it() {
    let (house, server) = unhurried().await;
    let mut bidder = Bidder::connect(&house, &server, Who::Buyer, "").await.expect("a session");
    assert_eq!(bidder.hear().await, Ok(json!({ "type": "bids", "bids": [] })));
    // Over the socket: the sessions are those of this server.
    let id = "00000000-0000-0000-0000-0000000000b7";
    let mut live = live_bid(50);
    live["id"] = json!(id);
    put(&house, &server, &live).await;
    assert_eq!(bidder.hear().await, Ok(json!({ "type": "bids", "bids": [id] })));
    live.as_object_mut().expect("fields").remove("live");
    put(&house, &server, &live).await;
    assert_eq!(bidder.hear().await, Ok(json!({ "type": "bids", "bids": [] })), "it stands now");
}

/// Places a bid profile through the server's own socket.
pub(crate) async fn put(house: &House, server: &HttpServer, bid: &Value) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (body, key) = (bid.to_string(), house.key(Who::Buyer).expect("a key"));
    let id = bid["id"].as_str().expect("an id");
    let head = format!(
        "PUT /v1/bid-profiles/{id} HTTP/1.1\r\nhost: dce\r\nconnection: close\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(server.addresses()[0]).await.expect("the server");
    stream.write_all(format!("{head}{body}").as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn sessions_are_for_buyers_and_not_too_many() {
    let (house, server) = unhurried().await;
    let query = format!("?buyer={BUYER}");
    for (who, query, status) in [
        (Who::Nobody, "", 401),
        (Who::Analyst, query.as_str(), 403),
        (Who::Seller, "", 403),
        (Who::OtherBuyer, query.as_str(), 403),
        (Who::Admin, "", 400),
        (Who::Admin, &format!("?buyer={SELLER}"), 400),
        (Who::Buyer, "?bid=1", 400),
    ] {
        let refused = Bidder::connect(&house, &server, who, query).await.err();
        assert_eq!(refused, Some(status), "{who:?} {query}");
    }
    let plain = house.get(Who::Buyer, "/v1/live-bids").await.expect(400);
    assert!(
        plain.json["detail"].as_str().is_some_and(|detail| detail.contains("WebSocket")),
        "{}",
        plain.text
    );

    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.push(Bidder::connect(&house, &server, Who::Buyer, "").await.expect("a session"));
    }
    assert_eq!(Bidder::connect(&house, &server, Who::Buyer, "").await.err(), Some(429));
    Bidder::connect(&house, &server, Who::Admin, &query).await.expect("another key, the same buyer");
}

#[tokio::test]
async fn what_is_too_large_or_no_text_is_not_borne() {
    let (house, server) = unhurried().await;
    let mut bidder = Bidder::connect(&house, &server, Who::Buyer, "").await.expect("a session");
    bidder.hear().await.expect("its bids");
    bidder.0.send(Message::binary(vec![1, 2, 3])).await.expect("sent");
    assert_eq!(bidder.hear().await.expect("an error")["errors"][0]["field"], "body");
    bidder.0.send(Message::text("x".repeat(65 * 1024))).await.expect("sent");
    assert!(bidder.hear().await.is_err(), "the session is over");

    let mut babbler = Bidder::connect(&house, &server, Who::Buyer, "").await.expect("a session");
    babbler.hear().await.expect("its bids");
    for _ in 0..100 {
        babbler.0.send(Message::text("{")).await.expect("sent");
        assert_eq!(babbler.hear().await.expect("an error")["type"], "error");
    }
    babbler.0.send(Message::text("{")).await.expect("sent");
    assert_eq!(babbler.hear().await, Err("too many messages that cannot be used".to_owned()));
}

#[tokio::test]
async fn sessions_end_with_the_server() {
    let (house, server) = unhurried().await;
    let mut bidder = Bidder::connect(&house, &server, Who::Buyer, "").await.expect("a session");
    bidder.hear().await.expect("its bids");
    let (stopped, heard) = tokio::join!(server.stop(), bidder.hear());
    assert_eq!((stopped, heard.is_err_and(|reason| reason.contains("stopping"))), ((), true));
}
