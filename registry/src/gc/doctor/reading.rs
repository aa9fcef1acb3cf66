//! What the doctor has to be told of what others know: how manifests are read, and what was asked of them.

use std::time::Duration;

/// A blob that a payload names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedBlob {
    /// Its digest.
    pub digest: String,
    /// Whether the manifest cannot be used without it.
    pub required: bool,
}

/// What a payload names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Configs and layers.
    pub blobs: Vec<NamedBlob>,
    /// The entries of an index.
    pub children: Vec<String>,
    /// What it is about.
    pub subject: Option<String>,
    /// What referrers lists filter by,
    pub artifact_type: Option<String>,
    /// and show, as a JSON object.
    pub annotations: Option<String>,
}

/// Whether a manifest may name blobs that its repository does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// No push of such a manifest was accepted, so what is missing was lost.
    Lost,
    /// A push may have left them out.
    Allowed,
}

/// What the settings and content say about what is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// What a payload of a media type names; None if nobody can tell.
    pub named: fn(&str, &[u8]) -> Option<Named>,
    /// What was asked of manifests when they were pushed.
    pub missing: Missing,
    /// The machine's boot. What an upload of an earlier one has lost with the power is known to whoever goes on with it.
    pub boot: &'static str,
    /// How long a manifest stays that a repair finds held by nothing.
    pub grace: Duration,
}
