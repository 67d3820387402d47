//! Receipts: one decision, as each role sees it. The other buyer wins at a second price; the buyer, in a deal, is the runner-up
//! and is never rung; a live bidder of the other buyer lost.

use crate::house::{BUYER, House, NUMBER, OTHER_BUYER, SELLER, Who, bid};
use engine::BidderMessage;
use exchange::bid::live::{LiveAnswer, LiveSaid};
use exchange::call::{Arrival, Stated};
use exchange::effect::{Action, Input};
use exchange::id::{BidProfileId, CallId};
use exchange::ledger::money::Micros;
use exchange::phone_number::CallerId;
use serde_json::{Value, json};
use uuid::Uuid;

const CALL: CallId = CallId(Uuid::from_u128(0xca11));
const DEAL: &str = "00000000-0000-0000-0000-00000000dea1";
const LIVE: BidProfileId = BidProfileId(Uuid::from_u128(0x11fe));

async fn with_a_receipt(algorithm: &str) -> House {
    let mut house = House::furnished().await;
    let rules =
        json!({ "auction_type": "second_price", "bidding_deadline_ms": 5_000, "algorithm": algorithm });
    house.ask(Who::Admin, "PUT", "/v1/trading-rules/vertical:roofing", rules).await.expect(200);
    let deal = json!({
        "id": DEAL, "name": "Acme", "active": true, "seller": SELLER, "buyers": [BUYER],
        "floor_micros": 12_000_000, "first_look": false,
    });
    house.ask(Who::Admin, "PUT", &format!("/v1/deals/{DEAL}"), deal).await.expect(200);
    house.ask(Who::OtherBuyer, "POST", "/v1/bid-profiles", bid(OTHER_BUYER, 40)).await.expect(201);
    house.ask(Who::Buyer, "POST", "/v1/bid-profiles", bid(BUYER, 30)).await.expect(201);
    let mut cheap = bid(OTHER_BUYER, 4);
    cheap["criteria"] = json!({ "states": ["FL"] });
    house.ask(Who::OtherBuyer, "POST", "/v1/bid-profiles", cheap).await.expect(201);
    let mut live = bid(OTHER_BUYER, 50);
    live["id"] = json!(LIVE);
    live["live"] = json!({ "via": "connection" });
    house.ask(Who::OtherBuyer, "PUT", &format!("/v1/bid-profiles/{LIVE}"), live).await.expect(200);

    let mut connection = house.engine.live_bidders().connect(vec![LIVE]);
    let arrival = Arrival {
        called: NUMBER.parse().expect("a number"),
        caller: CallerId::from_user_part("+12125550142"),
        trunk: "carrier-7".to_owned(),
        stated: Stated::default(),
    };
    house.engine.call(CALL, Input::Arrived(arrival)).expect("room");
    assert!(matches!(connection.next().await, Some(BidderMessage::Request(_))));
    let said = LiveSaid::Bid { price_micros: Micros::units(20), min_connected_s: None, destination: None };
    house.engine.call(CALL, Input::BidAnswered(LiveAnswer { bid: LIVE, said })).expect("room");
    while !matches!(house.next_action().await, Action::RingTarget { .. }) {}
    house
}

async fn receipt(house: &House, who: Who) -> (Value, String) {
    let answer = house.get(who, &format!("/v1/calls/{CALL}/receipt")).await.expect(200);
    (answer.json, answer.text)
}

/// Each field, and who sees it: `A`dmin, a`N`alyst, the `B`uyer who lost, the `O`ther buyer who won, the `S`eller.
const FIELDS: &[(&str, &str)] = &[
    ("/versions/exchange", "AN"),
    ("/screening/0/rule", "ANOS"),
    ("/decided_in_ns", "ANBOS"),
    ("/auction/auction_type", "ANBOS"),
    ("/auction/algorithm", "AN"),
    ("/auction/quality_adjusted", "AN"),
    ("/auction/floor_micros", "ANS"),
    ("/auction/fraud_score", "ANS"),
    ("/auction/seller_quality", "ANS"),
    ("/auction/considered", "ANBOS"),
    ("/auction/refused/state", "ANS"),
    ("/auction/asked_live_bidders", "ANBOS"),
    ("/auction/live/0/price_micros", "ANO"),
    ("/auction/places", "ANBOS"),
    ("/auction/ranking/0/bid/price/amount_micros", "ANBO"),
    ("/auction/ranking/0/bid/offered/amount_micros", "ANBO"),
    ("/auction/ranking/0/bid/estimate", "AN"),
    ("/auction/lost/0/reason", "ANBO"),
];

