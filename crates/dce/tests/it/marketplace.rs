//! A small marketplace: one seller, one tracking number, and buyers as the test wants them.

use crate::exchange::Exchange;
use serde_json::{Value, json};

/// The tracking number of every test.
pub(crate) const NUMBER: &str = "+12125550100";
/// What every buyer pays in.
pub(crate) const DEPOSIT_MICROS: i64 = 1_000_000_000;

const SELLER: &str = "00000000-0000-7000-8000-00000000000a";

/// A buyer with one bid.
#[derive(Debug, Clone)]
pub(crate) struct Buyer {
    /// The price of a converted call, in micro-units.
    pub(crate) price_micros: i64,
    /// The buffer, in seconds.
    pub(crate) min_connected_s: u32,
    /// How long its target may ring, in milliseconds; none is the exchange's own.
    pub(crate) ring_timeout_ms: Option<u64>,
    /// The port of its target.
    pub(crate) port: u16,
}

impl Buyer {
    /// Pays 50 dollars after a second.
    pub(crate) fn at(port: u16) -> Self {
        Self { price_micros: 50_000_000, min_connected_s: 1, ring_timeout_ms: None, port }
    }

    /// Pays less than [`Buyer::at`], and so comes second.
    pub(crate) fn fallback_at(port: u16) -> Self {
        Self { price_micros: 40_000_000, ..Self::at(port) }
    }
}

/// Opens the seller's account and lists its number.
pub(crate) fn list_number(exchange: &Exchange) {
    open_account(exchange, SELLER, "seller");
    let number = json!({
        "number": NUMBER, "seller": SELLER, "vertical": "roofing", "origin": "organic_inbound",
        "floor_micros": 1_000_000, "payout_basis_points": 7_000, "active": true,
    });
    exchange.send("PUT", &format!("/v1/tracking-numbers/{NUMBER}"), &number);
}

/// Lists the number, and opens an account with money and a bid for each buyer.
pub(crate) fn load(exchange: &Exchange, buyers: &[Buyer]) {
    list_number(exchange);
    for (index, buyer) in buyers.iter().enumerate() {
        let account = account_of(index);
        open_account(exchange, &account, "buyer");
        let deposit = json!({ "amount_micros": DEPOSIT_MICROS, "reference": "first" });
        exchange.send("POST", &format!("/v1/accounts/{account}/deposits"), &deposit);
        let mut bid = json!({
            "buyer": account, "name": format!("bid {index}"), "status": "active",
            "price": { "type": "per_call", "amount_micros": buyer.price_micros },
            "conversion": { "min_connected_s": buyer.min_connected_s },
            "vertical": "roofing",
            "destination": { "sip_uris": [format!("sip:+18005550100@127.0.0.1:{}", buyer.port)] },
        });
        if let Some(ring_timeout_ms) = buyer.ring_timeout_ms {
            bid["ring_timeout_ms"] = ring_timeout_ms.into();
        }
        exchange.send("POST", "/v1/bid-profiles", &bid);
    }
}

fn account_of(index: usize) -> String {
    format!("00000000-0000-7000-8000-0000000001{index:02}")
}

fn open_account(exchange: &Exchange, id: &str, kind: &str) {
    let account = json!({ "id": id, "kind": kind, "name": kind, "status": "active" });
    exchange.send("POST", "/v1/accounts", &account);
}

/// What buyer number `index` can still spend and has on hold, in micro-units.
pub(crate) fn buyer_balance(exchange: &Exchange, index: usize) -> Value {
    let balance = exchange.get(&format!("/v1/accounts/{}/balance", account_of(index)));
    json!([balance["available_micros"], balance["held_micros"]])
}

/// What the seller has earned, in micro-units.
pub(crate) fn seller_balance(exchange: &Exchange) -> Value {
    exchange.get(&format!("/v1/accounts/{SELLER}/balance"))["payable_micros"].clone()
}
