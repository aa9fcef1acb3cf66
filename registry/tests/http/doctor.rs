//! The doctor over the admin API.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::client::Registry;

const ROOT: u32 = 0;
const PATH: &str = "/api/v1/registry/doctor";

#[tokio::test]
async fn a_run_is_told_line_by_line_and_remembered() {
    let registry = Registry::open().await;
    let before = registry.on_the_socket(ROOT, Method::GET, PATH, &Value::Null).await;
    assert_eq!(before.json(), json!({"at_work": false, "sizes": null, "deep": null}));
    let run = registry.on_the_socket(ROOT, Method::POST, PATH, &json!({"deep": true, "rate": "100%"})).await;
    assert_eq!((run.status, run.expect("content-type")), (StatusCode::OK, "application/x-ndjson"), "{}", run.text());
    let text = run.text();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let done = json!({"event": "done", "depth": "deep", "looked": 0, "findings": 0, "repaired": 0, "resumed": false});
    assert_eq!(events.last(), Some(&done));
    assert!(events[..events.len() - 1].iter().all(|event| event["event"] == "checked"), "{events:?}");
    let after = registry.on_the_socket(ROOT, Method::GET, PATH, &Value::Null).await.json();
    assert_eq!((&after["deep"]["findings"], &after["sizes"]), (&json!(0), &Value::Null));
}

#[tokio::test]
async fn a_rate_that_is_none_is_refused() {
    let registry = Registry::open().await;
    for body in [json!({"rate": "fast"}), json!({"rate": "0%"}), json!({"rate": 25}), json!({"rates": "25%"})] {
        let reply = registry.on_the_socket(ROOT, Method::POST, PATH, &body).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{body} {}", reply.text());
    }
}
