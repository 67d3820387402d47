//! A buyer disputes a call, and the house decides.

use crate::calls::{CALL, talk_through};
use crate::house::{Answer, BUYER, House, SELLER, Who, bid};
use serde_json::{Value, json};

/// A house in which the buyer has bought a call for 30.00, and talked it through.
async fn with_a_call() -> House {
    let mut house = House::furnished().await;
    house.ask(Who::Buyer, "POST", "/v1/bid-profiles", bid(BUYER, 30)).await.expect(201);
    talk_through(&mut house).await;
    house
}

async fn dispute(house: &House, who: Who, body: Value) -> Answer {
    house.ask(who, "POST", &format!("/v1/calls/{CALL}/dispute"), body).await
}

async fn decide(house: &House, upheld: bool) -> Answer {
    house.ask(Who::Admin, "PUT", &format!("/v1/calls/{CALL}/dispute"), json!({ "upheld": upheld })).await
}

async fn balances(house: &House) -> (Value, Value) {
    let of = async |account| {
        house.get(Who::Admin, &format!("/v1/accounts/{account}/balance")).await.expect(200).json
    };
    (of(BUYER).await["available_micros"].clone(), of(SELLER).await["payable_micros"].clone())
}

#[tokio::test]
async fn an_upheld_dispute_gives_the_whole_charge_back_once() {
    let house = with_a_call().await;
    decide(&house, true).await.expect(404);
    let (before, _) = balances(&house).await;
    let claim = json!({ "reason": "spam", "note": "a recorded voice" });
    let opened = dispute(&house, Who::Buyer, claim.clone()).await.expect(200).json;
    assert_eq!((&opened["stage"], &opened["charge_micros"]), (&json!("open"), &json!(30_000_000)));
    assert_eq!(dispute(&house, Who::Buyer, claim).await.expect(200).json, opened, "the same again");
    dispute(&house, Who::Buyer, json!({ "reason": "other" })).await.expect(409);

    let upheld = decide(&house, true).await.expect(200).json;
    assert_eq!(upheld["stage"], "upheld");
    assert_eq!(decide(&house, true).await.expect(200).json, upheld, "the same again");
    let refused = decide(&house, false).await.expect(409);
    assert!(refused.text.contains("upheld already"), "{}", refused.text);
    let (available, payable) = balances(&house).await;
    assert_eq!(available.as_i64(), before.as_i64().map(|before| before + 30_000_000));
    assert_eq!(payable, json!(0));

    let statement = house.get(Who::Buyer, &format!("/v1/accounts/{BUYER}/transfers")).await.expect(200);
    let newest = &statement.json["items"][0];
    assert_eq!(
        (&newest["reason"]["reason"], &newest["amount_micros"]),
        (&json!("refund"), &json!(30_000_000))
    );
    assert_eq!(newest["from"], Value::Null, "who gave which part of it is not the buyer's to know");
    assert_eq!(house.verify().violations, Vec::<String>::new());
}

#[tokio::test]
async fn a_rejected_dispute_moves_nothing() {
    let house = with_a_call().await;
    let before = balances(&house).await;
    dispute(&house, Who::Buyer, json!({ "reason": "wrong_vertical" })).await.expect(200);
    assert_eq!(decide(&house, false).await.expect(200).json["stage"], "rejected");
    assert_eq!(balances(&house).await, before);
    decide(&house, true).await.expect(409);
    assert_eq!(house.verify().violations, Vec::<String>::new());
}

#[tokio::test]
async fn each_side_sees_its_own_part() {
    let house = with_a_call().await;
    dispute(&house, Who::OtherBuyer, json!({ "reason": "spam" })).await.expect(404);
    dispute(&house, Who::Seller, json!({ "reason": "spam" })).await.expect(403);
    dispute(&house, Who::Buyer, json!({ "reason": "spam" })).await.expect(200);
    for (who, found, hidden) in [
        (Who::Admin, 1, None),
        (Who::Analyst, 1, None),
        (Who::Buyer, 1, Some(SELLER)),
        (Who::Seller, 1, Some(BUYER)),
        (Who::OtherBuyer, 0, None),
        (Who::OtherSeller, 0, None),
    ] {
        let listed = house.get(who, "/v1/disputes?stage=open").await.expect(200);
        assert_eq!(listed.ids("call").len(), found, "{who:?}");
        if let Some(hidden) = hidden {
            assert!(!listed.text.contains(&hidden.to_string()), "{who:?}: {}", listed.text);
        }
        let one = house.get(who, &format!("/v1/calls/{CALL}/dispute")).await;
        one.expect(if found == 1 { 200 } else { 404 });
        assert_eq!(house.get(who, "/v1/disputes?stage=upheld").await.expect(200).ids("call").len(), 0);
    }
    assert_eq!(house.verify().violations, Vec::<String>::new());
}

#[tokio::test]
async fn many_disputes_at_once_are_one() {
    let house = with_a_call().await;
    let reasons = ["spam", "duplicate", "other", "not_interested"];
    let disputes = reasons.map(|reason| dispute(&house, Who::Buyer, json!({ "reason": reason })));
    let answers = futures_util::future::join_all(disputes).await;
    let taken = answers.iter().filter(|answer| answer.status == 200).count();
    let refused = answers.iter().filter(|answer| answer.status == 409).count();
    assert_eq!((taken, refused), (1, 3));
    assert_eq!(house.get(Who::Admin, "/v1/disputes").await.expect(200).ids("call").len(), 1);
}
