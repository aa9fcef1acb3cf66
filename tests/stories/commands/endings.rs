//! What is refused for a while, closed, revoked or deleted, and the lists that say what there is.

use serde_json::{Value, json};

use super::{Portreeve, refused, said, teams::listed, text};

/// In a namespace and with accounts that the walk has made before.
pub(super) async fn walk(portreeve: &Portreeve, own: &str) {
    people(portreeve, own).await;
    robots(portreeve, own).await;
    tokens(portreeve, own).await;
    namespaces(portreeve, own).await;
    guardrails(portreeve, own).await;
    services(portreeve, own).await;
}

/// Something with an account, and the list that shows it.
struct Kept<'a> {
    noun: &'static str,
    /// As commands call it, and as the list does.
    names: (&'a str, &'a str),
    /// Where it is listed.
    list: &'a [&'a str],
}

impl Kept<'_> {
    /// Null where the list does not have it.
    async fn state(&self, portreeve: &Portreeve) -> Value {
        let list = portreeve.auth(self.list).await;
        let items = list["items"].as_array().expect("a list has items");
        items.iter().find(|item| item["name"] == self.names.1).map_or(Value::Null, |item| item["state"].clone())
    }

    /// Each verb for programs and for people.
    async fn is_suspended_and_resumed(&self, portreeve: &Portreeve) {
        let Self { noun, names: (name, _), .. } = self;
        for (verb, state) in [("suspend", "suspended"), ("resume", "active")] {
            assert_eq!(portreeve.auth(&[noun, verb, name]).await, json!({}));
            assert_eq!(self.state(portreeve).await, state);
            said(portreeve, &[noun, verb, name]).await.says("done");
            assert_eq!(self.state(portreeve).await, state, "{verb} twice is as good as once");
        }
    }
}

async fn people(portreeve: &Portreeve, own: &str) {
    let (carol, dave) = (format!("{own}-carol"), format!("{own}-dave"));
    for name in [&carol, &dave] {
        portreeve.auth(&["user", "add", name]).await;
    }
    let kept = |name| Kept { noun: "user", names: (name, name), list: &["user", "list"] };
    kept(&carol).is_suspended_and_resumed(portreeve).await;
    said(portreeve, &["user", "list"]).await.says("STATE").says(&carol);
    assert_eq!(portreeve.auth(&["user", "delete", &carol]).await, json!({}));
    said(portreeve, &["user", "delete", &dave]).await.says("done");
    for name in [&carol, &dave] {
        assert_eq!(kept(name).state(portreeve).await, Value::Null);
    }
    for verb in ["suspend", "resume", "delete"] {
        refused(portreeve, &["user", verb, &carol], &format!("there is no user {carol:?}")).await;
    }
    refused(portreeve, &["user", "delete", "admin"], "the last active system administrator").await;
}

async fn robots(portreeve: &Portreeve, own: &str) {
    let (first, second) = (format!("{own}/first"), format!("{own}/second"));
    for name in [&first, &second] {
        portreeve.auth(&["robot", "add", name]).await;
    }
    let (handle, list) = (format!("robot.{own}.first"), ["robot", "list", own]);
    let kept = Kept { noun: "robot", names: (&first, &handle), list: &list };
    kept.is_suspended_and_resumed(portreeve).await;
    said(portreeve, &list).await.says("STATE").says(&handle);
    refused(portreeve, &["robot", "list", "missing"], "there is no namespace \"missing\"").await;
    assert_eq!(portreeve.auth(&["robot", "delete", &first]).await, json!({}));
    assert_eq!(kept.state(portreeve).await, Value::Null);
    said(portreeve, &["robot", "delete", &second]).await.says("done");
    for verb in ["suspend", "resume", "delete"] {
        refused(portreeve, &["robot", verb, &first], &format!("there is no robot {first:?}")).await;
    }
}

