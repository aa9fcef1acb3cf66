use std::{
    net::IpAddr,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::{FutureExt, future::BoxFuture};
use serde_json::{Value, json};
use shared::{
    basic::BasicCredentials,
    readable::Readable,
    revocation::{Revocation, Revoked},
    scope::Scope,
    secret::Secret,
};
use url::Url;

use super::{
    testing::{ISSUER, Made, SERVICE, authority, chained, claims_with, later, now, root, token},
    trust::TrustStore,
    verifier::Verifier,
    *,
};

/// A companion that knows one password, and counts how often it was asked.
struct Acquaintance {
    token: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

impl Companion for Acquaintance {
    fn readable<'a>(
        &'a self,
        _token: &'a VerifiedToken,
        _raw: &'a str,
    ) -> BoxFuture<'a, Result<Readable, CompanionUnavailable>> {
        async { Err(CompanionUnavailable("not asked in these tests".into())) }.boxed()
    }

    fn exchange<'a>(
        &'a self,
        credentials: &'a BasicCredentials,
        _scopes: &'a [Scope],
        _peer: Option<IpAddr>,
    ) -> BoxFuture<'a, Result<Exchanged, CompanionUnavailable>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        async {
            match credentials.password.expose().as_str() {
                "right" => Ok(Exchanged::Token(Secret::new(self.token.lock().unwrap().clone()))),
                "tried too often" => Ok(Exchanged::Throttled { retry_after: Duration::from_secs(29) }),
                "down" => Err(CompanionUnavailable("it is down".into())),
                _ => Ok(Exchanged::Refused),
            }
        }
        .boxed()
    }

    fn revocations(&self, _after: u64) -> BoxFuture<'_, Result<Vec<Revocation>, CompanionUnavailable>> {
        async { Ok(Vec::new()) }.boxed()
    }
}

struct Registry {
    key: Made,
    access: Access,
    asked: Arc<AtomicUsize>,
    /// What the companion gives for the right password.
    given: Arc<Mutex<String>>,
}

impl Registry {
    fn new(realm: Realm, with_companion: bool) -> Self {
        let key = root(authority("trusted", None));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), key.pem()).unwrap();
        let trust = TrustStore::open(Some(file.path()), None, now()).unwrap();
        let all = key::TokenAlgorithm::ALL.to_vec();
        let verifier = Verifier::new(ISSUER.into(), SERVICE.into(), all, Arc::new(trust));
        let asked = Arc::new(AtomicUsize::new(0));
        let given = Arc::new(Mutex::new(sign(&key, &pull_web())));
        let acquaintance = Acquaintance { token: Arc::clone(&given), asked: Arc::clone(&asked) };
        let companion: Option<Arc<dyn Companion>> = with_companion.then(|| Arc::new(acquaintance) as _);
        let access = TokenAccess::new(verifier, realm, SERVICE.into(), companion);
        Self { key, access: Access::Token(Box::new(access)), asked, given }
    }

    fn plain() -> Self {
        Self::new(Realm::Fixed(Url::parse("https://auth.example/token").unwrap()), false)
    }

    async fn ask(&self, field: Option<&str>, required: &[granted::Access]) -> Result<Caller, Refusal> {
        self.access.authorize(Presented::read(field), required, None, now()).await
    }

    async fn with(&self, granted: &Value, required: &[granted::Access]) -> Result<Caller, Refusal> {
        self.ask(Some(&format!("Bearer {}", sign(&self.key, granted))), required).await
    }
}

fn sign(key: &Made, granted: &Value) -> String {
    token(&key.key, &chained("ES256", &[key]), &claims_with("access", granted.clone()))
}

fn pull_web() -> Value {
    json!([{"type": "repository", "name": "acme/web", "actions": ["pull"]}])
}

fn needs(name: &str, actions: &[Action]) -> granted::Access {
    granted::Access::new(Resource::repository(&name.parse().unwrap()), actions.iter().cloned())
}

fn catalog() -> granted::Access {
    granted::Access::new(Resource::catalog(), [Action::Any])
}

