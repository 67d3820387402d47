//! Tracking numbers and bid profiles.

use crate::house::{BUYER, House, NUMBER, OTHER_BUYER, OTHER_SELLER, SELLER, Who, bid, tracking_number};
use serde_json::{Value, json};

fn with_id(mut bid: Value, id: &str) -> Value {
    bid["id"] = json!(id);
    bid
}

#[tokio::test]
async fn a_number_is_listed_and_found_by_its_seller() {
    let house = House::furnished().await;
    let path = format!("/v1/tracking-numbers/{NUMBER}");
    let found = house.get(Who::Seller, &path).await.expect(200).json;
    assert_eq!(found["payout_basis_points"], 7_000);
    house.get(Who::OtherSeller, &path).await.expect(404);
    assert_eq!(house.get(Who::Seller, "/v1/tracking-numbers").await.expect(200).ids("number"), [NUMBER]);
    assert_eq!(house.get(Who::OtherSeller, "/v1/tracking-numbers").await.expect(200).ids("number").len(), 0);
    let others = format!("/v1/tracking-numbers?seller={SELLER}");
    assert_eq!(house.get(Who::OtherSeller, &others).await.expect(403).fields(), ["seller"]);
}

#[tokio::test]
async fn a_number_is_the_one_in_the_path() {
    let house = House::furnished().await;
    let other = tracking_number("+18005550199", OTHER_SELLER);
    let path = format!("/v1/tracking-numbers/{NUMBER}");
    let problem = house.ask(Who::Admin, "PUT", &path, other).await.expect(422);
    assert_eq!(problem.fields(), ["number"]);
}

#[tokio::test]
async fn a_buyer_places_changes_and_pauses_its_bid() {
    let house = House::furnished().await;
    let mut without_buyer = bid(BUYER, 30);
    without_buyer.as_object_mut().expect("an object").remove("buyer");
    let placed = house.ask(Who::Buyer, "POST", "/v1/bid-profiles", without_buyer).await.expect(201);
    assert_eq!(placed.json["buyer"], json!(BUYER), "its own");
    let path = placed.header("location").to_owned();

    let mut dearer = placed.json.clone();
    dearer["price"]["amount_micros"] = json!(31_000_000);
    house.ask(Who::Buyer, "PUT", &path, dearer.clone()).await.expect(200);
    assert_eq!(house.get(Who::Buyer, &path).await.expect(200).json, dearer);

    let paused = house.ask(Who::Buyer, "PATCH", &path, json!({ "status": "paused" })).await.expect(200);
    assert_eq!(paused.json["status"], "paused");
}

#[tokio::test]
async fn a_buyer_cannot_touch_or_see_anothers_bid() {
    let house = House::furnished().await;
    let placed = house.ask(Who::Buyer, "POST", "/v1/bid-profiles", bid(BUYER, 30)).await.expect(201);
    let (path, id) = (placed.header("location"), placed.json["id"].as_str().expect("an id"));
    house.get(Who::OtherBuyer, path).await.expect(404);
    house.ask(Who::OtherBuyer, "PATCH", path, json!({ "status": "paused" })).await.expect(404);
    let taken_over = with_id(bid(OTHER_BUYER, 1), id);
    house.ask(Who::OtherBuyer, "PUT", path, taken_over).await.expect(404);
    let in_anothers_name =
        house.ask(Who::OtherBuyer, "POST", "/v1/bid-profiles", bid(BUYER, 1)).await.expect(403);
    assert_eq!(in_anothers_name.fields(), ["buyer"]);
    assert_eq!(house.get(Who::OtherBuyer, "/v1/bid-profiles").await.expect(200).ids("id").len(), 0);
    assert_eq!(house.get(Who::Admin, path).await.expect(200).json, placed.json, "as it was");
}

#[tokio::test]
async fn every_invalid_field_is_told_at_once() {
    let house = House::furnished().await;
    let mut wrong = bid(BUYER, -1);
    wrong["name"] = json!("");
    wrong["destination"]["sip_uris"] = json!([]);
    wrong["ring_timeout_ms"] = json!(1);
    let problem = house.ask(Who::Buyer, "POST", "/v1/bid-profiles", wrong).await.expect(422);
    let fields = problem.fields();
    for field in ["name", "price.amount_micros", "destination.sip_uris", "ring_timeout_ms"] {
        assert!(fields.contains(&field), "{field} is not in {fields:?}");
    }
}

#[tokio::test]
async fn a_misspelt_or_missing_field_is_named() {
    let house = House::furnished().await;
    let mut misspelt = bid(BUYER, 30);
    misspelt["criteria"] = json!({ "verticals": "roofing" });
    let mut missing = bid(BUYER, 30);
    missing["conversion"] = json!({});
    let mut wrong_type = bid(BUYER, 30);
    wrong_type["priority"] = json!("first");
    let mut with_id = bid(BUYER, 30);
    with_id["id"] = json!(BUYER);
    for (body, field) in [
        (misspelt, "criteria.verticals"),
        (missing, "conversion.min_connected_s"),
        (wrong_type, "priority"),
        (with_id, "id"),
    ] {
        let problem = house.ask(Who::Buyer, "POST", "/v1/bid-profiles", body).await.expect(422);
        assert_eq!(problem.fields(), [field], "{}", problem.text);
    }
}

#[tokio::test]
async fn objects_have_named_fields_however_deep_they_are() {
    let house = House::furnished().await;
    let mut by_position = bid(BUYER, 30);
    by_position["conversion"] = json!([90]);
    let refused = house.ask(Who::Buyer, "POST", "/v1/bid-profiles", by_position.clone()).await.expect(422);
    assert_eq!(refused.fields(), ["conversion"]);
    let id = "00000000-0000-0000-0000-0000000000b9";
    let refused =
        house.ask(Who::Buyer, "PUT", &format!("/v1/bid-profiles/{id}"), with_id(by_position, id)).await;
    assert_eq!(refused.expect(422).fields(), ["conversion"]);
}

#[tokio::test]
async fn what_opens_a_live_bidders_doors_is_for_its_buyer_and_for_operators() {
    let house = House::furnished().await;
    let mut placed = bid(BUYER, 20);
    placed["live"] = json!({ "via": { "http": {
        "url": "https://bidder.example.com/ping?key=opensesame", "headers": { "X-Api-Key": "opensesame" },
    } } });
    let id = house.ask(Who::Buyer, "POST", "/v1/bid-profiles", placed).await.expect(201).json["id"].clone();
    let path = format!("/v1/bid-profiles/{}", id.as_str().expect("an id"));
    for (who, sees_secrets) in [(Who::Admin, true), (Who::Buyer, true), (Who::Analyst, false)] {
        for path in [path.as_str(), "/v1/bid-profiles"] {
            let text = house.get(who, path).await.expect(200).text;
            assert_eq!(text.contains("opensesame"), sees_secrets, "{who:?} {path}");
            assert!(text.contains("bidder.example.com"), "{who:?} {path}");
        }
    }
}
