//! References, subjects and expiry of manifests. Links are locked before manifests, as everybody does; turns come before both.

use shared::{clock::Timestamp, database::Transaction, digest::Digest, on};
use sqlx::Error;

use crate::metadata::{
    RepositoryId,
    examine::fault::Reference,
    links::{self, PROMISE_LIFE},
    manifests::{self, Affected, ManifestId},
    parse_digest,
};

/// A manifest's repository and digest.
async fn place(tx: &mut Transaction<'_>, manifest: ManifestId) -> Result<Option<(RepositoryId, Digest)>, Error> {
    let select = "SELECT repository_id, digest FROM manifest WHERE id = $1";
    let found: Option<(RepositoryId, String)> =
        on!(tx, c => sqlx::query_as(select).bind(manifest).fetch_optional(c).await)?;
    found.map(|(repository, digest)| Ok((repository, parse_digest(&digest)?))).transpose()
}

/// Locks what a reference of a manifest is about: its turn, the link of what is named, the manifest itself and a manifest that is named.
async fn lock(
    tx: &mut Transaction<'_>,
    manifest: ManifestId,
    named: Option<Digest>,
) -> Result<Option<RepositoryId>, Error> {
    let Some((repository, digest)) = place(tx, manifest).await? else { return Ok(None) };
    let named: Vec<Digest> = named.into_iter().collect();
    manifests::take_turn(tx, repository, &digest, &named).await?;
    links::lock(tx, repository, &named).await?;
    let affected = Affected { digests: named, ids: vec![manifest], family_of: None };
    let locked = manifests::lock(tx, repository, &affected).await?;
    Ok(locked.iter().any(|row| row.id == manifest).then_some(repository))
}

const fn table(reference: Reference) -> (&'static str, &'static str) {
    match reference {
        Reference::Blob => (
            "INSERT INTO manifest_blob (repository_id, digest, manifest_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            "DELETE FROM manifest_blob WHERE repository_id = $1 AND digest = $2 AND manifest_id = $3",
        ),
        Reference::Child => (
            "INSERT INTO manifest_child (repository_id, digest, manifest_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            "DELETE FROM manifest_child WHERE repository_id = $1 AND digest = $2 AND manifest_id = $3",
        ),
    }
}

/// Writes that a manifest names something, and keeps that from now on.
pub(super) async fn record(
    tx: &mut Transaction<'_>,
    manifest: ManifestId,
    named: &str,
    reference: Reference,
    until: Timestamp,
) -> Result<Option<&'static str>, Error> {
    let digest = parse_digest(named)?;
    let Some(repository) = lock(tx, manifest, Some(digest)).await? else { return Ok(None) };
    let (insert, _) = table(reference);
    let made = on!(tx, c => {
        let query = sqlx::query(insert).bind(repository).bind(named).bind(manifest);
        query.execute(c).await.map(|done| done.rows_affected())
    })?;
    let keep = "UPDATE link SET expires_at = NULL WHERE repository_id = $1 AND blob_id = (SELECT id FROM blob WHERE digest = $2) \
                AND EXISTS (SELECT 1 FROM manifest_blob n WHERE n.repository_id = $1 AND n.digest = $2)";
    on!(tx, c => sqlx::query(keep).bind(repository).bind(named).execute(c).await.map(drop))?;
    settle_named(tx, repository, &digest, until).await?;
    Ok((made > 0).then_some("recorded"))
}

/// Removes the row of a reference that its manifest does not make, or that has no manifest. What it kept is looked at by the collector.
pub(super) async fn unrecord(
    tx: &mut Transaction<'_>,
    repository: RepositoryId,
    manifest: ManifestId,
    (named, reference): (&str, Reference),
    until: Timestamp,
) -> Result<Option<&'static str>, Error> {
    let digest: Option<Digest> = named.parse().ok();
    lock(tx, manifest, digest).await?;
    if let Some(digest) = &digest {
        links::lock(tx, repository, [digest]).await?;
    }
    let (_, delete) = table(reference);
    let gone = on!(tx, c => {
        let query = sqlx::query(delete).bind(repository).bind(named).bind(manifest);
        query.execute(c).await.map(|done| done.rows_affected())
    })?;
    if gone == 0 {
        return Ok(None);
    }
    let expires = tx.now() + PROMISE_LIFE;
    let release = "UPDATE link SET expires_at = $3 WHERE repository_id = $1 AND expires_at IS NULL \
                   AND blob_id = (SELECT id FROM blob WHERE digest = $2) \
                   AND NOT EXISTS (SELECT 1 FROM manifest_blob n WHERE n.repository_id = $1 AND n.digest = $2)";
    on!(tx, c => sqlx::query(release).bind(repository).bind(named).bind(expires).execute(c).await.map(drop))?;
    if let Some(digest) = &digest {
        settle_named(tx, repository, digest, until).await?;
    }
    Ok(Some("its row is removed; the collector looks at what it kept in a day"))
}

/// What is named may be held now, or not any more.
async fn settle_named(
    tx: &mut Transaction<'_>,
    repository: RepositoryId,
    named: &Digest,
    until: Timestamp,
) -> Result<(), Error> {
    let named = manifests::id(tx, repository, named).await?;
    manifests::settle(tx, named.as_slice(), until).await
}

/// Writes what a manifest is about, its type and its annotations.
pub(super) async fn describe(
    tx: &mut Transaction<'_>,
    manifest: ManifestId,
    [subject, artifact_type, annotations]: &[Option<String>; 3],
    until: Timestamp,
) -> Result<Option<&'static str>, Error> {
    let about = subject.as_deref().map(parse_digest).transpose()?;
    if lock(tx, manifest, about).await?.is_none() {
        return Ok(None);
    }
    let update = "UPDATE manifest SET subject_digest = $2, artifact_type = $3, annotations = $4 WHERE id = $1";
    on!(tx, c => {
        let query = sqlx::query(update).bind(manifest).bind(subject).bind(artifact_type).bind(annotations);
        query.execute(c).await.map(drop)
    })?;
    manifests::settle(tx, &[manifest], until).await?;
    Ok(Some("written as its payload says"))
}

/// Gives a manifest the expiry that follows from what holds it. A deleted one is purged a while from now.
pub(super) async fn settle(
    tx: &mut Transaction<'_>,
    manifest: ManifestId,
    until: Timestamp,
) -> Result<Option<&'static str>, Error> {
    let Some(locked) = manifests::lock_to_purge(tx, manifest, manifests::STEP).await? else { return Ok(None) };
    manifests::settle(tx, &[manifest], until).await?;
    if locked.deleted {
        let update = "UPDATE manifest SET expires_at = $2 WHERE id = $1 AND expires_at IS NULL";
        on!(tx, c => sqlx::query(update).bind(manifest).bind(until).execute(c).await.map(drop))?;
    }
    Ok(Some("it expires as what holds it says"))
}
