//! Eight pushers with overlapping layers, taggers, deleters, pullers, two who run lifecycle rules, and four collectors with next to no grace, all at once for
//! a while. Everything that is pulled meanwhile comes complete, and afterwards the disk holds what the tables speak of and not a byte more.
//!
//! A day passes in two seconds: so promises end while their pushers are at it, and scheduled sweeps meet links whose time has come, uploads that nobody came
//! back for and events that are a week old. How long a promise runs is no setting, neither here nor for an operator: it has to outlast the slowest push.
//!
//! `PORTREEVE_STRESS_SECONDS` says for how long; without it long enough to notice what is broken.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use model::announce;
use serde_json::{Value, json};
use shared::{
    clock::{Clock, Timestamp},
    database::Dialect,
    digest::Digest,
    reference::Reference,
    repository::RepositoryName,
};
use tokio::{sync::mpsc, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    batches::{Probe, told},
    beside_each_other::Chance,
    stage::{Stage, chunk, digest, name, on_both, pusher},
};
use crate::{
    content::{
        Content, Error, Lives, Promise, Pusher, TagLimits,
        fixture::{image, push, tag},
        manifests::{DeleteManifest, PutManifest, Served},
        tags::DeleteTag,
    },
    gc::{
        Collector, Settings,
        by_hand::{Deleted, Detail, Mode, Order, Totals, Untagged},
        doctor::{Depth, Doctor},
    },
    lifecycle::rules::{self, About, Document, Expiry, set::Confirmed},
    metadata::links::PROMISE_LIFE,
    store::Store,
};

on_both! { what_is_pulled_while_garbage_is_collected_is_complete }

const PUSHERS: u64 = 8;
const REPOSITORIES: [&str; 4] = ["acme/web", "acme/api", "other/tool", "other/app"];
const NAMESPACES: [&str; 2] = ["acme", "other"];
const TAGS: [&str; 6] = ["latest", "v1", "v2", "pr-1", "pr-2", "pr-3"];
const LAYERS: usize = 24;
const LAYER_BYTES: usize = 16 * 1024;
/// How much faster the stage's clock goes than that on the wall.
const SPEED: u32 = 43_200;
/// How often it is put ahead.
const TICK: Duration = Duration::from_millis(10);
/// How long what nothing holds stays: 50 ms on the wall.
const GRACE: Duration = Duration::from_secs(36 * 60);
/// For how long a promise holds whatever else happens: one of which less is left is made anew when it is asked for.
const PROMISED: Duration = PROMISE_LIFE.checked_div(2).unwrap();
/// What broke off is looked at again so often before it counts: the image may have been deleted and pushed again in between.
const LOOKS: u32 = 20;
const COLLECTED: Order =
    Order { mode: Mode::Collect, deleted: Deleted::Purged, untagged: Untagged::Purged, detail: Detail::Totals };

/// What happened, counted by all.
#[derive(Default)]
struct Counts {
    pushes: AtomicU64,
    /// Pushes that took longer than what they were promised.
    late: AtomicU64,
    tags: AtomicU64,
    deletions: AtomicU64,
    pulls: AtomicU64,
    collections: AtomicU64,
    runs: AtomicU64,
    /// Tags and manifests that went by rules.
    expired: AtomicU64,
    examinations: AtomicU64,
    violations: AtomicU64,
}

