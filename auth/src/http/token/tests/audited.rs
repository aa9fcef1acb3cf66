//! What the audit has of who asked here: what of it was granted, by which credential, and from where.

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode, header::AUTHORIZATION},
};
use serde_json::{Value, json};
use shared::listen;
use tower::ServiceExt;

use super::{Answer, basic, get, read};
use crate::{
    accounts::{
        credentials::CredentialKind,
        principals::Principal,
        tests::fixture::{Fixture, new_credential},
        trail::WantedEvents,
    },
    audit::EventName,
    http::{
        Proxies,
        house::{House, SERVICE},
        router,
    },
    permissions::{ApiLevel, Subject, SystemRole, Visibility},
    secrets::{SecretKind, mint},
};

/// The events of that name, the newest first.
async fn events(fixture: &Fixture, name: EventName) -> Vec<Value> {
    fixture.accounts.flush_events().await.unwrap();
    let wanted = WantedEvents { what: vec![name], ..WantedEvents::default() };
    let found = fixture.accounts.events(&wanted, None, 100).await.unwrap();
    found.events.into_iter().map(|event| event.body).collect()
}

/// The number of the account's one credential of that kind.
async fn number(fixture: &Fixture, owner: &Principal, kind: CredentialKind) -> Value {
    let [only] = &fixture.accounts.credentials(owner.id, kind).await.unwrap()[..] else { panic!("one {kind}") };
    json!(only.id)
}

pub(super) async fn what_was_asked_for_and_what_was_granted_of_it_is_audited(fixture: &Fixture) {
    let house = House::of(fixture).await;
    let alice = house.user(fixture, "alice", "correct horse").await;
    fixture.namespace("acme", Visibility::Private).await;
    fixture.grant(Subject::Principal(alice.id.0), "acme/web", "pull").await;
    let whole = get(&house, "scope=repository:acme/web:pull", Some(&basic("alice", "correct horse"))).await;
    assert_eq!(
        events(fixture, EventName::TokenReduced).await,
        Vec::<Value>::new(),
        "all that was asked for was granted"
    );
    let less = get(
        &house,
        "scope=repository:acme/web:pull,push&scope=repository:acme/api:delete",
        Some(&basic("alice", "correct horse")),
    )
    .await;
    let nothing = get(&house, "scope=repository:acme/web:pull", None).await;

    let [anonymous, hers] = &events(fixture, EventName::TokenReduced).await[..] else { panic!("two of three") };
    let asked = "repository:acme/web:pull,push repository:acme/api:delete";
    let told = json!({"token": less.claims().id, "requested": asked, "granted": "repository:acme/web:pull"});
    assert_eq!((&hers["details"], &hers["outcome"]), (&told, &json!("refused")));
    assert_eq!((&hers["actor"]["name"], &hers["target"]), (&json!("alice"), &json!(SERVICE)));
    let told = json!({"token": nothing.claims().id, "requested": "repository:acme/web:pull", "granted": ""});
    assert_eq!((&anonymous["details"], &anonymous["actor"]["name"]), (&told, &json!("anonymous")));
    let [issued] = &events(fixture, EventName::TokenIssued).await[..] else { panic!("one token is whole") };
    assert_eq!(issued["details"]["token"], json!(whole.claims().id));
}

/// Which of somebody's secrets it was: a person with three tokens revokes the one that is named.
pub(super) async fn what_a_credential_did_names_the_credential(fixture: &Fixture) {
    let house = House::of(fixture).await;
    let alice = house.user(fixture, "alice", "correct horse").await;
    fixture.namespace("acme", Visibility::Private).await;
    let robot = fixture.robot("acme", "ci").await;
    let key = house.secret(fixture, &robot, SecretKind::RobotKey).await;
    let token = house.secret(fixture, &alice, SecretKind::PersonalToken).await;
    get(&house, "offline_token=true", Some(&basic("alice", "correct horse"))).await.claims();
    for (owner, secret, kind) in [
        (&alice, "correct horse", CredentialKind::Password),
        (&alice, token.as_str(), CredentialKind::Pat),
        (&robot, key.as_str(), CredentialKind::RobotKey),
    ] {
        let number = match kind {
            CredentialKind::Password => json!(fixture.password("alice").await),
            _ => number(fixture, owner, kind).await,
        };
        assert!(number.is_number(), "{kind}");
        for (query, event) in
            [("", EventName::TokenIssued), ("scope=repository:acme/web:delete", EventName::TokenReduced)]
        {
            let claims = get(&house, query, Some(&basic(owner.handle.as_str(), secret))).await.claims();
            let actor = events(fixture, event).await[0]["actor"].clone();
            assert_eq!(actor, json!({"id": owner.id, "name": owner.handle, "credential": number}), "{kind}");
            assert_eq!(json!(claims.credential), number, "what the registry sees of it");
        }
    }
    let identity = number(fixture, &alice, CredentialKind::Identity).await;
    let made = &events(fixture, EventName::CredentialCreated).await[0];
    assert_eq!(made["target"], json!(identity.to_string()), "what docker login keeps");
    assert_eq!(made["actor"]["credential"], json!(fixture.password("alice").await), "and what it was made with");
    assert_eq!(made["address"], json!("192.0.2.1"), "and where");
}

