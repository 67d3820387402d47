//! What comes of bidders that behave and of those that do not.

use crate::asking::{AMPLE_MS, ask, client, client_with, http_target, nothing, price, request, request_to};
use crate::bidder::{Behaviour, Bidder, answer, bid};
use exchange::bid::live::{BidRequest, LiveSaid, LiveVia, NoLiveBid};
use exchange::id::CallId;
use std::time::Instant;
use tokio::net::TcpListener;
use uuid::Uuid;

/// So little that a bidder that does not answer is soon given up.
const SHORT_MS: u32 = 200;

/// A name, what the bidder does, how long it has, and what comes of it.
type Case = (&'static str, Behaviour, u32, LiveSaid);

fn write(text: &str) -> Behaviour {
    Behaviour::Write(text.to_owned())
}

/// Answers that are as they should be.
fn good_ones() -> Vec<Case> {
    vec![
        ("good", write(&bid("12.34")), AMPLE_MS, price(12_340_000)),
        (
            "good, in chunks",
            write(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"bid\r\n4\r\n\":5}\r\n0\r\n\r\n",
            ),
            AMPLE_MS,
            price(5_000_000),
        ),
        (
            "good, until the end",
            Behaviour::WriteAndClose("HTTP/1.0 200 OK\r\n\r\n{\"bid\":5}".to_owned()),
            AMPLE_MS,
            price(5_000_000),
        ),
        (
            "good, after an early hint",
            write(&format!("HTTP/1.1 103 Early Hints\r\n\r\n{}", bid("6"))),
            AMPLE_MS,
            price(6_000_000),
        ),
        ("good, byte by byte", Behaviour::Drip(bid("7")), AMPLE_MS, price(7_000_000)),
        ("below the floor is the core's to refuse", write(&bid("0.01")), AMPLE_MS, price(10_000)),
        ("declines", write("HTTP/1.1 204 No Content\r\n\r\n"), AMPLE_MS, nothing(NoLiveBid::Declined)),
        ("no price", write(&answer("200 OK", "{}")), AMPLE_MS, nothing(NoLiveBid::Declined)),
    ]
}

/// Answers that do not come, or not whole.
fn silent_ones() -> Vec<Case> {
    vec![
        ("hangs", Behaviour::Hang, SHORT_MS, nothing(NoLiveBid::TimedOut)),
        (
            "drips",
            Behaviour::Drip(format!("HTTP/1.1 200 OK\r\n{}", "X: y\r\n".repeat(1_000))),
            SHORT_MS,
            nothing(NoLiveBid::TimedOut),
        ),
        ("too late", Behaviour::WriteWhenReleased(bid("5")), SHORT_MS, nothing(NoLiveBid::TimedOut)),
        (
            "half an answer, then silence",
            write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"bid\""),
            SHORT_MS,
            nothing(NoLiveBid::TimedOut),
        ),
        (
            "half an answer, then closed",
            Behaviour::WriteAndClose("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"bid\"".to_owned()),
            AMPLE_MS,
            nothing(NoLiveBid::Unreachable),
        ),
        ("closed without an answer", Behaviour::Close, AMPLE_MS, nothing(NoLiveBid::Unreachable)),
    ]
}

/// Answers that are no answer.
fn garbled_ones() -> Vec<Case> {
    vec![
        ("not JSON", write(&answer("200 OK", "<html>")), AMPLE_MS, nothing(NoLiveBid::Garbled)),
        ("above what it may bid", write(&bid("100.01")), AMPLE_MS, nothing(NoLiveBid::Garbled)),
        (
            "compressed unasked",
            write("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"),
            AMPLE_MS,
            nothing(NoLiveBid::Garbled),
        ),
        ("not HTTP", write("SSH-2.0-OpenSSH_9.6\r\n\r\n"), AMPLE_MS, nothing(NoLiveBid::Garbled)),
        (
            "two answers in one body",
            write(&answer("200 OK", "{\"bid\":5}{\"bid\":6}")),
            AMPLE_MS,
            nothing(NoLiveBid::Garbled),
        ),
        (
            "a body without end",
            Behaviour::Endless("HTTP/1.1 200 OK\r\n\r\n".to_owned(), "[".repeat(8_192)),
            AMPLE_MS,
            nothing(NoLiveBid::TooLarge),
        ),
        (
            "announces too much",
            write("HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n"),
            AMPLE_MS,
            nothing(NoLiveBid::TooLarge),
        ),
        (
            "a head without end",
            Behaviour::Endless("HTTP/1.1 200 OK\r\n".to_owned(), format!("X: {}\r\n", "y".repeat(500))),
            AMPLE_MS,
            nothing(NoLiveBid::TooLarge),
        ),
        (
            "an error",
            write(&answer("500 Internal Server Error", "{\"bid\":5}")),
            AMPLE_MS,
            nothing(NoLiveBid::Failed),
        ),
        (
            "elsewhere",
            write("HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n"),
            AMPLE_MS,
            nothing(NoLiveBid::Failed),
        ),
    ]
}

