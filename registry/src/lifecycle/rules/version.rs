//! Versions among tags (Semantic Versioning 2.0.0), and ranges of them.
//!
//! A tag is a version if it has all three numbers, with or without a `v` before them: `1.2` and `v1` are names that move on with each release, and no
//! releases. Tags have no `+`, so there is no build metadata.

use std::{cmp::Ordering, fmt, str::FromStr};

/// A version. Versions compare by precedence: `1.0.0-rc.1` comes before `1.0.0`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    numbers: [u64; 3],
    pre: Pre,
}

/// What stands behind the `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Pre(Vec<Identifier>);

/// Numbers come before words, as the order of the variants says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Identifier {
    Number(u64),
    Word(Box<str>),
}

impl Ord for Pre {
    /// A release has none, and comes last.
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.is_empty().cmp(&other.0.is_empty()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Pre {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Version {
    /// The version that a tag names, if it names one.
    #[must_use]
    pub fn of(tag: &str) -> Option<Self> {
        let text = tag.strip_prefix('v').unwrap_or(tag);
        let (numbers, pre) = text.split_once('-').map_or((text, None), |(numbers, pre)| (numbers, Some(pre)));
        let mut parts = numbers.split('.').map(number);
        let numbers = [parts.next()??, parts.next()??, parts.next()??];
        let pre = pre.map_or(Some(Vec::new()), |pre| pre.split('.').map(identifier).collect())?;
        parts.next().is_none().then_some(Self { numbers, pre: Pre(pre) })
    }

    /// Whether it is no release yet.
    #[must_use]
    pub fn is_prerelease(&self) -> bool {
        !self.pre.0.is_empty()
    }
}

/// A number without leading zeros. One beyond 64 bits makes no version of ours.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits && (text == "0" || !text.starts_with('0')) { text.parse().ok() } else { None }
}

fn identifier(text: &str) -> Option<Identifier> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return number(text).map(Identifier::Number);
    }
    let word = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    word.then(|| Identifier::Word(text.into()))
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(f, "{major}.{minor}.{patch}")?;
        for (index, identifier) in self.pre.0.iter().enumerate() {
            f.write_str(if index == 0 { "-" } else { "." })?;
            match identifier {
                Identifier::Number(number) => write!(f, "{number}")?,
                Identifier::Word(word) => f.write_str(word)?,
            }
        }
        Ok(())
    }
}

/// The text is no range of versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "character {position} makes it no range of versions: write '*', or comparisons like '>=1.2, <3', with one to three numbers each"
)]
pub struct InvalidRange {
    /// Counted from 1; one behind the end where something is missing.
    pub position: usize,
}

/// A range: every comparison holds; without any, every version is in it.
///
/// A comparison looks at as many numbers as it names, and at nothing behind them: `=1.2` holds for 1.2.0 and 1.2.9, `>1.2` from 1.3.0 on, and 2.0.0-rc.1 is
/// not below 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range(Vec<Comparison>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Comparison {
    operator: Operator,
    numbers: Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    AtLeast,
    AtMost,
    Above,
    Below,
    Equal,
}

/// Longer ones first: `>=` begins with `>`.
const OPERATORS: [(&str, Operator); 5] = [
    (">=", Operator::AtLeast),
    ("<=", Operator::AtMost),
    (">", Operator::Above),
    ("<", Operator::Below),
    ("=", Operator::Equal),
];

/// The longest range, in bytes.
const MOST_BYTES: usize = 128;

impl Range {
    /// Whether a version is in it.
    #[must_use]
    pub fn contains(&self, version: &Version) -> bool {
        self.0.iter().all(|comparison| comparison.holds(version))
    }
}

impl Comparison {
    fn holds(&self, version: &Version) -> bool {
        let order = version.numbers[..self.numbers.len()].cmp(&self.numbers[..]);
        match self.operator {
            Operator::AtLeast => order.is_ge(),
            Operator::AtMost => order.is_le(),
            Operator::Above => order.is_gt(),
            Operator::Below => order.is_lt(),
            Operator::Equal => order.is_eq(),
        }
    }
}

impl FromStr for Range {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, InvalidRange> {
        if text.trim() == "*" {
            return Ok(Self(Vec::new()));
        }
        if text.len() > MOST_BYTES {
            return Err(InvalidRange { position: MOST_BYTES + 1 });
        }
        let (mut comparisons, mut start) = (Vec::new(), 0);
        for part in text.split(',') {
            let fault = |index: usize| InvalidRange { position: text[..start + index].chars().count() + 1 };
            comparisons.push(comparison(part).map_err(fault)?);
            start += part.len() + 1;
        }
        Ok(Self(comparisons))
    }
}

