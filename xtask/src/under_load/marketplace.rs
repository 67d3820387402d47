//! The marketplace of the crash run, loaded over the API: one seller, one number, three buyers.

use super::http::Api;
use anyhow::Result;
use serde_json::{Value, json};

/// The number every call is for.
pub(crate) const NUMBER: &str = "+12125550100";

const SELLER: &str = "00000000-0000-7000-8000-00000000000a";
/// Enough for every call of the longest run.
const FIRST_DEPOSIT_MICROS: i64 = 10_000_000_000_000;
/// The buyers' buffers, in seconds. Calls last 0.3 to 2.2 s, and kills end many of them earlier.
const BUFFERS_S: [u32; 3] = [1, 0, 1];

/// A buyer and the port of its target.
#[derive(Debug, Clone)]
pub(crate) struct Buyer {
    pub(crate) account: String,
    pub(crate) port: u16,
    price: Value,
}

/// Three buyers, the two that pay most with a cap each, so that all of them get calls.
pub(crate) fn load(api: &Api) -> Result<Vec<Buyer>> {
    open_account(api, SELLER, "seller")?;
    let number = json!({
        "number": NUMBER, "seller": SELLER, "vertical": "roofing", "origin": "organic_inbound",
        "floor_micros": 1_000_000, "payout_basis_points": 7_000, "active": true,
    });
    api.send("PUT", &format!("/v1/tracking-numbers/{NUMBER}"), &number)?;
    let per_minute = json!({
        "type": "per_minute", "rate_micros": 9_000_000, "first_increment_s": 1, "next_increment_s": 1,
    });
    let prices = [
        json!({ "type": "per_call", "amount_micros": 50_000_000 }),
        per_minute,
        json!({ "type": "per_call", "amount_micros": 20_000_000 }),
    ];
    let mut buyers = Vec::new();
    for (index, price) in prices.into_iter().enumerate() {
        let account = format!("00000000-0000-7000-8000-0000000001{index:02}");
        let buyer = Buyer { account, port: super::load::free_port()?, price };
        enter(api, &buyer, index)?;
        buyers.push(buyer);
    }
    Ok(buyers)
}

/// One buyer that takes any number of calls, for ten minutes each.
pub(crate) fn load_for_long_calls(api: &Api) -> Result<Buyer> {
    let last = load(api)?.pop().expect("three buyers");
    api.list("/v1/bid-profiles", |bid| {
        let mut bid = bid.clone();
        bid["max_call_s"] = json!(600);
        if bid["buyer"] != last.account.as_str() {
            bid["status"] = json!("paused");
        }
        let id = bid["id"].as_str().unwrap_or_default();
        api.send("PUT", &format!("/v1/bid-profiles/{id}"), &bid)
    })?;
    Ok(last)
}

fn enter(api: &Api, buyer: &Buyer, index: usize) -> Result<()> {
    let Buyer { account, port, price } = buyer;
    open_account(api, account, "buyer")?;
    let deposit = json!({ "amount_micros": FIRST_DEPOSIT_MICROS, "reference": "first" });
    api.send("POST", &format!("/v1/accounts/{account}/deposits"), &deposit)?;
    let mut bid = json!({
        "buyer": account, "name": format!("bid {index}"), "status": "active", "price": price,
        "conversion": { "min_connected_s": BUFFERS_S[index] },
        "vertical": "roofing",
        "destination": { "sip_uris": [format!("sip:target@127.0.0.1:{port}")] },
        "ring_timeout_ms": 5_000, "max_call_s": 60,
    });
    if index < 2 {
        bid["caps"] = json!({ "concurrent_calls": 20 });
    }
    api.send("POST", "/v1/bid-profiles", &bid)
}

fn open_account(api: &Api, id: &str, kind: &str) -> Result<()> {
    let account = json!({ "id": id, "kind": kind, "name": kind, "status": "active" });
    api.send("POST", "/v1/accounts", &account)
}
