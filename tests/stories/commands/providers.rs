//! `provider`: a directory is added beside those of the settings, and removed. Nobody runs it: what it would answer is told elsewhere.

use serde_json::json;

use super::{Portreeve, refused, said, teams::listed};

const SECRET: &str = "the reader's own";

/// Names begin with `own`.
pub(super) async fn walk(portreeve: &Portreeve, own: &str) {
    let (first, second) = (format!("{own}-one"), format!("{own}-two"));
    let files = tempfile::tempdir().unwrap();
    let described = |name: &str, more: &str| {
        let path = files.path().join("directory.yml");
        let users = "users: {base: 'dc=corp,dc=example'}";
        std::fs::write(&path, format!("name: {name}\nurls: ['ldaps://127.0.0.1:1']\n{users}\n{more}\n")).unwrap();
        path.display().to_string()
    };
    let password = files.path().join("password");
    std::fs::write(&password, format!("{SECRET}\n")).unwrap();
    portreeve.keeps_to_itself([SECRET.to_owned()]);
    let in_file = format!("bind: {{dn: 'cn=reader', passwordfile: '{}'}}", password.display());

    let added = portreeve.auth(&["provider", "add", &described(&first, &in_file)]).await;
    assert_eq!((&added["name"], &added["source"]), (&json!(first), &json!("added")));
    assert!(!added.to_string().contains(SECRET), "{added}");
    let add = described(&second, "bind: {dn: 'cn=reader'}");
    let add = portreeve.command(&["auth", "provider", "add", &add, "--password-stdin"]).input(SECRET);
    add.succeeds().await.says(&format!("name: {second}")).never_says(SECRET);
    let mut names = ["corp", &first, &second];
    names.sort_unstable();
    assert_eq!(listed(portreeve, &["provider", "list"], "name").await, names);
    said(portreeve, &["provider", "list"]).await.says("added");
    said(portreeve, &["provider", "show", &first]).await.says("ldaps://127.0.0.1:1").never_says(SECRET);

    refused(portreeve, &["provider", "add", &described(&first, "")], "already a provider").await;
    refused(portreeve, &["provider", "add", &described("x", "bnd: {}")], "directory.yml, line 4: bnd is unknown").await;
    refused(portreeve, &["provider", "add", &described("x", "ca: /nowhere/ca.pem")], "ldap.ca: /nowhere/ca.pem").await;
    refused(portreeve, &["provider", "add", &described("local", "")], "ldap.name").await;
    refused(portreeve, &["provider", "remove", "corp"], "described in the server's settings").await;
    refused(portreeve, &["provider", "remove", "nowhere"], "there is no provider \"nowhere\"").await;

    let removed = portreeve.auth(&["provider", "remove", &first]).await;
    assert_eq!((&removed["name"], &removed["accounts"]), (&json!(first), &json!(0)));
    said(portreeve, &["provider", "remove", &second]).await.says("nothing hung on it");
    assert_eq!(listed(portreeve, &["provider", "list"], "name").await, ["corp"]);
}
