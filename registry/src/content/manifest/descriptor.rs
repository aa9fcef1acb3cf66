//! Descriptors: how a manifest names content (OCI image specification, descriptor.md).

use serde::{Deserialize, Deserializer, de::Error as _};
use shared::digest::Digest;

use super::media_type::{Shape, shape_of};

/// The media types of layers that their licence keeps out of registries; images name them with the places where they lie.
const NOT_DISTRIBUTABLE: [&str; 2] =
    ["application/vnd.docker.image.rootfs.foreign.diff.", "application/vnd.oci.image.layer.nondistributable.v1."];

/// One entry by which a manifest names content.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is said to be; empty where the manifest does not say, which the specification forbids and others accept.
    #[serde(default, deserialize_with = "text_or_null")]
    pub media_type: String,
    /// What it hashes to.
    pub digest: Digest,
    /// Its length in bytes.
    #[serde(deserialize_with = "length")]
    pub size: u64,
    #[serde(default, deserialize_with = "list_or_null")]
    urls: Vec<String>,
}

impl Descriptor {
    /// Whether the media type says that this is a manifest.
    #[must_use]
    pub fn names_manifest(&self) -> bool {
        shape_of(&self.media_type) != Shape::Other
    }

    /// Whether this is a layer that may not be distributed and that says where else it lies.
    ///
    /// # Errors
    /// A sentence, when one of those places is not an http or https address.
    pub(super) fn lies_elsewhere(&self) -> Result<bool, String> {
        if !NOT_DISTRIBUTABLE.iter().any(|start| self.media_type.starts_with(start)) {
            return Ok(false);
        }
        let is_web = |address: &String| address.starts_with("https://") || address.starts_with("http://");
        match self.urls.iter().find(|address| !is_web(address)) {
            Some(address) => Err(format!("{address:?} is not an http or https address")),
            None => Ok(!self.urls.is_empty()),
        }
    }
}

/// The databases hold lengths as signed 64-bit numbers.
fn length<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let length = u64::deserialize(deserializer)?;
    if i64::try_from(length).is_err() {
        return Err(D::Error::custom("size is out of range"));
    }
    Ok(length)
}

/// Go writes an empty slice or pointer as `null`.
fn list_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn text_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
