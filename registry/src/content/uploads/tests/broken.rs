//! Clients that go, processes that end, disks that fail.

use std::{fs, time::Duration};

use bytes::Bytes;
use shared::{database::Dialect, digest::Hasher};

use super::super::*;
use crate::{
    store::faulty::{Call, Fault},
    stories::stage::{Stage, ada, chunk, cut, digest, name, on_both, slow},
};

on_both! {
    a_cut_chunk_counts_as_far_as_it_came
    a_cut_closing_request_can_be_repeated
    a_cut_single_request_leaves_nothing
    a_step_outlives_its_client
    a_finish_outlives_its_client
    a_single_request_outlives_its_client
    an_upload_that_renews_itself_ends_with_its_repository
    an_upload_goes_on_after_a_restart
    after_a_reboot_the_file_is_hashed_again
    after_a_reboot_a_hole_is_found
    a_file_that_lost_bytes_ends_the_upload
    a_file_that_is_gone_ends_the_upload
    a_hash_of_another_version_ends_the_upload
    a_blob_has_at_most_a_tebibyte
    a_failed_write_keeps_what_was_written_before
    a_short_write_is_written_over
    a_full_disk_is_said_and_survived
    a_failed_sync_ends_the_upload
    a_lost_answer_of_opening_is_survived
    a_repeated_push_heals_missing_bytes
    a_repeated_push_heals_damaged_bytes
    a_pull_of_missing_bytes_says_so_once
}

const REST: &str = "SELECT storage_key FROM upload";
const BLOB: &str = "SELECT storage_key FROM blob";

async fn a_cut_chunk_counts_as_far_as_it_came(stage: &mut Stage) {
    let (content, repository) = (&stage.content, name("acme/web"));
    let id = content.start_upload(&repository, None, &ada()).await.unwrap();
    let broken = content.append(&repository, id, cut("half a ")).await;
    assert!(matches!(broken, Err(Error::BodyCut { received: 7 })), "{broken:?}");
    assert_eq!(content.upload_received(&repository, id).await.unwrap(), 7);
    let rest = Chunk { start: Some(7), ..chunk("loaf") };
    content.finish_upload(&repository, id, digest(b"half a loaf"), rest, &ada()).await.unwrap();
    stage.is_consistent().await;
}

async fn a_cut_closing_request_can_be_repeated(stage: &mut Stage) {
    let (content, repository) = (&stage.content, name("acme/web"));
    let id = content.start_upload(&repository, None, &ada()).await.unwrap();
    let whole = digest(b"half a loaf");
    let broken = content.finish_upload(&repository, id, whole, cut("half a "), &ada()).await;
    assert!(matches!(broken, Err(Error::BodyCut { received: 7 })), "{broken:?}");
    content.finish_upload(&repository, id, whole, chunk("loaf"), &ada()).await.unwrap();
    assert_eq!(stage.pull("acme/web", &whole).await.unwrap(), "half a loaf");
}

async fn a_cut_single_request_leaves_nothing(stage: &mut Stage) {
    let whole = digest(b"half a loaf");
    let broken = stage.content.push_blob(&name("acme/web"), whole, cut("half a "), &ada()).await;
    assert!(matches!(broken, Err(Error::BodyCut { .. })), "{broken:?}");
    assert_eq!(stage.count("SELECT count(*) FROM upload").await, 0, "nobody could go on with it");
    stage.is_consistent().await;
}

async fn a_step_outlives_its_client(stage: &mut Stage) {
    let (content, repository) = (&stage.content, name("acme/web"));
    let id = content.start_upload(&repository, None, &ada()).await.unwrap();
    let (sender, body) = slow();
    let mut waiting = Box::pin(content.append(&repository, id, body));
    tokio::select! {
        _ = &mut waiting => panic!("the body has not ended"),
        () = async {
            sender.send(Ok(Bytes::from("before it went"))).await.unwrap();
            sender.reserve().await.unwrap();
        } => {}
    }
    // The handler is dropped with its client; the body breaks a moment later.
    drop(waiting);
    drop(sender);
    while content.upload_received(&repository, id).await.unwrap() != 14 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    content.finish_upload(&repository, id, digest(b"before it went"), Chunk::empty(), &ada()).await.unwrap();
}

