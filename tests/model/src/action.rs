//! What can happen next.

use crate::{
    Job, Number, Power, References, Scenario, Variant, World,
    rows::at,
    scenario::Grain,
    world::{Collector, Stage},
};

/// One step of somebody. `Client` and `Collector` steps name the actor first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// HEAD of a blob by a pusher, the read: `blobs::find`, `Lease::covers`.
    Look(Number),
    /// HEAD of a blob by a pusher, the write: `PromiseBlob`.
    Promise(Number),
    /// Both, one right behind the other: `Content::stat_blob`, which may look in memory.
    Head(Number),
    /// POST with `mount` and `from`: `MountBlob`.
    Mount(Number, Number),
    /// POST of an upload: `StartUpload`.
    Start(Number),
    /// PATCH and PUT of an upload up to its sync: `Store::create`, `OpenUpload::write`, `OpenUpload::finish`.
    Write(Number),
    /// The end of PUT of an upload: `FinishUpload`.
    Finish(Number),
    /// Between two runs of the last: `Store::size`.
    Stat(Number),
    /// DELETE of an upload: `EndUpload` by its client.
    Cancel(Number),
    /// All of an upload at once, where the scenario is coarse.
    Upload(Number),
    /// HEAD of the children of an index by its pusher: `manifests::find`, `manifests::renew`.
    LookAtChildren(Number),
    /// Under [`Variant::ReferencesById`] alone: PUT of a manifest reads the ids of the blobs that it names.
    Resolve(Number),
    /// PUT of a manifest: `PutManifest`.
    Put(Number),
    /// A pusher goes, and never comes back to what it was doing.
    GiveUp(Number),
    /// DELETE of a manifest: `DeleteManifest`.
    DeleteManifest(Number, Number),
    /// An administrator brings a manifest back: `Content::restore_manifest`, without its tags and without force.
    RestoreManifest(Number, Number),
    /// The first half of that: `deleted::kept`.
    ReadDeleted(Number, Number),
    /// The second: `Put` with `Purpose::Restore`.
    BringBack,
    /// A repository without an upload is deleted and comes back: `DeleteRepository`, `RestoreRepository`. Nothing has changed then.
    HideRepository(Number),
    /// A repository is deleted: `DeleteRepository`.
    DeleteRepository(Number),
    /// The deleted one of this name comes back, in the place of another: `RestoreRepository` with force.
    RestoreRepository(Number),
    /// A sweep: a step of `PurgeRepository`, or of `CollectLinks` between two of them.
    PurgeRepository(Number),
    /// `garbage-collect`: the same, while its window is open.
    PurgeRepositoryAtOnce(Number),
    /// DELETE of a tag: `DeleteTag`.
    DeleteTag(Number),
    /// DELETE of a blob: `DeleteBlob`. (Where only deleted manifests name it, `PurgeAtOnce` comes first.)
    DeleteBlob(Number, Number),
    /// A sweep: `Purge` of a deleted manifest whose window has passed.
    Purge(Number, Number),
    /// `garbage-collect`, and DELETE of a blob: `Purge` of a deleted manifest at once.
    PurgeAtOnce(Number, Number),
    /// `garbage-collect --delete-untagged`: `Purge` of a living manifest that nothing held for its grace.
    ExpireManifest(Number, Number),
    /// A sweep: `CollectLinks` of one that has expired. That it lists links first is left out: it looks again under its locks, so a list is only a guess where to look.
    CollectLink(Number, Number),
    /// `garbage-collect`: `CollectLinks` of one without a reference whose promise is over, whatever its expiry.
    CollectByHand(Number, Number),
    /// A sweep: `ExpireUploads`.
    ExpireUpload(Number),
    /// A sweep: `trash::due` gives a collector a key, and it asks the store to delete it.
    Take(Number, Number),
    /// The store deletes: `Store::delete`.
    DeleteBytes(Number),
    /// The store deletes, and its answer is lost.
    LoseAnswer(Number),
    /// A sweep: `ForgetTrash`.
    Forget(Number),
    /// A collector's process dies.
    Crash(Number),
    /// The store carries out a deletion that was asked for by somebody who is gone.
    DeleteLate(Number),
    /// All of this at once, where the scenario is coarse.
    Empty(Number),
    /// Under [`Variant::BytesFirst`] alone: a collector finds that a link can go, and with it its blob's bytes.
    Review(Number, Number, Number),
    /// Under [`Variant::BytesFirst`] alone: it deletes the rows whose bytes it has deleted, if nothing changed.
    DeleteRows(Number),
    /// The disk loses bytes.
    LoseBytes(Number),
    /// A reader finds no bytes where there should be some: `MarkDamaged`.
    FindMissing(Number),
    /// Time passes.
    Tick,
}

