//! Setups as nobody would write them.

use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{select, subsequence},
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value, json};

use super::Document;

const USERS: [&str; 4] = ["ada", "bob", "Eve", "ünal@corp"];
const NAMESPACES: [&str; 3] = ["acme", "base.io", "open"];
const TEAMS: [&str; 3] = ["dev", "ops", "a/b: c"];
const ROBOTS: [&str; 3] = ["ci", "cd", "pr-1"];
/// Texts that YAML would read otherwise.
const TEXTS: [&str; 7] = ["", "yes", "0123", "a: b # c", "- 'x'", "null", "for \"builds\", mostly"];
const LATER: [&str; 2] = ["2031-01-01T00:00:00Z", "2032-02-02T02:02:02.5Z"];

/// So many, one after the other, the same in every run.
pub(super) fn documents(count: usize) -> Vec<Document> {
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let one = document();
    let made = (0..count).map(|_| one.new_tree(&mut runner).unwrap().current());
    // What one of them takes away is revoked, and no later one may have it again.
    made.enumerate().map(|(turn, value)| super::read(&value.to_string().replace(".key", &format!(".{turn}")))).collect()
}

fn document() -> impl Strategy<Value = Value> {
    let users = subsequence(&USERS[..], 0..=USERS.len());
    let namespaces = subsequence(&NAMESPACES[..], 0..=NAMESPACES.len());
    (users, namespaces).prop_flat_map(|(users, namespaces)| {
        let people = users.iter().map(|name| user(name)).collect::<Vec<_>>();
        let homes = namespaces.iter().map(|name| namespace(name, users.clone())).collect::<Vec<_>>();
        let subjects = [vec!["everyone", "authenticated", "root"], users].concat();
        let grants = vec(system_grant(subjects), 0..4);
        (people, homes, grants, vec(guardrail(), 0..3)).prop_map(|(mut users, namespaces, grants, guardrails)| {
            users.push(json!({ "name": "root", "system_role": "administrator", "state": "active" }));
            json!({ "version": 1, "users": users, "namespaces": namespaces, "grants": grants, "guardrails": guardrails })
        })
    })
}

fn state() -> impl Strategy<Value = &'static str> {
    select(&["active", "active", "suspended"][..])
}

/// Without what is null: that is not how people say nothing.
fn tidy(mut value: Value) -> Value {
    if let Some(members) = value.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    value
}

fn user(name: &'static str) -> impl Strategy<Value = Value> {
    let role = option::of(select(&["administrator", "auditor"][..]));
    (select(&TEXTS[..]), role, state(), option::of(Just("first.password"))).prop_map(move |(text, role, state, secret)| {
        tidy(json!({ "name": name, "display_name": text, "system_role": role, "state": state, "secret_file": secret }))
    })
}

fn namespace(name: &'static str, users: Vec<&'static str>) -> impl Strategy<Value = Value> {
    let teams = subsequence(&TEAMS[..], 0..=TEAMS.len());
    let robots = subsequence(&ROBOTS[..], 0..=ROBOTS.len());
    let visibility = select(&["private", "internal", "public"][..]);
    (visibility, teams, robots).prop_flat_map(move |(visibility, teams, robots)| {
        let handles: Vec<String> = robots.iter().map(|robot| format!("robot.{name}.{robot}")).collect();
        let people: Vec<String> = users.iter().map(|user| (*user).to_owned()).chain(["root".to_owned()]).collect();
        let groups = teams.iter().map(|team| self::team(team, &people, &handles)).collect::<Vec<_>>();
        let machines = robots.iter().map(|robot| self::robot(robot)).collect::<Vec<_>>();
        let mut subjects = [people.clone(), handles].concat();
        // One with a slash in its name is said in full, or it would be another namespace's.
        let subject =
            |team: &&str| if team.contains('/') { format!("team:{name}/{team}") } else { format!("team:{team}") };
        subjects.extend(teams.iter().map(subject));
        subjects.extend(["everyone".to_owned(), "authenticated".to_owned()]);
        let mut administrators = people;
        administrators.extend(teams.contains(&"dev").then(|| "team:dev".to_owned()));
        let grants = vec(prop_oneof![4 => grant(name, subjects), 1 => admin_grant(name, administrators)], 0..7);
        (groups, machines, grants).prop_map(move |(teams, robots, grants)| {
            json!({ "name": name, "visibility": visibility, "teams": teams, "robots": robots, "grants": grants })
        })
    })
}

