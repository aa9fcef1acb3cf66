//! A stage for stories about bytes: content over either database, over a store that fails as asked, that can be started again.

mod contents;

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use shared::{
    clock::Clock,
    database::{Location, testing::Scratch},
    digest::{Algorithm, Digest},
    repository::RepositoryName,
};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::{
    content::{Content, Error, Lives, Promise, Pusher, uploads::Chunk},
    gc::doctor::{Depth, Doctor},
    metadata::{
        Metadata,
        fixture::{self, Tamper},
    },
    settings::References,
    store::{Store, faulty::Faulty, filesystem::Filesystem},
};

/// Namespaces whose used bytes are not those of their distinct blobs and payloads (I10).
const MISCOUNTED: &str = "SELECT n.name FROM usage u JOIN namespace n ON n.id = u.namespace_id WHERE u.used <> \
    (SELECT coalesce(sum(b.size), 0) FROM blob b WHERE EXISTS (SELECT 1 FROM link l JOIN repository r ON r.id = l.repository_id \
     WHERE l.blob_id = b.id AND r.namespace_id = u.namespace_id)) \
    + (SELECT coalesce(sum(m.size), 0) FROM manifest m JOIN repository r ON r.id = m.repository_id \
       WHERE r.namespace_id = u.namespace_id)";

/// Namespaces whose reserved bytes are not those of their uploads.
const MISRESERVED: &str = "SELECT n.name FROM usage u JOIN namespace n ON n.id = u.namespace_id WHERE u.reserved <> \
    (SELECT coalesce(sum(p.reserved), 0) FROM upload p JOIN repository r ON r.id = p.repository_id \
     WHERE r.namespace_id = u.namespace_id)";

/// Makes two tests of each story, one on each database.
macro_rules! on_both {
    ($($story:ident)*) => { shared::on_both!($crate::stories::stage::Stage: $($story)*); };
}
pub(crate) use on_both;

pub(crate) struct Stage {
    pub(crate) content: Content,
    pub(crate) clock: Clock,
    pub(crate) store: Faulty,
    scratch: Scratch,
    directory: TempDir,
}

impl Stage {
    pub(crate) async fn sqlite() -> Self {
        Self::at(Scratch::sqlite()).await
    }

    pub(crate) async fn postgres() -> Self {
        Self::at(Scratch::postgres()).await
    }

