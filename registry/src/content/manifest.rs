//! What a pushed manifest says: its kind, what it refers to, and what referrers lists will show of it.
//!
//! Parsing is pure and total: any bytes give a [`Manifest`] or a [`ManifestInvalid`], never a panic. The payload itself is kept as
//! it came; what is read here only decides what the repository must hold and what the collector must keep.
//!
//! Image manifests and indexes (OCI image specification 1.1, Docker schema 2) are read strictly. Any other media type is accepted
//! and served back byte for byte; where its body is a JSON object, the members whose names and form are those of the known kinds
//! count as references, so that a kind of manifest we have not heard of does not lose its layers to the collector.

mod descriptor;
mod media_type;
mod nesting;
#[cfg(test)]
mod tests;
mod texts;

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use thiserror::Error;

pub use descriptor::Descriptor;
use texts::Texts;

pub use media_type::{InvalidMediaType, MediaType, Shape};

use crate::metadata::manifests::ANNOTATION;

/// How many descriptors (config, layers, children and subject together) one manifest may hold. Every one of them becomes a row
/// and a lock; the largest indexes seen in the wild hold some hundreds.
pub const MAX_DESCRIPTORS: usize = 10_000;

/// How deep the arrays and objects of a manifest may be nested. The specified members need five levels.
pub const MAX_JSON_DEPTH: usize = 32;

/// The longest artifact type, in bytes. RFC 6838 allows 127 on each side of the slash.
pub const MAX_ARTIFACT_TYPE_BYTES: usize = 255;

/// A manifest as far as the registry needs to understand it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The media type it was pushed under and is served with.
    pub media_type: MediaType,
    /// What it is, by its media type.
    pub shape: Shape,
    /// What it names among the blobs: config and layers, and the children of an index that are not manifests by their media type
    /// (`BuildKit`'s cache exports are indexes of layers).
    pub blobs: Vec<BlobReference>,
    /// The children of an index.
    pub children: Vec<Descriptor>,
    /// The manifest that this one is about; it need not exist.
    pub subject: Option<Descriptor>,
    /// The type that referrers lists show and filter by: the manifest's own, else that of an image's config.
    pub artifact_type: Option<String>,
    /// The annotations as one compact JSON object, kept only where a referrers list will show them.
    pub annotations: Option<String>,
    /// What its annotations say of how long it is to live, as it is written there or its beginning. Lifecycle rules may heed it.
    pub expires_after: Option<String>,
}

/// A blob that a manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobReference {
    /// Where it is named.
    pub descriptor: Descriptor,
    /// Whether the manifest cannot be used without it. Layers that may not be distributed and say where else they lie are not
    /// required, nor is anything in a manifest of an unknown kind.
    pub required: bool,
}

