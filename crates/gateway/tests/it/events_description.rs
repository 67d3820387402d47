//! `/asyncapi.json` says of events what events are.

use crate::calls::{CALL, talk_through};
use crate::house::{BUYER, House, Who, bid};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What is wrong with an event's data by its description; only what a description of ours can ask for.
fn fault(data: &Value, schema: &Value, description: &Value) -> Option<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointed = description.pointer(reference.trim_start_matches('#')).expect("it leads somewhere");
        return fault(data, pointed, description);
    }
    for any in ["oneOf", "anyOf"] {
        if let Some(choices) = schema[any].as_array() {
            let fits = choices.iter().any(|choice| fault(data, choice, description).is_none());
            return (!fits).then(|| format!("{data} is none of {schema}"));
        }
    }
    let types = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        Value::String(one) => vec![one.as_str()],
        _ => Vec::new(),
    };
    let is = match data {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !types.is_empty() && !types.contains(&is) {
        return Some(format!("{data} is {is}, not {types:?}"));
    }
    if schema["enum"].as_array().is_some_and(|choices| !choices.contains(data)) {
        return Some(format!("{data} is not one of {}", schema["enum"]));
    }
    match data {
        Value::Array(items) => items.iter().find_map(|item| fault(item, &schema["items"], description)),
        Value::Object(fields) if schema["properties"].is_object() => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let mut missing = required.filter(|name| !fields.contains_key(*name));
            let unknown = fields.iter().find_map(|(name, value)| match &schema["properties"][name] {
                Value::Null => Some(format!("`{name}` is not described")),
                known => fault(value, known, description).map(|fault| format!("{name}: {fault}")),
            });
            missing.next().map(|name| format!("`{name}` is missing")).or(unknown)
        }
        _ => None,
    }
}

#[tokio::test]
async fn every_event_of_a_house_is_as_described() {
    let mut house = House::furnished().await;
    house.ask(Who::Buyer, "POST", "/v1/bid-profiles", bid(BUYER, 30)).await.expect(201);
    talk_through(&mut house).await;
    house
        .ask(Who::Buyer, "POST", &format!("/v1/calls/{CALL}/dispute"), json!({ "reason": "spam" }))
        .await
        .expect(200);
    let decision = json!({ "upheld": true });
    house.ask(Who::Admin, "PUT", &format!("/v1/calls/{CALL}/dispute"), decision).await.expect(200);
    let description = house.get(Who::Nobody, "/asyncapi.json").await.expect(200).json;
    let events = house.get(Who::Admin, "/v1/events?limit=200").await.expect(200).json;
    let mut seen = BTreeSet::new();
    for event in events["items"].as_array().expect("items") {
        let (kind, subject) =
            (event["type"].as_str().expect("type"), event["subject"].as_str().expect("subject"));
        let channel = match subject.split('/').next() {
            Some("call") => "calls",
            Some("account") => "accounts",
            Some("bid_profile") => "bid-profiles",
            Some("tracking_number") => "tracking-numbers",
            Some("audit") => "audit",
            _ => "exchange",
        };
        let key = format!("{channel}.{kind}");
        let listed = &description["channels"][channel]["messages"][&key]["$ref"];
        assert_eq!(listed, &json!(format!("#/components/messages/{key}")));
        let data = &description["components"]["messages"][&key]["payload"]["properties"]["data"];
        assert_eq!(fault(&event["data"], data, &description), None, "{event}");
        seen.insert(kind.to_owned());
    }
    for kind in [
        "call.received",
        "auction.completed",
        "routing.decision",
        "call.converted",
        "call.disputed",
        "audit.recorded",
    ] {
        assert!(seen.contains(kind), "{kind} did not happen: {seen:?}");
    }
}
