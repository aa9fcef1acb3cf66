//! Lists, a page at a time: every one of them, and none leaves something out.

use super::*;
use crate::http::input::MAX_PAGE;

shared::on_both! {
    crate::http::admin::tests::Office:
    every_list_is_read_in_pages
}

/// Routes that answer one thing, or what is no list.
fn is_list(page: &Value) -> bool {
    page.get("items").is_some()
}

/// The items of a list by pages of that many, each page as `next` of the one before names it.
async fn in_pages(office: &Office, path: &str, limit: u32) -> Vec<Value> {
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let joint = if path.contains('?') { '&' } else { '?' };
        let (status, page) = office.local("get", &format!("{path}{joint}limit={limit}{after}"), Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{path}: {page}");
        let items = page["items"].as_array().unwrap();
        seen.extend(items.iter().cloned());
        let next: String = match &page["next"] {
            Value::Null => return seen,
            Value::String(next) => url::form_urlencoded::byte_serialize(next.as_bytes()).collect(),
            other => other.to_string(),
        };
        after = format!("&after={next}");
        assert!(seen.len() < 200, "{path} has no end");
    }
}

async fn every_list_is_read_in_pages(office: &Office) {
    let things = Things::of(office).await;
    for name in ["a", "b", "c"] {
        office.made("/api/v1/users", json!({ "name": name })).await;
        office.made("/api/v1/namespaces", json!({ "name": name })).await;
        office.made("/api/v1/services", json!({ "name": name })).await;
        office.made("/api/v1/users/carol/tokens", json!({ "name": name })).await;
        office.made("/api/v1/namespaces/acme/robots", json!({ "name": name })).await;
        office.made("/api/v1/namespaces/acme/teams", json!({ "name": name })).await;
        office.made("/api/v1/namespaces/acme/robots/ci/keys", json!({ "name": name })).await;
        let grant = json!({ "subject": "carol", "repositories": format!("acme/{name}"), "actions": "pull" });
        office.made("/api/v1/namespaces/acme/grants", grant).await;
        for inside in [format!("members/{name}"), format!("mappings/corp/cn={name}")] {
            let path = format!("/api/v1/namespaces/acme/teams/dev/{inside}");
            assert_eq!(office.local("put", &path, Value::Null).await.0, StatusCode::NO_CONTENT);
        }
        office.auth.app().accounts.ensure_provider(name, ProviderKind::Ldap).await.unwrap();
        assert_eq!(office.local("post", "/api/v1/keys/rotate", Value::Null).await.0, StatusCode::OK);
    }
    let mut lists = 0;
    for route in ROUTES.iter().filter(|route| route.method == "get" && route.needs != Needs::Oneself) {
        let path = things.path(route.path);
        let (_, whole) = office.local("get", &path, Value::Null).await;
        // The trail is read from its beginning to its end, by whole batches.
        if !is_list(&whole) || route.path == "/api/v1/audit/trail" {
            continue;
        }
        let whole = whole["items"].as_array().unwrap();
        assert!(whole.len() >= 3, "{path} has too little in it to be looked at in parts");
        for limit in [1, 2, MAX_PAGE] {
            assert_eq!(in_pages(office, &path, limit).await, *whole, "{path} by {limit}");
        }
        for limit in [0, MAX_PAGE + 1] {
            let joint = if path.contains('?') { '&' } else { '?' };
            let (status, _) = office.local("get", &format!("{path}{joint}limit={limit}"), Value::Null).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{path} {limit}");
        }
        lists += 1;
    }
    assert!(lists >= 14, "{lists}");
}
