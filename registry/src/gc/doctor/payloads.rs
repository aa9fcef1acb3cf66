//! Manifests against what their payloads say.

use std::collections::BTreeSet;

use shared::digest::Digest;

use super::{Doctor, Error, Fault, Missing, Named};
use crate::metadata::examine::{
    Range,
    fault::{OfReference, Reference},
    manifests::{self, Whole},
};

impl Doctor {
    /// What is wrong with the manifests of a page.
    pub(super) async fn manifests(&self, range: &Range) -> Result<Vec<Fault>, Error> {
        let mut reader = self.metadata.read().await?;
        let mut faults = manifests::wrong(&mut reader, range).await?;
        let ids = manifests::ids(&mut reader, range).await?;
        drop(reader);
        for id in ids {
            // A payload may be large: no connection is held between two of them.
            let whole = manifests::whole(&mut self.metadata.read().await?, id).await?;
            faults.extend(whole.map(|whole| self.wrong_manifest(&whole)).unwrap_or_default());
        }
        Ok(faults)
    }

    fn wrong_manifest(&self, whole: &Whole) -> Vec<Fault> {
        let Some(payload) = &whole.payload else { return vec![Fault::PayloadMissing(whole.of.clone())] };
        if let Some(found) = other_payload(whole, payload) {
            // What such a payload names is nobody's word.
            return vec![Fault::PayloadDiffers { of: whole.of.clone(), found }];
        }
        let Some(named) = (self.reading.named)(&whole.media_type, payload) else { return Vec::new() };
        let mut faults = references(whole, &named);
        let says = [named.subject.clone(), named.artifact_type.clone(), named.annotations.clone()];
        // Only a list of referrers shows annotations.
        let compared = if named.subject.is_some() { 3 } else { 2 };
        if says[..compared] != whole.recorded[..compared] {
            faults.push(Fault::SubjectWrong { of: whole.of.clone(), recorded: whole.recorded.clone(), named: says });
        }
        if self.reading.missing == Missing::Lost && !whole.deleted {
            let required = named.blobs.iter().filter(|blob| blob.required).map(|blob| &blob.digest);
            let lost: BTreeSet<&String> = required.filter(|digest| whole.missing.contains(digest)).collect();
            faults.extend(lost.into_iter().map(|digest| Fault::ReferenceMissing(of(whole, digest, Reference::Blob))));
        }
        faults
    }
}

/// What is there instead of what was pushed.
fn other_payload(whole: &Whole, payload: &[u8]) -> Option<String> {
    let length = payload.len() as u64;
    let found = match whole.of.digest.parse::<Digest>() {
        Ok(digest) => {
            let found = Digest::of(digest.algorithm(), payload);
            if found == digest && length == whole.size {
                return None;
            }
            found.to_string()
        }
        Err(_) => "something".to_owned(),
    };
    Some(format!("{found} of {length} bytes"))
}

/// Rows of references that the payload does not speak of, and the other way round.
fn references(whole: &Whole, named: &Named) -> Vec<Fault> {
    let blobs: BTreeSet<&String> = named.blobs.iter().map(|blob| &blob.digest).collect();
    let children: BTreeSet<&String> = named.children.iter().collect();
    let pairs = [(blobs, &whole.blobs, Reference::Blob), (children, &whole.children, Reference::Child)];
    let mut faults = Vec::new();
    for (named, recorded, reference) in pairs {
        let recorded: BTreeSet<&String> = recorded.iter().collect();
        let unrecorded = named.difference(&recorded).filter(|_| !whole.stripped);
        let unrecorded = unrecorded.map(|digest| of(whole, digest, reference));
        faults.extend(unrecorded.map(Fault::ReferenceUnrecorded));
        let unfounded = recorded.difference(&named).map(|digest| of(whole, digest, reference));
        faults.extend(unfounded.map(Fault::ReferenceUnfounded));
    }
    faults
}

fn of(whole: &Whole, named: &str, reference: Reference) -> OfReference {
    OfReference { of: whole.of.clone(), named: named.to_owned(), reference }
}