/// Why a payload is not a manifest that can be stored.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ManifestInvalid {
    /// The payload does not parse as JSON with the expected types.
    #[error("the manifest is not valid JSON: {0}")]
    NotJson(String),
    /// See [`MAX_JSON_DEPTH`].
    #[error("the manifest is nested deeper than {MAX_JSON_DEPTH} levels")]
    TooDeep,
    /// See [`MAX_DESCRIPTORS`].
    #[error("the manifest holds more than {MAX_DESCRIPTORS} descriptors")]
    TooManyDescriptors,
    /// Neither the request nor the body names a media type.
    #[error("neither Content-Type nor the manifest's mediaType says what this is")]
    MediaTypeMissing,
    /// The body's `mediaType` is not a media type.
    #[error("mediaType: {0}")]
    MediaTypeMalformed(#[from] InvalidMediaType),
    /// The request says one thing, the body another. Accepting either would let one payload be read as two images.
    #[error("Content-Type is {header} but the manifest's mediaType is {body}")]
    MediaTypeMismatch {
        /// From the request.
        header: MediaType,
        /// From the payload.
        body: MediaType,
    },
    /// Docker's schema 1: its digest does not cover the payload as sent, and no current client writes it.
    #[error("Docker schema 1 manifests are not supported; push with a current client")]
    Schema1,
    /// `schemaVersion` of a known kind is not 2.
    #[error("schemaVersion is not 2")]
    SchemaVersion,
    /// A member that belongs to the other kind, so that two clients could read two different images.
    #[error("{member} has no place in a manifest of type {media_type}")]
    Misplaced {
        /// The member's name.
        member: &'static str,
        /// The type it was pushed under.
        media_type: MediaType,
    },
    /// An image manifest without its config.
    #[error("an image manifest needs a config")]
    ConfigMissing,
    /// A member has the wrong type or holds a malformed descriptor.
    #[error("{member}: {reason}")]
    Member {
        /// The member's name.
        member: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// See [`MAX_ARTIFACT_TYPE_BYTES`].
    #[error("artifactType is longer than {MAX_ARTIFACT_TYPE_BYTES} bytes or holds control characters")]
    ArtifactType,
}

impl Manifest {
    /// Reads a payload pushed under `content_type`; without one, the body's `mediaType` decides.
    ///
    /// # Errors
    /// [`ManifestInvalid`] names the first thing found wrong.
    pub fn parse(content_type: Option<&MediaType>, payload: &[u8]) -> Result<Self, ManifestInvalid> {
        if !starts_object(payload) {
            return match content_type {
                Some(media_type) if media_type.shape() == Shape::Other => Ok(Self::opaque(media_type.clone())),
                _ => Err(ManifestInvalid::NotJson("an object was expected".to_owned())),
            };
        }
        if nesting::deeper_than(payload, MAX_JSON_DEPTH) {
            return Err(ManifestInvalid::TooDeep);
        }
        // All of it: serde passes over what nobody asks for, and JSON that is not UTF-8 there is none either.
        let text = str::from_utf8(payload).map_err(|error| ManifestInvalid::NotJson(error.to_string()))?;
        let body: Body<'_> = serde_json::from_str(text).map_err(|error| ManifestInvalid::NotJson(error.to_string()))?;
        let media_type = body.media_type(content_type)?;
        let manifest = match media_type.shape() {
            Shape::Image => body.image(media_type),
            Shape::Index => body.index(media_type),
            Shape::Schema1 => Err(ManifestInvalid::Schema1),
            Shape::Other => Ok(body.other(media_type)),
        }?;
        if manifest.descriptors() > MAX_DESCRIPTORS {
            return Err(ManifestInvalid::TooManyDescriptors);
        }
        Ok(manifest)
    }

    fn opaque(media_type: MediaType) -> Self {
        Self {
            shape: media_type.shape(),
            media_type,
            blobs: Vec::new(),
            children: Vec::new(),
            subject: None,
            artifact_type: None,
            annotations: None,
            expires_after: None,
        }
    }

    fn descriptors(&self) -> usize {
        self.blobs.len() + self.children.len() + usize::from(self.subject.is_some())
    }
}

fn starts_object(payload: &[u8]) -> bool {
    payload.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}

/// The members that mean something here, unread: which of them must have which form depends on the media type. Serde refuses one
/// that stands twice.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(borrow)]
    schema_version: Option<&'a RawValue>,
    #[serde(borrow)]
    media_type: Option<&'a RawValue>,
    #[serde(borrow)]
    artifact_type: Option<&'a RawValue>,
    #[serde(borrow)]
    config: Option<&'a RawValue>,
    #[serde(borrow)]
    layers: Option<&'a RawValue>,
    /// The layers of the short-lived OCI artifact manifest.
    #[serde(borrow)]
    blobs: Option<&'a RawValue>,
    #[serde(borrow)]
    manifests: Option<&'a RawValue>,
    #[serde(borrow)]
    subject: Option<&'a RawValue>,
    #[serde(borrow)]
    annotations: Option<&'a RawValue>,
}

