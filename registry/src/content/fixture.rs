//! Content to tell stories on, over either database, with a store in a directory of its own.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::{Value, json};
use shared::{
    clock::Clock,
    database::{Dialect, testing::Scratch},
    digest::{Algorithm, Digest},
    reference::Reference,
    repository::RepositoryName,
    tag::Tag,
};
use tempfile::TempDir;

use super::{
    Content, Error, Lives, Pusher, TagLimits,
    manifest::MediaType,
    manifests::{PutManifest, References, Stored},
};
use crate::{
    metadata::{
        Metadata,
        fixture::{self, Damage, Hold},
    },
    store::filesystem::Filesystem,
};

/// Makes two tests of each story, one on each database.
macro_rules! on_both {
    ($($story:ident)*) => { shared::on_both!($crate::content::fixture::Fixture: $($story)*); };
}
pub(crate) use on_both;

pub(crate) struct Fixture {
    pub(crate) content: Content,
    pub(crate) clock: Clock,
    scratch: Scratch,
    /// Removed with the fixture.
    _directory: TempDir,
}

pub(crate) fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

pub(crate) fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

pub(crate) fn only(patterns: &[&str]) -> TagLimits {
    TagLimits::Matching(patterns.iter().map(|pattern| pattern.parse().unwrap()).collect())
}

pub(crate) fn digest(content: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, content)
}

pub(crate) fn pusher() -> Pusher {
    Pusher { holder: "ada".to_owned(), actor: "ada".to_owned() }
}

pub(crate) fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(content), "size": content.len() })
}

/// An image of one config and some layers, by their contents.
pub(crate) fn image(config: &str, layers: &[&str]) -> Value {
    let layer = |layer: &&str| descriptor("application/vnd.oci.image.layer.v1.tar", layer.as_bytes());
    json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config.as_bytes()),
        "layers": layers.iter().map(layer).collect::<Vec<_>>(),
    })
}

pub(crate) fn index(children: &[&Value]) -> Value {
    let child = |child: &&Value| descriptor(MediaType::OCI_MANIFEST, child.to_string().as_bytes());
    json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_INDEX,
        "manifests": children.iter().map(child).collect::<Vec<_>>(),
    })
}

/// What a payload hashes to.
pub(crate) fn digest_of(manifest: &Value) -> Digest {
    digest(manifest.to_string().as_bytes())
}

/// A push of a manifest by tag or digest, with everything else at its default.
pub(crate) fn push(repository: &str, reference: impl Into<Reference>, manifest: &Value) -> PutManifest {
    PutManifest {
        repository: name(repository),
        reference: reference.into(),
        tags: Vec::new(),
        media_type: None,
        payload: Bytes::from(manifest.to_string()),
        limits: TagLimits::Everything,
        pusher: pusher(),
        references: References::default(),
        condition: None,
    }
}

impl Fixture {
    pub(crate) async fn sqlite() -> Self {
        Self::at(Scratch::sqlite()).await
    }

    pub(crate) async fn postgres() -> Self {
        Self::at(Scratch::postgres()).await
    }

    async fn at(scratch: Scratch) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let metadata = Metadata::open(scratch.location(), clock.clone()).await.unwrap();
        let store = Filesystem::open(&directory.path().join("store")).unwrap();
        let content = Content::new(metadata, Arc::new(store), clock.clone(), Lives::default());
        Self { content, clock, scratch, _directory: directory }
    }

    /// Takes the schema away. A test that failed leaves it to be looked at.
    pub(crate) async fn clear(self) {
        self.content.metadata.close().await;
        self.scratch.clear().await;
    }

    /// What another process beside this one would see. Beside SQLite there is none.
    pub(crate) async fn replica(&self) -> Content {
        match self.content.metadata.dialect() {
            Dialect::Sqlite => self.content.clone(),
            Dialect::Postgres => {
                let metadata = Metadata::open(self.scratch.location(), self.clock.clone()).await.unwrap();
                Content::new(metadata, Arc::clone(&self.content.store), self.clock.clone(), Lives::default())
            }
        }
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// Makes a repository hold blobs of these contents, as uploads by [`pusher`] would.
    pub(crate) async fn hold(&self, repository: &str, contents: &[&str]) {
        for content in contents {
            let hold = Hold {
                repository: name(repository),
                digest: digest(content.as_bytes()),
                size: content.len() as u64,
                holder: pusher().holder,
            };
            self.content.metadata.write(hold).await.unwrap();
        }
    }

    /// Marks a blob as damaged, as a read that found its bytes missing does.
    pub(crate) async fn damage(&self, blob: Digest) {
        self.content.metadata.write(Damage { digest: blob }).await.unwrap();
    }

    /// Pushes what an image needs, then the image.
    pub(crate) async fn push_image(&self, repository: &str, tag: &str, config: &str) -> Digest {
        self.hold(repository, &[config, "layer"]).await;
        self.put(push(repository, self::tag(tag), &image(config, &["layer"]))).await.unwrap().digest
    }

    pub(crate) async fn put(&self, put: PutManifest) -> Result<Stored, Error> {
        self.content.put_manifest(put).await
    }

    /// One number that a query gives.
    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        fixture::count(&self.content.metadata, sql).await
    }

    /// The texts that a query gives, in its order.
    pub(crate) async fn texts(&self, sql: &'static str) -> Vec<String> {
        fixture::texts(&self.content.metadata, sql).await
    }
}