fn one_more(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[derive(Clone)]
struct Actor {
    content: Content,
    clock: Clock,
    pusher: Pusher,
    counts: Arc<Counts>,
    stop: CancellationToken,
}

/// The bytes of a layer; many images share each.
fn layer(number: usize) -> String {
    format!("layer {number} ").repeat(LAYER_BYTES / 8)
}

impl Actor {
    async fn push(self, mut chance: Chance) {
        while !self.stop.is_cancelled() {
            let repository = name(chance.of(&REPOSITORIES));
            let layers: Vec<String> = (0..3).map(|_| layer(chance.below(LAYERS))).collect();
            let config = format!("config {}", chance.below(4));
            let manifest = image(&config, &layers.iter().map(String::as_str).collect::<Vec<_>>());
            let asked = self.clock.now();
            for content in layers.iter().chain([&config]) {
                self.bring(&repository, content).await;
            }
            self.put(&repository, chance.of(&TAGS), &manifest, asked).await;
            one_more(&self.counts.pushes);
        }
    }

    /// Asks whether the blob is here, and uploads it if not, as clients do.
    async fn bring(&self, repository: &RepositoryName, content: &str) {
        let blob = digest(content.as_bytes());
        match self.content.stat_blob(repository, &blob, Promise::To(&self.pusher)).await {
            Ok(_) => {}
            Err(Error::BlobUnknown { .. }) => {
                self.content.push_blob(repository, blob, chunk(content.to_owned()), &self.pusher).await.unwrap();
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Everything that it names was promised since it was first `asked` for, so nothing can be missing unless that is too long ago.
    async fn put(&self, repository: &RepositoryName, tagged: &str, manifest: &Value, asked: Timestamp) {
        let put = push(repository.as_str(), tag(tagged), manifest);
        let put = PutManifest { pusher: self.pusher.clone(), ..put };
        match self.content.put_manifest(put).await {
            Ok(_) => {}
            Err(Error::ManifestReferencesMissing { .. }) if self.clock.now() > asked + PROMISED => {
                one_more(&self.counts.late);
            }
            Err(Error::ManifestReferencesMissing { .. }) => one_more(&self.counts.violations),
            Err(error) => panic!("{error}"),
        }
    }

    /// Gives what one tag points at another tag too: every blob is asked for first.
    async fn tag(self, mut chance: Chance) {
        while !self.stop.is_cancelled() {
            let (repository, to) = (name(chance.of(&REPOSITORIES)), chance.of(&TAGS));
            if let Some(served) = self.look(&repository, tag(chance.of(&TAGS)).into()).await {
                let manifest: Value = serde_json::from_slice(&served.payload).unwrap();
                let asked = self.clock.now();
                if self.all_promised(&repository, &manifest).await {
                    self.put(&repository, to, &manifest, asked).await;
                    one_more(&self.counts.tags);
                }
            }
            sleep(Duration::from_millis(2)).await;
        }
    }

    async fn all_promised(&self, repository: &RepositoryName, manifest: &Value) -> bool {
        for blob in blobs(manifest) {
            if self.content.stat_blob(repository, &blob, Promise::To(&self.pusher)).await.is_err() {
                return false;
            }
        }
        true
    }

    async fn delete(self, mut chance: Chance) {
        while !self.stop.is_cancelled() {
            let (repository, tagged) = (name(chance.of(&REPOSITORIES)), tag(chance.of(&TAGS)));
            let (limits, actor) = (TagLimits::Everything, self.pusher.actor.clone());
            if chance.below(2) == 0 {
                let delete = DeleteTag { repository, tag: tagged, limits, actor, condition: None };
                drop(self.content.delete_tag(delete).await);
            } else if let Some(served) = self.look(&repository, tagged.into()).await {
                let undelete_window = GRACE * chance.below(2) as u32;
                let digest = served.digest;
                let delete = DeleteManifest { repository, digest, limits, actor, undelete_window, condition: None };
                drop(self.content.delete_manifest(delete).await);
            }
            one_more(&self.counts.deletions);
            sleep(Duration::from_millis(1)).await;
        }
    }

    async fn pull(self, mut chance: Chance) {
        while !self.stop.is_cancelled() {
            let repository = name(chance.of(&REPOSITORIES));
            if let Some(served) = self.look(&repository, tag(chance.of(&TAGS)).into()).await
                && self.pulls(&repository, &served).await
            {
                one_more(&self.counts.pulls);
            }
            tokio::task::yield_now().await;
        }
    }

    /// Pulls all of an image; false if it was deleted meanwhile.
    async fn pulls(&self, repository: &RepositoryName, served: &Served) -> bool {
        let manifest: Value = serde_json::from_slice(&served.payload).unwrap();
        for look in 0..LOOKS {
            if self.is_complete(repository, &manifest).await {
                return true;
            }
            if self.look(repository, served.digest.into()).await.is_none() {
                return false;
            }
            sleep(Duration::from_millis(u64::from(look))).await;
        }
        one_more(&self.counts.violations);
        false
    }

    async fn is_complete(&self, repository: &RepositoryName, manifest: &Value) -> bool {
        for blob in blobs(manifest) {
            match super::stage::bytes(&self.content, repository, &blob).await {
                Ok(bytes) => assert_eq!(digest(&bytes), blob, "bytes are what they are said to be"),
                Err(Error::BlobUnknown { .. } | Error::BlobDamaged { .. }) => return false,
                Err(error) => panic!("{error}"),
            }
        }
        true
    }

    async fn look(&self, repository: &RepositoryName, reference: Reference) -> Option<Arc<Served>> {
        match self.content.manifest(repository, &reference, Promise::Nothing).await {
            Ok(served) => Some(served),
            Err(Error::ManifestUnknown { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    }
}

fn blobs(manifest: &Value) -> Vec<Digest> {
    let layers = manifest["layers"].as_array().into_iter().flatten();
    let named = layers.chain([&manifest["config"]]).map(|descriptor| descriptor["digest"].as_str().unwrap());
    named.map(|digest| digest.parse().unwrap()).collect()
}

fn collector(stage: &Stage) -> Collector {
    let settings = Settings { interval: Duration::from_millis(20), trash_wait: Duration::ZERO, grace: GRACE };
    Collector::new(stage.content.metadata.clone(), Arc::new(stage.store.clone()), stage.clock.clone(), settings)
}

async fn collect(collector: &Collector) -> Totals {
    let (events, mut told) = mpsc::channel(64);
    let listening = tokio::spawn(async move { while told.recv().await.is_some() {} });
    let totals = collector.collect_by_hand(COLLECTED, events, &CancellationToken::new()).await.unwrap();
    listening.await.unwrap();
    totals
}

async fn collect_by_hand(collector: Collector, counts: Arc<Counts>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        collect(&collector).await;
        one_more(&counts.collections);
        sleep(Duration::from_millis(20)).await;
    }
}

/// Tags of pull requests go as soon as they are seen, and untagged manifests with their grace.
async fn expiring(stage: &Stage) -> Expiry {
    let settings = rules::Settings { every: None, grace: GRACE, undelete: Duration::ZERO };
    let expiry = Expiry::new(stage.content.metadata.clone(), stage.clock.clone(), settings);
    let rules = [
        json!({"expire": {"tags": "pr-*", "not_pushed_for": "0s"}}),
        json!({"expire_untagged": {"after": "0s"}}),
        json!({"keep": {"tags": "pr-3"}}),
    ];
    for namespace in NAMESPACES {
        let document = Document { rules: rules.to_vec() };
        expiry.set(&About::Namespace(name(namespace)), document, Confirmed::Yes, "ada").await.unwrap();
    }
    expiry
}

async fn run_rules(expiry: Expiry, counts: Arc<Counts>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        for namespace in NAMESPACES.map(name) {
            let progress = match expiry.begin(&namespace, "ada", None).await {
                Ok(run) => match run.go(&CancellationToken::new()).await {
                    Ok(progress) => progress,
                    // Its lease lasts for a minute, and that is soon over here: the other one goes on.
                    Err(rules::Error::Stopped) => continue,
                    Err(error) => panic!("{error}"),
                },
                Err(rules::Error::Running { .. }) => continue,
                Err(error) => panic!("{error}"),
            };
            one_more(&counts.runs);
            counts.expired.fetch_add(progress.expired + progress.manifests, Ordering::Relaxed);
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Looks at everything again and again: what goes on is never a fault.
async fn examine(doctor: Doctor, counts: Arc<Counts>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let findings = doctor.findings(Depth::Deep).await.unwrap();
        assert!(findings.is_empty(), "{findings:#?}");
        one_more(&counts.examinations);
        sleep(Duration::from_millis(20)).await;
    }
}

/// A clock that goes faster.
async fn hurry(clock: Clock, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let begun = Instant::now();
        sleep(TICK).await;
        clock.advance(begun.elapsed() * (SPEED - 1));
    }
}

async fn on_disk(stage: &Stage) -> u64 {
    stage.store.list(None, 100_000).await.unwrap().iter().map(|listed| listed.size).sum()
}

async fn what_is_pulled_while_garbage_is_collected_is_complete(stage: &mut Stage) {
    let seconds = std::env::var("PORTREEVE_STRESS_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    stage.restart_with(Lives { grace: GRACE, ..Lives::default() }).await;
    let expiry = expiring(stage).await;
    let (counts, stop, mut tasks) = (Arc::new(Counts::default()), CancellationToken::new(), JoinSet::new());
    let actor = |number: u64| Actor {
        content: stage.content.clone(),
        clock: stage.clock.clone(),
        pusher: pusher(&format!("actor {number}")),
        counts: Arc::clone(&counts),
        stop: stop.clone(),
    };
    let scheduled = [collector(stage), collector(stage)];
    tasks.spawn(hurry(stage.clock.clone(), stop.clone()));
    let probe = Probe::default();
    tasks.spawn(probe.clone().beside(stage.content.metadata.clone(), stop.clone()));
    for number in 0..PUSHERS {
        tasks.spawn(actor(number).push(Chance::seeded(number)));
    }
    for number in 10..12 {
        tasks.spawn(actor(number).tag(Chance::seeded(number)));
        tasks.spawn(actor(number + 10).delete(Chance::seeded(number + 10)));
        tasks.spawn(actor(number + 20).pull(Chance::seeded(number + 20)));
        tasks.spawn(scheduled[number as usize - 10].clone().run(stop.clone()));
        tasks.spawn(collect_by_hand(collector(stage), Arc::clone(&counts), stop.clone()));
        tasks.spawn(run_rules(expiry.clone(), Arc::clone(&counts), stop.clone()));
    }
    tasks.spawn(examine(stage.doctor(), Arc::clone(&counts), stop.clone()));
    sleep(Duration::from_secs(seconds)).await;
    stop.cancel();
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let (before, left) = (on_disk(stage).await, every_image_is_complete(stage, &actor(99)).await);
    stage.pass(Duration::from_secs(1));
    collect(&collector(stage)).await;
    let after = on_disk(stage).await;
    let findings = stage.doctor().findings(Depth::Deep).await.unwrap();
    let swept: u64 = scheduled.iter().map(|collector| collector.counted().links).sum();
    let timings = stage.content.metadata.paces().timings().now();
    tell(
        stage,
        &counts,
        &Ending { left, bytes: (before, after), findings: findings.len(), swept, took: told(&timings) },
    );
    assert!(findings.is_empty(), "{findings:#?}");
    assert_eq!(counts.violations.load(Ordering::Relaxed), 0);
    // Two collectors by hand take most of them first: in a day or two there may be none left, and none where all go through one write door (SQLite).
    let many_doors = stage.content.metadata.dialect() == Dialect::Postgres;
    assert!(swept > 0 || seconds < 20 || !many_doors, "no link has met its time");
    probe.nobody_was_held_up(&timings);
    for done in [&counts.pulls, &counts.collections, &counts.expired, &counts.examinations] {
        assert!(done.load(Ordering::Relaxed) > 0, "everybody has had a turn");
    }
    let known = stage.count("SELECT CAST(coalesce(sum(size), 0) AS BIGINT) FROM blob").await;
    assert_eq!(after, u64::try_from(known).unwrap(), "bytes on disk are those of the blobs");
    stage.is_consistent().await;
}

/// Everything that is tagged at the end, pulled once more.
async fn every_image_is_complete(stage: &Stage, actor: &Actor) -> usize {
    let mut complete = 0;
    for repository in REPOSITORIES.map(name) {
        for tagged in TAGS {
            if let Some(served) = actor.look(&repository, tag(tagged).into()).await {
                let manifest: Value = serde_json::from_slice(&served.payload).unwrap();
                assert!(actor.is_complete(&repository, &manifest).await, "{repository}:{tagged} lacks a blob");
                complete += 1;
            }
        }
    }
    assert_eq!(stage.count("SELECT count(*) FROM blob WHERE state <> 'live'").await, 0, "nothing was found damaged");
    complete
}

/// What was seen at the end.
struct Ending {
    /// Images that were there,
    left: usize,
    /// bytes before and after the last collection,
    bytes: (u64, u64),
    /// what the doctor found,
    findings: usize,
    /// links that scheduled sweeps took,
    swept: u64,
    /// and how long transactions of collectors had taken.
    took: String,
}

fn tell(stage: &Stage, counts: &Counts, ending: &Ending) {
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let [pushes, late, tags, deletions, pulls] =
        [&counts.pushes, &counts.late, &counts.tags, &counts.deletions, &counts.pulls].map(of);
    let [collections, runs, expired, examinations, violations] =
        [&counts.collections, &counts.runs, &counts.expired, &counts.examinations, &counts.violations].map(of);
    let operations = pushes + tags + deletions + pulls + collections + runs + examinations;
    let database = stage.content.metadata.dialect();
    let Ending { left, bytes: (before, after), findings, swept, took } = ending;
    announce(&format!(
        "garbage stress ({database:?}): {operations} operations: {pushes} pushes ({late} behind their promises), {tags} tags, {deletions} deletions, \
         {collections} collections by hand, {swept} links by scheduled sweeps, {runs} runs of rules that took {expired} tags and manifests, \
         {examinations} examinations without a finding; {pulls} pulls verified, {left} images left and verified, {violations} violations; \
         {before} bytes before, {after} after, {findings} findings of the doctor at the end; {took}"
    ));
}
