use shared::revocation::Revoked;

use super::fixture::{Fixture, on_both};
use crate::{
    accounts::{
        Error, NamespaceId, Refusal,
        grants::{Effect, NewRule, Wanted},
        principals::Page,
        rules::{About, Reach},
    },
    permissions::{ApiLevel, CallerKind, Subject, SystemRole, Visibility},
};

on_both! {
    a_caller_gets_its_own_rules_and_nobody_elses
    only_the_namespaces_asked_about_are_read
    the_epoch_stands_in_the_same_snapshot
    what_is_taken_away_is_revoked_for_those_who_had_it
    opening_a_namespace_is_no_revocation_and_closing_it_is_one
    t23_a_recreated_namespace_has_none_of_the_old_grants
    deleting_a_team_takes_its_grants_and_is_felt_by_its_members
    rules_are_listed_with_names_and_removed_only_where_they_were_written
    a_grant_does_not_reach_the_next_namespace_of_that_name
    a_robot_does_not_join_a_team_that_administers
    an_api_level_is_read_from_tokens_and_keys_only
}

fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> Refusal {
    match result {
        Err(Error::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

async fn patterns(fixture: &Fixture, about: About, reach: &Reach<'_>) -> Vec<String> {
    let situation = fixture.accounts.rules_for(about, reach).await.unwrap().unwrap();
    let mut patterns: Vec<String> = situation.rules.grants.iter().map(|grant| grant.pattern.to_string()).collect();
    patterns.sort();
    patterns
}

async fn a_caller_gets_its_own_rules_and_nobody_elses(fixture: &Fixture) {
    let acme = fixture.namespace("acme", Visibility::Internal).await;
    let (alice, bob) = (fixture.user("alice").await, fixture.user("bob").await);
    let team =
        fixture.accounts.create_team(&fixture.actor, &"acme".parse().unwrap(), "dev".parse().unwrap()).await.unwrap();
    for _ in 0..2 {
        fixture.accounts.add_member(&fixture.actor, team.id, alice.id).await.unwrap();
    }
    fixture.grant(Subject::Everyone, "acme/everyone", "pull").await;
    fixture.grant(Subject::Authenticated, "acme/signed-in", "pull").await;
    fixture.grant(Subject::Principal(alice.id.0), "acme/alice", "pull,push").await;
    fixture.grant(Subject::Principal(bob.id.0), "acme/bob", "pull").await;
    fixture.grant(Subject::Team(team.id.0), "acme/team", "pull").await;
    fixture.grant(Subject::Everyone, "*/shared", "pull").await;
    fixture
        .accounts
        .add_rule(&fixture.actor, fixture.rule(Subject::Everyone, "acme/frozen/**", "push", Effect::Deny).await)
        .await
        .unwrap();

    let reach = Reach::repositories(["acme/web"]);
    assert_eq!(patterns(fixture, About::Anonymous, &reach).await, ["*/shared", "acme/everyone"]);
    let alices = ["*/shared", "acme/alice", "acme/everyone", "acme/signed-in", "acme/team"];
    assert_eq!(patterns(fixture, About::Principal(alice.id), &reach).await, alices);
    assert_eq!(
        patterns(fixture, About::Principal(bob.id), &reach).await,
        ["*/shared", "acme/bob", "acme/everyone", "acme/signed-in"]
    );
    assert_eq!(patterns(fixture, About::Anonymous, &reach.clone().with_others()).await.len(), 6);

    let password = fixture.password("alice").await;
    let situation = fixture.accounts.rules_for(About::Proved(alice.id, password), &reach).await.unwrap().unwrap();
    assert_eq!((situation.caller.kind, situation.caller.handle.as_str()), (CallerKind::User, "alice"));
    let subjects =
        [Subject::Principal(alice.id.0), Subject::Team(team.id.0), Subject::Authenticated, Subject::Everyone];
    assert_eq!(situation.caller.subjects, subjects.into());
    assert_eq!(situation.rules.guardrails.len(), 1);
    let known = situation.rules.namespaces.named("acme").unwrap();
    assert_eq!((known.id, known.visibility), (acme.id.0, Visibility::Internal));
    // Somebody else's credential proves nothing.
    let mixed = fixture.accounts.rules_for(About::Proved(bob.id, password), &reach).await.unwrap();
    assert!(mixed.is_none());
}

async fn only_the_namespaces_asked_about_are_read(fixture: &Fixture) {
    for name in ["acme", "base", "quote"] {
        fixture.namespace(name, Visibility::Public).await;
        fixture.grant(Subject::Everyone, &format!("{name}/**"), "pull").await;
    }
    let names = async |reach: Reach<'_>| {
        let situation = fixture.accounts.rules_for(About::Anonymous, &reach).await.unwrap().unwrap();
        let mut names: Vec<String> =
            situation.rules.namespaces.iter().map(|namespace| namespace.name.clone()).collect();
        names.sort();
        (names, situation.rules.grants.len())
    };
    assert_eq!(
        names(Reach::repositories(["acme/web", "acme/api", "base", "unknown/x"])).await,
        (vec!["acme".into(), "base".into()], 2)
    );
    assert_eq!(names(Reach::repositories([])).await, (vec![], 0));
    assert_eq!(names(Reach::repositories(["a\"','b", "' OR 1=1 --"])).await, (vec![], 0));
    assert_eq!(names(Reach::everything()).await.1, 3);
}

async fn the_epoch_stands_in_the_same_snapshot(fixture: &Fixture) {
    let alice = fixture.user("alice").await;
    let token = fixture.token(&alice).await;
    let ask =
        async || fixture.accounts.rules_for(About::Proved(alice.id, token.id), &Reach::everything()).await.unwrap();
    let before = ask().await.unwrap().epoch;
    let other = fixture.token(&alice).await;
    fixture.accounts.revoke_credential(&fixture.actor, alice.id, other.id).await.unwrap();
    assert_eq!(ask().await.unwrap().epoch, before + 1);
    fixture.accounts.revoke_credential(&fixture.actor, alice.id, token.id).await.unwrap();
    assert!(ask().await.is_none());
}

async fn what_is_taken_away_is_revoked_for_those_who_had_it(fixture: &Fixture) {
    let acme = fixture.namespace("acme", Visibility::Private).await;
    let (alice, bob) = (fixture.user("alice").await, fixture.user("bob").await);
    let team =
        fixture.accounts.create_team(&fixture.actor, &"acme".parse().unwrap(), "dev".parse().unwrap()).await.unwrap();
    fixture.accounts.add_member(&fixture.actor, team.id, alice.id).await.unwrap();
    fixture.accounts.add_member(&fixture.actor, team.id, bob.id).await.unwrap();
    let people = [Revoked::Principal(alice.id.0), Revoked::Principal(bob.id.0)];
    let cases = [
        (Subject::Principal(alice.id.0), "acme/**", acme.id, people[..1].to_vec()),
        (Subject::Team(team.id.0), "acme/**", acme.id, people.to_vec()),
        (Subject::Authenticated, "acme/**", acme.id, vec![Revoked::Namespace("acme".into())]),
        (Subject::Everyone, "acme", acme.id, vec![Revoked::Namespace("acme".into())]),
        (Subject::Everyone, "*/shared", NamespaceId::SYSTEM, vec![Revoked::Everyone]),
        (Subject::Principal(bob.id.0), "**", NamespaceId::SYSTEM, people[1..].to_vec()),
    ];
    for (subject, pattern, namespace, expected) in cases {
        let before = fixture.epoch().await;
        let id = fixture.grant(subject, pattern, "pull").await;
        assert_eq!(fixture.revoked_after(before).await, [], "giving takes nothing away");
        fixture.accounts.remove_rule(&fixture.actor, namespace, id).await.unwrap();
        assert_eq!(fixture.revoked_after(before).await, expected, "{subject:?} {pattern}");
    }
    for (pattern, expected) in [("acme/**", Revoked::Namespace("acme".into())), ("**", Revoked::Everyone)] {
        let before = fixture.epoch().await;
        let id = fixture
            .accounts
            .add_rule(&fixture.actor, fixture.rule(Subject::Everyone, pattern, "push", Effect::Deny).await)
            .await
            .unwrap();
        fixture.accounts.remove_rule(&fixture.actor, NamespaceId::SYSTEM, id).await.unwrap();
        assert_eq!(fixture.revoked_after(before).await, [expected]);
    }
    let before = fixture.epoch().await;
    fixture.accounts.remove_member(&fixture.actor, team.id, bob.id).await.unwrap();
    assert_eq!(fixture.revoked_after(before).await, people[1..]);
    assert_eq!(
        refused(fixture.accounts.remove_member(&fixture.actor, team.id, bob.id).await),
        Refusal::PrincipalUnknown
    );
}

async fn opening_a_namespace_is_no_revocation_and_closing_it_is_one(fixture: &Fixture) {
    fixture.namespace("acme", Visibility::Private).await;
    let before = fixture.epoch().await;
    let set = async |visibility| {
        let namespace =
            fixture.accounts.set_visibility(&fixture.actor, &"acme".parse().unwrap(), visibility).await.unwrap();
        assert_eq!(namespace.visibility, visibility);
    };
    set(Visibility::Internal).await;
    set(Visibility::Public).await;
    set(Visibility::Public).await;
    assert_eq!(fixture.revoked_after(before).await, []);
    set(Visibility::Internal).await;
    set(Visibility::Private).await;
    assert_eq!(fixture.revoked_after(before).await, vec![Revoked::Namespace("acme".into()); 2]);
}

async fn t23_a_recreated_namespace_has_none_of_the_old_grants(fixture: &Fixture) {
    let accounts = &fixture.accounts;
    let name = "acme".parse().unwrap();
    let old = fixture.namespace("acme", Visibility::Public).await;
    let robot = fixture.robot("acme", "ci").await;
    let key = fixture.key(&robot).await;
    fixture.grant(Subject::Everyone, "acme/**", "pull,push").await;
    let taken = accounts.create_namespace(&fixture.actor, &name, Visibility::Private).await;
    assert_eq!(refused(taken), Refusal::NamespaceTaken("acme".into()));

    let before = fixture.epoch().await;
    accounts.delete_namespace(&fixture.actor, &name).await.unwrap();
    assert_eq!(
        fixture.revoked_after(before).await,
        [Revoked::Principal(robot.id.0), Revoked::Namespace("acme".into())]
    );
    assert_eq!(accounts.namespace(&name).await.unwrap(), None);
    assert_eq!(refused(accounts.delete_namespace(&fixture.actor, &name).await), Refusal::NamespaceUnknown);

    let new = fixture.namespace("acme", Visibility::Private).await;
    assert_ne!(new.id, old.id);
    assert!(patterns(fixture, About::Anonymous, &Reach::repositories(["acme/web"])).await.is_empty());
    let gone = accounts.rules_for(About::Proved(robot.id, key.id), &Reach::everything()).await.unwrap();
    assert!(gone.is_none());
    assert_eq!(fixture.robot("acme", "ci").await.handle, robot.handle, "the name is free again");
    assert_eq!(accounts.namespaces(&Page { after: None, limit: 10 }).await.unwrap(), [new]);
}

async fn deleting_a_team_takes_its_grants_and_is_felt_by_its_members(fixture: &Fixture) {
    let acme = fixture.namespace("acme", Visibility::Private).await;
    let alice = fixture.user("alice").await;
    let name = "acme".parse().unwrap();
    let team = fixture.accounts.create_team(&fixture.actor, &name, "dev".parse().unwrap()).await.unwrap();
    let taken = fixture.accounts.create_team(&fixture.actor, &name, "dev".parse().unwrap()).await;
    assert_eq!(refused(taken), Refusal::TeamTaken("dev".into()));
    fixture.accounts.add_member(&fixture.actor, team.id, alice.id).await.unwrap();
    fixture.grant(Subject::Team(team.id.0), "acme/**", "pull").await;
    let listed = fixture.accounts.teams(acme.id, None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|listed| listed.id).collect::<Vec<_>>(), [team.id]);
    assert_eq!(fixture.accounts.members(team.id, None, 10).await.unwrap()[0].handle, "alice");

    let before = fixture.epoch().await;
    fixture.accounts.delete_team(&fixture.actor, team.id).await.unwrap();
    assert_eq!(fixture.revoked_after(before).await, [Revoked::Principal(alice.id.0)]);
    assert_eq!(fixture.accounts.team(acme.id, "dev").await.unwrap(), None);
    assert!(fixture.accounts.rules(Wanted::within(acme.id), None, 10).await.unwrap().is_empty());
    let late = fixture
        .accounts
        .add_rule(&fixture.actor, fixture.rule(Subject::Team(team.id.0), "acme/**", "pull", Effect::Allow).await)
        .await;
    assert_eq!(refused(late), Refusal::TeamUnknown);
}

async fn rules_are_listed_with_names_and_removed_only_where_they_were_written(fixture: &Fixture) {
    let (acme, base) =
        (fixture.namespace("acme", Visibility::Private).await, fixture.namespace("base", Visibility::Private).await);
    let alice = fixture.user("alice").await;
    let mut new = fixture.rule(Subject::Principal(alice.id.0), "acme/**", "pull,push", Effect::Allow).await;
    new.tags = Some("pr-*".parse().unwrap());
    new.expires_at = Some(fixture.clock.now() + std::time::Duration::from_secs(60));
    let id = fixture.accounts.add_rule(&fixture.actor, new.clone()).await.unwrap();
    fixture.grant(Subject::Everyone, "acme/public/**", "pull").await;

    let listed = fixture.accounts.rules(Wanted::within(acme.id), None, 10).await.unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!((listed[0].id, listed[0].subject_name.as_deref()), (id, Some("alice")));
    assert_eq!((&listed[0].pattern, listed[0].actions, &listed[0].tags), (&new.pattern, new.actions, &new.tags));
    assert_eq!(listed[0].expires_at, new.expires_at);
    assert_eq!(fixture.accounts.rules(Wanted::within(acme.id), Some(id), 10).await.unwrap().len(), 1);
    assert_eq!(refused(fixture.accounts.remove_rule(&fixture.actor, base.id, id).await), Refusal::GrantUnknown);
    fixture.accounts.remove_rule(&fixture.actor, acme.id, id).await.unwrap();

    let nowhere = NewRule { namespace: Some(NamespaceId(4711)), ..new };
    assert_eq!(refused(fixture.accounts.add_rule(&fixture.actor, nowhere).await), Refusal::NamespaceUnknown);
}

async fn a_grant_does_not_reach_the_next_namespace_of_that_name(fixture: &Fixture) {
    fixture.namespace("acme", Visibility::Private).await;
    let meant = fixture.rule(Subject::Everyone, "acme/**", "pull", Effect::Allow).await;
    fixture.accounts.delete_namespace(&fixture.actor, &"acme".parse().unwrap()).await.unwrap();
    let next = fixture.namespace("acme", Visibility::Private).await;
    assert_eq!(refused(fixture.accounts.add_rule(&fixture.actor, meant).await), Refusal::NamespaceUnknown);
    assert!(fixture.accounts.rules(Wanted::within(next.id), None, 10).await.unwrap().is_empty());
}

async fn a_robot_does_not_join_a_team_that_administers(fixture: &Fixture) {
    let acme = fixture.namespace("acme", Visibility::Private).await;
    let robot = fixture.robot("acme", "ci").await;
    let team = async |name: &str| {
        fixture.accounts.create_team(&fixture.actor, &"acme".parse().unwrap(), name.parse().unwrap()).await.unwrap()
    };
    let (admins, pushers) = (team("admins").await, team("pushers").await);
    let grant = fixture.grant(Subject::Team(admins.id.0), "acme", "admin").await;
    fixture.grant(Subject::Team(pushers.id.0), "acme/**", "pull,push").await;
    fixture.accounts.add_member(&fixture.actor, pushers.id, robot.id).await.unwrap();
    let joined = fixture.accounts.add_member(&fixture.actor, admins.id, robot.id).await;
    assert_eq!(refused(joined), Refusal::RobotInAdminTeam);
    assert!(fixture.accounts.members(admins.id, None, 10).await.unwrap().is_empty());
    fixture.accounts.remove_rule(&fixture.actor, acme.id, grant).await.unwrap();
    fixture.accounts.add_member(&fixture.actor, admins.id, robot.id).await.unwrap();
}

async fn an_api_level_is_read_from_tokens_and_keys_only(fixture: &Fixture) {
    let admin = fixture.user_with("root", Some(SystemRole::Administrator), Some("argon2")).await;
    let mut new = super::fixture::new_credential(admin.id);
    new.api = ApiLevel::Write;
    new.scope = Some("acme/**:pull".parse().unwrap());
    let token = fixture.accounts.create_token(&fixture.actor, new.clone()).await.unwrap();
    let ask = async |credential| {
        fixture
            .accounts
            .rules_for(About::Proved(admin.id, credential), &Reach::everything())
            .await
            .unwrap()
            .unwrap()
            .caller
    };
    let caller = ask(token.id).await;
    assert_eq!((caller.api, caller.system_role), (ApiLevel::Write, Some(SystemRole::Administrator)));
    assert_eq!(caller.credential_scope, new.scope);
    assert_eq!(ask(fixture.password("root").await).await.api, ApiLevel::None);
}
