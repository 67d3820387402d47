//! How often, how many at once, and whether at all.

use crate::asking::{
    AMPLE_MS, ask, client, client_with, http_target, nothing, price, request, request_to, status, until,
};
use crate::bidder::{Behaviour, Bidder, answer, bid};
use exchange::bid::live::{BidRequest, NoLiveBid};
use partners::rtb::{Circuit, RtbClient};

#[tokio::test]
async fn one_that_is_asked_too_often_is_not_asked() {
    let (bidder, client) = (Bidder::always(Behaviour::Write(bid("5"))).await, client());
    let asked: Vec<_> = (0..50)
        .map(|_| {
            let mut request = request_to(1, &bidder);
            request.bidder.requests_per_s = Some(1);
            ask(&client, request)
        })
        .collect();
    let mut bids = 0;
    for said in asked {
        let said = said.await;
        bids += usize::from(said == price(5_000_000));
        assert!(said == price(5_000_000) || said == nothing(NoLiveBid::RateLimited), "{said:?}");
    }
    // One at first, and one for each second that this may have taken on a slow machine.
    assert!((1..20).contains(&bids), "{bids}");
    assert_eq!(bidder.requests().len(), bids);
    assert_eq!(status(&client).results.get("bid"), Some(&(bids as u64)));
}

#[tokio::test]
async fn one_with_too_many_in_flight_is_not_asked_until_one_is_back() {
    let bidder = Bidder::always(Behaviour::WriteWhenReleased(bid("5"))).await;
    let client = client();
    let asked = |client: &RtbClient| {
        let mut request = request_to(1, &bidder);
        request.bidder.in_flight_max = Some(3);
        ask(client, request)
    };
    let waiting = [asked(&client), asked(&client), asked(&client)];
    until("all three are on their way", || bidder.requests().len() == 3).await;
    assert_eq!(status(&client).in_flight, 3);
    assert_eq!(asked(&client).await, nothing(NoLiveBid::Busy));
    // Another bidder has its own bound.
    let other = Bidder::always(Behaviour::Write(bid("6"))).await;
    assert_eq!(ask(&client, request_to(2, &other)).await, price(6_000_000));
    bidder.release();
    for said in waiting {
        assert_eq!(said.await, price(5_000_000));
    }
    assert_eq!(asked(&client).await, price(5_000_000));
}

#[tokio::test]
async fn all_bidders_together_have_a_bound_too() {
    let bidder = Bidder::always(Behaviour::WriteWhenReleased(bid("5"))).await;
    let client = client_with(|config| (config.in_flight_max, config.targets_max) = (1, 2));
    let first = ask(&client, request_to(1, &bidder));
    until("it is on its way", || bidder.requests().len() == 1).await;
    assert_eq!(ask(&client, request_to(2, &bidder)).await, nothing(NoLiveBid::Busy));
    bidder.release();
    assert_eq!(first.await, price(5_000_000));
    assert_eq!(ask(&client, request_to(2, &bidder)).await, price(5_000_000));
    assert_eq!(ask(&client, request_to(3, &bidder)).await, nothing(NoLiveBid::Busy));
}

#[tokio::test]
async fn one_that_fails_is_left_alone_and_asked_again_when_it_is_back() {
    let bidder = Bidder::by_turn(|turn| match turn {
        0..3 => Behaviour::Write(answer("503 Service Unavailable", "")),
        _ => Behaviour::Write(bid("5")),
    });
    let bidder = bidder.await;
    let client = client_with(|config| {
        config.breaker.failures_in_a_row = 2;
        config.breaker.backoff_first_ms = 300;
    });
    assert_eq!(ask(&client, request_to(1, &bidder)).await, nothing(NoLiveBid::Failed));
    assert_eq!(status(&client).circuit, Circuit::Closed);
    assert_eq!(ask(&client, request_to(1, &bidder)).await, nothing(NoLiveBid::Failed));
    assert_eq!(status(&client).circuit, Circuit::Open);
    let mut failed_probes = 0;
    for _ in 0..2_000 {
        match ask(&client, request_to(1, &bidder)).await {
            said if said == price(5_000_000) => break,
            said if said == nothing(NoLiveBid::Failed) => failed_probes += 1,
            said => assert_eq!(said, nothing(NoLiveBid::CircuitOpen)),
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let status = status(&client);
    assert_eq!((status.circuit, failed_probes), (Circuit::Closed, 1));
    assert_eq!(status.results.get("failed"), Some(&3));
    assert!(status.results.contains_key("circuit_open"));
    assert_eq!(bidder.requests().len(), 4);
}

#[tokio::test]
async fn timeouts_are_failures_and_another_url_is_a_fresh_start() {
    let (silent, good) =
        (Bidder::always(Behaviour::Hang).await, Bidder::always(Behaviour::Write(bid("5"))).await);
    let client = client_with(|config| {
        config.breaker.failures_in_a_row = 1;
        config.breaker.backoff_first_ms = u64::from(AMPLE_MS) * 100;
    });
    let hopeless = BidRequest { deadline_ms: 50, ..request_to(1, &silent) };
    assert_eq!(ask(&client, hopeless).await, nothing(NoLiveBid::TimedOut));
    assert_eq!(ask(&client, request_to(1, &silent)).await, nothing(NoLiveBid::CircuitOpen));
    // The same bid profile with a new URL is asked there at once.
    assert_eq!(ask(&client, request_to(1, &good)).await, price(5_000_000));
    let status = status(&client);
    assert_eq!((status.circuit, status.origin), (Circuit::Closed, Some(good.url(""))));
}

#[tokio::test]
async fn how_long_it_took_is_known() {
    let (bidder, client) = (Bidder::always(Behaviour::Write(bid("5"))).await, client());
    assert!(client.targets().is_empty());
    for _ in 0..5 {
        assert_eq!(ask(&client, request_to(1, &bidder)).await, price(5_000_000));
    }
    let status = status(&client);
    assert!(status.latency_p50_ms.is_some() && status.latency_p50_ms <= status.latency_p99_ms);
    assert_eq!(ask(&client, request(2, http_target(String::new()))).await, nothing(NoLiveBid::Unreachable));
    assert_eq!(client.targets().len(), 2);
}
