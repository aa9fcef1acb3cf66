//! Patterns in rules: what is wrong with one says at which character.

use shared::{
    pattern::{MAX_PATTERN_BYTES, PatternError, RepositoryPattern, Unreachable},
    tag::{TagPattern, TagPatternError},
};

/// Why a pattern is none, or not one for this namespace. Positions count characters from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongPattern {
    /// No pattern over tags.
    #[error(transparent)]
    Tag(#[from] TagPatternError),
    /// No pattern over repository names.
    #[error("character {position}: {reason}")]
    Repository {
        /// Where it goes wrong.
        position: usize,
        /// How.
        reason: PatternError,
    },
    /// No repository can match.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// It reaches out of the namespace.
    #[error("character {position}: a pattern here begins with {namespace}/, or is {namespace}")]
    Outside {
        /// Where it leaves the namespace's name.
        position: usize,
        /// The namespace.
        namespace: String,
    },
    /// The caller's name means nothing to a rule.
    #[error("character {position}: {{username}} stands for a caller, and a rule has none")]
    Personal {
        /// Where it stands.
        position: usize,
    },
}

/// Reads a pattern over tags.
///
/// # Errors
/// It is none; the error says at which character.
pub fn tag_pattern(text: &str) -> Result<TagPattern, WrongPattern> {
    Ok(text.parse()?)
}

/// Reads a pattern over the repositories of a namespace.
///
/// # Errors
/// It is none, or reaches out of the namespace; the error says at which character.
pub fn repository_pattern(namespace: &str, text: &str) -> Result<RepositoryPattern, WrongPattern> {
    let pattern: RepositoryPattern = text.parse().map_err(|reason| {
        let position = characters(text, fault(text, reason));
        WrongPattern::Repository { position, reason }
    })?;
    if pattern.namespace() != Some(namespace) {
        let common = text.bytes().zip(namespace.bytes()).take_while(|(one, other)| one == other).count();
        return Err(WrongPattern::Outside { position: common + 1, namespace: namespace.to_owned() });
    }
    if let Some(at) = text.find("{username}") {
        return Err(WrongPattern::Personal { position: characters(text, at) });
    }
    pattern.check_reach()?;
    Ok(pattern)
}

/// Which character stands at a byte, from 1.
fn characters(text: &str, byte: usize) -> usize {
    text.char_indices().take_while(|(at, _)| *at < byte).count() + 1
}

/// The byte at which a pattern goes wrong.
fn fault(text: &str, reason: PatternError) -> usize {
    match reason {
        PatternError::TooLong => MAX_PATTERN_BYTES,
        PatternError::Character(wrong) => text.find(wrong).unwrap_or(0),
        _ => {
            let mut start = 0;
            for segment in text.split('/') {
                if segment.parse::<RepositoryPattern>().is_err() {
                    return start + within_segment(segment, reason);
                }
                start += segment.len() + 1;
            }
            0
        }
    }
}

/// The byte of a segment at which it goes wrong: two stars, or the braces that cannot be.
fn within_segment(segment: &str, reason: PatternError) -> usize {
    if reason == PatternError::DeepWithinSegment {
        return segment.find("**").unwrap_or(0);
    }
    let mut at = 0;
    while let Some(found) = segment[at..].find(['{', '}']) {
        let begin = at + found;
        let closed = segment[begin..].find('}').map(|end| begin + end + 1);
        match closed {
            Some(end)
                if segment[begin..].starts_with('{') && segment[begin..end].parse::<RepositoryPattern>().is_ok() =>
            {
                at = end;
            }
            _ => return begin,
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn position(error: &WrongPattern) -> usize {
        match error {
            WrongPattern::Tag(_) => panic!("{error}"),
            WrongPattern::Repository { position, .. }
            | WrongPattern::Outside { position, .. }
            | WrongPattern::Personal { position }
            | WrongPattern::Unreachable(Unreachable { position }) => *position,
        }
    }

    #[test]
    fn a_wrong_tag_pattern_says_where() {
        for (text, expected) in [("pr/*", 3), ("aé", 2), ("v1 ", 3), ("{a,b}", 1)] {
            let said = tag_pattern(text).unwrap_err().to_string();
            assert!(said.starts_with(&format!("character {expected}, ")), "{text:?}: {said}");
        }
        tag_pattern(&"a".repeat(129)).unwrap_err();
        tag_pattern(&"a".repeat(128)).unwrap();
    }

    #[test]
    fn a_wrong_repository_pattern_says_where() {
        let cases = [
            ("acme//web", 6),
            ("acme/", 6),
            ("/acme", 1),
            ("", 1),
            ("acme/Web", 6),
            ("acme/wéb", 7),
            ("acme/a**", 7),
            ("acme/{a,b}{c}", 11),
            ("acme/{a,b", 6),
            ("acme/a}", 7),
            ("acme/{a,{b,c}}", 6),
            ("other/web", 1),
            ("acme-too/web", 5),
            ("acm", 4),
            ("*/web", 1),
            ("ac*/web", 3),
            ("{acme,b}/web", 1),
            ("acme/{username}", 6),
            ("acme/../web", 6),
        ];
        for (text, expected) in cases {
            let error = repository_pattern("acme", text).unwrap_err();
            assert_eq!(position(&error), expected, "{text:?}: {error}");
        }
        for text in ["acme", "acme/**", "acme/*/x", "acme/{a,b}-?", "acme/web"] {
            repository_pattern("acme", text).unwrap();
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "[acme*?{},/.é]{0,14}") {
            let _ = repository_pattern("acme", &text);
            let _ = tag_pattern(&text);
        }
    }
}
