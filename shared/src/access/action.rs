//! Actions: the verbs of scopes and tokens.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
};

/// What somebody wants to do with a resource. Actions are equal, and order, as their texts are.
#[derive(Clone, Debug)]
pub enum Action {
    /// Read a repository's content.
    Pull,
    /// Add content to a repository.
    Push,
    /// Remove content from a repository.
    Delete,
    /// Read a namespace through the API.
    Read,
    /// Administer a namespace through the API.
    Admin,
    /// `*`: every action on the resource.
    Any,
    /// A verb that means nothing here. Asking for it is no error, and nobody is granted it.
    Other(Box<str>),
}

impl Action {
    /// The action as written in scopes and tokens.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
            Self::Read => "read",
            Self::Admin => "admin",
            Self::Any => "*",
            Self::Other(text) => text,
        }
    }
}

impl From<&str> for Action {
    fn from(text: &str) -> Self {
        match text {
            "pull" => Self::Pull,
            "push" => Self::Push,
            "delete" => Self::Delete,
            "read" => Self::Read,
            "admin" => Self::Admin,
            "*" => Self::Any,
            other => Self::Other(other.into()),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq for Action {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Action {}

impl PartialOrd for Action {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Action {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for Action {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl serde::Serialize for Action {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
