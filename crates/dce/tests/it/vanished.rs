//! Peers that vanish in the middle of a call: session timers (RFC 4028) end the call and the bill.

use crate::exchange::{Exchange, Setup};
use crate::marketplace::{Buyer, DEPOSIT_MICROS, buyer_balance, load};
use crate::sipp::{caller, target};
use serde_json::{Value, json};

/// Sessions of two seconds: a peer is given up after at most that long.
const SHORT_SESSIONS: Setup<'_> = Setup {
    sip: "session_expires_s = 2\nmin_session_expires_s = 1\nt1_ms = 100",
    data: "",
    http: "",
    trunks: None,
    more: "",
};

/// The call converted, ended because a peer was lost, and was charged once.
fn assert_billed_to_the_end(exchange: Exchange) {
    let call: Value = exchange.ended_call();
    assert_eq!(json!([call["outcome"], call["ended_by"]]), json!(["converted", "peer_lost"]), "{call}");
    assert!(call["connected_ms"].as_u64().expect("a number") >= 1_000, "{call}");
    assert_eq!(call["charge_micros"], 50_000_000, "{call}");
    assert_eq!(buyer_balance(&exchange, 0), json!([DEPOSIT_MICROS - 50_000_000, 0]));
    exchange.stop_and_verify_despite(&["some peers did not answer our BYE"]);
}

#[test]
fn a_call_whose_caller_vanishes_ends_and_is_billed() {
    let exchange = Exchange::start_with(SHORT_SESSIONS);
    let target = target("target_answers");
    load(&exchange, &[Buyer::at(target.port)]);
    caller("caller_vanishes").completes(exchange.udp);
    target.succeeds();
    assert_billed_to_the_end(exchange);
}

#[test]
fn a_call_whose_buyer_vanishes_ends_and_is_billed() {
    let exchange = Exchange::start_with(SHORT_SESSIONS);
    let target = target("target_vanishes");
    load(&exchange, &[Buyer::at(target.port)]);
    caller("caller_waits").completes(exchange.udp);
    target.succeeds();
    assert_billed_to_the_end(exchange);
}