impl Scenario {
    /// The push that a client is at, if it has one left.
    #[must_use]
    pub fn job(&self, world: &World, client: Number) -> Option<&'static Job> {
        let jobs: &'static [Job] = self.clients.get(at(client))?;
        jobs.get(at(world.clients[at(client)].job))
    }

    /// The blob that a client brings now.
    #[must_use]
    pub fn blob(&self, world: &World, client: Number) -> Option<Number> {
        let job = self.job(world, client)?;
        self.rules.shape(job.manifest).blobs.get(at(world.clients[at(client)].blob)).copied()
    }

    /// Everything that can happen now. Some of it may turn out to change nothing.
    pub fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        (0..).take(self.clients.len()).for_each(|client| self.of_client(world, client, actions));
        (0..).take(self.collectors).for_each(|collector| self.of_collector(world, collector, actions));
        self.of_sweeps(world, actions);
        self.of_operators(world, actions);
        self.of_the_store(world, actions);
        actions.push(Action::Tick);
    }

    fn of_client(&self, world: &World, client: Number, actions: &mut Vec<Action>) {
        let Some(job) = self.job(world, client) else { return };
        let stage = world.clients[at(client)].stage;
        let may_look = self.allows(Power::LookAtManifests) && !self.rules.shape(job.manifest).children.is_empty();
        match stage {
            Stage::Begins if job.references == References::Lenient => actions.push(self.puts(client)),
            Stage::Begins => {
                actions.push(Action::Look(client));
                if self.allows(Power::LookAndPromise) {
                    actions.push(Action::Head(client));
                }
            }
            Stage::Found => actions.push(Action::Promise(client)),
            Stage::Absent => {
                let sources = (0..).take(self.repositories).filter(|from| *from != job.repository);
                actions.extend(sources.map(|from| Action::Mount(client, from)));
                actions.push(if self.grain == Grain::Fine { Action::Start(client) } else { Action::Upload(client) });
            }
            Stage::Started(_) => actions.push(Action::Write(client)),
            Stage::Written(_) | Stage::Looked(..) => actions.push(Action::Finish(client)),
            Stage::Told(..) => actions.push(Action::Stat(client)),
            Stage::Ready if may_look && world.clients[at(client)].promised_children == [0, 0] => {
                actions.extend([Action::LookAtChildren(client), self.puts(client)]);
            }
            Stage::Ready => actions.push(self.puts(client)),
            Stage::Resolved(_) => actions.push(Action::Put(client)),
        }
        if self.allows(Power::GiveUp) {
            actions.push(Action::GiveUp(client));
        }
        if self.allows(Power::Cancel) && matches!(stage, Stage::Started(_) | Stage::Written(_)) {
            actions.push(Action::Cancel(client));
        }
    }

    fn puts(&self, client: Number) -> Action {
        if self.rules.variant == Variant::ReferencesById { Action::Resolve(client) } else { Action::Put(client) }
    }

    fn of_collector(&self, world: &World, collector: Number, actions: &mut Vec<Action>) {
        match world.collectors[at(collector)] {
            Collector::Idle => {
                // Collectors are alike: of two idle ones the first does what either could.
                if world.collectors[..at(collector)].contains(&Collector::Idle) {
                    return;
                }
                actions.extend(due(world).map(|key| Action::Take(collector, key)));
                if self.rules.variant == Variant::BytesFirst {
                    actions
                        .extend(self.links().map(|(repository, digest)| Action::Review(collector, repository, digest)));
                }
            }
            Collector::Deletes(_) | Collector::Reviewed(..) => actions.extend([
                Action::DeleteBytes(collector),
                Action::LoseAnswer(collector),
                Action::Crash(collector),
            ]),
            Collector::Deleted(_) => actions.extend([Action::Forget(collector), Action::Crash(collector)]),
            Collector::BytesGone(..) => actions.extend([Action::DeleteRows(collector), Action::Crash(collector)]),
        }
    }

    fn of_sweeps(&self, world: &World, actions: &mut Vec<Action>) {
        if self.rules.variant != Variant::BytesFirst {
            actions.extend(self.links().map(|(repository, digest)| Action::CollectLink(repository, digest)));
        }
        actions.extend(self.manifests().map(|(repository, manifest)| Action::Purge(repository, manifest)));
        if self.allows(Power::ExpireManifests) {
            actions.extend(self.manifests().map(|(repository, manifest)| Action::ExpireManifest(repository, manifest)));
        }
        for (upload, row) in (0..).zip(&world.rows.uploads) {
            if row.is_some_and(|row| row.left == 0) && !world.is_busy(upload) {
                actions.push(Action::ExpireUpload(upload));
            }
        }
        if self.grain == Grain::Coarse {
            actions.extend(due(world).map(Action::Empty));
        }
    }

    fn of_operators(&self, world: &World, actions: &mut Vec<Action>) {
        if self.allows(Power::DeleteManifests) {
            actions.extend(self.manifests().map(|(repository, manifest)| Action::DeleteManifest(repository, manifest)));
        }
        if self.allows(Power::Restore) {
            actions
                .extend(self.manifests().map(|(repository, manifest)| Action::RestoreManifest(repository, manifest)));
            let whole = |repository: &Number| world.rows.is_whole(*repository);
            actions.extend((0..).take(self.repositories).filter(whole).map(Action::HideRepository));
        }
        if self.allows(Power::Undelete) {
            actions.extend(self.manifests().map(|(repository, manifest)| Action::ReadDeleted(repository, manifest)));
            actions.push(Action::BringBack);
        }
        if self.allows(Power::DeleteRepositories) {
            let names = || (0..).take(self.repositories);
            actions.extend(names().map(Action::DeleteRepository).chain(names().map(Action::RestoreRepository)));
            actions.extend((0..).take(self.slots()).map(Action::PurgeRepository));
            if self.allows(Power::CollectByHand) {
                actions.extend((0..).take(self.slots()).map(Action::PurgeRepositoryAtOnce));
            }
        }
        if self.allows(Power::DeleteTags) {
            actions.extend((0..).take(self.repositories).map(Action::DeleteTag));
        }
        if self.allows(Power::DeleteBlobs) {
            actions.extend(self.links().map(|(repository, digest)| Action::DeleteBlob(repository, digest)));
        }
        if self.allows(Power::CollectByHand) {
            actions.extend(self.links().map(|(repository, digest)| Action::CollectByHand(repository, digest)));
        }
        if self.allows(Power::CollectByHand) || self.allows(Power::DeleteBlobs) {
            actions.extend(self.manifests().map(|(repository, manifest)| Action::PurgeAtOnce(repository, manifest)));
        }
        if self.allows(Power::LoseBytes) && !world.disk_failed {
            let lost = world.rows.blobs.iter().flatten().map(|blob| Action::LoseBytes(blob.key));
            actions.extend(lost);
        }
    }

    fn of_the_store(&self, world: &World, actions: &mut Vec<Action>) {
        actions.extend(world.late.iter().map(Action::DeleteLate));
        for (digest, blob) in (0..).zip(&world.rows.blobs) {
            if blob.is_some_and(|blob| !blob.damaged && world.lost.has(blob.key)) {
                actions.push(Action::FindMissing(digest));
            }
        }
    }

    fn links(&self) -> impl Iterator<Item = (Number, Number)> {
        let digests = self.digests;
        (0..).take(self.slots()).flat_map(move |repository| (0..).take(digests).map(move |digest| (repository, digest)))
    }

    fn manifests(&self) -> impl Iterator<Item = (Number, Number)> {
        let manifests = self.rules.shapes.len();
        (0..)
            .take(self.slots())
            .flat_map(move |repository| (0..).take(manifests).map(move |manifest| (repository, manifest)))
    }
}

/// `trash::due`.
fn due(world: &World) -> impl Iterator<Item = Number> {
    (0..).zip(world.rows.trash).filter(|(_, left)| *left == Some(0)).map(|(key, _)| key)
}
