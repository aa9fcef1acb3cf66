//! Tags (OCI distribution specification, "Pulling manifests": `<reference>` as a tag) and patterns over them.

use std::{fmt, str::FromStr, sync::Arc};

use thiserror::Error;

use crate::text::serde_as_text;

/// The longest tag, in bytes.
pub const MAX_TAG_BYTES: usize = 128;

/// The longest tag pattern, in bytes.
pub const MAX_TAG_PATTERN_BYTES: usize = 128;

/// The text is no tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "a tag is made of at most {MAX_TAG_BYTES} letters, digits, '_', '.' and '-', \
     and does not begin with '.' or '-'"
)]
pub struct TagError;

/// A tag, as in `latest`. Tags order as their texts do; cloning one is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Arc<str>);

impl Tag {
    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = TagError;

    /// `[A-Za-z0-9_][A-Za-z0-9._-]{0,127}`
    fn from_str(text: &str) -> Result<Self, TagError> {
        let fits = text.len() <= MAX_TAG_BYTES && !text.is_empty();
        if !fits || text.starts_with(['.', '-']) || !text.bytes().all(is_tag_byte) {
            return Err(TagError);
        }
        Ok(Self(text.into()))
    }
}

const fn is_tag_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}

const fn is_tag_pattern_byte(byte: u8) -> bool {
    is_tag_byte(byte) || matches!(byte, b'*' | b'?')
}

/// The text is no tag pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TagPatternError {
    /// It is empty, or longer than any.
    #[error("a tag pattern has 1 to {MAX_TAG_PATTERN_BYTES} characters")]
    Length,
    /// A character that neither tags nor patterns have.
    #[error(
        "character {position}, {character:?}, cannot stand in a tag pattern: use letters, digits, '_', '.', '-', \
         '*' for any characters and '?' for one"
    )]
    Character {
        /// Which one it is, counted from 1.
        position: usize,
        /// The character.
        character: char,
    },
}

/// A pattern over whole tags: `*` stands for any characters or none, `?` for exactly one, all else for itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TagPattern(Arc<str>);

impl TagPattern {
    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern covers the whole tag.
    pub fn matches(&self, tag: &Tag) -> bool {
        matches_whole(self.0.as_bytes(), tag.0.as_bytes())
    }
}

/// Only the latest `*` is ever reconsidered, so the work is bounded by the product of both lengths, whatever the
/// pattern: one from a stranger's token cannot keep the processor busy.
fn matches_whole(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at_pattern, mut at_text) = (0, 0);
    let mut star = None;
    while at_text < text.len() {
        match pattern.get(at_pattern) {
            Some(b'*') => {
                star = Some((at_pattern, at_text));
                at_pattern += 1;
            }
            Some(&expected) if expected == b'?' || expected == text[at_text] => {
                at_pattern += 1;
                at_text += 1;
            }
            _ => {
                let Some((star_pattern, star_text)) = star else { return false };
                star = Some((star_pattern, star_text + 1));
                (at_pattern, at_text) = (star_pattern + 1, star_text + 1);
            }
        }
    }
    pattern[at_pattern..].iter().all(|&rest| rest == b'*')
}

impl FromStr for TagPattern {
    type Err = TagPatternError;

