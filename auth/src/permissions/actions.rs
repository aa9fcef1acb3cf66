//! What a grant can give, and the names of the usual sets.

use std::{fmt, ops::BitOr, str::FromStr};

use serde::{Deserialize, Serialize};
use shared::access::Action;
use thiserror::Error;
use utoipa::ToSchema;

/// A set of the actions that can be granted: pull, push, delete on repositories, and admin of a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, example = "pull,push")]
pub struct Actions(u8);

/// The text is no set of actions.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a list of actions: use pull, push, delete and admin, separated by commas")]
pub struct ActionsError(String);

impl Actions {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Read content.
    pub const PULL: Self = Self(1);
    /// Add content.
    pub const PUSH: Self = Self(2);
    /// Remove content.
    pub const DELETE: Self = Self(4);
    /// Manage the namespace.
    pub const ADMIN: Self = Self(8);
    /// All that can be done with a repository; what a requested `*` means.
    pub const CONTENT: Self = Self(1 | 2 | 4);

    const NAMED: [(Self, Action); 4] = [
        (Self::PULL, Action::Pull),
        (Self::PUSH, Action::Push),
        (Self::DELETE, Action::Delete),
        (Self::ADMIN, Action::Admin),
    ];

    /// Whether all of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the sets have an action in common.
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// What is in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in this set and not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set of this one action; nothing for one that cannot be granted. `*` is what can be done with a repository.
    #[must_use]
    pub fn of(action: &Action) -> Self {
        match action {
            Action::Any => Self::CONTENT,
            one => Self::NAMED.iter().find(|(_, named)| named == one).map_or(Self::NONE, |&(set, _)| set),
        }
    }

    /// The single actions in it, each as a set of its own, in the order of their texts' meaning: pull first, admin last.
    pub fn singles(self) -> impl Iterator<Item = Self> {
        Self::NAMED.iter().map(|&(set, _)| set).filter(move |&set| self.contains(set))
    }

    /// The actions as scopes and tokens write them.
    pub fn iter(self) -> impl Iterator<Item = Action> {
        Self::NAMED.iter().filter(move |(set, _)| self.contains(*set)).map(|(_, action)| action.clone())
    }
}

impl BitOr for Actions {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl FromIterator<Self> for Actions {
    fn from_iter<I: IntoIterator<Item = Self>>(sets: I) -> Self {
        sets.into_iter().fold(Self::NONE, Self::bitor)
    }
}

impl FromStr for Actions {
    type Err = ActionsError;

    /// A list like `pull,push`, or the name of a role. `*` is no way to write a grant: it would not say what it gives.
    fn from_str(text: &str) -> Result<Self, ActionsError> {
        if let Ok(role) = text.parse::<Role>() {
            return Ok(role.actions());
        }
        let one = |name: &str| match Self::of(&Action::from(name)) {
            set if set.is_empty() || name == "*" => Err(ActionsError(text.chars().take(64).collect())),
            set => Ok(set),
        };
        let set: Self = text.split(',').map(|name| one(name.trim())).collect::<Result<_, _>>()?;
        // Alone it is the role, however it is spelled: a set that prints as a role's name must be the role's.
        Ok(if set == Self::ADMIN { Role::Admin.actions() } else { set })
    }
}

impl fmt::Display for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, action) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            f.write_str(action.as_str())?;
        }
        Ok(())
    }
}

impl TryFrom<String> for Actions {
    type Error = ActionsError;

    fn try_from(text: String) -> Result<Self, ActionsError> {
        text.parse()
    }
}

impl From<Actions> for String {
    fn from(actions: Actions) -> Self {
        actions.to_string()
    }
}

/// A name for a set of actions. Only the set is stored, so a role can never mean more than it did when it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Pull.
    Reader,
    /// Pull and push.
    Contributor,
    /// Pull, push and delete.
    Maintainer,
    /// All that, and manage the namespace.
    Admin,
}

/// The text names no role.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a role: reader, contributor, maintainer or admin")]
pub struct RoleError(String);

