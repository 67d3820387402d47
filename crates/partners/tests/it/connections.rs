//! Connections: kept, replaced, encrypted, finished late.

use crate::asking::{
    AMPLE_MS, ask, client, client_with, http_target, nothing, price, request, request_to, status, until,
};
use crate::bidder::{Behaviour, Bidder, bid};
use exchange::bid::live::{BidRequest, NoLiveBid};
use partners::rtb::RtbClient;
use rcgen::CertifiedKey;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

#[tokio::test]
async fn one_connection_serves_request_after_request() {
    let (bidder, client) = (Bidder::always(Behaviour::Write(bid("5"))).await, client());
    for _ in 0..20 {
        assert_eq!(ask(&client, request_to(1, &bidder)).await, price(5_000_000));
    }
    assert_eq!((bidder.requests().len(), bidder.connections()), (20, 1));
    assert_eq!(status(&client).connections_idle, 1);
}

#[tokio::test]
async fn as_many_connections_as_requests_at_once() {
    let bidder = Bidder::always(Behaviour::WriteWhenReleased(bid("5"))).await;
    let client = client();
    let asked: Vec<_> = (0..4).map(|_| ask(&client, request_to(1, &bidder))).collect();
    until("all four are on their way", || bidder.requests().len() == 4).await;
    bidder.release();
    for said in asked {
        assert_eq!(said.await, price(5_000_000));
    }
    assert_eq!(bidder.connections(), 4);
    for _ in 0..10 {
        assert_eq!(ask(&client, request_to(1, &bidder)).await, price(5_000_000));
    }
    assert_eq!(bidder.connections(), 4);
}

#[tokio::test]
async fn a_kept_connection_that_the_bidder_closes_costs_no_bid() {
    let bidder = Bidder::by_turn(|turn| match turn {
        // Reads the second request and closes, as one that restarts does.
        1 => Behaviour::Close,
        2 => Behaviour::WriteAndClose(bid("5")),
        _ => Behaviour::Write(bid("5")),
    });
    let (bidder, client) = (bidder.await, client());
    for _ in 0..4 {
        assert_eq!(ask(&client, request_to(1, &bidder)).await, price(5_000_000));
    }
    assert_eq!(bidder.requests().len(), 5);
}

#[tokio::test]
async fn one_that_closes_each_connection_is_asked_twice_at_most() {
    let bidder = Bidder::by_turn(|turn| match turn {
        0 => Behaviour::Write(bid("5")),
        _ => Behaviour::Close,
    });
    let (bidder, client) = (bidder.await, client());
    assert_eq!(ask(&client, request_to(1, &bidder)).await, price(5_000_000));
    assert_eq!(ask(&client, request_to(1, &bidder)).await, nothing(NoLiveBid::Unreachable));
    assert_eq!(bidder.requests().len(), 3);
}

#[tokio::test]
async fn two_bidders_at_one_host_share_no_connection() {
    let (bidder, client) = (Bidder::always(Behaviour::Write(bid("5"))).await, client());
    for number in [1, 2, 1, 2] {
        assert_eq!(ask(&client, request_to(number, &bidder)).await, price(5_000_000));
    }
    assert_eq!(bidder.connections(), 2);
}

#[tokio::test]
async fn connections_have_a_bound() {
    let bidder = Bidder::always(Behaviour::Write(bid("5"))).await;
    let client = client_with(|config| config.connections_max = 1);
    assert_eq!(ask(&client, request_to(1, &bidder)).await, price(5_000_000));
    assert_eq!(ask(&client, request_to(2, &bidder)).await, nothing(NoLiveBid::Busy));
    assert_eq!(ask(&client, request_to(1, &bidder)).await, price(5_000_000));
}

/// A server's side of TLS for `localhost`, and the certificate in DER.
fn tls() -> (TlsAcceptor, Vec<u8>) {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .expect("a key that fits");
    (TlsAcceptor::from(Arc::new(config)), cert.der().to_vec())
}

fn https(number: u128, bidder: &Bidder) -> BidRequest {
    request(number, http_target(format!("https://localhost:{}/ping", bidder.address.port())))
}

fn trusting(certificate: Vec<u8>) -> RtbClient {
    client_with(|config| {
        config.extra_roots_der = vec![certificate];
        config.connect_timeout_ms = AMPLE_MS.into();
    })
}

#[tokio::test]
async fn a_handshake_longer_than_an_auction_serves_the_next() {
    let (acceptor, certificate) = tls();
    let bidder = Bidder::over_tls(acceptor, Behaviour::Write(bid("5"))).await;
    let client = trusting(certificate);
    let hurried = || BidRequest { deadline_ms: 50, ..https(1, &bidder) };
    for _ in 0..3 {
        assert_eq!(ask(&client, hurried()).await, nothing(NoLiveBid::TimedOut));
    }
    bidder.release();
    until("the connection is made", || status(&client).connections_idle == 1).await;
    assert_eq!(ask(&client, https(1, &bidder)).await, price(5_000_000));
    assert_eq!(bidder.connections(), 1);
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_no_bidder() {
    let (acceptor, _) = tls();
    let (_, another_certificate) = tls();
    let bidder = Bidder::over_tls(acceptor, Behaviour::Write(bid("5"))).await;
    bidder.release();
    let said = ask(&trusting(another_certificate), https(1, &bidder)).await;
    assert_eq!(said, nothing(NoLiveBid::Unreachable));
    assert!(bidder.requests().is_empty());
}
