//! What a caller may read, as auth tells a registry: patterns, so that the answer does not grow with the number of repositories.

use serde::{Deserialize, Serialize};

use crate::pattern::RepositoryPattern;

/// The repositories that a caller may read. A registry filters its catalog with it, and decides a mount that names no source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readable {
    /// Grants and visibility: a name is readable only if one of these matches.
    pub allow: Vec<RepositoryPattern>,
    /// Guardrails: no name is readable that one of these matches.
    pub deny: Vec<RepositoryPattern>,
    /// The credential's own scope, where it has one: one of these must match as well. An empty list lets nothing through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Vec<RepositoryPattern>>,
}

impl Readable {
    /// Every repository, as where nobody is asked for a token.
    #[must_use]
    pub fn everything() -> Self {
        // If `**` were no pattern this would be nothing, not an error: the narrower answer.
        Self { allow: "**".parse().into_iter().collect(), ..Self::default() }
    }

    /// Whether the caller may read the repository of this name.
    pub fn permits(&self, name: &str) -> bool {
        let any = |patterns: &[RepositoryPattern]| patterns.iter().any(|pattern| pattern.matches(name));
        any(&self.allow) && !any(&self.deny) && self.within.as_deref().is_none_or(any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readable(json: &str) -> Readable {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn allowed_and_not_denied_and_within_the_credentials_scope() {
        let open = readable(r#"{"allow":["acme","acme/**","base/alpine"],"deny":["acme/secret/**"]}"#);
        for (name, expected) in [
            ("acme", true),
            ("acme/web", true),
            ("acme/secret/x", false),
            ("acme/secret", true),
            ("base/alpine", true),
            ("base/debian", false),
        ] {
            assert_eq!(open.permits(name), expected, "{name}");
        }
        let bounded = readable(r#"{"allow":["**"],"deny":[],"within":["acme/web*"]}"#);
        assert!(bounded.permits("acme/web2") && !bounded.permits("acme/api"));
        assert!(!readable(r#"{"allow":["**"],"deny":[],"within":[]}"#).permits("acme"));
        assert!(!Readable::default().permits("acme"));
        assert!(Readable::everything().permits("acme") && Readable::everything().permits("acme/web/x"));
    }

    #[test]
    fn a_missing_scope_and_an_empty_one_are_told_apart_on_the_wire() {
        for json in [r#"{"allow":["acme/**"],"deny":[]}"#, r#"{"allow":[],"deny":["**"],"within":[]}"#] {
            assert_eq!(serde_json::to_string(&readable(json)).unwrap(), json);
        }
        for json in ["{}", r#"{"allow":["A"],"deny":[]}"#, r#"{"allow":[]}"#] {
            assert!(serde_json::from_str::<Readable>(json).is_err(), "{json}");
        }
    }
}