impl Body<'_> {
    fn media_type(&self, content_type: Option<&MediaType>) -> Result<MediaType, ManifestInvalid> {
        let body = self.named_media_type(content_type)?;
        match (content_type, body) {
            (Some(header), Some(body)) if *header != body => {
                Err(ManifestInvalid::MediaTypeMismatch { header: header.clone(), body })
            }
            (Some(header), _) => Ok(header.clone()),
            (None, Some(body)) => Ok(body),
            (None, None) => Err(ManifestInvalid::MediaTypeMissing),
        }
    }

    /// `mediaType` of the body. A kind we do not know may give the member another meaning, so there it counts only where it reads
    /// as a media type.
    fn named_media_type(&self, content_type: Option<&MediaType>) -> Result<Option<MediaType>, ManifestInvalid> {
        let unknown_kind = content_type.is_some_and(|media_type| media_type.shape() == Shape::Other);
        let named = member::<String>(self.media_type, "mediaType").and_then(|text| match text.as_deref() {
            None | Some("") => Ok(None),
            Some(text) => Ok(Some(text.parse()?)),
        });
        if unknown_kind { Ok(named.unwrap_or_default()) } else { named }
    }

    fn image(&self, media_type: MediaType) -> Result<Manifest, ManifestInvalid> {
        self.require_schema_version()?;
        if self.manifests.is_some() {
            return Err(ManifestInvalid::Misplaced { member: "manifests", media_type });
        }
        let config: Descriptor = member(self.config, "config")?.ok_or(ManifestInvalid::ConfigMissing)?;
        let config_type = Some(config.media_type.clone()).filter(|text| is_artifact_type(text));
        let layers: Vec<Descriptor> = member(self.layers, "layers")?.unwrap_or_default();
        let mut blobs = vec![BlobReference { descriptor: config, required: true }];
        for layer in layers {
            let required =
                !layer.lies_elsewhere().map_err(|reason| ManifestInvalid::Member { member: "layers", reason })?;
            blobs.push(BlobReference { descriptor: layer, required });
        }
        let subject = member(self.subject, "subject")?;
        let Said { annotations, expires_after } = self.annotations(subject.as_ref())?;
        Ok(Manifest {
            artifact_type: self.artifact_type()?.or(config_type),
            annotations,
            expires_after,
            blobs,
            subject,
            ..Manifest::opaque(media_type)
        })
    }

    fn index(&self, media_type: MediaType) -> Result<Manifest, ManifestInvalid> {
        self.require_schema_version()?;
        for (member, value) in [("config", self.config), ("layers", self.layers)] {
            if value.is_some() {
                return Err(ManifestInvalid::Misplaced { member, media_type });
            }
        }
        let children: Vec<Descriptor> = member(self.manifests, "manifests")?.unwrap_or_default();
        let subject = member(self.subject, "subject")?;
        let Said { annotations, expires_after } = self.annotations(subject.as_ref())?;
        Ok(Manifest {
            artifact_type: self.artifact_type()?,
            annotations,
            expires_after,
            blobs: blobs_among(&children),
            children,
            subject,
            ..Manifest::opaque(media_type)
        })
    }

    fn other(&self, media_type: MediaType) -> Manifest {
        let named =
            [lenient::<Descriptor>(self.config).map(|config| vec![config]), lenient(self.layers), lenient(self.blobs)];
        let children: Vec<Descriptor> = lenient(self.manifests).unwrap_or_default();
        let mut blobs = blobs_among(&children);
        blobs.extend(
            named.into_iter().flatten().flatten().map(|descriptor| BlobReference { descriptor, required: false }),
        );
        let subject: Option<Descriptor> = lenient(self.subject);
        let Said { annotations, expires_after } = self.annotations(subject.as_ref()).unwrap_or_default();
        Manifest {
            artifact_type: self.artifact_type().ok().flatten(),
            annotations,
            expires_after,
            blobs,
            children,
            subject,
            ..Manifest::opaque(media_type)
        }
    }

    fn require_schema_version(&self) -> Result<(), ManifestInvalid> {
        match member::<u64>(self.schema_version, "schemaVersion")? {
            Some(2) => Ok(()),
            _ => Err(ManifestInvalid::SchemaVersion),
        }
    }

    fn artifact_type(&self) -> Result<Option<String>, ManifestInvalid> {
        let text = member::<String>(self.artifact_type, "artifactType")?.filter(|text| !text.is_empty());
        match text {
            Some(text) if !is_artifact_type(&text) => Err(ManifestInvalid::ArtifactType),
            text => Ok(text),
        }
    }

    fn annotations(&self, subject: Option<&Descriptor>) -> Result<Said, ManifestInvalid> {
        if subject.is_none() {
            // Nobody will be shown them: it is enough that they are what they should be.
            let texts = member::<Texts>(self.annotations, "annotations")?.unwrap_or_default();
            return Ok(Said { annotations: None, expires_after: texts.life });
        }
        let annotations = member::<BTreeMap<String, String>>(self.annotations, "annotations")?.unwrap_or_default();
        let expires_after = annotations.get(ANNOTATION).map(|text| texts::life(text));
        let shown = (!annotations.is_empty()).then(|| serde_json::to_string(&annotations));
        let annotations = shown.transpose().map_err(|error| ManifestInvalid::NotJson(error.to_string()))?;
        Ok(Said { annotations, expires_after })
    }
}

/// What is kept of annotations.
#[derive(Default)]
struct Said {
    annotations: Option<String>,
    expires_after: Option<String>,
}

/// The entries of an index that are no manifests by their media type.
fn blobs_among(children: &[Descriptor]) -> Vec<BlobReference> {
    let blobs = children.iter().filter(|child| !child.names_manifest());
    blobs.map(|child| BlobReference { descriptor: child.clone(), required: false }).collect()
}

/// Text that both databases hold and a client can be shown.
fn is_artifact_type(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_ARTIFACT_TYPE_BYTES && !text.chars().any(char::is_control)
}

fn member<T: DeserializeOwned>(raw: Option<&RawValue>, member: &'static str) -> Result<Option<T>, ManifestInvalid> {
    let value = raw.map(|raw| serde_json::from_str(raw.get())).transpose();
    value.map_err(|error| ManifestInvalid::Member { member, reason: error.to_string() })
}

fn lenient<T: DeserializeOwned>(raw: Option<&RawValue>) -> Option<T> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
}
