//! Accounts, balances, deposits.

use crate::house::{BUYER, House, OTHER_BUYER, SELLER, Who};
use serde_json::{Value, json};

#[tokio::test]
async fn an_account_is_opened_approved_and_funded() {
    let house = House::open();
    let new = json!({ "kind": "buyer", "name": "Acme", "time_zone": "America/New_York" });
    let opened = house.ask(Who::Admin, "POST", "/v1/accounts", new).await.expect(201);
    assert_eq!(opened.json["status"], "pending");
    let path = opened.header("location").to_owned();
    assert_eq!(house.get(Who::Admin, &path).await.expect(200).json, opened.json);

    let approved = house.ask(Who::Admin, "PATCH", &path, json!({ "status": "active" })).await.expect(200);
    assert_eq!(approved.json["status"], "active");
    let credit = json!({ "credit_limit_micros": 10_000_000 });
    house.ask(Who::Admin, "PATCH", &path, credit).await.expect(200);
    for _ in 0..2 {
        let deposit = json!({ "amount_micros": 25_000_000, "reference": "wire 17" });
        let balance =
            house.ask(Who::Admin, "POST", &format!("{path}/deposits"), deposit).await.expect(200).json;
        assert_eq!(balance["available_micros"], 25_000_000, "the same reference is booked once");
        assert_eq!(balance["spendable_micros"], 35_000_000);
        assert_eq!(balance["payable_micros"], Value::Null, "a buyer earns nothing");
    }
    let another = json!({ "amount_micros": 5, "reference": "wire 17" });
    let refused = house.ask(Who::Admin, "POST", &format!("{path}/deposits"), another).await.expect(409);
    assert!(
        refused.json["detail"].as_str().is_some_and(|detail| detail.contains("25.00")),
        "{}",
        refused.json
    );
}

#[tokio::test]
async fn a_list_is_no_object() {
    let house = House::furnished().await;
    let path = format!("/v1/accounts/{BUYER}/deposits");
    house.ask(Who::Admin, "POST", &path, json!([7, "by position"])).await.expect(422);
}

#[tokio::test]
async fn the_same_id_opens_no_second_account() {
    let house = House::open();
    let new = json!({ "id": BUYER, "kind": "buyer", "name": "Acme" });
    let opened = house.ask(Who::Admin, "POST", "/v1/accounts", new.clone()).await.expect(201);
    let again = house.ask(Who::Admin, "POST", "/v1/accounts", new.clone()).await.expect(200);
    assert_eq!(again.json, opened.json);
    for (field, value) in [("name", "Acne"), ("kind", "seller"), ("status", "active")] {
        let mut another = new.clone();
        another[field] = json!(value);
        let refused = house.ask(Who::Admin, "POST", "/v1/accounts", another).await.expect(409);
        assert_eq!(refused.json["type"], "urn:dce:problem:conflict");
    }
}

#[tokio::test]
async fn names_and_references_are_for_people_to_read() {
    let house = House::furnished().await;
    let new = json!({ "kind": "buyer", "name": "Acme\u{1b}[2J" });
    assert_eq!(house.ask(Who::Admin, "POST", "/v1/accounts", new).await.expect(422).fields(), ["name"]);
    let deposit = json!({ "amount_micros": 1, "reference": "wire\n7" });
    let path = format!("/v1/accounts/{BUYER}/deposits");
    assert_eq!(house.ask(Who::Admin, "POST", &path, deposit).await.expect(422).fields(), ["reference"]);
}

#[tokio::test]
async fn a_change_is_one_thing() {
    let house = House::furnished().await;
    let path = format!("/v1/accounts/{BUYER}");
    for change in [json!({}), json!({ "status": "active", "credit_limit_micros": 1 })] {
        house.ask(Who::Admin, "PATCH", &path, change).await.expect(422);
    }
}

#[tokio::test]
async fn buyers_and_sellers_see_their_own_account_only() {
    let house = House::furnished().await;
    for (who, own) in [(Who::Buyer, BUYER), (Who::OtherBuyer, OTHER_BUYER), (Who::Seller, SELLER)] {
        let own = own.to_string();
        assert_eq!(house.get(who, "/v1/accounts").await.expect(200).ids("id"), [own.as_str()]);
        for account in [BUYER, OTHER_BUYER, SELLER] {
            for part in ["", "/balance", "/transfers"] {
                let path = format!("/v1/accounts/{account}{part}");
                let status = if account.to_string() == own { 200 } else { 404 };
                house.get(who, &path).await.expect(status);
            }
        }
    }
}

#[tokio::test]
async fn a_listing_is_read_page_by_page() {
    let house = House::furnished().await;
    let (mut path, mut seen) = ("/v1/accounts?limit=3".to_owned(), Vec::new());
    for _ in 0..4 {
        let page = house.get(Who::Analyst, &path).await.expect(200);
        seen.extend(page.ids("id").into_iter().map(str::to_owned));
        match page.json["next"].as_str() {
            Some(next) => path = format!("/v1/accounts?limit=3&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 4);
    assert!(seen.is_sorted());
    let sellers = house.get(Who::Analyst, "/v1/accounts?kind=seller&status=active").await.expect(200);
    assert_eq!(sellers.ids("id").len(), 2);
}