async fn a_finish_outlives_its_client(stage: &mut Stage) {
    let (content, repository) = (&stage.content, name("acme/web"));
    let id = content.start_upload(&repository, None, &ada()).await.unwrap();
    content.append(&repository, id, chunk("impatient")).await.unwrap();
    stage.store.plan(Call::Finish, Fault::Delay(Duration::from_millis(300)));
    let pusher = ada();
    let finish = content.finish_upload(&repository, id, digest(b"impatient"), Chunk::empty(), &pusher);
    tokio::select! {
        _ = finish => panic!("the sync takes its time"),
        () = async {
            while !stage.store.is_spent() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        } => {}
    }
    while !stage.holds("acme/web", &digest(b"impatient")).await {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    stage.is_consistent().await;
}

async fn a_single_request_outlives_its_client(stage: &mut Stage) {
    let (repository, pusher) = (name("acme/web"), ada());
    let mut push = Box::pin(stage.content.push_blob(&repository, digest(b"impatient"), chunk("impatient"), &pusher));
    assert!(futures_util::poll!(&mut push).is_pending());
    // Its upload is still being made.
    drop(push);
    let held = async {
        while !stage.holds("acme/web", &digest(b"impatient")).await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), held).await.expect("nobody goes on with it");
    assert_eq!(stage.count("SELECT count(*) FROM upload").await, 0);
    stage.is_consistent().await;
}

async fn an_upload_that_renews_itself_ends_with_its_repository(stage: &mut Stage) {
    let (content, repository) = (&stage.content, name("acme/web"));
    let id = content.start_upload(&repository, None, &ada()).await.unwrap();
    stage.pass(UPLOAD_LIFE / 2);
    let (sender, body) = slow();
    let writing = tokio::spawn({
        let (content, repository) = (content.clone(), repository.clone());
        async move { content.append(&repository, id, body).await }
    });
    sender.send(Ok(Bytes::from("while it goes"))).await.unwrap();
    // The second fits once the first is taken out: the upload has its writer.
    sender.send(Ok(Bytes::from("away"))).await.unwrap();
    stage.tamper("UPDATE repository SET deleted_at = 1").await;
    drop(sender);
    let refused = writing.await.unwrap();
    assert!(matches!(refused, Err(Error::OutOfOrder { .. } | Error::UploadUnknown)), "{refused:?}");
    assert_eq!(stage.count("SELECT received FROM upload").await, 0, "nothing of it is saved");
}

async fn an_upload_goes_on_after_a_restart(stage: &mut Stage) {
    let repository = name("acme/web");
    let id = stage.content.start_upload(&repository, None, &ada()).await.unwrap();
    stage.content.append(&repository, id, chunk("before ")).await.unwrap();
    stage.restart().await;
    assert_eq!(stage.content.upload_received(&repository, id).await.unwrap(), 7);
    let whole = digest(b"before and after");
    stage.content.finish_upload(&repository, id, whole, chunk("and after"), &ada()).await.unwrap();
    assert_eq!(stage.pull("acme/web", &whole).await.unwrap(), "before and after");
}

async fn after_a_reboot_the_file_is_hashed_again(stage: &mut Stage) {
    let repository = name("acme/web");
    let id = stage.content.start_upload(&repository, None, &ada()).await.unwrap();
    stage.content.append(&repository, id, chunk("before ")).await.unwrap();
    // A state that could not be read shows that it is not.
    stage.tamper("UPDATE upload SET boot = 'another', hash_state = NULL").await;
    let whole = digest(b"before and after");
    stage.content.finish_upload(&repository, id, whole, chunk("and after"), &ada()).await.unwrap();
    assert_eq!(stage.pull("acme/web", &whole).await.unwrap(), "before and after");
}

async fn after_a_reboot_a_hole_is_found(stage: &mut Stage) {
    let repository = name("acme/web");
    let id = stage.content.start_upload(&repository, None, &ada()).await.unwrap();
    stage.content.append(&repository, id, chunk("before ")).await.unwrap();
    stage.tamper("UPDATE upload SET boot = 'another'").await;
    fs::write(stage.file(REST).await, [0; 7]).unwrap();
    let whole = digest(b"before and after");
    let refused = stage.content.finish_upload(&repository, id, whole, chunk("and after"), &ada()).await;
    assert!(matches!(refused, Err(Error::DigestMismatch { .. })), "the saved hash would have matched: {refused:?}");
    stage.is_consistent().await;
}

async fn a_file_that_lost_bytes_ends_the_upload(stage: &mut Stage) {
    let repository = name("acme/web");
    for boot in ["UPDATE upload SET boot = 'another'", "UPDATE upload SET boot = boot"] {
        let id = stage.content.start_upload(&repository, None, &ada()).await.unwrap();
        stage.content.append(&repository, id, chunk("before ")).await.unwrap();
        stage.tamper(boot).await;
        fs::OpenOptions::new().write(true).open(stage.file(REST).await).unwrap().set_len(6).unwrap();
        let refused = stage.content.append(&repository, id, chunk("and after")).await;
        assert!(matches!(refused, Err(Error::UploadUnknown)), "{refused:?}");
        assert_eq!(stage.count("SELECT count(*) FROM upload").await, 0);
    }
    assert_eq!(stage.count("SELECT count(*) FROM trash").await, 2);
}

