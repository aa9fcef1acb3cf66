//! Stories of backups and of what is brought back from them.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use shared::{clock::Clock, database::Location, digest::Digest};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::stage::{Stage, ada, chunk, digest, name, on_both};
use crate::{
    content::{
        TagLimits,
        fixture::{image, push, tag},
    },
    gc::{
        Collector, Error as CollectorError, Settings,
        backup::{Backups, Error, Event, Facts, Manifest, Order},
        by_hand::{self, Deleted, Detail, Mode, Totals, Untagged},
        quarantine,
        restore::{self, Backup, Bytes, Over, Restored},
    },
    metadata::Metadata,
    store::{Store, filesystem::Filesystem},
};

on_both! {
    a_backup_holds_what_was_there_and_the_next_one_only_brings_what_is_new
    an_earlier_backup_survives_one_that_breaks_off
    a_directory_of_somebody_elses_is_left_alone
    what_is_missing_is_named_and_what_nobody_knows_is_set_aside
    what_an_earlier_restore_did_not_have_is_readable_once_it_is_there
    a_database_that_was_never_restored_costs_nothing
    nothing_is_deleted_while_a_backup_is_made
    damage_does_not_keep_a_backup_from_being_made
}

fn collector(stage: &Stage) -> Collector {
    let store = Arc::new(stage.store.clone());
    Collector::new(stage.content.metadata.clone(), store, stage.clock.clone(), Settings::default())
}

/// Collects by hand, and empties the trash.
async fn collect_by_hand(collector: &Collector) -> Result<Totals, CollectorError> {
    let (events, mut told) = mpsc::channel(8);
    let heard = tokio::spawn(async move { while told.recv().await.is_some() {} });
    let order = by_hand::Order {
        mode: Mode::Collect,
        deleted: Deleted::Kept,
        untagged: Untagged::Kept,
        detail: Detail::Totals,
    };
    let collected = collector.collect_by_hand(order, events, &CancellationToken::new()).await;
    heard.await.unwrap();
    collected
}

fn backups(stage: &Stage) -> Backups {
    Backups::new(&collector(stage), &stage.root(), stage.database_file())
}

/// Makes a backup with the bytes; answers its last event and those before it.
async fn backup(backups: &Backups, target: &Path) -> Result<(Manifest, u64, Vec<Event>), Error> {
    let (events, mut told) = mpsc::channel(1000);
    backups.make(Order { target: target.to_owned(), blobs: true }, &events).await?;
    drop(events);
    let mut heard = Vec::new();
    while let Some(event) = told.recv().await {
        heard.push(event);
    }
    match heard.pop() {
        Some(Event::Done { backup, removed }) => Ok((*backup, removed, heard)),
        other => panic!("{other:?}"),
    }
}

/// An image of one layer under a tag.
async fn tagged(stage: &Stage, tagged: &str, layer: &str) -> Digest {
    stage.push("acme/web", layer).await.unwrap();
    stage.content.put_manifest(push("acme/web", tag(tagged), &image(layer, &[]))).await.unwrap().digest
}

/// Files below a directory, by their paths in it.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn room() -> (TempDir, PathBuf) {
    let room = tempfile::tempdir().unwrap();
    let target = room.path().join("backup");
    (room, target)
}

