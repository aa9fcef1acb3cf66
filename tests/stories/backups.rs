//! Backups of a registry that is being pushed to, brought back elsewhere and in place.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use shared::shutdown::CancellationToken;
use tokio::{task::JoinHandle, time::sleep};

use super::{
    apart::{as_account, pull},
    kills::{Acknowledged, client, push, verify},
};
use crate::{
    protocol::Suite,
    support::{
        announce,
        postgres::Schemas,
        program::{Outcome, Program},
        server::{Launch, Portreeve, program},
    },
};

const PUSHERS: usize = 2;

/// Pushers who go on until they are told to stop, and what was answered to them.
struct Storm {
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
    stop: CancellationToken,
    pushers: Vec<JoinHandle<()>>,
}

impl Storm {
    fn begin(portreeve: &Portreeve) -> Self {
        let (acknowledged, stop) = (Arc::<Mutex<Vec<Acknowledged>>>::default(), CancellationToken::new());
        let pushers = (0..PUSHERS).map(|number| {
            let (client, acknowledged, stop) = (client(portreeve), Arc::clone(&acknowledged), stop.clone());
            tokio::spawn(async move {
                let repository = format!("acme/pusher-{number}");
                let suite = Suite::new(client, &repository, "acme/unused");
                while !stop.is_cancelled() {
                    let image = push(&suite, &repository).await.unwrap_or_else(|failure| panic!("{failure}"));
                    let repository = repository.clone();
                    acknowledged.lock().unwrap().push(Acknowledged { repository, image });
                }
            })
        });
        let pushers = pushers.collect();
        Self { acknowledged, stop, pushers }
    }

