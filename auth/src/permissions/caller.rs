//! The one who asks, as far as a decision is concerned.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use shared::pattern::{PatternError, RepositoryPattern};
use thiserror::Error;
use utoipa::ToSchema;

use super::{Actions, ActionsError, Subject};

/// The most entries that a credential's scope may have.
pub const MAX_SCOPE_ENTRIES: usize = 32;

/// What sort of caller it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CallerKind {
    /// Nobody signed in.
    Anonymous,
    /// A person.
    User,
    /// A machine.
    Robot,
}

/// Powers over the whole system, beside all grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SystemRole {
    /// May do everything that no guardrail forbids.
    Administrator,
    /// May see every name and every rule, and change none. Content needs a grant, as for anybody.
    Auditor,
}

/// The text names no system role.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a system role: administrator or auditor")]
pub struct SystemRoleError(String);

impl SystemRole {
    /// The word that is stored and served.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::Auditor => "auditor",
        }
    }
}

impl fmt::Display for SystemRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SystemRole {
    type Err = SystemRoleError;

    fn from_str(text: &str) -> Result<Self, SystemRoleError> {
        let named = [Self::Administrator, Self::Auditor].into_iter().find(|role| role.as_str() == text);
        named.ok_or_else(|| SystemRoleError(text.chars().take(64).collect()))
    }
}

/// How far a credential reaches into the administration. What `docker login` leaves in a file has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ApiLevel {
    /// Not at all.
    #[default]
    None,
    /// It may look.
    Read,
    /// It may change. A web session has this level.
    Write,
}

/// The text names no API level.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not an API level: none, read or write")]
pub struct ApiLevelError(String);

impl ApiLevel {
    /// The word that is stored and served.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

impl fmt::Display for ApiLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ApiLevel {
    type Err = ApiLevelError;

    fn from_str(text: &str) -> Result<Self, ApiLevelError> {
        let named = [Self::None, Self::Read, Self::Write].into_iter().find(|level| level.as_str() == text);
        named.ok_or_else(|| ApiLevelError(text.chars().take(64).collect()))
    }
}

/// The one who asks.
#[derive(Clone, Debug)]
pub struct Caller {
    /// What sort of caller it is. It is stored, never read off the name.
    pub kind: CallerKind,
    /// Everything that the caller is for a grant: itself, its teams, authenticated, everyone.
    pub subjects: BTreeSet<Subject>,
    /// The caller's name, for `{username}`; empty for anonymous.
    pub handle: String,
    /// Powers beside all grants.
    pub system_role: Option<SystemRole>,
    /// What the credential that was shown is confined to; `None` if to nothing.
    pub credential_scope: Option<CredentialScope>,
    /// How far that credential reaches into the administration.
    pub api: ApiLevel,
}

impl Caller {
    /// Somebody who showed nothing.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            kind: CallerKind::Anonymous,
            subjects: [Subject::Everyone].into(),
            handle: String::new(),
            system_role: None,
            credential_scope: None,
            api: ApiLevel::None,
        }
    }

    /// A proven user or robot, with the teams it is in.
    #[must_use]
    pub fn principal(
        kind: CallerKind,
        id: i64,
        handle: impl Into<String>,
        teams: impl IntoIterator<Item = i64>,
    ) -> Self {
        let mut subjects: BTreeSet<Subject> = teams.into_iter().map(Subject::Team).collect();
        subjects.extend([Subject::Principal(id), Subject::Authenticated, Subject::Everyone]);
        Self { kind, subjects, handle: handle.into(), system_role: None, credential_scope: None, api: ApiLevel::None }
    }

    /// What of the actions on the name the credential's own scope lets through.
    #[must_use]
    pub fn confined(&self, name: &str, actions: Actions) -> Actions {
        self.credential_scope.as_ref().map_or(actions, |scope| actions.and(scope.allows(name)))
    }
}

/// What a credential is confined to, whatever its owner may do. As text, `acme/**:pull,push base/*:pull`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, example = "acme/**:pull,push base/*:pull")]
pub struct CredentialScope(Vec<(RepositoryPattern, Actions)>);

/// The text is no scope of a credential.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CredentialScopeError {
    /// Nothing between spaces, or no colon.
    #[error("the scope of a credential is a list like \"acme/**:pull,push base/*:pull\"")]
    Form,
    /// More than [`MAX_SCOPE_ENTRIES`].
    #[error("the scope of a credential has at most {MAX_SCOPE_ENTRIES} entries")]
    TooMany,
    /// `{username}`, where there is one caller only.
    #[error("the scope of a credential has one caller: write the name instead of {{username}}")]
    Personal,
    /// No pattern.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// No actions.
    #[error(transparent)]
    Actions(#[from] ActionsError),
}

