//! The registry's tables, read beside it, and what must hold of them and of the files.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    str::FromStr as _,
    time::Duration,
};

use sqlx::{Connection as _, PgConnection, SqliteConnection, postgres::PgConnectOptions, sqlite::SqliteConnectOptions};

use crate::protocol::samples::Algorithm;

/// Where the tables lie.
pub(super) enum Facts {
    Sqlite(PathBuf),
    Postgres { url: String, schema: String },
}

/// What runs on whichever database there is.
macro_rules! with {
    ($facts:expr, $connection:ident => $body:expr) => {
        match $facts {
            Facts::Sqlite(file) => {
                let options = SqliteConnectOptions::new().filename(file).busy_timeout(Duration::from_secs(30));
                let mut $connection = SqliteConnection::connect_with(&options).await.unwrap();
                $body
            }
            Facts::Postgres { url, schema } => {
                let options = PgConnectOptions::from_str(url).unwrap().options([("search_path", schema)]);
                let mut $connection = PgConnection::connect_with(&options).await.unwrap();
                $body
            }
        }
    };
}

/// Each tells what may not be.
const BROKEN: [(&str, &str); 8] = [
    (
        "I3: what a manifest names is not linked",
        "SELECT n.digest FROM manifest_blob n WHERE NOT EXISTS (SELECT 1 FROM blob b JOIN link l ON l.blob_id = b.id \
         AND l.repository_id = n.repository_id WHERE b.digest = n.digest)",
    ),
    (
        "I4: a blob without a link",
        "SELECT digest FROM blob b WHERE NOT EXISTS (SELECT 1 FROM link l WHERE l.blob_id = b.id)",
    ),
    (
        "I6: a key is used twice",
        "SELECT storage_key FROM (SELECT storage_key FROM blob UNION ALL SELECT storage_key FROM upload \
         UNION ALL SELECT storage_key FROM trash) AS used GROUP BY storage_key HAVING count(*) > 1",
    ),
    (
        "I8: a tag points at a deleted manifest",
        "SELECT t.name FROM tag t JOIN manifest m ON m.id = t.manifest_id WHERE m.deleted_at IS NOT NULL",
    ),
    (
        "I8: a history has a gap, or does not end where its tag points",
        "SELECT t.name FROM tag t LEFT JOIN manifest m ON m.id = t.manifest_id WHERE t.version <> (SELECT count(*) FROM tag_history h \
         WHERE h.repository_id = t.repository_id AND h.name = t.name) OR NOT EXISTS (SELECT 1 FROM tag_history h \
         WHERE h.repository_id = t.repository_id AND h.name = t.name AND h.version = t.version \
         AND coalesce(h.digest, '') = coalesce(m.digest, ''))",
    ),
    (
        "a living manifest has an expiry although something holds it, or none although nothing does",
        "SELECT m.digest FROM manifest m WHERE m.deleted_at IS NULL AND (m.expires_at IS NULL) <> (\
         EXISTS (SELECT 1 FROM tag t WHERE t.manifest_id = m.id) OR EXISTS (SELECT 1 FROM manifest_child c \
         WHERE c.repository_id = m.repository_id AND c.digest = m.digest) OR EXISTS (SELECT 1 FROM manifest s \
         WHERE s.repository_id = m.repository_id AND s.digest = m.subject_digest))",
    ),
    (
        "I10: used bytes are not those of distinct blobs and payloads",
        "SELECT n.name FROM namespace n JOIN usage u ON u.namespace_id = n.id WHERE u.used <> \
         (SELECT coalesce(sum(size), 0) FROM blob b WHERE EXISTS (SELECT 1 FROM link l JOIN repository r ON r.id = l.repository_id \
             WHERE l.blob_id = b.id AND r.namespace_id = n.id)) \
         + (SELECT coalesce(sum(m.size), 0) FROM manifest m JOIN repository r ON r.id = m.repository_id WHERE r.namespace_id = n.id)",
    ),
    (
        "I10: links of a namespace are miscounted",
        "SELECT n.name FROM namespace n WHERE (SELECT coalesce(sum(links), 0) FROM namespace_blob c WHERE c.namespace_id = n.id) <> \
         (SELECT count(*) FROM link l JOIN repository r ON r.id = l.repository_id WHERE r.namespace_id = n.id)",
    ),
];

const BLOBS: &str = "SELECT storage_key || ' ' || size || ' ' || digest FROM blob WHERE state = 'live'";
const UPLOADS: &str = "SELECT storage_key || ' ' || received FROM upload";
const KEYS: &str =
    "SELECT storage_key FROM blob UNION ALL SELECT storage_key FROM upload UNION ALL SELECT storage_key FROM trash";

impl Facts {
    /// The texts that a query gives.
    pub(super) async fn texts(&self, sql: &'static str) -> Vec<String> {
        let rows: Vec<(String,)> = with!(self, database => {
            let rows = sqlx::query_as(sql).fetch_all(&mut database).await.unwrap();
            database.close().await.unwrap();
            rows
        });
        rows.into_iter().map(|(text,)| text).collect()
    }

    /// Changes rows as a careless hand would; answers how many.
    pub(super) async fn change(&self, sql: &'static str) -> u64 {
        with!(self, database => {
            let changed = sqlx::query(sql).execute(&mut database).await.unwrap().rows_affected();
            database.close().await.unwrap();
            changed
        })
    }

    /// What is not as it should be, in rows or in the files below `root`. Nobody writes meanwhile.
    pub(super) async fn broken(&self, root: &Path) -> Vec<String> {
        let mut broken = Vec::new();
        for (what, sql) in BROKEN {
            broken.extend(self.texts(sql).await.into_iter().map(|which| format!("{what}: {which}")));
        }
        let files = files(root);
        let known: BTreeSet<String> = self.texts(KEYS).await.into_iter().collect();
        broken.extend(
            files.keys().filter(|key| !known.contains(*key)).map(|key| format!("I2: bytes without a row: {key}")),
        );
        for blob in self.texts(BLOBS).await {
            let [key, size, digest] = blob.split(' ').collect::<Vec<_>>()[..] else { panic!("{blob}") };
            let bytes = fs::read(root.join(key)).unwrap_or_default();
            let whole = bytes.len().to_string() == size && digest == Algorithm::Sha256.digest(&bytes);
            broken.extend((!whole).then(|| format!("I1: a live blob without its bytes: {blob}")));
        }
        for upload in self.texts(UPLOADS).await {
            let (key, received) = upload.split_once(' ').unwrap();
            let there = files.get(key).copied().unwrap_or(0);
            broken.extend(
                (there < received.parse().unwrap()).then(|| format!("I11: an upload has {there} bytes: {upload}")),
            );
        }
        broken
    }
}

/// The size of every file, by its key.
fn files(root: &Path) -> BTreeMap<String, u64> {
    let directories = fs::read_dir(root.join("blobs")).unwrap().collect::<io::Result<Vec<_>>>().unwrap();
    let files = directories.iter().flat_map(|directory| fs::read_dir(directory.path()).unwrap());
    let sizes = files.map(|file| {
        let file = file.unwrap();
        let key = file.path().strip_prefix(root).unwrap().display().to_string();
        (key, file.metadata().unwrap().len())
    });
    sizes.collect()
}
