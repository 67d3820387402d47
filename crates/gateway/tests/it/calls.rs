//! Calls, receipts and transfers: one call that fell back once and converted, as each role sees it.

use crate::house::{Answer, BUYER, House, OTHER_BUYER, SELLER, Who, bid};
use crate::live_bids::ring;
use exchange::call::FailureCause;
use exchange::effect::{Action, EndReason, Input};
use exchange::id::CallId;
use serde_json::{Value, json};
use uuid::Uuid;

pub(crate) const CALL: CallId = CallId(Uuid::from_u128(0xca11));
const CALLER: &str = "+12125550142";

/// The other buyer bids more but is busy; the buyer answers and pays 30.
async fn with_a_call() -> House {
    let mut house = House::furnished().await;
    house.ask(Who::OtherBuyer, "POST", "/v1/bid-profiles", bid(OTHER_BUYER, 40)).await.expect(201);
    house.ask(Who::Buyer, "POST", "/v1/bid-profiles", bid(BUYER, 30)).await.expect(201);
    ring(&house, CALL, CALLER);
    wait_for(&mut house, |action| matches!(action, Action::RingTarget { attempt: 1, .. })).await;
    let busy = Input::TargetFailed { attempt: 1, cause: FailureCause::Busy };
    house.engine.call(CALL, busy).expect("room");
    wait_for(&mut house, |action| matches!(action, Action::RingTarget { attempt: 2, .. })).await;
    house.engine.call(CALL, Input::TargetAnswered { attempt: 2 }).expect("room");
    wait_for(&mut house, |action| matches!(action, Action::ConnectCaller { .. })).await;
    house.engine.call(CALL, Input::CallerHungUp).expect("room");
    wait_for(&mut house, |action| matches!(action, Action::EndCall { reason: EndReason::Over { .. } })).await;
    house
}

/// A call for which the first bid rings, answers and talks.
pub(crate) async fn talk_through(house: &mut House) {
    ring(house, CALL, CALLER);
    house.engine.call(CALL, Input::TargetAnswered { attempt: 1 }).expect("room");
    house.engine.call(CALL, Input::CallerHungUp).expect("room");
    wait_for(house, |action| matches!(action, Action::EndCall { reason: EndReason::Over { .. } })).await;
}

async fn wait_for(house: &mut House, wanted: impl Fn(&Action) -> bool) {
    for _ in 0..20 {
        if wanted(&house.next_action().await) {
            return;
        }
    }
    panic!("the action did not come");
}

async fn call_as(house: &House, who: Who) -> Answer {
    house.get(who, &format!("/v1/calls/{CALL}")).await.expect(200)
}

#[tokio::test]
async fn the_house_sees_everything_but_an_analyst_no_callers() {
    let house = with_a_call().await;
    let call = call_as(&house, Who::Admin).await.json;
    assert_eq!((&call["outcome"], &call["caller"]), (&json!("converted"), &json!(CALLER)));
    assert_eq!(call["charge_micros"], 30_000_000);
    assert_eq!(call["payout_micros"], 21_000_000);
    assert_eq!(call["margin_micros"], 9_000_000);
    assert_eq!(call["attempts"][0]["failure"]["cause"], "busy");
    assert_eq!(call["attempts"][1]["terms"]["buyer"], json!(BUYER));

    let masked = call_as(&house, Who::Analyst).await;
    assert!(!masked.text.contains(CALLER), "{}", masked.text);
    assert_eq!(masked.json["margin_micros"], 9_000_000);
    for path in ["/v1/calls", "/v1/events"] {
        let listed = house.get(Who::Analyst, path).await.expect(200);
        assert!(!listed.text.contains(CALLER), "{path} shows the caller");
    }
}

#[tokio::test]
async fn a_seller_sees_its_payout_and_no_buyers() {
    let house = with_a_call().await;
    let call = call_as(&house, Who::Seller).await;
    assert_eq!(call.json["payout_micros"], 21_000_000);
    assert_eq!(call.json["attempts"].as_array().map(Vec::len), Some(2), "that it rang twice is no secret");
    let receipt = house.get(Who::Seller, &format!("/v1/calls/{CALL}/receipt")).await.expect(200);
    assert_eq!(
        (&receipt.json["auction"]["places"], &receipt.json["auction"]["ranking"]),
        (&json!(2), &json!([]))
    );
    let moved = house.get(Who::Seller, &format!("/v1/calls/{CALL}/transfers")).await.expect(200);
    assert_eq!(moved.json["items"].as_array().map(Vec::len), Some(1), "its payout: {}", moved.text);
    let statement = house.get(Who::Seller, &format!("/v1/accounts/{SELLER}/transfers")).await.expect(200);
    let balance = house.get(Who::Seller, &format!("/v1/accounts/{SELLER}/balance")).await.expect(200);
    assert_eq!(balance.json["payable_micros"], 21_000_000);
    for answer in [&call, &receipt, &moved, &statement] {
        for secret in [&BUYER.to_string(), &OTHER_BUYER.to_string(), "30000000", "40000000", "9000000"] {
            assert!(!answer.text.contains(secret), "a seller sees {secret}: {}", answer.text);
        }
    }
    house.get(Who::OtherSeller, &format!("/v1/calls/{CALL}")).await.expect(404);
}