/// Robots join no team that may come to administer.
fn team(name: &'static str, people: &[String], robots: &[String]) -> impl Strategy<Value = Value> + use<> {
    let all = if name == "dev" { people.to_vec() } else { [people, robots].concat() };
    let count = all.len();
    subsequence(all, 0..=count).prop_map(move |members| json!({ "name": name, "members": members, "mappings": [] }))
}

fn robot(name: &'static str) -> impl Strategy<Value = Value> {
    let end = option::of(select(&LATER[..]));
    (select(&TEXTS[..]), end, state(), vec(key(), 0..4)).prop_map(move |(purpose, end, state, mut keys)| {
        for (index, key) in keys.iter_mut().enumerate() {
            // A name may stand there twice, a secret may not.
            key["secret_file"] = format!("{name}-{index}.key").into();
        }
        tidy(json!({ "name": name, "purpose": purpose, "expires_at": end, "state": state, "keys": keys }))
    })
}

fn key() -> impl Strategy<Value = Value> {
    let scope = option::of(select(&["acme/**:pull", "acme/**:pull,push base/*:pull"][..]));
    let networks = option::of(Just(["10.0.0.0/8", "2001:db8::/32"]));
    let api = select(&["none", "read", "write"][..]);
    let (end, idle) = (option::of(select(&LATER[..])), option::of(1_u32..400));
    (select(&["deploy", "key"][..]), scope, networks, api, end, idle).prop_map(
        |(name, scope, networks, api, end, idle)| {
            let mut key = tidy(
                json!({ "name": name, "scope": scope, "networks": networks, "expires_at": end, "idle_days": idle }),
            );
            if api != "none" {
                key["api"] = api.into();
            }
            key
        },
    )
}

fn actions() -> impl Strategy<Value = Value> {
    let tags = option::of(select(&["pr-*", "pr-*,rc-?"][..]));
    let end = option::of(select(&LATER[..]));
    (select(&["pull", "pull,push", "pull,push,delete", "pull,delete"][..]), tags, end).prop_map(
        |(actions, tags, end)| {
            let tags = tags.filter(|_| actions != "pull");
            tidy(json!({ "actions": actions, "tags": tags, "expires_at": end }))
        },
    )
}

fn grant(namespace: &'static str, subjects: Vec<String>) -> impl Strategy<Value = Value> {
    let patterns = ["", "/**", "/web", "/{a,b}-*", "/{username}/**"].map(|rest| format!("{namespace}{rest}"));
    (select(subjects), select(patterns.to_vec()), actions()).prop_map(|(subject, repositories, mut grant)| {
        grant["subject"] = subject.into();
        grant["repositories"] = repositories.into();
        grant
    })
}

fn admin_grant(namespace: &'static str, subjects: Vec<String>) -> impl Strategy<Value = Value> {
    select(subjects).prop_map(
        move |subject| json!({ "subject": subject, "repositories": namespace, "actions": "pull,push,delete,admin" }),
    )
}

fn system_grant(subjects: Vec<&'static str>) -> impl Strategy<Value = Value> {
    (select(subjects), select(&["**", "*/web", "{username}/**"][..]), actions()).prop_map(
        |(subject, repositories, mut grant)| {
            grant["subject"] = subject.into();
            grant["repositories"] = repositories.into();
            grant
        },
    )
}

fn guardrail() -> impl Strategy<Value = Value> {
    let end = option::of(select(&LATER[..]));
    (select(&["**", "*/release/**", "acme/x"][..]), select(&["delete", "push,delete"][..]), end).prop_map(
        |(repositories, actions, end)| {
            tidy(json!({ "repositories": repositories, "actions": actions, "expires_at": end }))
        },
    )
}