impl CredentialScope {
    /// What it lets through on the name of a repository or namespace.
    #[must_use]
    pub fn allows(&self, name: &str) -> Actions {
        self.0.iter().filter(|(pattern, _)| pattern.matches(name)).map(|&(_, actions)| actions).collect()
    }

    /// The patterns of the repositories that it lets be pulled.
    pub fn pullable(&self) -> impl Iterator<Item = &RepositoryPattern> {
        self.0.iter().filter(|(_, actions)| actions.contains(Actions::PULL)).map(|(pattern, _)| pattern)
    }
}

impl FromStr for CredentialScope {
    type Err = CredentialScopeError;

    fn from_str(text: &str) -> Result<Self, CredentialScopeError> {
        let entries: Vec<_> = text
            .split_ascii_whitespace()
            .map(|entry| {
                let (pattern, actions) = entry.split_once(':').ok_or(CredentialScopeError::Form)?;
                let pattern: RepositoryPattern = pattern.parse()?;
                if pattern.is_personal() {
                    return Err(CredentialScopeError::Personal);
                }
                Ok((pattern, actions.parse()?))
            })
            .collect::<Result<_, CredentialScopeError>>()?;
        match entries.len() {
            0 => Err(CredentialScopeError::Form),
            n if n > MAX_SCOPE_ENTRIES => Err(CredentialScopeError::TooMany),
            _ => Ok(Self(entries)),
        }
    }
}

impl fmt::Display for CredentialScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (pattern, actions)) in self.0.iter().enumerate() {
            let space = if index > 0 { " " } else { "" };
            write!(f, "{space}{pattern}:{actions}")?;
        }
        Ok(())
    }
}

impl TryFrom<String> for CredentialScope {
    type Error = CredentialScopeError;

    fn try_from(text: String) -> Result<Self, CredentialScopeError> {
        text.parse()
    }
}

impl From<CredentialScope> for String {
    fn from(scope: CredentialScope) -> Self {
        scope.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    const PATTERNS: [&str; 7] = ["acme", "acme/**", "acme/*", "acme/{web,bob}", "**", "*/web", "open/?"];
    const ACTION_SETS: [&str; 7] = ["pull", "push,pull", "delete", "reader", "maintainer", "admin", "pull,admin"];

    proptest! {
        /// A scope is stored as text: one that came back wider would be an escalation.
        #[test]
        fn a_scope_is_stored_and_read_again_as_the_same(
            entries in vec((select(&PATTERNS[..]), select(&ACTION_SETS[..])), 1..=MAX_SCOPE_ENTRIES),
        ) {
            let texts: Vec<String> =
                entries.iter().map(|(pattern, actions)| format!("{pattern}:{actions}")).collect();
            let scope: CredentialScope = texts.join("  ").parse().unwrap();
            prop_assert_eq!(scope.to_string().parse::<CredentialScope>(), Ok(scope.clone()));
            let json = serde_json::to_string(&scope).unwrap();
            prop_assert_eq!(serde_json::from_str::<CredentialScope>(&json).unwrap(), scope);
        }

        #[test]
        fn any_text_at_all_is_a_scope_that_is_read_again_or_refused(
            text in "([a-z*/{}]{1,8}:(pull|push|admin|[a-z,]{0,8}) ?){0,4}|.{0,16}",
        ) {
            if let Ok(scope) = text.parse::<CredentialScope>() {
                prop_assert_eq!(scope.to_string().parse::<CredentialScope>(), Ok(scope));
            }
        }
    }

    #[test]
    fn a_credentials_scope_is_written_in_one_way_and_adds_up() {
        let scope: CredentialScope = "acme/**:push,pull  acme/web:delete base/*:reader".parse().unwrap();
        assert_eq!(scope.to_string(), "acme/**:pull,push acme/web:delete base/*:pull");
        assert_eq!(scope.allows("acme/web"), Actions::CONTENT);
        assert_eq!(scope.allows("acme/api"), Actions::PULL | Actions::PUSH);
        assert_eq!(scope.allows("acme"), Actions::NONE);
        assert_eq!(scope.pullable().count(), 2);
    }

    #[test]
    fn an_empty_scope_cannot_be_written_so_it_cannot_be_taken_for_none() {
        assert_eq!("".parse::<CredentialScope>(), Err(CredentialScopeError::Form));
        assert_eq!("acme/**".parse::<CredentialScope>(), Err(CredentialScopeError::Form));
        assert_eq!("ci/{username}:pull".parse::<CredentialScope>(), Err(CredentialScopeError::Personal));
        assert!("acme/**:".parse::<CredentialScope>().is_err());
        assert!("ACME:pull".parse::<CredentialScope>().is_err());
        let many = ["a:pull"; MAX_SCOPE_ENTRIES + 1];
        assert!(many[1..].join(" ").parse::<CredentialScope>().is_ok());
        assert_eq!(many.join(" ").parse::<CredentialScope>(), Err(CredentialScopeError::TooMany));
    }
}
