//! Every way to push a blob.

use super::super::*;
use crate::stories::stage::{Stage, ada, chunk, digest, name, on_both};

on_both! {
    one_request_pushes_a_blob
    an_upload_grows_by_chunks
    a_last_chunk_comes_with_the_closing_request
    chunks_say_where_they_begin
    an_announced_length_is_kept
    a_blob_may_be_empty
    sha512_is_hashed_as_it_comes_or_at_the_end
    other_bytes_than_named_end_the_upload
    a_cancelled_upload_is_gone
    t32_an_upload_answers_in_its_own_repository_only
    an_upload_that_nobody_comes_back_for_is_unknown
    an_upload_renews_its_life_once_a_tenth_of_it_is_gone
    a_large_blob_goes_through_in_batches
    a_lost_answer_is_given_again
    the_second_push_of_a_digest_is_surplus
}

async fn one_request_pushes_a_blob(stage: &mut Stage) {
    let digest = stage.push("acme/web", "cargo").await.unwrap();
    assert_eq!(stage.pull("acme/web", &digest).await.unwrap(), "cargo");
    assert_eq!(stage.count("SELECT count(*) FROM upload").await, 0);
    assert_eq!(stage.count("SELECT used FROM usage").await, 5);
    stage.is_consistent().await;
}

async fn an_upload_grows_by_chunks(stage: &mut Stage) {
    let (content, repository) = (&stage.content, name("acme/web"));
    let id = content.start_upload(&repository, None, &ada()).await.unwrap();
    assert_eq!(content.upload_received(&repository, id).await.unwrap(), 0);
    assert_eq!(content.append(&repository, id, chunk("one ")).await.unwrap(), 4);
    assert_eq!(content.append(&repository, id, chunk("two")).await.unwrap(), 7);
    assert_eq!(content.upload_received(&repository, id).await.unwrap(), 7);
    assert!(!stage.holds("acme/web", &digest(b"one two")).await, "nothing is there before it is finished");
    content.finish_upload(&repository, id, digest(b"one two"), Chunk::empty(), &ada()).await.unwrap();
    assert_eq!(stage.pull("acme/web", &digest(b"one two")).await.unwrap(), "one two");
    assert!(matches!(content.upload_received(&repository, id).await, Err(Error::UploadUnknown)));
    stage.is_consistent().await;
}

async fn a_last_chunk_comes_with_the_closing_request(stage: &mut Stage) {
    let (content, repository) = (&stage.content, name("acme/web"));
    let id = content.start_upload(&repository, None, &ada()).await.unwrap();
    content.append(&repository, id, chunk("most of it, ")).await.unwrap();
    let whole = digest(b"most of it, and the rest");
    content.finish_upload(&repository, id, whole, chunk("and the rest"), &ada()).await.unwrap();
    assert_eq!(stage.pull("acme/web", &whole).await.unwrap(), "most of it, and the rest");
}

async fn chunks_say_where_they_begin(stage: &mut Stage) {
    let (content, repository) = (&stage.content, name("acme/web"));
    let id = content.start_upload(&repository, None, &ada()).await.unwrap();
    let at = |start, text: &'static str| Chunk { start: Some(start), ..chunk(text) };
    assert_eq!(content.append(&repository, id, at(0, "first")).await.unwrap(), 5);
    for start in [0, 4, 6] {
        let refused = content.append(&repository, id, at(start, "x")).await;
        assert!(matches!(refused, Err(Error::OutOfOrder { received: 5 })), "{start}: {refused:?}");
        let refused = content.finish_upload(&repository, id, digest(b"x"), at(start, "x"), &ada()).await;
        assert!(matches!(refused, Err(Error::OutOfOrder { received: 5 })), "{start}: {refused:?}");
    }
    let whole = digest(b"first second");
    content.finish_upload(&repository, id, whole, at(5, " second"), &ada()).await.unwrap();
    assert_eq!(stage.pull("acme/web", &whole).await.unwrap(), "first second");
}

