//! A whole server without a network, for stories told through its HTTP face.

use axum::Router;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use shared::{basic::BasicCredentials, claims::TokenClaims, scope::Scopes, secret::Secret};
use tempfile::TempDir;

use super::{App, Proxies, router};
use crate::{
    accounts::{
        credentials::OtherKeys,
        grants::Effect,
        principals::Principal,
        services::NewService,
        tests::fixture::{Fixture, new_credential},
    },
    first_start::FirstPassword,
    identity::{Identities, Peer, Providers, queue::Queue},
    issuer::DEFAULT_LIFE,
    permissions::{Catalog, Subject},
    pki::{TokenAuthority, TokenKey},
    sealing::{Retention, Sealing},
    secrets::{MasterKey, MasterKeys, SecretKind, mint},
    signing::Signing,
    tokens::{Shown, TokenRequest, Tokens},
};

/// The registry that tokens are asked for; there is another one called `other`.
pub(crate) const SERVICE: &str = "registry.test";

pub(crate) struct House {
    pub(crate) app: App,
    _keys: TempDir,
}

impl House {
    pub(crate) async fn of(fixture: &Fixture) -> Self {
        Self::with(fixture, Providers::default()).await
    }

    pub(crate) async fn with(fixture: &Fixture, providers: Providers) -> Self {
        let (accounts, clock) = (fixture.accounts.clone(), fixture.clock.clone());
        for service in [SERVICE, "other"] {
            accounts.ensure_service(service.parse().unwrap(), Catalog::Filtered).await.unwrap();
        }
        let keys = tempfile::tempdir().unwrap();
        let authority = TokenAuthority::open(keys.path(), TokenKey::Own, clock.now()).unwrap();
        let master = MasterKeys::of(MasterKey::from_bytes(&Secret::new([7; 32])), None);
        let signing = Signing::open("https://auth.test", accounts.clone(), authority, master.clone(), clock.clone());
        let signing = signing.await.unwrap();
        let (issuer, bundle) = (signing.issuer().clone(), signing.bundle());
        let identities = Identities::new(accounts.clone(), master, Queue::new(2, 64), providers, clock.clone());
        let sealing = Sealing::new(&accounts, identities.keys(), keys.path(), Retention::default()).unwrap();
        let tokens = Tokens::new(accounts.clone(), identities.clone(), issuer, DEFAULT_LIFE, clock.clone());
        let first_password = FirstPassword::in_directory(keys.path());
        let app = App { accounts, identities, tokens, signing, sealing, bundle: bundle.into(), first_password, clock };
        Self { app, _keys: keys }
    }

    pub(crate) fn router(&self) -> Router {
        router(self.app.clone(), Proxies::trusting(None))
    }

    pub(crate) async fn user(&self, fixture: &Fixture, handle: &str, password: &str) -> Principal {
        let stored = self.app.identities.passwords().hash(&password.into()).await.unwrap();
        fixture.user_with(handle, None, Some(&stored)).await
    }

    /// A robot's key or a personal access token.
    pub(crate) async fn secret(&self, fixture: &Fixture, owner: &Principal, kind: SecretKind) -> String {
        let secret = mint(kind);
        let mut new = new_credential(owner.id);
        new.lookup = Some(secret.lookup);
        new.verifier = self.app.identities.keys().current().verifier(secret.text.expose());
        match kind {
            SecretKind::RobotKey => fixture.accounts.add_robot_key(&fixture.actor, new, OtherKeys::Stay).await,
            _ => fixture.accounts.create_token(&fixture.actor, new).await,
        }
        .unwrap();
        secret.text.expose().clone()
    }

    /// A registry's service credential.
    pub(crate) async fn registry(&self, fixture: &Fixture, name: &str) -> String {
        let secret = mint(SecretKind::Service).text;
        let verifier = Some(self.app.identities.keys().current().verifier(secret.expose()));
        let new = NewService { name: name.parse().unwrap(), catalog: Catalog::Filtered, token_life: None, verifier };
        fixture.accounts.add_service(&fixture.actor, new).await.unwrap();
        secret.expose().clone()
    }

    /// A token for a name and a secret, that asks for nothing.
    pub(crate) async fn token(&self, service: &str, username: &str, secret: &str) -> String {
        let basic = BasicCredentials { username: username.to_owned(), password: secret.into() };
        self.issue(service, Shown::Basic(&basic)).await
    }

    pub(crate) async fn anonymous_token(&self, service: &str) -> String {
        self.issue(service, Shown::Nothing).await
    }

    async fn issue(&self, service: &str, shown: Shown<'_>) -> String {
        let scopes = Scopes::default();
        let request = TokenRequest { service, scopes: &scopes, shown, keeper: None, peer: Peer::Socket };
        self.app.tokens.issue(&request).await.unwrap().token
    }

    pub(crate) async fn limited_grant(
        &self,
        fixture: &Fixture,
        subject: Subject,
        pattern: &str,
        actions: &str,
        tags: &str,
    ) {
        let mut rule = fixture.rule(subject, pattern, actions, Effect::Allow).await;
        rule.tags = Some(tags.parse().unwrap());
        fixture.accounts.add_rule(&fixture.actor, rule).await.unwrap();
    }
}

/// What a token says. Who signed it is the issuer's tests' matter.
pub(crate) fn claims(token: &str) -> TokenClaims {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    TokenClaims::parse(&claims).unwrap()
}
