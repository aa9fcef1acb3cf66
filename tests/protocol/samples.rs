//! What the suite pushes: blobs and manifests made fresh for every run, so that no run profits from another's bytes.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

use crate::support::tarball::{Entry, gzip, tar};

pub(crate) mod media {
    pub(crate) const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
    pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    pub(crate) const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    pub(crate) const FOREIGN_LAYER: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";
    pub(crate) const FOREIGN_LAYER_GZIP: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    pub(crate) const EMPTY: &str = "application/vnd.oci.empty.v1+json";
    pub(crate) const OCTETS: &str = "application/octet-stream";
    pub(crate) const EXAMPLE_1: &str = "application/vnd.example.portreeve.v1";
    pub(crate) const EXAMPLE_2: &str = "application/vnd.example.portreeve.v2";
}

/// The digest algorithms of the specification.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// `sha256:<hex>`.
    pub(crate) fn digest(self, bytes: &[u8]) -> String {
        let hex = match self {
            Self::Sha256 => hex::encode(Sha256::digest(bytes)),
            Self::Sha512 => hex::encode(Sha512::digest(bytes)),
        };
        format!("{}:{hex}", self.name())
    }
}

/// `count` random bytes.
pub(crate) fn random(count: usize) -> Bytes {
    let mut bytes = vec![0; count];
    SystemRandom::new().fill(&mut bytes).expect("the system has randomness");
    bytes.into()
}

/// A random word for names and annotations.
pub(crate) fn word() -> String {
    hex::encode(random(12))
}

/// Bytes, and the digest under which they are pushed. The two disagree where a refusal is wanted.
#[derive(Clone)]
pub(crate) struct Blob {
    pub(crate) digest: String,
    pub(crate) bytes: Bytes,
}

impl Blob {
    pub(crate) fn of(algorithm: Algorithm, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { digest: algorithm.digest(&bytes), bytes }
    }

    pub(crate) fn random(algorithm: Algorithm, size: usize) -> Self {
        Self::of(algorithm, random(size))
    }

    /// The same name over other bytes.
    pub(crate) fn corrupted(self) -> Self {
        Self { digest: self.digest, bytes: [self.bytes.as_ref(), b"oh no"].concat().into() }
    }

    pub(crate) fn descriptor(&self, media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": self.digest, "size": self.bytes.len()})
    }

    /// The descriptor, with the content itself in its `data`.
    pub(crate) fn descriptor_with_data(&self, media_type: &str) -> Value {
        let mut descriptor = self.descriptor(media_type);
        descriptor["data"] = STANDARD.encode(&self.bytes).into();
        descriptor
    }
}

/// A layer holding one small file.
pub(crate) fn layer(algorithm: Algorithm, compressed: bool) -> Blob {
    let content = format!("a file of the protocol suite, {}\n", word());
    let archive = tar(&[Entry { path: "portreeve.txt", mode: 0o644, content: content.as_bytes() }]);
    Blob::of(algorithm, if compressed { gzip(&archive) } else { archive })
}

/// How a manifest gets its tags.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tagging {
    /// A PUT of its own for each tag, `/manifests/<tag>`.
    ByPath,
    /// All in the PUT by digest, `?tag=a&tag=b`.
    ByQuery,
}

/// A manifest as it is pushed and expected back.
#[derive(Clone)]
pub(crate) struct Manifest {
    pub(crate) blob: Blob,
    pub(crate) media_type: String,
    pub(crate) subject: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) tagging: Tagging,
    /// What the referrers list says about it.
    pub(crate) listed: Value,
}

impl Manifest {
    /// Freezes `content` under its digest.
    pub(crate) fn new(algorithm: Algorithm, content: &Value) -> Self {
        let text = |key: &str| content[key].as_str().map(str::to_owned);
        let media_type = text("mediaType").expect("manifests of the suite say what they are");
        let blob = Blob::of(algorithm, content.to_string());
        let mut listed = blob.descriptor(&media_type);
        let of_config = content["config"]["mediaType"].as_str().map(str::to_owned);
        if let Some(artifact_type) = text("artifactType").or(of_config) {
            listed["artifactType"] = artifact_type.into();
        }
        if !content["annotations"].is_null() {
            listed["annotations"] = content["annotations"].clone();
        }
        let subject = content["subject"]["digest"].as_str().map(str::to_owned);
        Self { blob, media_type, subject, tags: Vec::new(), tagging: Tagging::ByPath, listed }
    }

    pub(crate) fn digest(&self) -> &str {
        &self.blob.digest
    }

    pub(crate) fn descriptor(&self) -> Value {
        self.blob.descriptor(&self.media_type)
    }
}

/// Everything that one group of the walk pushes, reads and deletes. Manifests stand in the order of their pushes:
/// children before the index that lists them.
#[derive(Clone)]
pub(crate) struct DataSet {
    pub(crate) name: &'static str,
    pub(crate) blobs: Vec<Blob>,
    pub(crate) manifests: Vec<Manifest>,
    /// Manifests whose PUT must be refused with 400, and which therefore are never read.
    pub(crate) refused: bool,
}

impl DataSet {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, blobs: Vec::new(), manifests: Vec::new(), refused: false }
    }

    /// Adds a blob once: images of one platform share their config.
    pub(crate) fn add(&mut self, blob: &Blob) {
        if !self.blobs.iter().any(|known| known.digest == blob.digest) {
            self.blobs.push(blob.clone());
        }
    }

    /// Referrers by subject, as the lists must show them.
    pub(crate) fn referrers(&self) -> BTreeMap<&str, Vec<&Value>> {
        let mut referrers: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
        for manifest in &self.manifests {
            if let Some(subject) = &manifest.subject {
                referrers.entry(subject).or_default().push(&manifest.listed);
            }
        }
        referrers
    }

    /// Every tag with its manifest.
    pub(crate) fn tags(&self) -> impl Iterator<Item = (&str, &Manifest)> {
        self.manifests.iter().flat_map(|manifest| manifest.tags.iter().map(move |tag| (tag.as_str(), manifest)))
    }
}