async fn a_backup_holds_what_was_there_and_the_next_one_only_brings_what_is_new(stage: &mut Stage) {
    let (_room, target) = room();
    let backups = backups(stage);
    tagged(stage, "v1", "one").await;
    stage.push("acme/web", "two").await.unwrap();
    let (first, removed, _) = backup(&backups, &target).await.unwrap();
    let blobs = first.blobs.unwrap();
    assert_eq!((blobs.files, blobs.linked, blobs.copied, blobs.missing, removed), (2, 2, 0, 0, 0));
    assert_eq!(
        (first.counts.repositories, first.counts.manifests, first.counts.tags, first.counts.blobs),
        (1, 1, 1, 2)
    );
    assert!(first.schema > 0 && first.facts_at >= first.begun_at && first.finished_at >= first.facts_at);
    let facts = if stage.database_file().is_some() { (Facts::Sqlite, 1) } else { (Facts::Postgresql, 0) };
    assert_eq!((first.database, first.files.len()), facts);
    for file in files(&target.join("facts")) {
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
    }
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o700);
    for file in files(&target.join("blobs")) {
        assert_eq!(fs::metadata(&file).unwrap().nlink(), 2, "a second name and no copy");
    }
    assert_eq!(Manifest::read(&target).unwrap().unwrap(), first);

    // The blob that no manifest names goes, another comes.
    stage.content.delete_blob(&name("acme/web"), &digest(b"two"), &TagLimits::Everything).await.unwrap();
    collect_by_hand(&collector(stage)).await.unwrap();
    tagged(stage, "v2", "three").await;
    let (second, removed, _) = backup(&backups, &target).await.unwrap();
    let blobs = second.blobs.unwrap();
    assert_eq!((blobs.linked, blobs.already, removed), (1, 1, 1));
    assert_eq!(files(&target.join("blobs")).len(), 2, "what nothing speaks of is gone");
    assert_eq!(fs::read_dir(target.join("facts")).unwrap().count(), 1, "and so are the earlier facts");
    assert!(!target.join("backup.unfinished").exists());
}

async fn an_earlier_backup_survives_one_that_breaks_off(stage: &mut Stage) {
    let (_room, target) = room();
    let backups = backups(stage);
    tagged(stage, "v1", "one").await;
    let (first, ..) = backup(&backups, &target).await.unwrap();
    tagged(stage, "v2", "two").await;
    let (events, told) = mpsc::channel(1000);
    drop(told);
    let order = Order { target: target.clone(), blobs: true };
    assert!(matches!(backups.make(order, &events).await, Err(Error::Stopped)), "nobody listens");
    let manifest = Manifest::read(&target).unwrap().unwrap();
    assert_eq!(manifest, first);
    for file in &manifest.files {
        file.verify(&target.join(&file.path)).unwrap();
    }
    assert_eq!(fs::read_dir(target.join("facts")).unwrap().count(), 1);
    let (second, ..) = backup(&backups, &target).await.unwrap();
    assert_eq!(second.counts.tags, 2);
}

async fn a_directory_of_somebody_elses_is_left_alone(stage: &mut Stage) {
    let (room, target) = room();
    let backups = backups(stage);
    let refused = async |target: &Path| backup(&backups, target).await.unwrap_err();
    fs::create_dir(&target).unwrap();
    fs::write(target.join("thesis.tex"), "years of work").unwrap();
    assert!(matches!(refused(&target).await, Error::Foreign(_)));
    assert!(matches!(refused(Path::new("relative")).await, Error::Relative(_)));
    assert!(matches!(refused(&stage.root().join("backup")).await, Error::WithinItself(_)));
    assert!(matches!(refused(&stage.root()).await, Error::WithinItself(_)));
    assert!(matches!(refused(stage.root().parent().unwrap()).await, Error::WithinItself(_)));
    assert!(matches!(refused(&room.path().join("not/made")).await, Error::Target { .. }), "a disk that is not mounted");
    assert_eq!(files(&target), [target.join("thesis.tex")]);
    let other = room.path().join("other");
    backup(&backups, &other).await.unwrap();
    let elsewhere = Stage::sqlite().await;
    let theirs = self::backups(&elsewhere);
    let error = backup(&theirs, &other).await.unwrap_err();
    assert!(matches!(error, Error::AnothersBackup { .. }), "{error}");
    elsewhere.clear().await;
    // A directory whose files are the live ones, by another name.
    let sly = room.path().join("sly");
    fs::create_dir(&sly).unwrap();
    std::os::unix::fs::symlink(stage.root().join("blobs"), sly.join("blobs")).unwrap();
    assert!(matches!(refused(&sly).await, Error::WithinItself(_)));
}

