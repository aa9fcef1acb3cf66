//! What every store keeps to, as one suite over any of them.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use shared::digest::{Algorithm, Digest, Hasher};

use super::{Found, StorageKey, Store, StoreError};

/// Runs the whole contract against a store that holds nothing yet.
pub(crate) async fn holds(store: Arc<dyn Store>) {
    let store = &*store;
    bytes_written_in_pieces_read_back_in_ranges(store).await;
    a_key_is_used_once(store).await;
    an_upload_is_reopened_where_it_stood(store).await;
    finish_cuts_what_nobody_recorded(store).await;
    finish_refuses_a_hole(store).await;
    an_empty_upload_is_empty(store).await;
    what_is_missing_is_named(store).await;
    deleting_twice_is_deleting(store).await;
    what_is_set_aside_is_gone(store).await;
    listing_pages_through_everything(store).await;
    large_bytes_survive_whole(store).await;
}

async fn read(store: &dyn Store, key: &StorageKey, range: std::ops::Range<u64>) -> Result<Vec<u8>, StoreError> {
    let reading = store.read(key, range.clone()).await?;
    assert_eq!(reading.remaining(), range.end - range.start);
    let chunks: Vec<Bytes> = reading.try_collect().await.unwrap();
    Ok(chunks.concat())
}

fn sha256() -> Hasher {
    Hasher::new(Algorithm::Sha256)
}

async fn bytes_written_in_pieces_read_back_in_ranges(store: &dyn Store) {
    let key = StorageKey::fresh();
    let mut upload = store.upload(&key, Found::Nothing);
    let pieces = vec![Bytes::from_static(b"on "), Bytes::new(), Bytes::from_static(b"the ")];
    let hasher = upload.write(0, pieces, sha256()).await.unwrap();
    let hasher = upload.write(7, vec![Bytes::from_static(b"quay")], hasher).await.unwrap();
    upload.finish(11).await.unwrap();
    assert_eq!(hasher.length(), 11);
    assert_eq!(hasher.finish(), Digest::of(Algorithm::Sha256, b"on the quay"));
    assert_eq!(read(store, &key, 0..11).await.unwrap(), b"on the quay");
    assert_eq!(read(store, &key, 3..6).await.unwrap(), b"the");
    assert_eq!(read(store, &key, 10..11).await.unwrap(), b"y");
    assert_eq!(read(store, &key, 4..4).await.unwrap(), b"");
    assert_eq!(store.size(&key).await.unwrap(), Some(11));
}

async fn a_key_is_used_once(store: &dyn Store) {
    let key = StorageKey::fresh();
    store.put(&key, Bytes::from_static(b"first")).await.unwrap();
    let mut upload = store.upload(&key, Found::Nothing);
    assert!(matches!(upload.finish(0).await, Err(StoreError::AlreadyExists(taken)) if taken == key));
    let again = store.put(&key, Bytes::from_static(b"second")).await;
    assert!(matches!(again, Err(StoreError::AlreadyExists(_))));
    assert_eq!(read(store, &key, 0..5).await.unwrap(), b"first");
}

async fn an_upload_is_reopened_where_it_stood(store: &dyn Store) {
    let key = StorageKey::fresh();
    let mut upload = store.upload(&key, Found::Nothing);
    upload.write(0, vec![Bytes::from_static(b"half ")], sha256()).await.unwrap();
    drop(upload);
    for found in [Found::Bytes, Found::Unknown] {
        let short = store.upload(&key, found).write(6, vec![Bytes::from_static(b"too far")], sha256()).await;
        assert!(matches!(short, Err(StoreError::TooShort { expected: 6, found: 5, .. })));
    }
    let mut upload = store.upload(&key, Found::Bytes);
    let hasher = upload.hash(Algorithm::Sha512, 5).await.unwrap();
    let hasher = upload.write(5, vec![Bytes::from_static(b"whole")], hasher).await.unwrap();
    assert_eq!(hasher.finish(), Digest::of(Algorithm::Sha512, b"half whole"));
    upload.finish(10).await.unwrap();
    assert_eq!(read(store, &key, 0..10).await.unwrap(), b"half whole");
}

async fn finish_cuts_what_nobody_recorded(store: &dyn Store) {
    let key = StorageKey::fresh();
    let mut upload = store.upload(&key, Found::Nothing);
    upload.write(0, vec![Bytes::from_static(b"kept, lost")], sha256()).await.unwrap();
    assert_eq!(upload.hash(Algorithm::Sha256, 4).await.unwrap().finish(), Digest::of(Algorithm::Sha256, b"kept"));
    upload.finish(4).await.unwrap();
    assert_eq!(store.size(&key).await.unwrap(), Some(4));
}

async fn finish_refuses_a_hole(store: &dyn Store) {
    let key = StorageKey::fresh();
    let mut upload = store.upload(&key, Found::Nothing);
    upload.write(0, vec![Bytes::from_static(b"abc")], sha256()).await.unwrap();
    assert!(matches!(upload.finish(5).await, Err(StoreError::TooShort { expected: 5, found: 3, .. })));
    assert!(matches!(upload.hash(Algorithm::Sha256, 4).await, Err(StoreError::TooShort { expected: 4, found: 3, .. })));
}