async fn an_announced_length_is_kept(stage: &mut Stage) {
    let (content, repository) = (&stage.content, name("acme/web"));
    let id = content.start_upload(&repository, None, &ada()).await.unwrap();
    let announcing = |length, text: &'static str| Chunk { length: Some(length), ..chunk(text) };
    assert_eq!(content.append(&repository, id, announcing(3, "abc")).await.unwrap(), 3);
    let long = content.append(&repository, id, announcing(2, "defg")).await;
    assert!(matches!(long, Err(Error::SizeInvalid { announced: 2, arrived: 4 })), "{long:?}");
    let short = content.append(&repository, id, announcing(9, "fg")).await;
    assert!(matches!(short, Err(Error::SizeInvalid { announced: 9, arrived: 2 })), "{short:?}");
    content.finish_upload(&repository, id, digest(b"abcdefg"), Chunk::empty(), &ada()).await.unwrap();
}

async fn a_blob_may_be_empty(stage: &mut Stage) {
    let digest = stage.push("acme/web", "").await.unwrap();
    assert_eq!(stage.pull("acme/web", &digest).await.unwrap(), "");
    let id = stage.content.start_upload(&name("acme/api"), None, &ada()).await.unwrap();
    stage.content.finish_upload(&name("acme/api"), id, digest, Chunk::empty(), &ada()).await.unwrap();
    assert_eq!(stage.pull("acme/api", &digest).await.unwrap(), "");
    stage.is_consistent().await;
}

async fn sha512_is_hashed_as_it_comes_or_at_the_end(stage: &mut Stage) {
    let repository = name("acme/web");
    for (hint, text) in [(Some(Algorithm::Sha512), "announced"), (None, "said at the end")] {
        let digest = Digest::of(Algorithm::Sha512, text.as_bytes());
        let id = stage.content.start_upload(&repository, hint, &ada()).await.unwrap();
        stage.content.append(&repository, id, chunk(text)).await.unwrap();
        stage.content.finish_upload(&repository, id, digest, Chunk::empty(), &ada()).await.unwrap();
        assert_eq!(stage.pull("acme/web", &digest).await.unwrap(), text);
    }
    let digest = Digest::of(Algorithm::Sha512, b"at once");
    stage.content.push_blob(&repository, digest, chunk("at once"), &ada()).await.unwrap();
    assert_eq!(stage.pull("acme/web", &digest).await.unwrap(), "at once");
}

async fn other_bytes_than_named_end_the_upload(stage: &mut Stage) {
    let (content, repository) = (&stage.content, name("acme/web"));
    let id = content.start_upload(&repository, None, &ada()).await.unwrap();
    content.append(&repository, id, chunk("flour")).await.unwrap();
    let refused = content.finish_upload(&repository, id, digest(b"gold"), Chunk::empty(), &ada()).await;
    let Err(Error::DigestMismatch { expected, computed }) = refused else { panic!("{refused:?}") };
    assert_eq!((expected, computed), (digest(b"gold"), digest(b"flour")));
    assert!(matches!(content.upload_received(&repository, id).await, Err(Error::UploadUnknown)));
    let refused = content.push_blob(&repository, digest(b"gold"), chunk("flour"), &ada()).await;
    assert!(matches!(refused, Err(Error::DigestMismatch { .. })));
    assert_eq!(stage.count("SELECT count(*) FROM trash").await, 2);
    assert_eq!(stage.count("SELECT count(*) FROM blob").await, 0);
    stage.is_consistent().await;
}

async fn a_cancelled_upload_is_gone(stage: &mut Stage) {
    let (content, repository) = (&stage.content, name("acme/web"));
    let id = content.start_upload(&repository, None, &ada()).await.unwrap();
    content.append(&repository, id, chunk("never mind")).await.unwrap();
    content.cancel_upload(&repository, id).await.unwrap();
    assert!(matches!(content.cancel_upload(&repository, id).await, Err(Error::UploadUnknown)));
    assert!(matches!(content.append(&repository, id, chunk("x")).await, Err(Error::UploadUnknown)));
    assert_eq!(stage.count("SELECT count(*) FROM trash").await, 1);
    stage.is_consistent().await;
}

async fn t32_an_upload_answers_in_its_own_repository_only(stage: &mut Stage) {
    let (content, other) = (&stage.content, name("acme/other"));
    let id = content.start_upload(&name("acme/web"), None, &ada()).await.unwrap();
    stage.push("acme/other", "so that it exists").await.unwrap();
    assert!(matches!(content.upload_received(&other, id).await, Err(Error::UploadUnknown)));
    assert!(matches!(content.append(&other, id, chunk("x")).await, Err(Error::UploadUnknown)));
    assert!(matches!(content.cancel_upload(&other, id).await, Err(Error::UploadUnknown)));
    let finished = content.finish_upload(&other, id, digest(b""), Chunk::empty(), &ada()).await;
    assert!(matches!(finished, Err(Error::UploadUnknown)));
    assert_eq!(content.upload_received(&name("acme/web"), id).await.unwrap(), 0);
}

