//! A company's directory is added while the server runs, feeds a team, and is removed with its accounts: by command, over a real one.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    server::{Account, Portreeve, written},
    slapd::{READERS, Slapd},
};

/// What a sign-in is answered, and which access to `acme/web` it gives.
async fn signs_in(portreeve: &Portreeve, account: &Account) -> (StatusCode, String) {
    shared::crypto::install();
    let url = portreeve.url().join("/token?service=portreeve&scope=repository:acme/web:pull").unwrap();
    let request = reqwest::Client::new().get(url).basic_auth(&account.name, Some(&account.secret));
    let answer = request.send().await.unwrap();
    let (status, body) = (answer.status(), answer.json::<Value>().await.unwrap());
    (status, body["scope"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
#[ignore = "needs slapd"]
async fn a_directory_is_added_to_a_running_server_and_removed_with_its_accounts() {
    let slapd = Slapd::start(&["alice"]).await;
    let alice = Slapd::person("alice");
    let portreeve = Portreeve::up();
    portreeve.keeps_to_itself([READERS.to_owned(), alice.secret.clone()]);
    portreeve.private_namespace("acme").await;
    assert_eq!(signs_in(&portreeve, &alice).await.0, StatusCode::UNAUTHORIZED);

    // What the settings would say, with files of the machine where the command runs.
    let files = tempfile::tempdir().unwrap();
    let corp = written(files.path(), "corp.yml", &slapd.settings());
    let add = portreeve.command(&["auth", "provider", "add", &corp]).succeeds().await;
    add.says("source: added").never_says(READERS);
    portreeve.auth(&["provider", "test", "corp", "--user", "alice"]).await;
    portreeve.auth(&["team", "add", "acme/dev"]).await;
    portreeve.auth(&["team", "map", "acme/dev", "corp", &Slapd::group()]).await;
    portreeve.auth(&["grant", "add", "team:acme/dev", "acme/**", "reader"]).await;
    assert_eq!(signs_in(&portreeve, &alice).await, (StatusCode::OK, "repository:acme/web:pull".to_owned()));
    let token = portreeve.auth(&["token", "create", "--user", "alice"]).await;
    let token = Account::new("alice", token["secret"].as_str().unwrap());

    let removed = portreeve.auth(&["provider", "remove", "corp"]).await;
    assert_eq!((&removed["disabled"], &removed["mappings"]), (&json!(1), &json!(1)), "{removed}");
    for shown in [&alice, &token] {
        assert_eq!(signs_in(&portreeve, shown).await.0, StatusCode::UNAUTHORIZED);
    }
    portreeve.auth(&["user", "resume", "alice"]).await;
    assert_eq!(signs_in(&portreeve, &token).await.0, StatusCode::OK, "one by one they come back by hand");

    portreeve.command(&["auth", "provider", "add", &corp]).succeeds().await.says("accounts: 1").says("mappings: 1");
    assert_eq!(signs_in(&portreeve, &alice).await, (StatusCode::OK, "repository:acme/web:pull".to_owned()));
    for event in ["provider.add", "provider.remove"] {
        let told = portreeve.audit(event).await;
        assert!(told.iter().all(|event| event["actor"]["name"] == "local" && event["target"] == "corp"), "{told:?}");
        assert!(!told.is_empty());
    }
}