async fn an_empty_upload_is_empty(store: &dyn Store) {
    for found in [Found::Nothing, Found::Unknown] {
        let key = StorageKey::fresh();
        let mut upload = store.upload(&key, found);
        assert_eq!(store.size(&key).await.unwrap(), None, "nothing is opened before the first step");
        let hasher = upload.write(0, Vec::new(), sha256()).await.unwrap();
        upload.finish(0).await.unwrap();
        assert_eq!(hasher.finish(), Digest::of(Algorithm::Sha256, b""));
        assert_eq!(read(store, &key, 0..0).await.unwrap(), b"");
        let alone = StorageKey::fresh();
        store.upload(&alone, found).finish(0).await.unwrap();
        assert_eq!(store.size(&alone).await.unwrap(), Some(0), "to finish alone makes it");
    }
}

async fn what_is_missing_is_named(store: &dyn Store) {
    let missing = StorageKey::fresh();
    assert!(matches!(store.read(&missing, 0..1).await, Err(StoreError::NotFound(key)) if key == missing));
    let mut upload = store.upload(&missing, Found::Bytes);
    assert!(matches!(upload.write(0, Vec::new(), sha256()).await, Err(StoreError::NotFound(key)) if key == missing));
    assert!(matches!(upload.finish(0).await, Err(StoreError::NotFound(key)) if key == missing));
    assert_eq!(store.size(&missing).await.unwrap(), None);
    let short = StorageKey::fresh();
    store.put(&short, Bytes::from_static(b"abc")).await.unwrap();
    assert!(matches!(store.read(&short, 1..4).await, Err(StoreError::TooShort { expected: 4, found: 3, .. })));
    for outside in ["../outside", "/etc/hostname", "", "blobs/../../x"] {
        let key = StorageKey::stored(outside);
        assert!(matches!(store.read(&key, 0..1).await, Err(StoreError::NotFound(_))), "{outside:?}");
        assert!(store.upload(&key, Found::Unknown).finish(0).await.is_err(), "{outside:?}");
        store.delete(&[key]).await.unwrap();
    }
}

async fn deleting_twice_is_deleting(store: &dyn Store) {
    let keys: Vec<_> = (0..3).map(|_| StorageKey::fresh()).collect();
    for key in &keys[..2] {
        store.put(key, Bytes::from_static(b"rubbish")).await.unwrap();
    }
    store.delete(&keys).await.unwrap();
    store.delete(&keys).await.unwrap();
    for key in &keys {
        assert_eq!(store.size(key).await.unwrap(), None);
    }
}

async fn what_is_set_aside_is_gone(store: &dyn Store) {
    let (key, stays) = (StorageKey::fresh(), StorageKey::fresh());
    for key in [&key, &stays] {
        store.put(key, Bytes::from_static(b"whose?")).await.unwrap();
    }
    for there in [true, false] {
        assert_eq!(store.set_aside(&key, "a line").await.unwrap(), there);
        assert_eq!(store.size(&key).await.unwrap(), None);
    }
    let listed = store.list(None, 1000).await.unwrap();
    assert!(listed.iter().all(|listed| listed.key != key), "{listed:?}");
    assert_eq!(read(store, &stays, 0..6).await.unwrap(), b"whose?");
    store.delete(&[stays]).await.unwrap();
}

async fn listing_pages_through_everything(store: &dyn Store) {
    let before = store.list(None, 10_000).await.unwrap();
    store.delete(&before.into_iter().map(|listed| listed.key).collect::<Vec<_>>()).await.unwrap();
    let mut keys: Vec<_> = (0..25).map(|_| StorageKey::fresh()).collect();
    for (size, key) in keys.iter().enumerate() {
        store.put(key, Bytes::from(vec![0; size])).await.unwrap();
    }
    let largest = keys[24].clone();
    keys.sort();
    let mut found = Vec::new();
    loop {
        let page = store.list(found.last().map(|listed: &super::Listed| &listed.key), 4).await.unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 4);
        found.extend(page);
    }
    assert!(found.iter().map(|listed| &listed.key).eq(&keys), "{found:?}");
    assert!(found.iter().any(|listed| listed.key == largest && listed.size == 24));
}

async fn large_bytes_survive_whole(store: &dyn Store) {
    let content: Vec<u8> = (0..1_500_000_u32).flat_map(u32::to_le_bytes).collect();
    let key = StorageKey::fresh();
    let mut upload = store.upload(&key, Found::Nothing);
    // More pieces than the kernel takes in one call.
    let pieces = content.chunks(3001).map(Bytes::copy_from_slice).collect();
    let hasher = upload.write(0, pieces, sha256()).await.unwrap();
    upload.finish(content.len() as u64).await.unwrap();
    assert_eq!(hasher.finish(), Digest::of(Algorithm::Sha256, &content));
    assert_eq!(read(store, &key, 0..content.len() as u64).await.unwrap(), content);
    assert_eq!(read(store, &key, 262_143..600_001).await.unwrap(), content[262_143..600_001]);
}
