//! What a start refuses.

use std::fs;

use super::*;

async fn start(data: &Path) -> Result<Auth, StartError> {
    Auth::build(&Settings::default(), data, Clock::system()).await
}

/// The names below the directory's `keys`.
fn keys(data: &Path) -> Vec<String> {
    let listed = fs::read_dir(data.join("keys")).unwrap();
    let mut names: Vec<String> = listed.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_database_that_hangs_on_another_master_key_is_not_started_on() {
    let home = tempfile::tempdir().unwrap();
    let (data, other) = (home.path().join("data"), home.path().join("other"));
    for directory in [&data, &other] {
        fs::create_dir_all(directory.join("keys")).unwrap();
        drop(start(directory).await.unwrap());
    }
    let (kept, master) = (home.path().join("kept"), data.join("keys/master"));
    let before = keys(&data);
    fs::rename(&master, &kept).unwrap();
    fs::copy(other.join("keys/master"), &master).unwrap();
    assert!(matches!(start(&data).await, Err(StartError::OtherMasterKey { .. })));
    fs::rename(&kept, &master).unwrap();
    assert_eq!(keys(&data), before);
    start(&data).await.unwrap();
}

/// Keys that are made anew would be taken for those that belong there.
#[tokio::test]
async fn without_the_master_key_of_its_database_no_key_is_made() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path();
    fs::create_dir_all(data.join("keys")).unwrap();
    drop(start(data).await.unwrap());
    fs::remove_dir_all(data.join("keys")).unwrap();
    fs::create_dir_all(data.join("keys")).unwrap();
    let refused = start(data).await.err().unwrap().to_string();
    assert!(refused.contains("keys/master is another: restore it from a backup"), "{refused}");
    assert!(keys(data).is_empty(), "{:?}", keys(data));
}
