//! What manifests may be about, and which ones say so: by themselves, or in the lists that clients of OCI 1.0 keep under referrers tags (I12).

use shared::{
    database::{DatabaseError, Dialect, Reader},
    digest::Digest,
    on,
    repository::RepositoryName,
};

use super::Range;
use crate::metadata::{RepositoryId, json_list, manifests::ManifestId, referrers::referrers_tag};

/// Something that manifests of a living repository may be about. It need not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Its repository's row,
    pub repository_id: RepositoryId,
    /// and name.
    pub repository: RepositoryName,
    /// Which.
    pub digest: Digest,
}

// In this order and no other: left to itself SQLite may walk through all repositories for a page.
const NAMED: &str = "SELECT DISTINCT m.repository_id, r.name, m.subject_digest FROM manifest m CROSS JOIN repository r \
    WHERE r.id = m.repository_id AND r.deleted_at IS NULL AND m.subject_digest IS NOT NULL \
    AND (m.repository_id, m.subject_digest) > ($1, $2) AND (m.repository_id, m.subject_digest) <= ($3, $4) ORDER BY 1, 3";

const LISTED: &str = "SELECT t.repository_id, r.name, t.name FROM tag t CROSS JOIN repository r \
    WHERE r.id = t.repository_id AND r.deleted_at IS NULL AND t.manifest_id IS NOT NULL AND (t.name LIKE 'sha256-%' OR t.name LIKE 'sha512-%') \
    AND (t.repository_id, t.name) > ($1, $2) AND (t.repository_id, t.name) <= ($3, $4) ORDER BY 1, 3";

type Row = (RepositoryId, String, String);

async fn page(reader: &mut Reader, select: &'static str, range: &Range) -> Result<Vec<Row>, DatabaseError> {
    Ok(on!(reader, c => {
        let query = sqlx::query_as(select).bind(range.after.first).bind(&range.after.name);
        query.bind(range.upto.first).bind(&range.upto.name).fetch_all(c).await
    })?)
}

/// The subjects of a page of what manifests name as theirs. A text that is no digest is no subject: what is recorded wrong is found with its manifest.
///
/// # Errors
/// The database failed.
pub async fn named(reader: &mut Reader, range: &Range) -> Result<Vec<Subject>, DatabaseError> {
    let rows = page(reader, NAMED, range).await?;
    let subject = |(repository_id, name, digest): Row| {
        Some(Subject { repository_id, repository: name.parse().ok()?, digest: digest.parse().ok()? })
    };
    Ok(rows.into_iter().filter_map(subject).collect())
}

/// The subjects of the referrers tags among a page of tags, as far as no manifest names them itself.
///
/// # Errors
/// The database failed.
pub async fn listed(reader: &mut Reader, range: &Range) -> Result<Vec<Subject>, DatabaseError> {
    let mut subjects = Vec::new();
    for (repository_id, name, tag) in page(reader, LISTED, range).await? {
        let Ok(repository) = name.parse::<RepositoryName>() else { continue };
        for digest in meant(reader, repository_id, &tag).await? {
            if naming(reader, repository_id, &digest).await?.is_empty() {
                subjects.push(Subject { repository_id, repository: repository.clone(), digest });
            }
        }
    }
    Ok(subjects)
}

/// The digests that a referrers tag is about. One of SHA-512 is cut in it: those are meant that the repository knows.
async fn meant(reader: &mut Reader, repository: RepositoryId, tag: &str) -> Result<Vec<Digest>, DatabaseError> {
    let begin = tag.replacen('-', ":", 1);
    let candidates = match begin.parse::<Digest>() {
        Ok(whole) => vec![whole],
        Err(_) => beginning(reader, repository, &begin).await?,
    };
    Ok(candidates.into_iter().filter(|digest| referrers_tag(digest) == tag).collect())
}

async fn beginning(reader: &mut Reader, repository: RepositoryId, begin: &str) -> Result<Vec<Digest>, DatabaseError> {
    let select = "SELECT digest FROM manifest WHERE repository_id = $1 AND digest >= $2 AND digest < $3";
    // Behind every digit.
    let end = format!("{begin}g");
    let rows: Vec<(String,)> =
        on!(reader, c => sqlx::query_as(select).bind(repository).bind(begin).bind(end).fetch_all(c).await)?;
    Ok(rows.into_iter().filter_map(|(digest,)| digest.parse().ok()).collect())
}

/// The living manifests whose rows name a subject.
///
/// # Errors
/// The database failed.
pub async fn naming(
    reader: &mut Reader,
    repository: RepositoryId,
    subject: &Digest,
) -> Result<Vec<ManifestId>, DatabaseError> {
    let select = "SELECT id FROM manifest WHERE repository_id = $1 AND subject_digest = $2 AND deleted_at IS NULL";
    let subject = subject.to_string();
    let rows: Vec<(ManifestId,)> =
        on!(reader, c => sqlx::query_as(select).bind(repository).bind(subject).fetch_all(c).await)?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// What the referrers tag of a subject points at.
///
/// # Errors
/// The database failed.
pub async fn list(reader: &mut Reader, subject: &Subject) -> Result<Option<ManifestId>, DatabaseError> {
    let select = "SELECT manifest_id FROM tag WHERE repository_id = $1 AND name = $2 AND manifest_id IS NOT NULL";
    let (repository, tag) = (subject.repository_id, referrers_tag(&subject.digest));
    let row: Option<(ManifestId,)> =
        on!(reader, c => sqlx::query_as(select).bind(repository).bind(tag).fetch_optional(c).await)?;
    Ok(row.map(|(id,)| id))
}

/// Manifests of a repository by their digests.
///
/// # Errors
/// The database failed.
pub async fn of_digests(
    reader: &mut Reader,
    repository: RepositoryId,
    digests: &[String],
) -> Result<Vec<ManifestId>, DatabaseError> {
    let select = match reader.dialect() {
        Dialect::Sqlite => {
            "SELECT id FROM manifest WHERE repository_id = $1 AND digest IN (SELECT value FROM json_each($2))"
        }
        Dialect::Postgres => {
            "SELECT id FROM manifest WHERE repository_id = $1 \
             AND digest = ANY (ARRAY(SELECT jsonb_array_elements_text($2::jsonb)))"
        }
    };
    let digests = json_list(digests);
    let rows: Vec<(ManifestId,)> =
        on!(reader, c => sqlx::query_as(select).bind(repository).bind(digests).fetch_all(c).await)?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{metadata::fixture::plan, stories::stage::Stage};

    #[tokio::test]
    async fn a_page_is_read_by_keys() {
        let stage = Stage::sqlite().await;
        for select in [NAMED, LISTED] {
            let plan = plan(&stage.content.metadata, select).await;
            assert!(!plan.contains("SCAN") && plan.contains("r USING INTEGER PRIMARY KEY"), "{plan}");
        }
    }
}
