//! A body that cannot be used is told every reason at once, by field, in the words of those who send JSON.

use crate::house::{BUYER, House, NUMBER, SELLER, Who, bid};
use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};

const ID: &str = "00000000-0000-0000-0000-0000000000b1";

/// Sends a body and compares what the answer says of its fields: field, problem, fix.
async fn check(house: &House, method: &str, path: &str, body: Value, expected: &[(&str, &str, &str)]) {
    let answer = house.ask(Who::Admin, method, path, body.clone()).await.expect(422);
    let errors = answer.json["errors"].as_array().expect("errors");
    let text = |error: &Value, name: &str| error[name].as_str().unwrap_or_default().to_owned();
    let said: Vec<(String, String, String)> = errors
        .iter()
        .map(|error| (text(error, "field"), text(error, "problem"), text(error, "fix")))
        .collect();
    let said: Vec<(&str, &str, &str)> =
        said.iter().map(|(field, problem, fix)| (field.as_str(), problem.as_str(), fix.as_str())).collect();
    assert_eq!(said, expected, "{body}");
    assert!(errors.iter().all(|error| text(error, "fix").len() > 4), "{}", answer.text);
}

/// A bid with an id, changed at some places.
fn changed(changes: &[(&str, Value)]) -> Value {
    let mut bid = bid(BUYER, 30);
    bid["id"] = json!(ID);
    for (pointer, value) in changes {
        *bid.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer} is there")) = value.clone();
    }
    bid
}

fn with(mut bid: Value, members: Value) -> Value {
    let members = members.as_object().expect("an object").clone();
    bid.as_object_mut().expect("an object").extend(members);
    bid
}

#[tokio::test]
async fn a_bid_is_told_everything_that_is_wrong_with_it() {
    let house = House::furnished().await;
    let path = format!("/v1/bid-profiles/{ID}");
    let whole = "send a whole number from 0 to 4294967295";
    let money = "send a whole number from -9223372036854775808 to 9223372036854775807";
    let criteria = json!({
        "states": ["FL", "Florida", "GA", 5],
        "zips": ["33101", "331"],
        "area_codes": [305, 70000],
        "languages": ["english"],
        "tags": [
            { "name": "source", "is": { "matches": "(" } },
            { "name": "age", "is": { "greater": "65" } },
            { "name": "age" },
        ],
        "colour": "red",
    });
    let bad = with(
        changed(&[
            ("/status", json!("activ")),
            ("/price", json!({ "type": "per_minute", "rate_micros": "1.50", "first_increment_s": -1 })),
            ("/conversion", json!({ "min_conected_s": 90 })),
        ]),
        json!({
            "criteria": criteria,
            "weight": 0,
            "skills": ["Roof Repair", "metal"],
            "schedule": { "time_zone": "America/Nowhere", "hours": [
                { "day": "mon", "from": "09:00", "to": "17:00" },
                { "day": "monday", "from": "9", "to": "25:00" },
                { "day": "tue", "from": "17:00", "to": "09:00" },
            ] },
            "caps": { "concurrent_calls_by_hour": [{ "day": "mon", "calls": [1, 2, "3"] }] },
            "live": null,
            "priorty": 1,
        }),
    );
    check(
        &house,
        "PUT",
        &path,
        bad,
        &[
            ("caps.concurrent_calls_by_hour[0].calls[2]", "is text", whole),
            ("conversion.min_conected_s", "is unknown", "write min_connected_s, or leave it out"),
            ("conversion.min_connected_s", "is missing", "add a whole number"),
            ("criteria.area_codes[1]", "is out of range", "send a whole number from 0 to 65535"),
            ("criteria.colour", "is unknown", "leave it out; known are origins, states, area_codes, zips, zip_radius, languages, tags, min_attestation, max_fraud_score, min_seller_quality, sellers, denied_sellers"),
            ("criteria.languages[0]", "is not a language", "write two small letters such as es"),
            ("criteria.states[1]", "is not a state", "write two capital letters such as FL"),
            ("criteria.states[3]", "is a number", "send text such as \"FL\""),
            (
                "criteria.tags[0].is.matches",
                "is not a regular expression (found open group without closing ')')",
                "write one such as ^6[5-9]$",
            ),
            ("criteria.tags[1].is.greater", "is text", money),
            (
                "criteria.tags[2].is",
                "is missing",
                "add an object with one of `equals`, `in`, `contains`, `greater`, `less`, `matches`",
            ),
            ("criteria.zips[1]", "is not a ZIP code", "write five digits such as 33101"),
            ("price.first_increment_s", "is out of range", whole),
            ("price.next_increment_s", "is missing", "add a whole number"),
            ("price.rate_micros", "is text", money),
            ("priorty", "is unknown", "write priority, or leave it out"),
            ("schedule.hours[1].day", "is 'monday', which is no choice", "send mon"),
            ("schedule.hours[1].from", "is not a time of day", "write HH:MM from 00:00 to 24:00"),
            ("schedule.hours[1].to", "is not a time of day", "write HH:MM from 00:00 to 24:00"),
            ("schedule.time_zone", "is not a time zone", "write an IANA name such as America/New_York"),
            ("skills", "'Roof Repair' is not a plain word", "use 1 to 64 of a-z, 0-9 and _, such as home_services"),
            ("status", "is 'activ', which is no choice", "send active"),
            ("weight", "is not between 1 and 1000000", "1 is an ordinary share"),
        ],
    )
    .await;
}

