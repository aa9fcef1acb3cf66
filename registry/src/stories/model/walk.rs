//! One walk: which real operation stands for each action, and whether its answer was the model's.

use std::collections::{BTreeMap, HashMap};

use model::{
    Action, Rows, Scenario, World, properties,
    world::{Collector, Stage},
};
use shared::database::WriteError;

use super::stage::{ModelStage, TICK, ticks};
use crate::{
    content::{
        Error, Promise, TagLimits,
        fixture::{digest_of, tag},
        manifests::DeleteManifest,
        mount::Mounted,
        tags::DeleteTag,
    },
    gc::doctor::{self, Depth},
    metadata::{
        blobs::{DeleteBlob, NotDeleted, NotHeld, PromiseBlob},
        links::collect::LinkDue,
        manifests::Due,
        repositories::Repository,
        trash::{self, ForgetTrash},
        uploads::{ExpireUploads, Known, UploadId},
    },
    settings::References,
    store::{
        StorageKey, Store,
        faulty::{Call, Fault},
    },
    stories::stage,
};

pub(super) const TAG: &str = "latest";

/// How many steps there are between two looks of the doctor.
const EXAMINE_EVERY: usize = 16;

pub(super) struct Walk<'a> {
    pub(super) stage: &'a ModelStage,
    pub(super) scenario: Scenario,
    /// Walks share a database and nothing in it: each has names and contents of its own.
    pub(super) number: u32,
    pub(super) world: World,
    /// The key that each of the model's stands for now.
    pub(super) keys: BTreeMap<u8, StorageKey>,
    pub(super) uploads: HashMap<u8, (UploadId, Repository)>,
    /// What finish told its caller to look at, and what that found.
    pub(super) known: HashMap<u8, (Known, Option<bool>)>,
    steps: Vec<Action>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(stage: &'a ModelStage, scenario: Scenario, number: u32) -> Self {
        let world = scenario.begin();
        let (keys, uploads, known, steps) = Default::default();
        Self { stage, scenario, number, world, keys, uploads, known, steps }
    }

    /// Takes the steps that `choices` stand for; answers the kinds of those that changed something, or the first difference.
    pub(super) async fn all(mut self, choices: &[u16]) -> Result<Vec<String>, String> {
        let mut changed = Vec::new();
        for choice in choices {
            let Some(action) = self.chosen(*choice) else { continue };
            self.steps.push(action);
            let stepped = self.step(action).await;
            let changes = stepped.map_err(|difference| format!("{difference}\nafter {:?}", self.steps))?;
            // What leaves everything as it was is only offered where it does something on the way.
            if changes || matches!(action, Action::HideRepository(_)) {
                changed.push(kind(&action));
            }
            if self.steps.len().is_multiple_of(EXAMINE_EVERY) {
                self.examine().await.map_err(|finding| format!("{finding}\nafter {:?}", self.steps))?;
            }
        }
        self.examine().await.map_err(|finding| format!("{finding}\nafter {:?}", self.steps))?;
        Ok(changed)
    }

    /// What the doctor says of this moment, whatever is half done: nothing, but for the bytes that a disk has lost.
    async fn examine(&self) -> Result<(), String> {
        let patient = stage::doctor(&self.stage.content, References::Lenient);
        let mut findings = patient.findings(Depth::Sizes).await.unwrap();
        findings.retain(|finding| !matches!(finding.fault, doctor::Fault::BytesMissing(_) | doctor::Fault::Damaged(_)));
        if findings.is_empty() { Ok(()) } else { Err(format!("the doctor finds {findings:#?}")) }
    }

    /// Half of the choices let a push go on, or nothing would ever be there; with an eighth time goes on, or nothing would ever be over; an eighth ask for
    /// what may change nothing, as every client and every list may.
    fn chosen(&self, choice: u16) -> Option<Action> {
        let mut possible = Vec::new();
        self.scenario.actions(&self.world, &mut possible);
        let changes = |action: &Action| self.scenario.step(&self.world, *action).is_some();
        match choice % 8 {
            // Only the model is short of keys and of room for uploads.
            0 => possible.retain(|action| !matches!(action, Action::Start(_)) || changes(action)),
            1..5 => possible.retain(|action| goes_on(action) && changes(action)),
            5 => possible.retain(|action| *action == Action::Tick),
            _ => possible.retain(changes),
        }
        possible.get(usize::from(choice / 8) % possible.len().max(1)).copied()
    }

    /// Takes a step; answers whether it changed anything.
    async fn step(&mut self, action: Action) -> Result<bool, String> {
        let before = self.world;
        let next = self.scenario.step(&before, action);
        self.world = next.unwrap_or(before);
        self.run(action, &before, next.is_some()).await?;
        let observed = self.observed().await;
        if observed != self.world.rows {
            return Err(differences(&self.world.rows, &observed));
        }
        for (name, holds) in properties::ALL {
            if !holds(&self.scenario, &self.world) {
                return Err(format!("{name} does not hold"));
            }
        }
        self.compare_reads().await?;
        Ok(next.is_some())
    }

    /// Does for real what the action stands for. `changed` is whether the model changed, `before` what it was.
    async fn run(&mut self, action: Action, before: &World, changed: bool) -> Result<(), String> {
        let (content, metadata) = (&self.stage.content, &self.stage.content.metadata);
        match action {
            Action::Look(client) => self.look(client, before).await,
            Action::Promise(client) => {
                let (repository, digest, pusher) = self.bringing(client, before);
                let hot = metadata.blobs().clone();
                let promise = PromiseBlob { repository, digest, holder: pusher.holder, renewal: false, hot };
                let done = match metadata.write(promise).await {
                    Ok(()) => true,
                    Err(WriteError::Refused(NotHeld)) => false,
                    Err(WriteError::Unavailable(error)) => panic!("{error}"),
                };
                same("a promise", self.world.clients[usize::from(client)].stage != Stage::Absent, done)
            }
            Action::Head(client) => {
                let (repository, digest, pusher) = self.bringing(client, before);
                let found = known(content.stat_blob(&repository, &digest, Promise::To(&pusher)).await)?;
                same("a promised blob", self.world.clients[usize::from(client)].stage != Stage::Absent, found)
            }
            Action::Mount(client, from) => {
                let (into, digest, pusher) = self.bringing(client, before);
                let mounted = content.mount(&into, &self.name(from), &digest, &pusher).await.unwrap();
                same("a mount", changed, mounted == Mounted::Linked)
            }
            Action::Start(client) => self.start(client, before).await,
            Action::Write(client) => {
                let upload = before.clients[usize::from(client)].upload().unwrap();
                let key = before.rows.uploads[usize::from(upload)].unwrap().key;
                let digest = self.scenario.blob(before, client).unwrap();
                self.stage.store.put(&self.keys[&key], self.bytes_of(digest)).await.unwrap();
                Ok(())
            }
            Action::Finish(client) => self.finish(client, before).await,
            Action::Stat(client) => {
                let (known, _) = self.known[&client].clone();
                let sound = self.stage.store.size(&known.key).await.unwrap() == Some(known.size);
                self.known.insert(client, (known, Some(sound)));
                let Stage::Looked(_, looked) = self.world.clients[usize::from(client)].stage else { return Ok(()) };
                same("a look at bytes", looked.sound, sound)
            }
            Action::Cancel(client) => {
                let upload = before.clients[usize::from(client)].upload().unwrap();
                let repository = self.bringing(client, before).0;
                let ended = content.cancel_upload(&repository, self.uploads[&upload].0).await;
                same("a cancelled upload", before.rows.uploads[usize::from(upload)].unwrap().left > 0, ended.is_ok())
            }
            Action::LookAtChildren(client) => self.look_at_children(client, before).await,
            Action::Put(client) => self.put(client, before).await,
            Action::DeleteManifest(repository, manifest) => {
                let delete = DeleteManifest {
                    repository: self.name(repository),
                    digest: digest_of(&self.payload(manifest)),
                    condition: None,
                    limits: TagLimits::Everything,
                    actor: "walk".to_owned(),
                    undelete_window: ticks(self.scenario.rules.lives.window),
                };
                same("a deleted manifest", changed, known(content.delete_manifest(delete).await)?)
            }
            Action::RestoreManifest(repository, manifest) => {
                let mut rows = before.rows;
                let expected = rows.restore_manifest(&self.scenario.rules, repository, manifest);
                same("a restored manifest", expected, self.restore(repository, manifest).await?)
            }
            Action::HideRepository(repository) => self.hide(repository).await,
            Action::DeleteTag(repository) => {
                let delete = DeleteTag {
                    repository: self.name(repository),
                    tag: tag(TAG),
                    condition: None,
                    limits: TagLimits::Everything,
                    actor: "walk".to_owned(),
                };
                same("a deleted tag", changed, known(content.delete_tag(delete).await)?)
            }
            _ => self.run_for_operators(action, before, changed).await,
        }
    }

    /// What is done to rows and bytes as such, by operators, collectors, the store and time.
    async fn run_for_operators(&mut self, action: Action, before: &World, changed: bool) -> Result<(), String> {
        let (metadata, store) = (&self.stage.content.metadata, &self.stage.store);
        match action {
            Action::DeleteBlob(repository, digest) => {
                let (repository, digest) = (self.name(repository), self.digest(digest));
                let delete = DeleteBlob { repository, digest, hot: metadata.blobs().clone() };
                let done = match metadata.write(delete).await {
                    Ok(()) => true,
                    Err(WriteError::Refused(
                        NotDeleted::NotHeld | NotDeleted::InUse(_) | NotDeleted::PurgeFirst(_),
                    )) => false,
                    Err(WriteError::Unavailable(error)) => panic!("{error}"),
                };
                same("a deleted blob", changed, done)
            }
            Action::Purge(repository, manifest) => {
                same("a purge", changed, self.purge(repository, manifest, Due::AfterWindow).await)
            }
            Action::PurgeAtOnce(repository, manifest) => {
                same("a purge at once", changed, self.purge(repository, manifest, Due::AtOnce).await)
            }
            Action::ExpireManifest(repository, manifest) => {
                same("a purge of what nothing holds", changed, self.purge(repository, manifest, Due::Untagged).await)
            }
            Action::CollectLink(repository, digest) => self.collect(repository, digest, LinkDue::Expired, before).await,
            Action::CollectByHand(repository, digest) => {
                self.collect(repository, digest, LinkDue::Unpromised, before).await
            }
            Action::ExpireUpload(upload) => {
                let expire = ExpireUploads { ids: vec![self.uploads[&upload].0] };
                same("expired uploads", usize::from(changed), metadata.write(expire).await.unwrap())
            }
            Action::Take(_, key) => {
                let due = self.stage.clock.now() - ticks(self.scenario.rules.lives.trash);
                let mut reader = metadata.read().await.unwrap();
                let due = trash::due(&mut reader, store.name(), due, 1_000_000).await.unwrap();
                same("trash that is due", true, due.contains(&self.keys[&key]))
            }
            Action::DeleteBytes(collector) | Action::LoseAnswer(collector) => {
                let Collector::Deletes(key) = before.collectors[usize::from(collector)] else { return Ok(()) };
                let lost = matches!(action, Action::LoseAnswer(_));
                if lost {
                    store.plan(Call::Delete, Fault::LostAnswer);
                }
                same("deleted bytes", !lost, store.delete(&[self.keys[&key].clone()]).await.is_ok())
            }
            Action::Forget(collector) => {
                let Collector::Deleted(key) = before.collectors[usize::from(collector)] else { return Ok(()) };
                metadata.write(ForgetTrash { keys: vec![self.keys[&key].clone()] }).await.unwrap();
                Ok(())
            }
            Action::DeleteLate(key) => {
                store.delete(&[self.keys[&key].clone()]).await.unwrap();
                Ok(())
            }
            Action::LoseBytes(key) => {
                if changed {
                    store.delete(&[self.keys[&key].clone()]).await.unwrap();
                }
                Ok(())
            }
            Action::FindMissing(digest) => self.read_damaged(digest).await,
            Action::Tick => {
                self.stage.clock.advance(TICK);
                Ok(())
            }
            // What ends in the middle of something leaves nothing behind but what it was in the middle of.
            Action::GiveUp(_) | Action::Crash(_) => Ok(()),
            other => Err(format!("no operation stands for {other:?}")),
        }
    }
}

