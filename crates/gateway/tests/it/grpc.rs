//! Connected bidders over gRPC, with a real client over a real socket.

use crate::house::{BUYER, House, NUMBER, OTHER_BUYER, SELLER, Who, bid};
use crate::live_bids::{CALL, CALLER, call, call_again, live_bid, place, put, routed, unhurried};
use axum::http::uri::PathAndQuery;
use exchange::effect::Action;
use gateway::HttpServer;
use gateway::dce_v1::exchange_message::Message as FromExchange;
use gateway::dce_v1::live_bids_client::LiveBidsClient;
use gateway::dce_v1::{self as proto, BidderMessage, ExchangeMessage, bidder_message, notice};
use tokio::sync::mpsc::{self, Sender};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

/// A bidder's end of a session.
pub(crate) struct Bidder {
    to_exchange: Sender<BidderMessage>,
    from_exchange: Streaming<ExchangeMessage>,
}

fn endpoint(server: &HttpServer) -> Endpoint {
    Endpoint::try_from(format!("http://{}", server.addresses()[0])).expect("an address")
}

/// A request with the metadata that `who` sends.
fn request<T>(house: &House, who: Who, message: T) -> Request<T> {
    request_with(house.key(who).as_deref(), message)
}

/// A request with the metadata that goes with a key.
fn request_with<T>(key: Option<&str>, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(key) = key {
        let credentials = format!("Bearer {key}").parse().expect("metadata");
        request.metadata_mut().insert("authorization", credentials);
    }
    request
}

impl Bidder {
    async fn connect(house: &House, server: &HttpServer, who: Who, buyer: &str) -> Result<Self, Status> {
        Self::connect_with(house.key(who).as_deref(), server, buyer).await
    }

    /// The same with any key.
    pub(crate) async fn connect_with(
        key: Option<&str>,
        server: &HttpServer,
        buyer: &str,
    ) -> Result<Self, Status> {
        let channel = endpoint(server).connect().await.expect("a connection");
        Self::over(channel, key, buyer).await
    }

    async fn over(channel: Channel, key: Option<&str>, buyer: &str) -> Result<Self, Status> {
        let (to_exchange, said) = mpsc::channel(256);
        let mut request = request_with(key, ReceiverStream::new(said));
        if !buyer.is_empty() {
            request.metadata_mut().insert("dce-buyer", buyer.parse().expect("metadata"));
        }
        let mut client = LiveBidsClient::new(channel);
        let from_exchange = client.connect(request).await?.into_inner();
        Ok(Self { to_exchange, from_exchange })
    }

    /// What the exchange says next, or how it ended the session.
    async fn hear(&mut self) -> Result<FromExchange, Status> {
        match self.from_exchange.message().await? {
            Some(message) => Ok(message.message.expect("a message this client knows")),
            None => Err(Status::ok("the end")),
        }
    }

    async fn bids(&mut self) -> Vec<String> {
        match self.hear().await {
            Ok(FromExchange::Bids(bids)) => bids.bids,
            other => panic!("no bids: {other:?}"),
        }
    }

    async fn bid_request(&mut self) -> proto::BidRequest {
        match self.hear().await {
            Ok(FromExchange::BidRequest(request)) => request,
            other => panic!("no bid request: {other:?}"),
        }
    }

    /// The fields that an error names.
    async fn error_fields(&mut self) -> Vec<String> {
        match self.hear().await {
            Ok(FromExchange::Error(error)) => error.errors.into_iter().map(|error| error.field).collect(),
            other => panic!("no error: {other:?}"),
        }
    }

    async fn say(&mut self, message: bidder_message::Message) {
        self.to_exchange.send(BidderMessage { message: Some(message) }).await.expect("an open session");
    }

    pub(crate) async fn end(&mut self) -> Status {
        loop {
            if let Err(status) = self.hear().await {
                return status;
            }
        }
    }
}

fn offer(bid: &str, price_micros: Option<i64>, sip_uri: Option<&str>) -> bidder_message::Message {
    let (call, bid, sip_uri) = (CALL.to_string(), bid.to_owned(), sip_uri.map(str::to_owned));
    bidder_message::Message::Bid(proto::Bid { call, bid, price_micros, min_connected_s: None, sip_uri })
}

fn no_bid(bid: &str) -> bidder_message::Message {
    bidder_message::Message::NoBid(proto::NoBid { call: CALL.to_string(), bid: bid.to_owned() })
}

