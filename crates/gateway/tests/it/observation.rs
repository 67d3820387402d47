//! Health, metrics, the description's page, and the server with its socket.

use crate::house::{House, Who};
use serde_json::json;

#[tokio::test]
async fn readiness_tells_the_truth_about_each_part() {
    let house = House::open();
    let ready = house.get(Who::Nobody, "/health/ready").await.expect(200).json;
    assert_eq!(ready["ready"], true);
    let names: Vec<_> =
        ready["checks"].as_array().expect("checks").iter().map(|check| &check["name"]).collect();
    assert_eq!(names, [&json!("store"), &json!("engine")]);
}

#[tokio::test]
async fn the_page_needs_nothing_from_elsewhere() {
    let page = House::open().get(Who::Nobody, "/docs").await.expect(200);
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(!page.text.contains("http://") && !page.text.contains("https://"), "links elsewhere");
}

#[tokio::test]
async fn metrics_are_for_the_house() {
    let house = House::open();
    let metrics = house.get(Who::Analyst, "/metrics").await.expect(200);
    assert!(metrics.header("content-type").starts_with("text/plain; version=0.0.4"));
}