impl Role {
    /// All roles, the narrowest first.
    pub const ALL: [Self; 4] = [Self::Reader, Self::Contributor, Self::Maintainer, Self::Admin];

    /// What the role gives.
    #[must_use]
    pub fn actions(self) -> Actions {
        match self {
            Self::Reader => Actions::PULL,
            Self::Contributor => Actions::PULL | Actions::PUSH,
            Self::Maintainer => Actions::CONTENT,
            Self::Admin => Actions::CONTENT | Actions::ADMIN,
        }
    }

    /// The role that gives exactly these actions.
    #[must_use]
    pub fn of(actions: Actions) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.actions() == actions)
    }

    /// The role's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Contributor => "contributor",
            Self::Maintainer => "maintainer",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        let named = Self::ALL.into_iter().find(|role| role.as_str() == text);
        named.ok_or_else(|| RoleError(text.chars().take(64).collect()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    const WORDS: [&str; 11] =
        ["pull", "push", "delete", "admin", "reader", "contributor", "maintainer", " pull", "admin ", "*", ""];

    proptest! {
        /// Sets are stored as text: one that came back wider would be an escalation.
        #[test]
        fn a_text_is_no_set_or_is_stored_and_read_again_as_the_same(words in vec(select(&WORDS[..]), 1..6)) {
            let text = words.join(",");
            if let Ok(set) = text.parse::<Actions>() {
                prop_assert!(!set.is_empty(), "{:?}", text);
                prop_assert_eq!(set.to_string().parse::<Actions>(), Ok(set), "{:?}", text);
                let json = serde_json::to_string(&set).unwrap();
                prop_assert_eq!(serde_json::from_str::<Actions>(&json).unwrap(), set);
            }
        }

        #[test]
        fn any_text_at_all_is_read_or_refused_without_a_panic(text in ".{0,24}") {
            if let Ok(set) = text.parse::<Actions>() {
                prop_assert_eq!(set.to_string().parse::<Actions>(), Ok(set));
            }
        }
    }

    #[test]
    fn roles_are_names_of_sets() {
        for role in Role::ALL {
            assert_eq!(Role::of(role.actions()), Some(role));
            assert_eq!(role.as_str().parse::<Actions>(), Ok(role.actions()));
        }
        assert_eq!(Role::of(Actions::PULL | Actions::DELETE), None);
        assert_eq!("admin".parse::<Actions>(), Ok(Actions::CONTENT | Actions::ADMIN));
    }

    #[test]
    fn sets_are_written_in_one_way() {
        assert_eq!("push, pull".parse::<Actions>().unwrap().to_string(), "pull,push");
        assert_eq!("delete,delete".parse::<Actions>(), Ok(Actions::DELETE));
        for text in ["", "*", "pull,", "Pull", "pull,read", "owner", "pull push"] {
            assert!(text.parse::<Actions>().is_err(), "{text:?}");
        }
    }

    /// Sets are stored as text: one that came back wider would be an escalation.
    #[test]
    fn every_text_that_is_read_is_stored_and_read_again_as_the_same_set() {
        let names = ["pull", "push", "delete", "admin", "reader", "contributor", "maintainer", " admin", "admin "];
        for one in names {
            for other in names {
                for text in [one.to_owned(), format!("{one},{other}")] {
                    let Ok(set) = text.parse::<Actions>() else { continue };
                    assert_eq!(set.to_string().parse(), Ok(set), "{text:?}");
                }
            }
        }
        assert_eq!("admin,admin".parse(), Ok(Role::Admin.actions()));
    }

    #[test]
    fn only_what_can_be_granted_is_in_a_set() {
        assert_eq!(Actions::of(&Action::Any), Actions::CONTENT);
        assert_eq!(Actions::of(&Action::Read), Actions::NONE);
        assert_eq!(Actions::of(&Action::from("scan")), Actions::NONE);
        assert_eq!(Actions::CONTENT.without(Actions::PUSH).iter().collect::<Vec<_>>(), [Action::Pull, Action::Delete]);
    }
}
