//! Dead letters: what consumers refused, and asking for it to be given again.

use crate::house::{House, Who};
use exchange::time::Timestamp;
use infra::store::{DeadLetter, LetterState};
use serde_json::json;

#[tokio::test]
async fn letters_are_listed_and_given_again_once() {
    let house = House::furnished().await;
    let letter = |event, consumer: &str| DeadLetter {
        consumer: consumer.to_owned(),
        event,
        times: 1,
        state: LetterState::Waiting,
        put_at: Timestamp(7),
        finding: "answered 410; the receiver refuses it".to_owned(),
    };
    let [first, second, ..] = &house.events()[..] else { panic!("a house has events") };
    house.put_aside(letter(first.clone(), "webhook crm"));
    house.put_aside(letter(second.clone(), "webhook crm"));
    house.put_aside(letter(first.clone(), "analytics"));

    let listed = house.get(Who::Analyst, "/v1/dead-letters?limit=2").await.expect(200);
    assert_eq!(listed.ids("consumer"), ["analytics", "webhook crm"]);
    assert_eq!(listed.json["items"][0]["id"], json!(first.id));
    assert_eq!(listed.json["items"][0]["event"]["type"], json!(first.kind));
    let next = listed.json["next"].as_str().expect("one more").replace(' ', "%20");
    let rest = house.get(Who::Admin, &format!("/v1/dead-letters?after={next}")).await.expect(200);
    assert_eq!(rest.json["items"][0]["id"], json!(second.id));
    let of_one = house.get(Who::Admin, "/v1/dead-letters?consumer=analytics&state=waiting").await.expect(200);
    assert_eq!(of_one.ids("state"), ["waiting"]);

    let replay = async |who, body| house.ask(who, "POST", "/v1/dead-letters/replay", body).await;
    assert_eq!(replay(Who::Admin, json!({})).await.expect(422).fields(), ["id"]);
    replay(Who::Analyst, json!({ "all": true })).await.expect(403);
    let asked = replay(Who::Admin, json!({ "id": first.id, "consumer": "webhook crm" })).await.expect(200);
    assert_eq!(asked.json, json!({ "asked_for": 1 }));
    assert_eq!(replay(Who::Admin, json!({ "all": true })).await.expect(200).json, json!({ "asked_for": 3 }));
    let entries = house.get(Who::Admin, "/v1/audit-entries?subject=dead_letters").await.expect(200);
    assert_eq!(entries.ids("action"), ["dead_letters.replayed", "dead_letters.replayed"]);

    let taken = DeadLetter { state: LetterState::Taken, ..letter(first.clone(), "webhook crm") };
    house.put_aside(taken);
    let left = replay(Who::Admin, json!({ "consumer": "webhook crm" })).await.expect(200);
    assert_eq!(left.json, json!({ "asked_for": 1 }), "what was taken is not given again");
}
