//! Many at once: together they get what a quota allows, to the last byte, and not one more.

use std::fmt::Debug;

use futures_util::future::join_all;

use super::{
    Change, Stage, UNCHANGED, ada, chunk, digest, exceeded, name, on_both, reserved, set, set_bytes, start, uploads,
    used,
};
use crate::content::{
    Error,
    fixture::{image, push, tag},
};

on_both! {
    blobs_at_once_share_a_quota
    chunks_at_once_share_a_quota
    mounts_at_once_share_a_quota
    tags_at_once_share_a_quota
    repositories_at_once_share_a_quota
}

/// How many push at once.
const CROWD: usize = 24;

/// Runs each in a task of its own and answers how many were let in; everybody else was refused for the quota.
async fn let_in<T: Debug + Send + 'static>(
    pushes: impl IntoIterator<Item: Future<Output = Result<T, Error>> + Send + 'static>,
) -> usize {
    let answers = join_all(pushes.into_iter().map(tokio::spawn)).await;
    let (went, refused): (Vec<_>, Vec<_>) = answers.into_iter().map(Result::unwrap).partition(Result::is_ok);
    refused.into_iter().for_each(|refused| drop(exceeded(refused)));
    went.len()
}

async fn blobs_at_once_share_a_quota(stage: &mut Stage) {
    set_bytes(stage, 1000).await;
    let pushes = (0..CROWD).map(|number| {
        let (content, text) = (stage.content.clone(), format!("{number:0>100}"));
        async move {
            let (repository, digest) = (name(&format!("acme/web{}", number % 3)), digest(text.as_bytes()));
            content.push_blob(&repository, digest, chunk(text), &ada()).await
        }
    });
    assert_eq!(let_in(pushes).await, 10);
    assert_eq!((used(stage).await, reserved(stage).await, uploads(stage).await), (1000, 0, 0));
    stage.is_consistent().await;
}

async fn chunks_at_once_share_a_quota(stage: &mut Stage) {
    set_bytes(stage, 1000).await;
    let mut begun = Vec::new();
    for _ in 0..CROWD {
        begun.push(start(stage, "acme/web").await.unwrap());
    }
    let pushes = begun.into_iter().enumerate().map(|(number, id)| {
        let (content, text) = (stage.content.clone(), format!("{number:0>100}"));
        async move {
            let repository = name("acme/web");
            let (first, second) = text.split_at(50);
            content.append(&repository, id, chunk(first.to_owned())).await?;
            let last = chunk(second.to_owned());
            content.finish_upload(&repository, id, digest(text.as_bytes()), last, &ada()).await
        }
    });
    // Some have a half reserved when others are refused: how many get through is chance, that they fit is not.
    let went = let_in(pushes).await;
    assert!(went <= 10, "{went}");
    assert_eq!((used(stage).await, reserved(stage).await), (i64::try_from(went).unwrap() * 100, 0));
    stage.is_consistent().await;
}

async fn mounts_at_once_share_a_quota(stage: &mut Stage) {
    set_bytes(stage, 30).await;
    let mut digests = Vec::new();
    for number in 0..CROWD {
        digests.push(stage.push("other/web", &format!("{number:0>10}")).await.unwrap());
    }
    let pushes = digests.into_iter().map(|digest| {
        let content = stage.content.clone();
        async move { content.mount(&name("acme/web"), &name("other/web"), &digest, &ada()).await }
    });
    assert_eq!(let_in(pushes).await, 3);
    assert_eq!(used(stage).await, 30);
    stage.is_consistent().await;
}

async fn tags_at_once_share_a_quota(stage: &mut Stage) {
    set(stage, Change { tags: Some(Some(5)), ..UNCHANGED }).await;
    for repository in ["acme/web", "acme/api"] {
        stage.push(repository, "config").await.unwrap();
    }
    let pushes = (0..CROWD).map(|number| {
        let (content, repository) = (stage.content.clone(), if number % 2 == 0 { "acme/web" } else { "acme/api" });
        async move { content.put_manifest(push(repository, tag(&format!("v{number}")), &image("config", &[]))).await }
    });
    assert_eq!(let_in(pushes).await, 5);
    assert_eq!(stage.count("SELECT count(*) FROM tag WHERE manifest_id IS NOT NULL").await, 5);
    stage.is_consistent().await;
}

async fn repositories_at_once_share_a_quota(stage: &mut Stage) {
    // They are there already, so that it is the first manifest that decides.
    for number in 0..CROWD {
        stage.push(&format!("acme/web{number}"), "config").await.unwrap();
    }
    set(stage, Change { repositories: Some(Some(4)), ..UNCHANGED }).await;
    let pushes = (0..CROWD).map(|number| {
        let (content, repository) = (stage.content.clone(), format!("acme/web{number}"));
        async move { content.put_manifest(push(&repository, tag("v1"), &image("config", &[]))).await }
    });
    assert_eq!(let_in(pushes).await, 4);
    assert_eq!(stage.count("SELECT count(DISTINCT repository_id) FROM manifest").await, 4);
    stage.is_consistent().await;
}