#[tokio::test]
async fn a_bidder_is_asked_bids_and_is_told_that_it_won() {
    let (mut house, server) = unhurried().await;
    let bid_id = place(&house, Who::Buyer, live_bid(50)).await;
    place(&house, Who::OtherBuyer, bid(OTHER_BUYER, 20)).await;
    let mut bidder = Bidder::connect(&house, &server, Who::Buyer, "").await.expect("a session");
    assert_eq!(bidder.bids().await, std::slice::from_ref(&bid_id));

    call(&house);
    let request = bidder.bid_request().await;
    assert_eq!((&request.id, &request.bid), (&CALL.to_string(), &bid_id));
    assert_eq!((request.vertical.as_str(), request.currency.as_str()), ("roofing", "USD"));
    assert_eq!((request.floor_micros, request.area_code), (5_000_000, Some(212)));
    assert_eq!(request.origin(), proto::CallOrigin::OrganicInbound);
    assert_eq!((request.tmax_ms, &request.caller), (5_000, &None), "the caller is withheld");
    let text = format!("{request:?}");
    for secret in [CALLER, &SELLER.to_string(), &OTHER_BUYER.to_string(), NUMBER] {
        assert!(!text.contains(secret), "a bidder sees {secret}: {text}");
    }
    let own_target = "sip:agent@127.0.0.1:5099";
    bidder.say(offer(&bid_id, Some(31_500_000), Some(own_target))).await;
    let Action::RingTarget { destination, .. } = routed(&mut house).await else { panic!("it is rung") };
    assert_eq!(destination.sip_uris, [own_target]);
    let Ok(FromExchange::Notice(notice)) = bidder.hear().await else { panic!("a notice") };
    assert_eq!((&notice.id, &notice.bid), (&CALL.to_string(), &bid_id));
    assert_eq!(notice.result, Some(notice::Result::Won(proto::Won { price_micros: 31_500_000 })));

    drop(bidder.to_exchange);
    let end = bidder.from_exchange.message().await.expect("a good end");
    assert_eq!(end, None, "who closes its side ends the session");
}

#[tokio::test]
async fn an_answer_that_cannot_be_used_is_no_bid_and_says_which_field() {
    for (price_micros, sip_uri, field) in [
        (Some(50_000_001), None, "price_micros"),
        (Some(-1), None, "price_micros"),
        (None, None, "price_micros"),
        (Some(1), Some("tel:+1"), "sip_uri"),
    ] {
        let (mut house, server) = unhurried().await;
        let bid_id = place(&house, Who::Buyer, live_bid(50)).await;
        let mut bidder = Bidder::connect(&house, &server, Who::Buyer, "").await.expect("a session");
        bidder.bids().await;
        call(&house);
        bidder.bid_request().await;
        bidder.say(offer(&bid_id, price_micros, sip_uri)).await;
        assert_eq!(bidder.error_fields().await, [field]);
        assert!(matches!(routed(&mut house).await, Action::EndCall { .. }), "nobody else bids");
        let receipt = house.get(Who::Admin, &format!("/v1/calls/{CALL}/receipt")).await.expect(200).json;
        assert_eq!(receipt["auction"]["live"][0]["missed"], "garbled", "{price_micros:?} {sip_uri:?}");
        bidder.say(no_bid(&bid_id)).await;
        assert_eq!(bidder.error_fields().await, ["call"], "a second answer is to nothing");
    }
}

#[tokio::test]
async fn declining_and_leaving_keep_nobody_waiting() {
    for (leaves, missed) in [(false, "declined"), (true, "unreachable")] {
        let (mut house, server) = unhurried().await;
        let bid_id = place(&house, Who::Buyer, live_bid(50)).await;
        let mut bidder = Bidder::connect(&house, &server, Who::Buyer, "").await.expect("a session");
        bidder.bids().await;
        call(&house);
        bidder.bid_request().await;
        if leaves {
            drop(bidder);
        } else {
            bidder.say(no_bid(&bid_id)).await;
        }
        assert!(matches!(routed(&mut house).await, Action::EndCall { .. }));
        let receipt = house.get(Who::Admin, &format!("/v1/calls/{CALL}/receipt")).await.expect(200).json;
        assert_eq!(receipt["auction"]["live"][0]["missed"], missed);
    }
}

