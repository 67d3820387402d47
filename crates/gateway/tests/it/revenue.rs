//! A call sold for a share of its buyer's revenue, and the report of that.

use crate::calls::{CALL, talk_through};
use crate::house::{BUYER, House, OTHER_BUYER, SELLER, Who, bid};
use serde_json::{Value, json};

/// 15 % of the revenue, at least 5 and at most 40.
fn share() -> Value {
    let mut share = bid(BUYER, 0);
    share["price"] = json!({
        "type": "revenue_share",
        "share_basis_points": 1_500,
        "min_micros": 5_000_000,
        "max_micros": 40_000_000,
        "expected_micros": 20_000_000,
    });
    share
}

/// A house in which the buyer has bought a call, and talked it through.
async fn with_a_call(bid: Value) -> House {
    let mut house = House::furnished().await;
    house.ask(Who::Buyer, "POST", "/v1/bid-profiles", bid).await.expect(201);
    talk_through(&mut house).await;
    house
}

async fn report(house: &House, who: Who, report: Value) -> crate::house::Answer {
    house.ask(who, "POST", &format!("/v1/calls/{CALL}/revenue"), report).await
}

async fn balance(house: &House, who: Who, account: exchange::id::AccountId) -> Value {
    house.get(who, &format!("/v1/accounts/{account}/balance")).await.expect(200).json
}

#[tokio::test]
async fn the_share_of_a_reported_revenue_is_charged_once() {
    let house = with_a_call(share()).await;
    let call = house.get(Who::Buyer, &format!("/v1/calls/{CALL}")).await.expect(200).json;
    assert_eq!((&call["charge_micros"], &call["revenue"]["stage"]), (&json!(5_000_000), &json!("awaited")));
    assert_eq!(call["revenue"]["held_micros"], 35_000_000);
    assert_eq!(balance(&house, Who::Buyer, BUYER).await["held_micros"], 35_000_000);

    let first = json!({ "revenue": "200.00", "reference": "sale 7" });
    let reported = report(&house, Who::Buyer, first.clone()).await.expect(200).json;
    assert_eq!(reported["charge_micros"], 30_000_000);
    let revenue = &reported["revenue"];
    assert_eq!((&revenue["stage"], &revenue["added_micros"]), (&json!("reported"), &json!(25_000_000)));
    assert_eq!((&revenue["revenue_micros"], &revenue["reference"]), (&json!(200_000_000), &json!("sale 7")));
    assert_eq!(report(&house, Who::Buyer, first).await.expect(200).json, reported, "the same again");
    assert_eq!(
        report(&house, Who::Admin, json!({ "revenue": 200 })).await.expect(200).json["charge_micros"],
        30_000_000
    );
    let refused = report(&house, Who::Buyer, json!({ "revenue": "10" })).await.expect(409);
    let detail = refused.json["detail"].as_str().unwrap_or_default();
    assert!(detail.starts_with("a revenue of 200.00 was reported at 20"), "{detail}");

    let buyer = balance(&house, Who::Buyer, BUYER).await;
    assert_eq!((&buyer["held_micros"], &buyer["available_micros"]), (&json!(0), &json!(470_000_000)));
    assert_eq!(balance(&house, Who::Seller, SELLER).await["payable_micros"], 21_000_000);
    let moved = house.get(Who::Admin, &format!("/v1/calls/{CALL}/transfers")).await.expect(200);
    let items = moved.json["items"].as_array().expect("items");
    let moved: Vec<(&str, i64)> = items
        .iter()
        .map(|item| {
            let reason = item["reason"]["reason"].as_str().unwrap_or_default();
            (reason, item["amount_micros"].as_i64().unwrap_or_default())
        })
        .collect();
    let expected = [
        ("hold", 40_000_000),
        ("payout", 3_500_000),
        ("margin", 1_500_000),
        ("revenue_payout", 17_500_000),
        ("revenue_margin", 7_500_000),
        ("release", 10_000_000),
    ];
    assert_eq!(moved, expected);
    let events = house.get(Who::Admin, "/v1/events?limit=200").await.expect(200).json;
    let reports = events["items"].as_array().expect("items").iter();
    let reports: Vec<_> = reports.filter(|event| event["type"] == "call.revenue_reported").collect();
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0]["data"]["added_micros"], 25_000_000, "{}", reports[0]);
    assert_eq!(house.verify().violations, Vec::<String>::new());
}

