//! A company's directory tried out by an administrator: `auth provider` and `auth ldap`, beside the running server and beside none.

use serde_json::Value;

use crate::support::{
    program::Program,
    server::{Launch, Portreeve, written},
    slapd::{READERS, Slapd},
};

/// Both services in one process, over accounts of `slapd`.
fn with_directory(slapd: &Slapd) -> Portreeve {
    Launch::command(|data| {
        let text = format!(
            "version: 0.1\nhttp: {{addr: '127.0.0.1:0'}}\nstorage: {{filesystem: {{rootdirectory: '{}'}}}}\n\
             portreeve: {{auth: {{ldap: [{}]}}}}\n",
            data.display(),
            slapd.settings(),
        );
        ["up", "--config", &written(data, "config.yml", &text)].map(str::to_owned).to_vec()
    })
    .start()
}

/// A company whose group `dev` feeds the team `acme/dev`.
async fn company(slapd: &Slapd) -> Portreeve {
    let portreeve = with_directory(slapd);
    portreeve.keeps_to_itself([READERS.to_owned(), Slapd::person("alice").secret]);
    portreeve.private_namespace("acme").await;
    portreeve.auth(&["team", "add", "acme/dev"]).await;
    portreeve.auth(&["team", "map", "acme/dev", "corp", &Slapd::group()]).await;
    portreeve
}

/// `portreeve auth WORDS`, by the settings of the server, whether it runs or not.
fn command(portreeve: &Portreeve, words: &[&str]) -> Program {
    portreeve.command(&[&["auth"], words].concat()).arg("--config").arg(portreeve.data().join("config.yml"))
}

/// What it prints with `--json`; a test of a directory that is not well prints the same and ends with an error.
async fn told(portreeve: &Portreeve, words: &[&str], input: &str) -> (bool, Value) {
    let outcome = command(portreeve, words).arg("--json").input(input).run().await;
    outcome.never_says(READERS);
    assert!(input.is_empty() || !outcome.stdout.contains(input.trim()), "the password is printed: {outcome}");
    let answer = serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {outcome}"));
    (outcome.success, answer)
}

/// The steps of a test and whether each went well.
fn steps(test: &Value) -> Vec<(&str, bool)> {
    let steps = test["steps"].as_array().unwrap_or_else(|| panic!("no steps: {test}"));
    steps.iter().map(|step| (step["step"].as_str().unwrap(), step["ok"].as_bool().unwrap())).collect()
}

const WELL: [&str; 6] = ["connect", "tls", "bind", "users", "groups", "nesting"];

/// What is listed and shown of the directory, and a test of it about nobody.
async fn is_listed_shown_and_tested(portreeve: &Portreeve) {
    let (_, listed) = told(portreeve, &["provider", "list"], "").await;
    let corp = &listed["items"].as_array().unwrap()[0];
    assert_eq!((&corp["name"], &corp["kind"], &corp["mappings"]), (&"corp".into(), &"ldap".into(), &1.into()));
    let (_, shown) = told(portreeve, &["provider", "show", "corp"], "").await;
    assert_eq!(&shown, corp);
    assert_eq!(shown["directory"]["users"]["base"], "ou=people,dc=corp,dc=test", "{shown}");
    let (ok, test) = told(portreeve, &["provider", "test", "corp"], "").await;
    assert!(ok && test["ok"] == true, "{test}");
    assert_eq!(steps(&test), WELL.map(|step| (step, true)));

    command(portreeve, &["provider", "list"])
        .succeeds()
        .await
        .says("corp")
        .says("ldaps://localhost:")
        .never_says(READERS);
    command(portreeve, &["provider", "show", "corp"]).succeeds().await.says("ou=people,dc=corp,dc=test");
    command(portreeve, &["provider", "test", "corp"]).succeeds().await.says("  ok      nesting   corp: walk");
    for unknown in [&["provider", "show", "nowhere"][..], &["provider", "test", "nowhere"]] {
        command(portreeve, unknown).fails().await.says("nowhere");
    }
}

/// Somebody's sign-in, tried with and without their password, and with another.
async fn a_sign_in_is_tried(portreeve: &Portreeve) {
    let alice = Slapd::person("alice");
    let (ok, seen) = told(portreeve, &["ldap", "test", "alice", "--password-stdin"], &alice.secret).await;
    assert!(ok, "{seen}");
    assert_eq!((&seen["user"], &seen["ok"]), (&"alice".into(), &true.into()));
    let test = &seen["tests"][0];
    let about_her: Vec<_> = steps(test).into_iter().filter(|(step, _)| !WELL.contains(step)).collect();
    assert_eq!(about_her, ["user", "password", "member", "account", "teams"].map(|step| (step, true)));
    assert_eq!(test["teams"], serde_json::json!(["acme/dev"]), "{test}");
    assert_eq!(test["groups"][0]["group"], Slapd::group(), "{test}");

    let (_, same) = told(portreeve, &["provider", "test", "corp", "--user", "alice"], "").await;
    assert_eq!((&same["teams"], &same["ok"]), (&test["teams"], &true.into()), "without a password: {same}");
    let (ok, wrong) =
        told(portreeve, &["ldap", "test", "alice", "--password-stdin", "--provider", "corp"], "a guess").await;
    assert!(!ok && wrong["ok"] == false, "{wrong}");
    assert!(steps(&wrong["tests"][0]).contains(&("password", false)), "{wrong}");
    let (ok, nobody) = told(portreeve, &["ldap", "test", "mallory"], "").await;
    assert!(!ok && steps(&nobody["tests"][0]).contains(&("user", false)), "{nobody}");

    let said = command(portreeve, &["ldap", "test", "alice", "--password-stdin"]).input(alice.secret.as_str());
    let said = said.succeeds().await;
    said.says("  ok      password  uid=alice,ou=people,dc=corp,dc=test: is right");
    said.says(&format!("  group {} (by member) gives acme/dev", Slapd::group())).never_says(&alice.secret);
    let said = command(portreeve, &["ldap", "test", "alice", "--password-stdin"]).input("a guess").fails().await;
    said.says("  FAILED  password").never_says("a guess");
}

#[tokio::test]
#[ignore = "needs slapd"]
async fn a_directory_is_tried_beside_the_running_server_and_beside_none() {
    let mut slapd = Slapd::start(&["alice"]).await;
    let mut portreeve = company(&slapd).await;
    is_listed_shown_and_tested(&portreeve).await;
    a_sign_in_is_tried(&portreeve).await;
    let tested = portreeve.audit("provider.test").await;
    assert_eq!(tested.len(), 8, "who tried what is written down: {tested:?}");
    assert!(tested.iter().all(|event| event["actor"]["name"] == "local" && event["target"] == "corp"), "{tested:?}");

    assert!(portreeve.stop().success());
    is_listed_shown_and_tested(&portreeve).await;
    a_sign_in_is_tried(&portreeve).await;

    slapd.leaves("alice").await;
    let (ok, seen) = told(&portreeve, &["ldap", "test", "alice"], "").await;
    assert!(ok && seen["tests"][0]["teams"] == serde_json::json!([]), "it is asked each time: {seen}");
    slapd.stop();
    let (ok, away) = told(&portreeve, &["provider", "test", "corp"], "").await;
    assert!(!ok && steps(&away)[0] == ("connect", false), "{away}");
    command(&portreeve, &["ldap", "test", "alice"]).fails().await.says("  FAILED  connect");
    portreeve.start_again();
    let (ok, away) = told(&portreeve, &["ldap", "test", "alice"], "").await;
    assert!(!ok && away["ok"] == false, "the server starts without its directory, and says so: {away}");
}
