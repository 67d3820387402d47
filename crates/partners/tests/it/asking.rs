//! Asking bidders in tests.

use crate::bidder::Bidder;
use exchange::bid::live::{
    AnswerMapping, BidRequest, CallerDisclosure, HttpTarget, LiveBidder, LiveSaid, LiveVia, NoLiveBid,
};
use exchange::id::{BidProfileId, CallId};
use exchange::ledger::money::{Currency, Micros};
use exchange::tracking_number::CallOrigin;
use partners::rtb::{RtbClient, RtbConfig, TargetStatus};
use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;
use tokio::sync::oneshot;
use uuid::Uuid;

/// Long enough that nothing that works is ever late.
pub(crate) const AMPLE_MS: u32 = 20_000;

/// A client that may connect to the loopback interface.
pub(crate) fn client() -> RtbClient {
    client_with(|_| {})
}

pub(crate) fn client_with(change: impl FnOnce(&mut RtbConfig)) -> RtbClient {
    let mut config = RtbConfig { allow_private_addresses: true, ..RtbConfig::default() };
    change(&mut config);
    RtbClient::new(config, [7; 32])
}

pub(crate) fn http_target(url: String) -> HttpTarget {
    HttpTarget {
        url,
        headers: BTreeMap::new(),
        body: None,
        answer: AnswerMapping::default(),
        notice_url: None,
    }
}

pub(crate) fn live_bidder(target: HttpTarget) -> LiveBidder {
    LiveBidder {
        via: LiveVia::Http(target),
        timeout_ms: None,
        requests_per_s: Some(10_000),
        in_flight_max: None,
        caller: CallerDisclosure::Withheld,
    }
}

/// The bid profile of this number.
pub(crate) fn bid_id(number: u128) -> BidProfileId {
    BidProfileId(Uuid::from_u128(number))
}

/// A request for bid profile `number` at this bidder, with ample time.
pub(crate) fn request(number: u128, target: HttpTarget) -> BidRequest {
    BidRequest {
        call: CallId(Uuid::from_u128(0xca11)),
        bid: bid_id(number),
        bidder: live_bidder(target),
        deadline_ms: AMPLE_MS,
        floor_micros: Micros(1_500_000),
        most_micros: Micros::units(100),
        currency: Currency::USD,
        vertical: "home_services".to_owned(),
        origin: CallOrigin::OrganicInbound,
        state: Some("FL".to_owned().try_into().expect("a state")),
        zip: Some("33101".to_owned().try_into().expect("a ZIP code")),
        area_code: Some(305),
        language: None,
        attestation: None,
        tags: BTreeMap::from([("source".to_owned(), "search & \"more\"".to_owned())]),
        caller: Some("+13055550123".parse().expect("a number")),
    }
}

pub(crate) fn request_to(number: u128, bidder: &Bidder) -> BidRequest {
    request(number, http_target(bidder.url("/ping")))
}

/// Asks, and hands out what will be said. The answer is for the bid that was asked, and comes once: the callback is consumed.
pub(crate) fn ask(client: &RtbClient, request: BidRequest) -> impl Future<Output = LiveSaid> + use<> {
    let (sender, receiver) = oneshot::channel();
    let bid = request.bid;
    client.ask(request, move |answer| drop(sender.send(answer)));
    async move {
        let answer = receiver.await.expect("every request is answered");
        assert_eq!(answer.bid, bid);
        answer.said
    }
}

pub(crate) fn nothing(reason: NoLiveBid) -> LiveSaid {
    LiveSaid::Nothing { reason }
}

pub(crate) fn price(price_micros: i64) -> LiveSaid {
    LiveSaid::Bid { price_micros: Micros(price_micros), min_connected_s: None, destination: None }
}

/// The state of the one bidder the client knows.
pub(crate) fn status(client: &RtbClient) -> TargetStatus {
    let mut statuses = client.targets();
    assert_eq!(statuses.len(), 1);
    statuses.remove(0)
}

/// Waits until something is so; a test that waits for 20 seconds fails.
pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never came to be: {what}");
}