#[tokio::test]
async fn a_seller_sees_what_it_earned_and_nothing_of_the_revenue() {
    let house = with_a_call(share()).await;
    report(&house, Who::Buyer, json!({ "revenue": "123.45", "reference": "sale 7" })).await.expect(200);
    let call = house.get(Who::Seller, &format!("/v1/calls/{CALL}")).await.expect(200);
    assert_eq!((&call.json["payout_micros"], &call.json["revenue"]), (&json!(12_962_250), &Value::Null));
    for secret in ["123450000", "sale 7", "18517500", &BUYER.to_string()] {
        assert!(!call.text.contains(secret), "a seller sees {secret}: {}", call.text);
    }
}

#[tokio::test]
async fn many_reports_at_once_are_one() {
    let house = with_a_call(share()).await;
    let (one, other) = (json!({ "revenue": "100" }), json!({ "revenue": "200" }));
    let reports = [&one, &other, &one, &other].map(|revenue| report(&house, Who::Buyer, revenue.clone()));
    let [a, b, c, d] = reports;
    let (a, b, c, d) = tokio::join!(a, b, c, d);
    let statuses = [a, b, c, d].map(|answer| answer.status.as_u16());
    assert!(statuses == [200, 409, 200, 409] || statuses == [409, 200, 409, 200], "{statuses:?}");
    assert_eq!(house.verify().violations, Vec::<String>::new());
}

#[tokio::test]
async fn a_report_that_cannot_be_is_refused_with_the_reason() {
    let house = with_a_call(bid(BUYER, 30)).await;
    for (who, body, status, words) in [
        (Who::Buyer, json!({ "revenue": "200" }), 409, "not sold for a share of its revenue"),
        (Who::Admin, json!({ "revenue": "200" }), 409, "not sold for a share of its revenue"),
        (Who::OtherBuyer, json!({ "revenue": "200" }), 404, "no such call"),
        (Who::Seller, json!({ "revenue": "200" }), 403, "seller"),
        (Who::Buyer, json!({ "revenue": "a lot" }), 422, "revenue is not an amount"),
        (Who::Buyer, json!({ "revenue": [200] }), 422, "revenue is neither text nor number"),
        (Who::Buyer, json!({}), 422, "revenue is missing"),
        (Who::Buyer, json!({ "revenue": 1, "revenues": 2 }), 422, "revenues is unknown"),
    ] {
        let answer = report(&house, who, body.clone()).await.expect(status);
        let detail = answer.json["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(words), "{who:?} {body}: {detail}");
    }
    let share = with_a_call(share()).await;
    for (body, field) in [
        (json!({ "revenue": "-1" }), "revenue"),
        (json!({ "revenue": "9300000000" }), "revenue"),
        (json!({ "revenue": "1", "reference": "" }), "reference"),
        (json!({ "revenue": "1", "reference": "x".repeat(101) }), "reference"),
    ] {
        let answer = report(&share, Who::Buyer, body).await.expect(422);
        assert_eq!(answer.fields(), [field], "{}", answer.text);
    }
    assert_eq!(balance(&share, Who::Admin, BUYER).await["held_micros"], 35_000_000, "it is still awaited");
}

#[tokio::test]
async fn a_bid_may_say_how_long_a_report_takes() {
    let house = House::furnished().await;
    for (report_within_s, status) in [(59, 422), (60, 201), (2_592_000, 201), (2_592_001, 422)] {
        let mut bid = share();
        bid["buyer"] = json!(OTHER_BUYER);
        bid["price"]["report_within_s"] = json!(report_within_s);
        let placed = house.ask(Who::OtherBuyer, "POST", "/v1/bid-profiles", bid).await.expect(status);
        if status == 422 {
            assert_eq!(placed.fields(), ["price.report_within_s"]);
        }
    }
    let placed = house.ask(Who::Buyer, "POST", "/v1/bid-profiles", share()).await.expect(201);
    assert_eq!(placed.json["price"]["report_within_s"], 86_400, "a day, when it does not say");
}
