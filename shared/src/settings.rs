//! Settings: a YAML file in the manner of Distribution's `version: 0.1`, overlaid by environment variables, read into each service's own typed tree.
//!
//! The file is kept as text until a typed field asks for it: a password `0123` stays what it is, where an untyped tree would have made it a number. The
//! typed tree also says which names exist, so a name that nothing reads is found, with the one that was probably meant.
//!
//! ```
//! use serde::Deserialize;
//! use shared::settings::Source;
//!
//! #[derive(Default, Deserialize)]
//! #[serde(default)]
//! struct Tree {
//!     http: Http,
//! }
//!
//! #[derive(Default, Deserialize)]
//! #[serde(default)]
//! struct Http {
//!     addr: Option<String>,
//! }
//!
//! let read = Source::text("config.yml", "version: 0.1\nhttp: {adr: x}")?
//!     .version("0.1")?
//!     .overlay("REGISTRY", [("REGISTRY_HTTP_ADDR".into(), ":5000".into())])
//!     .read::<Tree>()?;
//! assert_eq!(read.value.http.addr.as_deref(), Some(":5000"));
//! assert_eq!(read.unknown[0].to_string(), "config.yml, line 2: http.adr is unknown; did you mean addr?");
//! # Ok::<(), shared::settings::SettingsError>(())
//! ```
//!
//! The rules of the overlay are Distribution's, without its traps:
//!
//! - `REGISTRY_A_B_C` is `a: {b: {c: …}}`. Names are compared without regard to case; a name that has `_` itself is found too.
//! - A variable that names a section replaces it with its value read as YAML, and variables that go deeper are laid over that.
//! - Lists take an index, at most one behind the last; indices are ordered as numbers.
//! - Text is taken as it stands. Where the text is one quoted YAML scalar the quotes go, except for secrets.
//! - `REGISTRY_A_B_FILE` is the content of the file it names, without the last line break, where `a.b` is one value.
//! - Under a section of free names (headers, say) a variable's name is written small.

mod placed;
mod reader;
mod scalar;
#[cfg(test)]
mod tests;
mod yaml;

use std::{cell::RefCell, fmt, fs, io, path::Path};

use serde::{Serialize, de::DeserializeOwned};

pub use self::placed::{Place, Placed};
use self::{
    reader::{Context, Cursor, Variable},
    yaml::Node,
};

/// Where settings come from, before they are read into a tree.
#[derive(Clone, Debug)]
pub struct Source {
    file: String,
    root: Option<Node>,
    prefix: String,
    variables: Vec<(String, String)>,
    aliases: &'static [(&'static str, &'static str)],
}

/// A tree, and what was said but not read.
#[derive(Debug)]
pub struct Read<T> {
    /// The tree.
    pub value: T,
    /// Names that the tree does not have. The auth service refuses those of its file; the registry warns, because Distribution ignores them.
    pub unknown: Vec<Unknown>,
}

/// Where a setting was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In the file, on this line.
    File {
        /// Its name as it was given.
        file: String,
        /// Counted from one.
        line: usize,
    },
    /// By this environment variable.
    Variable(String),
}

/// A name that nothing reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// Where it stands.
    pub origin: Origin,
    /// The key as a path, `http.adr`, or the variable's name.
    pub key: String,
    /// What was probably meant: a key of the same section, or a variable.
    pub nearest: Option<String>,
}

impl Unknown {
    /// Whether it stands in the file. Variables may have other reasons to exist: Kubernetes makes some for every service.
    #[must_use]
    pub fn is_in_file(&self) -> bool {
        matches!(self.origin, Origin::File { .. })
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Variable(name) if *name == self.key => write!(f, "the environment variable {name} is unknown")?,
            origin => write!(f, "{origin}: {} is unknown", self.key)?,
        }
        self.nearest.as_ref().map_or(Ok(()), |nearest| write!(f, "; did you mean {nearest}?"))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line } => write!(f, "{file}, line {line}"),
            Self::Variable(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// A setting that cannot be read: where, which and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct SettingsError {
    /// Where it was made, where that is known.
    pub origin: Option<Origin>,
    /// Its path, `http.tls.clientcas[0]`; empty for the file as a whole.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.reason)
    }
}

impl SettingsError {
    fn in_file(file: &str, line: usize, reason: impl Into<String>) -> Self {
        let origin = Origin::File { file: file.to_owned(), line };
        Self { origin: Some(origin), key: String::new(), reason: reason.into() }
    }
}

/// A value as a file that [`Source::text`] reads again.
///
/// # Errors
/// The value has no form in YAML.
pub fn written(value: &impl Serialize) -> Result<String, SettingsError> {
    serde_saphyr::to_string(value).map_err(|error| SettingsError {
        origin: None,
        key: String::new(),
        reason: format!("cannot be written as YAML: {error}"),
    })
}

