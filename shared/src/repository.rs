//! Repository names (OCI distribution specification, "Pulling manifests": `<name>`).

use std::{fmt, str::FromStr, sync::Arc};

use thiserror::Error;

use crate::text::serde_as_text;

/// The longest repository name, in bytes; what clients can still address beside a host name.
pub const MAX_NAME_BYTES: usize = 255;

/// Why a text is no repository name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RepositoryNameError {
    /// The name has more than [`MAX_NAME_BYTES`] bytes.
    #[error("a repository name has at most {MAX_NAME_BYTES} characters")]
    TooLong,
    /// The name is not of the specification's grammar.
    #[error(
        "a repository name is made of lower-case letters and digits, \
         which '.', '_', '__' or dashes may separate, in components divided by '/'"
    )]
    Malformed,
}

/// The name of a repository, as in `acme/web`. Names order as their texts do; cloning one is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName(Arc<str>);

impl RepositoryName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first segment of the name, which is the namespace that the repository belongs to.
    pub fn namespace(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(first, _)| first)
    }
}

impl FromStr for RepositoryName {
    type Err = RepositoryNameError;

    fn from_str(text: &str) -> Result<Self, RepositoryNameError> {
        if text.len() > MAX_NAME_BYTES {
            return Err(RepositoryNameError::TooLong);
        }
        if !text.split('/').all(is_component) {
            return Err(RepositoryNameError::Malformed);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

serde_as_text!(RepositoryName);

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let is_alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(is_alphanumeric)
        && text.ends_with(is_alphanumeric)
        && text.split(is_alphanumeric).all(|between| match between {
            "" | "." | "_" | "__" => true,
            dashes => dashes.bytes().all(|byte| byte == b'-'),
        })
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_people_use_are_accepted() {
        for text in ["a", "0", "acme/web", "library/alpine", "a.b/c_d/e__f/g-h/i---j", "a/b/c/d/e/f/g", "127.0.0.1/x"] {
            assert_eq!(text.parse::<RepositoryName>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let texts = [
            "", "/", "a/", "/a", "a//b", "A", "acme/Web", ".a", "a.", "-a", "a-", "_a", "a_", "a..b", "a___b", "a._b",
            "a.-b", "a-_b", "a/./b", "a/../b", "..", "a b", "a\n", "a:b", "a@b", "a%2fb", "é", "a/é", "a\0", "a*",
        ];
        for text in texts {
            assert_eq!(text.parse::<RepositoryName>(), Err(RepositoryNameError::Malformed), "{text:?}");
        }
    }

    #[test]
    fn a_name_ends_at_255_bytes() {
        let longest = "a".repeat(MAX_NAME_BYTES);
        assert_eq!(longest.len(), 255);
        assert!(longest.parse::<RepositoryName>().is_ok());
        assert_eq!(format!("{longest}a").parse::<RepositoryName>(), Err(RepositoryNameError::TooLong));
    }

    #[test]
    fn the_namespace_is_the_first_segment() {
        for (name, namespace) in [("acme/web/api", "acme"), ("alpine", "alpine")] {
            assert_eq!(name.parse::<RepositoryName>().unwrap().namespace(), namespace);
        }
    }

    /// The grammar as the specification writes it, for the tests of everything that holds a name.
    pub(crate) const GRAMMAR: &str =
        r"[a-z0-9]{1,5}((\.|_|__|-{1,3})[a-z0-9]{1,4}){0,3}(/[a-z0-9]{1,5}((\.|_|__|-{1,3})[a-z0-9]{1,4}){0,3}){0,4}";

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(text in GRAMMAR) {
            let name: RepositoryName = text.parse().unwrap();
            prop_assert_eq!(name.to_string(), text.as_str());
            let json = serde_json::to_string(&name).unwrap();
            prop_assert_eq!(serde_json::from_str::<RepositoryName>(&json).unwrap(), name);
        }

        #[test]
        fn nothing_outside_the_grammar_is_accepted(text in "[a-cA /._-]{0,12}|.{0,12}") {
            let component = |text: &str| {
                let mut rest = text;
                loop {
                    let Some(start) = rest.find(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit()) else {
                        return !rest.is_empty();
                    };
                    let after = rest[start..].trim_start_matches(|c: char| ['.', '_', '-'].contains(&c));
                    let separator = &rest[start..rest.len() - after.len()];
                    let known = [".", "_", "__"].contains(&separator) || separator.chars().all(|c| c == '-');
                    if start == 0 || separator.is_empty() || !known {
                        return false;
                    }
                    rest = after;
                }
            };
            let expected = text.split('/').all(component);
            prop_assert_eq!(text.parse::<RepositoryName>().is_ok(), expected);
        }
    }
}
