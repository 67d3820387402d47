//! The audit log: what was changed has an entry that names the key, what was not has none.

use crate::house::{BUYER, House, Who};
use serde_json::{Value, json};

/// What the log has about a subject, newest first: action and role.
async fn about(house: &House, subject: &str) -> Vec<(String, String)> {
    let path = format!("/v1/audit-entries?subject={subject}");
    let listed = house.get(Who::Analyst, &path).await.expect(200).json;
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let entries = listed["items"].as_array().expect("items");
    entries.iter().map(|entry| (text(entry, "action"), text(entry, "role"))).collect()
}

fn by(role: &str, actions: &[&str]) -> Vec<(String, String)> {
    actions.iter().map(|action| ((*action).to_owned(), role.to_owned())).collect()
}

#[tokio::test]
async fn a_change_names_who_asked_for_it_and_a_repetition_is_none() {
    let house = House::furnished().await;
    let account = format!("account/{BUYER}");
    let before = about(&house, &account).await;
    assert!(before.iter().all(|(_, role)| role == "admin") && !before.is_empty(), "{before:?}");

    let deposit = json!({ "amount_micros": 5_000_000, "reference": "wire-9" });
    for _ in 0..2 {
        house
            .ask(Who::Admin, "POST", &format!("/v1/accounts/{BUYER}/deposits"), deposit.clone())
            .await
            .expect(200);
    }
    house.ask(Who::Buyer, "POST", &format!("/v1/accounts/{BUYER}/deposits"), deposit).await.expect(403);
    let wrong = json!({ "credit_limit_micros": -1 });
    house.ask(Who::Admin, "PATCH", &format!("/v1/accounts/{BUYER}"), wrong).await.expect(422);
    let expected = [by("admin", &["deposit.booked"]), before].concat();
    assert_eq!(about(&house, &account).await, expected);
}

#[tokio::test]
async fn keys_that_are_made_and_revoked_are_in_it_without_their_secrets() {
    let house = House::furnished().await;
    let new = json!({ "name": "Acme's dialler", "role": "buyer", "account": BUYER });
    let made = house.ask(Who::Admin, "POST", "/v1/api-keys", new).await.expect(201).json;
    let (id, key) = (made["id"].as_str().expect("an id"), made["key"].as_str().expect("a key"));
    for _ in 0..2 {
        house.ask(Who::Admin, "DELETE", &format!("/v1/api-keys/{id}"), Value::Null).await.expect(204);
    }
    let expected = by("admin", &["api_key.revoked", "api_key.created"]);
    assert_eq!(about(&house, &format!("api_key/{id}")).await, expected);
    let listed = house.get(Who::Admin, "/v1/audit-entries?limit=200").await.expect(200);
    assert!(!listed.text.contains(key.rsplit('_').next().expect("three parts")), "no secrets");
    assert_eq!(listed.json["items"][0]["detail"], json!({}));
}

#[tokio::test]
async fn pages_go_back_to_the_first_entry() {
    let house = House::furnished().await;
    let (mut path, mut seen) = ("/v1/audit-entries?limit=3".to_owned(), Vec::new());
    loop {
        let page = house.get(Who::Admin, &path).await.expect(200).json;
        let items = page["items"].as_array().expect("items");
        seen.extend(items.iter().filter_map(|entry| entry["seq"].as_i64()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/audit-entries?limit=3&after={next}");
    }
    let expected: Vec<i64> = (1..=i64::try_from(seen.len()).expect("few")).rev().collect();
    assert_eq!(seen, expected);
    assert!(seen.len() > 6, "{seen:?}");
}
