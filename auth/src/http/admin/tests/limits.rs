//! What a request may ask for, to the byte and to the second.

use super::{Office, Value, json};
use crate::{
    http::admin::{robots::MAX_OVERLAP_SECONDS, secrets::MAX_IDLE_DAYS, users::MAX_DISPLAY_NAME_BYTES},
    identity::passwords::MAX_PASSWORD_BYTES,
    secrets::MIN_CHOSEN_LENGTH,
};

shared::on_both! {
    crate::http::admin::tests::Office:
    names_of_things_have_what_the_limits_say_and_no_more
    a_chosen_secret_has_what_the_limits_say_and_no_more
    an_old_key_overlaps_for_as_long_as_the_limit_says
    a_token_lives_unused_for_as_many_days_as_the_limit_says
    a_service_chooses_how_long_its_tokens_live_within_the_limits
}

/// Asks for something that just fits, and for something that just does not.
async fn at_the_edge(office: &Office, path: &str, fits: Value, refused: Value, why: &str) {
    let (status, answer) = office.local("post", path, refused).await;
    assert_eq!(status, 400, "{path}: {answer}");
    assert!(answer["detail"].as_str().unwrap().contains(why), "{path}: {answer}");
    office.made(path, fits).await;
}

async fn names_of_things_have_what_the_limits_say_and_no_more(office: &Office) {
    office.namespace("acme", "alice").await;
    let text = "n".repeat(MAX_DISPLAY_NAME_BYTES);
    let long = format!("{text}n");
    let user = |display_name: &str| json!({ "name": "bob", "display_name": display_name });
    at_the_edge(office, "/api/v1/users", user(&text), user(&long), "256 bytes").await;
    let robot = |purpose: &str| json!({ "name": "ci", "purpose": purpose });
    at_the_edge(office, "/api/v1/namespaces/acme/robots", robot(&text), robot(&long), "a short text").await;
}

async fn a_chosen_secret_has_what_the_limits_say_and_no_more(office: &Office) {
    office.namespace("acme", "alice").await;
    office.made("/api/v1/namespaces/acme/robots", json!({ "name": "ci" })).await;
    let key = |name: &str, length: usize| json!({ "name": name, "secret": "s".repeat(length) });
    let keys = "/api/v1/namespaces/acme/robots/ci/keys";
    for (name, fits, refused) in
        [("short", MIN_CHOSEN_LENGTH, MIN_CHOSEN_LENGTH - 1), ("long", MAX_PASSWORD_BYTES, MAX_PASSWORD_BYTES + 1)]
    {
        at_the_edge(office, keys, key(name, fits), key(name, refused), "a chosen secret has 32 characters").await;
    }
}

async fn an_old_key_overlaps_for_as_long_as_the_limit_says(office: &Office) {
    office.namespace("acme", "alice").await;
    office.made("/api/v1/namespaces/acme/robots", json!({ "name": "ci" })).await;
    let key = |seconds: u64| json!({ "name": "next", "others_end_after": seconds });
    let (fits, refused) = (key(MAX_OVERLAP_SECONDS), key(MAX_OVERLAP_SECONDS + 1));
    at_the_edge(office, "/api/v1/namespaces/acme/robots/ci/keys", fits, refused, "at most 2592000").await;
}

async fn a_token_lives_unused_for_as_many_days_as_the_limit_says(office: &Office) {
    office.user("alice", "read").await;
    let token = |days: u32| json!({ "name": format!("unused {days}"), "idle_days": days });
    for (fits, refused) in [(1, 0), (MAX_IDLE_DAYS, MAX_IDLE_DAYS + 1)] {
        let why = "idle_days is 1 to 3660";
        at_the_edge(office, "/api/v1/users/alice/tokens", token(fits), token(refused), why).await;
    }
}

async fn a_service_chooses_how_long_its_tokens_live_within_the_limits(office: &Office) {
    let service = |seconds: u32| json!({ "name": format!("lives-{seconds}"), "token_seconds": seconds });
    for (fits, refused) in [(60, 59), (3600, 3601)] {
        at_the_edge(office, "/api/v1/services", service(fits), service(refused), "token_seconds is 60 to 3600").await;
    }
}
