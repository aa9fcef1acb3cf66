//! Tags and repositories, as far as a namespace may have them.

use serde_json::Value;
use shared::tag::Tag;

use super::{Change, Exceeded, Measure, Stage, UNCHANGED, ada, digest, exceeded, name, on_both, set, start};
use crate::content::{
    Error, TagLimits,
    fixture::{image, push, tag},
    manifests::{DeleteManifest, PutManifest, Stored},
    tags::DeleteTag,
};

on_both! {
    a_tag_over_the_quota_is_refused
    several_tags_of_one_push_are_all_or_none
    tags_are_counted_over_the_repositories_of_a_namespace
    a_deleted_tag_makes_room
    a_repository_over_the_quota_is_refused
    a_repository_counts_while_it_holds_a_manifest
    more_than_the_quota_can_be_worked_with
}

async fn set_tags(stage: &Stage, tags: u64) {
    set(stage, Change { tags: Some(Some(tags)), ..UNCHANGED }).await;
}

async fn set_repositories(stage: &Stage, repositories: u64) {
    set(stage, Change { repositories: Some(Some(repositories)), ..UNCHANGED }).await;
}

fn over(of: Measure, quota: u64, used: u64, asked: u64) -> Exceeded {
    Exceeded { namespace: "acme".to_owned(), of, quota, used, reserved: 0, asked }
}

/// An image that the repository can hold, and what distinguishes it.
async fn held(stage: &Stage, repository: &str, config: &str) -> Value {
    stage.push(repository, config).await.unwrap();
    image(config, &[])
}

async fn put(stage: &Stage, repository: &str, tag: &str, manifest: &Value) -> Result<Stored, Error> {
    stage.content.put_manifest(push(repository, self::tag(tag), manifest)).await
}

async fn delete_tag(stage: &Stage, repository: &str, tag: Tag) {
    let (repository, limits) = (name(repository), TagLimits::Everything);
    let delete = DeleteTag { repository, tag, condition: None, limits, actor: "ada".to_owned() };
    stage.content.delete_tag(delete).await.unwrap();
}

async fn tags(stage: &Stage) -> i64 {
    stage.count("SELECT count(*) FROM tag WHERE manifest_id IS NOT NULL").await
}

async fn a_tag_over_the_quota_is_refused(stage: &mut Stage) {
    set_tags(stage, 2).await;
    let (one, two) = (held(stage, "acme/web", "one").await, held(stage, "acme/web", "two").await);
    put(stage, "acme/web", "v1", &one).await.unwrap();
    put(stage, "acme/web", "v2", &one).await.unwrap();
    assert_eq!(exceeded(put(stage, "acme/web", "v3", &one).await), over(Measure::Tags, 2, 2, 1));
    assert_eq!(exceeded(put(stage, "acme/web", "v3", &two).await), over(Measure::Tags, 2, 2, 1));
    assert_eq!(stage.count("SELECT count(*) FROM manifest").await, 1, "a refused push leaves nothing");
    put(stage, "acme/web", "v2", &two).await.unwrap();
    put(stage, "acme/web", "v2", &two).await.unwrap();
    stage.content.put_manifest(push("acme/web", digest(one.to_string().as_bytes()), &one)).await.unwrap();
    assert_eq!(tags(stage).await, 2);
    stage.is_consistent().await;
}

async fn several_tags_of_one_push_are_all_or_none(stage: &mut Stage) {
    set_tags(stage, 3).await;
    let image = held(stage, "acme/web", "one").await;
    put(stage, "acme/web", "v1", &image).await.unwrap();
    let by_digest = push("acme/web", digest(image.to_string().as_bytes()), &image);
    let with =
        |tags: &[&str]| PutManifest { tags: tags.iter().map(|tag| self::tag(tag)).collect(), ..by_digest.clone() };
    let refused = stage.content.put_manifest(with(&["v1", "v2", "v3", "v4"])).await;
    assert_eq!(exceeded(refused), over(Measure::Tags, 3, 1, 3));
    assert_eq!(tags(stage).await, 1);
    stage.content.put_manifest(with(&["v1", "v2", "v3"])).await.unwrap();
    assert_eq!(tags(stage).await, 3);
}

