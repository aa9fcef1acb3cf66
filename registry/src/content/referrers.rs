//! Which manifests are about another one (OCI distribution specification, "Listing Referrers").

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use shared::{digest::Digest, repository::RepositoryName};

use super::{Content, Error};
use crate::metadata::{
    manifests::{self, ManifestId},
    referrers::{self, Query, Row},
};

/// How many referrers a page holds at most.
pub const MAX_REFERRERS: usize = 1_000;

/// After how many characters of annotations a page ends: each manifest may bring megabytes of them.
pub const MAX_ANNOTATIONS: i64 = 2 * 1024 * 1024;

/// Which referrers are asked for.
#[derive(Clone, Debug)]
pub struct ReferrersQuery {
    /// In which repository; one that does not exist has none.
    pub repository: RepositoryName,
    /// What they are about; it need not exist.
    pub subject: Digest,
    /// Only those of this artifact type.
    pub artifact_type: Option<String>,
    /// Only those whose digest sorts behind this one.
    pub after: Option<Digest>,
    /// How many at most.
    pub limit: Option<usize>,
}

/// A page of referrers, in the order of their digests.
#[derive(Debug)]
pub struct Referrers {
    /// The descriptors.
    pub manifests: Vec<Referrer>,
    /// Behind which digest the next page begins, if there is one.
    pub next: Option<Digest>,
}

/// A descriptor as a referrers list shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Referrer {
    /// The manifest's media type.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Its artifact type, or an image's config's media type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Its annotations, a JSON object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Box<RawValue>>,
}

impl Content {
    /// The living manifests that are about a digest: by what they say, or by the index under its referrers tag where they say nothing.
    ///
    /// # Errors
    /// The database cannot be asked.
    pub async fn referrers(&self, query: &ReferrersQuery) -> Result<Referrers, Error> {
        let limit = query.limit.unwrap_or(MAX_REFERRERS).min(MAX_REFERRERS);
        let mut reader = self.metadata.read().await?;
        let (mut rows, shortened) = referrers::list(
            &mut reader,
            &Query {
                repository: &query.repository,
                subject: &query.subject,
                artifact_type: query.artifact_type.as_deref(),
                after: query.after.as_ref(),
                // One more than asked for tells whether others follow.
                limit: i64::try_from(limit + 1).unwrap_or(i64::MAX),
                annotations: MAX_ANNOTATIONS,
            },
        )
        .await?;
        let more = limit > 0 && (shortened || rows.len() > limit);
        rows.truncate(limit);
        for row in rows.iter_mut().filter(|row| row.listed != 0) {
            let payload = manifests::find_payload(&mut reader, ManifestId(row.listed)).await?;
            row.annotations = payload.and_then(|payload| annotations(&payload));
        }
        let manifests: Vec<Referrer> = rows.into_iter().map(Referrer::from).collect();
        let next = manifests.last().filter(|_| more).map(|last| last.digest);
        Ok(Referrers { manifests, next })
    }
}

/// The annotations of a manifest that were not kept beside it: it names no subject.
fn annotations(payload: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Annotated {
        annotations: BTreeMap<String, String>,
    }
    let found: Annotated = serde_json::from_slice(payload).ok()?;
    serde_json::to_string(&found.annotations).ok()
}

impl From<Row> for Referrer {
    fn from(row: Row) -> Self {
        let Row { digest, media_type, size, artifact_type, annotations, listed: _ } = row;
        // The text was made by us from a parsed object: it always is JSON.
        let annotations = annotations.and_then(|text| RawValue::from_string(text).ok());
        Self { media_type, digest, size, artifact_type, annotations }
    }
}
