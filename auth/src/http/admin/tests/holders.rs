//! "Who can push here?"

use super::{Office, Value, json};

shared::on_both! {
    crate::http::admin::tests::Office:
    every_holder_is_listed_with_its_rules
    administrators_of_a_namespace_are_not_told_of_rules_elsewhere
    who_cannot_get_in_holds_nothing
    holders_come_in_pages
}

const ACCESS: &str = "/api/v1/namespaces/acme/access";

/// acme is ada's. Bob is in its team dev, which pushes; a robot pushes `pr-*`; eve reads whatever there is.
async fn company(office: &Office) -> String {
    let ada = office.namespace("acme", "ada").await;
    for name in ["bob", "eve"] {
        office.user(name, "read").await;
    }
    office.made("/api/v1/namespaces/acme/teams", json!({ "name": "dev" })).await;
    office.local("put", "/api/v1/namespaces/acme/teams/dev/members/bob", Value::Null).await;
    office.made("/api/v1/namespaces/acme/robots", json!({ "name": "ci" })).await;
    for grant in [
        json!({ "subject": "team:dev", "repositories": "acme/web", "actions": "contributor" }),
        json!({ "subject": "robot.acme.ci", "repositories": "acme/**", "actions": "pull,push", "tags": "pr-*" }),
        json!({ "subject": "everyone", "repositories": "acme/open/*", "actions": "pull" }),
        json!({ "subject": "authenticated", "repositories": "acme/{username}/**", "actions": "maintainer" }),
    ] {
        office.made("/api/v1/namespaces/acme/grants", grant).await;
    }
    office.made("/api/v1/grants", json!({ "subject": "eve", "repositories": "**", "actions": "pull" })).await;
    let guardrail = json!({ "effect": "deny", "repositories": "*/release/**", "actions": "push,delete" });
    office.made("/api/v1/grants", guardrail).await;
    ada
}

/// One line for each entry: `bob pull,push acme/web by grant (team:acme/dev)`.
fn lines(answer: &Value) -> Vec<String> {
    let words = |value: &Value| {
        let list = value.as_array().expect("a list").iter();
        list.map(|word| word.as_str().unwrap()).collect::<Vec<_>>().join(",")
    };
    let line = |item: &Value| {
        let tags = item.get("tags").map(|tags| format!(" [{}]", words(tags))).unwrap_or_default();
        let subject = item["subject"].as_str().map(|subject| format!(" ({subject})")).unwrap_or_default();
        assert_eq!(item["grant"].is_i64(), item["by"] == "grant", "{item}");
        let (holder, by) = (item["holder"].as_str().unwrap(), item["by"].as_str().unwrap());
        format!("{holder} {} {}{tags} by {by}{subject}", words(&item["actions"]), words(&item["repositories"]))
    };
    answer["items"].as_array().expect("items").iter().map(line).collect()
}

async fn every_holder_is_listed_with_its_rules(office: &Office) {
    company(office).await;
    office.local("patch", "/api/v1/namespaces/acme", json!({ "visibility": "internal" })).await;
    let (status, answer) = office.local("get", ACCESS, Value::Null).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        lines(&answer),
        [
            "everyone pull acme/open/* by grant (everyone)",
            "users pull acme,acme/** by visibility",
            "authenticated pull,push,delete acme/{username}/** by grant (authenticated)",
            "ada pull,push,delete acme,acme/** by grant (ada)",
            "admin pull,push,delete acme,acme/** by system_role",
            "bob pull,push acme/web by grant (team:acme/dev)",
            "eve pull acme,acme/** by grant (eve)",
            "robot.acme.ci pull,push acme/** [pr-*] by grant (robot.acme.ci)",
        ]
    );
    let forbidden = answer["forbidden"].as_array().unwrap();
    assert_eq!(forbidden.len(), 1);
    assert_eq!(forbidden[0]["actions"], json!(["push", "delete"]));
    assert_eq!(forbidden[0]["repositories"], json!(["acme/release/**"]));
    assert!(forbidden[0]["guardrail"].is_i64());
}

async fn administrators_of_a_namespace_are_not_told_of_rules_elsewhere(office: &Office) {
    let ada = company(office).await;
    let (status, answer) = office.bearing(&ada, "get", ACCESS, Value::Null).await;
    assert_eq!(status, 200, "{answer}");
    let lines = lines(&answer);
    // That they can is told, because explain would tell it of each repository; by which rule is not.
    assert!(lines.contains(&"eve pull acme,acme/** by elsewhere".to_owned()), "{lines:?}");
    assert!(lines.contains(&"admin pull,push,delete acme,acme/** by elsewhere".to_owned()), "{lines:?}");
    assert!(lines.contains(&"bob pull,push acme/web by grant (team:acme/dev)".to_owned()), "{lines:?}");
    assert!(answer["forbidden"][0].get("guardrail").is_none(), "{answer}");
    let other = office.namespace("base", "olga").await;
    assert_eq!(office.bearing(&other, "get", ACCESS, Value::Null).await.0, 404, "not hers, so it is not there");
}

async fn who_cannot_get_in_holds_nothing(office: &Office) {
    company(office).await;
    let holders = async || {
        let (_, answer) = office.local("get", ACCESS, Value::Null).await;
        lines(&answer).iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let before = holders().await;
    office.local("post", "/api/v1/users/bob/suspend", Value::Null).await;
    office.local("delete", "/api/v1/namespaces/acme/robots/ci", Value::Null).await;
    let after = holders().await;
    let gone: Vec<_> = before.iter().filter(|name| !after.contains(name)).collect();
    assert_eq!(gone, ["bob", "robot.acme.ci"]);
    office.local("post", "/api/v1/users/bob/resume", Value::Null).await;
    assert!(holders().await.contains(&"bob".to_owned()));
    let ending = json!({ "subject": "eve", "repositories": "acme/x", "actions": "push,pull", "expires_at": "2027-01-15T08:00:01Z" });
    office.made("/api/v1/namespaces/acme/grants", ending).await;
    assert_eq!(holders().await.iter().filter(|name| *name == "eve").count(), 2);
    office.pass(std::time::Duration::from_secs(2));
    assert_eq!(holders().await.iter().filter(|name| *name == "eve").count(), 1, "a grant that has ended gives nothing");
}

async fn holders_come_in_pages(office: &Office) {
    company(office).await;
    let (_, whole) = office.local("get", ACCESS, Value::Null).await;
    let (mut seen, mut after) = (Vec::new(), String::new());
    for _ in 0..20 {
        let asked = if after.is_empty() { String::new() } else { format!("&after={after}") };
        let (_, page) = office.local("get", &format!("{ACCESS}?limit=2{asked}"), Value::Null).await;
        seen.extend(lines(&page));
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => break,
        }
    }
    assert_eq!(seen, lines(&whole));
}
