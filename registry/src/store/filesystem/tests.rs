use futures_util::TryStreamExt;
use shared::digest::{Algorithm, Hasher};
use std::os::unix::fs::FileExt;

use super::*;
use crate::store::contract;

fn store() -> (tempfile::TempDir, Filesystem) {
    let directory = tempfile::tempdir().unwrap();
    let store = Filesystem::open(directory.path()).unwrap();
    (directory, store)
}

#[tokio::test]
async fn it_keeps_the_contract() {
    let (_directory, store) = store();
    contract::holds(Arc::new(store)).await;
}

#[tokio::test]
async fn a_second_start_finds_what_the_first_left() {
    let (directory, store) = store();
    let key = StorageKey::fresh();
    store.put(&key, Bytes::from_static(b"cargo")).await.unwrap();
    assert!(directory.path().join(key.as_str()).is_file(), "the key is the path");
    let again = Filesystem::open(directory.path()).unwrap();
    assert_eq!(again.size(&key).await.unwrap(), Some(5));
}

#[tokio::test]
async fn a_file_that_loses_its_end_ends_the_body_with_an_error() {
    let (directory, store) = store();
    let key = StorageKey::fresh();
    store.put(&key, Bytes::from(vec![7; 600_000])).await.unwrap();
    let reading = store.read(&key, 0..600_000).await.unwrap();
    File::options().write(true).open(directory.path().join(key.as_str())).unwrap().set_len(300_000).unwrap();
    let failure = reading.try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(failure.kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn bytes_that_are_in_no_cache_are_read_by_a_blocking_thread() {
    let (directory, store) = store();
    let key = StorageKey::fresh();
    let content: Vec<u8> = (0..2_000_000_u32).map(|n| (n % 251) as u8).collect();
    store.put(&key, Bytes::from(content.clone())).await.unwrap();
    let file = File::open(directory.path().join(key.as_str())).unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let chunks: Vec<Bytes> = store.read(&key, 0..2_000_000).await.unwrap().try_collect().await.unwrap();
    assert!(chunks.concat() == content);
}

#[tokio::test]
async fn a_write_goes_on_after_its_waiter_is_gone() {
    let (directory, store) = store();
    let key = StorageKey::fresh();
    let mut upload = store.upload(&key, Found::Nothing);
    {
        let mut writing = upload.write(0, vec![Bytes::from(vec![1; 400_000])], Hasher::new(Algorithm::Sha256));
        // One poll hands the job over; then the waiter goes.
        let _ = futures_util::poll!(&mut writing);
    }
    // The job makes the file: ask until it is there, and whole.
    let path = directory.path().join(key.as_str());
    while !path.exists() {
        tokio::task::yield_now().await;
    }
    let file = File::open(path).unwrap();
    let mut last = [0];
    while file.read_at(&mut last, 399_999).unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(last, [1]);
}
