//! Calls from a real carrier to real buyers: what each side sees, what the API then says, and what the money did.

use crate::exchange::Exchange;
use crate::marketplace::{Buyer, DEPOSIT_MICROS, buyer_balance, load, seller_balance};
use crate::sipp::{CALLER, caller, target, target_pausing};
use serde_json::{Value, json};

/// The call was charged 50 dollars, once: 35 to the seller, 15 to the house.
fn assert_charged_once(exchange: &Exchange, call: &Value) {
    let money = json!([call["charge_micros"], call["payout_micros"], call["margin_micros"]]);
    assert_eq!(money, json!([50_000_000, 35_000_000, 15_000_000]), "{call}");
    let expected = [("hold", 50_000_000), ("payout", 35_000_000), ("margin", 15_000_000)];
    assert_moved(exchange, call, &expected);
    assert_eq!(buyer_balance(exchange, 0), json!([DEPOSIT_MICROS - 50_000_000, 0]));
    assert_eq!(seller_balance(exchange), 35_000_000);
}

fn assert_moved(exchange: &Exchange, call: &Value, expected: &[(&str, i64)]) {
    let moved = exchange.transfers(call);
    let moved: Vec<_> = moved.iter().map(|(reason, micros)| (reason.as_str(), *micros)).collect();
    assert_eq!(moved, expected);
}

/// Nobody paid, and what was held has been given back.
fn assert_free(exchange: &Exchange, call: &Value) {
    let moved = exchange.transfers(call);
    let sum =
        |reason: &str| -> i64 { moved.iter().filter(|moved| moved.0 == reason).map(|moved| moved.1).sum() };
    assert_eq!(sum("hold"), sum("release"), "{moved:?}");
    assert!(moved.iter().all(|(reason, _)| reason == "hold" || reason == "release"), "{moved:?}");
    assert_eq!(buyer_balance(exchange, 0), json!([DEPOSIT_MICROS, 0]));
    assert_eq!(seller_balance(exchange), 0);
}

fn ended(call: &Value) -> Value {
    json!([call["outcome"], call["ended_by"]])
}

#[test]
fn a_call_that_outlasts_the_buffer_is_charged_once() {
    let exchange = Exchange::start();
    let target = target("target_answers");
    load(&exchange, &[Buyer::at(target.port)]);
    caller("caller_hangs_up").pausing(1_200).completes(exchange.udp);
    target.succeeds();
    let call = exchange.ended_call();
    assert_eq!(ended(&call), json!(["converted", "caller"]), "{call}");
    assert_eq!(json!([call["caller"], call["trunk"]]), json!([CALLER, "carrier"]));
    assert!(call["connected_ms"].as_u64().expect("a number") >= 1_200, "{call}");
    assert_charged_once(&exchange, &call);
    exchange.stop_and_verify();
}

#[test]
fn a_caller_that_hangs_up_before_the_buffer_costs_nothing() {
    let exchange = Exchange::start();
    let target = target("target_answers");
    load(&exchange, &[Buyer { min_connected_s: 60, ..Buyer::at(target.port) }]);
    caller("caller_hangs_up").completes(exchange.udp);
    target.succeeds();
    let call = exchange.ended_call();
    assert_eq!(ended(&call), json!(["not_converted", "caller"]), "{call}");
    assert_free(&exchange, &call);
    exchange.stop_and_verify();
}

#[test]
fn a_buyer_that_hangs_up_before_the_buffer_pays_nothing() {
    let exchange = Exchange::start();
    let target = target_pausing("target_hangs_up", 100);
    load(&exchange, &[Buyer { min_connected_s: 60, ..Buyer::at(target.port) }]);
    caller("caller_waits").completes(exchange.udp);
    target.succeeds();
    let call = exchange.ended_call();
    assert_eq!(ended(&call), json!(["not_converted", "target"]), "{call}");
    assert_free(&exchange, &call);
    exchange.stop_and_verify();
}