#[tokio::test]
async fn rules_of_a_bid_are_asked_about_what_can_be_read() {
    let house = House::furnished().await;
    let path = format!("/v1/bid-profiles/{ID}");
    // What is required and cannot be read hides nothing of the rest.
    let bad = with(
        changed(&[
            ("/name", Value::Null),
            ("/price", json!([5])),
            ("/destination/sip_uris", json!(["tel:1", "sip:a@b", "x"])),
        ]),
        json!({ "skills": ["A", "b", "C"], "caps": { "limits": [{ "per": "dya", "calls": 1 }, { "per": "day" }] } }),
    );
    let sip = "write sip:user@host:port, with ;transport=tcp for TCP";
    let word = "use 1 to 64 of a-z, 0-9 and _, such as home_services";
    check(
        &house,
        "PUT",
        &path,
        bad,
        &[
            ("caps.limits[0].per", "is 'dya', which is no choice", "send day"),
            ("caps.limits[1]", "is a limit of nothing", "give calls, conversions or spend_micros"),
            ("destination.sip_uris[0]", "is not a SIP URI", sip),
            ("destination.sip_uris[2]", "is not a SIP URI", sip),
            ("name", "is null", "send text"),
            ("price", "is a list", "send an object with named fields"),
            ("skills", "'A' is not a plain word", word),
            ("skills", "'C' is not a plain word", word),
        ],
    )
    .await;
    // A bid that can be read is asked about by the engine, which knows the accounts too.
    let stranger = "00000000-0000-0000-0000-0000000000ff";
    let bad = with(
        changed(&[("/buyer", json!(SELLER))]),
        json!({ "weight": 0, "criteria": { "sellers": [SELLER, stranger], "denied_sellers": [BUYER] } }),
    );
    check(
        &house,
        "PUT",
        &path,
        bad,
        &[
            ("weight", "is not between 1 and 1000000", "1 is an ordinary share"),
            ("buyer", "is not a buyer", "name a buyer's account"),
            (
                "criteria.sellers",
                "names 00000000-0000-0000-0000-0000000000ff, which is not a seller",
                "name sellers' accounts",
            ),
            (
                "criteria.denied_sellers",
                "names 00000000-0000-0000-0000-0000000000b1, which is not a seller",
                "name sellers' accounts",
            ),
        ],
    )
    .await;
    let placed = house.ask(Who::Admin, "PUT", &path, changed(&[])).await;
    placed.expect(200);
}