#[tokio::test]
async fn a_session_is_refused_with_the_status_and_the_words_of_the_problem() {
    let (house, server) = unhurried().await;
    let buyer = BUYER.to_string();
    for (who, named, code, words) in [
        (Who::Nobody, "", Code::Unauthenticated, "send Authorization: Bearer dce_..."),
        (Who::Seller, "", Code::PermissionDenied, "keys of role seller may not; use one that may"),
        (Who::Analyst, &buyer, Code::PermissionDenied, "keys of role analyst may not; use one that may"),
        (
            Who::OtherBuyer,
            &buyer,
            Code::PermissionDenied,
            "dce-buyer is not your account: name your own account, or leave it out",
        ),
        (Who::Admin, "", Code::InvalidArgument, "dce-buyer is missing: name the buyer to bid for"),
        (Who::Admin, "acme", Code::InvalidArgument, "dce-buyer is not an id: send the buyer's account id"),
        (
            Who::Admin,
            &SELLER.to_string(),
            Code::InvalidArgument,
            "dce-buyer is no buyer's account: check the id",
        ),
    ] {
        let refused = Bidder::connect(&house, &server, who, named).await.err().expect("no session");
        assert_eq!((refused.code(), refused.message()), (code, words), "{who:?} {named}");
        assert!(refused.metadata().contains_key("x-request-id"), "{who:?} {named}");
    }
    Bidder::connect(&house, &server, Who::Admin, &buyer).await.expect("a session");
}

#[tokio::test]
async fn a_wrong_key_is_no_key() {
    let (house, server) = unhurried().await;
    let channel = endpoint(&server).connect().await.expect("a connection");
    let mut client = LiveBidsClient::new(channel);
    let wrong = gateway::ApiKeyText::mint().expect("randomness");
    for credentials in [format!("Bearer {wrong}"), "Bearer dce_".to_owned(), "Basic dce".to_owned()] {
        let mut request = Request::new(tokio_stream::empty());
        request
            .metadata_mut()
            .insert("authorization", MetadataValue::try_from(credentials).expect("metadata"));
        let refused = client.connect(request).await.expect_err("no session");
        assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
        assert_eq!(refused.message(), "the API key is unknown or revoked; use one that is not");
    }
    assert_eq!(house.engine.live_bidders().connected(), 0);
}

#[tokio::test]
async fn sessions_are_not_too_many_over_both_protocols_together() {
    let (house, server) = unhurried().await;
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.push(Bidder::connect(&house, &server, Who::Buyer, "").await.expect("a session"));
    }
    let refused = Bidder::connect(&house, &server, Who::Buyer, "").await.err().expect("one too many");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(refused.message(), "this key has 4 sessions, the most there may be; end one first");
    assert_eq!(refused.metadata().get("retry-after").map(MetadataValue::as_bytes), Some(&b"5"[..]));
    assert_eq!(
        crate::live_bids::Bidder::connect(&house, &server, Who::Buyer, "").await.err(),
        Some(429),
        "a WebSocket is one more"
    );
}

#[tokio::test]
async fn what_is_too_large_or_unusable_is_not_borne() {
    let (house, server) = unhurried().await;
    let mut bidder = Bidder::connect(&house, &server, Who::Buyer, "").await.expect("a session");
    bidder.bids().await;
    bidder.say(offer(&"x".repeat(65 * 1024), Some(1), None)).await;
    assert_eq!(bidder.end().await.code(), Code::OutOfRange);

    let mut babbler = Bidder::connect(&house, &server, Who::Buyer, "").await.expect("a session");
    babbler.bids().await;
    for _ in 0..100 {
        babbler.to_exchange.send(BidderMessage { message: None }).await.expect("an open session");
        assert_eq!(babbler.error_fields().await, ["message"]);
    }
    babbler.to_exchange.send(BidderMessage { message: None }).await.expect("an open session");
    let end = babbler.end().await;
    assert_eq!(
        (end.code(), end.message()),
        (Code::ResourceExhausted, "too many messages that cannot be used")
    );
}

/// Time stands still but for waiting: what takes a minute is over at once.
#[tokio::test]
async fn a_silent_bidder_is_asked_for_a_sign_of_life_and_then_given_up() {
    let (house, server) = unhurried().await;
    let mut silent = Bidder::connect(&house, &server, Who::Buyer, "").await.expect("a session");
    silent.bids().await;
    tokio::time::pause();
    for _ in 0..2 {
        assert_eq!(silent.hear().await.expect("asked"), FromExchange::KeepAlive(proto::KeepAlive {}));
    }
    let end = silent.hear().await.expect_err("the minute is over");
    // Time jumps here while packets travel: the connection may be gone before the exchange's last word is read.
    assert!(matches!(end.code(), Code::DeadlineExceeded | Code::Unknown), "{end:?}");
}