/// Whether it is a step of a push.
const fn goes_on(action: &Action) -> bool {
    matches!(
        action,
        Action::Look(_)
            | Action::Promise(_)
            | Action::Head(_)
            | Action::Mount(..)
            | Action::Start(_)
            | Action::Write(_)
            | Action::Finish(_)
            | Action::Stat(_)
            | Action::LookAtChildren(_)
            | Action::Put(_)
    )
}

/// The name of an action without its numbers.
fn kind(action: &Action) -> String {
    format!("{action:?}").split('(').next().unwrap_or_default().to_owned()
}

/// Whether it is there.
pub(super) fn known<T>(answer: Result<T, Error>) -> Result<bool, String> {
    match answer {
        Ok(_) => Ok(true),
        Err(Error::BlobUnknown { .. } | Error::ManifestUnknown { .. }) => Ok(false),
        Err(error) => Err(error.to_string()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "callers compare what they have just made")]
pub(super) fn same<T: PartialEq + std::fmt::Debug>(what: &str, expected: T, found: T) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(format!("{what}: the model says {expected:?}, the program {found:?}")) }
}

/// What differs between the model's rows and the real ones, table by table.
fn differences(expected: &Rows, found: &Rows) -> String {
    let tables = |rows: &Rows| {
        [
            format!("blob {:?}", rows.blobs),
            format!("link {:?}", rows.links),
            format!("manifest {:?}", rows.manifests),
            format!("tag {:?}", rows.tags),
            format!("upload {:?}", rows.uploads),
            format!("trash {:?}", rows.trash),
            format!("bytes {:?}", rows.bytes),
        ]
    };
    let pairs = tables(expected).into_iter().zip(tables(found)).filter(|(expected, found)| expected != found);
    pairs
        .map(|(expected, found)| format!("the model says {expected}\nthe program  {found}"))
        .collect::<Vec<_>>()
        .join("\n")
}
