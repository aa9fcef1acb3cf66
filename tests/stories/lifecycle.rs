//! Tags of pull requests that a robot pushes go by a rule that was set over the API, and by a pattern in one call.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    apart::{as_account, pull, push},
    robots::robot_for_pull_requests,
};
use crate::support::server::Portreeve;

const RULES: &str = "/api/v1/registry/namespaces/acme/lifecycle";

/// The admin API with one credential.
pub(super) struct Api<'p> {
    portreeve: &'p Portreeve,
    credential: String,
}

impl<'p> Api<'p> {
    async fn of(portreeve: &'p Portreeve, level: &str) -> Self {
        Self::of_user(portreeve, "admin", level).await
    }

    pub(super) async fn of_user(portreeve: &'p Portreeve, user: &str, level: &str) -> Self {
        let made = portreeve.auth(&["token", "create", "--user", user, "--api", level]).await;
        Self { portreeve, credential: made["secret"].as_str().unwrap().to_owned() }
    }

    pub(super) async fn send(&self, method: Method, path: &str, body: &Value) -> (StatusCode, String) {
        let url = self.portreeve.url().join(path).unwrap();
        let request = reqwest::Client::new().request(method, url).bearer_auth(&self.credential);
        let answer = request.header("content-type", "application/json").body(body.to_string()).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    /// The lines of an answer.
    async fn lines(&self, path: &str, body: &Value) -> Vec<Value> {
        let (status, text) = self.send(Method::POST, path, body).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[tokio::test]
async fn tags_of_pull_requests_go_by_a_rule() {
    let portreeve = Portreeve::up();
    let robot = as_account(&portreeve, &robot_for_pull_requests(&portreeve).await);
    let admin = as_account(&portreeve, &portreeve.admin());
    assert_eq!(push(&admin, "acme/web", "latest").await, 201);
    for tag in ["pr-1", "pr-2"] {
        assert_eq!(push(&robot, "acme/web", tag).await, 201);
    }
    let api = Api::of(&portreeve, "write").await;
    let rules = json!({"rules": [{"name": "closed", "expire": {"tags": "pr-*", "not_pushed_for": "0s"}},
                                 {"keep": {"tags": "latest"}}]});
    let reader = Api::of(&portreeve, "read").await;
    let (status, answer) = reader.send(Method::PUT, RULES, &rules).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "a credential to look with changes nothing: {answer}");
    let (status, answer) = api.send(Method::PUT, RULES, &rules).await;
    assert_eq!(status, StatusCode::OK, "{answer}");

    let told = api.lines(&format!("{RULES}/preview"), &json!({})).await;
    let verdicts: Vec<(&str, &str)> =
        told.iter().filter_map(|line| Some((line["tag"].as_str()?, line["verdict"].as_str()?))).collect();
    assert_eq!(verdicts, [("latest", "kept"), ("pr-1", "expires"), ("pr-2", "expires")]);
    let token = &told.last().unwrap()["token"];
    // The robot goes on: what it pushes now was not shown.
    assert_eq!(push(&robot, "acme/web", "pr-3").await, 201);
    let told = api.lines(&format!("{RULES}/run"), &json!({ "preview": token })).await;
    let done = told.last().unwrap();
    assert_eq!((&done["event"], &done["expired"]), (&json!("done"), &json!(2)), "{told:?}");
    for (tag, status) in [("latest", 200), ("pr-1", 404), ("pr-2", 404), ("pr-3", 200)] {
        assert_eq!(pull(&admin, &format!("acme/web/manifests/{tag}")).await, status, "{tag}");
    }
    let (_, answer) = reader.send(Method::GET, RULES, &Value::Null).await;
    let overview: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((&overview["run"]["state"], &overview["run"]["actor"]), (&json!("done"), &json!("admin")));

    let by_pattern = json!({"pattern": "pr-*"});
    let (status, answer) = api.send(Method::POST, "/api/v1/registry/namespaces/acme/tags:delete", &by_pattern).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(serde_json::from_str::<Value>(&answer).unwrap()["deleted"], 1);
    assert_eq!(pull(&admin, "acme/web/manifests/pr-3").await, 404);
}

/// The same as commands, beside the server and without it.
#[tokio::test]
async fn rules_are_kept_by_commands() {
    let mut portreeve = Portreeve::up();
    portreeve.private_namespace("acme").await;
    let admin = as_account(&portreeve, &portreeve.admin());
    for tag in ["latest", "pr-1", "pr-2", "x-1"] {
        assert_eq!(push(&admin, "acme/web", tag).await, 201);
    }
    let file = portreeve.data().join("rules.json");
    let document = json!({"rules": [{"name": "closed", "expire": {"tags": "pr-*", "not_pushed_for": "0s"}}]});
    std::fs::write(&file, document.to_string()).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let command = |words: &[&str]| portreeve.command(&[&["registry"], words].concat());
    command(&["lifecycle", "status", "acme"]).succeeds().await.says("never run");
    command(&["lifecycle", "run", "acme"]).fails().await.says("acme has no rules");
    let tried = command(&["lifecycle", "preview", "acme", "--rules", &file]).succeeds().await;
    tried
        .says("expires   acme/web:pr-1 by closed (acme): pushed at ")
        .says("2 would go now, 0 later; 0 kept, 2 untouched");
    tried.never_says("--preview");
    command(&["lifecycle", "set", "acme", &file]).succeeds().await.says("\"closed\"");
    let shown = command(&["lifecycle", "show", "acme", "--json"]).succeeds().await;
    assert_eq!(serde_json::from_str::<Value>(&shown.stdout).unwrap()["rules"], document["rules"]);
    let preview = command(&["lifecycle", "preview", "acme", "--json"]).succeeds().await;
    let preview: Value = serde_json::from_str(&preview.stdout).unwrap();
    assert_eq!(preview["items"].as_array().unwrap().len(), 4);
    let token = preview["summary"]["token"].as_str().unwrap();
    command(&["lifecycle", "run", "acme", "--preview", &format!("{token}x")])
        .fails()
        .await
        .says("names no preview of acme");
    command(&["lifecycle", "run", "acme", "--preview", token]).succeeds().await.says("acme/web: 2 gone");
    command(&["lifecycle", "status", "acme"]).succeeds().await.says("run 1: done, asked for by local");
    std::fs::write(&file, json!({"rules": [{"expire": {"tags": "*", "not_pushed_for": "0s"}}]}).to_string()).unwrap();
    command(&["lifecycle", "set", "acme", &file]).fails().await.says("\"confirm\": true");
    command(&["tag", "delete-matching", "acme", "--pattern", "x-*"]).succeeds().await.says("acme/web: 1 deleted");

    assert!(portreeve.stop().success());
    let command = |words: &[&str]| portreeve.command(&[&["registry"], words].concat());
    command(&["lifecycle", "set", "acme", &file, "--confirm"]).succeeds().await;
    let ran = command(&["lifecycle", "run", "acme", "--json"]).succeeds().await;
    assert_eq!(serde_json::from_str::<Value>(&ran.stdout).unwrap()["expired"], 1);
    portreeve.start_again();
    assert_eq!(pull(&admin, "acme/web/manifests/latest").await, 404);
}
