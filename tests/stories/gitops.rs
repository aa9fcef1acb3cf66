//! The whole setup in a file that is reviewed and applied, what other programs know taken over, and a registry examined: by command.

use std::{path::Path, time::Instant};

use axum::{Router, http::StatusCode, routing::get};
use serde_json::{Value, json};

use super::apart::{auth, believing, bundle, companion, registry, text};
use crate::support::{
    server::{Account, Portreeve, written},
    stock::{Edition, StockRegistry},
};

const KEY: &str = "chosen elsewhere, and long enough for a key";
const HASH: &str = "$2y$05$LO.vzwpWC5LZGqThvEfznu8qhb5SGqvBSWY1J3yZ4AxtMRZ3kN5jC";

const SETUP: &str = "\
version: 1
users:
  - {name: admin, system_role: administrator}
  - {name: bob, display_name: Bob, secret_file: bob.password}
namespaces:
  - name: acme
    visibility: internal
    teams:
      - {name: dev, members: [bob]}
    robots:
      - name: ci
        keys:
          - {name: deploy, secret_file: ci.key}
    grants:
      - {subject: 'team:dev', repositories: 'acme/**', actions: contributor}
      - {subject: robot.acme.ci, repositories: 'acme/**', actions: 'pull,push', tags: 'pr-*'}
";

fn saved(home: &Path, setup: &str) -> String {
    written(home, "ci.key", &format!("{KEY}\n"));
    written(home, "bob.password", "correct horse battery staple\n");
    written(home, "setup.yml", setup)
}

async fn lets_in(portreeve: &Portreeve, account: &Account) -> bool {
    let url = portreeve.url().join("/token?service=portreeve").unwrap();
    let request = reqwest::Client::new().get(url).basic_auth(&account.name, Some(&account.secret));
    request.send().await.unwrap().status() == StatusCode::OK
}

#[tokio::test]
async fn a_setup_is_reviewed_and_applied_beside_a_server_and_without_one() {
    let (mut portreeve, home) = (Portreeve::up(), tempfile::tempdir().unwrap());
    let file = saved(home.path(), SETUP);
    let command = |words: &[&str]| portreeve.command(&[&["auth"], words].concat());
    let shown = command(&["apply", &file, "--dry-run"]).succeeds().await;
    shown.says("+ namespace acme: internal").says("+ grant robot.acme.ci on acme/**: pull,push, tags pr-*");
    shown.says("8 to create, 0 to change, 0 to remove.").says("this was a dry run").never_says(KEY);
    command(&["apply", &file]).succeeds().await.says("Applied.");
    command(&["apply", &file, "--prune"]).succeeds().await.says("Nothing to change.");
    assert!(lets_in(&portreeve, &Account::new("robot.acme.ci", KEY)).await);
    assert!(lets_in(&portreeve, &Account::new("bob", "correct horse battery staple")).await);

    let exported = command(&["export"]).succeeds().await;
    exported.says("version: 1").says("subject: robot.acme.ci").never_says(KEY).never_says("argon2");
    let again = written(home.path(), "exported.yml", &exported.stdout);
    command(&["apply", &again, "--prune"]).succeeds().await.says("Nothing to change.");
    let events = portreeve.auth(&["audit", "list", "--what", "setup.apply"]).await;
    assert_eq!(events["items"][0]["actor"]["name"], "local");
    assert_eq!(events["items"].as_array().unwrap().len(), 1, "what changes nothing is no event");

    assert!(portreeve.stop().success());
    let wrong = saved(home.path(), &SETUP.replace("subject: robot.acme.ci", "subject: robot.acme.cd"));
    let command = |words: &[&str]| portreeve.command(&[&["auth"], words].concat());
    let refused = command(&["apply", &wrong]).fails().await;
    refused.says(&format!("{wrong}, line 16: namespaces[0].grants[1]: there is no account called \"robot.acme.cd\""));
    let misspelled = saved(home.path(), &SETUP.replace("    visibility", "    visibilty"));
    command(&["apply", &misspelled])
        .fails()
        .await
        .says("line 7: namespaces[0].visibilty is unknown; did you mean visibility?");
    let more = saved(
        home.path(),
        &SETUP
            .replace("internal", "public")
            .replace("      - {name: dev, members: [bob]}", "      - {name: dev, members: []}"),
    );
    command(&["apply", &more])
        .succeeds()
        .await
        .says("~ namespace acme: internal -> public")
        .says("= member bob in acme/dev");
    let made = portreeve.auth(&["apply", &more, "--prune"]).await;
    assert_eq!((&made["applied"], &made["changes"][0]["name"]), (&json!(true), &json!("bob in acme/dev")));
    assert_eq!(portreeve.auth(&["export"]).await["namespaces"][0]["visibility"], "public");
}

