//! Two requests on one upload, in one process and in two.

use std::time::Duration;

use bytes::Bytes;

use super::super::*;
use crate::stories::stage::{Stage, ada, chunk, digest, name, on_both, pusher, slow};

on_both! {
    a_holder_has_a_bounded_number_of_open_uploads
    a_newer_request_ends_the_earlier_one
    a_cancel_ends_the_request_that_writes
    a_writer_of_another_process_cannot_save_any_more
    many_writers_leave_one_story
}

async fn a_newer_request_ends_the_earlier_one(stage: &mut Stage) {
    let repository = name("acme/web");
    let id = stage.content.start_upload(&repository, None, &ada()).await.unwrap();
    let (sender, stuck) = slow();
    let earlier = tokio::spawn({
        let (content, repository) = (stage.content.clone(), repository.clone());
        async move { content.append(&repository, id, stuck).await }
    });
    sender.send(Ok(Bytes::from("from the first, "))).await.unwrap();
    while sender.capacity() == 0 {
        tokio::task::yield_now().await;
    }
    let out_of_order = Chunk { start: Some(0), ..chunk("from the start again") };
    let second = stage.content.append(&repository, id, out_of_order).await;
    assert!(matches!(second, Err(Error::OutOfOrder { received: 16 })), "what had arrived counts: {second:?}");
    let first = earlier.await.unwrap();
    assert!(matches!(first, Err(Error::OutOfOrder { received: 16 })), "{first:?}");
    let whole = digest(b"from the first, from the third");
    stage.content.finish_upload(&repository, id, whole, chunk("from the third"), &ada()).await.unwrap();
    assert_eq!(stage.pull("acme/web", &whole).await.unwrap(), "from the first, from the third");
    stage.is_consistent().await;
}

async fn a_cancel_ends_the_request_that_writes(stage: &mut Stage) {
    let repository = name("acme/web");
    let id = stage.content.start_upload(&repository, None, &ada()).await.unwrap();
    let (sender, stuck) = slow();
    let writing = tokio::spawn({
        let (content, repository) = (stage.content.clone(), repository.clone());
        async move { content.append(&repository, id, stuck).await }
    });
    sender.send(Ok(Bytes::from("bytes"))).await.unwrap();
    while sender.capacity() == 0 {
        tokio::task::yield_now().await;
    }
    stage.content.cancel_upload(&repository, id).await.unwrap();
    writing.await.unwrap().unwrap_err();
    assert!(!stage.content.metadata.writers().is_busy(id), "its bytes are closed");
    assert_eq!(stage.count("SELECT count(*) FROM upload").await, 0);
    stage.is_consistent().await;
}

async fn a_writer_of_another_process_cannot_save_any_more(stage: &mut Stage) {
    let repository = name("acme/web");
    let id = stage.content.start_upload(&repository, None, &ada()).await.unwrap();
    stage.content.append(&repository, id, chunk("shared")).await.unwrap();
    let (sender, stuck) = slow();
    let writing = tokio::spawn({
        let (content, repository) = (stage.content.clone(), repository.clone());
        async move { content.append(&repository, id, stuck).await }
    });
    sender.send(Ok(Bytes::from("too late"))).await.unwrap();
    while sender.capacity() == 0 {
        tokio::task::yield_now().await;
    }
    // Another process has no way to end ours; it raises the number.
    stage.tamper("UPDATE upload SET writer = writer + 1").await;
    drop(sender);
    let late = writing.await.unwrap();
    assert!(matches!(late, Err(Error::OutOfOrder { received: 6 })), "{late:?}");
    assert_eq!(stage.content.upload_received(&repository, id).await.unwrap(), 6);
    // What it wrote is written over.
    let whole = digest(b"shared story");
    stage.content.finish_upload(&repository, id, whole, chunk(" story"), &ada()).await.unwrap();
    assert_eq!(stage.pull("acme/web", &whole).await.unwrap(), "shared story");
}

async fn many_writers_leave_one_story(stage: &mut Stage) {
    let repository = name("acme/web");
    let id = stage.content.start_upload(&repository, None, &ada()).await.unwrap();
    let content: String = (0..40_000).map(|n| format!("{n:07} ")).collect();
    let whole = digest(content.as_bytes());
    let mut racers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (stage, repository, content) = (stage.content.clone(), repository.clone(), content.clone());
        racers.spawn(async move {
            let body =
                stream::iter(content.into_bytes().chunks(9000).map(Bytes::copy_from_slice).map(Ok).collect::<Vec<_>>());
            let chunk = Chunk { start: Some(0), length: Some(320_000), body: body.boxed() };
            stage.finish_upload(&repository, id, whole, chunk, &ada()).await
        });
    }
    let finished = tokio::time::timeout(Duration::from_secs(30), racers.join_all()).await.unwrap();
    let succeeded = finished.iter().filter(|finished| finished.is_ok()).count();
    if succeeded == 0 {
        // Everyone may have been overtaken on the way; then the last word is said now.
        let received = stage.content.upload_received(&repository, id).await.unwrap();
        let rest = content.as_bytes()[usize::try_from(received).unwrap()..].to_vec();
        stage.content.finish_upload(&repository, id, whole, chunk(rest), &ada()).await.unwrap();
    }
    assert!(stage.pull("acme/web", &whole).await.unwrap() == content);
    stage.is_consistent().await;
}

async fn a_holder_has_a_bounded_number_of_open_uploads(stage: &mut Stage) {
    assert_eq!(MAX_OPEN_UPLOADS, 20_000);
    let (here, there) = (name("acme/web"), name("base/os"));
    let first = stage.content.start_upload(&here, None, &ada()).await.unwrap();
    stage
        .tamper(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 19998) \
             INSERT INTO upload (id, repository_id, store, storage_key, algorithm, boot, expires_at, holder) \
             SELECT i, (SELECT min(id) FROM repository), 'files', 'k' || i, 'sha256', 'boot', 4102444800000000, 'ada' FROM n",
        )
        .await;
    stage.content.start_upload(&there, None, &ada()).await.unwrap();
    for repository in [&here, &there, &name("new/one")] {
        let refused = stage.content.start_upload(repository, None, &ada()).await;
        assert!(matches!(refused, Err(Error::TooManyUploads { limit: 20_000 })), "{refused:?}");
        let refused = stage.content.push_blob(repository, digest(b"x"), chunk("x"), &ada()).await;
        assert!(matches!(refused, Err(Error::TooManyUploads { .. })), "{refused:?}");
    }
    assert_eq!(stage.count("SELECT count(*) FROM repository WHERE name = 'new/one'").await, 0, "nothing of it stays");
    stage.content.start_upload(&here, None, &pusher("bob")).await.unwrap();
    stage.content.cancel_upload(&here, first).await.unwrap();
    stage.content.start_upload(&here, None, &ada()).await.unwrap();
}