    fn from_str(text: &str) -> Result<Self, TagPatternError> {
        if text.is_empty() || text.len() > MAX_TAG_PATTERN_BYTES {
            return Err(TagPatternError::Length);
        }
        let stranger = |character: &char| !u8::try_from(*character).is_ok_and(is_tag_pattern_byte);
        match (1..).zip(text.chars()).find(|(_, character)| stranger(character)) {
            Some((position, character)) => Err(TagPatternError::Character { position, character }),
            None => Ok(Self(text.into())),
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for TagPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TagPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

serde_as_text!(Tag, TagPattern);

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) const GRAMMAR: &str = "[A-Za-z0-9_][A-Za-z0-9._-]{0,127}";
    pub(crate) const PATTERN_GRAMMAR: &str = "[A-Za-z0-9._*?-]{1,128}";

    #[test]
    fn what_is_no_tag_is_refused() {
        for text in ["", ".a", "-a", "a b", "a/b", "a:b", "a@b", "é", "aé", "a\n", "a\0", "a*", "a?", "a+b"] {
            assert_eq!(text.parse::<Tag>(), Err(TagError), "{text:?}");
        }
    }

    #[test]
    fn a_tag_ends_at_128_bytes() {
        let longest = "t".repeat(MAX_TAG_BYTES);
        assert_eq!(longest.len(), 128);
        assert!(longest.parse::<Tag>().is_ok());
        assert!(format!("{longest}t").parse::<Tag>().is_err());
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", "a b", "a/b", "[a]", "{a}", "^a", "a$", "a,b", "é", "a\n", "\\*"] {
            assert!(text.parse::<TagPattern>().is_err(), "{text:?}");
        }
        let at = |position, character| Err(TagPatternError::Character { position, character });
        assert_eq!("pr-[0-9]".parse::<TagPattern>(), at(4, '['));
        assert_eq!("v*/\u{e9}".parse::<TagPattern>(), at(3, '/'), "the first of them");
        assert_eq!(
            "v\u{e9}".parse::<TagPattern>(),
            at(2, '\u{e9}'),
            "no character of another length is taken for a byte"
        );
        assert_eq!("".parse::<TagPattern>(), Err(TagPatternError::Length));
        assert!("*".repeat(MAX_TAG_PATTERN_BYTES).parse::<TagPattern>().is_ok());
        assert!("*".repeat(MAX_TAG_PATTERN_BYTES + 1).parse::<TagPattern>().is_err());
    }

    fn matches(pattern: &str, tag: &str) -> bool {
        pattern.parse::<TagPattern>().unwrap().matches(&tag.parse().unwrap())
    }

    #[test]
    fn a_pattern_covers_the_whole_tag() {
        let matching = [
            ("pr-*", "pr-1"),
            ("pr-*", "pr-"),
            ("*", "latest"),
            ("v?", "v1"),
            ("*-rc", "1.0-rc"),
            ("a*b*c", "abc"),
            ("a*b*c", "aXbYbZc"),
            ("**", "a"),
            ("*a*", "banana"),
            ("1.0", "1.0"),
            ("?*", "x"),
            ("*ab", "aab"),
        ];
        for (pattern, tag) in matching {
            assert!(matches(pattern, tag), "{pattern} {tag}");
        }
        let not_matching = [
            ("pr-*", "latest"),
            ("pr-*", "xpr-1"),
            ("pr-?", "pr-12"),
            ("pr-?", "pr-"),
            ("1.0", "1x0"),
            ("1.0", "1.0.1"),
            ("PR-*", "pr-1"),
            ("a*b*c", "acb"),
            ("*-rc", "1.0-rc2"),
            ("??", "a"),
        ];
        for (pattern, tag) in not_matching {
            assert!(!matches(pattern, tag), "{pattern} {tag}");
        }
    }

    #[test]
    fn many_stars_cost_no_more_than_the_product_of_the_lengths() {
        let pattern = format!("{}b", "*a".repeat(63));
        assert!(!matches(&pattern, &"a".repeat(MAX_TAG_BYTES)));
    }

    /// The textbook definition, exponential and obviously right.
    fn matches_by_definition(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            ([b'*', pattern @ ..], _) if matches_by_definition(pattern, text) => true,
            ([b'*', ..], [_, text @ ..]) => matches_by_definition(pattern, text),
            ([b'?', pattern @ ..], [_, text @ ..]) => matches_by_definition(pattern, text),
            ([one, pattern @ ..], [other, text @ ..]) if one == other => matches_by_definition(pattern, text),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(tag in GRAMMAR, pattern in PATTERN_GRAMMAR) {
            let parsed: Tag = tag.parse().unwrap();
            prop_assert_eq!(parsed.to_string(), tag);
            prop_assert_eq!(serde_json::from_str::<Tag>(&serde_json::to_string(&parsed).unwrap()).unwrap(), parsed);
            let parsed: TagPattern = pattern.parse().unwrap();
            prop_assert_eq!(parsed.to_string(), pattern);
            let json = serde_json::to_string(&parsed).unwrap();
            prop_assert_eq!(serde_json::from_str::<TagPattern>(&json).unwrap(), parsed);
        }

        #[test]
        fn matching_agrees_with_its_definition(pattern in "[ab*?]{1,8}", tag in "[ab]{1,10}") {
            let expected = matches_by_definition(pattern.as_bytes(), tag.as_bytes());
            prop_assert_eq!(matches(&pattern, &tag), expected);
        }

        #[test]
        fn a_tag_matches_itself_as_a_pattern(tag in GRAMMAR) {
            prop_assert!(matches(&tag, &tag));
        }
    }
}
