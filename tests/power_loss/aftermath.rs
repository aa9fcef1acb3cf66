//! After the power came back: the real program on what the disk has kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use reqwest::Method;
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{
    replay::Answered,
    workload::{MOVING, Workload, client, image, push, serving},
};
use crate::{
    protocol::{
        Suite,
        answer::Answer,
        client::{Client, Login},
        samples::Algorithm,
    },
    support::server::Portreeve,
};

type Checked = Result<(), String>;

/// A server that was started on what was left.
pub(super) struct Aftermath {
    data: PathBuf,
    server: Portreeve,
    client: Client,
}

impl Aftermath {
    pub(super) fn start(data: &Path) -> Result<Self, String> {
        let server = serving(data).try_start()?;
        let client = client(&server);
        Ok(Self { data: data.to_owned(), server, client })
    }

    async fn get(&self, path: &str) -> Result<Answer, String> {
        let answer = self.client.request(Method::GET, path).header("accept", "*/*").send().await;
        answer.map_err(|failure| format!("{path}: {failure}"))
    }

    async fn holds(&self, path: &str, bytes: &[u8]) -> Checked {
        let answer = self.get(path).await?;
        match (answer.status, answer.body == bytes) {
            (200, true) => Ok(()),
            (200, false) => Err(format!("{path} has other bytes")),
            (status, _) => Err(format!("{path} is answered with {status}")),
        }
    }

    /// Looks for everything that these answers promised.
    pub(super) async fn serves(&self, workload: &Workload, manifests: &[Answered], blobs: &[Answered]) -> Checked {
        let mut answers = BTreeMap::<&Answered, usize>::new();
        manifests.iter().for_each(|answered| *answers.entry(answered).or_default() += 1);
        let mut moved = BTreeMap::<&str, usize>::new();
        for (number, image) in workload.images.iter().enumerate() {
            let Some(count) = answers.get(&(image.repository.clone(), image.manifest.digest().to_owned())) else {
                continue;
            };
            self.holds(&format!("{}/manifests/{}", image.repository, image.tag), &image.manifest.blob.bytes).await?;
            if *count > 1 {
                moved.insert(&image.repository, number);
            }
        }
        for (repository, number) in moved {
            self.has_not_moved_back(workload, repository, number).await?;
        }
        // What is deleted in the end was promised to nobody.
        let promised: BTreeSet<&Answered> =
            blobs.iter().filter(|(repository, _)| repository != "acme/deleted").collect();
        for (repository, digest) in promised {
            self.holds(&format!("{repository}/blobs/{digest}"), &workload.blobs[digest]).await?;
        }
        Ok(())
    }

    /// The tag that moves points at the last image of which that was answered, or at a later one.
    async fn has_not_moved_back(&self, workload: &Workload, repository: &str, number: usize) -> Checked {
        let answer = self.get(&format!("{repository}/manifests/{MOVING}")).await?;
        let later = workload.images[number..].iter().filter(|image| image.repository == repository);
        let known = later.into_iter().any(|image| answer.body == image.manifest.blob.bytes);
        if known { Ok(()) } else { Err(format!("{repository}:{MOVING} has moved back ({})", answer.status)) }
    }

    /// It goes on working.
    pub(super) async fn takes_a_push(&self) -> Checked {
        let suite = Suite::new(Client::new(self.server.url().clone(), Login::Anonymous), "acme/since", "acme/unused");
        let image = image("acme/since", "v1", Vec::new());
        push(&suite, &image, 0).await;
        self.holds("acme/since/manifests/v1", &image.manifest.blob.bytes).await
    }

    pub(super) fn kill(&mut self) {
        self.server.kill();
    }

    /// Looks at rows and files themselves: the database is whole, every live blob has its bytes and every file a row (I1, I2), links and blobs belong
    /// together (I4), and what is counted is what is there (I10).
    pub(super) async fn is_consistent(&self) -> Checked {
        let options = SqliteConnectOptions::new().filename(self.data.join("registry.db"));
        let mut database = SqliteConnection::connect_with(&options).await.map_err(|error| error.to_string())?;
        for (expected, query) in QUERIES {
            let found: String =
                sqlx::query_scalar(query).fetch_one(&mut database).await.map_err(|error| error.to_string())?;
            if found != expected {
                return Err(format!("{query}: {found} and not {expected}"));
            }
        }
        let blobs: Vec<(String, i64, String)> =
            sqlx::query_as("SELECT storage_key, size, digest FROM blob WHERE state = 'live'")
                .fetch_all(&mut database)
                .await
                .map_err(|error| error.to_string())?;
        for (key, size, digest) in blobs {
            let bytes = fs::read(self.data.join(&key)).map_err(|error| format!("{key}: {error}"))?;
            if bytes.len() as i64 != size || Algorithm::Sha256.digest(&bytes) != digest {
                return Err(format!("{key} has {} bytes, which are not {digest}", bytes.len()));
            }
        }
        let keys = "SELECT storage_key FROM blob UNION ALL SELECT storage_key FROM upload UNION ALL SELECT storage_key FROM trash";
        let known: Vec<String> =
            sqlx::query_scalar(keys).fetch_all(&mut database).await.map_err(|error| error.to_string())?;
        match self.files().into_iter().find(|file| !known.contains(file)) {
            Some(stray) => Err(format!("{stray} has no row")),
            None => Ok(()),
        }
    }

    fn files(&self) -> Vec<String> {
        let directories = fs::read_dir(self.data.join("blobs")).expect("the server has made it");
        let files = directories.flat_map(|directory| {
            let directory = directory.expect("a directory can be read").path();
            fs::read_dir(directory).expect("a directory can be read").map(|file| file.expect("a file is there").path())
        });
        files.map(|file| file.strip_prefix(&self.data).expect("below").display().to_string()).collect()
    }
}

/// Queries of one text, and what it is.
const QUERIES: [(&str, &str); 5] = [
    ("ok", "PRAGMA integrity_check"),
    ("0", "SELECT CAST(count(*) AS TEXT) FROM pragma_foreign_key_check"),
    ("0", "SELECT CAST(count(*) AS TEXT) FROM blob b WHERE NOT EXISTS (SELECT 1 FROM link l WHERE l.blob_id = b.id)"),
    (
        "0",
        "SELECT CAST(count(*) AS TEXT) FROM tag t WHERE t.manifest_id IS NOT NULL \
           AND NOT EXISTS (SELECT 1 FROM manifest m WHERE m.id = t.manifest_id AND m.deleted_at IS NULL)",
    ),
    (
        "0",
        "SELECT CAST((SELECT coalesce(sum(used), 0) FROM usage) - (SELECT coalesce(sum(size), 0) FROM manifest) \
           - (SELECT coalesce(sum(size), 0) FROM (SELECT DISTINCT r.namespace_id, b.id, b.size FROM link l \
              JOIN repository r ON r.id = l.repository_id JOIN blob b ON b.id = l.blob_id)) AS TEXT)",
    ),
];