#[tokio::test]
async fn accounts_of_an_htpasswd_file_are_taken_over() {
    let (portreeve, home) = (Portreeve::up(), tempfile::tempdir().unwrap());
    let hash = bcrypt::hash("a long password", 4).unwrap();
    let file = written(home.path(), "htpasswd", &format!("# people\nadmin:{hash}\ncarl:{hash}\n"));
    let command = |words: &[&str]| portreeve.command(&[&["auth", "import"], words].concat());
    let shown = command(&["htpasswd", &file, "--dry-run"]).succeeds().await;
    shown
        .says("+ user carl")
        .says("= user admin: there is an account of this name already")
        .says("dry run")
        .never_says(&hash);
    assert!(!lets_in(&portreeve, &Account::new("carl", "a long password")).await);
    command(&["htpasswd", &file]).succeeds().await.says("Applied.").says("1 already there, and left as they are.");
    for _ in 0..2 {
        assert!(lets_in(&portreeve, &Account::new("carl", "a long password")).await, "as it was, and stored anew");
    }
    assert!(!lets_in(&portreeve, &Account::new("carl", "a wrong password")).await);
    assert!(
        !lets_in(&portreeve, &Account::new("admin", "a long password")).await,
        "whoever is there is not overwritten"
    );
    assert!(lets_in(&portreeve, &portreeve.admin()).await);
    let md5 = written(home.path(), "md5", "bob:$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00\n");
    command(&["htpasswd", &md5]).fails().await.says(&format!("{md5}, line 1: the hash of \"bob\" is Apache's MD5"));
}

#[tokio::test]
async fn rules_of_docker_auth_are_taken_over_with_what_they_change() {
    let (portreeve, home) = (Portreeve::up(), tempfile::tempdir().unwrap());
    let config = format!(
        "server: {{addr: ':5001'}}\nusers:\n  builder: {{password: \"{HASH}\"}}\n  test: {{password: \"{HASH}\"}}\nacl:\n\
         \x20 - match: {{account: builder, name: 'acme/*'}}\n    actions: ['*']\n\
         \x20 - match: {{account: test, name: 'acme/secret'}}\n    actions: []\n\
         \x20 - match: {{name: 'acme/*'}}\n    actions: [pull]\n\
         \x20 - match: {{ip: '10.0.0.0/8'}}\n    actions: ['*']\n"
    );
    let file = written(home.path(), "auth_config.yml", &config);
    let names = written(home.path(), "repositories", "# what there is\nacme/web\nacme/secret\n");
    let words = ["auth", "import", "docker-auth", &file, "--repositories", &names];
    let refused = portreeve.command(&words).fails().await;
    refused
        .says("test     acme/secret  nothing  pull")
        .says("1 of these answers would allow more than before, so nothing was made");
    assert_eq!(portreeve.auth(&["namespace", "list"]).await["items"], json!([]));
    let made = portreeve.command(&[&words[..], &["--allow-more"]].concat()).succeeds().await;
    made.says(&format!("! {file}, line 8: it gives nothing and keeps what line 10 gives"));
    made.says(&format!("! {file}, line 12: the entry is not carried over: it has the condition ip"));
    made.says("ACCOUNT  REPOSITORY   BEFORE   AFTER").says("test     acme/secret  nothing  pull");
    made.says("+ grant builder on acme/*: pull,push,delete")
        .never_says("= user admin")
        .says("+ grant authenticated on acme/*: pull")
        .says("Applied.");
    let explained = portreeve.auth(&["explain", "builder", "repository:acme/web:push"]).await;
    assert_eq!(explained["results"][0]["granted"][0]["actions"], json!(["push"]));
    let again = portreeve.auth(&["import", "docker-auth", &file, "--dry-run"]).await;
    assert_eq!((&again["changes"], &again["applied"]), (&json!([]), &json!(false)));
    let difference = &again["differences"][0];
    assert_eq!((&difference["repository"], &difference["more"]), (&json!("acme/secret"), &json!(true)));
}

/// What a check came to, and what is said of it.
async fn examined(auth: &Portreeve, registry: &url::Url) -> Value {
    let outcome = auth.command(&["auth", "doctor", registry.as_str(), "--json"]).run().await;
    let answer: Value = serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome}"));
    assert_eq!(outcome.status == Some(0), answer["well"] == true, "{outcome}");
    answer
}

