//! Setups compared and applied, on both databases.

use serde_json::{Value, json};
use shared::{
    revocation::Revoked,
    settings::{Place, Placed, Source, written},
};

use super::{
    Difference, Document, Existing, KeyVerifier, MAX_STEPS, Missing, Mode, UserPart, Verb, Verifiers, Wanted,
    difference,
};
use crate::accounts::{
    Error, Refusal,
    names::folded,
    providers::{Proved, ProviderKind},
    tests::fixture::{Fixture, on_both},
};

mod random;

on_both! {
    from_any_setup_to_any_other_and_what_is_exported_changes_nothing
    nothing_is_removed_unless_that_was_asked_for
    one_error_applies_nothing
    only_what_is_narrowed_is_revoked
    a_key_with_another_secret_is_another_key
    whoever_a_directory_made_goes_with_the_directory
    what_was_seen_is_what_is_applied
    who_was_suspended_in_a_hurry_stays_so
    an_import_overwrites_nothing
    every_change_names_who_made_it
    a_key_of_an_earlier_master_key_is_the_same_key
    what_no_document_can_say_is_not_left_out
    a_setup_has_its_bounds
}

const PRUNE: Mode = Mode { missing: Missing::Remove, existing: Existing::Change };
const ADD: Mode = Mode { missing: Missing::Keep, existing: Existing::Keep };

pub(super) fn read(text: &str) -> Document {
    let read = Source::text("setup.yml", text).unwrap().version("1").unwrap().read::<Document>().unwrap();
    assert_eq!(read.unknown, []);
    read.value
}

fn verifier(text: &str) -> KeyVerifier {
    KeyVerifier { verifier: text.to_owned(), master_id: "m1".to_owned(), earlier: Vec::new() }
}

/// Secrets of their files' names.
fn verifiers(document: &Document) -> Verifiers {
    let key = |file: &str| (file.to_owned(), verifier(&format!("HMAC of {file}")));
    Verifiers {
        keys: document.key_files().map(key).collect(),
        passwords: document.password_files().map(|file| (file.to_owned(), format!("argon2 of {file}"))).collect(),
    }
}

impl Fixture {
    async fn apply(&self, document: &Document, mode: Mode) -> Result<Difference, Error> {
        let wanted = Wanted { document: document.clone(), mode, verifiers: verifiers(document), seen: None };
        self.accounts.apply(&self.actor, wanted).await
    }

    async fn applied(&self, text: &str) -> Difference {
        self.apply(&read(text), Mode::default()).await.unwrap()
    }

    async fn compared(&self, document: &Document, mode: Mode) -> Difference {
        let current = self.accounts.setup().await.unwrap();
        difference(&current, document, mode, &verifiers(document), self.clock.now()).unwrap()
    }

    async fn exported(&self) -> Document {
        self.accounts.setup().await.unwrap().document().unwrap()
    }
}

fn lines(difference: &Difference) -> Vec<String> {
    let sign = |verb| match verb {
        Verb::Create => '+',
        Verb::Change => '~',
        Verb::Remove => '-',
        Verb::Keep => '=',
    };
    let text = |one: &Option<String>| one.clone().unwrap_or_default();
    let line = |line: &super::Line| {
        format!("{} {} {}|{}|{}", sign(line.change), line.kind, line.name, text(&line.before), text(&line.after))
    };
    difference.lines().map(line).collect()
}

fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::Refused(refusal)) => refusal.to_string(),
        other => panic!("not refused: {other:?}"),
    }
}

/// What a document says, without the order of what has none, secrets, and what is said by default.
fn said(document: &Document) -> Value {
    fn tidy(value: &mut Value) {
        match value {
            Value::Object(members) => {
                members.retain(|key, _| key != "secret_file" && key != "password_hash");
                members.retain(|key, value| key != "state" || value != "active");
                if let Some(Value::String(subject)) = members.get_mut("subject") {
                    *subject = folded(subject);
                }
                members.values_mut().for_each(tidy);
            }
            Value::Array(items) => {
                items.iter_mut().for_each(tidy);
                items.sort_by_key(ToString::to_string);
            }
            _ => {}
        }
    }
    let mut value = serde_json::to_value(document).unwrap();
    tidy(&mut value);
    value
}