/// A personal access token that may administer, for [`Behind`].
async fn administrator(house: &House, fixture: &Fixture) -> (Principal, String) {
    let ada = fixture.user_with("ada", Some(SystemRole::Administrator), None).await;
    let secret = mint(SecretKind::PersonalToken);
    let mut new = new_credential(ada.id);
    new.lookup = Some(secret.lookup);
    new.verifier = house.app.identities.keys().current().verifier(secret.text.expose());
    new.api = ApiLevel::Write;
    fixture.accounts.create_token(&fixture.actor, new).await.unwrap();
    (ada, secret.text.expose().clone())
}

/// A server that believes the proxies of 10.0.0.0/8.
struct Behind(Router);

impl Behind {
    fn proxies(house: &House) -> Self {
        Self(router(house.app.clone(), Proxies::trusting(Some("10.0.0.0/8".parse().unwrap()))))
    }

    /// Sends from `connected`, with what that says of whom it forwards for.
    async fn send(&self, connected: &str, forwarded: &str, authorization: &str, mut request: Request<Body>) -> Answer {
        let headers = request.headers_mut();
        headers.insert("x-forwarded-for", forwarded.parse().unwrap());
        headers.insert(AUTHORIZATION, authorization.parse().unwrap());
        let connected = format!("{connected}:4711").parse().unwrap();
        request.extensions_mut().insert(listen::Peer::Tcp(connected));
        read(self.0.clone().oneshot(request).await.unwrap()).await
    }
}

/// T38, in the audit: tokens, failed logins and changes have the address that a trusted proxy forwards, and nobody else's word for it.
pub(super) async fn t38_an_event_has_the_address_that_a_trusted_proxy_forwards(fixture: &Fixture) {
    let house = House::of(fixture).await;
    house.user(fixture, "alice", "correct horse").await;
    let (ada, token) = administrator(&house, fixture).await;
    let behind = Behind::proxies(&house);
    let asked = || Request::get(format!("/token?service={SERVICE}")).body(Body::empty()).unwrap();
    for (connected, forwarded, address) in [
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.7, 10.1.1.1", "198.51.100.7"),
        ("192.0.2.1", "203.0.113.9", "192.0.2.1"),
        ("192.0.2.1", "203.0.113.9, 10.0.0.1", "192.0.2.1"),
    ] {
        let case = format!("{forwarded} from {connected}");
        behind.send(connected, forwarded, &basic("alice", "correct horse"), asked()).await.claims();
        let wrong = behind.send(connected, forwarded, &basic("alice", "a guess"), asked()).await;
        assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
        let namespace = Request::post("/api/v1/namespaces").header("content-type", "application/json");
        let namespace =
            namespace.body(Body::from(json!({"name": format!("n{}", fixture.events().await.len())}).to_string()));
        let made = behind.send(connected, forwarded, &format!("Bearer {token}"), namespace.unwrap()).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);

        for name in [EventName::TokenIssued, EventName::LoginFailed, EventName::NamespaceCreated] {
            let event = &events(fixture, name).await[0];
            assert_eq!(event["address"], json!(address), "{case}: {event}");
            assert!(!event.to_string().contains("203.0.113.9"), "what anybody can write: {event}");
        }
        let changed = &events(fixture, EventName::NamespaceCreated).await[0]["actor"];
        let number = number(fixture, &ada, CredentialKind::Pat).await;
        assert_eq!(changed, &json!({"id": ada.id, "name": "ada", "credential": number}), "a change names it, too");
        let used = fixture.accounts.credentials(ada.id, CredentialKind::Pat).await.unwrap();
        assert_eq!(used[0].used_from.as_deref(), Some(address), "{case}");
    }
}
