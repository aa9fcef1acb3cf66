//! What each action does.

use crate::{
    Action, DELETIONS, Job, Number, References, Scenario, VERSIONS, Variant, World,
    rows::{
        Set, Tag, at,
        links::{Collected, Look},
        uploads::{Finished, Looked},
    },
    scenario::Grain,
    world::{Client, Collector, Stage},
};

impl Scenario {
    /// The first moment: nothing is there.
    #[must_use]
    pub fn begin(&self) -> World {
        let mut world = World::default();
        (0..).take(self.clients.len()).for_each(|client| self.begin_job(&mut world, client, 0));
        world
    }

    /// What the action leads to. None if it changes nothing.
    #[must_use]
    pub fn step(&self, world: &World, action: Action) -> Option<World> {
        let mut next = *world;
        self.act(&mut next, action)?;
        let known = next.known_keys();
        next.lost.iter().filter(|key| !known.has(*key)).for_each(|key| next.lost.remove(key));
        next.collectors[..self.collectors].sort_unstable();
        if !self.histories {
            next.rows.tags.iter_mut().for_each(Tag::forget_history);
        }
        let bounded = next.rows.tags.iter().all(|tag| at(tag.version) <= VERSIONS);
        (bounded && next != *world).then_some(next)
    }

    fn act(&self, world: &mut World, action: Action) -> Option<()> {
        match action {
            Action::Look(client)
            | Action::Promise(client)
            | Action::Head(client)
            | Action::Mount(client, _)
            | Action::Start(client)
            | Action::Write(client)
            | Action::Finish(client)
            | Action::Stat(client)
            | Action::Upload(client) => self.bring(world, client, action),
            Action::LookAtChildren(client) => self.look_at_children(world, client),
            Action::Resolve(client) => self.resolve(world, client),
            Action::Put(client) => self.put(world, client),
            Action::GiveUp(client) => {
                let job = self.job(world, client).map(|_| world.clients[at(client)].job)?;
                self.begin_job(world, client, job + 1);
                Some(())
            }
            Action::Cancel(client) => {
                world.rows.cancel_upload(&self.rules, world.clients[at(client)].upload()?);
                self.begin_job(world, client, world.clients[at(client)].job + 1);
                Some(())
            }
            Action::Take(..)
            | Action::DeleteBytes(_)
            | Action::LoseAnswer(_)
            | Action::Forget(_)
            | Action::Crash(_)
            | Action::Review(..)
            | Action::DeleteRows(_) => self.collect(world, action),
            Action::DeleteLate(key) => {
                world.late.remove(key);
                world.rows.bytes.remove(key);
                Some(())
            }
            Action::LoseBytes(key) => {
                // A finish that has looked cannot know what happens afterwards.
                let looked = |client: &Client| matches!(client.stage, Stage::Looked(..));
                if !world.rows.bytes.has(key) || world.clients.iter().any(looked) {
                    return None;
                }
                world.disk_failed = true;
                world.lost.insert(key);
                world.rows.bytes.remove(key);
                Some(())
            }
            Action::FindMissing(digest) => {
                let blob = world.rows.blobs[at(digest)]?;
                world.rows.mark_damaged(digest, blob.key);
                Some(())
            }
            Action::Tick => {
                self.tick(world);
                Some(())
            }
            Action::ReadDeleted(repository, manifest) => {
                let reads = world.undeleting.is_none()
                    && world.rows.hidden[at(repository)].is_none()
                    && world.rows.can_come_back(repository, manifest);
                // It is known by its repository's name, which may be another's when it is written.
                let name = world.rows.slot(repository);
                world.undeleting = Some((name, manifest)).filter(|_| reads);
                reads.then_some(())
            }
            Action::BringBack => {
                let (name, manifest) = world.undeleting.take()?;
                let repository = world.rows.slot(name);
                world.rows.bring_back(&self.rules, repository, manifest);
                Some(())
            }
            _ => self.sweep_or_operate(world, action),
        }
    }