async fn an_upload_that_nobody_comes_back_for_is_unknown(stage: &mut Stage) {
    let (content, repository) = (&stage.content, name("acme/web"));
    let id = content.start_upload(&repository, None, &ada()).await.unwrap();
    stage.pass(UPLOAD_LIFE - Duration::from_secs(60));
    content.append(&repository, id, chunk("still here")).await.unwrap();
    stage.pass(UPLOAD_LIFE - Duration::from_secs(60));
    assert_eq!(content.upload_received(&repository, id).await.unwrap(), 10, "each request gives it another life");
    stage.pass(Duration::from_secs(120));
    assert!(matches!(content.upload_received(&repository, id).await, Err(Error::UploadUnknown)));
    assert!(matches!(content.append(&repository, id, chunk("x")).await, Err(Error::UploadUnknown)));
}

async fn an_upload_renews_its_life_once_a_tenth_of_it_is_gone(stage: &mut Stage) {
    let (content, repository) = (&stage.content, name("acme/web"));
    let id = content.start_upload(&repository, None, &ada()).await.unwrap();
    let first = stage.count("SELECT expires_at FROM upload").await;
    stage.pass(UPLOAD_LIFE / 10 - Duration::from_secs(60));
    content.append(&repository, id, chunk("soon")).await.unwrap();
    assert_eq!(stage.count("SELECT expires_at FROM upload").await, first, "its place in the index stays");
    stage.pass(Duration::from_secs(120));
    content.append(&repository, id, chunk("later")).await.unwrap();
    let renewed = stage.count("SELECT expires_at FROM upload").await - first;
    assert!(renewed >= (UPLOAD_LIFE / 10).as_micros() as i64, "{renewed}");
}

async fn a_large_blob_goes_through_in_batches(stage: &mut Stage) {
    let content: Vec<u8> = (0..700_000_u32).flat_map(u32::to_le_bytes).collect();
    let pieces: Vec<_> = content.chunks(60_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let body = stream::iter(pieces).boxed();
    let digest = digest(&content);
    let chunk = Chunk { start: None, length: Some(2_800_000), body };
    stage.content.push_blob(&name("acme/web"), digest, chunk, &ada()).await.unwrap();
    let blob = stage.content.open_blob(&name("acme/web"), &digest).await.unwrap();
    let reading = stage.content.read_blob(&blob, 1_000_000..1_700_000).await.unwrap();
    let read: Vec<Bytes> = futures_util::TryStreamExt::try_collect(reading).await.unwrap();
    assert!(read.concat() == content[1_000_000..1_700_000]);
}

async fn a_lost_answer_is_given_again(stage: &mut Stage) {
    let (content, repository) = (&stage.content, name("acme/web"));
    let id = content.start_upload(&repository, None, &ada()).await.unwrap();
    for _ in 0..2 {
        content.finish_upload(&repository, id, digest(b"once"), chunk("once"), &ada()).await.unwrap();
    }
    let other = content.finish_upload(&repository, id, digest(b"twice"), chunk("twice"), &ada()).await;
    assert!(matches!(other, Err(Error::UploadUnknown)), "only for what is there");
    stage.is_consistent().await;
}

async fn the_second_push_of_a_digest_is_surplus(stage: &mut Stage) {
    let digest = stage.push("acme/web", "common layer").await.unwrap();
    stage.push("acme/web", "common layer").await.unwrap();
    stage.push("acme/api", "common layer").await.unwrap();
    stage.push("other/app", "common layer").await.unwrap();
    assert_eq!(stage.count("SELECT count(*) FROM blob").await, 1);
    assert_eq!(stage.count("SELECT count(*) FROM trash").await, 3);
    assert_eq!(stage.count("SELECT max(used) FROM usage").await, 12, "each namespace counts it once");
    assert_eq!(stage.pull("other/app", &digest).await.unwrap(), "common layer");
    stage.is_consistent().await;
}
