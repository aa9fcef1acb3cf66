//! Lifecycle rules over the admin API: who may set and run them, and what is answered to whom.

use std::time::Duration;

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use serde_json::{Value, json};

use crate::client::{Registry, Reply};

const NAMESPACE: &str = "/api/v1/registry/namespaces/acme/lifecycle";
const OWN: &str = "/api/v1/registry/lifecycle?repository=acme/web";
const DELETE: &str = "/api/v1/registry/namespaces/acme/tags:delete";

/// A request of root on the data directory's socket.
async fn ask(registry: &Registry, method: Method, target: &str, body: &Value) -> Reply {
    registry.on_the_socket(0, method, target, body).await
}

async fn refused(registry: &Registry, method: Method, target: &str, body: &Value, status: u16) -> String {
    let reply = ask(registry, method, target, body).await;
    assert_eq!(reply.status.as_u16(), status, "{body}: {}", reply.text());
    assert_eq!(reply.expect("content-type"), "application/problem+json");
    reply.json()["detail"].as_str().unwrap().to_owned()
}

fn lines(reply: &Reply) -> Vec<Value> {
    assert_eq!(
        (reply.status, reply.expect("content-type")),
        (StatusCode::OK, "application/x-ndjson"),
        "{}",
        reply.text()
    );
    reply.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn closed() -> Value {
    json!({"rules": [{"expire": {"tags": "pr-*", "not_pushed_for": "0s"}}, {"keep": {"tags": "pr-keep"}}]})
}

#[tokio::test]
async fn rules_are_set_previewed_and_run() {
    let registry = Registry::open().await;
    for tag in ["latest", "pr-1", "pr-2", "pr-keep"] {
        registry.push_image("acme/web", tag).await;
    }
    let empty = ask(&registry, Method::GET, NAMESPACE, &Value::Null).await.json();
    assert_eq!(empty, json!({"about": "acme", "rules": [], "set_at": null, "repositories": [], "run": null}));
    let set = ask(&registry, Method::PUT, NAMESPACE, &closed()).await;
    assert_eq!((set.status, &set.json()["rules"]), (StatusCode::OK, &closed()["rules"]));
    let told = lines(&ask(&registry, Method::POST, &format!("{NAMESPACE}/preview"), &json!({})).await);
    let verdicts: Vec<&str> = told.iter().filter_map(|line| line["verdict"].as_str()).collect();
    assert_eq!(verdicts, ["untouched", "expires", "expires", "kept"]);
    let done = told.last().unwrap();
    assert_eq!((&done["event"], &done["verdicts"]["expires"]), (&json!("done"), &json!(2)));
    // pr-1 goes another way in between.
    assert_eq!(registry.delete("/v2/acme/web/manifests/pr-1").await.status, StatusCode::ACCEPTED);
    registry.push_image("acme/web", "pr-1").await;
    let run = format!("{NAMESPACE}/run");
    let told = lines(&ask(&registry, Method::POST, &run, &json!({"preview": done["token"]})).await);
    assert_eq!((&told[0]["event"], &told[0]["run"]), (&json!("started"), &json!(1)));
    let end = told.last().unwrap();
    assert_eq!((&end["event"], &end["expired"], &end["looked"]), (&json!("done"), &json!(1), &json!(4)), "{end}");
    let tags = registry.get("/v2/acme/web/tags/list").await.json();
    assert_eq!(tags["tags"], json!(["latest", "pr-1", "pr-keep"]));
    let overview = ask(&registry, Method::GET, NAMESPACE, &Value::Null).await.json();
    let run = &overview["run"];
    assert_eq!(
        (&run["number"], &run["state"], &run["actor"], &run["expired"]),
        (&json!(1), &json!("done"), &json!("local"), &json!(1))
    );
}

#[tokio::test]
async fn what_makes_no_sense_is_said_with_its_place() {
    let registry = Registry::open().await;
    registry.push_image("acme/web", "v1").await;
    let set = async |rules: Value| refused(&registry, Method::PUT, NAMESPACE, &json!({ "rules": rules }), 400).await;
    let wrong = set(json!([{"expire": {"tags": "pr/*", "not_pushed_for": "7d"}}])).await;
    assert!(wrong.starts_with("rules[0].expire.tags: character 3, '/'"), "{wrong}");
    assert!(set(json!([{"keeps": {}}])).await.contains("unknown field `keeps`"));
    let everything = json!([{"expire": {"tags": "*", "not_pushed_for": "30d"}}]);
    assert!(set(everything.clone()).await.contains("\"confirm\": true"));
    let confirmed = ask(&registry, Method::PUT, NAMESPACE, &json!({"rules": everything, "confirm": true})).await;
    assert_eq!(confirmed.status, StatusCode::OK);
    for (method, target, body) in [
        (Method::PUT, NAMESPACE, json!({})),
        (Method::PUT, NAMESPACE, json!({"rules": [], "force": true})),
        (Method::POST, &*format!("{NAMESPACE}/preview"), json!({"rules": [{}]})),
        (Method::POST, &*format!("{NAMESPACE}/preview"), json!({"rule": []})),
        (Method::POST, &*format!("{NAMESPACE}/run"), json!({"preview": "nonsense"})),
        (Method::POST, &*format!("{NAMESPACE}/run"), json!({"preview": 7})),
        (Method::POST, DELETE, json!({})),
        (Method::POST, DELETE, json!({"pattern": "a/b"})),
        (Method::POST, DELETE, json!({"pattern": "a", "repositories": "other/*"})),
        (Method::POST, DELETE, json!({"pattern": "a", "repositories": ["other/web"]})),
        (Method::POST, DELETE, json!({"pattern": "a", "repositories": []})),
        (Method::POST, DELETE, json!({"pattern": "a", "repositories": 1})),
        (Method::POST, DELETE, json!({"pattern": "*"})),
        (Method::POST, DELETE, json!({"pattern": "?*", "repositories": "acme/**"})),
    ] {
        refused(&registry, method, target, &body, 400).await;
    }
    for (body, place) in [
        (json!({"pattern": "pr/*"}), "pattern: character 3, '/'"),
        (json!({"pattern": "a", "repositories": "acme/We*"}), "repositories: character 6: 'W'"),
        (json!({"pattern": "a", "repositories": ["acme/web", "acme/We"]}), "repositories[1]: "),
    ] {
        let wrong = refused(&registry, Method::POST, DELETE, &body, 400).await;
        assert!(wrong.starts_with(place), "{wrong}");
    }
    refused(&registry, Method::POST, "/api/v1/registry/namespaces/nobody/lifecycle/run", &json!({}), 409).await;
    refused(&registry, Method::PUT, "/api/v1/registry/lifecycle?repository=acme/api", &json!({"rules": []}), 404).await;
    refused(&registry, Method::POST, DELETE, &json!({"pattern": "a", "repositories": ["acme/missing"]}), 404).await;
    let tags = registry.get("/v2/acme/web/tags/list").await.json();
    assert_eq!(tags["tags"], json!(["v1"]), "nothing went");
}

/// Both are refused before anything goes. The status says whose affair it is: a token of another namespace is a mistake, an old one is to be had anew.
#[tokio::test]
pub(crate) async fn a_preview_that_does_not_count_is_refused() {
    let registry = Registry::open().await;
    let other = "/api/v1/registry/namespaces/other/lifecycle";
    for (repository, rules) in [("acme/web", NAMESPACE), ("other/web", other)] {
        registry.push_image(repository, "pr-1").await;
        assert_eq!(ask(&registry, Method::PUT, rules, &closed()).await.status, StatusCode::OK);
    }
    let previewed = async || {
        let told = lines(&ask(&registry, Method::POST, &format!("{NAMESPACE}/preview"), &json!({})).await);
        json!({"preview": told.last().unwrap()["token"]})
    };
    let run = async |rules: &str, shown: &Value, status: u16| {
        refused(&registry, Method::POST, &format!("{rules}/run"), shown, status).await
    };
    let shown = previewed().await;
    let foreign = run(other, &shown, 400).await;
    assert_eq!(foreign, "this token names no preview of other");
    ask(&registry, Method::PUT, NAMESPACE, &closed()).await;
    let before = run(NAMESPACE, &shown, 409).await;
    assert!(before.contains("the rules were set since"), "{before}");
    let shown = previewed().await;
    registry.pass(Duration::from_secs(60 * 60 + 1));
    let expired = run(NAMESPACE, &shown, 409).await;
    assert!(expired.contains("has expired"), "{expired}");
    for (repository, rules) in [("acme/web", NAMESPACE), ("other/web", other)] {
        assert_eq!(registry.get(&format!("/v2/{repository}/tags/list")).await.json()["tags"], json!(["pr-1"]));
        assert_eq!(ask(&registry, Method::GET, rules, &Value::Null).await.json()["run"], Value::Null, "none was begun");
    }
}

#[tokio::test]
async fn tags_go_by_a_pattern() {
    let registry = Registry::open().await;
    for (repository, tag) in [("acme/web", "pr-7"), ("acme/web", "v1"), ("acme/api", "pr-7")] {
        registry.push_image(repository, tag).await;
    }
    let dry = ask(&registry, Method::POST, DELETE, &json!({"pattern": "pr-7", "dry_run": true})).await.json();
    assert_eq!((&dry["dry_run"], &dry["deleted"]), (&json!(true), &json!(2)));
    let named = json!({"pattern": "pr-7", "repositories": ["acme/api"]});
    assert_eq!(ask(&registry, Method::POST, DELETE, &named).await.json()["deleted"], 1);
    let rest = ask(&registry, Method::POST, DELETE, &json!({"pattern": "pr-*"})).await.json();
    let expected =
        json!({"dry_run": false, "deleted": 1, "left": 0, "repositories": [{"repository": "acme/web", "deleted": 1}]});
    assert_eq!(rest, expected);
    let all = json!({"pattern": "*", "confirm": true});
    assert_eq!(ask(&registry, Method::POST, DELETE, &all).await.json()["deleted"], 1);
}

#[tokio::test]
async fn a_repository_has_rules_beside_those_of_its_namespace() {
    let registry = Registry::open().await;
    registry.push_image("acme/web", "v1").await;
    let rules = json!({"rules": [{"keep": {"tags": "v*"}}]});
    assert_eq!(ask(&registry, Method::PUT, OWN, &rules).await.status, StatusCode::OK);
    let shown = ask(&registry, Method::GET, OWN, &Value::Null).await.json();
    assert_eq!(shown, json!({"about": "acme/web", "rules": rules["rules"]}));
    let overview = ask(&registry, Method::GET, NAMESPACE, &Value::Null).await.json();
    assert_eq!(overview["repositories"], json!(["acme/web"]));
}

/// Rules are the affair of those who administer the namespace, and to look at them of those who may see it.
#[tokio::test]
async fn rules_belong_to_the_administrators_of_the_namespace() {
    let registry = Registry::guarded(None).await;
    let rules = json!({"rules": []}).to_string();
    let call = async |access: Value, method: Method, target: &str| {
        let bearer = registry.bearer(&access);
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let body = if method == Method::PUT { Body::from(rules.clone()) } else { Body::empty() };
        registry.send(method, target, &headers, body).await.status.as_u16()
    };
    let namespace = |name: &str, action: &str| json!([{"type": "namespace", "name": name, "actions": [action]}]);
    let pulls = json!([{"type": "repository", "name": "acme/web", "actions": ["pull", "push", "delete"]}]);
    assert_eq!(call(namespace("acme", "read"), Method::GET, NAMESPACE).await, 200);
    assert_eq!(call(namespace("acme", "admin"), Method::PUT, NAMESPACE).await, 200);
    for (access, method) in [
        (namespace("acme", "read"), Method::PUT),
        (namespace("other", "admin"), Method::PUT),
        (namespace("other", "read"), Method::GET),
        (pulls.clone(), Method::GET),
        (pulls.clone(), Method::PUT),
    ] {
        assert_eq!(call(access.clone(), method.clone(), NAMESPACE).await, 404, "{access} {method}");
    }
    for path in ["preview", "run"] {
        assert_eq!(call(namespace("acme", "read"), Method::POST, &format!("{NAMESPACE}/{path}")).await, 404);
    }
    assert_eq!(call(pulls.clone(), Method::POST, DELETE).await, 404, "who may delete single tags has no say here");
    // There is no such repository: those who are let in are told so, in the same words as those who are not.
    assert_eq!(call(pulls, Method::GET, OWN).await, 404);
    assert_eq!(call(namespace("acme", "admin"), Method::PUT, OWN).await, 404);
}
