//! Every operation against every role. A new route that is missing here fails, and so does one that lets in too many.

use crate::house::{BUYER, House, NUMBER, Who};
use serde_json::Value;
use std::collections::BTreeSet;

/// `P` public; else the roles that may: `A`dmin, a`N`alyst, `B`uyer, `S`eller.
const MATRIX: &[(&str, &str, &str)] = &[
    ("GET", "/health/live", "P"),
    ("GET", "/health/ready", "P"),
    ("GET", "/openapi.json", "P"),
    ("GET", "/asyncapi.json", "P"),
    ("GET", "/docs", "P"),
    ("GET", "/metrics", "AN"),
    ("POST", "/v1/accounts", "A"),
    ("GET", "/v1/accounts", "ANBS"),
    ("GET", "/v1/accounts/{id}", "ANBS"),
    ("PATCH", "/v1/accounts/{id}", "A"),
    ("GET", "/v1/accounts/{id}/balance", "ANBS"),
    ("POST", "/v1/accounts/{id}/deposits", "A"),
    ("GET", "/v1/accounts/{id}/transfers", "ANBS"),
    ("PUT", "/v1/tracking-numbers/{number}", "A"),
    ("GET", "/v1/tracking-numbers/{number}", "ANS"),
    ("GET", "/v1/tracking-numbers", "ANS"),
    ("POST", "/v1/bid-profiles", "AB"),
    ("GET", "/v1/bid-profiles", "ANB"),
    ("GET", "/v1/bid-profiles/{id}", "ANB"),
    ("PUT", "/v1/bid-profiles/{id}", "AB"),
    ("PATCH", "/v1/bid-profiles/{id}", "AB"),
    ("PUT", "/v1/cap-groups/{id}", "AB"),
    ("GET", "/v1/cap-groups", "ANB"),
    ("GET", "/v1/cap-groups/{id}", "ANB"),
    ("PUT", "/v1/trading-rules/{scope}", "A"),
    ("GET", "/v1/trading-rules", "AN"),
    ("GET", "/v1/trading-rules/{scope}", "AN"),
    ("PUT", "/v1/deals/{id}", "A"),
    ("GET", "/v1/deals", "ANBS"),
    ("GET", "/v1/deals/{id}", "ANBS"),
    ("GET", "/v1/live-bids", "AB"),
    ("POST", "/v1/pings", "AS"),
    ("POST", "/v1/ping-endpoints", "AS"),
    ("GET", "/v1/ping-endpoints", "ANS"),
    ("DELETE", "/v1/ping-endpoints/{id}", "AS"),
    ("GET", "/v1/{env}/{file}", "P"),
    ("POST", "/v1/{env}/{file}", "P"),
    ("GET", "/v1/calls", "ANBS"),
    ("GET", "/v1/calls/{id}", "ANBS"),
    ("GET", "/v1/calls/{id}/receipt", "ANBS"),
    ("GET", "/v1/receipts", "ANBS"),
    ("GET", "/v1/calls/{id}/transfers", "ANBS"),
    ("POST", "/v1/calls/{id}/revenue", "AB"),
    ("POST", "/v1/calls/{id}/dispute", "AB"),
    ("PUT", "/v1/calls/{id}/dispute", "A"),
    ("GET", "/v1/calls/{id}/dispute", "ANBS"),
    ("GET", "/v1/disputes", "ANBS"),
    ("GET", "/v1/totals", "AN"),
    ("GET", "/v1/reports/calls", "ANBS"),
    ("GET", "/v1/events", "AN"),
    ("GET", "/v1/dead-letters", "AN"),
    ("POST", "/v1/dead-letters/replay", "A"),
    ("GET", "/v1/audit-entries", "AN"),
    ("POST", "/v1/api-keys", "A"),
    ("GET", "/v1/api-keys", "A"),
    ("DELETE", "/v1/api-keys/{id}", "A"),
    ("POST", "/v1/sessions", "ANBS"),
    ("GET", "/v1/sessions", "ANBS"),
    ("DELETE", "/v1/sessions/current", "ANBS"),
    ("DELETE", "/v1/sessions/{id}", "ANBS"),
];

#[tokio::test]
async fn every_operation_lets_in_whom_the_matrix_names_and_nobody_else() {
    let house = House::furnished().await;
    for (method, pattern, allowed) in MATRIX {
        let path = pattern.replace("{id}", &BUYER.to_string()).replace("{number}", NUMBER);
        let path = path.replace("{scope}", "vertical:roofing").replace("{env}", "production");
        let path = path.replace("{file}", "00000000000000000000000000000000.json");
        for who in Who::ALL {
            let letter = match who {
                Who::Nobody => 'P',
                Who::Admin => 'A',
                Who::Analyst => 'N',
                Who::Buyer | Who::OtherBuyer => 'B',
                Who::Seller | Who::OtherSeller => 'S',
            };
            let status = house.ask(who, method, &path, Value::Null).await.status.as_u16();
            let case = format!("{who:?} {method} {pattern}: {status}");
            if allowed.contains(letter) || *allowed == "P" {
                assert!(![401, 403, 405].contains(&status), "{case}");
            } else {
                assert_eq!(status, if who == Who::Nobody { 401 } else { 403 }, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn the_description_has_exactly_the_operations_of_the_matrix() {
    let house = House::open();
    let description = house.get(Who::Nobody, "/openapi.json").await.expect(200).json;
    assert_eq!(description["openapi"], "3.1.0");
    let described: BTreeSet<(String, String)> = description["paths"]
        .as_object()
        .expect("paths")
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().expect("operations").keys();
            methods.map(|method| (method.to_uppercase(), path.clone())).collect::<Vec<_>>()
        })
        .collect();
    let matrix = MATRIX.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(described, matrix);
    for (method, path) in &described {
        let operation = &description["paths"][path][method.to_lowercase()];
        let about = operation["description"].as_str().unwrap_or_default();
        assert!(about.contains("key"), "{method} {path} does not say who may call it: {about}");
        assert!(
            operation["responses"]["default"].is_object(),
            "{method} {path} does not describe its errors"
        );
    }
}

#[tokio::test]
async fn every_reference_of_the_description_leads_somewhere() {
    let house = House::open();
    let description = house.get(Who::Nobody, "/openapi.json").await.expect(200);
    let references: BTreeSet<&str> =
        description.text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(references.len() > 20, "{references:?}");
    for reference in references {
        assert!(description.json.pointer(reference).is_some(), "{reference} leads nowhere");
    }
}