    /// Waits until so many images were acknowledged, and answers all of them.
    async fn until(&self, count: usize) -> Vec<Acknowledged> {
        loop {
            let acknowledged = self.acknowledged.lock().unwrap().clone();
            if acknowledged.len() >= count {
                return acknowledged;
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn end(self) {
        self.stop.cancel();
        for pusher in self.pushers {
            pusher.await.unwrap();
        }
    }
}

async fn backup(portreeve: &Portreeve, target: &Path, options: &[&str]) -> Value {
    let backup = portreeve.command(&["registry", "backup", "--json"]).args(options).arg(target).succeeds().await;
    json_of(&backup)
}

fn json_of(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {outcome}"))
}

fn restore(target: &Path, data: &Path) -> Program {
    Program::new(program()).args(["registry", "restore", "--from"]).arg(target).arg("--data").arg(data)
}

fn room() -> (tempfile::TempDir, PathBuf) {
    let room = tempfile::tempdir().unwrap();
    let target = room.path().join("backup");
    (room, target)
}

#[tokio::test]
async fn what_was_acknowledged_before_a_backup_is_brought_back_elsewhere() {
    let (_room, target) = room();
    let mut portreeve = Portreeve::up();
    let storm = Storm::begin(&portreeve);
    storm.until(6).await;
    let first = backup(&portreeve, &target, &["--blobs"]).await;
    let after = storm.until(1).await.len();
    let before = storm.until(after + 4).await;
    let second = backup(&portreeve, &target, &["--blobs"]).await;
    storm.until(before.len() + 2).await;
    storm.end().await;
    assert!(portreeve.stop().success());
    for made in [&first, &second] {
        assert_eq!((&made["backup"]["blobs"]["missing"], &made["missing"]), (&json!(0), &json!([])), "{made}");
    }
    let blobs = &second["backup"]["blobs"];
    assert_eq!(blobs["already"], first["backup"]["blobs"]["files"], "what was there is not brought again");
    assert!(blobs["linked"].as_u64().unwrap() > 0, "{second}");
    let names: Vec<_> =
        second["backup"]["files"].as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap()).collect();
    for name in ["auth.db", "registry.db", "keys/master"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }

    let launch = Launch::up();
    let restored = json_of(&restore(&target, launch.data()).arg("--json").succeeds().await);
    assert_eq!(restored["restored"]["blobs"]["missing"], 0, "{restored}");
    assert_eq!(restored["restored"]["quarantined"]["files"], 0, "{restored}");
    // The password is in the accounts; the file tells this test.
    fs::copy(portreeve.data().join("admin-password"), launch.data().join("admin-password")).unwrap();
    let elsewhere = launch.start();
    verify(&elsewhere, &before).await;
    let counts = &second["backup"]["counts"];
    announce(&format!(
        "backup during pushes: {} images acknowledged before it, {} in it, all whole after a restore elsewhere",
        before.len(),
        counts["manifests"]
    ));
    let storm = Storm::begin(&elsewhere);
    storm.until(1).await;
    storm.end().await;
}

/// An operator took a copy of the facts, and something went wrong later.
#[tokio::test]
async fn a_registry_is_restored_in_place() {
    let (_room, target) = room();
    let mut portreeve = Portreeve::up();
    let storm = Storm::begin(&portreeve);
    storm.until(3).await;
    storm.end().await;
    let before = image_files(&portreeve);
    let made = portreeve.command(&["registry", "backup"]).arg(&target).succeeds().await;
    made.says("the blobs are not in it").says("it holds keys").says("whole: everything that was answered before 20");
    let admin = as_account(&portreeve, &portreeve.admin());
    assert_eq!(super::apart::push(&admin, "acme/web", "since").await, 201);
    restore(&target, portreeve.data()).fails().await.says("a server runs on ");
    assert!(portreeve.stop().success());
    let lost = before.first().unwrap();
    fs::remove_file(lost).unwrap();
    let refused = restore(&target, portreeve.data()).fails().await;
    refused.says("holds a registry: --force puts what is there aside");

    // A restore that breaks off half way leaves what no server starts on, and no command but the same again.
    let obstacle = portreeve.data().join("quarantine");
    fs::write(&obstacle, "in the way").unwrap();
    restore(&target, portreeve.data()).arg("--force").fails().await.says("missing: sha256:");
    let half = "restore.unfinished: a restore began here and has not come to its end: run it again, with --force";
    portreeve.command(&["registry", "garbage-collect"]).fails().await.says(half);
    let up = Program::new(program()).args(["up", "--listen", "127.0.0.1:0", "--data"]).arg(portreeve.data());
    up.fails().await.says(half);
    fs::remove_file(obstacle).unwrap();

    let restored = restore(&target, portreeve.data()).arg("--force").succeeds().await;
    restored.says("what was there lies in ").says("missing: sha256:").says("  named by acme/pusher-");
    restored.says("quarantined: blobs/").says("1 files, 2 bytes that no fact speaks of").says("restart every registry");
    portreeve.start_again();
    let admin = as_account(&portreeve, &portreeve.admin());
    assert_eq!(pull(&admin, "acme/web/manifests/since").await, 404, "it came after the backup");
    assert_eq!(super::apart::push(&admin, "acme/web", "again").await, 201);
    let storm = Storm::begin(&portreeve);
    storm.until(1).await;
    storm.end().await;
}

/// The files of blobs.
fn image_files(portreeve: &Portreeve) -> Vec<PathBuf> {
    let directories = fs::read_dir(portreeve.data().join("blobs")).unwrap();
    directories
        .flat_map(|directory| fs::read_dir(directory.unwrap().path()).unwrap().map(|file| file.unwrap().path()))
        .collect()
}

/// A file that bytes of one of these images lie in, and in no other: a push of what the registry had already leaves a second one in the trash.
fn only_file_of(portreeve: &Portreeve, images: &[Acknowledged]) -> PathBuf {
    let files: Vec<_> = image_files(portreeve).into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
    let blobs = images.iter().flat_map(|acknowledged| &acknowledged.image.blobs);
    let alone = blobs.filter_map(|blob| {
        let mut having = files.iter().filter(|(bytes, _)| *bytes == blob.bytes);
        having.next().filter(|_| having.next().is_none())
    });
    alone.map(|(_, path)| path.clone()).next().expect("a blob of these has one file")
}

#[tokio::test]
async fn commands_say_what_is_in_their_way() {
    let (room, target) = room();
    let mut portreeve = Portreeve::up();
    fs::create_dir(&target).unwrap();
    fs::write(target.join("thesis.tex"), "years of work").unwrap();
    let refused = portreeve.command(&["registry", "backup"]).arg(&target).fails().await;
    refused.says("no backup was made: ").says("holds something else: name an empty directory");
    let inside = portreeve.data().join("backup");
    portreeve.command(&["registry", "backup"]).arg(&inside).fails().await.says("lie in each other");
    let data = room.path().join("data");
    restore(&target, &data).fails().await.says("there is no finished backup in this directory");
    assert!(!data.exists(), "and nothing was made");
    let nothing = Program::new(program()).args(["registry", "restore", "--data"]).arg(&data);
    nothing.fails().await.says("--from <DIRECTORY>");

    assert!(portreeve.stop().success());
    let whole = room.path().join("whole");
    let made = portreeve.command(&["registry", "backup", "--blobs"]).arg(&whole).directory(room.path());
    made.succeeds().await.says("registry.db: ").says("blobs: 0 files, 0 bytes");
    let relative = portreeve.command(&["registry", "backup", "whole"]).directory(room.path());
    relative.succeeds().await.says("whole: everything");
    let manifest: Value = serde_json::from_slice(&fs::read(whole.join("backup.json")).unwrap()).unwrap();
    let database = manifest["files"].as_array().unwrap().iter().find(|file| file["name"] == "registry.db").unwrap();
    fs::write(whole.join(database["path"].as_str().unwrap()), "rotten").unwrap();
    restore(&whole, &data).fails().await.says("it is not what was written when the backup was made");
    let left: Vec<_> = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["lock"], "a backup that is not whole leaves nothing");
}

/// The same with the facts in PostgreSQL: its own programs copy them, ours the bytes.
#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn a_dump_of_postgresql_and_the_bytes_behind_it_are_a_backup() {
    let (room, target) = room();
    let schemas = Schemas::new();
    let mut portreeve = schemas.for_registry(Launch::up().quiet()).start();
    let storm = Storm::begin(&portreeve);
    storm.until(3).await;
    let dump = room.path().join("facts.dump");
    let before = storm.until(1).await;
    schemas.dump_registry(&dump).await;
    let made = backup(&portreeve, &target, &["--blobs"]).await;
    assert_eq!((&made["backup"]["database"], &made["backup"]["blobs"]["missing"]), (&json!("postgresql"), &json!(0)));
    let all = storm.until(before.len() + 3).await;
    storm.end().await;
    assert!(all.len() > before.len());
    assert!(portreeve.stop().success());

