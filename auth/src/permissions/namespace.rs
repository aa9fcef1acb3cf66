//! Namespaces as a decision sees them: who may read without a grant.

use std::{collections::HashMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

/// Who may pull from a namespace without a grant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// Nobody.
    #[default]
    Private,
    /// Every signed-in user. Not robots: a key that lies in a build's settings reads only what it was given.
    Internal,
    /// Everyone, signed in or not.
    Public,
}

/// The text is no visibility.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a visibility: private, internal or public")]
pub struct VisibilityError(String);

impl Visibility {
    /// The word that is stored and served.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Internal => "internal",
            Self::Public => "public",
        }
    }
}

impl fmt::Display for Visibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Visibility {
    type Err = VisibilityError;

    fn from_str(text: &str) -> Result<Self, VisibilityError> {
        let all = [Self::Private, Self::Internal, Self::Public];
        all.into_iter().find(|one| one.as_str() == text).ok_or_else(|| VisibilityError(text.chars().take(64).collect()))
    }
}

/// A living namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its id. A recreated namespace has another one, and none of the old grants.
    pub id: i64,
    /// The first segment of its repositories' names.
    pub name: String,
    /// Who may pull without a grant.
    pub visibility: Visibility,
}

/// Living namespaces by name.
#[derive(Clone, Debug, Default)]
pub struct Namespaces(HashMap<String, Namespace>);

impl Namespaces {
    /// The namespace of this name, if it is known.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Namespace> {
        self.0.get(name)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Namespace> {
        self.0.values()
    }
}

impl FromIterator<Namespace> for Namespaces {
    fn from_iter<I: IntoIterator<Item = Namespace>>(namespaces: I) -> Self {
        Self(namespaces.into_iter().map(|namespace| (namespace.name.clone(), namespace)).collect())
    }
}

/// Who may list the catalog of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Catalog {
    /// Everyone, and each sees what they may read. The service must be a registry that can filter.
    #[default]
    Filtered,
    /// System administrators and auditors, who see everything; nobody else.
    Admins,
}

/// The text names no catalog rule.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a catalog rule: filtered or admins")]
pub struct CatalogError(String);

impl Catalog {
    /// The word that is stored and served.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Filtered => "filtered",
            Self::Admins => "admins",
        }
    }
}

impl FromStr for Catalog {
    type Err = CatalogError;

    fn from_str(text: &str) -> Result<Self, CatalogError> {
        let named = [Self::Filtered, Self::Admins].into_iter().find(|one| one.as_str() == text);
        named.ok_or_else(|| CatalogError(text.chars().take(64).collect()))
    }
}