#[tokio::test]
async fn a_buyer_sees_its_charge_and_neither_payout_nor_rivals() {
    let house = with_a_call().await;
    let call = call_as(&house, Who::Buyer).await;
    assert_eq!(
        (&call.json["outcome"], &call.json["charge_micros"]),
        (&json!("converted"), &json!(30_000_000))
    );
    assert_eq!(call.json["attempts"].as_array().map(Vec::len), Some(1), "its own");
    let receipt = house.get(Who::Buyer, &format!("/v1/calls/{CALL}/receipt")).await.expect(200);
    assert_eq!(receipt.json["auction"]["ranking"][0]["place"], 2);
    let moved = house.get(Who::Buyer, &format!("/v1/calls/{CALL}/transfers")).await.expect(200);
    let statement = house.get(Who::Buyer, &format!("/v1/accounts/{BUYER}/transfers")).await.expect(200);
    let items = statement.json["items"].as_array().expect("items");
    let line = |item: &Value| (item["reason"]["reason"].clone(), item["amount_micros"].clone());
    let lines: Vec<_> = items.iter().map(line).collect();
    let expected = [("charge", 30_000_000), ("hold", 30_000_000), ("deposit", 500_000_000)]
        .map(|(why, micros)| (json!(why), json!(micros)));
    assert_eq!(lines, expected, "the whole statement: {}", statement.text);
    let of_call: Vec<_> = moved.json["items"].as_array().expect("items").iter().map(line).collect();
    assert_eq!(of_call, [expected[1].clone(), expected[0].clone()]);
    let mut paged = Vec::new();
    let mut after = String::new();
    loop {
        let page = house
            .get(Who::Buyer, &format!("/v1/accounts/{BUYER}/transfers?limit=1{after}"))
            .await
            .expect(200);
        paged.extend(page.json["items"].as_array().expect("items").iter().map(line));
        let Some(next) = page.json["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(paged, expected, "page by page");
    for answer in [&call, &receipt, &moved, &statement] {
        for secret in
            [&OTHER_BUYER.to_string(), &SELLER.to_string(), "40000000", "21000000", "9000000", "5000000,"]
        {
            assert!(!answer.text.contains(secret), "a buyer sees {secret}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn a_buyer_that_was_busy_is_not_told_what_became_of_the_call() {
    let house = with_a_call().await;
    let call = call_as(&house, Who::OtherBuyer).await;
    assert_eq!(call.json["attempts"][0]["failure"]["cause"], "busy");
    assert_eq!((&call.json["outcome"], &call.json["ended_at"]), (&Value::Null, &Value::Null));
    assert!(!call.text.contains(&BUYER.to_string()) && !call.text.contains("30000000"), "{}", call.text);
    let moved = house.get(Who::OtherBuyer, &format!("/v1/calls/{CALL}/transfers")).await.expect(200);
    let reasons: Vec<_> = moved.json["items"]
        .as_array()
        .expect("items")
        .iter()
        .filter_map(|item| item["reason"]["reason"].as_str())
        .collect();
    assert_eq!(reasons, ["hold", "release"]);
}

#[tokio::test]
async fn calls_are_listed_by_filter_and_each_role_gets_its_own() {
    let house = with_a_call().await;
    let cases = [
        (Who::Admin, String::new(), 1),
        (Who::Admin, format!("?buyer={BUYER}&outcome=converted&state=ended"), 1),
        (Who::Admin, format!("?buyer={OTHER_BUYER}"), 0),
        (Who::Admin, "?outcome=no_bidder".to_owned(), 0),
        (Who::Admin, "?to=2020-01-01T00:00:00Z".to_owned(), 0),
        (Who::Admin, "?from=2020-01-01T00:00:00Z".to_owned(), 1),
        (Who::Buyer, String::new(), 1),
        (Who::OtherBuyer, String::new(), 0),
        (Who::Seller, String::new(), 1),
        (Who::OtherSeller, String::new(), 0),
    ];
    for (who, query, expected) in cases {
        let listed = house.get(who, &format!("/v1/calls{query}")).await.expect(200);
        assert_eq!(listed.ids("id").len(), expected, "{who:?} {query}");
    }
    for (who, query) in [
        (Who::Buyer, format!("?seller={SELLER}")),
        (Who::Seller, format!("?buyer={BUYER}")),
        (Who::Seller, format!("?seller={BUYER}")),
    ] {
        house.get(who, &format!("/v1/calls{query}")).await.expect(403);
    }
}

#[tokio::test]
async fn totals_and_events_tell_what_happened() {
    let house = with_a_call().await;
    let totals = house.get(Who::Admin, "/v1/totals").await.expect(200).json;
    assert_eq!((&totals["offered"], &totals["ended"]["converted"]), (&json!(1), &json!(1)));
    assert_eq!(totals["charged_micros"], 30_000_000);

    let first = house.get(Who::Admin, "/v1/events?limit=5").await.expect(200).json;
    let next = first["next"].as_str().expect("a cursor");
    let rest = house.get(Who::Admin, &format!("/v1/events?after={next}&limit=200")).await.expect(200).json;
    let kinds: Vec<&str> = [&first, &rest]
        .into_iter()
        .flat_map(|page| page["items"].as_array().expect("items"))
        .filter_map(|event| event["type"].as_str())
        .collect();
    for kind in ["call.received", "auction.completed", "call.bridged", "call.converted"] {
        assert_eq!(kinds.iter().filter(|found| **found == kind).count(), 1, "{kind} in {kinds:?}");
    }
    let end = rest["next"].as_str().expect("a cursor");
    let after_all = house.get(Who::Admin, &format!("/v1/events?after={end}")).await.expect(200).json;
    assert_eq!((&after_all["items"], &after_all["next"]), (&json!([]), &json!(end)));
}