    // The schema is gone, and so is a file; the rest is there, the bytes since the dump and the accounts, too.
    schemas.restore_registry(&dump).await;
    let lost = only_file_of(&portreeve, &before);
    assert!(target.join(below(&portreeve, &lost)).exists());
    fs::remove_file(&lost).unwrap();
    let config = schemas.configuration(room.path(), portreeve.data());
    let restore =
        |options: &[&str]| Program::new(program()).args(["registry", "restore", "--json"]).args(options).arg(&config);
    let restored = json_of(&restore(&["--force", "--from", &target.display().to_string()]).succeeds().await);
    let (blobs, aside) = (&restored["restored"]["blobs"], &restored["restored"]["quarantined"]["files"]);
    assert_eq!((&blobs["missing"], &blobs["linked"]), (&json!(0), &json!(1)), "{restored}");
    assert!(aside.as_u64().unwrap() > 0, "what was pushed since is set aside: {restored}");
    let again = json_of(&restore(&["--database-restored"]).succeeds().await);
    assert_eq!(again["restored"]["quarantined"]["files"], 0, "{again}");
    portreeve.start_again();
    verify(&portreeve, &before).await;
    let storm = Storm::begin(&portreeve);
    storm.until(1).await;
    storm.end().await;
}

fn below<'f>(portreeve: &Portreeve, file: &'f Path) -> &'f Path {
    file.strip_prefix(portreeve.data()).unwrap()
}

/// There is no backup of the facts: what is left is the bytes.
#[tokio::test]
async fn bytes_without_a_database_are_blobs_again() {
    let mut portreeve = Portreeve::up();
    let storm = Storm::begin(&portreeve);
    let before = storm.until(2).await;
    storm.end().await;
    let reindex = |portreeve: &Portreeve| portreeve.command(&["registry", "reindex", "--json"]);
    reindex(&portreeve).fails().await.says("a server runs on ");
    assert!(portreeve.stop().success());
    for name in ["registry.db", "registry.db-wal", "registry.db-shm"] {
        let _ = fs::remove_file(portreeve.data().join(name));
    }
    // It could be a registry whose facts are in PostgreSQL.
    reindex(&portreeve).fails().await.says("is not in its registry.db").says("--database-lost");
    assert!(!portreeve.data().join("registry.db").exists());
    let lost = portreeve.command(&["registry", "reindex", "--database-lost", "--json"]);
    let found = json_of(&lost.succeeds().await);
    let blobs = found["reindexed"]["blobs"].as_u64().unwrap();
    assert!(blobs >= 3 * before.len() as u64, "{found}");
    assert_eq!(
        json_of(&reindex(&portreeve).succeeds().await)["reindexed"]["blobs"],
        0,
        "a second run finds them indexed"
    );
    portreeve.command(&["registry", "reindex"]).succeeds().await.says("manifests and tags are not in the bytes");
    portreeve.start_again();
    let admin = as_account(&portreeve, &portreeve.admin());
    let blob = &before[0].image.blobs[0];
    assert_eq!(
        pull(&admin, &format!("{}/blobs/{}", before[0].repository, blob.digest)).await,
        404,
        "nobody's but the holder's"
    );
    assert_eq!(pull(&admin, &format!("reindexed/blobs/blobs/{}", blob.digest)).await, 200);
    let storm = Storm::begin(&portreeve);
    storm.until(1).await;
    storm.end().await;
    let home = tempfile::tempdir().unwrap();
    let mistyped = home.path().join("dta");
    let refused = Program::new(program()).args(["registry", "reindex", "--data"]).arg(&mistyped).fails().await;
    refused.says("is no data directory of Portreeve");
    assert!(!mistyped.exists());
}