    /// Steps that are one operation, whoever asks for it.
    fn sweep_or_operate(&self, world: &mut World, action: Action) -> Option<()> {
        let (rules, rows) = (&self.rules, &mut world.rows);
        let done = match action {
            Action::DeleteManifest(repository, _) | Action::DeleteBlob(repository, _)
                if rows.hidden[at(repository)].is_some() =>
            {
                false
            }
            Action::DeleteManifest(repository, manifest) => {
                let deleted = rows.delete_manifest(rules, repository, manifest, rules.lives.window);
                self.forget_manifest(world, repository, manifest);
                deleted
            }
            Action::RestoreManifest(repository, manifest) => rows.restore_manifest(rules, repository, manifest),
            Action::DeleteRepository(name) => {
                let fine = self.grain == Grain::Fine;
                let deleted = !(fine && world.deletions == DELETIONS) && rows.delete_repository(rules, name);
                world.deletions += u8::from(fine && deleted);
                self.forget_repository(world, name, deleted)
            }
            Action::RestoreRepository(name) => {
                let restored = rows.restore_repository(rules, name);
                self.forget_repository(world, name, restored)
            }
            Action::PurgeRepository(repository) => rows.purge_repository(rules, repository, false),
            Action::PurgeRepositoryAtOnce(repository) => rows.purge_repository(rules, repository, true),
            Action::DeleteTag(name) => rows.delete_tag(rules, rows.slot(name)),
            Action::DeleteBlob(repository, digest) => {
                let deleted = rows.remove_unnamed(rules, repository, digest);
                // Whoever deletes a blob by hand breaks what was promised about it: that is what was asked for.
                if deleted {
                    self.forget_blob(world, repository, digest);
                }
                deleted
            }
            Action::Purge(repository, manifest) => rows.purge(rules, repository, manifest),
            Action::PurgeAtOnce(repository, manifest) => rows.purge_at_once(rules, repository, manifest),
            Action::ExpireManifest(repository, manifest) => {
                let held = rows.is_held(rules, repository, manifest);
                let expired = rows.expire_manifest(rules, repository, manifest);
                world.broken.hold |= expired && held;
                expired
            }
            Action::CollectLink(repository, digest) | Action::CollectByHand(repository, digest) => {
                let named = self.is_named(world, repository, digest);
                let collected = match action {
                    Action::CollectLink(..) => world.rows.collect_link(rules, repository, digest),
                    _ => world.rows.collect_by_hand(rules, repository, digest),
                };
                world.broken.reference |= named && collected == Collected::Gone;
                collected != Collected::Left
            }
            Action::ExpireUpload(upload) => rows.end_upload(rules, upload),
            Action::Empty(key) => {
                rows.bytes.remove(key);
                rows.forget_trash(key);
                true
            }
            _ => false,
        };
        done.then_some(())
    }

    /// A step of a push that brings a blob.
    fn bring(&self, world: &mut World, number: Number, action: Action) -> Option<()> {
        let (job, digest) = (self.job(world, number)?, self.blob(world, number)?);
        let (rules, stage) = (&self.rules, world.clients[at(number)].stage);
        let repository = world.rows.slot(job.repository);
        let life = rules.lives.promise;
        let to = match (action, stage) {
            (Action::Look(_), _) => match world.rows.look(rules, repository, digest, job.holder) {
                Look::Covered(left) => return self.promised(world, number, digest, left),
                Look::ToPromise => Stage::Found,
                Look::Missing => Stage::Absent,
            },
            (Action::Promise(_), _) => {
                if world.rows.promise_blob(rules, repository, digest, job.holder) {
                    return self.promised(world, number, digest, life);
                }
                Stage::Absent
            }
            (Action::Head(_), _) => {
                self.bring(world, number, Action::Look(number))?;
                return match world.clients[at(number)].stage {
                    Stage::Found => self.bring(world, number, Action::Promise(number)),
                    _ => Some(()),
                };
            }
            (Action::Mount(_, from), _) => {
                let from = world.rows.slot(from);
                let mounted = world.rows.mount(rules, repository, from, digest, job.holder);
                return if mounted { self.promised(world, number, digest, life) } else { None };
            }
            (Action::Start(_), _) => {
                let key = world.draw_key(self, digest)?;
                Stage::Started(world.rows.start_upload(rules, repository, key)?)
            }
            (Action::Write(_), Stage::Started(upload)) => {
                let key = world.rows.uploads[at(upload)]?.key;
                world.broken.key |= world.rows.bytes.has(key);
                world.rows.bytes.insert(key);
                Stage::Written(upload)
            }
            (Action::Stat(_), Stage::Told(upload, key)) => {
                Stage::Looked(upload, Looked { key, sound: world.rows.bytes.has(key) })
            }
            (Action::Finish(_), Stage::Written(upload)) => return self.finish(world, number, upload, None),
            (Action::Finish(_), Stage::Looked(upload, looked)) => {
                return self.finish(world, number, upload, Some(looked));
            }
            (Action::Upload(_), _) if self.grain == Grain::Coarse => return self.upload(world, number),
            _ => return None,
        };
        world.clients[at(number)].stage = to;
        Some(())
    }

