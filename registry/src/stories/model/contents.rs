//! What the model's numbers stand for.

use bytes::Bytes;
use model::World;
use serde_json::{Value, json};
use shared::{
    digest::{Algorithm, Digest},
    repository::RepositoryName,
};

use super::walk::Walk;
use crate::content::{
    Pusher,
    fixture::{descriptor, digest_of, image, index},
};

impl Walk<'_> {
    /// The repository, the blob and the pusher of what a client is bringing.
    pub(super) fn bringing(&self, client: u8, world: &World) -> (RepositoryName, Digest, Pusher) {
        let job = self.scenario.job(world, client).unwrap();
        let digest = self.scenario.blob(world, client).unwrap();
        (self.name(job.repository), self.digest(digest), pusher(job.holder))
    }

    pub(super) fn namespace(&self) -> String {
        format!("walk{}", self.number)
    }

    pub(super) fn names(&self) -> [String; 2] {
        [0, 1].map(|repository| format!("{}/{repository}", self.namespace()))
    }

    pub(super) fn name(&self, repository: u8) -> RepositoryName {
        self.names()[usize::from(repository)].parse().unwrap()
    }

    pub(super) fn text_of(&self, digest: u8) -> String {
        format!("blob {digest} of walk {}", self.number)
    }

    pub(super) fn bytes_of(&self, digest: u8) -> Bytes {
        Bytes::from(self.text_of(digest))
    }

    pub(super) fn digest(&self, digest: u8) -> Digest {
        Digest::of(Algorithm::Sha256, &self.bytes_of(digest))
    }

    /// The manifests of the scenario's shapes.
    pub(super) fn payload(&self, manifest: u8) -> Value {
        let shape = self.scenario.rules.shape(manifest);
        let texts: Vec<String> = shape.blobs.iter().map(|digest| self.text_of(*digest)).collect();
        let children: Vec<Value> = shape.children.iter().map(|child| self.payload(*child)).collect();
        let mut payload = match &texts[..] {
            [] => index(&children.iter().collect::<Vec<_>>()),
            [config, layers @ ..] => image(config, &layers.iter().map(String::as_str).collect::<Vec<_>>()),
        };
        if let Some(subject) = shape.subject {
            let about = self.payload(subject);
            payload["subject"] = descriptor(about["mediaType"].as_str().unwrap(), about.to_string().as_bytes());
        }
        // Two shapes may name the same.
        payload["annotations"] = json!({ "shape": manifest.to_string() });
        payload
    }

    pub(super) fn manifest_number(&self, digest: &str) -> u8 {
        (0..4).find(|manifest| digest_of(&self.payload(*manifest)).to_string() == digest).unwrap()
    }

    pub(super) fn find_key(&self, key: &str) -> Option<u8> {
        self.keys.iter().find(|(_, ours)| ours.as_str() == key).map(|(number, _)| *number)
    }

    pub(super) fn key_number(&self, key: &str) -> u8 {
        self.find_key(key).unwrap_or_else(|| panic!("{key} is none of {:?}", self.keys))
    }

    pub(super) fn upload_number(&self, id: i64) -> usize {
        let found = self.uploads.iter().find(|(_, (ours, _))| ours.get() == id);
        found.map(|(number, _)| usize::from(*number)).unwrap()
    }
}

pub(super) fn pusher(holder: u8) -> Pusher {
    Pusher { holder: holder.to_string(), actor: "walk".to_owned() }
}