#[tokio::test]
async fn nothing_at_all_is_told_what_there_should_be() {
    let house = House::furnished().await;
    let missing = |answer: &crate::house::Answer| -> Vec<String> {
        let errors = answer.json["errors"].as_array().cloned().unwrap_or_default();
        errors
            .iter()
            .map(|error| format!("{} {}", error["field"], error["problem"]).replace('"', ""))
            .collect()
    };
    let all =
        |names: &[&str]| -> Vec<String> { names.iter().map(|name| format!("{name} is missing")).collect() };
    for (method, path, names) in [
        (
            "POST",
            "/v1/bid-profiles".to_owned(),
            &["buyer", "conversion", "destination", "name", "price", "status", "vertical"][..],
        ),
        ("POST", "/v1/accounts".to_owned(), &["kind", "name"]),
        ("POST", "/v1/api-keys".to_owned(), &["name", "role"]),
        ("POST", "/v1/pings".to_owned(), &["number"]),
        ("POST", "/v1/ping-endpoints".to_owned(), &["name", "number"]),
        ("POST", format!("/v1/accounts/{BUYER}/deposits"), &["amount_micros", "reference"]),
        ("POST", format!("/v1/calls/{ID}/revenue"), &["revenue"]),
        ("PUT", format!("/v1/cap-groups/{ID}"), &["buyer", "name"]),
        (
            "PUT",
            format!("/v1/deals/{ID}"),
            &["active", "buyers", "first_look", "floor_micros", "name", "seller"],
        ),
        (
            "PUT",
            format!("/v1/tracking-numbers/{NUMBER}"),
            &["active", "floor_micros", "origin", "payout_basis_points", "seller", "vertical"],
        ),
    ] {
        let answer = house.ask(Who::Admin, method, &path, json!({})).await.expect(422);
        assert_eq!(missing(&answer), all(names), "{path}");
        let answer = house.ask(Who::Admin, method, &path, json!([])).await;
        assert!(answer.status == 422 && !answer.text.contains("struct"), "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn so_many_faults_are_listed_and_no_more() {
    let house = House::furnished().await;
    let states: Vec<usize> = (0..5_000).collect();
    let bad = with(changed(&[]), json!({ "criteria": { "states": states } }));
    let answer = house.ask(Who::Admin, "PUT", &format!("/v1/bid-profiles/{ID}"), bad).await.expect(422);
    let fields = answer.fields();
    assert_eq!(
        (fields.len(), fields[0], fields[49], fields[50]),
        (51, "criteria.states[0]", "criteria.states[49]", "body")
    );
}

#[tokio::test]
async fn what_is_there_twice_is_told() {
    let house = House::furnished().await;
    let key = house.key(Who::Admin).expect("a key");
    let request = Request::post("/v1/accounts")
        .header(header::AUTHORIZATION, format!("Bearer {key}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(r#"{"kind":"buyer","name":"Acme","name":"Acme","color":"red"}"#));
    let problem = house.send(request.expect("a request")).await.expect(422);
    assert_eq!(problem.fields(), ["name", "color"], "{}", problem.text);
    assert_eq!(problem.json["errors"][0]["problem"], "is there more than once");
}

#[tokio::test]
async fn what_the_path_says_may_be_left_out_of_the_body_and_is_not_contradicted() {
    let house = House::furnished().await;
    let id = "01975a3e-7c4d-7a10-8f6e-2b9d5c1e4f70";
    let number = json!({ "seller": SELLER, "vertical": "roofing", "origin": "organic_inbound", "floor_micros": 0,
        "payout_basis_points": 7_000, "active": true });
    let group = json!({ "buyer": BUYER, "name": "all", "limits": [{ "per": "day", "calls": 3 }] });
    let deal = json!({ "name": "d", "active": true, "seller": SELLER, "buyers": [BUYER], "floor_micros": 0, "first_look": false });
    for (path, name, body, other) in [
        ("tracking-numbers/+18005550188".to_owned(), "number", number, "+18005550189"),
        (format!("cap-groups/{id}"), "id", group, "01975a3e-7c4d-7a10-8f6e-2b9d5c1e4f71"),
        (format!("deals/{id}"), "id", deal, "01975a3e-7c4d-7a10-8f6e-2b9d5c1e4f71"),
        (format!("bid-profiles/{id}"), "id", bid(BUYER, 30), "01975a3e-7c4d-7a10-8f6e-2b9d5c1e4f71"),
    ] {
        let path = format!("/v1/{path}");
        let put = house.ask(Who::Admin, "PUT", &path, body).await.expect(200).json;
        house.ask(Who::Admin, "PUT", &path, put.clone()).await.expect(200);
        let mut contradicting = put;
        contradicting[name] = json!(other);
        let refused = house.ask(Who::Admin, "PUT", &path, contradicting).await.expect(422);
        assert_eq!(refused.fields(), [name], "{}", refused.text);
    }
    let empty =
        house.ask(Who::Admin, "PUT", "/v1/trading-rules/vertical:roofing", json!({})).await.expect(200);
    assert_eq!(empty.json["scope"], json!({ "vertical": "roofing" }));
}
