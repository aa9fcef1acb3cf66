//! Whole stories over a store that delays, fails, is full, writes half, loses its answers and deletes later than it says: pushers in one request and in
//! many, mounters, taggers, deleters, readers and collectors beside each other. Requests may fail; what was acknowledged may not be lost. From a seed that
//! is printed.
//!
//! `PORTREEVE_STRESS_SECONDS` says for how long, as for the stress beside it: a sixth of that.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use model::announce;
use serde_json::Value;
use shared::{digest::Digest, repository::RepositoryName};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    beside_each_other::{Chance, SOUND, nothing_stays_that_nobody_needs, sweep},
    stage::{Stage, bytes, chunk, digest, name, on_both, pusher},
};
use crate::{
    content::{
        Content, Error, Promise, Pusher, TagLimits,
        fixture::{image, push, tag},
        manifests::{DeleteManifest, PutManifest, Served},
        mount::Mounted,
        tags::DeleteTag,
    },
    gc::{
        Collector, Settings,
        by_hand::{Deleted, Detail, Mode, Order, Untagged},
    },
};

on_both! { what_is_acknowledged_over_a_bad_store_is_kept }

const ACTORS: u64 = 6;
const REPOSITORIES: [&str; 3] = ["acme/web", "acme/api", "other/tool"];
const TAGS: [&str; 4] = ["latest", "v1", "v2", "v3"];
const LAYERS: usize = 12;
/// Of a thousand calls of the store so many meet a fault.
const PER_MILLE: u64 = 200;
const DAY: Duration = Duration::from_secs(25 * 60 * 60);
/// A client gives up behind so many attempts.
const TRIES: u32 = 6;
const BY_HAND: Order =
    Order { mode: Mode::Collect, deleted: Deleted::Purged, untagged: Untagged::Kept, detail: Detail::Totals };

#[derive(Default)]
struct Counts {
    done: AtomicU64,
    refused: AtomicU64,
    violations: AtomicU64,
}

