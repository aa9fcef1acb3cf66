use super::*;
use crate::{lifecycle::rules::Everything, metadata::fixture::Tamper};

on_both! {
    rules_are_shown_as_they_were_written
    what_is_not_valid_changes_nothing
    a_rule_about_everything_is_confirmed
    a_repository_has_rules_of_its_own
    what_became_unreadable_is_shown_as_that
}

async fn rules_are_shown_as_they_were_written(fixture: &Fixture) {
    let expiry = expiry(fixture);
    let before = expiry.overview(&name("acme")).await.unwrap();
    assert_eq!((before.own.rules, before.set_at, before.run), (Some(vec![]), None, None), "before anything was pushed");
    set(&expiry, &acme(), closed_pull_requests()).await;
    let shown = expiry.overview(&name("acme")).await.unwrap();
    assert_eq!(json!(shown.own.rules), closed_pull_requests());
    assert!(shown.set_at.is_some());
    let events = fixture.texts("SELECT body FROM event WHERE kind = 'lifecycle_rules_set'").await;
    let expected = json!({"event": "lifecycle_rules_set", "about": "acme", "rules": 2, "actor": "ada"});
    assert_eq!(events.iter().map(|body| serde_json::from_str(body).unwrap()).collect::<Vec<Value>>(), [expected]);
    set(&expiry, &acme(), json!([])).await;
    assert_eq!(fixture.count("SELECT count(*) FROM namespace WHERE policy IS NOT NULL").await, 0);
    assert_eq!(expiry.overview(&name("acme")).await.unwrap().own.rules, Some(vec![]));
}

async fn what_is_not_valid_changes_nothing(fixture: &Fixture) {
    let expiry = expiry(fixture);
    set(&expiry, &acme(), closed_pull_requests()).await;
    let wrong = document(json!([{"keep": {"tags": "a"}}, {"expire": {"tags": "b/", "not_pushed_for": "1d"}}]));
    let refused = expiry.set(&acme(), wrong, Confirmed::Yes, "ada").await.unwrap_err();
    assert!(refused.to_string().starts_with("rules[1].expire.tags: character 2, "), "{refused}");
    assert_eq!(json!(expiry.overview(&name("acme")).await.unwrap().own.rules), closed_pull_requests());
}

async fn a_rule_about_everything_is_confirmed(fixture: &Fixture) {
    let expiry = expiry(fixture);
    let all = json!([{"name": "all", "expire": {"tags": "*", "not_pushed_for": "30d"}}]);
    let refused = expiry.set(&acme(), document(all.clone()), Confirmed::No, "ada").await.unwrap_err();
    assert!(matches!(&refused, Error::Unconfirmed { by: Everything::By(rule), .. } if **rule == *"all"), "{refused}");
    assert!(refused.to_string().contains("\"confirm\": true"), "{refused}");
    assert_eq!(expiry.overview(&name("acme")).await.unwrap().own.rules, Some(vec![]));
    let letters = "abcdefghijklmnopqrstuvwxyz0123456789".chars().map(|one| format!("{one}*")).collect::<Vec<_>>();
    let halves = json!([{"expire": {"tags": letters[..9], "not_pushed_for": "30d"}},
        {"expire": {"tags": letters[9..], "not_pushed_for": "30d"}, "repositories": "acme/{*,x}"}]);
    let refused = expiry.set(&acme(), document(halves), Confirmed::No, "ada").await.unwrap_err();
    assert!(refused.to_string().starts_with("these rules together let every tag"), "{refused}");
    set(&expiry, &acme(), all).await;
    expiry.set(&acme(), document(closed_pull_requests()), Confirmed::No, "ada").await.unwrap();
}

async fn a_repository_has_rules_of_its_own(fixture: &Fixture) {
    let expiry = expiry(fixture);
    let web = About::Repository(name("acme/web"));
    let refused = expiry.set(&web, document(json!([])), Confirmed::No, "ada").await.unwrap_err();
    assert!(matches!(refused, Error::NoRepository(_)), "{refused}");
    assert!(matches!(expiry.own_rules(&name("acme/web")).await, Err(Error::NoRepository(_))));
    push(fixture, "acme/web", &["v1"]).await;
    set(&expiry, &web, json!([{"keep": {"tags": "v*"}}])).await;
    assert_eq!(json!(expiry.own_rules(&name("acme/web")).await.unwrap().rules), json!([{"keep": {"tags": "v*"}}]));
    let overview = expiry.overview(&name("acme")).await.unwrap();
    assert_eq!((overview.own.rules, overview.repositories), (Some(vec![]), vec!["acme/web".to_owned()]));
    set(&expiry, &web, json!([])).await;
    assert!(expiry.overview(&name("acme")).await.unwrap().repositories.is_empty());
}

async fn what_became_unreadable_is_shown_as_that(fixture: &Fixture) {
    let expiry = expiry(fixture);
    set(&expiry, &acme(), closed_pull_requests()).await;
    let tamper = Tamper("UPDATE namespace SET policy = '{\"rules\": [{\"delete\": {}}]}'");
    fixture.content.metadata.write(tamper).await.unwrap();
    let shown = expiry.overview(&name("acme")).await.unwrap().own;
    assert_eq!(shown.rules, None);
    assert!(shown.unreadable.unwrap().contains("rules[0]: unknown field `delete`"));
    set(&expiry, &acme(), closed_pull_requests()).await;
    assert_eq!(json!(expiry.overview(&name("acme")).await.unwrap().own.rules), closed_pull_requests());
}