async fn a_file_that_is_gone_ends_the_upload(stage: &mut Stage) {
    let repository = name("acme/web");
    let id = stage.content.start_upload(&repository, None, &ada()).await.unwrap();
    stage.content.append(&repository, id, chunk("before ")).await.unwrap();
    fs::remove_file(stage.file(REST).await).unwrap();
    let refused = stage.content.append(&repository, id, chunk("and after")).await;
    assert!(matches!(refused, Err(Error::UploadUnknown)), "{refused:?}");
    stage.is_consistent().await;
}

async fn a_hash_of_another_version_ends_the_upload(stage: &mut Stage) {
    let repository = name("acme/web");
    let id = stage.content.start_upload(&repository, None, &ada()).await.unwrap();
    stage.content.append(&repository, id, chunk("before ")).await.unwrap();
    stage.tamper("UPDATE upload SET hash_state = NULL").await;
    let refused = stage.content.append(&repository, id, chunk("and after")).await;
    assert!(matches!(refused, Err(Error::UploadUnknown)), "{refused:?}");
}

async fn a_blob_has_at_most_a_tebibyte(stage: &mut Stage) {
    let repository = name("acme/web");
    let id = stage.content.start_upload(&repository, None, &ada()).await.unwrap();
    stage.content.append(&repository, id, chunk("abc")).await.unwrap();
    // As if all but three bytes of it had come: a sparse file, and a hash that says so.
    let received = MAX_BLOB_BYTES - 3;
    fs::OpenOptions::new().write(true).open(stage.file(REST).await).unwrap().set_len(received).unwrap();
    let mut state = Hasher::new(Algorithm::Sha256).save();
    state[2..10].copy_from_slice(&received.to_le_bytes());
    let state: String = state.iter().map(|byte| format!("{byte:02x}")).collect();
    let literal = match stage.content.metadata.dialect() {
        Dialect::Sqlite => format!("X'{state}'"),
        Dialect::Postgres => format!("'\\x{state}'"),
    };
    let update = format!("UPDATE upload SET received = {received}, hash_state = {literal}");
    stage.tamper(Box::leak(update.into())).await;
    assert_eq!(stage.content.append(&repository, id, chunk("end")).await.unwrap(), MAX_BLOB_BYTES);
    let refused = stage.content.append(&repository, id, chunk("x")).await;
    assert!(matches!(refused, Err(Error::BlobTooLarge { limit: MAX_BLOB_BYTES })), "{refused:?}");
    assert!(matches!(stage.content.upload_received(&repository, id).await, Err(Error::UploadUnknown)));
    stage.is_consistent().await;
}

async fn a_failed_write_keeps_what_was_written_before(stage: &mut Stage) {
    let (content, repository) = (&stage.content, name("acme/web"));
    let id = content.start_upload(&repository, None, &ada()).await.unwrap();
    content.append(&repository, id, chunk("kept ")).await.unwrap();
    for fault in [Fault::Error, Fault::LostAnswer] {
        stage.store.plan(Call::Write, fault);
        let failed = content.append(&repository, id, chunk("lost")).await;
        assert!(matches!(failed, Err(Error::Store(_))), "{failed:?}");
        assert_eq!(content.upload_received(&repository, id).await.unwrap(), 5);
    }
    content.finish_upload(&repository, id, digest(b"kept on"), chunk("on"), &ada()).await.unwrap();
    assert_eq!(stage.pull("acme/web", &digest(b"kept on")).await.unwrap(), "kept on", "what was lost is cut off");
    stage.is_consistent().await;
}

async fn a_short_write_is_written_over(stage: &mut Stage) {
    let (content, repository) = (&stage.content, name("acme/web"));
    let id = content.start_upload(&repository, None, &ada()).await.unwrap();
    stage.store.plan(Call::Write, Fault::ShortWrite(3));
    content.append(&repository, id, chunk("abcdef")).await.unwrap_err();
    assert_eq!(content.append(&repository, id, chunk("12")).await.unwrap(), 2);
    content.finish_upload(&repository, id, digest(b"12"), Chunk::empty(), &ada()).await.unwrap();
    assert_eq!(stage.pull("acme/web", &digest(b"12")).await.unwrap(), "12");
    stage.is_consistent().await;
}

async fn a_full_disk_is_said_and_survived(stage: &mut Stage) {
    use crate::store::StoreError::NoSpace;
    let (content, repository) = (&stage.content, name("acme/web"));
    let id = content.start_upload(&repository, None, &ada()).await.unwrap();
    for call in [Call::Open, Call::Write] {
        stage.store.plan(call, Fault::Full);
        let full = content.append(&repository, id, chunk("too much")).await;
        assert!(matches!(full, Err(Error::Store(NoSpace(_)))), "{full:?}");
    }
    content.finish_upload(&repository, id, digest(b"fits"), chunk("fits"), &ada()).await.unwrap();
    stage.is_consistent().await;
}

