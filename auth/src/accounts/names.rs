//! Names of accounts and namespaces: what they may look like, and when two of them are one.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use shared::repository::RepositoryName;
use thiserror::Error;
use unicode_normalization::UnicodeNormalization;
use utoipa::ToSchema;

/// Longest handle, in bytes. A token carries it as its subject.
pub const MAX_HANDLE_BYTES: usize = 128;
/// Longest name of a robot within its namespace, in bytes.
pub const MAX_ROBOT_NAME_BYTES: usize = 64;
/// Longest name of a token, a key or a team, in bytes.
pub const MAX_LABEL_BYTES: usize = 100;
/// Longest name that people call somebody, and longest purpose of a robot, in bytes.
pub const MAX_DISPLAY_NAME_BYTES: usize = 256;
/// What every robot's handle starts with, and no other's.
pub const ROBOT_PREFIX: &str = "robot.";
/// Words that stand where handles stand and mean something else: a grant that was meant for a person of that name would open to all.
const RESERVED: [&str; 5] = ["everyone", "authenticated", "anonymous", "local", "system"];

/// A name that cannot be given to an account, a namespace or a robot.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// Empty, too long, or with a character that names do not have.
    #[error(
        "{0:?} is not an account name: 1 to {MAX_HANDLE_BYTES} bytes, starting with a letter or digit, \
         without spaces, control characters or any of : / \\ \" < > ? # %"
    )]
    Handle(String),
    /// Only robots are called so.
    #[error("{0:?}: only robots have names that start with {ROBOT_PREFIX:?}")]
    Reserved(String),
    /// A word that means more than one account where grants and records name their subject.
    #[error("{0:?} cannot be an account: as the subject of a grant or in a record the word means something else")]
    Word(String),
    /// Not one component of a repository name.
    #[error("{0:?} is not a namespace: it must be one component of a repository name, such as acme or acme-tools")]
    Namespace(String),
    /// Not `[a-z0-9]+(-[a-z0-9]+)*`.
    #[error(
        "{0:?} is not a robot's name: lower-case letters and digits, separated by single hyphens, at most {MAX_ROBOT_NAME_BYTES} bytes"
    )]
    Robot(String),
    /// Empty, too long, or with control characters.
    #[error("{0:?} is not a label: 1 to {MAX_LABEL_BYTES} bytes without control characters")]
    Label(String),
}

/// The form in which names are compared: NFKC, case-folded, NFKC again, so that look-alikes in case and width are one account.
#[must_use]
pub fn folded(name: &str) -> String {
    name.nfkc().flat_map(char::to_lowercase).nfkc().collect()
}

/// The longest name that is looked up, in bytes. Folding makes one byte of four at most (mathematical letters), so whatever could be
/// somebody's handle is no longer.
pub const MAX_CLAIMED_BYTES: usize = 4 * MAX_HANDLE_BYTES;

/// The folded form of a name that somebody claims; None if it is longer than anybody's. Folding takes time that grows faster than
/// the name, and anybody can claim one.
#[must_use]
pub fn folded_claim(name: &str) -> Option<String> {
    (name.len() <= MAX_CLAIMED_BYTES).then(|| folded(name))
}

/// True if both spell one name that somebody could have.
#[must_use]
pub fn are_one(left: &str, right: &str) -> bool {
    folded_claim(left).is_some_and(|left| folded_claim(right).is_some_and(|right| left == right))
}

/// A user's handle as it was written; [`folded`] is what must be unique.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handle(String);

impl Handle {
    /// The handle as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form that is compared.
    #[must_use]
    pub fn folded(&self) -> String {
        folded(&self.0)
    }
}

impl FromStr for Handle {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let fits = |name: &str| {
            (1..=MAX_HANDLE_BYTES).contains(&name.len())
                && name.starts_with(char::is_alphanumeric)
                && !name.contains(|c: char| c.is_control() || c.is_whitespace() || ":/\\\"<>?#%".contains(c))
        };
        if !fits(text) {
            return Err(NameError::Handle(shortened(text)));
        }
        let folded = folded(text);
        if !fits(&folded) {
            return Err(NameError::Handle(shortened(text)));
        }
        if RESERVED.contains(&folded.as_str()) {
            return Err(NameError::Word(text.to_owned()));
        }
        if folded.starts_with(ROBOT_PREFIX) {
            return Err(NameError::Reserved(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The first segment of repository names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespaceName(String);

impl NamespaceName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NamespaceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.parse::<RepositoryName>() {
            Ok(name) if name.namespace() == text => Ok(Self(text.to_owned())),
            _ => Err(NameError::Namespace(shortened(text))),
        }
    }
}

impl fmt::Display for NamespaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A robot's own name within its namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RobotName(String);

impl RobotName {
    /// What the robot logs in as: `robot.<namespace>.<name>`. A robot's name has no dot, so no two pairs share a handle.
    #[must_use]
    pub fn handle_in(&self, namespace: &NamespaceName) -> String {
        format!("{ROBOT_PREFIX}{namespace}.{}", self.0)
    }

    /// The name of the namespace in a robot's handle.
    #[must_use]
    pub fn namespace_of(handle: &str) -> Option<&str> {
        handle.strip_prefix(ROBOT_PREFIX)?.rsplit_once('.').map(|(namespace, _)| namespace)
    }
}

impl fmt::Display for RobotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RobotName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if text.len() <= MAX_ROBOT_NAME_BYTES && text.split('-').all(word) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Robot(shortened(text)))
        }
    }
}