async fn from_any_setup_to_any_other_and_what_is_exported_changes_nothing(fixture: &Fixture) {
    for wanted in random::documents(8) {
        fixture.apply(&wanted, PRUNE).await.unwrap_or_else(|error| panic!("{error}\n{}", written(&wanted).unwrap()));
        let exported = fixture.exported().await;
        assert_eq!(said(&exported), said(&wanted), "what was wanted is what there is");
        let again = fixture.compared(&wanted, PRUNE).await;
        assert_eq!(lines(&again), Vec::<String>::new(), "applied twice is applied once");

        let text = written(&exported).unwrap();
        let reread = read(&text);
        assert_eq!(serde_json::to_value(&reread).unwrap(), serde_json::to_value(&exported).unwrap(), "{text}");
        let events = fixture.events().await.len();
        let nothing = fixture.apply(&reread, PRUNE).await.unwrap();
        assert_eq!(lines(&nothing), Vec::<String>::new(), "what was exported changes nothing:\n{text}");
        assert_eq!(fixture.events().await.len(), events, "and nothing happened");
    }
}

const OFFICE: &str = "
version: 1
users:
  - {name: root, system_role: administrator}
  - {name: ada, display_name: Ada}
  - name: bob
namespaces:
  - name: acme
    teams:
      - name: dev
        members: [ada, bob]
    robots:
      - name: ci
        keys:
          - {name: deploy, secret_file: deploy.key, scope: 'acme/**:pull'}
    grants:
      - {subject: 'team:dev', repositories: 'acme/**', actions: contributor}
      - {subject: robot.acme.ci, repositories: 'acme/**', actions: 'pull,push', tags: 'pr-*'}
grants:
  - {subject: authenticated, repositories: '*/public', actions: reader}
guardrails:
  - {repositories: '*/release/**', actions: 'push,delete'}
";

async fn nothing_is_removed_unless_that_was_asked_for(fixture: &Fixture) {
    fixture.applied(OFFICE).await;
    let less = read(
        "
version: 1
users: [{name: root, system_role: administrator}, {name: ada, display_name: Ada}]
namespaces:
  - name: acme
    grants: [{subject: ada, repositories: acme/web, actions: pull}]
",
    );
    let kept = [
        "= user bob|no system role|",
        "= grant team:acme/dev on acme/**|pull,push|",
        "= grant robot.acme.ci on acme/**|pull,push, tags pr-*|",
    ];
    let found = fixture.apply(&less, Mode::default()).await.unwrap();
    assert_eq!(lines(&found)[0], "+ grant ada on acme/web||pull");
    assert_eq!(lines(&found)[1..], kept);

    // What the document has no list for is not looked at: neither teams and robots of acme, nor guardrails.
    let found = fixture.apply(&less, PRUNE).await.unwrap();
    let removed: Vec<String> = kept.iter().map(|line| line.replacen('=', "-", 1)).collect();
    let mut made = lines(&found);
    made.sort();
    assert_eq!(made, {
        let mut removed = removed;
        removed.sort();
        removed
    });
    let there = serde_json::to_value(fixture.exported().await).unwrap();
    assert_eq!(there["namespaces"][0]["robots"][0]["name"], "ci");
    assert_eq!(there["namespaces"][0]["teams"][0]["members"], json!(["ada"]), "who is no account is no member");
    assert_eq!(there["guardrails"].as_array().unwrap().len(), 1);

    let everything = read(
        "version: 1\nusers: [{name: root, system_role: administrator}]\nnamespaces: []\ngrants: []\nguardrails: []",
    );
    fixture.apply(&everything, PRUNE).await.unwrap();
    assert_eq!(said(&fixture.exported().await), said(&everything));
    let nobody = read("version: 1\nusers: []");
    assert_eq!(refusal(fixture.apply(&nobody, PRUNE).await), "user root: this is the last active system administrator");
}

