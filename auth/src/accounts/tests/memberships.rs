//! Groups of directories that feed teams, on both databases.

use std::{collections::BTreeSet, time::Duration};

use shared::revocation::Revoked;

use super::fixture::{Fixture, on_both};
use crate::{
    accounts::{
        Error, PrincipalId, ProviderId, Refusal,
        leader::Lease,
        memberships::Said,
        principals::AccountState,
        providers::{Proved, ProviderKind},
        teams::Team,
    },
    permissions::Visibility,
};

on_both! {
    groups_feed_teams_and_replace_what_was_said_before
    a_mapping_concerns_those_who_are_known_at_once
    who_was_put_there_by_hand_stays
    a_mapping_that_is_not_there_is_not_removed
    a_reading_that_was_overtaken_writes_nothing
}

struct Story {
    provider: ProviderId,
    dev: Team,
    ops: Team,
    alice: PrincipalId,
}

async fn story(fixture: &Fixture) -> Story {
    fixture.namespace("acme", Visibility::Private).await;
    let provider = fixture.accounts.ensure_provider("corp", ProviderKind::Ldap).await.unwrap();
    let team = async |name: &str| {
        fixture.accounts.create_team(&fixture.actor, &"acme".parse().unwrap(), name.parse().unwrap()).await.unwrap()
    };
    let proved = Proved {
        external_id: "1".to_owned(),
        external_name: "Alice".to_owned(),
        handle: "alice".parse().unwrap(),
        display_name: String::new(),
        fingerprint: None,
    };
    let alice = fixture.accounts.provision(provider, proved).await.unwrap().principal.id;
    Story { provider, dev: team("dev").await, ops: team("ops").await, alice }
}

impl Story {
    async fn has(&self, fixture: &Fixture, groups: &[&str]) {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect::<BTreeSet<_>>();
        fixture.accounts.set_groups(self.provider, "1", groups, Said::Now).await.unwrap();
    }

    /// A reading says that Alice is gone, back, and in a group.
    async fn says_what_was_read(&self, fixture: &Fixture, said: Said) {
        let state = fixture.accounts.principal_called("alice").await.unwrap().unwrap().state;
        let groups = BTreeSet::from(["cn=ops".to_owned()]);
        fixture.accounts.disable_provided(self.provider, "1", said.clone()).await.unwrap();
        fixture.accounts.enable_provided(self.provider, "1", said.clone()).await.unwrap();
        fixture.accounts.set_groups(self.provider, "1", groups, said).await.unwrap();
        assert_eq!(fixture.accounts.principal_called("alice").await.unwrap().unwrap().state, state);
    }

    /// Why somebody is in the two teams.
    async fn reasons(&self, fixture: &Fixture) -> (Vec<String>, Vec<String>) {
        let reasons = async |team: &Team| {
            let members = fixture.accounts.members(team.id, None, 100).await.unwrap();
            members.into_iter().map(|member| member.source).collect()
        };
        (reasons(&self.dev).await, reasons(&self.ops).await)
    }
}

async fn groups_feed_teams_and_replace_what_was_said_before(fixture: &Fixture) {
    let story = story(fixture).await;
    let corp = story.provider.0.to_string();
    for (team, group) in [(&story.dev, "cn=dev"), (&story.dev, "cn=web"), (&story.ops, "cn=ops")] {
        fixture.accounts.map_group(&fixture.actor, team.id, story.provider, group).await.unwrap();
    }
    assert_eq!(fixture.accounts.mappings(story.dev.id).await.unwrap().len(), 2);
    let epoch = fixture.epoch().await;
    story.has(fixture, &["cn=dev", "cn=web", "cn=other"]).await;
    assert_eq!(story.reasons(fixture).await, (vec![corp.clone()], vec![]));
    // One of two reasons goes: nothing is lost.
    story.has(fixture, &["cn=web", "cn=ops"]).await;
    assert_eq!(story.reasons(fixture).await, (vec![corp.clone()], vec![corp.clone()]));
    assert_eq!(fixture.revoked_after(epoch).await, [], "widening revokes nothing");
    // T29: what the directory says now is all that counts.
    story.has(fixture, &["cn=ops"]).await;
    assert_eq!(story.reasons(fixture).await, (vec![], vec![corp]));
    assert_eq!(fixture.revoked_after(epoch).await, [Revoked::Principal(story.alice.0)]);
    let (provider, fed) = fixture.accounts.fed_by(story.alice).await.unwrap().unwrap();
    assert_eq!((provider, fed.groups_at), (story.provider, Some(fixture.clock.now())));
}

