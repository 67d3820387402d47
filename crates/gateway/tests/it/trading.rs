//! Trading rules, deals and cap groups.

use crate::house::{BUYER, House, NUMBER, OTHER_BUYER, OTHER_SELLER, SELLER, Who, bid};
use serde_json::{Value, json};

const DEAL: &str = "00000000-0000-0000-0000-00000000dea1";
const GROUP: &str = "00000000-0000-0000-0000-0000000000ca";

#[tokio::test]
async fn rules_are_set_for_a_vertical_a_seller_or_a_number() {
    let house = House::furnished().await;
    let second_price = json!({ "auction_type": "second_price", "floor_micros": 25_000_000 });
    let scopes = [
        ("vertical:roofing".to_owned(), json!({ "vertical": "roofing" })),
        (format!("seller:{SELLER}"), json!({ "seller": SELLER })),
        (format!("number:{NUMBER}"), json!({ "number": NUMBER })),
    ];
    for (scope, in_body) in &scopes {
        let path = format!("/v1/trading-rules/{scope}");
        house.get(Who::Analyst, &path).await.expect(404);
        let set = house.ask(Who::Admin, "PUT", &path, second_price.clone()).await.expect(200).json;
        assert_eq!((&set["scope"], &set["auction_type"]), (in_body, &json!("second_price")));
        assert_eq!(house.get(Who::Analyst, &path).await.expect(200).json, set);
    }
    let listed = house.get(Who::Analyst, "/v1/trading-rules?limit=2").await.expect(200).json;
    let first: Vec<&Value> =
        listed["items"].as_array().expect("items").iter().map(|item| &item["scope"]).collect();
    assert_eq!(first, [&scopes[2].1, &scopes[1].1], "in the order of their texts");
    let next = listed["next"].as_str().expect("a cursor");
    let rest = house.get(Who::Analyst, &format!("/v1/trading-rules?after={next}")).await.expect(200).json;
    assert_eq!(rest["items"][0]["scope"], scopes[0].1);
}

#[tokio::test]
async fn rules_that_cannot_be_are_refused_by_field() {
    let house = House::furnished().await;
    let unknown_seller = format!("seller:{BUYER}");
    let cases = [
        ("roofing", json!({}), 400, "path"),
        ("color:red", json!({}), 400, "path"),
        ("vertical:Roofs%20etc", json!({}), 422, "scope.vertical"),
        ("number:+18005550199", json!({}), 422, "scope.number"),
        (unknown_seller.as_str(), json!({}), 422, "scope.seller"),
        ("vertical:roofing", json!({ "scope": { "vertical": "medicare" } }), 422, "scope"),
        ("vertical:roofing", json!({ "auction_type": "fixed_price" }), 422, "floor_micros"),
        ("vertical:roofing", json!({ "bidding_deadline_ms": 60_000 }), 422, "bidding_deadline_ms"),
        ("vertical:roofing", json!({ "flor_micros": 1 }), 422, "flor_micros"),
    ];
    for (scope, rules, status, field) in cases {
        let path = format!("/v1/trading-rules/{scope}");
        let problem = house.ask(Who::Admin, "PUT", &path, rules).await.expect(status);
        assert_eq!(problem.fields(), [field], "{scope}: {}", problem.text);
    }
}

fn deal() -> Value {
    json!({
        "id": DEAL,
        "name": "Acme first",
        "active": true,
        "seller": SELLER,
        "vertical": "roofing",
        "buyers": [BUYER],
        "floor_micros": 12_000_000,
        "first_look": true,
    })
}