async fn one_error_applies_nothing(fixture: &Fixture) {
    fixture.applied(OFFICE).await;
    let (before, events) = (said(&fixture.exported().await), fixture.events().await);
    let head = "version: 1\nusers:\n  - name: eve\n";
    for (rest, why) in [
        ("  - name: Eve\n", "line 4: users[1]: \"Eve\" stands here twice"),
        ("  - {name: zoe, provider: corp}\n", "line 4: users[1]: \"zoe\" comes to be when they first sign in"),
        ("  - {name: bob, provider: corp}\n", "line 4: users[1]: \"bob\" is a local account"),
        ("namespaces:\n  - name: acme\n  - name: acme\n", "line 6: namespaces[1]: \"acme\" stands here twice"),
        (
            "namespaces:\n  - name: acme\n    grants:\n      - {subject: nobody, repositories: acme/x, actions: pull}\n",
            "line 7: namespaces[0].grants[0]: there is no account called \"nobody\"",
        ),
        (
            "namespaces:\n  - name: acme\n    grants:\n      - {subject: 'team:ops', repositories: acme/x, actions: pull}\n",
            "line 7: namespaces[0].grants[0]: there is no team \"ops\"",
        ),
        (
            "namespaces:\n  - name: acme\n    grants:\n      - {subject: eve, repositories: base/x, actions: pull}\n",
            "a grant of acme is about acme",
        ),
        (
            "namespaces:\n  - name: acme\n    grants:\n      - {subject: eve, repositories: acme/x, actions: push}\n",
            "push and delete need pull beside them",
        ),
        (
            "namespaces:\n  - name: acme\n    grants:\n      - {subject: robot.acme.ci, repositories: acme, actions: admin}\n",
            "an admin grant goes to a user or a team",
        ),
        (
            "grants:\n  - {subject: eve, repositories: acme/x, actions: pull}\n",
            "line 5: grants[0]: a grant about one namespace",
        ),
        (
            "guardrails:\n  - {repositories: '{username}/x', actions: pull}\n",
            "line 5: guardrails[0]: a guardrail binds everyone",
        ),
        (
            "namespaces:\n  - name: acme\n    teams:\n      - name: dev\n        members:\n          - ada\n          - nobody\n",
            "line 10: namespaces[0].teams[0].members[1]: there is no account called \"nobody\"",
        ),
        (
            "namespaces:\n  - name: acme\n    teams:\n      - name: dev\n        mappings: [{provider: corp, group: cn=x}]\n",
            "there is no provider called \"corp\"",
        ),
        (
            "namespaces:\n  - name: acme\n    robots:\n      - name: ci\n        keys:\n          - name: second\n",
            "line 9: namespaces[0].robots[0].keys[0]: there is no key second of robot.acme.ci yet",
        ),
        (
            "namespaces:\n  - name: acme\n    robots:\n      - name: ci\n        keys: [{name: a, secret_file: a, idle_days: 0}]\n",
            "idle_days is 1 to 3660",
        ),
        (
            "namespaces:\n  - name: acme\n    robots:\n      - name: ci\n        keys: [{name: a, secret_file: 1}, {name: b, secret_file: 2}, \
             {name: c, secret_file: 3}, {name: d, secret_file: 4}, {name: e, secret_file: 5}]\n",
            "a robot has at most 5 live keys",
        ),
    ] {
        let refused = refusal(fixture.apply(&read(&format!("{head}{rest}")), Mode::default()).await);
        assert!(refused.contains(why), "{rest}\n{refused}\nis not said to be\n{why}");
    }
    assert_eq!(said(&fixture.exported().await), before);
    assert_eq!(fixture.events().await, events);
}

async fn only_what_is_narrowed_is_revoked(fixture: &Fixture) {
    fixture.applied(OFFICE).await;
    let epoch = fixture.epoch().await;
    let wider = OFFICE
        .replace("actions: contributor", "actions: maintainer")
        .replace("tags: 'pr-*'", "tags: 'pr-*,rc-*'")
        .replace(", scope: 'acme/**:pull'", "")
        .replace("actions: 'push,delete'", "actions: push");
    let found = fixture.applied(&wider).await;
    assert_eq!(found.steps.len(), 4, "{:?}", lines(&found));
    assert_eq!(fixture.revoked_after(epoch).await, [], "whoever pushes goes on");

    let found = fixture.applied(OFFICE).await;
    assert_eq!(found.steps.len(), 4, "{:?}", lines(&found));
    let id = async |name: &str| fixture.accounts.principal_called(name).await.unwrap().unwrap().id.0;
    let (ada, bob, ci) = (id("ada").await, id("bob").await, id("robot.acme.ci").await);
    let revoked = fixture.revoked_after(epoch).await;
    for expected in [Revoked::Principal(ada), Revoked::Principal(bob), Revoked::Principal(ci), Revoked::Everyone] {
        assert!(revoked.contains(&expected), "{expected:?} is not among {revoked:?}");
    }
    assert!(revoked.iter().any(|row| matches!(row, Revoked::Credential(_))), "{revoked:?}");
    assert_eq!(revoked.len(), 5);
}