#[tokio::test]
async fn each_bidder_by_its_behaviour_and_none_harms_another() {
    let cases = [good_ones(), silent_ones(), garbled_ones()].concat();
    let (client, began) = (client(), Instant::now());
    let mut asked = Vec::new();
    for (number, (name, behaviour, deadline_ms, expected)) in (1..).zip(cases) {
        let bidder = Bidder::always(behaviour).await;
        let request = BidRequest { deadline_ms, ..request_to(number, &bidder) };
        asked.push((name, ask(&client, request), expected));
    }
    for (name, said, expected) in asked {
        assert_eq!(said.await, expected, "{name}");
    }
    // Sanity only: in turn, the slow ones alone would not take as long as one that is never given up.
    assert!(began.elapsed().as_millis() < u128::from(AMPLE_MS));
    assert!(client.targets().iter().all(|status| status.in_flight == 0));
}

#[tokio::test]
async fn one_that_refuses_connections_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    drop(listener);
    assert_eq!(ask(&client(), request(1, http_target(url))).await, nothing(NoLiveBid::Unreachable));
}

#[tokio::test]
async fn a_bidder_s_own_timeout_is_kept_when_it_is_the_shorter() {
    let bidder = Bidder::always(Behaviour::Hang).await;
    let mut request = request_to(1, &bidder);
    request.bidder.timeout_ms = Some(SHORT_MS);
    assert_eq!(ask(&client(), request).await, nothing(NoLiveBid::TimedOut));
}

#[tokio::test]
async fn an_answer_too_late_is_never_another_question_s() {
    let bidder = Bidder::by_turn(|turn| match turn {
        0 => Behaviour::WriteWhenReleased(bid("99")),
        _ => Behaviour::Write(bid("5")),
    });
    let (bidder, client) = (bidder.await, client());
    let late = BidRequest { deadline_ms: SHORT_MS, ..request_to(1, &bidder) };
    assert_eq!(ask(&client, late).await, nothing(NoLiveBid::TimedOut));
    bidder.release();
    let next = BidRequest { call: CallId(Uuid::from_u128(2)), ..request_to(1, &bidder) };
    assert_eq!(ask(&client, next).await, price(5_000_000));
}

#[tokio::test]
async fn an_answer_given_twice_is_not_the_next_question_s() {
    let bidder = Bidder::by_turn(|turn| match turn {
        0 => Behaviour::Write(format!("{}{}", bid("5"), bid("99"))),
        _ => Behaviour::Write(bid("6")),
    });
    let (bidder, client) = (bidder.await, client());
    assert_eq!(ask(&client, request_to(1, &bidder)).await, price(5_000_000));
    assert_eq!(ask(&client, request_to(1, &bidder)).await, price(6_000_000));
}

#[tokio::test]
async fn what_is_not_http_is_not_asked_here() {
    let mut request = request(1, http_target(String::new()));
    request.bidder.via = LiveVia::Connection;
    assert_eq!(ask(&client(), request).await, nothing(NoLiveBid::NotConnected));
}

#[tokio::test]
async fn a_bid_profile_that_nobody_checked_cannot_do_harm() {
    let client = client();
    for (number, url) in
        (1..).zip(["", "ftp://127.0.0.1/", "http://", "http://a b/", "http://user@127.0.0.1/"])
    {
        let said = ask(&client, request(number, http_target(url.to_owned()))).await;
        assert_eq!(said, nothing(NoLiveBid::Unreachable), "{url}");
    }
}

#[tokio::test]
async fn addresses_that_are_not_public_are_not_connected_to() {
    let bidder = Bidder::always(Behaviour::Write(bid("5"))).await;
    let client = client_with(|config| config.allow_private_addresses = false);
    let port = bidder.address.port();
    for (number, host) in (1..).zip(["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "127.1"]) {
        let url = format!("http://{host}:{port}/");
        assert_eq!(
            ask(&client, request(number, http_target(url))).await,
            nothing(NoLiveBid::Unreachable),
            "{host}"
        );
    }
    assert_eq!(bidder.connections(), 0);
}

#[test]
fn an_answer_is_owed_even_when_the_runtime_ends() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let client = runtime.block_on(async {
        let bidder = Bidder::always(Behaviour::Hang).await;
        let (client, during) = (client(), sender.clone());
        client.ask(request_to(1, &bidder), move |answer| during.send(answer.said).expect("received"));
        tokio::task::yield_now().await;
        client
    });
    drop(runtime);
    client.ask(request(2, http_target(String::new())), move |answer| {
        sender.send(answer.said).expect("received");
    });
    let said: Vec<LiveSaid> = receiver.iter().collect();
    assert_eq!(said, [nothing(NoLiveBid::Unreachable), nothing(NoLiveBid::Unreachable)]);
}