#[test]
fn a_caller_whose_buyer_hangs_up_early_is_moved_to_the_next() {
    let exchange = Exchange::start();
    let (leaves, stays) = (target_pausing("target_hangs_up", 100), target("target_answers"));
    let first = Buyer { price_micros: 60_000_000, min_connected_s: 60, ..Buyer::at(leaves.port) };
    load(&exchange, &[first, Buyer::at(stays.port)]);
    caller("caller_is_moved").pausing(1_200).completes(exchange.udp);
    leaves.succeeds();
    stays.succeeds();
    let call = exchange.ended_call();
    assert_eq!(ended(&call), json!(["converted", "caller"]), "{call}");
    assert_eq!(call["charge_micros"], 50_000_000, "the price of the buyer who stayed");
    let expected = [
        ("hold", 60_000_000),
        ("release", 60_000_000),
        ("hold", 50_000_000),
        ("payout", 35_000_000),
        ("margin", 15_000_000),
    ];
    assert_moved(&exchange, &call, &expected);
    assert_eq!(buyer_balance(&exchange, 0), json!([DEPOSIT_MICROS, 0]), "the first buyer pays nothing");
    assert_eq!(buyer_balance(&exchange, 1), json!([DEPOSIT_MICROS - 50_000_000, 0]));
    assert_eq!(seller_balance(&exchange), 35_000_000);
    exchange.stop_and_verify();
}

#[test]
fn a_caller_over_tcp_reaches_a_target_over_udp() {
    let exchange = Exchange::start();
    let target = target("target_answers");
    load(&exchange, &[Buyer::at(target.port)]);
    caller("caller_hangs_up").pausing(1_200).over_tcp().completes(exchange.tcp);
    target.succeeds();
    let call = exchange.ended_call();
    assert_eq!(ended(&call), json!(["converted", "caller"]), "{call}");
    assert_charged_once(&exchange, &call);
    exchange.stop_and_verify();
}

#[test]
fn a_caller_that_cancels_costs_nothing_and_stops_the_ringing() {
    let exchange = Exchange::start();
    let target = target("target_rings");
    load(&exchange, &[Buyer::at(target.port)]);
    caller("caller_cancels").pausing(100).completes(exchange.udp);
    target.succeeds();
    let call = exchange.ended_call();
    assert_eq!(call["outcome"], "abandoned", "{call}");
    assert_free(&exchange, &call);
    exchange.stop_and_verify();
}

/// The first buyer fails like this; the second takes the call and pays.
fn falls_back(first_scenario: &str, cause: &str) {
    let exchange = Exchange::start();
    let (first, second) = (target(first_scenario), target("target_answers"));
    let first_buyer = Buyer { ring_timeout_ms: Some(1_000), ..Buyer::at(first.port) };
    load(&exchange, &[first_buyer, Buyer::fallback_at(second.port)]);
    caller("caller_hangs_up").pausing(1_200).completes(exchange.udp);
    first.succeeds();
    second.succeeds();
    let call = exchange.ended_call();
    assert_eq!(ended(&call), json!(["converted", "caller"]), "{call}");
    assert_eq!(call["attempts"][0]["failure"], json!({ "cause": cause }), "{call}");
    assert_eq!(call["attempts"].as_array().map(Vec::len), Some(2), "{call}");
    assert_eq!(call["charge_micros"], 40_000_000, "the second buyer's price");
    let expected = [
        ("hold", 50_000_000),
        ("release", 50_000_000),
        ("hold", 40_000_000),
        ("payout", 28_000_000),
        ("margin", 12_000_000),
    ];
    assert_moved(&exchange, &call, &expected);
    assert_eq!(buyer_balance(&exchange, 0), json!([DEPOSIT_MICROS, 0]));
    assert_eq!(buyer_balance(&exchange, 1), json!([DEPOSIT_MICROS - 40_000_000, 0]));
    exchange.stop_and_verify();
}

#[test]
fn a_busy_buyer_is_followed_by_the_next() {
    falls_back("target_is_busy", "busy");
}

#[test]
fn a_buyer_that_rings_out_is_followed_by_the_next() {
    falls_back("target_rings", "ring_timeout");
}

/// Two scenarios that check each other's words; the call is short and costs nothing.
fn talks(caller_scenario: &str, target_scenario: &str) {
    let exchange = Exchange::start();
    let target = target(target_scenario);
    load(&exchange, &[Buyer { min_connected_s: 60, ..Buyer::at(target.port) }]);
    caller(caller_scenario).completes(exchange.udp);
    target.succeeds();
    let call = exchange.ended_call();
    assert_eq!(ended(&call), json!(["not_converted", "caller"]), "{call}");
    assert_free(&exchange, &call);
    exchange.stop_and_verify();
}

#[test]
fn hold_and_resume_reach_the_other_side() {
    talks("caller_holds", "target_is_held");
}

#[test]
fn a_late_offer_reaches_the_other_side() {
    talks("caller_offers_late", "target_offers");
}

#[test]
fn digits_in_info_reach_the_other_side() {
    talks("caller_sends_dtmf", "target_hears_dtmf");
}