    fn finish(&self, world: &mut World, number: Number, upload: Number, looked: Option<Looked>) -> Option<()> {
        let (job, digest) = (self.job(world, number)?, self.blob(world, number)?);
        match world.rows.finish_upload(&self.rules, upload, digest, job.holder, looked) {
            Finished::New | Finished::Surplus | Finished::Healed => {
                world.broken.healing |=
                    !world.rows.blobs[at(digest)].is_some_and(|blob| world.rows.bytes.has(blob.key));
                self.promised(world, number, digest, self.rules.lives.promise)
            }
            Finished::LookFirst(key) => {
                world.clients[at(number)].stage = Stage::Told(upload, key);
                Some(())
            }
            Finished::NotYours => {
                world.clients[at(number)].stage = Stage::Absent;
                Some(())
            }
        }
    }

    /// The steps of an upload, one after the other.
    fn upload(&self, world: &mut World, number: Number) -> Option<()> {
        for action in [Action::Start(number), Action::Write(number), Action::Finish(number)] {
            self.bring(world, number, action)?;
        }
        if matches!(world.clients[at(number)].stage, Stage::Told(..)) {
            self.bring(world, number, Action::Stat(number))?;
            self.bring(world, number, Action::Finish(number))?;
        }
        Some(())
    }

    /// A pusher was told that a blob is there; it goes on to the next.
    fn promised(&self, world: &mut World, number: Number, digest: Number, left: u8) -> Option<()> {
        let client = &mut world.clients[at(number)];
        client.promised[at(digest)] = left;
        client.blob += 1;
        world.clients[at(number)].stage = if self.blob(world, number).is_some() { Stage::Begins } else { Stage::Ready };
        Some(())
    }

    fn look_at_children(&self, world: &mut World, number: Number) -> Option<()> {
        let job = self.job(world, number)?;
        let repository = world.rows.slot(job.repository);
        for (place, child) in self.rules.shape(job.manifest).children.iter().enumerate() {
            let left = world.rows.look_at_manifest(&self.rules, repository, *child);
            world.clients[at(number)].promised_children[place] = left.unwrap_or(0);
        }
        Some(())
    }

    fn resolve(&self, world: &mut World, number: Number) -> Option<()> {
        let job = self.job(world, number)?;
        let mut found = Set::default();
        let blobs = self.rules.shape(job.manifest).blobs.iter();
        blobs
            .filter(|it| world.rows.link(world.rows.slot(job.repository), **it).is_some())
            .for_each(|it| found.insert(*it));
        world.clients[at(number)].stage = Stage::Resolved(found);
        Some(())
    }

    fn put(&self, world: &mut World, number: Number) -> Option<()> {
        let job = self.job(world, number)?;
        let client = world.clients[at(number)];
        let resolved = if let Stage::Resolved(resolved) = client.stage { resolved } else { Set::default() };
        let into = Job { repository: world.rows.slot(job.repository), ..*job };
        if world.rows.put(&self.rules, &into, resolved).is_err() {
            let blobs = self.rules.shape(job.manifest).blobs;
            let promised = blobs.iter().all(|digest| client.promised[at(*digest)] > 0);
            let damaged = blobs.iter().any(|digest| world.rows.blobs[at(*digest)].is_some_and(|blob| blob.damaged));
            world.broken.push |= promised && !damaged && job.references == References::Image;
        }
        self.begin_job(world, number, client.job + 1);
        Some(())
    }

    fn begin_job(&self, world: &mut World, number: Number, job: u8) {
        world.clients[at(number)] = Client { job, ..Client::default() };
        if self.job(world, number).is_some_and(|job| self.rules.shape(job.manifest).blobs.is_empty()) {
            world.clients[at(number)].stage = Stage::Ready;
        }
    }