    async fn at(scratch: Scratch) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let store = Faulty::new(Arc::new(Filesystem::open(&directory.path().join("store")).unwrap()));
        let content = Self::content(scratch.location(), &store, &clock, Lives::default()).await;
        Self { content, clock, store, scratch, directory }
    }

    async fn content(location: &Location, store: &Faulty, clock: &Clock, lives: Lives) -> Content {
        let metadata = Metadata::open(location, clock.clone()).await.unwrap();
        Content::new(metadata, Arc::new(store.clone()), clock.clone(), lives)
    }

    /// What another process would see that starts now.
    pub(crate) async fn restart(&mut self) {
        self.restart_with(Lives::default()).await;
    }

    /// The same under other settings.
    pub(crate) async fn restart_with(&mut self, lives: Lives) {
        self.content.metadata.close().await;
        self.content = Self::content(self.scratch.location(), &self.store, &self.clock, lives).await;
    }

    /// Takes the schema away. A test that failed leaves it to be looked at.
    pub(crate) async fn clear(self) {
        self.content.metadata.close().await;
        self.scratch.clear().await;
    }

    /// The directory that the bytes lie in.
    pub(crate) fn root(&self) -> std::path::PathBuf {
        self.directory.path().join("store")
    }

    /// The file that the facts lie in, on SQLite.
    pub(crate) fn database_file(&self) -> Option<std::path::PathBuf> {
        match self.scratch.location() {
            Location::Sqlite { path } => Some(path.clone()),
            Location::Postgres { .. } => None,
        }
    }

    /// The file of the only key that `query` gives.
    pub(crate) async fn file(&self, query: &'static str) -> std::path::PathBuf {
        let keys = self.texts(query).await;
        assert_eq!(keys.len(), 1, "{query}");
        self.directory.path().join("store").join(&keys[0])
    }

    /// Changes rows behind the program's back, as another release or a careless hand would.
    pub(crate) async fn tamper(&self, sql: &'static str) {
        self.content.metadata.write(Tamper(sql)).await.unwrap();
    }

    /// The same as no program could: foreign keys are not looked at, and memory hears nothing of it.
    pub(crate) async fn tamper_behind(&self, sql: &str) {
        self.scratch.tamper(sql).await;
    }

    /// Where the bytes lie.
    pub(crate) fn store_path(&self) -> std::path::PathBuf {
        self.directory.path().join("store")
    }

    /// One number that a query gives.
    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        fixture::count(&self.content.metadata, sql).await
    }

    /// The texts that a query gives.
    pub(crate) async fn texts(&self, sql: &'static str) -> Vec<String> {
        fixture::texts(&self.content.metadata, sql).await
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// Pushes a blob with one request.
    pub(crate) async fn push(&self, repository: &str, content: &str) -> Result<Digest, Error> {
        self.push_as(repository, content, "ada").await
    }

    /// The same for somebody else.
    pub(crate) async fn push_as(&self, repository: &str, content: &str, holder: &str) -> Result<Digest, Error> {
        let (repository, digest, pusher) = (name(repository), digest(content.as_bytes()), pusher(holder));
        self.content.push_blob(&repository, digest, chunk(content.to_owned()), &pusher).await.map(|()| digest)
    }

    /// Everything that a repository gives out for a digest.
    pub(crate) async fn pull(&self, repository: &str, digest: &Digest) -> Result<String, Error> {
        Ok(String::from_utf8(bytes(&self.content, &name(repository), digest).await?).unwrap())
    }

    /// Whether a repository holds the digest, without promising anything.
    pub(crate) async fn holds(&self, repository: &str, digest: &Digest) -> bool {
        match self.content.stat_blob(&name(repository), digest, Promise::Nothing).await {
            Ok(_) => true,
            Err(Error::BlobUnknown { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// The doctor for everything that lies here.
    pub(crate) fn doctor(&self) -> Doctor {
        doctor(&self.content, References::Normal)
    }

    /// What the doctor finds, read to the last byte: nothing.
    pub(crate) async fn is_healthy(&self) {
        let findings = self.doctor().findings(Depth::Deep).await.unwrap();
        assert!(findings.is_empty(), "{findings:#?}");
    }

    /// What holds whenever nobody writes: I1 by size, I2, I4, I10 and I11 of the design.
    pub(crate) async fn is_consistent(&self) {
        let rows = "SELECT storage_key FROM blob UNION ALL SELECT storage_key FROM upload \
                    UNION ALL SELECT storage_key FROM trash";
        let known = self.texts(rows).await;
        for listed in self.store.list(None, 10_000).await.unwrap() {
            assert!(known.iter().any(|key| key == listed.key.as_str()), "bytes without a row: {listed:?}");
        }
        for (key, size) in
            fixture::sizes(&self.content.metadata, "SELECT storage_key, size FROM blob WHERE state = 'live'").await
        {
            let path = self.directory.path().join("store").join(&key);
            assert_eq!(path.metadata().unwrap().len(), size, "a live blob has its bytes");
        }
        for (key, received) in
            fixture::sizes(&self.content.metadata, "SELECT storage_key, received FROM upload WHERE received > 0").await
        {
            let path = self.directory.path().join("store").join(&key);
            assert!(path.metadata().unwrap().len() >= received, "an upload has what it received");
        }
        let orphans = "SELECT count(*) FROM blob b WHERE NOT EXISTS (SELECT 1 FROM link l WHERE l.blob_id = b.id)";
        assert_eq!(self.count(orphans).await, 0, "no blob without a link");
        assert_eq!(self.texts(MISCOUNTED).await, [""; 0], "used bytes are those of distinct blobs and payloads");
        assert_eq!(self.texts(MISRESERVED).await, [""; 0], "reserved bytes are those of uploads");
        let counted = "SELECT CAST(coalesce(sum(links), 0) AS BIGINT) FROM namespace_blob";
        assert_eq!(self.count(counted).await, self.count("SELECT count(*) FROM link").await);
        self.is_healthy().await;
    }
}

/// The doctor for what `content` works with, where manifests were pushed under this policy.
pub(crate) fn doctor(content: &Content, references: References) -> Doctor {
    let reading = crate::server::reading(references, content.lives.grace);
    Doctor::new(content.metadata.clone(), Arc::clone(&content.store), content.clock.clone(), reading)
}

/// Everything that a repository gives out for a digest.
pub(crate) async fn bytes(content: &Content, repository: &RepositoryName, digest: &Digest) -> Result<Vec<u8>, Error> {
    let blob = content.open_blob(repository, digest).await?;
    let chunks: Vec<Bytes> = content.read_blob(&blob, 0..blob.size).await?.try_collect().await.unwrap();
    Ok(chunks.concat())
}

pub(crate) fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

pub(crate) fn digest(content: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, content)
}

pub(crate) fn ada() -> Pusher {
    pusher("ada")
}

pub(crate) fn pusher(holder: &str) -> Pusher {
    Pusher { holder: holder.to_owned(), actor: holder.to_owned() }
}

/// A body that arrives whole.
pub(crate) fn chunk(content: impl Into<Bytes>) -> Chunk {
    let content = content.into();
    Chunk { start: None, length: None, body: stream::iter([Ok(content)]).boxed() }
}

/// A body that breaks off behind `content`.
pub(crate) fn cut(content: &'static str) -> Chunk {
    let pieces = [Ok(Bytes::from(content)), Err(io::ErrorKind::ConnectionReset.into())];
    Chunk { start: None, length: None, body: stream::iter(pieces).boxed() }
}

/// A body that a test sends piece by piece; dropping the sender ends it.
pub(crate) fn slow() -> (mpsc::Sender<io::Result<Bytes>>, Chunk) {
    let (sender, receiver) = mpsc::channel(1);
    let body = stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    (sender, Chunk { start: None, length: None, body: body.boxed() })
}