async fn bring_in_line(
    stage: &Stage,
    backup: Option<&Path>,
) -> Result<(Restored, Vec<restore::Event>), restore::Error> {
    let (metadata, store) = (&stage.content.metadata, Arc::new(stage.store.clone()));
    let mut events = Vec::new();
    let root = stage.root();
    let bytes = Bytes { metadata, store, clock: stage.clock.clone(), data: &root, backup };
    bytes.check_facts().await?;
    let restored = bytes.bring_in_line(&mut |event| events.push(event)).await?;
    Ok((restored, events))
}

async fn what_is_missing_is_named_and_what_nobody_knows_is_set_aside(stage: &mut Stage) {
    let (_room, target) = room();
    let manifest = tagged(stage, "v1", "lost").await;
    let kept = tagged(stage, "v2", "kept").await;
    tagged(stage, "v3", "in the backup").await;
    backup(&backups(stage), &target).await.unwrap();
    let upload = stage.content.start_upload(&name("acme/web"), None, &ada()).await.unwrap();
    stage.content.append(&name("acme/web"), upload, chunk("half a")).await.unwrap();
    let unfinished = stage.file("SELECT storage_key FROM upload").await;
    // A push after the database was copied: bytes that no fact speaks of.
    let stray = stage.push("acme/web", "pushed since").await.unwrap();
    let stray_file = stage.file("SELECT storage_key FROM blob WHERE size = 12").await;
    stage.tamper("DELETE FROM link WHERE blob_id = (SELECT id FROM blob WHERE size = 12)").await;
    stage.tamper("DELETE FROM namespace_blob WHERE blob_id = (SELECT id FROM blob WHERE size = 12)").await;
    stage.tamper("UPDATE usage SET used = used - 12").await;
    stage.tamper("DELETE FROM blob WHERE size = 12").await;
    let lost = stage.file("SELECT storage_key FROM blob WHERE size = 4 AND id = (SELECT min(id) FROM blob)").await;
    let in_backup = stage.file("SELECT storage_key FROM blob WHERE size = 13").await;
    let copy_of_lost = target.join(lost.strip_prefix(stage.root()).unwrap());
    // Bytes of the right length that rotted in the backup are no better than none.
    fs::remove_file(&lost).unwrap();
    fs::remove_file(&copy_of_lost).unwrap();
    fs::write(&copy_of_lost, "rot!").unwrap();
    fs::remove_file(&in_backup).unwrap();

    let (restored, events) = bring_in_line(stage, Some(&target)).await.unwrap();
    assert_eq!((restored.uploads, restored.quarantined.files, restored.quarantined.bytes), (1, 2, 18));
    let blobs = restored.blobs;
    assert_eq!((blobs.already, blobs.linked + blobs.copied, blobs.missing), (1, 1, 1));
    let missing = events.iter().find_map(|event| match event {
        restore::Event::Missing { digest, reason, named_by, .. } => Some((digest, reason, named_by)),
        _ => None,
    });
    let (missing, reason, named_by) = missing.unwrap();
    assert_eq!(*missing, digest(b"lost").to_string());
    assert!(reason.as_ref().unwrap().contains("hash to"), "{reason:?}");
    assert_eq!(
        (named_by.len(), named_by[0].repository.as_str(), named_by[0].tag.as_deref()),
        (1, "acme/web", Some("v1"))
    );
    assert_eq!(named_by[0].manifest, manifest.to_string());
    for file in [&stray_file, &unfinished] {
        let aside = stage.root().join("quarantine").join(file.strip_prefix(stage.root()).unwrap());
        assert!(!file.exists() && aside.exists(), "{}", aside.display());
    }
    assert!(!stage.holds("acme/web", &stray).await);
    assert_eq!(stage.texts("SELECT state FROM blob WHERE id = (SELECT min(id) FROM blob)").await, ["damaged"]);
    assert_eq!(stage.pull("acme/web", &digest(b"in the backup")).await.unwrap(), "in the backup");
    assert_ne!(kept, manifest);

    // Again changes nothing, and the next push heals.
    let (again, _) = bring_in_line(stage, None).await.unwrap();
    assert_eq!((again.uploads, again.quarantined.files, again.blobs.missing, again.blobs.already), (0, 0, 1, 2));
    stage.push("acme/web", "lost").await.unwrap();
    assert_eq!(stage.pull("acme/web", &digest(b"lost")).await.unwrap(), "lost");
    assert_eq!(quarantine::strays(&stage.content.metadata, &stage.store, None).await.unwrap().unwrap().0, []);
    // Not before: until somebody pushes what is lost the doctor says so.
    stage.is_consistent().await;
}