async fn a_key_with_another_secret_is_another_key(fixture: &Fixture) {
    fixture.applied(OFFICE).await;
    let robot = fixture.accounts.principal_called("robot.acme.ci").await.unwrap().unwrap();
    let kind = crate::accounts::credentials::CredentialKind::RobotKey;
    let first = fixture.accounts.credentials(robot.id, kind).await.unwrap();
    assert_eq!(lines(&fixture.applied(OFFICE).await), Vec::<String>::new(), "the same secret is the same key");

    let epoch = fixture.epoch().await;
    let found = fixture.applied(&OFFICE.replace("deploy.key", "newer.key")).await;
    assert_eq!(
        lines(&found),
        [
            "- key deploy of robot.acme.ci|another secret takes its place|",
            "+ key deploy of robot.acme.ci||scope acme/**:pull, no end",
        ]
    );
    let second = fixture.accounts.credentials(robot.id, kind).await.unwrap();
    assert!(second.len() == 1 && second[0].id != first[0].id);
    assert_eq!(fixture.revoked_after(epoch).await, [Revoked::Credential(first[0].id.0)]);
    let ended = OFFICE.replace("secret_file: deploy.key,", "secret_file: gone.key, expires_at: 2001-01-01T00:00:00Z,");
    assert_eq!(
        lines(&fixture.applied(&ended).await),
        ["= key deploy of robot.acme.ci|scope acme/**:pull, no end|"],
        "what has ended is not made"
    );
}

async fn whoever_a_directory_made_goes_with_the_directory(fixture: &Fixture) {
    fixture.applied(OFFICE).await;
    let corp = fixture.accounts.ensure_provider("corp", ProviderKind::Ldap).await.unwrap();
    let proved = Proved {
        external_id: "1".to_owned(),
        external_name: "Zoe".to_owned(),
        handle: "zoe".parse().unwrap(),
        display_name: "Zoe of corp".to_owned(),
        fingerprint: None,
    };
    let zoe = fixture.accounts.provision(corp, proved).await.unwrap().principal;
    assert_eq!(lines(&fixture.compared(&read(OFFICE), PRUNE).await), Vec::<String>::new(), "nobody removes her");
    let granted = OFFICE.replace(
        "members: [ada, bob]",
        "members: [ada, bob, zoe]\n        mappings: [{provider: corp, group: 'cn=dev,dc=corp'}]",
    );
    assert_eq!(
        lines(&fixture.apply(&read(&granted), PRUNE).await.unwrap()),
        ["+ member zoe in acme/dev||", "+ mapping cn=dev,dc=corp of corp to acme/dev||"]
    );
    fixture.accounts.suspend(&fixture.actor, zoe.id).await.unwrap();
    let exported = serde_json::to_value(fixture.exported().await).unwrap();
    assert_eq!(exported["users"][3], json!({ "name": "zoe", "provider": "corp", "state": "suspended" }));
    assert_eq!(lines(&fixture.compared(&fixture.exported().await, PRUNE).await), Vec::<String>::new());
    let found = fixture.apply(&read(OFFICE), PRUNE).await.unwrap();
    assert_eq!(
        lines(&found),
        ["- member zoe in acme/dev||"],
        "her membership was given here; a list that is not there says nothing"
    );
    assert!(fixture.accounts.principal_called("zoe").await.unwrap().is_some());
}

async fn what_was_seen_is_what_is_applied(fixture: &Fixture) {
    let document = read(OFFICE);
    let seen = fixture.compared(&document, PRUNE).await.fingerprint();
    let wanted = Wanted { document: document.clone(), mode: PRUNE, verifiers: verifiers(&document), seen: Some(seen) };
    fixture.namespace("base", crate::permissions::Visibility::Private).await;
    let refused = fixture.accounts.apply(&fixture.actor, wanted).await;
    assert!(matches!(refused, Err(Error::Refused(Refusal::SetupChanged))), "{refused:?}");
    let seen = fixture.compared(&document, PRUNE).await.fingerprint();
    let wanted = Wanted { document: document.clone(), mode: PRUNE, verifiers: verifiers(&document), seen: Some(seen) };
    fixture.accounts.apply(&fixture.actor, wanted).await.unwrap();
    assert_eq!(lines(&fixture.compared(&document, PRUNE).await), Vec::<String>::new());
}

async fn who_was_suspended_in_a_hurry_stays_so(fixture: &Fixture) {
    fixture.applied(OFFICE).await;
    let bob = fixture.accounts.principal_called("bob").await.unwrap().unwrap();
    fixture.accounts.suspend(&fixture.actor, bob.id).await.unwrap();
    assert_eq!(lines(&fixture.apply(&read(OFFICE), PRUNE).await.unwrap()), Vec::<String>::new());
    let found = fixture.applied(&OFFICE.replace("- name: bob", "- {name: bob, state: active}")).await;
    assert_eq!(lines(&found), ["~ user bob|suspended|active"]);
}

