//! Resources: what scopes and tokens are about.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
    sync::Arc,
};

use thiserror::Error;

use crate::repository::RepositoryName;

/// The longest resource name, in bytes: the longest repository name behind a host and a port.
pub const MAX_RESOURCE_NAME_BYTES: usize = 512;

/// What sort of thing a resource is. Kinds are equal, and order, as their texts are.
#[derive(Clone, Debug)]
pub enum ResourceKind {
    /// A repository.
    Repository,
    /// The registry as a whole; its one resource is the catalog.
    Registry,
    /// A namespace, for the API.
    Namespace,
    /// A kind that means nothing here.
    Other(Box<str>),
}

impl ResourceKind {
    /// The kind as written in scopes and tokens.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Repository => "repository",
            Self::Registry => "registry",
            Self::Namespace => "namespace",
            Self::Other(text) => text,
        }
    }
}

impl From<&str> for ResourceKind {
    fn from(text: &str) -> Self {
        match text {
            "repository" => Self::Repository,
            "registry" => Self::Registry,
            "namespace" => Self::Namespace,
            other => Self::Other(other.into()),
        }
    }
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq for ResourceKind {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for ResourceKind {}

impl PartialOrd for ResourceKind {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ResourceKind {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for ResourceKind {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

/// The text is no resource name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "a resource name is made of at most {MAX_RESOURCE_NAME_BYTES} visible ASCII characters without quotes \
     and backslashes, with at most one ':'"
)]
pub struct ResourceNameError;

/// The name of a resource of any kind: wider than a repository name, because a scope may ask for names that no
/// registry has (`host:port/name`), and is then granted nothing.
///
/// It can stand between the quotes of a challenge and between the spaces of a scope list as it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceName(Arc<str>);

impl ResourceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ResourceName {
    type Err = ResourceNameError;

    fn from_str(text: &str) -> Result<Self, ResourceNameError> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'));
        let colons = text.bytes().filter(|&byte| byte == b':').count();
        if text.is_empty() || text.len() > MAX_RESOURCE_NAME_BYTES || !visible || colons > 1 {
            return Err(ResourceNameError);
        }
        Ok(Self(text.into()))
    }
}

impl From<&RepositoryName> for ResourceName {
    fn from(name: &RepositoryName) -> Self {
        Self(name.as_str().into())
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Something that access is asked for and granted to. Its text is `kind:name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// What sort of thing it is.
    pub kind: ResourceKind,
    /// Which one of its kind.
    pub name: ResourceName,
}

impl Resource {
    /// A repository.
    pub fn repository(name: &RepositoryName) -> Self {
        Self { kind: ResourceKind::Repository, name: name.into() }
    }

    /// The list of all repositories, `registry:catalog`.
    pub fn catalog() -> Self {
        Self { kind: ResourceKind::Registry, name: ResourceName("catalog".into()) }
    }

    /// The registry as a whole, for its API: `registry:system`.
    pub fn system() -> Self {
        Self { kind: ResourceKind::Registry, name: ResourceName("system".into()) }
    }

    /// A namespace.
    ///
    /// # Errors
    /// [`ResourceNameError`] if its name could not stand in a scope.
    pub fn namespace(name: &str) -> Result<Self, ResourceNameError> {
        Ok(Self { kind: ResourceKind::Namespace, name: name.parse()? })
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
    }
}