async fn tokens(portreeve: &Portreeve, own: &str) {
    let alice = format!("{own}-alice");
    let make = ["token", "create", "--user", &alice, "--expires", "10d", "--name", "to be revoked"];
    let numbers = [portreeve.auth(&make).await, portreeve.auth(&make).await].map(|made| made["id"].to_string());

    let reviewed = async |words: &[&str]| {
        let all = portreeve.auth(&[&["token", "review"], words].concat()).await;
        let items = all["items"].as_array().expect("a list has items").clone();
        items.iter().map(|item| (text(item, "owner"), text(item, "name"))).collect::<Vec<_>>()
    };
    let hers = (alice.clone(), "to be revoked".to_owned());
    assert!(reviewed(&[]).await.contains(&hers) && reviewed(&["--ending", "11"]).await.contains(&hers));
    assert!(!reviewed(&["--ending", "9"]).await.contains(&hers) && reviewed(&["--unused", "1"]).await.is_empty());
    let keys = reviewed(&["--namespace", own]).await;
    assert!(!keys.is_empty() && keys.iter().all(|(owner, _)| owner.starts_with("robot.")), "{keys:?}");
    said(portreeve, &["token", "review"]).await.says("OWNER").says("to be revoked");
    refused(portreeve, &["token", "review", "--unused", "3661"], "unused_days is at most 3660").await;
    refused(portreeve, &["token", "review", "--namespace", "missing"], "there is no namespace \"missing\"").await;

    let revoke = |number| ["token", "revoke", "--user", &alice, number];
    assert_eq!(portreeve.auth(&revoke(&numbers[0])).await, json!({}));
    said(portreeve, &revoke(&numbers[1])).await.says("done");
    refused(portreeve, &revoke(&numbers[0]), "no such credential").await;
    assert!(!reviewed(&[]).await.contains(&hers));
}

async fn namespaces(portreeve: &Portreeve, own: &str) {
    let (first, second) = (format!("{own}-first"), format!("{own}-second"));
    for name in [&first, &second] {
        portreeve.auth(&["namespace", "add", name]).await;
    }
    assert_eq!(portreeve.auth(&["namespace", "visibility", &first, "public"]).await["visibility"], "public");
    said(portreeve, &["namespace", "visibility", &first, "internal"]).await.says("visibility: internal");
    refused(portreeve, &["namespace", "visibility", &first, "open"], "unknown variant").await;
    refused(portreeve, &["namespace", "visibility", "missing", "public"], "there is no namespace").await;

    portreeve.auth(&["grant", "add", &format!("{own}-alice"), &format!("{first}/**"), "pull,push"]).await;
    let access = portreeve.auth(&["namespace", "access", &first]).await;
    let hers = access["items"].as_array().and_then(|items| items.iter().find(|one| one["grant"].is_i64()));
    assert_eq!(hers.map(|one| &one["actions"]), Some(&json!(["pull", "push"])), "{access}");
    said(portreeve, &["namespace", "access", &first]).await.says("HOLDER").says(&format!("{own}-alice"));
    refused(portreeve, &["namespace", "access", "missing"], "there is no namespace \"missing\"").await;

    assert_eq!(portreeve.auth(&["namespace", "delete", &first]).await, json!({}));
    said(portreeve, &["namespace", "delete", &second]).await.says("done");
    refused(portreeve, &["namespace", "delete", &first], "no such namespace").await;
    said(portreeve, &["namespace", "list"]).await.says("VISIBILITY").never_says(&second);
}

async fn guardrails(portreeve: &Portreeve, own: &str) {
    let (pattern, scope) = (format!("{own}/release/**"), format!("repository:{own}/release/web:push"));
    assert!(portreeve.auth(&["grant", "forbid", &pattern, "push"]).await["id"].is_i64());
    said(portreeve, &["grant", "forbid", &pattern, "delete", "--expires", "1d"]).await.says("id: ");
    refused(portreeve, &["grant", "forbid", &pattern, "destroy"], "destroy").await;
    said(portreeve, &["explain", "admin", &scope]).await.says("push: no");
    let list = portreeve.auth(&["grant", "list"]).await;
    let items = list["items"].as_array().expect("a list has items");
    let rails: Vec<&Value> = items.iter().filter(|rule| rule["effect"] == "deny").collect();
    assert!(rails.len() == 2 && rails.iter().all(|rail| rail["repositories"] == *pattern), "{rails:?}");
    for rail in rails {
        portreeve.auth(&["grant", "remove", &rail["id"].to_string()]).await;
    }
    said(portreeve, &["explain", "admin", &scope]).await.says("push: yes");
}

async fn services(portreeve: &Portreeve, own: &str) {
    let name = format!("{own}.example.com");
    assert!(listed(portreeve, &["service", "list"], "name").await.contains(&name));
    said(portreeve, &["service", "list"]).await.says("CATALOG").says(&name);
    refused(portreeve, &["service", "list", &name], "unexpected argument").await;
}