async fn tags_are_counted_over_the_repositories_of_a_namespace(stage: &mut Stage) {
    set_tags(stage, 2).await;
    let [web, api, other] = ["acme/web", "acme/api", "other/web"];
    for repository in [web, api, other] {
        let image = held(stage, repository, "one").await;
        put(stage, repository, "v1", &image).await.unwrap();
    }
    assert_eq!(exceeded(put(stage, api, "v2", &image("one", &[])).await), over(Measure::Tags, 2, 2, 1));
    put(stage, other, "v2", &image("one", &[])).await.unwrap();
}

async fn a_deleted_tag_makes_room(stage: &mut Stage) {
    set_tags(stage, 1).await;
    let image = held(stage, "acme/web", "one").await;
    put(stage, "acme/web", "v1", &image).await.unwrap();
    exceeded(put(stage, "acme/web", "v2", &image).await);
    delete_tag(stage, "acme/web", tag("v1")).await;
    put(stage, "acme/web", "v2", &image).await.unwrap();
    assert_eq!(exceeded(put(stage, "acme/web", "v1", &image).await), over(Measure::Tags, 1, 1, 1), "back again");
}

async fn a_repository_over_the_quota_is_refused(stage: &mut Stage) {
    // A push leaves it behind before there is a quota.
    stage.push("acme/begun", "config").await.unwrap();
    set_repositories(stage, 1).await;
    let image = held(stage, "acme/web", "config").await;
    put(stage, "acme/web", "v1", &image).await.unwrap();
    put(stage, "acme/web", "v2", &image).await.unwrap();
    let full = over(Measure::Repositories, 1, 1, 1);
    assert_eq!(exceeded(start(stage, "acme/api").await), full, "before anything is uploaded in vain");
    let config = digest(b"config");
    assert_eq!(exceeded(stage.content.mount(&name("acme/api"), &name("acme/web"), &config, &ada()).await), full);
    assert_eq!(exceeded(put(stage, "acme/begun", "v1", &image).await), full);
    assert_eq!(stage.count("SELECT count(*) FROM repository").await, 2);
    stage.is_consistent().await;
}

async fn a_repository_counts_while_it_holds_a_manifest(stage: &mut Stage) {
    set_repositories(stage, 1).await;
    let image = held(stage, "acme/web", "config").await;
    stage.push("acme/api", "config").await.unwrap();
    put(stage, "acme/web", "v1", &image).await.unwrap();
    let refused = exceeded(put(stage, "acme/api", "v1", &image).await);
    assert_eq!(refused, over(Measure::Repositories, 1, 1, 1));
    let delete = DeleteManifest {
        repository: name("acme/web"),
        digest: digest(image.to_string().as_bytes()),
        condition: None,
        limits: TagLimits::Everything,
        undelete_window: std::time::Duration::from_secs(60),
        actor: "ada".to_owned(),
    };
    stage.content.delete_manifest(delete).await.unwrap();
    put(stage, "acme/api", "v1", &image).await.unwrap();
    let revived = exceeded(put(stage, "acme/web", "v1", &image).await);
    assert_eq!(revived, over(Measure::Repositories, 1, 1, 1), "one that comes back is one more");
}

async fn more_than_the_quota_can_be_worked_with(stage: &mut Stage) {
    for repository in ["acme/web", "acme/api"] {
        let image = held(stage, repository, "one").await;
        put(stage, repository, "v1", &image).await.unwrap();
        put(stage, repository, "v2", &image).await.unwrap();
    }
    set_tags(stage, 1).await;
    set_repositories(stage, 1).await;
    let two = held(stage, "acme/api", "two").await;
    put(stage, "acme/api", "v1", &two).await.unwrap();
    assert_eq!(exceeded(put(stage, "acme/api", "v3", &two).await), over(Measure::Tags, 1, 1, 1));
}
