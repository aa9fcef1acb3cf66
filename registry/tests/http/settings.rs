//! What the settings change.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::client::{Registry, digest};

async fn started(part: Value, prefix: &str, headers: &[(&str, &str)]) -> String {
    let registry = Registry::with(part, None).await;
    let target = format!("{prefix}/v2/a/blobs/uploads/");
    let reply = registry.send(axum::http::Method::POST, &target, headers, axum::body::Body::empty()).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED, "{}", reply.text());
    reply.expect("location").rsplit_once('/').unwrap().0.to_owned()
}

#[tokio::test]
async fn generated_addresses_follow_the_settings() {
    let forwarded = [("x-forwarded-proto", "https"), ("x-forwarded-host", "outer.example")];
    let plain = started(json!({}), "", &forwarded).await;
    assert_eq!(plain, "http://reg.example:5000/v2/a/blobs/uploads", "a stranger's word for itself");
    let trusted = json!({"portreeve": {"trustedproxies": ["192.0.2.0/24"]}});
    assert_eq!(started(trusted, "", &forwarded).await, "https://outer.example/v2/a/blobs/uploads");
    let relative = json!({"http": {"relativeurls": true}});
    assert_eq!(started(relative, "", &[]).await, "/v2/a/blobs/uploads");
    let host = json!({"http": {"host": "https://fixed.example", "relativeurls": true}});
    assert_eq!(started(host, "", &forwarded).await, "https://fixed.example/v2/a/blobs/uploads");
    let prefix = json!({"http": {"prefix": "/registry/"}});
    assert_eq!(started(prefix, "/registry", &[]).await, "http://reg.example:5000/registry/v2/a/blobs/uploads");
}

/// T10: off means off, for tags too.
#[tokio::test]
async fn deletes_and_writes_can_be_turned_off() {
    let registry = Registry::with(json!({"storage": {"delete": {"enabled": false}}}), None).await;
    let (digest, _) = registry.push_image("a", "v1").await;
    let blob = crate::client::digest(b"{}");
    for target in [format!("/v2/a/manifests/{digest}"), "/v2/a/manifests/v1".into(), format!("/v2/a/blobs/{blob}")] {
        assert_eq!(registry.delete(&target).await.refused(), (405, "UNSUPPORTED".into()), "{target}");
    }
    assert_eq!(registry.head("/v2/a/manifests/v1").await.status, StatusCode::OK);

    let read_only = json!({"storage": {"maintenance": {"readonly": {"enabled": true}}}});
    let registry = Registry::with(read_only, None).await;
    assert_eq!(registry.post("/v2/a/blobs/uploads/").await.refused(), (405, "UNSUPPORTED".into()));
    assert_eq!(registry.head(&format!("/v2/a/blobs/{blob}")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn headers_of_the_operator_are_on_every_answer_and_ours_not_twice() {
    let headers = json!({"http": {"headers": {"X-Content-Type-Options": ["nosniff"], "X-Site": ["one", "two"]}}});
    let registry = Registry::with(headers, None).await;
    for target in ["/v2/".to_owned(), format!("/v2/a/blobs/{}", digest(b"x"))] {
        let reply = registry.get(&target).await;
        let site: Vec<_> = reply.headers.get_all("x-site").iter().collect();
        assert_eq!(site, ["one", "two"]);
        assert_eq!(reply.headers.get_all("x-content-type-options").iter().count(), 1);
    }
}

/// As at the stock registries: everything is refused until the check holds again.
#[tokio::test]
async fn a_failing_check_takes_the_registry_out() {
    let home = tempfile::tempdir().unwrap();
    let down = home.path().join("down");
    let registry = Registry::with(json!({"health": {"file": [{"file": down, "interval": "5ms"}]}}), None).await;
    let answers = async |wanted: StatusCode| {
        while registry.get("/v2/").await.status != wanted {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    let story = async {
        answers(StatusCode::OK).await;
        std::fs::write(&down, "").unwrap();
        answers(StatusCode::SERVICE_UNAVAILABLE).await;
        for target in ["/v2/", "/v2/_catalog", "/v2/a/manifests/v1", "/v2/nonsense"] {
            let refused = registry.get(target).await;
            assert_eq!(refused.refused(), (503, "UNAVAILABLE".into()), "{target}");
            let detail = &refused.json()["errors"][0]["detail"];
            assert_eq!(detail, "health check failed: please see /debug/health");
        }
        std::fs::remove_file(&down).unwrap();
        answers(StatusCode::OK).await;
    };
    registry.with_background(story).await;
}