/// A restore without the disk of the backup, and then one with it.
async fn what_an_earlier_restore_did_not_have_is_readable_once_it_is_there(stage: &mut Stage) {
    let (_room, target) = room();
    for layer in ["lost", "rotten", "was away"] {
        tagged(stage, &layer.replace(' ', "-"), layer).await;
    }
    backup(&backups(stage), &target).await.unwrap();
    let lost = stage.file("SELECT storage_key FROM blob WHERE size = 4").await;
    let rotten = stage.file("SELECT storage_key FROM blob WHERE size = 6").await;
    fs::remove_file(&lost).unwrap();
    // A file of its own: the backup's has the same bytes still.
    fs::remove_file(&rotten).unwrap();
    fs::write(&rotten, "ROTTEN").unwrap();
    stage.tamper("UPDATE blob SET state = 'damaged' WHERE size IN (6, 8)").await;
    stage.content.metadata.blobs().forget_all();
    let (without, _) = bring_in_line(stage, None).await.unwrap();
    assert_eq!(
        (without.blobs.missing, without.blobs.already),
        (2, 1),
        "of what is there it reads what is said to be damaged"
    );
    assert_eq!(stage.pull("acme/web", &digest(b"was away")).await.unwrap(), "was away");
    assert!(!stage.holds("acme/web", &digest(b"lost")).await);

    let (with, _) = bring_in_line(stage, Some(&target)).await.unwrap();
    assert_eq!((with.blobs.missing, with.blobs.already, with.blobs.linked + with.blobs.copied), (0, 1, 2));
    for layer in ["lost", "rotten"] {
        assert_eq!(stage.pull("acme/web", &digest(layer.as_bytes())).await.unwrap(), layer);
    }
    stage.is_consistent().await;
}

async fn a_database_that_was_never_restored_costs_nothing(stage: &mut Stage) {
    assert_eq!(bring_in_line(stage, None).await.unwrap().0, Restored::default(), "an empty registry is in line");
    let key = crate::store::StorageKey::fresh();
    stage.store.put(&key, "somebody's image".into()).await.unwrap();
    assert!(matches!(bring_in_line(stage, None).await, Err(restore::Error::NoFacts)));
    assert_eq!(stage.store.size(&key).await.unwrap(), Some(16));
    stage.store.delete(&[key]).await.unwrap();
}

