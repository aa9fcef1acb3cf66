//! Accounts to tell stories on.

use std::time::Duration;

use shared::{
    clock::{Clock, Timestamp},
    database::Location,
    on, random,
    revocation::Revoked,
};
use tempfile::TempDir;

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

/// Makes two tests of each story, `name::sqlite` and `name::postgres`.
macro_rules! on_both {
    ($($story:ident)*) => {
        $(mod $story {
            use $crate::accounts::tests::fixture::Fixture;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                super::$story(&Fixture::sqlite().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs PostgreSQL"]
            async fn postgres() {
                let fixture = Fixture::postgres().await;
                super::$story(&fixture).await;
                fixture.clear().await;
            }
        })*
    };
}
pub(crate) use on_both;

pub(crate) struct Fixture {
    pub(crate) accounts: Accounts,
    pub(crate) clock: Clock,
    pub(crate) actor: Actor,
    location: Location,
    _directory: Option<TempDir>,
}

impl Fixture {
    pub(crate) async fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let location = Location::Sqlite { path: directory.path().join("auth.db") };
        Self::at(location, Some(directory)).await
    }

    /// A schema of its own in the database that `PORTREEVE_TEST_POSTGRES` names.
    pub(crate) async fn postgres() -> Self {
        let url = std::env::var("PORTREEVE_TEST_POSTGRES").expect("PORTREEVE_TEST_POSTGRES holds a URL");
        let schema = format!("auth_{:016x}", u64::from_ne_bytes(random::bytes())).parse().unwrap();
        Self::at(Location::Postgres { url: url.into(), schema }, None).await
    }

    async fn at(location: Location, directory: Option<TempDir>) -> Self {
        let clock = Clock::fixed(Timestamp::from_seconds(1_800_000_000));
        let accounts = Accounts::open(&location, clock.clone()).await.unwrap();
        Self { accounts, clock, actor: Actor::local(), location, _directory: directory }
    }

    /// From now on the database does not answer.
    pub(crate) async fn close(&self) {
        self.accounts.database.close().await;
    }

    pub(crate) async fn clear(&self) {
        use sqlx::{AssertSqlSafe, Connection as _};

        self.close().await;
        if let Location::Postgres { url, schema } = &self.location {
            let mut connection = sqlx::PgConnection::connect(url.expose()).await.unwrap();
            let drop = AssertSqlSafe(format!("DROP SCHEMA {schema} CASCADE"));
            sqlx::raw_sql(drop).execute(&mut connection).await.unwrap();
        }
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
        self.accounts.add_rule(&self.actor, rule(subject, pattern, actions, Effect::Allow)).await.unwrap()
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
        master_id: "m1".to_owned(),
        scope: None,
        networks: None,
        api: ApiLevel::None,
        expires_at: None,
    }
}

pub(crate) fn rule(subject: Subject, pattern: &str, actions: &str, effect: Effect) -> NewRule {
    let pattern: shared::pattern::RepositoryPattern = pattern.parse().unwrap();
    NewRule {
        namespace: pattern.namespace().filter(|_| effect == Effect::Allow).map(|name| name.parse().unwrap()),
        subject,
        pattern,
        actions: actions.parse().unwrap(),
        tags: None,
        effect,
        expires_at: None,
    }
}
