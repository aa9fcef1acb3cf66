//! Accounts to tell stories on.

use std::time::Duration;

use shared::{
    clock::{Clock, Timestamp},
    database::testing::Scratch,
    on, random,
    revocation::Revoked,
};

use crate::{
    accounts::{
        Accounts, CredentialId, PrincipalId,
        credentials::{Credential, NewCredential, OtherKeys},
        grants::{Effect, NewRule},
        namespaces::Namespace,
        principals::{NewRobot, NewUser, Principal},
    },
    audit::Actor,
    permissions::{ApiLevel, Subject, SystemRole, Visibility},
};

/// Makes two tests of each story, one on each database.
macro_rules! on_both {
    ($($story:ident)*) => { shared::on_both!($crate::accounts::tests::fixture::Fixture: $($story)*); };
}
pub(crate) use on_both;

pub(crate) struct Fixture {
    pub(crate) accounts: Accounts,
    pub(crate) clock: Clock,
    pub(crate) actor: Actor,
    scratch: Scratch,
}

impl Fixture {
    pub(crate) async fn sqlite() -> Self {
        Self::at(Scratch::sqlite()).await
    }

    pub(crate) async fn postgres() -> Self {
        Self::at(Scratch::postgres()).await
    }

    async fn at(scratch: Scratch) -> Self {
        let clock = Clock::fixed(Timestamp::from_seconds(1_800_000_000));
        let accounts = Accounts::open(scratch.location(), clock.clone()).await.unwrap();
        Self { accounts, clock, actor: Actor::local(), scratch }
    }

    /// What another process over the same database has.
    pub(crate) async fn beside(&self) -> Accounts {
        Accounts::open(self.scratch.location(), self.clock.clone()).await.unwrap()
    }

    /// From now on the database does not answer.
    pub(crate) async fn close(&self) {
        self.accounts.database.close().await;
    }

    /// What somebody does who has a shell beside the database.
    pub(crate) async fn tamper(&self, sql: &str) {
        self.scratch.tamper(sql).await;
    }

    pub(crate) async fn clear(&self) {
        self.close().await;
        self.scratch.clear().await;
    }

    pub(crate) async fn user(&self, handle: &str) -> Principal {
        self.user_with(handle, None, Some("argon2 of a password")).await
    }

    pub(crate) async fn administrator(&self, handle: &str) -> Principal {
        self.user_with(handle, Some(SystemRole::Administrator), Some("argon2 of a password")).await
    }

    pub(crate) async fn user_with(
        &self,
        handle: &str,
        system_role: Option<SystemRole>,
        password: Option<&str>,
    ) -> Principal {
        let user = new_user(handle, system_role, password);
        self.accounts.create_user(&self.actor, user).await.unwrap()
    }

    pub(crate) async fn namespace(&self, name: &str, visibility: Visibility) -> Namespace {
        self.accounts.create_namespace(&self.actor, &name.parse().unwrap(), visibility).await.unwrap()
    }

    pub(crate) async fn robot(&self, namespace: &str, name: &str) -> Principal {
        let robot = NewRobot {
            namespace: namespace.parse().unwrap(),
            name: name.parse().unwrap(),
            purpose: String::new(),
            expires_at: None,
        };
        self.accounts.create_robot(&self.actor, robot).await.unwrap()
    }

    pub(crate) async fn token(&self, owner: &Principal) -> Credential {
        self.accounts.create_token(&self.actor, new_credential(owner.id)).await.unwrap()
    }

    pub(crate) async fn key(&self, robot: &Principal) -> Credential {
        self.accounts.add_robot_key(&self.actor, new_credential(robot.id), OtherKeys::Stay).await.unwrap()
    }

    pub(crate) async fn grant(&self, subject: Subject, pattern: &str, actions: &str) -> crate::accounts::GrantId {
        let rule = self.rule(subject, pattern, actions, Effect::Allow).await;
        self.accounts.add_rule(&self.actor, rule).await.unwrap()
    }

    /// A rule, written where its pattern belongs.
    pub(crate) async fn rule(&self, subject: Subject, pattern: &str, actions: &str, effect: Effect) -> NewRule {
        let pattern: shared::pattern::RepositoryPattern = pattern.parse().unwrap();
        let namespace = match pattern.namespace().filter(|_| effect == Effect::Allow) {
            Some(name) => Some(self.accounts.namespace(&name.parse().unwrap()).await.unwrap().unwrap().id),
            None => None,
        };
        let actions = actions.parse().unwrap();
        NewRule { namespace, subject, pattern, actions, tags: None, effect, expires_at: None }
    }

    /// The live password of an account.
    pub(crate) async fn password(&self, handle: &str) -> CredentialId {
        let claimed = self.accounts.claimed(handle).await.unwrap().unwrap();
        claimed.proofs.first().unwrap().0.id
    }

    /// What the feed says after `seq`, once the numbers were checked to have no gap.
    pub(crate) async fn revoked_after(&self, seq: u64) -> Vec<Revoked> {
        let rows = self.accounts.revocations_after(seq).await.unwrap();
        let numbers: Vec<u64> = rows.iter().map(|row| row.seq).collect();
        assert_eq!(numbers, (seq + 1..=seq + rows.len() as u64).collect::<Vec<_>>());
        assert_eq!(self.accounts.epoch().await.unwrap(), seq + rows.len() as u64);
        rows.into_iter().map(|row| row.subject).collect()
    }

    pub(crate) async fn epoch(&self) -> u64 {
        self.accounts.epoch().await.unwrap()
    }

    /// Names of the audit events so far.
    pub(crate) async fn events(&self) -> Vec<String> {
        let mut reader = self.accounts.database.reader().await.unwrap();
        let rows: Vec<(String,)> =
            on!(reader, c => sqlx::query_as("SELECT event FROM audit ORDER BY id").fetch_all(c).await).unwrap();
        rows.into_iter().map(|(event,)| event).collect()
    }

    /// The audit events so far, as they are stored.
    pub(crate) async fn bodies(&self) -> Vec<serde_json::Value> {
        let mut reader = self.accounts.database.reader().await.unwrap();
        let rows: Vec<(String,)> =
            on!(reader, c => sqlx::query_as("SELECT body FROM audit ORDER BY id").fetch_all(c).await).unwrap();
        rows.into_iter().map(|(body,)| serde_json::from_str(&body).unwrap()).collect()
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

pub(crate) fn new_user(handle: &str, system_role: Option<SystemRole>, password: Option<&str>) -> NewUser {
    NewUser {
        handle: handle.parse().unwrap(),
        display_name: String::new(),
        system_role,
        password: password.map(str::to_owned),
    }
}

pub(crate) fn new_credential(owner: PrincipalId) -> NewCredential {
    NewCredential {
        principal: owner,
        name: "laptop".parse().unwrap(),
        lookup: Some(format!("{:016x}", u64::from_ne_bytes(random::bytes()))),
        verifier: "an HMAC".to_owned(),
        earlier: Vec::new(),
        master_id: "m1".to_owned(),
        scope: None,
        networks: None,
        idle: None,
        api: ApiLevel::None,
        expires_at: None,
    }
}
