//! Calls that are refused: with which status and Reason, and what remains of them.

use crate::exchange::{Exchange, Setup};
use crate::marketplace::{Buyer, list_number, load};
use crate::sipp::{caller, target};
use serde_json::json;

/// A carrier that none of these calls comes from.
const ELSEWHERE: &str = r#"[{ name = "elsewhere", sources = ["192.0.2.0/24"] }]"#;

#[test]
fn a_stranger_is_forbidden_and_leaves_no_trace() {
    let exchange = Exchange::start_with(Setup { trunks: Some(ELSEWHERE), ..Setup::default() });
    let target = target("target_answers");
    load(&exchange, &[Buyer::at(target.port)]);
    assert_eq!(caller("caller_is_refused").completes(exchange.udp), "403");
    target.was_not_called();
    assert_eq!(exchange.get("/v1/calls")["items"], json!([]));
    exchange.stop_and_verify();
}

#[test]
fn an_unknown_number_is_not_found() {
    let exchange = Exchange::start();
    list_number(&exchange);
    let refused = caller("caller_is_refused").called("+12125550199").completes(exchange.udp);
    assert_eq!(refused, "404 Q.850;cause=1;text=\"Unallocated number\"");
    exchange.stop_and_verify();
}

#[test]
fn without_a_bidder_the_caller_is_told_why() {
    let exchange = Exchange::start();
    list_number(&exchange);
    let refused = caller("caller_is_refused").completes(exchange.udp);
    assert_eq!(refused, "480 Q.850;cause=34;text=\"No bidder\"");
    let call = exchange.ended_call();
    assert_eq!(call["outcome"], "no_bidder", "{call}");
    assert_eq!(exchange.transfers(&call), []);
    exchange.stop_and_verify();
}

#[test]
fn without_a_bidder_it_may_be_503_by_configuration() {
    let exchange = Exchange::start_with(Setup { sip: "no_bidder_status = 503", ..Setup::default() });
    list_number(&exchange);
    let refused = caller("caller_is_refused").completes(exchange.udp);
    assert_eq!(refused, "503 Q.850;cause=34;text=\"No bidder\"");
    exchange.stop_and_verify();
}

#[test]
fn when_the_last_buyer_is_busy_so_is_the_line() {
    let exchange = Exchange::start();
    let target = target("target_is_busy");
    load(&exchange, &[Buyer::at(target.port)]);
    let refused = caller("caller_is_refused").completes(exchange.udp);
    assert_eq!(refused, "486 Q.850;cause=17;text=\"User busy\"");
    target.succeeds();
    let call = exchange.ended_call();
    assert_eq!(call["outcome"], "unanswered", "{call}");
    exchange.stop_and_verify();
}

#[test]
fn options_are_answered() {
    let exchange = Exchange::start();
    caller("caller_asks_options").completes(exchange.udp);
    exchange.stop_and_verify();
}