/// Variables of other programs whose names look like settings. `REGISTRY_AUTH_FILE` is where skopeo, podman and buildah keep what their
/// logins left; it would be read as the file that holds the registry's `auth`.
const FOREIGN: [&str; 1] = ["REGISTRY_AUTH_FILE"];

/// The largest file that is read, in bytes. Settings are written by hand; what is larger is something else.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

impl Source {
    /// No file; everything has its default or comes from the environment.
    #[must_use]
    pub fn empty() -> Self {
        Self { file: String::new(), root: None, prefix: String::new(), variables: Vec::new(), aliases: &[] }
    }

    /// A file.
    ///
    /// # Errors
    /// It cannot be read, or is not YAML.
    pub fn file(path: &Path) -> Result<Self, SettingsError> {
        let name = path.display().to_string();
        let unreadable = |reason: io::Error| SettingsError {
            origin: None,
            key: String::new(),
            reason: format!("cannot read {name}: {reason}"),
        };
        let length = fs::metadata(path).map_err(unreadable)?.len();
        if length > MAX_FILE_BYTES {
            let reason = format!("settings of more than {MAX_FILE_BYTES} bytes are not read");
            return Err(unreadable(io::Error::other(reason)));
        }
        Self::text(&name, &fs::read_to_string(path).map_err(unreadable)?)
    }

    /// A text; errors call it `name`.
    ///
    /// # Errors
    /// It is not YAML, or not one mapping.
    pub fn text(name: &str, text: &str) -> Result<Self, SettingsError> {
        let root = yaml::parse(text).map_err(|fault| SettingsError::in_file(name, fault.line, fault.reason))?;
        Ok(Self { file: name.to_owned(), root: Some(root), ..Self::empty() })
    }

    /// Requires the file's `version` and takes it out of the tree.
    ///
    /// # Errors
    /// Another version, or none.
    pub fn version(mut self, wanted: &str) -> Result<Self, SettingsError> {
        let Some(root) = &mut self.root else { return Ok(self) };
        match root.take("version") {
            Some(node) if node.text() == Some(wanted) => Ok(self),
            Some(node) => Err(SettingsError {
                key: "version".to_owned(),
                ..SettingsError::in_file(&self.file, node.line, format!("only version {wanted} is known"))
            }),
            None => Err(SettingsError {
                key: "version".to_owned(),
                ..SettingsError::in_file(&self.file, 1, format!("is required here: version: {wanted}"))
            }),
        }
    }

    /// Whether the file has this section.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.root.clone().is_some_and(|mut root| root.take(key).is_some())
    }

    /// The part of the file under these keys, as if it were a file; empty if it is not there.
    #[must_use]
    pub fn section(mut self, keys: &[&str]) -> Self {
        for key in keys {
            self.root = self.root.and_then(|mut root| root.take(key));
        }
        self
    }

    /// Takes the sections of `defaults` that the file does not have. A section that the file has stands as it is there: what a person wrote is not mixed
    /// with what they cannot see.
    #[must_use]
    pub fn or_sections_of(mut self, defaults: Self) -> Self {
        self.root = match (self.root, defaults.root) {
            (Some(mut root), Some(defaults)) => {
                root.add_missing(defaults);
                Some(root)
            }
            (root, defaults) => root.or(defaults),
        };
        self
    }

    /// Lays the environment variables over it that begin with `prefix` and `_`, those of other programs left out.
    #[must_use]
    pub fn overlay(mut self, prefix: &str, environment: impl IntoIterator<Item = (String, String)>) -> Self {
        prefix.clone_into(&mut self.prefix);
        let ours = |(name, _): &(String, String)| {
            name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('_')) && !FOREIGN.contains(&name.as_str())
        };
        self.variables = environment.into_iter().filter(ours).collect();
        // A section before its parts, and always in one order.
        self.variables.sort();
        self
    }

    /// Other names that variables may use for a key: pairs of its path and the name, `("notifications.events", "EVENTCONFIG")`.
    #[must_use]
    pub fn aliases(mut self, aliases: &'static [(&'static str, &'static str)]) -> Self {
        self.aliases = aliases;
        self
    }

    /// Reads the tree.
    ///
    /// # Errors
    /// The first setting that does not fit, with its place.
    pub fn read<T: DeserializeOwned>(self) -> Result<Read<T>, SettingsError> {
        let context = Context {
            file: self.file,
            prefix: self.prefix.clone(),
            aliases: self.aliases,
            unknown: RefCell::default(),
        };
        let variables = self
            .variables
            .into_iter()
            .map(|(name, value)| Variable {
                rest: name[self.prefix.len() + 1..].split('_').map(str::to_owned).collect(),
                name,
                value,
            })
            .collect();
        let value = T::deserialize(Cursor::root(self.root, variables, &context)).map_err(SettingsError::from)?;
        Ok(Read { value, unknown: context.unknown.into_inner() })
    }
}