/// Reads `>=1.2`, or says at which byte it is none.
fn comparison(part: &str) -> Result<Comparison, usize> {
    let begin = part.len() - part.trim_start().len();
    let text = part.trim();
    let found = OPERATORS.iter().find(|(written, _)| text.starts_with(written));
    let (written, operator) = *found.ok_or(begin)?;
    let behind = &text[written.len()..];
    let mut at = begin + written.len() + (behind.len() - behind.trim_start().len());
    let mut numbers = Vec::with_capacity(3);
    for text in behind.trim_start().split('.') {
        numbers.push(number(text).filter(|_| numbers.len() < 3).ok_or(at)?);
        at += text.len() + 1;
    }
    Ok(Comparison { operator, numbers })
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("*");
        }
        for (index, Comparison { operator, numbers }) in self.0.iter().enumerate() {
            let written = OPERATORS.iter().find(|(_, known)| known == operator).map_or("", |(written, _)| written);
            let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
            write!(f, "{}{written}{}", if index == 0 { "" } else { ", " }, numbers.join("."))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        Version::of(text).unwrap_or_else(|| panic!("{text} is a version"))
    }

    #[test]
    fn precedence_is_that_of_the_specification() {
        let rising = [
            "0.9.9",
            "1.0.0-0",
            "1.0.0-1",
            "1.0.0-10",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "v1.0.0",
            "1.0.1",
            "1.2.0",
            "1.10.0",
            "10.0.0",
        ];
        for pair in rising.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
        assert_eq!(version("v1.0.0"), version("1.0.0"));
    }

    #[test]
    fn a_tag_with_fewer_numbers_is_no_version() {
        let others = [
            "1",
            "1.2",
            "v1",
            "latest",
            "1.2.3.4",
            "01.2.3",
            "1.2.03",
            "1.2.3-",
            "1.2.3-01",
            "1.2.3-a..b",
            "vv1.2.3",
            "V1.2.3",
            "1.2.x",
            "-1.2.3",
            "1..3",
            "1.2.18446744073709551616",
            "1.2.3-a_b",
            "",
        ];
        for text in others {
            assert_eq!(Version::of(text), None, "{text}");
        }
    }

    #[test]
    fn a_comparison_looks_at_the_numbers_it_names() {
        let cases = [
            ("*", "0.0.0", true),
            (">=1.2", "1.2.0", true),
            (">=1.2", "1.1.9", false),
            (">1.2", "1.2.9", false),
            (">1.2", "1.3.0", true),
            ("<=1.2", "1.2.9", true),
            ("<2", "1.99.99", true),
            ("<2", "2.0.0", false),
            ("=1", "1.7.3", true),
            ("=1.2.3", "v1.2.3", true),
            ("=1.2.3", "1.2.4", false),
            (" >= 1.2 , <3", "2.9.9", true),
            (">=1.2,<3", "3.0.0", false),
        ];
        for (range, tag, expected) in cases {
            assert_eq!(range.parse::<Range>().unwrap().contains(&version(tag)), expected, "{range} {tag}");
        }
    }

    #[test]
    fn what_is_no_range_says_where() {
        let cases = [
            ("", 1),
            ("1.2", 1),
            (">=", 3),
            (">=1.", 5),
            (">=1.2.3.4", 9),
            (">=1.x", 5),
            (">=1, ", 6),
            (">=1,,<2", 5),
            (">=1 <2", 3),
            ("é>=1", 1),
            (">=1, é", 6),
            ("^1.2", 1),
        ];
        for (text, position) in cases {
            assert_eq!(text.parse::<Range>(), Err(InvalidRange { position }), "{text:?}");
        }
        let longest = format!(">=10{}", ",>=1".repeat(31));
        assert_eq!(longest.len(), MOST_BYTES);
        longest.parse::<Range>().unwrap();
        assert_eq!(longest.replace("10", "100").parse::<Range>(), Err(InvalidRange { position: MOST_BYTES + 1 }));
    }

    proptest! {
        #[test]
        fn any_text_is_a_range_or_is_not(text in ".{0,24}") {
            if let Ok(range) = text.parse::<Range>() {
                prop_assert_eq!(range.to_string().parse(), Ok(range));
            }
        }

        #[test]
        fn printing_a_version_gives_a_tag_that_names_it(tag in "v?[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}(-[a-z0-9.-]{1,8})?") {
            if let Some(version) = Version::of(&tag) {
                prop_assert_eq!(Version::of(&version.to_string()), Some(version));
            }
        }
    }
}
