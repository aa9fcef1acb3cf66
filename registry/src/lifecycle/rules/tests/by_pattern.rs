use super::*;
use crate::lifecycle::rules::by_pattern::{Mode, Repositories, TagsToDelete, is_about_everything};

on_both! {
    tags_of_a_closed_pull_request_go_in_one_call
    some_repositories_can_be_named
    a_repository_that_is_not_there_deletes_nothing
    immutable_tags_stay_and_are_named
    many_tags_go_in_batches
    what_stays_is_counted_whole_and_named_in_part
}

/// Tags of `acme` to delete, in all repositories or in those that match.
pub(super) fn order(pattern: &str, repositories: Option<&str>) -> TagsToDelete {
    let repositories = repositories.map(|pattern| Repositories::Matching(pattern.parse().unwrap()));
    TagsToDelete {
        namespace: name("acme"),
        pattern: pattern.parse().unwrap(),
        repositories: repositories.unwrap_or(Repositories::All),
        mode: Mode::Delete,
        actor: "ada".to_owned(),
    }
}

async fn tags_of_a_closed_pull_request_go_in_one_call(fixture: &Fixture) {
    let expiry = expiry(fixture);
    push(fixture, "acme/web", &["latest", "pr-12", "pr-12-arm64", "pr-120"]).await;
    push(fixture, "acme/api", &["pr-12"]).await;
    push(fixture, "acme/docs", &["latest"]).await;
    push(fixture, "other/web", &["pr-12"]).await;
    let report = TagsToDelete { mode: Mode::Report, ..order("pr-12*", None) };
    let said = expiry.delete_tags(&report).await.unwrap();
    assert_eq!((said.dry_run, said.deleted, left(fixture).await.len()), (true, 4, 7));
    let exactly = expiry.delete_tags(&order("pr-12", None)).await.unwrap();
    let expected = json!({"dry_run": false, "deleted": 2, "left": 0,
        "repositories": [{"repository": "acme/api", "deleted": 1}, {"repository": "acme/web", "deleted": 1}]});
    assert_eq!(json!(exactly), expected);
    let expected =
        ["acme/docs:latest", "acme/web:latest", "acme/web:pr-12-arm64", "acme/web:pr-120", "other/web:pr-12"];
    assert_eq!(left(fixture).await, expected);
    assert_eq!(fixture.texts("SELECT DISTINCT actor FROM tag_history WHERE digest IS NULL").await, ["ada"]);
    assert_eq!(fixture.count("SELECT count(*) FROM event WHERE kind = 'tag_deleted'").await, 2);
    let again = expiry.delete_tags(&order("pr-12", None)).await.unwrap();
    assert_eq!((again.deleted, again.repositories.len()), (0, 0));
}

async fn some_repositories_can_be_named(fixture: &Fixture) {
    let expiry = expiry(fixture);
    for repository in ["acme/web", "acme/api", "acme/ci/a", "acme"] {
        push(fixture, repository, &["x"]).await;
    }
    let matching = expiry.delete_tags(&order("x", Some("acme/*"))).await.unwrap();
    assert_eq!(matching.deleted, 2);
    let named = Repositories::Named(vec![name("acme")]);
    let named = expiry.delete_tags(&TagsToDelete { repositories: named, ..order("?", None) }).await.unwrap();
    assert_eq!(named.deleted, 1);
    assert_eq!(left(fixture).await, ["acme/ci/a:x"]);
}

async fn a_repository_that_is_not_there_deletes_nothing(fixture: &Fixture) {
    let expiry = expiry(fixture);
    push(fixture, "acme/web", &["x"]).await;
    let named = Repositories::Named(vec![name("acme/web"), name("acme/wbe")]);
    let refused = expiry.delete_tags(&TagsToDelete { repositories: named, ..order("x", None) }).await;
    assert!(matches!(refused, Err(Error::NoRepository(missing)) if missing == name("acme/wbe")));
    assert_eq!(left(fixture).await.len(), 1);
    let nobody = TagsToDelete { namespace: name("nobody"), ..order("x", None) };
    assert_eq!(expiry.delete_tags(&nobody).await.unwrap().deleted, 0);
}

async fn immutable_tags_stay_and_are_named(fixture: &Fixture) {
    let expiry = expiry(fixture);
    push(fixture, "acme/web", &["pr-1", "pr-2"]).await;
    immutable(fixture, "pr-1").await;
    let held = json!([{"repository": "acme/web", "deleted": 1,
        "left": [{"tag": "pr-1", "reason": "immutable by rule \"held\" (pr-1)"}]}]);
    let report = TagsToDelete { mode: Mode::Report, ..order("pr-*", None) };
    for order in [report, order("pr-*", None)] {
        let said = json!(expiry.delete_tags(&order).await.unwrap());
        assert_eq!((&said["deleted"], &said["left"], &said["repositories"]), (&json!(1), &json!(1), &held));
    }
    assert_eq!(left(fixture).await, ["acme/web:pr-1"]);
}

async fn many_tags_go_in_batches(fixture: &Fixture) {
    let expiry = expiry(fixture);
    super::scale::many_tags(fixture, "acme/web").await;
    let deleted = expiry.delete_tags(&order("pr-1*", None)).await.unwrap();
    assert_eq!((deleted.deleted, deleted.left), (1000, 0));
    assert_eq!(left(fixture).await.len(), 1001, "the other half, and the tag that was there before");
}

async fn what_stays_is_counted_whole_and_named_in_part(fixture: &Fixture) {
    let expiry = expiry(fixture);
    push(fixture, "acme/a", &["v1"]).await;
    super::scale::many_tags(fixture, "acme/web").await;
    immutable(fixture, "*").await;
    let report = TagsToDelete { mode: Mode::Report, ..order("*", None) };
    for order in [report, order("*", None)] {
        let said = expiry.delete_tags(&order).await.unwrap();
        assert_eq!((said.deleted, said.left), (0, 2002));
        let [first, second] = &said.repositories[..] else { panic!("{}", said.repositories.len()) };
        assert_eq!((first.left.len(), second.left.len()), (1, 999));
        assert!(second.left.capacity() < 2000, "no more are collected than are named: {}", second.left.capacity());
    }
}

#[test]
fn every_tag_of_everything_is_noticed() {
    let about_everything =
        |order: TagsToDelete| is_about_everything(&order.namespace, &order.pattern, &order.repositories);
    assert!(about_everything(order("*", None)) && about_everything(order("*", Some("acme/**"))));
    assert!(!about_everything(order("pr-*", None)) && !about_everything(order("*", Some("acme/web"))));
    assert!(!about_everything(order("*", Some("acme"))));
    assert!(about_everything(order("*", Some("acme/{*,x}"))), "braces around everything");
}
