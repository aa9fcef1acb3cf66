//! Stories of mounts, by name and without one.

use super::*;
use crate::{
    content::{Promise, TagLimits},
    metadata::fixture::EmptyRepositories,
    stories::stage::{Stage, ada, digest, name, on_both},
};

on_both! {
    a_blob_is_mounted_from_a_named_repository
    what_the_source_does_not_hold_is_not_mounted
    a_mount_makes_its_repository
    a_mount_without_a_name_finds_what_may_be_read
    a_mount_without_a_name_finds_its_own_repository_first
    a_mount_without_a_name_looks_at_as_many_links_as_the_limit_says
    a_damaged_blob_is_not_mounted
    mounts_and_deletions_beside_each_other_keep_the_books
}

fn readable(allow: &[&str], deny: &[&str]) -> Readable {
    let patterns = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    Readable { allow: patterns(allow), deny: patterns(deny), within: None }
}

async fn a_blob_is_mounted_from_a_named_repository(stage: &mut Stage) {
    let digest = stage.push("acme/web", "layer").await.unwrap();
    let (into, from) = (name("other/app"), name("acme/web"));
    assert_eq!(stage.content.mount(&into, &from, &digest, &ada()).await.unwrap(), Mounted::Linked);
    assert_eq!(stage.pull("other/app", &digest).await.unwrap(), "layer");
    assert_eq!(stage.count("SELECT count(*) FROM blob").await, 1);
    assert_eq!(stage.count("SELECT count(*) FROM link WHERE leased_by = 'ada'").await, 2, "a mount promises too");
    assert_eq!(stage.content.mount(&into, &from, &digest, &ada()).await.unwrap(), Mounted::Linked, "again");
    stage.is_consistent().await;
}

async fn what_the_source_does_not_hold_is_not_mounted(stage: &mut Stage) {
    let digest = stage.push("acme/web", "layer").await.unwrap();
    stage.push("acme/api", "something else").await.unwrap();
    for from in ["acme/api", "acme/nowhere"] {
        let mounted = stage.content.mount(&name("other/app"), &name(from), &digest, &ada()).await.unwrap();
        assert_eq!(mounted, Mounted::No, "{from}");
    }
    let unknown = self::digest(b"unknown");
    let mounted = stage.content.mount(&name("other/app"), &name("acme/web"), &unknown, &ada()).await.unwrap();
    assert_eq!(mounted, Mounted::No);
    assert!(!stage.holds("other/app", &digest).await);
    assert_eq!(stage.count("SELECT count(*) FROM repository").await, 2, "a refused mount makes no repository");
}

async fn a_mount_makes_its_repository(stage: &mut Stage) {
    let digest = stage.push("acme/web", "layer").await.unwrap();
    stage.content.mount(&name("new/app"), &name("acme/web"), &digest, &ada()).await.unwrap();
    assert_eq!(stage.texts("SELECT name FROM namespace ORDER BY name").await, ["acme", "new"]);
    assert_eq!(stage.count("SELECT min(used) FROM usage").await, 5);
}

async fn a_mount_without_a_name_finds_what_may_be_read(stage: &mut Stage) {
    let digest = stage.push("acme/secret", "layer").await.unwrap();
    let into = name("other/app");
    let mount =
        async |readable: Readable| stage.content.mount_readable(&into, &digest, &readable, &ada()).await.unwrap();
    assert_eq!(mount(readable(&["acme/public/**"], &[])).await, Mounted::No);
    assert_eq!(mount(readable(&["acme/**"], &["acme/secret"])).await, Mounted::No);
    assert_eq!(mount(Readable { within: Some(vec![]), ..readable(&["acme/**"], &[]) }).await, Mounted::No);
    stage.push("acme/open", "layer").await.unwrap();
    assert_eq!(mount(readable(&["acme/open"], &[])).await, Mounted::Linked);
    assert_eq!(stage.pull("other/app", &digest).await.unwrap(), "layer");
}

async fn a_mount_without_a_name_finds_its_own_repository_first(stage: &mut Stage) {
    let digest = stage.push("acme/web", "layer").await.unwrap();
    let mounted = stage.content.mount_readable(&name("acme/web"), &digest, &readable(&[], &[]), &ada()).await.unwrap();
    assert_eq!(mounted, Mounted::Linked, "who pushes here may read here");
}

async fn a_mount_without_a_name_looks_at_as_many_links_as_the_limit_says(stage: &mut Stage) {
    let digest = stage.push("acme/first", "layer").await.unwrap();
    let others = i32::try_from(MAX_LINKS_LOOKED_AT).unwrap();
    stage.content.metadata.write(EmptyRepositories(others)).await.unwrap();
    let link = "INSERT INTO link (repository_id, blob_id, leased_until) \
                SELECT r.id, b.id, 0 FROM repository r CROSS JOIN blob b WHERE r.name LIKE 'm/%'";
    stage.tamper(link).await;
    let mount = async |from: i32, into: &str| {
        let readable = readable(&[&format!("m/{}", 100_000 + from)], &[]);
        stage.content.mount_readable(&name(into), &digest, &readable, &ada()).await.unwrap()
    };
    // The first link is acme/first's.
    assert_eq!(mount(others, "other/late").await, Mounted::No);
    assert_eq!(mount(others - 1, "other/app").await, Mounted::Linked);
}

async fn a_damaged_blob_is_not_mounted(stage: &mut Stage) {
    let digest = stage.push("acme/web", "layer").await.unwrap();
    stage.tamper("UPDATE blob SET state = 'damaged'").await;
    let mounted = stage.content.mount(&name("other/app"), &name("acme/web"), &digest, &ada()).await.unwrap();
    assert_eq!(mounted, Mounted::No, "the upload that follows heals it");
    stage.push("other/app", "layer").await.unwrap();
    assert_eq!(stage.pull("acme/web", &digest).await.unwrap(), "layer");
}

async fn mounts_and_deletions_beside_each_other_keep_the_books(stage: &mut Stage) {
    let digest = stage.push("acme/source", "layer").await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..24 {
        let content = stage.content.clone();
        tasks.spawn(async move {
            let (into, from) = (name(&format!("ns{}/app{}", n % 3, n % 5)), name("acme/source"));
            for _ in 0..4 {
                match n % 2 {
                    0 => drop(content.mount(&into, &from, &digest, &ada()).await.unwrap()),
                    _ => match content.delete_blob(&into, &digest, &TagLimits::Everything).await {
                        Ok(()) | Err(super::super::Error::BlobUnknown { .. }) => {}
                        Err(error) => panic!("{error}"),
                    },
                }
            }
        });
    }
    tasks.join_all().await;
    stage.is_consistent().await;
    assert!(stage.content.stat_blob(&name("acme/source"), &digest, Promise::Nothing).await.is_ok());
}