async fn a_mapping_concerns_those_who_are_known_at_once(fixture: &Fixture) {
    let story = story(fixture).await;
    story.has(fixture, &["cn=dev"]).await;
    let epoch = fixture.epoch().await;
    for _ in 0..2 {
        fixture.accounts.map_group(&fixture.actor, story.dev.id, story.provider, "cn=dev").await.unwrap();
    }
    assert_eq!(story.reasons(fixture).await.0.len(), 1);
    fixture.accounts.unmap_group(&fixture.actor, story.dev.id, story.provider, "cn=dev").await.unwrap();
    assert_eq!(story.reasons(fixture).await.0.len(), 0);
    assert_eq!(fixture.revoked_after(epoch).await, [Revoked::Principal(story.alice.0)]);
    let events = fixture.events().await;
    for name in ["team.mapping.add", "team.mapping.remove", "team.member.add", "team.member.remove"] {
        assert_eq!(events.iter().filter(|event| *event == name).count(), 1, "{name}");
    }
}

async fn who_was_put_there_by_hand_stays(fixture: &Fixture) {
    let story = story(fixture).await;
    fixture.accounts.map_group(&fixture.actor, story.dev.id, story.provider, "cn=dev").await.unwrap();
    fixture.accounts.add_member(&fixture.actor, story.dev.id, story.alice).await.unwrap();
    story.has(fixture, &["cn=dev"]).await;
    let epoch = fixture.epoch().await;
    story.has(fixture, &[]).await;
    assert_eq!(story.reasons(fixture).await.0, ["hand"]);
    assert_eq!(fixture.revoked_after(epoch).await, []);
}

async fn a_mapping_that_is_not_there_is_not_removed(fixture: &Fixture) {
    let story = story(fixture).await;
    let missing = fixture.accounts.unmap_group(&fixture.actor, story.dev.id, story.provider, "cn=dev").await;
    assert!(matches!(missing, Err(Error::Refused(Refusal::MappingUnknown))));
}

/// A reading of everybody takes minutes. Whatever was said to a sign-in meanwhile, or to the process that took over, is newer.
async fn a_reading_that_was_overtaken_writes_nothing(fixture: &Fixture) {
    let story = story(fixture).await;
    fixture.accounts.map_group(&fixture.actor, story.ops.id, story.provider, "cn=ops").await.unwrap();
    story.has(fixture, &["cn=ops"]).await;
    let read = fixture.accounts.fed_by(story.alice).await.unwrap().unwrap().1.groups_at;
    fixture.pass(Duration::from_secs(60));
    story.has(fixture, &[]).await;
    let ours = fixture.accounts.lease("reading", Duration::from_secs(90));
    let as_read = |lease: &Lease| Said::Before { lease: lease.clone(), groups_at: read };
    story.says_what_was_read(fixture, as_read(&ours)).await;
    let (_, fed) = fixture.accounts.fed_by(story.alice).await.unwrap().unwrap();
    assert_eq!((fed.groups, fed.state), (Some(BTreeSet::new()), AccountState::Active), "a sign-in knew better");
    assert_eq!(story.reasons(fixture).await.1.len(), 0);

    let newer =
        Said::Before { lease: Lease { holder: "another process".into(), ..ours.clone() }, groups_at: fed.groups_at };
    story.says_what_was_read(fixture, newer).await;
    assert_eq!(story.reasons(fixture).await.1.len(), 0, "another process leads");

    let newest = Said::Before { lease: ours.clone(), groups_at: fed.groups_at };
    fixture.accounts.confirm_groups(story.provider, &ours, &[("1".to_owned(), read.unwrap())]).await.unwrap();
    story.says_what_was_read(fixture, newest).await;
    assert_eq!(story.reasons(fixture).await.1.len(), 1, "nothing newer is known, and this process leads");
}