/// What a person calls a token, a key or a team.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String)]
pub struct Label(String);

impl Label {
    /// The label as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if (1..=MAX_LABEL_BYTES).contains(&text.len()) && !text.contains(char::is_control) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Label(shortened(text)))
        }
    }
}

impl TryFrom<String> for Label {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0
    }
}

/// People paste passwords and whole files where a name belongs; an error repeats only its beginning.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 40;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_look_alike_fold_to_one() {
        assert_eq!(folded("Alice"), "alice");
        assert_eq!(folded("ＡＬＩＣＥ"), "alice");
        assert_eq!(folded("ﬁona"), "fiona");
    }

    #[test]
    fn names_longer_than_any_are_nobodys_and_are_not_folded() {
        // Marks of two classes in turn are what putting them in order takes longest with.
        let endless = format!("a{}", "\u{0301}\u{0323}".repeat(MAX_CLAIMED_BYTES));
        assert_eq!(folded_claim(&endless), None);
        assert!(!are_one(&endless, &endless));
        let longest = "\u{1d400}".repeat(MAX_HANDLE_BYTES);
        assert!(are_one(&longest, &"a".repeat(MAX_HANDLE_BYTES)));
        assert!(!are_one("alice", "bob"));
    }

    #[test]
    fn no_account_is_called_what_grants_call_everyone() {
        for name in ["everyone", "Everyone", "ｅveryone", "authenticated", "anonymous", "local", "SYSTEM"] {
            assert_eq!(name.parse::<Handle>(), Err(NameError::Word(name.to_owned())));
        }
        assert!("everyone-else".parse::<Handle>().is_ok());
    }

    #[test]
    fn only_robots_start_with_robot() {
        for name in ["robot.acme.ci", "Robot.x", "ｒobot.x"] {
            assert_eq!(name.parse::<Handle>(), Err(NameError::Reserved(name.to_owned())));
        }
        assert!("robots".parse::<Handle>().is_ok());
    }

    #[test]
    fn handles_have_no_characters_that_other_syntaxes_use() {
        for name in
            ["", "a:b", "a/b", "a b", "a\nb", "-a", ".a", "a\u{0}", "<script>", &"a".repeat(MAX_HANDLE_BYTES + 1)]
        {
            assert!(name.parse::<Handle>().is_err(), "{name:?}");
        }
        for name in ["a", "alice@example.com", "Ünal", "a-b_c.d+e", &"a".repeat(MAX_HANDLE_BYTES)] {
            assert!(name.parse::<Handle>().is_ok(), "{name:?}");
        }
    }

    #[test]
    fn labels_and_robots_names_have_what_the_limits_say_and_no_more() {
        for (length, fits) in [(0, false), (1, true), (MAX_LABEL_BYTES, true), (MAX_LABEL_BYTES + 1, false)] {
            assert_eq!("l".repeat(length).parse::<Label>().is_ok(), fits, "{length}");
        }
        for (length, fits) in [(0, false), (1, true), (MAX_ROBOT_NAME_BYTES, true), (MAX_ROBOT_NAME_BYTES + 1, false)] {
            assert_eq!("r".repeat(length).parse::<RobotName>().is_ok(), fits, "{length}");
        }
    }

    #[test]
    fn a_namespace_is_one_component() {
        for name in ["", "acme/web", "Acme", "acme-", "-acme", "a..b", "*"] {
            assert!(name.parse::<NamespaceName>().is_err(), "{name:?}");
        }
        for name in ["acme", "a1", "acme.io", "a-b", "a__b"] {
            assert!(name.parse::<NamespaceName>().is_ok(), "{name:?}");
        }
    }

    #[test]
    fn robots_are_called_by_their_namespace() {
        let name: RobotName = "ci".parse().unwrap();
        assert_eq!(name.handle_in(&"acme.io".parse().unwrap()), "robot.acme.io.ci");
        for name in ["", "CI", "a--b", "-a", "a.b", "a_b"] {
            assert!(name.parse::<RobotName>().is_err(), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn folding_twice_changes_nothing(name in "\\PC{0,40}") {
            let once = folded(&name);
            prop_assert_eq!(folded(&once), once);
        }
    }
}