async fn an_import_overwrites_nothing(fixture: &Fixture) {
    fixture.applied(OFFICE).await;
    let before = said(&fixture.exported().await);
    let other = read(
        &OFFICE
            .replace("system_role: administrator", "display_name: Other")
            .replace("name: acme", "name: acme\n    visibility: public")
            .replace("deploy.key", "other.key")
            .replace("actions: contributor", "actions: maintainer"),
    );
    let found = fixture.apply(&other, ADD).await.unwrap();
    let made: Vec<String> = lines(&found).into_iter().filter(|line| !line.starts_with('=')).collect();
    assert_eq!(
        made,
        ["+ grant team:acme/dev on acme/**||pull,push,delete"],
        "a grant beside the other is no overwriting"
    );
    let kept = lines(&found);
    for name in
        ["user root", "user ada", "user bob", "namespace acme", "robot robot.acme.ci", "key deploy of robot.acme.ci"]
    {
        assert!(kept.iter().any(|line| line.starts_with(&format!("= {name}|"))), "{name} is not reported in {kept:?}");
    }
    let mut after = said(&fixture.exported().await);
    let grants = after["namespaces"][0]["grants"].as_array_mut().unwrap();
    grants.retain(|grant| grant["actions"] != "pull,push,delete");
    assert_eq!(after, before);
}

async fn every_change_names_who_made_it(fixture: &Fixture) {
    let root = fixture.administrator("root").await;
    let actor =
        crate::audit::Actor { principal: Some(root.id), name: "root".to_owned(), ..crate::audit::Actor::local() };
    let (document, events) = (read(OFFICE), fixture.events().await.len());
    let wanted = Wanted { document: document.clone(), mode: PRUNE, verifiers: verifiers(&document), seen: None };
    let made = fixture.accounts.apply(&actor, wanted).await.unwrap();
    let named = fixture.bodies().await.split_off(events);
    assert_eq!(named.last().unwrap()["event"], "setup.apply");
    assert_eq!(named.last().unwrap()["details"]["created"], made.steps.len());
    assert!(named.len() > made.steps.len());
    assert!(named.iter().all(|body| body["actor"]["name"] == "root" && body["actor"]["id"] == root.id.0), "{named:?}");
}

async fn a_key_of_an_earlier_master_key_is_the_same_key(fixture: &Fixture) {
    fixture.applied(OFFICE).await;
    let document = read(OFFICE);
    let mut rotated = verifiers(&document);
    let earlier = rotated.keys.insert("deploy.key".to_owned(), verifier("its HMAC under the next master key")).unwrap();
    let current = fixture.accounts.setup().await.unwrap();
    let compared = |verifiers: &Verifiers| {
        difference(&current, &document, Mode::default(), verifiers, fixture.clock.now()).unwrap()
    };
    assert_eq!(lines(&compared(&rotated)).len(), 2, "whoever cannot tell makes another");
    rotated.keys.get_mut("deploy.key").unwrap().earlier.push(earlier.verifier);
    assert_eq!(lines(&compared(&rotated)), Vec::<String>::new());
}

async fn what_no_document_can_say_is_not_left_out(fixture: &Fixture) {
    fixture.applied(OFFICE).await;
    fixture.tamper("UPDATE principal SET handle = 'b o b' WHERE handle = 'bob'").await;
    let refused = fixture.beside().await.setup().await.unwrap().document().unwrap_err();
    assert_eq!(refused.to_string(), "the account \"b o b\" cannot be written in a setup: rename it, or remove it");
}

async fn a_setup_has_its_bounds(fixture: &Fixture) {
    let named = |count: usize| Document {
        users: Some((0..count).map(|n| Placed::nowhere(UserPart::named(format!("u{n}").parse().unwrap()))).collect()),
        ..Document::default()
    };
    let current = fixture.accounts.setup().await.unwrap();
    let compared =
        |count| difference(&current, &named(count), Mode::default(), &Verifiers::default(), fixture.clock.now());
    assert_eq!(compared(MAX_STEPS).unwrap().steps.len(), MAX_STEPS);
    let refused = compared(MAX_STEPS + 1).unwrap_err().to_string();
    assert_eq!(refused, "setup: it takes 5001 steps, and at most 5000 are made at once: apply it in parts");
}

#[test]
fn a_place_without_lines_names_its_key_alone() {
    let place = Place { line: 0, key: "user root".to_owned() };
    assert_eq!(place.to_string(), "user root");
}