fn of<'a>(answer: &'a Value, check: &str) -> &'a Value {
    let mut findings = answer["findings"].as_array().unwrap().iter();
    findings.find(|finding| finding["check"] == check).unwrap_or_else(|| panic!("{check} was not looked at: {answer}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_finds_a_registry_well_or_says_what_mends_it() {
    let (auth, other) = (auth(), self::auth());
    let join = companion(&auth).await;
    let trust = |of: &Portreeve| format!("rootcertbundle: {}", text(&bundle(of)));
    let healthy = format!("{}{join}", believing(&auth, &trust(&auth)));
    let well = registry(&healthy);
    let begun = Instant::now();
    let answer = loop {
        let answer = examined(&auth, well.url()).await;
        if answer["well"] == true || begun.elapsed().as_secs() > 10 {
            break answer;
        }
    };
    for check in ["reachable", "service", "realm", "leaf", "trust", "stranger", "clock", "feed"] {
        assert_eq!(of(&answer, check)["state"], "well", "{answer}");
    }
    let printed = auth.command(&["auth", "doctor", well.url().as_str()]).succeeds().await;
    printed.says("well    trust      it accepts a token that we sign now").never_says("FAULT");

    let realm = format!("realm: http://localhost:{}/token", auth.url().port().unwrap());
    let elsewhere = |to: &str| believing(&auth, &trust(&auth)).replace(&realm, &format!("realm: {to}"));
    let stranger = format!("http://localhost:{}/token", other.url().port().unwrap());
    for (config, check, says, mend) in [
        (believing(&auth, &trust(&other)), "trust", "does not trust our authority", "/certs/bundle.pem"),
        (
            believing(&auth, &trust(&auth)).replace("issuer: portreeve", "issuer: registry.test"),
            "issuer",
            "expects the issuer \"registry.test\"",
            "auth.token.issuer",
        ),
        (
            believing(&auth, &trust(&auth)).replace("registry.test", "another.test"),
            "service",
            "calls itself \"another.test\"",
            "service add \"another.test\"",
        ),
        (elsewhere("http://localhost:1/token"), "realm", "nobody answers", "auth.token.realm"),
        (elsewhere(&stranger), "realm", "http://localhost", "auth.token.realm"),
    ] {
        let broken = registry(&config);
        let answer = examined(&auth, broken.url()).await;
        let finding = of(&answer, check);
        assert_eq!((&answer["well"], &finding["state"]), (&json!(false), &json!("fault")), "{answer}");
        assert!(finding["says"].as_str().unwrap().contains(says), "{finding}");
        assert!(finding["mend"].as_str().unwrap().contains(mend) || check == "realm", "{finding}");
        assert_eq!(of(&answer, "stranger")["state"], "well", "{answer}");
    }
    let silent = self::auth();
    companion(&silent).await;
    let deaf = registry(&believing(&silent, &trust(&silent)));
    let answer = examined(&silent, deaf.url()).await;
    let feed = of(&answer, "feed");
    assert!(feed["state"] == "fault" && feed["mend"].as_str().unwrap().contains("portreeve.companion"), "{feed}");
    assert_eq!(of(&answer, "trust")["state"], "well", "{answer}");

    let open = registry("auth: none\n");
    let answer = examined(&auth, open.url()).await;
    assert!(of(&answer, "reachable")["says"].as_str().unwrap().contains("asks for no token"), "{answer}");
    let nobody = auth.command(&["auth", "doctor", "http://127.0.0.1:1"]).fails().await;
    nobody.says("does not answer").says("has 1 fault(s)");
}

/// A registry of paper: it asks for tokens, takes any, and its clock is years behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_believes_everybody_under_a_wrong_clock_is_found_out() {
    let auth = auth();
    let realm = auth.url().join("/token").unwrap();
    let challenge = format!("Bearer realm=\"{realm}\",service=\"portreeve\"");
    let answer = move |headers: axum::http::HeaderMap| {
        let status = if headers.contains_key("authorization") { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
        let said = [("www-authenticate", challenge.clone()), ("date", "Sun, 06 Nov 1994 08:49:37 GMT".to_owned())];
        async move { (status, said) }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: url::Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, Router::new().route("/v2/", get(answer))).await });
    let answer = examined(&auth, &url).await;
    assert!(of(&answer, "stranger")["says"].as_str().unwrap().contains("anybody may do anything"), "{answer}");
    assert!(of(&answer, "clock")["says"].as_str().unwrap().contains("behind ours"), "{answer}");
    assert!(of(&answer, "leaf")["says"].as_str().unwrap().contains("begins only at"), "{answer}");
    serving.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs docker-registry"]
async fn the_doctor_examines_a_stock_registry() {
    let portreeve = Portreeve::up();
    let stock = StockRegistry::trusting(&portreeve, Edition::Two).await;
    let answer = examined(&portreeve, stock.url()).await;
    assert_eq!(answer["well"], true, "{answer}");
    assert_eq!((&of(&answer, "trust")["state"], &of(&answer, "stranger")["state"]), (&json!("well"), &json!("well")));
    let feed = of(&answer, "feed");
    assert!(feed["state"] == "notice" && feed["says"].as_str().unwrap().contains("until tokens end, 300 s"), "{feed}");

    // Its authority is another than the bundle that the registry was given.
    let other = Portreeve::up();
    let answer = examined(&other, stock.url()).await;
    assert_eq!(of(&answer, "trust")["state"], "fault", "{answer}");
    assert_eq!(of(&answer, "realm")["state"], "fault", "{answer}");
}
