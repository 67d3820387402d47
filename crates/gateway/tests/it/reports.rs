//! Reports: what calls came to, as each role may see it.

use crate::calls::{CALL, talk_through};
use crate::house::{BUYER, House, OTHER_BUYER, SELLER, Who, bid};
use serde_json::{Value, json};

/// A house in which the buyer has bought a call for 30.00, disputed it, and was right; all of it is in the roll-ups.
async fn with_a_call() -> House {
    let mut house = House::furnished().await;
    house.ask(Who::Buyer, "POST", "/v1/bid-profiles", bid(BUYER, 30)).await.expect(201);
    talk_through(&mut house).await;
    let path = format!("/v1/calls/{CALL}/dispute");
    house.ask(Who::Buyer, "POST", &path, json!({ "reason": "spam" })).await.expect(200);
    house.ask(Who::Admin, "PUT", &path, json!({ "upheld": true })).await.expect(200);
    house.roll_up();
    house
}

/// The one row of a report.
async fn row(house: &House, who: Who, query: &str) -> Value {
    let report = house.get(who, &format!("/v1/reports/calls{query}")).await.expect(200).json;
    assert_eq!(report["more"], false);
    let [row] = &report["rows"].as_array().expect("rows")[..] else { panic!("{report}") };
    let mut row = row.clone();
    let fields = row.as_object_mut().expect("an object");
    fields.remove("start").expect("a moment");
    fields.remove("connected_ms").expect("a duration");
    row
}

#[tokio::test]
async fn each_role_sees_its_own_and_never_the_other_sides_price() {
    let house = with_a_call().await;
    let of_all = json!({
        "received": 1, "refused": 0, "unsold": 0, "unanswered": 0, "abandoned": 0, "routed": 1, "bridged": 1, "converted": 1,
        "charged_micros": 30_000_000, "paid_micros": 21_000_000, "margin_micros": 9_000_000,
        "refunded_micros": 30_000_000, "refunded_payout_micros": 21_000_000,
    });
    for who in [Who::Admin, Who::Analyst] {
        assert_eq!(row(&house, who, "").await, of_all);
        assert_eq!(row(&house, who, "?step=hour").await, of_all);
    }
    let of_seller = json!({
        "received": 1, "refused": 0, "unsold": 0, "unanswered": 0, "abandoned": 0, "routed": 1, "bridged": 1, "converted": 1,
        "paid_micros": 21_000_000, "refunded_payout_micros": 21_000_000,
    });
    assert_eq!(row(&house, Who::Seller, "").await, of_seller);
    let of_buyer = json!({
        "routed": 1, "bridged": 1, "converted": 1, "charged_micros": 30_000_000, "refunded_micros": 30_000_000,
    });
    assert_eq!(row(&house, Who::Buyer, "").await, of_buyer);
    let by_vertical = row(&house, Who::Buyer, "?by=vertical").await;
    assert_eq!(by_vertical["vertical"], "roofing");
    for who in [Who::OtherBuyer, Who::OtherSeller] {
        let report = house.get(who, "/v1/reports/calls").await.expect(200).json;
        assert_eq!(report["rows"], json!([]), "{who:?} had no part in it");
    }
    assert!(house.verify().roll_ups_compared);
    assert_eq!(house.verify().violations, Vec::<String>::new());
}

#[tokio::test]
async fn rows_are_told_apart_by_either_side_for_the_house_alone() {
    let house = with_a_call().await;
    let by_seller = row(&house, Who::Admin, "?by=seller").await;
    assert_eq!((&by_seller["seller"], &by_seller["received"]), (&json!(SELLER), &json!(1)));
    let by_buyer = house.get(Who::Admin, "/v1/reports/calls?by=buyer").await.expect(200).json;
    let rows = by_buyer["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 2, "the buyer's, and what was nobody's yet: {rows:?}");
    assert_eq!((&rows[0]["buyer"], &rows[0]["received"]), (&Value::Null, &json!(1)));
    assert_eq!((&rows[1]["buyer"], &rows[1]["charged_micros"]), (&json!(BUYER), &json!(30_000_000)));
    let only = row(&house, Who::Admin, &format!("?buyer={BUYER}&vertical=roofing")).await;
    assert_eq!((&only["received"], &only["converted"]), (&json!(0), &json!(1)));

    let refused = house.get(Who::Seller, "/v1/reports/calls?by=buyer").await.expect(403);
    assert_eq!(refused.fields(), ["by"]);
    house.get(Who::Buyer, "/v1/reports/calls?by=seller").await.expect(403);
    house.get(Who::Buyer, &format!("/v1/reports/calls?buyer={OTHER_BUYER}")).await.expect(403);
    house.get(Who::Seller, &format!("/v1/reports/calls?buyer={BUYER}")).await.expect(403);
}

#[tokio::test]
async fn a_report_is_about_a_bounded_time() {
    let house = House::furnished().await;
    for (query, status) in [
        ("?from=2026-01-01T00:00:00Z&to=2026-01-31T00:00:00Z&step=hour", 200),
        ("?from=2026-01-01T00:00:00Z&to=2026-03-01T00:00:00Z&step=hour", 422),
        ("?from=2026-01-01T00:00:00Z&to=2026-03-01T00:00:00Z", 200),
        ("?from=2020-01-01T00:00:00Z&to=2026-03-01T00:00:00Z", 422),
        ("?from=2026-03-01T00:00:00Z&to=2026-03-01T00:00:00Z", 422),
    ] {
        let answer = house.get(Who::Admin, &format!("/v1/reports/calls{query}")).await.expect(status);
        if status == 422 {
            assert_eq!(answer.fields(), ["from"], "{query}");
        }
    }
    house.get(Who::Admin, "/v1/reports/calls?step=week").await.expect(400);
}
