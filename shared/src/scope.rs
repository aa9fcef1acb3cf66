//! Scopes: the text form of asking for access (Distribution token specification, "Token scope").

use std::{collections::BTreeSet, fmt, str::FromStr};

use thiserror::Error;

use crate::{
    access::{Access, Action, Resource, ResourceKind, ResourceNameError},
    text::serde_as_text,
};

/// How many bytes all scopes of one request may have together.
pub const MAX_SCOPE_BYTES: usize = 8 * 1024;

/// How many resources one request may ask for.
pub const MAX_SCOPES: usize = 64;

/// How many different actions one request may ask for on one resource.
pub const MAX_ACTIONS: usize = 32;

/// Why a text is no scope, or no list of scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ScopeError {
    /// A part is missing.
    #[error("a scope is written as type:name:action,action")]
    Malformed,
    /// The type is not of the grammar.
    #[error("a scope's type is made of lower-case letters and digits, and may be followed by a class in parentheses")]
    Kind,
    /// The name is not of the grammar.
    #[error(transparent)]
    Name(#[from] ResourceNameError),
    /// An action is not of the grammar.
    #[error("a scope's actions are lower-case words divided by commas, or '*'")]
    Action,
    /// Together the scopes have more than [`MAX_SCOPE_BYTES`] bytes.
    #[error("scopes have at most {MAX_SCOPE_BYTES} bytes together")]
    TooLong,
    /// There are more than [`MAX_SCOPES`] resources.
    #[error("at most {MAX_SCOPES} resources can be asked for at once")]
    TooManyScopes,
    /// There are more than [`MAX_ACTIONS`] actions for one resource.
    #[error("at most {MAX_ACTIONS} actions can be asked for on one resource")]
    TooManyActions,
}

/// A request for actions on one resource, as in `repository:acme/web:pull,push`.
///
/// What it prints it also parses, as long as its kind and actions are of the grammar; those known here are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// What it is about.
    pub resource: Resource,
    /// What is asked for, printed in the order of the texts. There may be none.
    pub actions: BTreeSet<Action>,
}

impl Scope {
    /// A request for these actions on this resource.
    pub fn new(resource: Resource, actions: impl IntoIterator<Item = Action>) -> Self {
        Self { resource, actions: actions.into_iter().collect() }
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    /// The type ends at the first colon and the actions begin behind the last, because a name may have one of its own.
    /// A class (`repository(plugin)`) is dropped, as registries have always done. Empty actions count for nothing.
    fn from_str(text: &str) -> Result<Self, ScopeError> {
        if text.len() > MAX_SCOPE_BYTES {
            return Err(ScopeError::TooLong);
        }
        let (kind, rest) = text.split_once(':').ok_or(ScopeError::Malformed)?;
        let (name, actions) = rest.rsplit_once(':').ok_or(ScopeError::Malformed)?;
        let resource = Resource { kind: parse_kind(kind)?, name: name.parse()? };
        let actions = actions.split(',').filter(|action| !action.is_empty()).map(parse_action);
        let actions = actions.collect::<Result<BTreeSet<_>, _>>()?;
        if actions.len() > MAX_ACTIONS {
            return Err(ScopeError::TooManyActions);
        }
        Ok(Self { resource, actions })
    }
}

/// `[a-z0-9]+(\([a-z0-9]+\))?`
fn parse_kind(text: &str) -> Result<ResourceKind, ScopeError> {
    let is_word =
        |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let (kind, class) = match text.split_once('(') {
        None => (text, None),
        Some((kind, class)) => (kind, Some(class.strip_suffix(')').ok_or(ScopeError::Kind)?)),
    };
    if !is_word(kind) || class.is_some_and(|class| !is_word(class)) {
        return Err(ScopeError::Kind);
    }
    Ok(ResourceKind::from(kind))
}

/// `[a-z]+|\*`
fn parse_action(text: &str) -> Result<Action, ScopeError> {
    if text == "*" || text.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Ok(Action::from(text));
    }
    Err(ScopeError::Action)
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.resource)?;
        for (position, action) in self.actions.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(f, "{comma}{action}")?;
        }
        Ok(())
    }
}

impl From<Scope> for Access {
    fn from(scope: Scope) -> Self {
        Self::new(scope.resource, scope.actions)
    }
}

serde_as_text!(Scope);

/// Everything that one request asks for: each resource once, in the order in which it was first named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// Reads the scopes of a request, each text holding any number of them divided by spaces, and merges those that are
    /// about the same resource.
    ///
    /// # Errors
    /// [`ScopeError`] if one of them is malformed, or a limit is passed.
    pub fn parse_list<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Self, ScopeError> {
        let mut scopes = Self::default();
        let mut bytes = 0_usize;
        for text in texts {
            bytes += text.len();
            if bytes > MAX_SCOPE_BYTES {
                return Err(ScopeError::TooLong);
            }
            for scope in words(text) {
                scopes.merge(scope.parse()?);
                scopes.check_limits()?;
            }
        }
        Ok(scopes)
    }

    /// Adds a scope, to the one about the same resource if there is one.
    pub fn merge(&mut self, scope: Scope) {
        match self.0.iter_mut().find(|known| known.resource == scope.resource) {
            Some(known) => known.actions.extend(scope.actions),
            None => self.0.push(scope),
        }
    }

    fn check_limits(&self) -> Result<(), ScopeError> {
        if self.0.len() > MAX_SCOPES {
            return Err(ScopeError::TooManyScopes);
        }
        if self.0.iter().any(|scope| scope.actions.len() > MAX_ACTIONS) {
            return Err(ScopeError::TooManyActions);
        }
        Ok(())
    }

    /// The scopes, each resource once.
    pub fn as_slice(&self) -> &[Scope] {
        &self.0
    }

    /// The scopes, each resource once.
    pub fn into_vec(self) -> Vec<Scope> {
        self.0
    }

    /// The scopes, each resource once.
    pub fn iter(&self) -> std::slice::Iter<'_, Scope> {
        self.0.iter()
    }

    /// Whether nothing is asked for, as `docker login` does.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The words of a list that spaces divide. Clients have sent more than one space.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(' ').filter(|word| !word.is_empty())
}

/// Prints a list as [`Scopes`] and challenges write it.
pub(crate) fn write_list(scopes: &[Scope], f: &mut impl fmt::Write) -> fmt::Result {
    for (position, scope) in scopes.iter().enumerate() {
        let space = if position == 0 { "" } else { " " };
        write!(f, "{space}{scope}")?;
    }
    Ok(())
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_list(&self.0, f)
    }
}

/// Merges without limits: for scopes that do not come from a request.
impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        scopes.into_iter().fold(Self::default(), |mut merged, scope| {
            merged.merge(scope);
            merged
        })
    }
}

impl IntoIterator for Scopes {
    type Item = Scope;
    type IntoIter = std::vec::IntoIter<Scope>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Scopes {
    type Item = &'a Scope;
    type IntoIter = std::slice::Iter<'a, Scope>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
pub(crate) mod tests;