#[tokio::test]
async fn each_field_is_for_those_the_matrix_names() {
    let house = with_a_receipt("predictive").await;
    for (who, letter) in [
        (Who::Admin, 'A'),
        (Who::Analyst, 'N'),
        (Who::Buyer, 'B'),
        (Who::OtherBuyer, 'O'),
        (Who::Seller, 'S'),
    ] {
        let (receipt, text) = receipt(&house, who).await;
        for (pointer, seen_by) in FIELDS {
            let is_seen = receipt.pointer(pointer).is_some();
            assert_eq!(is_seen, seen_by.contains(letter), "{who:?} {pointer}: {text}");
        }
    }
    house.get(Who::OtherSeller, &format!("/v1/calls/{CALL}/receipt")).await.expect(404);
    house.get(Who::Nobody, &format!("/v1/calls/{CALL}/receipt")).await.expect(401);
}

#[tokio::test]
async fn nobody_sees_what_is_anothers() {
    let house = with_a_receipt("predictive").await;
    let (buyer, other, seller) = (BUYER.to_string(), OTHER_BUYER.to_string(), SELLER.to_string());
    let live = LIVE.to_string();
    for (who, secrets) in [
        (Who::Buyer, [&other, &seller, &live, "40000000", "5000000,", "20000000"].as_slice()),
        (Who::OtherBuyer, &[&buyer, &seller, DEAL, "12000000", "5000000,"]),
        (Who::Seller, &[&buyer, &other, &live, DEAL, "40000000", "30000000", "20000000", "12000000"]),
    ] {
        let (_, text) = receipt(&house, who).await;
        for secret in secrets {
            assert!(!text.contains(secret), "{who:?} sees {secret}: {text}");
        }
    }
}

#[tokio::test]
async fn a_loser_learns_its_place_and_what_would_have_won_but_not_of_the_call() {
    let house = with_a_receipt("highest_bid").await;
    let (receipt, text) = receipt(&house, Who::Buyer).await;
    let auction = &receipt["auction"];
    assert_eq!(auction["ranking"].as_array().map(Vec::len), Some(1), "{text}");
    assert_eq!(
        (&auction["ranking"][0]["place"], &auction["ranking"][0]["bid"]["deal"]),
        (&json!(2), &json!(DEAL))
    );
    assert_eq!(auction["lost"][0]["reason"], "lost_to_higher_bid");
    let needed = auction["lost"][0]["min_to_win_micros"].as_i64();
    assert!(needed.is_some_and(|needed| needed >= 40_000_000), "{text}");
    assert_eq!(receipt["screening"], json!([]), "it was not a party to the call");
    house.get(Who::Buyer, &format!("/v1/calls/{CALL}")).await.expect(404);
}

#[tokio::test]
async fn receipts_are_listed_by_the_filters_of_calls() {
    let house = with_a_receipt("predictive").await;
    for (who, query, found) in [
        (Who::Admin, String::new(), 1),
        (Who::Analyst, format!("?buyer={OTHER_BUYER}&seller={SELLER}&vertical=roofing"), 1),
        (Who::Admin, format!("?buyer={BUYER}"), 0),
        (Who::Admin, "?to=1577836800000000".to_owned(), 0),
        (Who::Admin, "?outcome=converted".to_owned(), 0),
        (Who::OtherBuyer, String::new(), 1),
        (Who::Buyer, String::new(), 1),
        (Who::Buyer, "?state=ringing".to_owned(), 0),
        (Who::Seller, String::new(), 1),
        (Who::OtherSeller, String::new(), 0),
    ] {
        let listed = house.get(who, &format!("/v1/receipts{query}")).await.expect(200);
        assert_eq!(listed.ids("call").len(), found, "{who:?} {query}");
    }
    let lost = house.get(Who::Buyer, "/v1/receipts").await.expect(200);
    assert_eq!(lost.json["items"][0]["auction"]["lost"][0]["reason"], "lost_by_routing", "{}", lost.text);
    assert_eq!(lost.json["items"][0]["screening"], json!([]), "it was not a party to the call");
    house.get(Who::Seller, &format!("/v1/receipts?buyer={BUYER}")).await.expect(403);
    let of_seller = house.get(Who::Seller, "/v1/receipts").await.expect(200);
    assert!(!of_seller.text.contains(&OTHER_BUYER.to_string()), "{}", of_seller.text);
}
