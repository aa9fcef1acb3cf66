//! What stands in docs/operations for those who watch a registry names what a running one tells.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::Deserialize;
use serde_json::Value;
use shared::settings::Source;
use tokio::time::{Instant, sleep};

use super::garbage::{metrics, push_and_delete};
use crate::support::server::{Launch, Portreeve};

const DASHBOARD: &str = include_str!("../../docs/operations/dashboard.json");
const ALERTS: &str = include_str!("../../docs/operations/alerts.yml");

#[derive(Deserialize)]
struct RuleFile {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    name: String,
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    alert: String,
    expr: String,
    r#for: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

fn rules() -> Vec<Rule> {
    let read = Source::text("alerts.yml", ALERTS).unwrap().read::<RuleFile>().unwrap();
    assert!(read.unknown.is_empty(), "Prometheus would refuse {:?}", read.unknown);
    let groups: Vec<_> = read.value.groups.iter().map(|group| group.name.clone()).collect();
    assert_eq!(groups, ["portreeve"]);
    read.value.groups.into_iter().flat_map(|group| group.rules).collect()
}

/// The expressions of a dashboard's panels.
fn expressions(dashboard: &Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() > 5);
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

/// Our metrics in an expression.
fn named(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("portreeve_")).map(str::to_owned).collect()
}

/// Our metrics that a server tells.
fn told(text: &str) -> BTreeSet<String> {
    text.lines().filter(|line| !line.starts_with('#')).flat_map(named).collect()
}

/// Brackets and quotes close: what a hand that edits these files breaks first.
fn is_balanced(expression: &str) -> bool {
    let mut open = Vec::new();
    for c in expression.chars() {
        match c {
            '(' => open.push(')'),
            '[' => open.push(']'),
            '{' => open.push('}'),
            ')' | ']' | '}' if open.pop() != Some(c) => return false,
            _ => {}
        }
    }
    open.is_empty() && expression.matches('"').count().is_multiple_of(2)
}

#[tokio::test]
async fn dashboard_and_alerts_name_metrics_that_are_told() {
    let launch = Launch::up().env("REGISTRY_HTTP_DEBUG_ADDR", "127.0.0.1:0").env("REGISTRY_PORTREEVE_COLLECT", "1s");
    let launch = launch.env("REGISTRY_HTTP_DEBUG_PROMETHEUS_ENABLED", "true");
    // Nobody is there; that is told, too.
    let directory = "[{name: corp, urls: ['ldaps://127.0.0.1:1'], users: {base: 'dc=corp,dc=test'}}]";
    let portreeve = launch.env("PORTREEVE_AUTH_LDAP", directory).start();
    portreeve.command(&["registry", "quota", "set", "acme", "--bytes", "1GiB"]).succeeds().await;
    push_and_delete(&portreeve).await;
    let rules_file = portreeve.data().join("rules.json");
    std::fs::write(&rules_file, r#"{"rules": [{"expire": {"tags": "pr-*", "not_pushed_for": "7d"}}]}"#).unwrap();
    let rules_file = rules_file.to_str().unwrap();
    for words in [
        &["lifecycle", "set", "acme", rules_file] as &[_],
        &["lifecycle", "run", "acme"],
        &["doctor"],
        &["doctor", "--deep"],
    ] {
        portreeve.command(&[&["registry"], words].concat()).succeeds().await;
    }
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let expressions: Vec<String> =
        expressions(&dashboard).into_iter().chain(rules().into_iter().map(|rule| rule.expr)).collect();
    let wanted: BTreeSet<String> = expressions.iter().flat_map(|expression| named(expression)).collect();
    for part in ["gc", "quota", "lifecycle", "doctor", "auth"] {
        assert!(wanted.iter().any(|name| name.starts_with(&format!("portreeve_{part}_"))), "{part}: {wanted:?}");
    }

    let begun = Instant::now();
    // What waits and what quotas hold is told after the next sweep.
    let missing = loop {
        let told = told(&metrics(&portreeve).await);
        let missing: Vec<_> = wanted.difference(&told).cloned().collect();
        if missing.is_empty() || begun.elapsed() > Duration::from_secs(30) {
            break missing;
        }
        sleep(Duration::from_millis(100)).await;
    };
    let text = metrics(&portreeve).await;
    each_family_stands_once(&text);
    let told = told(&text);
    assert!(missing.is_empty(), "nobody tells {missing:?}, but {told:?}");
    let unseen: Vec<_> = told.difference(&wanted).collect();
    assert!(unseen.is_empty(), "nobody is shown {unseen:?}");
    let pages = [
        include_str!("../../docs/operations/garbage-collection.md"),
        include_str!("../../docs/operations/lifecycle.md"),
        include_str!("../../docs/operations/doctor.md"),
        include_str!("../../docs/operations/monitoring.md"),
    ];
    for name in &told {
        assert!(pages.iter().any(|page| page.contains(name.as_str())), "no page says what {name} is");
    }
    for expression in &expressions {
        assert!(is_balanced(expression), "{expression}");
    }
}

/// Two services tell on one page, and what is told twice Prometheus refuses whole.
#[track_caller]
fn each_family_stands_once(text: &str) {
    let mut seen = BTreeSet::new();
    for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
        assert!(seen.insert(line), "{line} stands twice");
    }
}

