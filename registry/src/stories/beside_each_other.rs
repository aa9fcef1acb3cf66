//! Pushers, taggers, mounters, deleters, readers and the collector beside each other, by chance but from a seed; at the end everything that the design
//! promises is looked for in the tables, in the store and in what memory answers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use shared::{digest::Digest, reference::Reference, repository::RepositoryName};
use tokio::{sync::RwLock, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::stage::{Stage, chunk, digest, name, on_both, pusher};
use crate::{
    content::{
        Content, Error, Promise, Pusher, TagLimits,
        fixture::{digest_of, image, index, push, tag},
        manifests::{DeleteManifest, PutManifest},
        mount::Mounted,
        tags::DeleteTag,
    },
    gc::{Collector, Settings},
    metadata::fixture,
};

on_both! { everything_is_kept_that_was_promised }

const REPOSITORIES: [&str; 3] = ["acme/web", "acme/api", "other/tool"];
const LAYERS: [&str; 5] = ["layer 0", "layer 1", "layer 2", "layer 3", "layer 4"];
const CONFIGS: [&str; 4] = ["config 0", "config 1", "config 2", "config 3"];
const TAGS: [&str; 3] = ["latest", "v1", "v2"];
const ACTORS: u64 = 6;
const STEPS: u32 = 40;
const HOUR: Duration = Duration::from_secs(60 * 60);

/// splitmix64: the same choices for the same seed.
pub(super) struct Chance(u64);

impl Chance {
    pub(super) const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }

    pub(super) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// Deletions of blobs by hand, begun and ended: they alone may break a promise.
#[derive(Clone, Default)]
struct Deletions(Arc<Mutex<HashMap<(RepositoryName, Digest), Count>>>);

/// How many deletions have begun and ended.
type Count = (u32, u32);

impl Deletions {
    fn seen(&self, repository: &RepositoryName, blob: Digest) -> Count {
        self.0.lock().unwrap().get(&(repository.clone(), blob)).copied().unwrap_or_default()
    }

    /// Whether a deletion was under way at the time of `before`, or has begun since.
    fn since(&self, repository: &RepositoryName, blob: Digest, before: Count) -> bool {
        before.0 != before.1 || self.seen(repository, blob) != before
    }

    fn count(&self, repository: &RepositoryName, blob: Digest, begun: u32, ended: u32) {
        let mut counts = self.0.lock().unwrap();
        let count = counts.entry((repository.clone(), blob)).or_default();
        *count = (count.0 + begun, count.1 + ended);
    }
}

struct Actor {
    content: Content,
    pusher: Pusher,
    chance: Chance,
    deletions: Deletions,
    /// Held while a push goes on: no promise runs out under it.
    day: Arc<RwLock<()>>,
}

impl Actor {
    async fn act(mut self) {
        for _ in 0..STEPS {
            let repository = name(self.chance.of(&REPOSITORIES));
            match self.chance.below(20) {
                0..6 => self.push_image(&repository).await,
                6 => self.push_index(&repository).await,
                7..12 => self.delete_manifest(&repository).await,
                12 => self.delete_tag(&repository).await,
                13..15 => self.delete_blob(&repository).await,
                _ => self.read(&repository).await,
            }
        }
    }

    fn draw_image(&mut self) -> (Value, Vec<&'static str>) {
        let (config, layers) = (self.chance.of(&CONFIGS), [self.chance.of(&LAYERS), self.chance.of(&LAYERS)]);
        let mut drawn = image(config, &layers);
        if self.chance.below(4) == 0 {
            let about = image(self.chance.of(&CONFIGS), &[LAYERS[0], LAYERS[1]]);
            let payload = about.to_string();
            drawn["subject"] = json!({
                "mediaType": about["mediaType"], "digest": digest_of(&about), "size": payload.len()
            });
        }
        (drawn, vec![config, layers[0], layers[1]])
    }

    /// As clients do it: each blob is looked for, mounted or uploaded, and then has to be there for the manifest.
    async fn push_image(&mut self, repository: &RepositoryName) {
        let day = Arc::clone(&self.day);
        let _day = day.read().await;
        let (manifest, blobs) = self.draw_image();
        let mut promised = Vec::new();
        for content in blobs {
            let blob = digest(content.as_bytes());
            promised.push((blob, self.deletions.seen(repository, blob)));
            self.bring(repository, content, blob).await;
        }
        let reference = match self.chance.below(3) {
            0 => Reference::Digest(digest_of(&manifest)),
            _ => Reference::Tag(tag(self.chance.of(&TAGS))),
        };
        match self.put(repository, reference, &manifest).await {
            Ok(()) => {}
            Err(Error::ManifestReferencesMissing { missing }) => {
                for blob in missing {
                    let (_, before) = promised.iter().find(|(promised, _)| *promised == blob).unwrap();
                    let deleted = self.deletions.since(repository, blob, *before);
                    assert!(deleted, "{blob} was promised to {} in {repository}", self.pusher.holder);
                }
            }
            Err(error) => panic!("{error}"),
        }
    }

    async fn bring(&mut self, repository: &RepositoryName, content: &'static str, blob: Digest) {
        match self.content.stat_blob(repository, &blob, Promise::To(&self.pusher)).await {
            Ok(_) => return,
            Err(Error::BlobUnknown { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        let from = name(self.chance.of(&REPOSITORIES));
        if self.chance.below(2) == 0
            && self.content.mount(repository, &from, &blob, &self.pusher).await.unwrap() == Mounted::Linked
        {
            return;
        }
        self.content.push_blob(repository, blob, chunk(content), &self.pusher).await.unwrap();
    }

    async fn push_index(&mut self, repository: &RepositoryName) {
        let (first, second) = (self.draw_image().0, self.draw_image().0);
        let reference = Reference::Tag(tag(self.chance.of(&TAGS)));
        self.put(repository, reference, &index(&[&first, &second])).await.unwrap();
    }

    async fn put(&self, repository: &RepositoryName, reference: Reference, manifest: &Value) -> Result<(), Error> {
        let put = PutManifest { pusher: self.pusher.clone(), ..push(repository.as_str(), reference, manifest) };
        self.content.put_manifest(put).await.map(drop)
    }

    async fn delete_manifest(&mut self, repository: &RepositoryName) {
        let mut living = fixture::texts(&self.content.metadata, LIVING).await;
        living.retain(|row| row.starts_with(&format!("{repository} ")));
        if living.is_empty() {
            return;
        }
        let (_, chosen) = living[self.chance.below(living.len())].split_once(' ').unwrap();
        let delete = DeleteManifest {
            condition: None,
            repository: repository.clone(),
            digest: chosen.parse().unwrap(),
            limits: TagLimits::Everything,
            actor: self.pusher.actor.clone(),
            undelete_window: self.chance.of(&[Duration::ZERO, HOUR]),
        };
        let deleted = self.content.delete_manifest(delete).await;
        assert!(matches!(deleted, Ok(_) | Err(Error::ManifestUnknown { .. })), "{deleted:?}");
    }

    async fn delete_tag(&mut self, repository: &RepositoryName) {
        let tag = tag(self.chance.of(&TAGS));
        let delete = DeleteTag {
            condition: None,
            repository: repository.clone(),
            tag,
            limits: TagLimits::Everything,
            actor: self.pusher.actor.clone(),
        };
        let deleted = self.content.delete_tag(delete).await;
        assert!(matches!(deleted, Ok(()) | Err(Error::ManifestUnknown { .. })), "{deleted:?}");
    }

    async fn delete_blob(&mut self, repository: &RepositoryName) {
        let blob = digest(self.chance.of(&LAYERS).as_bytes());
        self.deletions.count(repository, blob, 1, 0);
        let deleted = self.content.delete_blob(repository, &blob, &TagLimits::Everything).await;
        self.deletions.count(repository, blob, 0, 1);
        let expected =
            matches!(deleted, Ok(()) | Err(Error::BlobUnknown { .. } | Error::BlobInUse { .. } | Error::Busy));
        assert!(expected, "{deleted:?}");
    }

    /// Fills memory with answers, right when others change them.
    async fn read(&mut self, repository: &RepositoryName) {
        for content in LAYERS {
            let found = self.content.stat_blob(repository, &digest(content.as_bytes()), Promise::Nothing).await;
            assert!(matches!(found, Ok(_) | Err(Error::BlobUnknown { .. })), "{found:?}");
        }
        for text in TAGS {
            let found = self.content.manifest(repository, &tag(text).into(), Promise::Nothing).await;
            assert!(matches!(found, Ok(_) | Err(Error::ManifestUnknown { .. })), "{found:?}");
        }
    }
}

async fn everything_is_kept_that_was_promised(stage: &mut Stage) {
    for seed in 1..=4 {
        // Something goes in every round, however the actors and the collector happen to meet.
        let (forsaken, content) = (name("acme/forsaken"), format!("forsaken in round {seed}"));
        let blob = stage.push(forsaken.as_str(), &content).await.unwrap();
        together(stage, seed).await;
        is_sound(stage, seed).await;
        // Once more, now that memory holds an answer to every question.
        stage.pass(25 * HOUR);
        sweep(stage).await;
        is_sound(stage, seed).await;
        assert!(!stage.holds(forsaken.as_str(), &blob).await, "seed {seed}: the collector leaves what nobody needs");
    }
    nothing_stays_that_nobody_needs(stage).await;
}

/// All actors at once, and a collector before whose sweeps days pass.
async fn together(stage: &Stage, seed: u64) {
    let (deletions, day) = (Deletions::default(), Arc::new(RwLock::new(())));
    let mut actors = JoinSet::new();
    for number in 0..ACTORS {
        // Two share a name: parallel pushes of one holder count as one.
        let pusher = pusher(&format!("pusher {}", number / 2));
        let chance = Chance(seed << 32 | number);
        let (content, deletions, day) = (stage.content.clone(), deletions.clone(), Arc::clone(&day));
        actors.spawn(Actor { content, pusher, chance, deletions, day }.act());
    }
    let done = CancellationToken::new();
    let collecting = async {
        while !done.is_cancelled() {
            {
                let _night = day.write().await;
                stage.pass(25 * HOUR);
            }
            sweep(stage).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let acting = async {
        while let Some(ended) = actors.join_next().await {
            ended.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
        done.cancel();
    };
    let examining = async {
        while !done.is_cancelled() {
            stage.is_healthy().await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::join!(collecting, acting, examining);
}

pub(super) async fn sweep(stage: &Stage) {
    let (metadata, store) = (stage.content.metadata.clone(), Arc::new(stage.store.clone()));
    let settings = Settings { trash_wait: HOUR, ..Settings::default() };
    let collector = Collector::new(metadata, store, stage.clock.clone(), settings);
    collector.sweep(&CancellationToken::new()).await.unwrap();
}

async fn is_sound(stage: &Stage, seed: u64) {
    stage.is_consistent().await;
    for (what, sql) in SOUND {
        assert_eq!(stage.count(sql).await, 0, "seed {seed}: {what}");
    }
    for repository in REPOSITORIES {
        for content in LAYERS.iter().chain(&CONFIGS) {
            let blob = digest(content.as_bytes());
            let held = stage.texts(HELD).await.contains(&format!("{repository} {blob}"));
            assert_eq!(stage.holds(repository, &blob).await, held, "seed {seed}: {blob} in {repository}, from memory");
            if held {
                assert_eq!(stage.pull(repository, &blob).await.unwrap(), **content, "seed {seed}");
            }
        }
        for text in TAGS {
            let served = stage.content.manifest(&name(repository), &tag(text).into(), Promise::Nothing).await;
            let served = served.ok().map(|served| format!("{repository} {text} {}", served.digest));
            let points =
                stage.texts(POINTS).await.into_iter().find(|row| row.starts_with(&format!("{repository} {text} ")));
            assert_eq!(served, points, "seed {seed}: {text} of {repository}, from memory");
        }
    }
}

const HELD: &str = "SELECT r.name || ' ' || b.digest FROM link l JOIN repository r ON r.id = l.repository_id \
                    JOIN blob b ON b.id = l.blob_id";
const POINTS: &str = "SELECT r.name || ' ' || t.name || ' ' || m.digest FROM tag t JOIN repository r ON r.id = t.repository_id \
                      JOIN manifest m ON m.id = t.manifest_id";

const LIVING: &str = "SELECT r.name || ' ' || m.digest FROM manifest m JOIN repository r ON r.id = m.repository_id \
                      WHERE m.deleted_at IS NULL";

/// Each counts what may not be.
pub(super) const SOUND: [(&str, &str); 5] = [
    (
        "I3: what a manifest names is linked",
        "SELECT count(*) FROM manifest_blob n WHERE NOT EXISTS (SELECT 1 FROM blob b JOIN link l ON l.blob_id = b.id \
         AND l.repository_id = n.repository_id WHERE b.digest = n.digest)",
    ),
    (
        "I8: a tag resolves to a living manifest",
        "SELECT count(*) FROM tag t JOIN manifest m ON m.id = t.manifest_id WHERE m.deleted_at IS NOT NULL",
    ),
    (
        "I8: a history has no gap",
        "SELECT count(*) FROM tag t WHERE t.version <> (SELECT count(*) FROM tag_history h \
         WHERE h.repository_id = t.repository_id AND h.name = t.name) OR t.version <> (SELECT max(h.version) \
         FROM tag_history h WHERE h.repository_id = t.repository_id AND h.name = t.name)",
    ),
    (
        "I8: a history ends where the tag points",
        "SELECT count(*) FROM tag t LEFT JOIN manifest m ON m.id = t.manifest_id JOIN tag_history h \
         ON h.repository_id = t.repository_id AND h.name = t.name AND h.version = t.version \
         WHERE coalesce(h.digest, '') <> coalesce(m.digest, '')",
    ),
    (
        "a living manifest has an expiry exactly if nothing holds it",
        "SELECT count(*) FROM manifest m WHERE m.deleted_at IS NULL AND (m.expires_at IS NULL) <> (\
         EXISTS (SELECT 1 FROM tag t WHERE t.manifest_id = m.id) OR EXISTS (SELECT 1 FROM manifest_child c \
         WHERE c.repository_id = m.repository_id AND c.digest = m.digest) OR EXISTS (SELECT 1 FROM manifest s \
         WHERE s.repository_id = m.repository_id AND s.digest = m.subject_digest))",
    ),
];

/// After the last manifest everything goes: no row holds what nobody names.
pub(super) async fn nothing_stays_that_nobody_needs(stage: &Stage) {
    stage.tamper("UPDATE tag SET manifest_id = NULL").await;
    stage.tamper("UPDATE manifest SET deleted_at = 1, expires_at = 1").await;
    for _ in 0..3 {
        stage.pass(25 * HOUR);
        sweep(stage).await;
    }
    for table in [
        "SELECT count(*) FROM manifest",
        "SELECT count(*) FROM link",
        "SELECT count(*) FROM blob",
        "SELECT count(*) FROM trash",
        "SELECT CAST(sum(used) AS BIGINT) FROM usage",
        "SELECT count(*) FROM namespace_blob",
    ] {
        assert_eq!(stage.count(table).await, 0, "{table}");
    }
    // No program took the tags away: neither their histories nor memory can speak of it.
    for forget in ["DELETE FROM tag_history", "DELETE FROM tag"] {
        stage.tamper(forget).await;
    }
    stage.content.metadata.manifests().answers.forget_all();
    stage.is_consistent().await;
}
