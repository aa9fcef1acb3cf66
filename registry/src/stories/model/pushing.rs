//! What pushers do, for real.

use model::{World, rows::links::Look, world::Stage};
use shared::{database::WriteError, digest::Algorithm, reference::Reference};

use super::{
    contents::pusher,
    stage::ticks,
    walk::{TAG, Walk, known, same},
};
use crate::{
    content::{
        Error, Promise,
        fixture::{digest_of, push, tag},
        manifests::{PutManifest, References},
    },
    metadata::{
        blobs,
        uploads::{FinishUpload, Finished, Looked, NotFinished, StartUpload, UploadId},
    },
    store::{StorageKey, Store},
};

impl Walk<'_> {
    pub(super) async fn look(&self, client: u8, before: &World) -> Result<(), String> {
        let (repository, digest, pusher) = self.bringing(client, before);
        let mut reader = self.stage.content.metadata.read().await.unwrap();
        let held = blobs::find(&mut reader, &repository, &digest).await.unwrap().filter(|held| !held.damaged);
        let found = match held {
            None => "missing",
            Some(held) if held.lease.covers(&pusher.holder, self.stage.clock.now()) => "covered",
            Some(_) => "to promise",
        };
        let (job, digest) = (self.scenario.job(before, client).unwrap(), self.scenario.blob(before, client).unwrap());
        let expected = match before.rows.look(&self.scenario.rules, job.repository, digest, job.holder) {
            Look::Missing => "missing",
            Look::Covered(_) => "covered",
            Look::ToPromise => "to promise",
        };
        same("a look", expected, found)
    }

    pub(super) async fn start(&mut self, client: u8, before: &World) -> Result<(), String> {
        let slot = self.world.clients[usize::from(client)].upload().ok_or("the model started no upload")?;
        let start = StartUpload {
            id: UploadId::fresh(),
            repository: self.bringing(client, before).0,
            store: self.stage.store.name(),
            key: StorageKey::fresh(),
            algorithm: Algorithm::Sha256,
            boot: "this one".to_owned(),
            writer: 1,
            life: ticks(self.scenario.rules.lives.upload),
            holder: "walk".to_owned(),
            most: u32::MAX,
            length: None,
        };
        self.keys.insert(self.world.rows.uploads[usize::from(slot)].unwrap().key, start.key.clone());
        let id = start.id;
        let started = self.stage.content.metadata.write(start).await.map_err(|error| format!("{error:?}"))?;
        self.uploads.insert(slot, (id, started.repository));
        Ok(())
    }

    pub(super) async fn finish(&mut self, client: u8, before: &World) -> Result<(), String> {
        let (_, digest, pusher) = self.bringing(client, before);
        let upload = before.clients[usize::from(client)].upload().unwrap();
        let (id, repository) = self.uploads[&upload];
        let looked = match before.clients[usize::from(client)].stage {
            Stage::Looked(..) => self
                .known
                .remove(&client)
                .and_then(|(known, sound)| Some(Looked { blob: known.blob, key: known.key, sound: sound? })),
            _ => None,
        };
        let size = self.bytes_of(self.scenario.blob(before, client).unwrap()).len() as u64;
        let hot = self.stage.content.metadata.blobs().clone();
        let finish = FinishUpload { id, writer: 1, repository, digest, size, holder: pusher.holder, looked, hot };
        let finished = match self.stage.content.metadata.write(finish).await {
            Ok(Finished::New | Finished::Surplus | Finished::Healed) => "finished",
            Err(WriteError::Refused(NotFinished::LookFirst(known))) => {
                self.known.insert(client, (known, None));
                "look first"
            }
            Err(WriteError::Refused(NotFinished::NotYours)) => "gone",
            Err(WriteError::Refused(NotFinished::Exceeded(exceeded))) => panic!("{exceeded}"),
            Err(WriteError::Unavailable(error)) => panic!("{error}"),
        };
        let expected = match self.world.clients[usize::from(client)].stage {
            Stage::Told(..) => "look first",
            Stage::Absent => "gone",
            _ => "finished",
        };
        same("a finished upload", expected, finished)
    }

    pub(super) async fn look_at_children(&self, client: u8, before: &World) -> Result<(), String> {
        let job = self.scenario.job(before, client).unwrap();
        for (place, child) in self.scenario.rules.shape(job.manifest).children.iter().enumerate() {
            let digest = digest_of(&self.payload(*child));
            let promise = Promise::To(&pusher(job.holder));
            let found = self.stage.content.manifest(&self.name(job.repository), &digest.into(), promise).await;
            let told = self.world.clients[usize::from(client)].promised_children[place] > 0;
            same("a look at a manifest", told, known(found)?)?;
        }
        Ok(())
    }

    pub(super) async fn put(&self, client: u8, before: &World) -> Result<(), String> {
        let job = self.scenario.job(before, client).unwrap();
        let payload = self.payload(job.manifest);
        let reference: Reference = if job.tagged { tag(TAG).into() } else { digest_of(&payload).into() };
        let references = match job.references {
            model::References::Image => References::Image,
            model::References::Lenient => References::Lenient,
        };
        let put = PutManifest {
            pusher: pusher(job.holder),
            references,
            ..push(self.name(job.repository).as_str(), reference, &payload)
        };
        let stored = match self.stage.content.put_manifest(put).await {
            Ok(_) => true,
            Err(Error::ManifestReferencesMissing { .. }) => false,
            Err(error) => panic!("{error}"),
        };
        let mut expected = before.rows;
        same("a pushed manifest", expected.put(&self.scenario.rules, job, Default::default()).is_ok(), stored)
    }
}
