//! What the real tables and the real store hold, in the model's words.

use model::{
    Rows,
    rows::{Blob, Link, Manifest, Set, Tag, Upload},
};
use shared::{clock::Timestamp, on};

use super::{
    stage::{TICK, ticks},
    walk::Walk,
};
use crate::store::Store;

const BLOBS: &str = "SELECT digest, storage_key, state <> 'live' FROM blob WHERE digest IN ($1, $2)";
const LINKS: &str = "SELECT r.name, b.digest, l.expires_at, l.leased_until, l.leased_by FROM link l \
                     JOIN repository r ON r.id = l.repository_id JOIN blob b ON b.id = l.blob_id WHERE r.name IN ($1, $2)";
const MANIFESTS: &str = "SELECT r.name, m.digest, m.expires_at, m.deleted_at IS NOT NULL FROM manifest m \
                         JOIN repository r ON r.id = m.repository_id WHERE r.name IN ($1, $2)";
const TAGS: &str = "SELECT r.name, m.digest FROM tag t JOIN repository r ON r.id = t.repository_id \
                    JOIN manifest m ON m.id = t.manifest_id WHERE r.name IN ($1, $2)";
const UPLOADS: &str = "SELECT r.name, u.id, u.storage_key, u.expires_at FROM upload u \
                       JOIN repository r ON r.id = u.repository_id WHERE r.name IN ($1, $2)";
const TRASH: &str = "SELECT storage_key, since FROM trash";
const GAPS: &str = "SELECT count(*) FROM tag t JOIN repository r ON r.id = t.repository_id WHERE r.name IN ($1, $2) AND \
                    (t.version <> (SELECT count(*) FROM tag_history h WHERE h.repository_id = t.repository_id AND h.name = t.name) \
                     OR NOT EXISTS (SELECT 1 FROM tag_history h LEFT JOIN manifest m ON m.id = t.manifest_id \
                         WHERE h.repository_id = t.repository_id AND h.name = t.name AND h.version = t.version \
                         AND coalesce(h.digest, '') = coalesce(m.digest, '')))";
const USED: &str = "SELECT u.used FROM usage u JOIN namespace n ON n.id = u.namespace_id WHERE n.name = $1";

/// Repository, digest, `expires_at`, `leased_until`, `leased_by`.
type LinkRow = (String, String, Option<Timestamp>, Timestamp, Option<String>);

/// The rows that a query gives for the walk's two names.
macro_rules! rows {
    ($walk:expr, $sql:expr, $names:expr) => {{
        let mut reader = $walk.stage.content.metadata.read().await.unwrap();
        let [first, second] = $names;
        on!(reader, c => sqlx::query_as($sql).bind(first).bind(second).fetch_all(c).await).unwrap()
    }};
}

impl Walk<'_> {
    /// Everything that the model speaks of, as it really is.
    pub(super) async fn observed(&self) -> Rows {
        let mut rows = Rows::default();
        self.observe_blobs(&mut rows).await;
        self.observe_manifests(&mut rows).await;
        self.observe_uploads(&mut rows).await;
        rows.bytes = self.bytes().await;
        rows
    }

    async fn observe_blobs(&self, rows: &mut Rows) {
        let digests = [0, 1].map(|digest| self.digest(digest).to_string());
        let blobs: Vec<(String, String, bool)> = rows!(self, BLOBS, &digests);
        for (digest, key, damaged) in blobs {
            rows.blobs[place(&digests, &digest)] = Some(Blob { key: self.key_number(&key), damaged });
        }
        let links: Vec<LinkRow> = rows!(self, LINKS, self.names());
        for (name, digest, expires, leased, holder) in links {
            let leased = self.left(leased);
            let holder = holder.filter(|_| leased > 0).map(|holder| holder.parse().unwrap());
            let link = Link { expires: expires.map(|at| self.left(at)), leased, holder };
            rows.links[place(&self.names(), &name)][place(&digests, &digest)] = Some(link);
        }
    }

    async fn observe_manifests(&self, rows: &mut Rows) {
        let manifests: Vec<(String, String, Option<Timestamp>, bool)> = rows!(self, MANIFESTS, self.names());
        for (name, digest, expires, deleted) in manifests {
            let row = Manifest { expires: expires.map(|at| self.left(at)), deleted, resolved: Set::default() };
            rows.manifests[place(&self.names(), &name)][usize::from(self.manifest_number(&digest))] = Some(row);
        }
        let tags: Vec<(String, String)> = rows!(self, TAGS, self.names());
        for (name, digest) in tags {
            let target = Some(self.manifest_number(&digest));
            rows.tags[place(&self.names(), &name)] = Tag { target, ..Tag::default() };
        }
    }

    async fn observe_uploads(&self, rows: &mut Rows) {
        let uploads: Vec<(String, i64, String, Timestamp)> = rows!(self, UPLOADS, self.names());
        for (name, id, key, expires) in uploads {
            let repository = u8::try_from(place(&self.names(), &name)).unwrap();
            let row = Upload { repository, key: self.key_number(&key), left: self.left(expires) };
            rows.uploads[self.upload_number(id)] = Some(row);
        }
        let mut reader = self.stage.content.metadata.read().await.unwrap();
        let trash: Vec<(String, Timestamp)> = on!(reader, c => sqlx::query_as(TRASH).fetch_all(c).await).unwrap();
        for (key, since) in trash {
            // Earlier walks leave trash of their own.
            if let Some(key) = self.find_key(&key) {
                let due = since + ticks(self.scenario.rules.lives.trash);
                rows.trash[usize::from(key)] = Some(self.left(due));
            }
        }
    }

    async fn bytes(&self) -> Set {
        let mut bytes = Set::default();
        for (number, key) in &self.keys {
            if self.stage.store.size(key).await.unwrap().is_some() {
                bytes.insert(*number);
            }
        }
        bytes
    }

    /// How many tags have a history with a gap, or one that does not end where they point (I8).
    pub(super) async fn gaps(&self) -> i64 {
        let found: Vec<(i64,)> = rows!(self, GAPS, self.names());
        found[0].0
    }

    /// The bytes that the namespace is said to use (I10).
    pub(super) async fn used(&self) -> u64 {
        let mut reader = self.stage.content.metadata.read().await.unwrap();
        let namespace = self.namespace();
        let used: Option<(i64,)> =
            on!(reader, c => sqlx::query_as(USED).bind(namespace).fetch_optional(c).await).unwrap();
        used.map_or(0, |(used,)| u64::try_from(used).unwrap())
    }

    /// How many ticks are left until then.
    fn left(&self, at: Timestamp) -> u8 {
        let left = at.since(self.stage.clock.now()).as_micros().div_ceil(TICK.as_micros());
        u8::try_from(left).unwrap()
    }
}

/// Which of the two this is.
fn place(names: &[String; 2], name: &str) -> usize {
    names.iter().position(|other| other == name).unwrap_or_else(|| panic!("{name} is none of {names:?}"))
}
