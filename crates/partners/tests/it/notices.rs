//! Notices of how an auction ended.

use crate::asking::{ask, bid_id, client, client_with, http_target, live_bidder, price, request_to, until};
use crate::bidder::{Behaviour, Bidder, answer, bid};
use exchange::bid::live::{BidNotice, BidResult, LossReason};
use exchange::id::CallId;
use exchange::ledger::money::Micros;
use uuid::Uuid;

const WON: BidResult = BidResult::Won { price_micros: Micros(12_500_000) };

fn notice(bidding: &Bidder, notified: &Bidder, result: BidResult) -> BidNotice {
    let mut target = http_target(bidding.url("/ping"));
    target.notice_url = Some(notified.url("/notice?c={call}&b={bid}"));
    target.headers.insert("X-Api-Key".to_owned(), "secret".to_owned());
    BidNotice { call: CallId(Uuid::from_u128(0xca11)), bid: bid_id(1), bidder: live_bidder(target), result }
}

#[tokio::test]
async fn the_result_is_posted() {
    let (bidder, client) = (Bidder::always(Behaviour::Write(answer("200 OK", ""))).await, client());
    let lost =
        BidResult::Lost { reason: LossReason::LostToHigherBid, min_to_win_micros: Some(Micros::units(13)) };
    for (count, result) in (1..).zip([WON, lost]) {
        client.notify(notice(&bidder, &bidder, result));
        until("the notice is there", || bidder.requests().len() == count).await;
    }
    let ids = r#""version":1,"id":"00000000-0000-0000-0000-00000000ca11","bid":"00000000-0000-0000-0000-000000000001""#;
    let bodies = [
        format!(r#"{{{ids},"result":"won","price_micros":12500000}}"#),
        format!(r#"{{{ids},"result":"lost","reason":"lost_to_higher_bid","min_to_win_micros":13000000}}"#),
    ];
    for (text, body) in bidder.requests().iter().zip(bodies) {
        let line = "POST /notice?c=00000000-0000-0000-0000-00000000ca11&b=00000000-0000-0000-0000-000000000001 HTTP/1.1\r\n";
        assert!(text.starts_with(line), "{text}");
        assert!(text.to_ascii_lowercase().contains("\r\nx-api-key: secret\r\n"), "{text}");
        assert!(text.ends_with(&format!("\r\n\r\n{body}")), "{text}");
    }
    assert_eq!(bidder.connections(), 1);
}

#[tokio::test]
async fn another_host_does_not_get_the_keys() {
    let (bidding, notified) =
        (Bidder::always(Behaviour::Hang).await, Bidder::always(Behaviour::Write(answer("200 OK", ""))).await);
    let client = client();
    client.notify(notice(&bidding, &notified, WON));
    until("the notice is there", || notified.requests().len() == 1).await;
    assert!(!notified.requests()[0].contains("secret"));
}

#[tokio::test]
async fn one_that_takes_no_notices_is_asked_as_before_and_not_told_again() {
    let silent = Bidder::always(Behaviour::Hang).await;
    let bidder = Bidder::always(Behaviour::Write(bid("5"))).await;
    let client = client_with(|config| {
        config.notices_in_flight_max = 2;
        config.notice_timeout_ms = 60_000;
    });
    for _ in 0..10 {
        client.notify(notice(&bidder, &silent, WON));
    }
    until("two are on their way", || silent.requests().len() == 2).await;
    assert_eq!(ask(&client, request_to(1, &bidder)).await, price(5_000_000));
    assert_eq!((silent.requests().len(), silent.connections()), (2, 2));
}

#[tokio::test]
async fn one_without_a_notice_url_is_not_told() {
    let bidder = Bidder::always(Behaviour::Write(bid("5"))).await;
    let client = client();
    let mut untold = notice(&bidder, &bidder, WON);
    untold.bidder = live_bidder(http_target(bidder.url("/ping")));
    client.notify(untold);
    // On this one-threaded runtime the notice's task has had its turn before the answer is here.
    assert_eq!(ask(&client, request_to(1, &bidder)).await, price(5_000_000));
    assert!(bidder.requests().iter().all(|text| text.starts_with("POST /ping ")));
}
