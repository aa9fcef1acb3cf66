//! One directory with several servers, of which some do half of what they should.

use shared::secret::Secret;

use super::{
    config,
    fake::{BIND, Does, Fake, SEARCH, friendly, head},
    ldap,
    strange::SHORT,
};
use crate::identity::ldap::{Verdict, config::Config};

fn word() -> Secret<String> {
    "a password".into()
}

fn proved(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Proved(person) if person.name == "alice")
}

fn operations(fake: &Fake) -> Vec<u8> {
    fake.seen().iter().map(|request| head(request).1).collect()
}

/// The first finds who it is, and dies before the password is proved.
#[tokio::test]
async fn a_password_is_proved_where_somebody_is_left_to_prove_it() {
    let first = Fake::start(|id, operation| match operation {
        BIND => Does::SaysAndLeaves(Vec::new()),
        _ => friendly(id, operation),
    })
    .await;
    let second = Fake::start(friendly).await;
    let ldap = ldap(config(&[first.url.clone(), second.url.clone()]));
    assert!(proved(&ldap.sign_in("alice", &word()).await.unwrap()));
    assert_eq!((operations(&first), operations(&second)), (vec![SEARCH, BIND], vec![BIND]));
    // The connection that searches lives, and is asked; the password goes to the second at once.
    assert!(proved(&ldap.sign_in("alice", &word()).await.unwrap()));
    assert_eq!((operations(&first), operations(&second)), (vec![SEARCH, BIND, SEARCH], vec![BIND, BIND]));
}

/// It is waited for once. Then it rests, and nobody waits for it.
#[tokio::test]
async fn a_first_server_that_stalls_is_waited_for_once() {
    let stalled = Fake::start(|_, _| Does::Stalls).await;
    let alive = Fake::start(friendly).await;
    let ldap = ldap(Config { limits: SHORT, ..config(&[stalled.url.clone(), alive.url.clone()]) });
    for _ in 0..3 {
        assert!(proved(&ldap.sign_in("alice", &word()).await.unwrap()));
    }
    assert_eq!(operations(&stalled), [SEARCH]);
    assert_eq!(operations(&alive), [SEARCH, BIND].repeat(3));
}

/// One that never greets, at LDAPS: nothing but the handshake tells.
#[tokio::test]
async fn a_first_server_that_never_greets_is_passed_over() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let alive = Fake::start(friendly).await;
    let urls = [format!("ldaps://{}", silent.local_addr().unwrap()), alive.url.clone()];
    let ldap = ldap(Config { limits: SHORT, ..config(&urls) });
    assert!(proved(&ldap.sign_in("alice", &word()).await.unwrap()));
    assert_eq!(operations(&alive), [SEARCH, BIND]);
}