#[tokio::test]
async fn a_bidder_that_takes_no_messages_is_cut_off() {
    let (mut house, server) = unhurried().await;
    place(&house, Who::Buyer, live_bid(50)).await;
    // A window of nothing: whatever the exchange sends waits on its side.
    let channel = endpoint(&server).initial_stream_window_size(0).connect().await.expect("a connection");
    let slow = Bidder::over(channel, house.key(Who::Buyer).as_deref(), "").await.expect("a session");
    assert_eq!(house.engine.live_bidders().connected(), 1);
    tokio::time::pause();
    for nth in 0..16 {
        call_again(&house, nth);
    }
    for _ in 0..16 {
        assert!(matches!(routed(&mut house).await, Action::EndCall { .. }), "nobody waits for a slow bidder");
    }
    assert_eq!(house.engine.live_bidders().connected(), 0, "it is asked no more");
    drop(slow);
}

#[tokio::test]
async fn sessions_end_with_the_server() {
    let (house, server) = unhurried().await;
    let mut bidder = Bidder::connect(&house, &server, Who::Buyer, "").await.expect("a session");
    bidder.bids().await;
    let stop = async {
        let end = bidder.end().await;
        drop(bidder);
        end
    };
    let ((), end) = tokio::join!(server.stop(), stop);
    assert_eq!(end.code(), Code::Unavailable);
    assert!(end.message().contains("stopping"), "{end:?}");
}

#[tokio::test]
async fn health_can_be_asked_without_a_key_and_services_be_listed_with_one() {
    let (house, server) = unhurried().await;
    let channel = endpoint(&server).connect().await.expect("a connection");
    let mut health = HealthClient::new(channel.clone());
    for (service, expected) in
        [("", Ok(1)), ("dce.v1.LiveBids", Ok(1)), ("dce.v1.DeadBids", Err(Code::NotFound))]
    {
        let asked = health.check(HealthCheckRequest { service: service.to_owned() }).await;
        let status = asked.map(|response| response.into_inner().status).map_err(|status| status.code());
        assert_eq!(status, expected, "{service}");
    }
    let watched = health.watch(HealthCheckRequest::default()).await;
    assert_eq!(watched.err().map(|status| status.code()), Some(Code::Unimplemented));

    let refused = services(channel.clone(), &house, Who::Nobody).await.expect_err("no key");
    assert_eq!(refused.code(), Code::Unauthenticated);
    let services = services(channel, &house, Who::Seller).await.expect("a list");
    assert!(services.contains(&"dce.v1.LiveBids".to_owned()), "{services:?}");
}

/// What reflection lists.
async fn services(channel: Channel, house: &House, who: Who) -> Result<Vec<String>, Status> {
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let question = ServerReflectionRequest { host: String::new(), message_request };
    let path = PathAndQuery::from_static("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.expect("ready");
    let codec = tonic_prost::ProstCodec::<ServerReflectionRequest, ServerReflectionResponse>::default();
    let question = request(house, who, tokio_stream::once(question));
    let answer = client.streaming(question, path, codec).await?.into_inner().message().await?;
    match answer.and_then(|answer| answer.message_response) {
        Some(MessageResponse::ListServicesResponse(list)) => {
            Ok(list.service.into_iter().map(|service| service.name).collect())
        }
        other => panic!("no list: {other:?}"),
    }
}

#[tokio::test]
async fn an_unknown_method_says_so_as_a_status_and_rest_is_served_on_the_same_port() {
    let (house, server) = unhurried().await;
    let channel = endpoint(&server).connect().await.expect("a connection");
    let path = PathAndQuery::from_static("/dce.v1.LiveBids/Watch");
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.expect("ready");
    let codec = tonic_prost::ProstCodec::<BidderMessage, ExchangeMessage>::default();
    let refused = client.unary(request(&house, Who::Buyer, BidderMessage::default()), path, codec).await;
    let refused = refused.expect_err("there is no such method");
    assert_eq!(refused.code(), Code::Unimplemented, "{refused:?}");

    let mut bidder = Bidder::connect(&house, &server, Who::Buyer, "").await.expect("a session");
    assert!(bidder.bids().await.is_empty());
    let id = "00000000-0000-0000-0000-0000000000b7";
    let mut live = live_bid(50);
    live["id"] = id.into();
    put(&house, &server, &live).await;
    assert_eq!(bidder.bids().await, [id], "what REST places is offered over gRPC");
}
