//! What a manifest names, against what the repository holds.

use std::collections::{BTreeSet, HashMap, HashSet};

use shared::digest::Digest;

use super::References;
use crate::{
    content::{
        Error,
        manifest::{Descriptor, Manifest},
    },
    metadata::{links::Linked, manifests},
};

/// The blobs that a manifest names, each once.
pub(super) fn blobs(manifest: &Manifest) -> Vec<Digest> {
    let digests: BTreeSet<Digest> = manifest.blobs.iter().map(|blob| blob.descriptor.digest).collect();
    digests.into_iter().collect()
}

/// The manifests that an index lists, each once.
pub(super) fn children(manifest: &Manifest) -> Vec<Digest> {
    let digests: BTreeSet<Digest> = manifest.children.iter().map(|child| child.digest).collect();
    digests.into_iter().collect()
}

/// Whether the repository holds what the policy asks for, in the sizes that the manifest says. A size that is wrong makes an image
/// that no client accepts, whatever the policy.
pub(super) fn check(
    manifest: &Manifest,
    policy: References,
    links: &[Linked],
    held: &[manifests::Row],
) -> Result<(), Error> {
    // A damaged blob is missing: the push of it that this asks for heals it.
    let whole = links.iter().filter(|link| !link.damaged);
    let blobs: HashMap<Digest, u64> = whole.map(|link| (link.digest, link.size)).collect();
    let living = held.iter().filter(|row| !row.deleted);
    let manifests: HashMap<Digest, u64> = living.map(|row| (row.digest, row.size)).collect();
    let mut missing = Missing::default();
    for blob in &manifest.blobs {
        let required = blob.required && policy != References::Lenient;
        missing.look(&blob.descriptor, required, blobs.get(&blob.descriptor.digest))?;
    }
    for child in &manifest.children {
        // An index of layers lists blobs among its manifests.
        let size = manifests.get(&child.digest).or_else(|| blobs.get(&child.digest));
        missing.look(child, policy == References::Strict, size)?;
    }
    missing.none()
}

/// What was required and is not there, each digest once, in the manifest's order.
#[derive(Default)]
struct Missing {
    digests: Vec<Digest>,
    seen: HashSet<Digest>,
}

impl Missing {
    fn look(&mut self, descriptor: &Descriptor, required: bool, held: Option<&u64>) -> Result<(), Error> {
        let digest = descriptor.digest;
        match held {
            Some(held) if *held != descriptor.size => {
                return Err(Error::DescriptorSize { digest, stated: descriptor.size, held: *held });
            }
            None if required && self.seen.insert(digest) => self.digests.push(digest),
            _ => {}
        }
        Ok(())
    }

    fn none(self) -> Result<(), Error> {
        if self.digests.is_empty() { Ok(()) } else { Err(Error::ManifestReferencesMissing { missing: self.digests }) }
    }
}