#[tokio::test]
async fn a_deal_is_seen_by_those_in_it_as_far_as_it_is_theirs() {
    let house = House::furnished().await;
    let path = format!("/v1/deals/{DEAL}");
    house.ask(Who::Admin, "PUT", &path, deal()).await.expect(200);
    house.ask(Who::Admin, "PUT", &path, deal()).await.expect(200);
    assert_eq!(house.get(Who::Analyst, &path).await.expect(200).json, deal());

    let of_seller = house.get(Who::Seller, &path).await.expect(200);
    assert_eq!((&of_seller.json["name"], &of_seller.json["buyers"]), (&json!("Acme first"), &Value::Null));
    assert!(!of_seller.text.contains(&BUYER.to_string()));
    let of_buyer = house.get(Who::Buyer, &path).await.expect(200).json;
    assert_eq!(of_buyer, json!({ "id": DEAL, "active": true, "floor_micros": 12_000_000 }));
    for (who, sees) in [
        (Who::Admin, 1),
        (Who::Analyst, 1),
        (Who::Buyer, 1),
        (Who::OtherBuyer, 0),
        (Who::Seller, 1),
        (Who::OtherSeller, 0),
    ] {
        assert_eq!(house.get(who, "/v1/deals").await.expect(200).ids("id").len(), sees, "{who:?}");
        house.get(who, &path).await.expect(if sees == 1 { 200 } else { 404 });
    }
    for (query, found) in [
        (format!("?seller={SELLER}&buyer={BUYER}"), 1),
        (format!("?buyer={OTHER_BUYER}"), 0),
        (format!("?seller={OTHER_SELLER}"), 0),
    ] {
        let listed = house.get(Who::Admin, &format!("/v1/deals{query}")).await.expect(200);
        assert_eq!(listed.ids("id").len(), found, "{query}");
    }
    house.get(Who::Buyer, &format!("/v1/deals?seller={SELLER}")).await.expect(403);
    house.get(Who::Seller, &format!("/v1/deals?buyer={BUYER}")).await.expect(403);
}

#[tokio::test]
async fn a_deal_that_cannot_be_is_refused_by_field() {
    let house = House::furnished().await;
    let path = format!("/v1/deals/{DEAL}");
    for (field, value) in [
        ("id", json!(GROUP)),
        ("buyers", json!([SELLER])),
        ("buyers", json!([])),
        ("seller", json!(BUYER)),
        ("floor_micros", json!(-1)),
    ] {
        let mut wrong = deal();
        wrong[field] = value;
        let problem = house.ask(Who::Admin, "PUT", &path, wrong).await.expect(422);
        assert_eq!(problem.fields(), [field], "{}", problem.text);
    }
}

#[tokio::test]
async fn a_buyer_keeps_its_own_cap_groups() {
    let house = House::furnished().await;
    let path = format!("/v1/cap-groups/{GROUP}");
    let group = json!({
        "id": GROUP,
        "buyer": BUYER,
        "name": "all roofs",
        "time_zone": "America/New_York",
        "concurrent_calls": 3,
        "limits": [{ "per": "day", "calls": 50 }],
    });
    house.ask(Who::Buyer, "PUT", &path, group.clone()).await.expect(200);
    assert_eq!(house.get(Who::Buyer, &path).await.expect(200).json, group);
    assert_eq!(house.get(Who::Analyst, "/v1/cap-groups").await.expect(200).ids("id"), [GROUP]);

    house.get(Who::OtherBuyer, &path).await.expect(404);
    assert_eq!(house.get(Who::OtherBuyer, "/v1/cap-groups").await.expect(200).ids("id").len(), 0);
    let others = house.ask(Who::OtherBuyer, "PUT", &path, group.clone()).await.expect(403);
    assert_eq!(others.fields(), ["buyer"]);
    let mut taken_over = group.clone();
    taken_over["buyer"] = json!(OTHER_BUYER);
    house.ask(Who::OtherBuyer, "PUT", &path, taken_over).await.expect(404);

    let mut member = bid(BUYER, 30);
    member["caps"] = json!({ "group": GROUP });
    house.ask(Who::Buyer, "POST", "/v1/bid-profiles", member).await.expect(201);
    let mut stranger = bid(OTHER_BUYER, 30);
    stranger["caps"] = json!({ "group": GROUP });
    let refused = house.ask(Who::OtherBuyer, "POST", "/v1/bid-profiles", stranger).await.expect(422);
    assert_eq!(refused.fields(), ["caps.group"]);
}