    fn collect(&self, world: &mut World, action: Action) -> Option<()> {
        let (Action::Take(number, _)
        | Action::DeleteBytes(number)
        | Action::LoseAnswer(number)
        | Action::Forget(number)
        | Action::Crash(number)
        | Action::Review(number, ..)
        | Action::DeleteRows(number)) = action
        else {
            return None;
        };
        let to = match (action, world.collectors[at(number)]) {
            (Action::Take(_, key), _) => Collector::Deletes(key),
            (Action::DeleteBytes(_), Collector::Deletes(key)) => {
                world.rows.bytes.remove(key);
                Collector::Deleted(key)
            }
            (Action::LoseAnswer(_), Collector::Deletes(key)) => {
                world.rows.bytes.remove(key);
                Collector::Idle
            }
            (Action::Crash(_), Collector::Deletes(key) | Collector::Reviewed(.., key)) => {
                world.late.insert(key);
                Collector::Idle
            }
            (Action::Forget(_), Collector::Deleted(key)) => {
                world.rows.forget_trash(key);
                Collector::Idle
            }
            (Action::Crash(_), Collector::Deleted(_) | Collector::BytesGone(..)) => Collector::Idle,
            (Action::Review(_, repository, digest), _) => self.review(world, repository, digest)?,
            (Action::DeleteBytes(_), Collector::Reviewed(repository, digest, key)) => {
                world.rows.bytes.remove(key);
                Collector::BytesGone(repository, digest)
            }
            (Action::DeleteRows(_), Collector::BytesGone(repository, digest)) => {
                let key = world.rows.blobs[at(digest)].map(|blob| blob.key);
                if world.rows.collect_link(&self.rules, repository, digest) == Collected::Gone {
                    key.into_iter().for_each(|key| world.rows.forget_trash(key));
                }
                Collector::Idle
            }
            _ => return None,
        };
        world.collectors[at(number)] = to;
        Some(())
    }

    /// The first half of [`Variant::BytesFirst`]: a link that is not the last needs no bytes deleted.
    fn review(&self, world: &mut World, repository: Number, digest: Number) -> Option<Collector> {
        let rows = &mut world.rows;
        if !rows.is_collectable(repository, digest) || rows.is_named(&self.rules, repository, digest) {
            return None;
        }
        if rows.links.iter().flat_map(|links| links[at(digest)]).count() > 1 {
            rows.collect_link(&self.rules, repository, digest);
            return Some(Collector::Idle);
        }
        Some(Collector::Reviewed(repository, digest, rows.blobs[at(digest)]?.key))
    }

    fn tick(&self, world: &mut World) {
        world.rows.tick();
        for client in &mut world.clients {
            for left in client.promised.iter_mut().chain(&mut client.promised_children) {
                *left = left.saturating_sub(1);
            }
        }
    }

    /// What was promised about a blob that somebody deletes by hand is void.
    fn forget_blob(&self, world: &mut World, repository: Number, digest: Number) {
        for number in (0..).take(self.clients.len()) {
            if self.job(world, number).is_some_and(|job| world.rows.slot(job.repository) == repository) {
                world.clients[at(number)].promised[at(digest)] = 0;
            }
        }
    }

    /// What was promised about a repository that somebody deletes, or puts another in the place of, is void.
    fn forget_repository(&self, world: &mut World, name: Number, changed: bool) -> bool {
        for number in (0..).take(self.clients.len()).filter(|_| changed) {
            if self.job(world, number).is_some_and(|job| job.repository == name) {
                let client = &mut world.clients[at(number)];
                (client.promised, client.promised_children) = Default::default();
            }
        }
        changed
    }

    /// Likewise a manifest.
    fn forget_manifest(&self, world: &mut World, repository: Number, manifest: Number) {
        for number in (0..).take(self.clients.len()) {
            let Some(job) = self.job(world, number).filter(|job| world.rows.slot(job.repository) == repository) else {
                continue;
            };
            for (place, child) in self.rules.shape(job.manifest).children.iter().enumerate() {
                if *child == manifest {
                    world.clients[at(number)].promised_children[place] = 0;
                }
            }
        }
    }

    /// Whether a kept manifest names the blob by its digest, whatever the variant looks at.
    fn is_named(&self, world: &World, repository: Number, digest: Number) -> bool {
        let by_digest = self.under(Variant::AsWritten).rules;
        world.rows.is_named(&by_digest, repository, digest)
    }
}