fn one_more(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

struct Actor {
    content: Content,
    pusher: Pusher,
    chance: Chance,
    counts: Arc<Counts>,
    stop: CancellationToken,
}

/// What came of a request: none if the store failed it.
type Came<T> = Option<T>;

impl Actor {
    async fn act(mut self) {
        while !self.stop.is_cancelled() {
            let repository = name(self.chance.of(&REPOSITORIES));
            let came = match self.chance.below(10) {
                0..5 => self.push_image(&repository).await,
                5 => self.delete_tag(&repository).await,
                6 | 7 => self.delete_manifest(&repository).await,
                8 => self.forget_an_upload(&repository).await,
                _ => self.pull(&repository).await,
            };
            one_more(if came.is_some() { &self.counts.done } else { &self.counts.refused });
        }
    }

    /// The store's failures are what this is about; any other is a defect.
    fn came<T>(&self, answer: Result<T, Error>) -> Came<T> {
        match answer {
            Ok(done) => Some(done),
            Err(Error::Store(_) | Error::Busy) => None,
            Err(error) => panic!("{}: {error}", self.pusher.holder),
        }
    }

    async fn push_image(&mut self, repository: &RepositoryName) -> Came<()> {
        let layer = |number: usize| format!("layer {number} ").repeat(40 + number);
        let contents = [
            format!("config {}", self.chance.below(4)),
            layer(self.chance.below(LAYERS)),
            layer(self.chance.below(LAYERS)),
        ];
        for content in &contents {
            self.bring(repository, content).await?;
        }
        let manifest = image(&contents[0], &[&contents[1], &contents[2]]);
        let put = push(repository.as_str(), tag(self.chance.of(&TAGS)), &manifest);
        match self.content.put_manifest(PutManifest { pusher: self.pusher.clone(), ..put }).await {
            // Each of them was promised a moment ago.
            Err(Error::ManifestReferencesMissing { .. }) => {
                one_more(&self.counts.violations);
                None
            }
            stored => self.came(stored).map(drop),
        }
    }

    /// Until it is there: looked for, mounted, or uploaded, as often as it takes.
    async fn bring(&mut self, repository: &RepositoryName, content: &str) -> Came<()> {
        let blob = digest(content.as_bytes());
        for _ in 0..TRIES {
            match self.content.stat_blob(repository, &blob, Promise::To(&self.pusher)).await {
                Err(Error::BlobUnknown { .. }) => {}
                found => return self.came(found).map(drop),
            }
            let from = name(self.chance.of(&REPOSITORIES));
            if self.came(self.content.mount(repository, &from, &blob, &self.pusher).await)? == Mounted::Linked {
                return Some(());
            }
            let uploaded = match self.chance.below(2) {
                0 => self.came(self.content.push_blob(repository, blob, chunk(content.to_owned()), &self.pusher).await),
                _ => self.upload(repository, content, blob).await,
            };
            if uploaded.is_some() {
                return uploaded;
            }
        }
        None
    }

    /// In two chunks, each sent again from where the upload stands.
    async fn upload(&self, repository: &RepositoryName, content: &str, blob: Digest) -> Came<()> {
        let id = self.came(self.content.start_upload(repository, None, &self.pusher).await)?;
        for part in [content.len() / 2, content.len()] {
            for _ in 0..TRIES {
                let there = match self.content.upload_received(repository, id).await {
                    // A failed sync ends an upload.
                    Err(Error::UploadUnknown) => return None,
                    there => usize::try_from(self.came(there)?).unwrap(),
                };
                if there >= part {
                    break;
                }
                let rest = chunk(content[there..part].to_owned());
                match self.content.append(repository, id, rest).await {
                    Err(Error::UploadUnknown) => return None,
                    appended => drop(self.came(appended)),
                }
            }
        }
        for _ in 0..TRIES {
            let there = match self.content.upload_received(repository, id).await {
                Err(Error::UploadUnknown) => content.len(),
                there => usize::try_from(self.came(there)?).unwrap(),
            };
            let rest = chunk(content[there..].to_owned());
            match self.content.finish_upload(repository, id, blob, rest, &self.pusher).await {
                Err(Error::UploadUnknown) => return None,
                Err(Error::Store(_) | Error::Busy) => {}
                finished => return self.came(finished),
            }
        }
        None
    }

    /// Cancelled, or left to whoever collects.
    async fn forget_an_upload(&mut self, repository: &RepositoryName) -> Came<()> {
        let id = self.came(self.content.start_upload(repository, None, &self.pusher).await)?;
        let appended = self.content.append(repository, id, chunk("forgotten")).await;
        if self.chance.below(2) == 0 {
            return self.came(self.content.cancel_upload(repository, id).await);
        }
        self.came(appended).map(drop)
    }

    async fn delete_tag(&mut self, repository: &RepositoryName) -> Came<()> {
        let (tag, actor) = (tag(self.chance.of(&TAGS)), self.pusher.actor.clone());
        let delete =
            DeleteTag { repository: repository.clone(), tag, limits: TagLimits::Everything, actor, condition: None };
        match self.content.delete_tag(delete).await {
            Err(Error::ManifestUnknown { .. }) => Some(()),
            deleted => self.came(deleted),
        }
    }

    async fn delete_manifest(&mut self, repository: &RepositoryName) -> Came<()> {
        let Some(served) = self.look(repository).await else { return Some(()) };
        let delete = DeleteManifest {
            repository: repository.clone(),
            digest: served.digest,
            condition: None,
            limits: TagLimits::Everything,
            actor: self.pusher.actor.clone(),
            undelete_window: self.chance.of(&[Duration::ZERO, DAY]),
        };
        match self.content.delete_manifest(delete).await {
            Err(Error::ManifestUnknown { .. }) => Some(()),
            deleted => self.came(deleted).map(drop),
        }
    }

    async fn look(&mut self, repository: &RepositoryName) -> Option<Arc<Served>> {
        let tag = tag(self.chance.of(&TAGS)).into();
        match self.content.manifest(repository, &tag, Promise::Nothing).await {
            Err(Error::ManifestUnknown { .. }) => None,
            served => self.came(served),
        }
    }

    async fn pull(&mut self, repository: &RepositoryName) -> Came<()> {
        let Some(served) = self.look(repository).await else { return Some(()) };
        for blob in named(&served.payload) {
            match bytes(&self.content, repository, &blob).await {
                Ok(bytes) => assert_eq!(digest(&bytes), blob, "bytes are what they are said to be"),
                // Deleted meanwhile, and collected.
                Err(Error::BlobUnknown { .. } | Error::BlobDamaged { .. }) => return Some(()),
                failed => drop(self.came(failed)?),
            }
        }
        Some(())
    }
}

fn named(payload: &[u8]) -> Vec<Digest> {
    let manifest: Value = serde_json::from_slice(payload).unwrap();
    let layers = manifest["layers"].as_array().into_iter().flatten();
    let named = layers.chain([&manifest["config"]]).map(|descriptor| descriptor["digest"].as_str().unwrap());
    named.map(|digest| digest.parse().unwrap()).collect()
}

/// Sweeps and collects by hand, whatever the store does; what a sweep could not do the next one does.
async fn collect(
    content: Content,
    store: crate::store::faulty::Faulty,
    clock: shared::clock::Clock,
    stop: CancellationToken,
) {
    let settings = Settings { trash_wait: Duration::ZERO, ..Settings::default() };
    let collector = Collector::new(content.metadata.clone(), Arc::new(store.clone()), clock, settings);
    while !stop.is_cancelled() {
        let swept = collector.sweep(&stop).await;
        assert!(matches!(swept, Ok(_) | Err(crate::gc::Error::Store(_))), "{swept:?}");
        let (events, mut told) = tokio::sync::mpsc::channel(64);
        let listening = tokio::spawn(async move { while told.recv().await.is_some() {} });
        let collected = collector.collect_by_hand(BY_HAND, events, &stop).await;
        assert!(!matches!(collected, Err(crate::gc::Error::Unavailable(_))), "{collected:?}");
        listening.await.unwrap();
        store.deliver().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn what_is_acknowledged_over_a_bad_store_is_kept(stage: &mut Stage) {
    let seconds = std::env::var("PORTREEVE_STRESS_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(12) / 6;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = std::env::var("PORTREEVE_SEED").ok().map_or(now.as_secs(), |text| text.parse().unwrap());
    let (counts, stop, mut tasks) = (Arc::new(Counts::default()), CancellationToken::new(), JoinSet::new());
    stage.store.storm(seed, PER_MILLE);
    for number in 0..ACTORS {
        let (content, counts, stop) = (stage.content.clone(), Arc::clone(&counts), stop.clone());
        let (pusher, chance) = (pusher(&format!("pusher {number}")), Chance::seeded(seed ^ number << 32));
        tasks.spawn(Actor { content, pusher, chance, counts, stop }.act());
    }
    for _ in 0..2 {
        tasks.spawn(collect(stage.content.clone(), stage.store.clone(), stage.clock.clone(), stop.clone()));
    }
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    stop.cancel();
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
    let faults = stage.store.calm();
    stage.store.deliver().await;
    is_sound(stage, seed).await;
    let [done, refused, violations] =
        [&counts.done, &counts.refused, &counts.violations].map(|counter| counter.load(Ordering::Relaxed));
    let database = stage.content.metadata.dialect();
    announce(&format!(
        "bad store ({database:?}, seed {seed}): {faults} faults; {done} requests done, {refused} failed, {violations} violations"
    ));
    assert_eq!(violations, 0, "seed {seed}");
    assert!(faults > 0 && done > refused, "seed {seed}");
    stage.pass(DAY * 8);
    sweep(stage).await;
    is_sound(stage, seed).await;
    nothing_stays_that_nobody_needs(stage).await;
}

/// Rows, bytes and memory agree, and every image that is there comes whole.
async fn is_sound(stage: &Stage, seed: u64) {
    stage.is_consistent().await;
    for (what, sql) in SOUND {
        assert_eq!(stage.count(sql).await, 0, "seed {seed}: {what}");
    }
    assert_eq!(
        stage.count("SELECT count(*) FROM blob WHERE state <> 'live'").await,
        0,
        "seed {seed}: nothing was lost"
    );
    let living = "SELECT r.name || ' ' || m.digest FROM manifest m JOIN repository r ON r.id = m.repository_id \
                  WHERE m.deleted_at IS NULL";
    for row in stage.texts(living).await {
        let (repository, manifest) = row.split_once(' ').unwrap();
        let reference = manifest.parse::<Digest>().unwrap().into();
        let served = stage.content.manifest(&name(repository), &reference, Promise::Nothing).await.unwrap();
        for blob in named(&served.payload) {
            let whole = bytes(&stage.content, &name(repository), &blob).await.unwrap();
            assert_eq!(digest(&whole), blob, "seed {seed}: {blob} of {row}");
        }
    }
}
