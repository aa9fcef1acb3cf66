//! Tags that stay where they are.

use std::time::Duration;

use super::{DAY, delete};
use crate::{
    content::{
        Error, Force, TagLimits,
        fixture::{Fixture, digest_of, image, index, name, on_both, push, tag},
        manifests::PutManifest,
        tags::DeleteTag,
    },
    metadata::fixture::Tamper,
};

on_both! {
    the_same_digest_again_is_a_success_and_another_is_refused
    of_several_tags_all_move_or_none
    what_a_rule_does_not_name_moves
    what_a_tag_shows_that_stays_is_not_deleted_from_under_it
    an_administrator_may_force
    rules_hold_from_a_repositorys_first_push
}

const RULES: &str = "UPDATE namespace SET immutable = \
    '{\"rules\":[{\"name\":\"releases\",\"repositories\":[\"acme/web\"],\"tags\":[\"v*\"],\"except\":[\"*-rc*\"]}]}' \
    WHERE name = 'acme'";

async fn rule(fixture: &Fixture) {
    fixture.content.metadata.write(Tamper(RULES)).await.unwrap();
}

fn untag(text: &str) -> DeleteTag {
    let (limits, actor) = (TagLimits::Everything, "ada".to_owned());
    DeleteTag { repository: name("acme/web"), tag: tag(text), condition: None, limits, actor }
}

/// The sentence of a refusal.
fn held<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::Immutable(held)) => held.to_string(),
        other => panic!("{other:?}"),
    }
}

async fn versions(fixture: &Fixture) -> Vec<String> {
    fixture.texts("SELECT name || ' ' || CAST(version AS TEXT) FROM tag ORDER BY name").await
}

async fn the_same_digest_again_is_a_success_and_another_is_refused(fixture: &Fixture) {
    let first = fixture.push_image("acme/web", "v1", "config").await;
    rule(fixture).await;
    assert_eq!(fixture.push_image("acme/web", "v1", "config").await, first);
    fixture.hold("acme/web", &["another"]).await;
    let refused = fixture.put(push("acme/web", tag("v1"), &image("another", &["layer"]))).await;
    let expected = format!(
        "the tag v1 in acme/web is immutable by rule \"releases\" (v*, but not *-rc*) of acme: it stays at {first}"
    );
    assert_eq!(held(refused), expected);
    assert_eq!(fixture.served("acme/web", tag("v1")).await, Some(first));
    assert_eq!(fixture.count("SELECT count(*) FROM manifest").await, 1, "nothing of it stays");
    assert_eq!(versions(fixture).await, ["v1 1"], "and the tag has not moved");
}

async fn of_several_tags_all_move_or_none(fixture: &Fixture) {
    let first = fixture.push_image("acme/web", "v1", "config").await;
    rule(fixture).await;
    fixture.hold("acme/web", &["another"]).await;
    let another = image("another", &["layer"]);
    let with = |tags: &[&str]| PutManifest {
        tags: tags.iter().map(|text| tag(text)).collect(),
        ..push("acme/web", digest_of(&another), &another)
    };
    held(fixture.put(with(&["latest", "v1", "v2"])).await);
    assert_eq!(versions(fixture).await, ["v1 1"]);
    fixture.put(with(&["latest", "v2"])).await.unwrap();
    assert_eq!(fixture.served("acme/web", tag("v2")).await, Some(digest_of(&another)), "a new tag may begin anywhere");
    assert_eq!(fixture.served("acme/web", tag("v1")).await, Some(first));
}

async fn what_a_rule_does_not_name_moves(fixture: &Fixture) {
    for (repository, text) in [("acme/web", "latest"), ("acme/web", "v1-rc1"), ("acme/api", "v1"), ("other/web", "v1")]
    {
        fixture.push_image(repository, text, "config").await;
        rule(fixture).await;
        let moved = fixture.push_image(repository, text, "another").await;
        assert_eq!(fixture.served(repository, tag(text)).await, Some(moved), "{repository}:{text}");
    }
}

async fn what_a_tag_shows_that_stays_is_not_deleted_from_under_it(fixture: &Fixture) {
    let (child, other) = (image("config", &["layer"]), image("other", &[]));
    fixture.hold("acme/web", &["config", "layer", "other"]).await;
    for (child, text) in [(&child, "pr-1"), (&other, "pr-2")] {
        fixture.put(push("acme/web", tag(text), child)).await.unwrap();
    }
    let list = index(&[&child]);
    let digest = fixture.put(push("acme/web", tag("v1"), &list)).await.unwrap().digest;
    rule(fixture).await;
    for (window, digest) in [(DAY, digest), (Duration::ZERO, digest), (DAY, digest_of(&child))] {
        let sentence = held(fixture.content.delete_manifest(delete("acme/web", digest, window)).await);
        assert!(sentence.starts_with("the tag v1 in acme/web is immutable by rule \"releases\""), "{sentence}");
    }
    held(fixture.content.delete_tag(untag("v1")).await);
    fixture.content.delete_manifest(delete("acme/web", digest_of(&other), DAY)).await.unwrap();
    assert_eq!(fixture.served("acme/web", tag("v1")).await, Some(digest));
    fixture.content.delete_tag(untag("pr-1")).await.unwrap();
}

async fn an_administrator_may_force(fixture: &Fixture) {
    let first = fixture.push_image("acme/web", "v1", "config").await;
    rule(fixture).await;
    held(fixture.content.delete_tag_with(untag("v1"), Force::No).await);
    fixture.content.delete_tag_with(untag("v1"), Force::Yes).await.unwrap();
    fixture.content.delete_manifest(delete("acme/web", first, DAY)).await.unwrap();
    let second = fixture.push_image("acme/web", "v1", "another").await;
    assert_eq!(fixture.served("acme/web", tag("v1")).await, Some(second), "what is gone may begin again");
    held(fixture.content.delete_tag(untag("v1")).await);
}

async fn rules_hold_from_a_repositorys_first_push(fixture: &Fixture) {
    fixture.push_image("acme/other", "v1", "config").await;
    rule(fixture).await;
    fixture.hold("acme/web", &["config", "layer", "another"]).await;
    fixture.put(push("acme/web", tag("v1"), &image("config", &["layer"]))).await.unwrap();
    held(fixture.put(push("acme/web", tag("v1"), &image("another", &[]))).await);
}
