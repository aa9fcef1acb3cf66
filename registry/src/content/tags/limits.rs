//! The tags a caller may touch (design.md section 3, "Limits"), checked where the tag changes: under its lock and the locks of the
//! manifests that decide.

use std::collections::BTreeSet;

use shared::{
    database::{Failure, Transaction},
    digest::Digest,
    tag::Tag,
};

use crate::{
    content::{Error, TagLimits},
    metadata::{manifests, tags},
};

/// Why limits to tags forbid what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The tag matches none of the patterns.
    #[error("{tag} does not match")]
    Tag {
        /// Which.
        tag: Tag,
    },
    /// What is pushed or deleted is about a manifest that carries a tag out of bounds.
    #[error("{named} carries the tag {carried}, which does not match")]
    Named {
        /// The manifest that a subject or a tag like `sha256-<hex>.sig` names.
        named: Digest,
        /// One of its tags that match no pattern.
        carried: Tag,
    },
    /// A manifest without a tag is deleted by its digest.
    #[error("{digest} carries no tag")]
    Untagged {
        /// Which.
        digest: Digest,
    },
    /// A manifest is deleted that an index lists.
    #[error("{digest} is listed by the index {index}")]
    Listed {
        /// Which.
        digest: Digest,
        /// One that lists it.
        index: Digest,
    },
    /// A blob belongs to no tag.
    #[error("a blob is not deleted under a limit to tags")]
    Blob,
}

/// The suffixes that signing tools put behind the digest of the manifest that a tag is about; the referrers tag schema puts none.
const ABOUT_SUFFIXES: [&str; 4] = ["", ".sig", ".att", ".sbom"];

/// The manifest that a tag of the form `sha256-<hex>[.sig|.att|.sbom]` is about.
fn about(tag: &Tag) -> Option<Digest> {
    let rest = tag.as_str().strip_prefix("sha256-")?;
    let (hex, suffix) = rest.split_at_checked(64)?;
    if !ABOUT_SUFFIXES.contains(&suffix) {
        return None;
    }
    format!("sha256:{hex}").parse().ok()
}

/// The manifests whose tags decide: those that tags out of bounds are about by their form, and the subject. Without limits there
/// are none. They are locked before [`check`].
pub(in crate::content) fn deciding(limits: &TagLimits, tags: &BTreeSet<Tag>, subject: Option<&Digest>) -> Vec<Digest> {
    match limits {
        TagLimits::Everything => Vec::new(),
        TagLimits::Matching(_) => {
            let out_of_bounds = tags.iter().filter(|tag| !limits.permits(tag));
            out_of_bounds.filter_map(about).chain(subject.copied()).collect()
        }
    }
}

/// Whether a caller may move or delete all of `tags` and push what is about `subject`.
pub(in crate::content) async fn check(
    tx: &mut Transaction<'_>,
    limits: &TagLimits,
    tags: &BTreeSet<Tag>,
    subject: Option<&Digest>,
    locked: &[manifests::Row],
) -> Result<(), Failure<Error>> {
    if let Some(tag) = tags.iter().find(|tag| !limits.permits(tag) && about(tag).is_none()) {
        return Err(denied(Denial::Tag { tag: tag.clone() }));
    }
    for named in deciding(limits, tags, subject) {
        // One that is absent, or deleted, carries no tag.
        let Some(row) = locked.iter().find(|row| row.digest == named) else { continue };
        let carried = tags::carried_by(tx, row.id).await?;
        if let Some(carried) = carried.into_iter().find(|tag| !limits.permits(tag)) {
            return Err(denied(Denial::Named { named, carried }));
        }
    }
    Ok(())
}

/// Whether a caller may delete a manifest by its digest, which takes these tags with it.
pub(in crate::content) fn check_deletion(
    limits: &TagLimits,
    digest: Digest,
    tags: &[(Tag, i64)],
    parent: Option<Digest>,
) -> Result<(), Failure<Error>> {
    if *limits == TagLimits::Everything {
        return Ok(());
    }
    if tags.is_empty() {
        return Err(denied(Denial::Untagged { digest }));
    }
    if let Some((tag, _)) = tags.iter().find(|(tag, _)| !limits.permits(tag)) {
        return Err(denied(Denial::Tag { tag: tag.clone() }));
    }
    match parent {
        Some(index) => Err(denied(Denial::Listed { digest, index })),
        None => Ok(()),
    }
}

fn denied(denial: Denial) -> Failure<Error> {
    Failure::Refused(Error::Denied(denial))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_that_are_about_a_manifest_by_their_form() {
        let hex = "0123456789abcdef".repeat(4);
        let digest: Digest = format!("sha256:{hex}").parse().unwrap();
        let of = |tag: String| about(&tag.parse().unwrap());
        for suffix in ABOUT_SUFFIXES {
            assert_eq!(of(format!("sha256-{hex}{suffix}")), Some(digest));
        }
        for other in [
            format!("sha256-{hex}.sig2"),
            format!("sha256-{hex}.vex"),
            format!("sha256-{hex}0"),
            format!("sha256-{}", &hex[1..]),
            format!("sha256-{}", hex.to_uppercase()),
            format!("sha512-{hex}"),
            "sha256-é".replace('é', "e"),
            "latest".to_owned(),
        ] {
            assert_eq!(of(other.clone()), None, "{other}");
        }
    }
}