async fn nothing_is_deleted_while_a_backup_is_made(stage: &mut Stage) {
    let (_room, target) = room();
    let collector = collector(stage);
    let backups = Backups::new(&collector, &stage.root(), stage.database_file());
    tagged(stage, "v1", "one").await;
    let gone = stage.push("acme/web", "gone").await.unwrap();
    // As many events before the bytes are brought as it takes to stand still there.
    let keys: &[&str] = if stage.database_file().is_some() { &["a"] } else { &["a", "b"] };
    fs::create_dir(stage.root().join("keys")).unwrap();
    keys.iter().for_each(|key| fs::write(stage.root().join("keys").join(key), key).unwrap());
    let (events, mut told) = mpsc::channel(1);
    let order = Order { target: target.clone(), blobs: true };
    let making = tokio::spawn({
        let (backups, events) = (backups.clone(), events.clone());
        async move { backups.make(order, &events).await }
    });
    told.recv().await.unwrap();
    while events.capacity() > 0 {
        tokio::task::yield_now().await;
    }
    drop(events);
    stage.content.delete_blob(&name("acme/web"), &gone, &TagLimits::Everything).await.unwrap();
    assert!(matches!(collect_by_hand(&collector).await, Err(CollectorError::BackupRuns)));
    assert_eq!(collector.sweep(&CancellationToken::new()).await.unwrap().keys, 0);
    let order = Order { target: target.with_extension("other"), blobs: false };
    let (elsewhere, _told) = mpsc::channel(1);
    assert!(matches!(backups.make(order, &elsewhere).await, Err(Error::AnotherRuns)));
    let mut last = None;
    while let Some(event) = told.recv().await {
        last = Some(event);
    }
    making.await.unwrap().unwrap();
    let Some(Event::Done { backup, .. }) = last else { panic!("{last:?}") };
    let blobs = backup.blobs.unwrap();
    assert_eq!((blobs.files, blobs.missing), (2, 0), "what went meanwhile is in it");
    assert_eq!(collect_by_hand(&collector).await.unwrap().bytes, 4);
}

async fn damage_does_not_keep_a_backup_from_being_made(stage: &mut Stage) {
    let (_room, target) = room();
    let lost = stage.push("acme/web", "lost").await.unwrap();
    fs::remove_file(stage.file("SELECT storage_key FROM blob").await).unwrap();
    let (manifest, _, events) = backup(&backups(stage), &target).await.unwrap();
    assert_eq!((manifest.blobs.unwrap().missing, manifest.blobs.unwrap().files), (1, 0));
    assert!(events.contains(&Event::Missing { digest: lost.to_string(), size: 4 }), "{events:?}");
}

/// A registry of a data directory as it stands on a disk: `blobs/` and `registry.db`.
struct Standing {
    metadata: Metadata,
    store: Filesystem,
}

impl Standing {
    async fn open(data: &Path) -> Self {
        let location = Location::Sqlite { path: data.join("registry.db") };
        let metadata = Metadata::open(&location, Clock::system()).await.unwrap();
        Self { metadata, store: Filesystem::open(data).unwrap() }
    }
}