async fn a_failed_sync_ends_the_upload(stage: &mut Stage) {
    let (content, repository) = (&stage.content, name("acme/web"));
    for fault in [Fault::Error, Fault::LostAnswer, Fault::Full] {
        let id = content.start_upload(&repository, None, &ada()).await.unwrap();
        stage.store.plan(Call::Finish, fault);
        let failed = content.finish_upload(&repository, id, digest(b"unsure"), chunk("unsure"), &ada()).await;
        assert!(matches!(failed, Err(Error::Store(_))), "{failed:?}");
        assert!(matches!(content.upload_received(&repository, id).await, Err(Error::UploadUnknown)));
    }
    assert!(!stage.holds("acme/web", &digest(b"unsure")).await);
    stage.push("acme/web", "unsure").await.unwrap();
    stage.is_consistent().await;
}

async fn a_lost_answer_of_opening_is_survived(stage: &mut Stage) {
    let (content, repository) = (&stage.content, name("acme/web"));
    let id = content.start_upload(&repository, None, &ada()).await.unwrap();
    stage.store.plan(Call::Open, Fault::LostAnswer);
    content.append(&repository, id, chunk("x")).await.unwrap_err();
    content.finish_upload(&repository, id, digest(b"there"), chunk("there"), &ada()).await.unwrap();
    assert_eq!(stage.pull("acme/web", &digest(b"there")).await.unwrap(), "there");
}

async fn a_repeated_push_heals_missing_bytes(stage: &mut Stage) {
    let digest = stage.push("acme/web", "fragile").await.unwrap();
    stage.push("other/app", "fragile").await.unwrap();
    assert_eq!(stage.pull("acme/web", &digest).await.unwrap(), "fragile", "and the answer is kept in memory");
    fs::remove_file(stage.file(BLOB).await).unwrap();
    stage.push("other/app", "fragile").await.unwrap();
    assert_eq!(stage.pull("acme/web", &digest).await.unwrap(), "fragile", "every repository has the new bytes");
    assert_eq!(stage.count("SELECT used FROM usage ORDER BY namespace_id LIMIT 1").await, 7);
    stage.is_consistent().await;
}

async fn a_repeated_push_heals_damaged_bytes(stage: &mut Stage) {
    let digest = stage.push("acme/web", "fragile").await.unwrap();
    fs::write(stage.file(BLOB).await, "frag").unwrap();
    stage.push("acme/web", "fragile").await.unwrap();
    assert_eq!(stage.pull("acme/web", &digest).await.unwrap(), "fragile", "the wrong size is seen at the push");
    // The right size and the wrong content: whoever finds that marks the row.
    fs::write(stage.file(BLOB).await, "gnawed!").unwrap();
    stage.tamper("UPDATE blob SET state = 'damaged'").await;
    stage.restart().await;
    assert!(!stage.holds("acme/web", &digest).await, "a client is told to push it again");
    stage.push("acme/web", "fragile").await.unwrap();
    assert_eq!(stage.pull("acme/web", &digest).await.unwrap(), "fragile");
    assert_eq!(stage.count("SELECT count(*) FROM blob WHERE state = 'live'").await, 1);
    stage.is_consistent().await;
}

async fn a_pull_of_missing_bytes_says_so_once(stage: &mut Stage) {
    let digest = stage.push("acme/web", "fragile").await.unwrap();
    assert!(stage.holds("acme/web", &digest).await);
    let file = stage.file(BLOB).await;
    let away = stage.store_path().join("away");
    fs::rename(&file, &away).unwrap();
    for _ in 0..2 {
        let damaged = stage.pull("acme/web", &digest).await;
        assert!(
            matches!(damaged, Err(Error::BlobDamaged { .. })),
            "no bytes at all are a disk that is away: {damaged:?}"
        );
    }
    fs::rename(&away, &file).unwrap();
    assert_eq!(stage.pull("acme/web", &digest).await.unwrap(), "fragile");
    stage.push("acme/web", "another").await.unwrap();
    fs::remove_file(&file).unwrap();
    let damaged = stage.pull("acme/web", &digest).await;
    assert!(matches!(damaged, Err(Error::BlobDamaged { .. })), "{damaged:?}");
    let unknown = stage.pull("acme/web", &digest).await;
    assert!(matches!(unknown, Err(Error::BlobUnknown { .. })), "{unknown:?}");
    stage.push("acme/web", "fragile").await.unwrap();
    assert_eq!(stage.pull("acme/web", &digest).await.unwrap(), "fragile");
}
