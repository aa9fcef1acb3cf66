//! What a grant would change, asked before it is written.

use super::{walk::everything, *};

shared::on_both! {
    crate::http::admin::tests::Office:
    what_a_grant_would_give_is_told_and_nothing_is_written
    nobody_supposes_what_they_may_not_look_at
    a_supposed_grant_does_not_tell_who_is_in_anothers_team
}

const EXPLAIN: &str = "/api/v1/explain";

fn with(grant: &Value) -> Value {
    json!({ "principal": "robot.acme.ci", "scope": "repository:acme/web:pull,delete", "grant": grant })
}

async fn what_a_grant_would_give_is_told_and_nothing_is_written(office: &Office) {
    let alice = office.namespace("acme", "alice").await;
    office.made("/api/v1/namespaces/acme/robots", json!({ "name": "ci" })).await;
    let looking = office.token("alice", json!({ "name": "look", "api": "read" })).await;
    let (_, before) = office.local("get", "/api/v1/audit", Value::Null).await;
    let grant =
        json!({ "subject": "robot.acme.ci", "repositories": "acme/**", "actions": "maintainer", "tags": "pr-*" });
    for secret in [&alice, &looking] {
        let (status, told) = office.bearing(secret, "post", EXPLAIN, with(&grant)).await;
        assert_eq!(status, StatusCode::OK, "{told}");
        let result = &told["results"][0];
        assert_eq!(result["granted"][0]["actions"], json!(["pull"]));
        assert_eq!(result["granted"][0]["limited"], json!([{ "actions": ["delete"], "tags": ["pr-*"] }]));
        assert_eq!(result["why"][0]["rule"]["supposed"], true);
        assert_eq!(result["why"][0]["rule"].get("grant"), None);
    }
    // Once more as it is: nothing was written, and nobody was told that something was.
    let question = format!("{EXPLAIN}?principal=robot.acme.ci&scope=repository:acme/web:pull");
    let (_, told) = office.bearing(&alice, "get", &question, Value::Null).await;
    assert_eq!(told["results"][0]["granted"], json!([]));
    let rail = json!({ "repositories": "acme/**", "actions": "pull", "effect": "deny" });
    office
        .made(
            "/api/v1/namespaces/acme/grants",
            json!({ "subject": "everyone", "repositories": "acme/**", "actions": "pull" }),
        )
        .await;
    let (status, told) = office.local("post", EXPLAIN, with(&rail)).await;
    assert_eq!(status, StatusCode::OK, "{told}");
    let reasons = told["results"][0]["why_not"].as_array().unwrap().iter().map(|line| &line["reason"]);
    assert!(reasons.clone().any(|reason| reason == "the supposed guardrail forbids it"), "{told}");
    let (_, after) = office.local("get", "/api/v1/audit", Value::Null).await;
    let count = |log: &Value| log["items"].as_array().unwrap().len();
    assert_eq!(count(&after), count(&before) + 1, "but for the grant that was written");
    // What could not be written gives nothing to ask about.
    for (grant, expected) in [
        (json!({ "subject": "robot.acme.ci", "repositories": "acme", "actions": "admin" }), StatusCode::FORBIDDEN),
        (json!({ "subject": "robot.acme.ci", "repositories": "acme/**", "actions": "push" }), StatusCode::FORBIDDEN),
        (json!({ "subject": "nobody", "repositories": "acme/**", "actions": "pull" }), StatusCode::BAD_REQUEST),
        (
            json!({ "subject": "alice", "repositories": "acme/**", "actions": "pull", "note": "" }),
            StatusCode::BAD_REQUEST,
        ),
    ] {
        let (status, told) = office.bearing(&alice, "post", EXPLAIN, with(&grant)).await;
        assert_eq!(status, expected, "{told}");
    }
}

/// Supposing must not tell what looking does not: of a namespace that is another's, and of one that is not, the same.
async fn nobody_supposes_what_they_may_not_look_at(office: &Office) {
    let things = Things::of(office).await;
    let bob = office.namespace("other", "bob").await;
    let none = office.user("nobody", "write").await;
    let before = everything(office, &things).await;
    for secret in [&bob, &none] {
        let mut answers = Vec::new();
        for namespace in ["acme", "none"] {
            let grant = json!({ "subject": "carol", "repositories": format!("{namespace}/**"), "actions": "pull" });
            let scope = format!("repository:{namespace}/web:pull");
            for principal in [json!("carol"), Value::Null] {
                let asked = json!({ "principal": principal, "scope": scope, "grant": grant });
                answers.push(office.bearing(secret, "post", EXPLAIN, asked).await);
            }
        }
        assert!(answers.iter().all(|(status, _)| *status == StatusCode::NOT_FOUND), "{answers:?}");
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    }
    let wild = json!({ "subject": "carol", "repositories": "**", "actions": "pull" });
    let rail = json!({ "repositories": "other/**", "actions": "pull", "effect": "deny" });
    for grant in [wild, rail] {
        let asked = json!({ "principal": "carol", "scope": "repository:other/web:pull", "grant": grant });
        assert_eq!(office.bearing(&bob, "post", EXPLAIN, asked.clone()).await.0, StatusCode::FORBIDDEN);
        assert_eq!(office.local("post", EXPLAIN, asked).await.0, StatusCode::OK);
    }
    assert_eq!(everything(office, &things).await, before);
}

/// Who is in a team is told to those who see its namespace. To others a team that is there and one that is not are one, whoever is in it.
async fn a_supposed_grant_does_not_tell_who_is_in_anothers_team(office: &Office) {
    Things::of(office).await;
    let bob = office.namespace("other", "bob").await;
    let both = office.token("alice", json!({ "name": "look", "api": "read" })).await;
    let sees = json!({ "subject": "alice", "repositories": "other", "actions": "admin" });
    office.made("/api/v1/namespaces/other/grants", sees).await;
    let ask = async |secret: &str, principal: &str, team: &str| {
        let grant = json!({ "subject": team, "repositories": "other/**", "actions": "pull" });
        let asked = json!({ "principal": principal, "scope": "repository:other/x:pull", "grant": grant });
        let (status, mut told) = office.bearing(secret, "post", EXPLAIN, asked).await;
        // Which name was looked for is the caller's own word.
        if let Some(detail) = told["detail"].as_str() {
            told["detail"] = detail.replace(team.trim_start_matches("team:"), "").into();
        }
        (status, told)
    };
    let missing = ask(&bob, "carol", "team:none/dev").await;
    assert_eq!(missing.0, StatusCode::BAD_REQUEST, "{missing:?}");
    for principal in ["carol", "bob"] {
        for team in ["team:acme/dev", "team:acme/none", "team:none/dev"] {
            assert_eq!(ask(&bob, principal, team).await, missing, "{principal} {team}");
        }
    }
    let (status, told) = ask(&both, "carol", "team:acme/dev").await;
    assert_eq!((status, &told["results"][0]["granted"][0]["actions"]), (StatusCode::OK, &json!(["pull"])), "{told}");
    let (_, told) = ask(&both, "bob", "team:acme/dev").await;
    assert_eq!(told["results"][0]["why"][0]["rule"]["supposed"], Value::Null, "bob is not in it");
}
