//! What content knows and the doctor has to: how manifests are read, and what was asked of them when they came.

use std::time::Duration;

use crate::{
    content::{
        manifest::{BlobReference, Manifest, MediaType},
        uploads::boot,
    },
    gc::doctor::{Missing, Named, NamedBlob, Reading},
    settings::References,
};

/// What the doctor of a registry with these settings is told.
pub(crate) fn reading(references: References, grace: Duration) -> Reading {
    let missing = match references {
        References::Lenient => Missing::Allowed,
        References::Normal | References::Strict => Missing::Lost,
    };
    Reading { named, missing, boot: boot::id(), grace }
}

/// None where today's rules would refuse the payload: an earlier release had others.
fn named(media_type: &str, payload: &[u8]) -> Option<Named> {
    let media_type: MediaType = media_type.parse().ok()?;
    let manifest = Manifest::parse(Some(&media_type), payload).ok()?;
    let blob = |blob: &BlobReference| NamedBlob { digest: blob.descriptor.digest.to_string(), required: blob.required };
    Some(Named {
        blobs: manifest.blobs.iter().map(blob).collect(),
        children: manifest.children.iter().map(|child| child.digest.to_string()).collect(),
        subject: manifest.subject.map(|subject| subject.digest.to_string()),
        artifact_type: manifest.artifact_type,
        annotations: manifest.annotations,
    })
}