/// What `portreeve auth serve` tells on its debug listener.
async fn metrics_of_auth(auth: &Portreeve) -> String {
    let log = auth.log();
    let line = log.lines().find(|line| line.contains("on the debug listener")).unwrap_or_else(|| panic!("{log}"));
    let address = line.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
    assert_eq!(reqwest::get(format!("http://{address}/readyz")).await.unwrap().status(), 200);
    let answer = reqwest::get(format!("http://{address}/metrics")).await.unwrap();
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    answer.text().await.unwrap()
}

#[tokio::test]
async fn auth_alone_counts_who_was_let_in_and_who_was_not() {
    let serve = |data: &std::path::Path| {
        let data = data.display().to_string();
        ["auth", "serve", "--listen", "127.0.0.1:0", "--data", &data].map(str::to_owned).to_vec()
    };
    let launch = Launch::command(serve).env("PORTREEVE_AUTH_HTTP_DEBUG_ADDR", "127.0.0.1:0");
    let auth = launch.env("PORTREEVE_AUTH_HTTP_DEBUG_PROMETHEUS_ENABLED", "true").start();
    let token = auth.url().join("/token?service=portreeve&scope=repository:acme/web:pull").unwrap();
    let client = reqwest::Client::new();
    let admin = auth.admin();
    for (name, secret, expected) in
        [(&*admin.name, admin.secret.as_str(), 200), ("mallory", "a guess", 401), ("mallory", "another", 401)]
    {
        let answer = client.get(token.clone()).basic_auth(name, Some(secret)).send().await.unwrap();
        assert_eq!(answer.status(), expected, "{name}");
    }
    let text = metrics_of_auth(&auth).await;
    each_family_stands_once(&text);
    for line in [
        "portreeve_auth_tokens_total{kind=\"password\"} 1",
        "portreeve_auth_tokens_refused_total{cause=\"wrong\"} 2",
        "portreeve_auth_logins_failed_total{cause=\"wrong\"} 2",
        "portreeve_auth_requests_total{route=\"token\",ended=\"done\"} 1",
        "portreeve_auth_requests_total{route=\"token\",ended=\"refused\"} 2",
    ] {
        assert!(text.lines().any(|written| written == line), "{line}\n{text}");
    }
    assert!(!text.contains("mallory") && !text.contains("portreeve_gc_"), "{text}");
}

#[test]
fn alerts_are_rules_that_prometheus_takes() {
    let mut names = BTreeSet::new();
    let page = include_str!("../../docs/operations/monitoring.md");
    for Rule { alert, expr, r#for, labels, annotations } in rules() {
        assert!(names.insert(alert.clone()), "{alert} stands twice");
        assert!(!expr.trim().is_empty());
        let (number, unit) = r#for.split_at(r#for.len() - 1);
        assert!(number.parse::<u32>().is_ok() && ["s", "m", "h", "d"].contains(&unit), "{alert}: for {}", r#for);
        assert!(["page", "ticket", "info"].contains(&labels["severity"].as_str()), "{alert}");
        assert!(annotations.contains_key("summary") && annotations.contains_key("description"), "{alert}");
        assert!(page.contains(&format!("`{alert}`")), "monitoring.md does not say what {alert} means");
    }
    assert!(names.len() > 5);
}

#[test]
fn panels_do_not_lie_on_one_another() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut taken = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        for (column, row) in (x..x + w).flat_map(|column| (y..y + h).map(move |row| (column, row))) {
            assert!(column < 24 && taken.insert((column, row)), "{}", panel["title"]);
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
    }
}
