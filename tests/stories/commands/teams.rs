//! `team`: who is in one, and which groups of a directory feed it.

use serde_json::{Value, json};

use super::{Portreeve, refused, said};

/// The settings of a directory that nobody runs: what feeds a team is written down without asking it.
pub(super) const DIRECTORY: &str =
    "[{name: corp, urls: ['ldap://127.0.0.1:1'], insecure: true, users: {base: 'dc=corp,dc=example'}}]";
const GROUP: &str = "cn=dev,ou=groups,dc=corp,dc=example";

/// In a namespace and with accounts that the walk has made before.
pub(super) async fn walk(portreeve: &Portreeve, own: &str) {
    let (dev, ops) = (format!("{own}/dev"), format!("{own}/ops"));
    assert_eq!(portreeve.auth(&["team", "add", &dev]).await["name"], "dev");
    said(portreeve, &["team", "add", &ops]).await.says("name: ops");
    refused(portreeve, &["team", "add", &dev], "already a team \"dev\"").await;
    refused(portreeve, &["team", "add", "missing/dev"], "there is no namespace \"missing\"").await;
    refused(portreeve, &["team", "add", "dev"], "is not <namespace>/<name>").await;
    assert_eq!(listed(portreeve, &["team", "list", own], "name").await, ["dev", "ops"]);
    said(portreeve, &["team", "list", own]).await.says("NAME").says("ops");
    refused(portreeve, &["team", "list", "missing"], "there is no namespace \"missing\"").await;

    members(portreeve, own, &dev).await;
    mappings(portreeve, own, &dev).await;

    assert_eq!(portreeve.auth(&["team", "delete", &dev]).await, json!({}));
    said(portreeve, &["team", "delete", &ops]).await.says("done");
    refused(portreeve, &["team", "delete", &ops], "no such thing").await;
    assert_eq!(listed(portreeve, &["team", "list", own], "name").await, [""; 0]);
}

async fn members(portreeve: &Portreeve, own: &str, team: &str) {
    let (alice, bob) = (format!("{own}-alice"), format!("{own}-bob"));
    assert_eq!(portreeve.auth(&["team", "join", team, &alice]).await, json!({}));
    said(portreeve, &["team", "join", team, &bob]).await.says("done");
    refused(portreeve, &["team", "join", team, "nobody"], "no such thing").await;
    assert_eq!(listed(portreeve, &["team", "members", team], "name").await, [&*alice, &*bob]);
    said(portreeve, &["team", "members", team]).await.says(&bob).says("hand");
    refused(portreeve, &["team", "members", &format!("{own}/none")], "no such thing").await;
    assert_eq!(portreeve.auth(&["team", "leave", team, &alice]).await, json!({}));
    said(portreeve, &["team", "leave", team, &bob]).await.says("done");
    refused(portreeve, &["team", "leave", team, "nobody"], "no such thing").await;
    assert_eq!(listed(portreeve, &["team", "members", team], "name").await, [""; 0]);
}

async fn mappings(portreeve: &Portreeve, own: &str, team: &str) {
    let other = "cn=ops,ou=groups,dc=corp,dc=example";
    // In another spelling: the directory's own may change between two answers.
    let map = ["team", "map", team, "corp", "CN=dev, OU=groups, DC=corp, DC=example"];
    assert_eq!(portreeve.auth(&map).await, json!({}));
    said(portreeve, &["team", "map", team, "corp", other]).await.says("done");
    refused(portreeve, &["team", "map", team, "elsewhere", GROUP], "no directory called \"elsewhere\"").await;
    refused(portreeve, &["team", "map", team, "corp", "dev"], "distinguished name").await;
    assert_eq!(listed(portreeve, &["team", "mappings", team], "group").await, [GROUP, other]);
    said(portreeve, &["team", "mappings", team]).await.says("corp").says(GROUP);
    refused(portreeve, &["team", "mappings", &format!("{own}/none")], "no such thing").await;
    assert_eq!(portreeve.auth(&["team", "unmap", team, "corp", GROUP]).await, json!({}));
    said(portreeve, &["team", "unmap", team, "corp", other]).await.says("done");
    refused(portreeve, &["team", "unmap", team, "corp", GROUP], "does not feed this team").await;
    assert_eq!(listed(portreeve, &["team", "mappings", team], "group").await, [""; 0]);
}

/// One member of every item that a list has, in order.
pub(super) async fn listed(portreeve: &Portreeve, words: &[&str], member: &str) -> Vec<String> {
    let list = portreeve.auth(words).await;
    let items = list["items"].as_array().unwrap_or_else(|| panic!("a list has items: {list}"));
    let text = |item: &Value| item[member].as_str().unwrap_or_else(|| panic!("no {member}: {item}")).to_owned();
    items.iter().map(text).collect()
}