fn error_of(answer: Result<Caller, Refusal>) -> Option<ChallengeError> {
    match answer {
        Err(Refusal::Unauthorized { error, .. }) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_challenge_says_what_was_wrong_with_a_token_and_nothing_without_one() {
    let registry = Registry::plain();
    let pull = [needs("acme/web", &[Action::Pull])];
    for nothing in [None, Some("Bearer"), Some("Bearer "), Some("Basic eDp5"), Some("Digest x"), Some("")] {
        assert_eq!(error_of(registry.ask(nothing, &pull).await), None, "{nothing:?}");
    }
    for bad in ["Bearer x", "Bearer  x", "bearer a.b.c"] {
        assert_eq!(error_of(registry.ask(Some(bad), &pull).await), Some(ChallengeError::InvalidToken), "{bad}");
    }
    let other = [needs("acme/api", &[Action::Pull])];
    assert_eq!(error_of(registry.with(&pull_web(), &other).await), Some(ChallengeError::InsufficientScope));
    let caller = registry.with(&pull_web(), &pull).await.unwrap();
    assert_eq!(caller.name(), Some("alice"));
    assert!(registry.with(&json!([]), &[]).await.is_ok());
}

#[test]
fn a_challenge_names_every_access_in_one_parameter() {
    let registry = Registry::plain();
    let mount = [needs("a", &[Action::Push, Action::Pull]), needs("b", &[Action::Pull])];
    let challenge =
        registry.access.challenge(Some((ChallengeError::InsufficientScope, None)), &mount, Some("http://reg"));
    assert_eq!(
        challenge.as_deref(),
        Some(
            "Bearer realm=\"https://auth.example/token\",service=\"registry.example\",\
             scope=\"repository:a:pull,push repository:b:pull\",error=\"insufficient_scope\""
        )
    );
    let following = Registry::new(Realm::OfRequest { path: "/token".into() }, false);
    let challenge = following.access.challenge(None, &[], Some("http://reg:5000"));
    assert_eq!(challenge.as_deref(), Some("Bearer realm=\"http://reg:5000/token\",service=\"registry.example\""));
    assert_eq!(Access::None.challenge(None, &[], None), None);
}

#[tokio::test]
async fn only_push_and_delete_can_be_limited() {
    let registry = Registry::plain();
    let limited = |action: &str, tags: Value| json!([{"type": "repository", "name": "a", "actions": [], "limited": [{"actions": [action], "tags": tags}]}]);
    let may = async |granted: Value, action| registry.with(&granted, &[needs("a", &[action])]).await.is_ok();
    assert!(may(limited("push", json!(["pr-*"])), Action::Push).await);
    assert!(may(limited("delete", json!(["pr-*"])), Action::Delete).await);
    assert!(!may(limited("pull", json!(["*"])), Action::Pull).await);
    assert!(!may(limited("push", json!([])), Action::Push).await);
    assert!(!may(limited("push", json!("pr-*")), Action::Push).await);
    let all = json!([{"type": "repository", "name": "a", "actions": ["*"]}]);
    assert!(may(all, Action::Delete).await);
    let caller = registry.with(&limited("push", json!(["pr-*"])), &[needs("a", &[Action::Push])]).await.unwrap();
    let repository = "a".parse().unwrap();
    assert_eq!(caller.permit(&repository, &Action::Push), Permit::OnlyTags(vec!["pr-*".parse().unwrap()]));
    assert_eq!(caller.permit(&repository, &Action::Delete), Permit::No);
}

#[tokio::test]
async fn the_catalog_may_be_filtered() {
    let registry = Registry::plain();
    let filtered = json!([{"type": "registry", "name": "catalog", "actions": [],
                           "limited": [{"actions": ["*"], "readable": true}]}]);
    assert_eq!(registry.with(&filtered, &[catalog()]).await.unwrap().catalog(), CatalogView::OnlyReadable);
    let whole = json!([{"type": "registry", "name": "catalog", "actions": ["*"]}]);
    assert_eq!(registry.with(&whole, &[catalog()]).await.unwrap().catalog(), CatalogView::Everything);
    assert_eq!(error_of(registry.with(&pull_web(), &[catalog()]).await), Some(ChallengeError::InsufficientScope));
}

#[tokio::test]
async fn revocation_ends_a_token_that_was_just_believed() {
    let registry = Registry::plain();
    let pull = [needs("acme/web", &[Action::Pull])];
    let field = format!("Bearer {}", sign(&registry.key, &pull_web()));
    assert!(registry.ask(Some(&field), &pull).await.is_ok());
    let row = Revocation { seq: 1, subject: Revoked::Namespace("acme".into()), until: later(300) };
    registry.access.token().unwrap().revocations().take(vec![row], now());
    assert_eq!(error_of(registry.ask(Some(&field), &pull).await), Some(ChallengeError::InvalidToken));
    // Elsewhere the token is as good as before.
    assert!(registry.ask(Some(&field), &[]).await.is_ok());
}

#[tokio::test]
async fn a_companion_turns_passwords_into_tokens() {
    let registry = Registry::new(Realm::OfRequest { path: "/token".into() }, true);
    let pull = [needs("acme/web", &[Action::Pull])];
    let basic = |password: &str| format!("Basic {}", STANDARD.encode(format!("alice:{password}")));
    for _ in 0..3 {
        assert!(registry.ask(Some(&basic("right")), &pull).await.is_ok());
    }
    assert_eq!(registry.asked.load(Ordering::SeqCst), 1, "a right password is remembered for a moment");
    assert_eq!(error_of(registry.ask(Some(&basic("wrong")), &pull).await), None);
    assert_eq!(error_of(registry.ask(Some(&basic("wrong")), &pull).await), None);
    assert_eq!(registry.asked.load(Ordering::SeqCst), 3, "a wrong one is not");
    assert!(matches!(registry.ask(Some(&basic("down")), &pull).await, Err(Refusal::Unavailable { .. })));
    let more = [needs("acme/web", &[Action::Push])];
    assert_eq!(error_of(registry.ask(Some(&basic("right")), &more).await), Some(ChallengeError::InsufficientScope));
}

#[tokio::test]
async fn a_companion_that_throttles_is_not_one_that_is_down() {
    let registry = Registry::new(Realm::OfRequest { path: "/token".into() }, true);
    let basic = format!("Basic {}", STANDARD.encode("alice:tried too often"));
    let refused = registry.ask(Some(&basic), &[]).await.unwrap_err();
    assert!(matches!(refused, Refusal::Throttled { retry_after, .. } if retry_after.as_secs() == 29), "{refused:?}");
}

#[tokio::test]
async fn a_remembered_token_that_is_revoked_is_exchanged_once_more() {
    let registry = Registry::new(Realm::OfRequest { path: "/token".into() }, true);
    let pull = [needs("acme/web", &[Action::Pull])];
    let basic = format!("Basic {}", STANDARD.encode("alice:right"));
    assert!(registry.ask(Some(&basic), &pull).await.is_ok());
    let revoke = |seq| {
        let row = Revocation { seq, subject: Revoked::Namespace("acme".into()), until: later(300) };
        registry.access.token().unwrap().revocations().take(vec![row], now());
    };
    revoke(1);
    let mut claims = claims_with("access", pull_web());
    claims["ep"] = json!(1);
    *registry.given.lock().unwrap() = token(&registry.key.key, &chained("ES256", &[&registry.key]), &claims);
    for _ in 0..3 {
        assert!(registry.ask(Some(&basic), &pull).await.is_ok());
    }
    assert_eq!(registry.asked.load(Ordering::SeqCst), 2, "the new one is remembered");
    // A companion that goes on giving what it has revoked is asked once for each request, and not in a circle.
    revoke(2);
    assert_eq!(error_of(registry.ask(Some(&basic), &pull).await), Some(ChallengeError::InvalidToken));
    assert_eq!(registry.asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn without_access_control_everybody_may_do_everything() {
    let caller = Access::None.authorize(Presented::Nothing, &[catalog()], None, now()).await.unwrap();
    assert_eq!((caller.name(), caller.catalog()), (None, CatalogView::Everything));
    assert_eq!(caller.permit(&"a".parse().unwrap(), &Action::Delete), Permit::Yes);
}
