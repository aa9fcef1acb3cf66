//! What can be broken by hand in the world of [`prepare`], and what the doctor calls it.

use std::time::Duration;

use crate::{
    content::{
        TagLimits,
        fixture::{image, index, push, tag},
        manifests::DeleteManifest,
    },
    stories::stage::{Stage, chunk, digest, name, pusher},
};

/// Something broken.
pub(super) struct Case {
    /// What was done.
    pub(super) what: &'static str,
    /// How: statements for both databases,
    pub(super) sql: &'static str,
    /// and where they differ, those for PostgreSQL.
    pub(super) postgres: Option<&'static str>,
    /// What the doctor finds,
    pub(super) finds: &'static [&'static str],
    /// and what of that nobody but a person can put right.
    pub(super) left: &'static [&'static str],
}

const fn case(what: &'static str, finds: &'static [&'static str], sql: &'static str) -> Case {
    Case { what, sql, postgres: None, finds, left: &[] }
}

/// What cannot be put right.
const fn lost(what: &'static str, finds: &'static [&'static str], sql: &'static str) -> Case {
    Case { what, sql, postgres: None, finds, left: finds }
}

/// `acme/web`: `v1` and `stable` at one image, `latest` at another after it was at the first, `all` at an index of the first, an image that was deleted
/// and one without a tag, an upload on its way, and a blob that nobody names. `other/tool`: `v1` at the first image.
pub(super) async fn prepare(stage: &Stage) {
    let first = super::healthy::push_image(stage, "acme/web", "v1", "config 1").await;
    super::healthy::push_image(stage, "acme/web", "stable", "config 1").await;
    super::healthy::push_image(stage, "acme/web", "latest", "config 1").await;
    super::healthy::push_image(stage, "acme/web", "latest", "config 2").await;
    super::healthy::push_image(stage, "other/tool", "v1", "config 1").await;
    stage.content.put_manifest(push("acme/web", tag("all"), &index(&[&first]))).await.unwrap();
    super::healthy::push_image(stage, "acme/web", "gone", "config 3").await;
    let gone = digest(image("config 3", &["a layer"]).to_string().as_bytes());
    let delete = DeleteManifest {
        repository: name("acme/web"),
        digest: gone,
        condition: None,
        limits: TagLimits::Everything,
        actor: "ada".to_owned(),
        undelete_window: Duration::from_secs(60 * 60),
    };
    stage.content.delete_manifest(delete).await.unwrap();
    stage.push("acme/web", "config 4").await.unwrap();
    let untagged = image("config 4", &["a layer"]);
    let by_digest = digest(untagged.to_string().as_bytes());
    stage.content.put_manifest(push("acme/web", by_digest, &untagged)).await.unwrap();
    stage.push("acme/web", "nobody names it").await.unwrap();
    let started = stage.content.start_upload(&name("acme/web"), None, &pusher("ada")).await.unwrap();
    stage.content.append(&name("acme/web"), started, chunk("half of it")).await.unwrap();
    // What was hashed since a run began is not hashed again, and the clocks of program and database differ a little.
    stage.pass(Duration::from_secs(1));
}

macro_rules! web {
    () => {
        "(SELECT id FROM repository WHERE name = 'acme/web')"
    };
}
/// The blob that nobody names has the longest content.
macro_rules! loose {
    () => {
        "(SELECT id FROM blob WHERE size = 15)"
    };
}
macro_rules! tagged {
    ($tag:literal) => {
        concat!("(SELECT manifest_id FROM tag WHERE name = '", $tag, "' AND repository_id = ", web!(), ")")
    };
}

/// The config of what a tag points at: eight bytes long, as all of them.
macro_rules! config {
    ($tag:literal) => {
        concat!(
            "SELECT b.id FROM blob b JOIN manifest_blob n ON n.digest = b.digest WHERE b.size = 8 AND n.manifest_id = ",
            tagged!($tag)
        )
    };
}
/// A second row of the digest that nobody names, of no bytes, in a store that is not looked at, with its link and its share.
macro_rules! twice {
    () => {
        concat!(
            "INSERT INTO blob (digest, size, store, storage_key, state, verified_at)
                 SELECT digest, 0, 'elsewhere', 'blobs/00/twice', state, 1 FROM blob WHERE size = 15;
             INSERT INTO link (repository_id, blob_id, expires_at, leased_until)
                 SELECT ",
            web!(),
            ", id, 9000000000000, 0 FROM blob WHERE size = 0;
             INSERT INTO namespace_blob (namespace_id, blob_id, links)
                 SELECT (SELECT id FROM namespace WHERE name = 'acme'), id, 1 FROM blob WHERE size = 0"
        )
    };
}

pub(super) const CASES: &[Case] = &[
    case(
        "a link to no blob",
        &["link_without_blob"],
        concat!("INSERT INTO link (repository_id, blob_id, expires_at, leased_until) VALUES (", web!(), ", 999999, 1, 0)"),
    ),
    case(
        "a blob without its only link",
        &["blob_without_link"],
        concat!(
            "DELETE FROM link WHERE blob_id = ", loose!(), "; DELETE FROM namespace_blob WHERE blob_id = ", loose!(), ";
             UPDATE usage SET used = used - 15 WHERE namespace_id = (SELECT id FROM namespace WHERE name = 'acme')"
        ),
    ),
    case(
        "a blob whose config lost its only link",
        &["blob_without_link", "reference_missing"],
        concat!(
            "DELETE FROM link WHERE blob_id = (", config!("latest"), "); DELETE FROM namespace_blob WHERE blob_id = (", config!("latest"), ");
             UPDATE usage SET used = used - 8 WHERE namespace_id = (SELECT id FROM namespace WHERE name = 'acme')"
        ),
    ),
    lost(
        "a digest that is none",
        &["digest_invalid"],
        "UPDATE blob SET digest = upper(digest) WHERE size = 15",
    ),
    case(
        "a blob's key in the trash",
        &["key_twice"],
        "INSERT INTO trash (storage_key, store, since) SELECT storage_key, store, 1 FROM blob WHERE size = 15",
    ),
    case(
        "an upload's key in the trash",
        &["key_twice"],
        "INSERT INTO trash (storage_key, store, since) SELECT storage_key, store, 1 FROM upload",
    ),
    case(
        "a blob's key at an upload",
        &["key_twice"],
        concat!(
            "INSERT INTO upload (id, repository_id, store, storage_key, algorithm, boot, expires_at)
             SELECT 7, ", web!(), ", store, storage_key, 'sha256', 'x', 9000000000000000 FROM blob WHERE size = 15"
        ),
    ),
    case(
        "a promise for ever",
        &["promise_too_long"],
        concat!("UPDATE link SET leased_until = 9000000000000000 WHERE blob_id = ", loose!()),
    ),
    case(
        "a promise for ever about what a manifest names",
        &["promise_too_long"],
        concat!("UPDATE link SET leased_until = 9000000000000000 WHERE repository_id = ", web!(), " AND blob_id = (", config!("latest"), ")"),
    ),
    case(
        "a tag at nothing",
        &["tag_without_manifest"],
        concat!("UPDATE tag SET manifest_id = 999999 WHERE name = 'stable' AND repository_id = ", web!()),
    ),
    case(
        "a tag at a deleted manifest",
        &["tag_without_manifest"],
        concat!("UPDATE manifest SET deleted_at = 1, expires_at = 9000000000000000 WHERE id = ", tagged!("latest")),
    ),
    case(
        "a tag at another repository's manifest",
        &["tag_elsewhere"],
        concat!(
            "UPDATE tag SET manifest_id = (SELECT m.id FROM manifest m JOIN repository r ON r.id = m.repository_id WHERE r.name = 'other/tool')
             WHERE name = 'stable' AND repository_id = ", web!()
        ),
    ),
    case(
        "a history with a gap",
        &["history_broken"],
        "DELETE FROM tag_history WHERE name = 'latest' AND version = 1",
    ),
    case(
        "a history without its end",
        &["history_broken"],
        "DELETE FROM tag_history WHERE name = 'latest' AND version = 2",
    ),
    case(
        "a history that goes on behind its tag",
        &["history_broken"],
        concat!("INSERT INTO tag_history (repository_id, name, version, digest, at, actor) VALUES (", web!(), ", 'stable', 3, NULL, 1, 'x')"),
    ),
    case(
        "a history that ends elsewhere",
        &["history_broken"],
        "UPDATE tag_history SET digest = NULL WHERE name = 'stable'",
    ),
    case(
        "a history without a tag",
        &["history_without_tag"],
        concat!("INSERT INTO tag_history (repository_id, name, version, digest, at, actor) VALUES (", web!(), ", 'ghost', 1, NULL, 1, 'x')"),
    ),
    case(
        "a link of no repository",
        &["link_without_repository"],
        concat!("INSERT INTO link (repository_id, blob_id, expires_at, leased_until) VALUES (999999, ", loose!(), ", 1, 0)"),
    ),
    case("used bytes", &["usage_wrong"], "UPDATE usage SET used = used + 1 WHERE namespace_id = (SELECT id FROM namespace WHERE name = 'acme')"),
    case("reserved bytes", &["usage_wrong"], "UPDATE usage SET reserved = reserved + 5 WHERE namespace_id = (SELECT id FROM namespace WHERE name = 'acme')"),
    case("no used bytes", &["usage_wrong"], "DELETE FROM usage WHERE namespace_id = (SELECT id FROM namespace WHERE name = 'acme')"),
    case("too many shares", &["shares_wrong"], concat!("UPDATE namespace_blob SET links = links + 1 WHERE blob_id = ", loose!())),
    case("no share", &["shares_wrong", "usage_wrong"], concat!("DELETE FROM namespace_blob WHERE blob_id = ", loose!())),
    case("an upload that says more than it has", &["upload_short"], "UPDATE upload SET received = 1000"),
    case("an upload whose hash is ahead", &["upload_hash_wrong"], "UPDATE upload SET received = 5"),
    case("an upload whose hash is lost", &["upload_hash_wrong"], "UPDATE upload SET hash_state = NULL"),
    lost("no payload", &["payload_missing"], concat!("DELETE FROM manifest_payload WHERE manifest_id = ", tagged!("all"))),
    lost(
        "another's payload",
        &["payload_differs"],
        concat!(
            "UPDATE manifest_payload SET payload = (SELECT p.payload FROM manifest_payload p WHERE p.manifest_id = ", tagged!("latest"), ")
             WHERE manifest_id = ", tagged!("all")
        ),
    ),
    lost(
        "a blob that a manifest needs",
        &["reference_missing"],
        concat!(
            "DELETE FROM link WHERE repository_id = ", web!(), " AND blob_id = (", config!("v1"), ");
             DELETE FROM namespace_blob WHERE blob_id = (", config!("v1"), ") AND namespace_id = (SELECT id FROM namespace WHERE name = 'acme');
             UPDATE usage SET used = used - 8 WHERE namespace_id = (SELECT id FROM namespace WHERE name = 'acme')"
        ),
    ),
    case(
        "a row of a reference",
        &["reference_unrecorded"],
        concat!(
            "DELETE FROM manifest_blob WHERE manifest_id = ", tagged!("latest"), " AND digest = (SELECT digest FROM blob WHERE size = 7)"
        ),
    ),
    case("a row of a child", &["reference_unrecorded"], "DELETE FROM manifest_child"),
    case(
        "a reference that nobody makes",
        &["reference_unfounded"],
        concat!(
            "INSERT INTO manifest_blob (repository_id, digest, manifest_id) SELECT ", web!(), ", digest, ", tagged!("latest"), " FROM blob WHERE size = 15"
        ),
    ),
    case(
        "a reference that nobody makes, to what another manifest names",
        &["reference_unfounded"],
        concat!(
            "INSERT INTO manifest_blob (repository_id, digest, manifest_id) SELECT ", web!(), ", digest, ", tagged!("latest"),
            " FROM blob WHERE id = (", config!("v1"), ")"
        ),
    ),
    case(
        "a reference of no manifest",
        &["reference_orphaned"],
        concat!("INSERT INTO manifest_blob (repository_id, digest, manifest_id) SELECT ", web!(), ", digest, 999999 FROM blob WHERE size = 15"),
    ),
    case(
        "a child of no manifest",
        &["reference_orphaned"],
        concat!("INSERT INTO manifest_child (repository_id, digest, manifest_id) SELECT ", web!(), ", digest, 999999 FROM blob WHERE size = 15"),
    ),
    case(
        "another subject",
        &["referrers_wrong", "subject_wrong"],
        concat!("UPDATE manifest SET subject_digest = (SELECT digest FROM blob WHERE size = 15) WHERE id = ", tagged!("latest")),
    ),
    case("another type", &["subject_wrong"], concat!("UPDATE manifest SET artifact_type = 'a/b' WHERE id = ", tagged!("latest"))),
    case("a link that cannot expire", &["link_stuck"], concat!("UPDATE link SET expires_at = NULL WHERE blob_id = ", loose!())),
    case("a tagged manifest that can expire", &["manifest_expiry"], concat!("UPDATE manifest SET expires_at = 1 WHERE id = ", tagged!("latest"))),
    case(
        "an untagged manifest that cannot expire",
        &["manifest_expiry"],
        "UPDATE manifest SET expires_at = NULL WHERE deleted_at IS NULL AND expires_at IS NOT NULL",
    ),
    case(
        "a deleted manifest that is never purged",
        &["deleted_for_ever"],
        "UPDATE manifest SET expires_at = NULL WHERE deleted_at IS NOT NULL",
    ),
];

/// Two rows of one digest, where nothing keeps them out.
pub(super) const TWICE: Case = Case {
    what: "two blobs of one digest",
    sql: concat!(
        "PRAGMA legacy_alter_table = ON;
         CREATE TABLE other (id INTEGER PRIMARY KEY AUTOINCREMENT, digest TEXT NOT NULL, size INTEGER NOT NULL, store TEXT NOT NULL,
             storage_key TEXT NOT NULL UNIQUE, state TEXT NOT NULL, verified_at INTEGER) STRICT;
         INSERT INTO other SELECT * FROM blob; DROP TABLE blob; ALTER TABLE other RENAME TO blob;
         CREATE INDEX blob_verified ON blob (coalesce(verified_at, 0), id);",
        twice!()
    ),
    postgres: Some(concat!("ALTER TABLE blob DROP CONSTRAINT blob_digest_key;", twice!())),
    finds: &["digest_twice"],
    left: &["digest_twice"],
};