#[tokio::test]
async fn a_backup_is_put_in_place_whole_or_not_at_all() {
    let stage = Stage::sqlite().await;
    let (room, target) = room();
    tagged(&stage, "v1", "one").await;
    fs::create_dir(stage.root().join("keys")).unwrap();
    fs::write(stage.root().join("keys/master"), "secret").unwrap();
    let (manifest, ..) = backup(&backups(&stage), &target).await.unwrap();
    assert_eq!(
        manifest.files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(),
        ["keys/master", "registry.db"]
    );

    let data = room.path().join("data");
    fs::create_dir(&data).unwrap();
    let backup = Backup::open(&target).unwrap();
    let now = stage.clock.now();
    assert_eq!(backup.place(&data, Over::Nothing, now).unwrap().aside, None);
    assert_eq!(fs::read(data.join("keys/master")).unwrap(), b"secret");
    assert_eq!(fs::metadata(data.join("keys/master")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!data.join("restore.part").exists());
    let standing = Standing::open(&data).await;
    let bytes = Bytes {
        metadata: &standing.metadata,
        store: Arc::new(standing.store.clone()),
        clock: Clock::system(),
        data: &data,
        backup: Some(&target),
    };
    let restored = bytes.bring_in_line(&mut |_| {}).await.unwrap();
    assert_eq!((restored.blobs.linked, restored.blobs.missing), (1, 0));
    standing.metadata.close().await;

    assert!(matches!(backup.place(&data, Over::Nothing, now), Err(restore::Error::NotEmpty(_))));
    let before = files(&data);
    let file = &manifest.files[1];
    let copy = target.join(&file.path);
    let mut rotten = fs::read(&copy).unwrap();
    rotten[100] ^= 1;
    fs::write(&copy, &rotten).unwrap();
    let error = backup.place(&data, Over::WhatIsThere, now).unwrap_err();
    assert!(error.to_string().contains("registry.db in the backup: it is not what was written"), "{error}");
    assert_eq!(files(&data), before, "nothing was touched");
    rotten[100] ^= 1;
    fs::write(&copy, &rotten).unwrap();
    fs::write(data.join("registry.db-wal"), "a log that belongs to the old one").unwrap();
    let aside = backup.place(&data, Over::WhatIsThere, now).unwrap().aside.unwrap();
    assert!(!data.join("registry.db-wal").exists() && aside.join("registry.db-wal").exists());
    assert!(aside.join("registry.db").exists());
    assert!(data.join("keys/master").exists() && !aside.join("keys").exists(), "no accounts came with the keys");
    stage.clear().await;
}

/// The accounts are in PostgreSQL: they know the keys of today, not those of the backup.
#[tokio::test]
async fn keys_come_back_with_their_accounts_or_where_there_are_none() {
    let stage = Stage::sqlite().await;
    let (room, target) = room();
    let keys = stage.root().join("keys");
    fs::create_dir(&keys).unwrap();
    fs::write(keys.join("master"), "of that day").unwrap();
    backup(&backups(&stage), &target).await.unwrap();
    let (whole, now) = (Backup::open(&target).unwrap(), stage.clock.now());
    let data = room.path().join("data");
    fs::create_dir(&data).unwrap();
    assert!(whole.place(&data, Over::Nothing, now).unwrap().has_keys(), "there were none");
    let master = data.join("keys/master");
    fs::write(&master, "of today").unwrap();
    assert!(!whole.place(&data, Over::WhatIsThere, now).unwrap().has_keys());
    assert_eq!(fs::read(&master).unwrap(), b"of today");
    assert!(!data.join("restore.part").exists());

    fs::write(stage.root().join("auth.db"), "").unwrap();
    backup(&backups(&stage), &target).await.unwrap();
    let whole = Backup::open(&target).unwrap();
    for (path, mode) in [(data.join("keys"), 0o750), (master.clone(), 0o640)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let later = now + std::time::Duration::from_secs(1);
    assert!(whole.place(&data, Over::WhatIsThere, later).unwrap().has_keys());
    assert_eq!(fs::read(&master).unwrap(), b"of that day");
    for (path, mode) in [(data.join("keys"), 0o750), (master, 0o640)] {
        let found = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{}: who could read it can", path.display());
    }
    stage.clear().await;
}

#[tokio::test]
async fn a_manifest_leads_nowhere_else() {
    let stage = Stage::sqlite().await;
    let (_room, target) = room();
    backup(&backups(&stage), &target).await.unwrap();
    let path = target.join("backup.json");
    let genuine: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let with = |pointer: &str, value: serde_json::Value| {
        let mut changed = genuine.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        fs::write(&path, changed.to_string()).unwrap();
        Backup::open(&target).map(drop)
    };
    with("/program", "9.9".into()).unwrap();
    for (pointer, value) in [
        ("/files/0/path", "../../../etc/shadow"),
        ("/files/0/path", "/etc/shadow"),
        ("/files/0/name", "../registry.db"),
        ("/files/0/name", "keys/../../x"),
        ("/files/0/name", "lock"),
        ("/format", "somebody-elses"),
    ] {
        with(pointer, value.into()).unwrap_err();
    }
    with("/format_version", 2.into()).unwrap_err();
    with("/files", serde_json::json!([])).unwrap_err();
    fs::write(&path, "{").unwrap();
    Backup::open(&target).unwrap_err();
    fs::remove_file(&path).unwrap();
    assert!(matches!(Backup::open(&target), Err(restore::Error::NoBackup(_))));
    stage.clear().await;
}
