//! Names in a directory: attributes, filters and distinguished names. Whatever a stranger typed gets into them by escaping only.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::accounts::names::folded;

/// Longest name that is read, in bytes.
const MAX_NAME_BYTES: usize = 4096;
/// What stands for the user's name in a template.
const PLACEHOLDER: &str = "{username}";

/// A text that is no name of that kind.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// Letters, digits and hyphens, or an OID.
    #[error("{0:?} is not the name of an attribute")]
    Attribute(String),
    /// RFC 4514.
    #[error("{0:?} is not a distinguished name")]
    Distinguished(String),
    /// A template for names has one place for the user's name.
    #[error("a template is a distinguished name in which {PLACEHOLDER} stands once, as a value")]
    Template,
}

/// The name of an attribute: it goes into filters as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute(String);

impl Attribute {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Attribute {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let fits = text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.len() <= 128
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.');
        if fits { Ok(Self(text.to_owned())) } else { Err(NameError::Attribute(text.chars().take(64).collect())) }
    }
}

/// A search filter (RFC 4515). There is no way to make one from text that somebody typed but [`Filter::equals`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(String);

impl Filter {
    /// A filter that an operator wrote; who calls has looked whether it is one.
    pub(super) fn written(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Every entry has a class.
    #[must_use]
    pub fn everything() -> Self {
        Self("(objectClass=*)".to_owned())
    }

    /// Entries that have this value.
    #[must_use]
    pub fn equals(attribute: &str, value: &[u8]) -> Self {
        Self(format!("({attribute}={})", escaped_value(value)))
    }

    /// Active Directory's rule for chains of groups: entries that have this value, or a value that has it, and so on.
    #[must_use]
    pub fn in_chain(attribute: &str, value: &[u8]) -> Self {
        Self(format!("({attribute}:1.2.840.113556.1.4.1941:={})", escaped_value(value)))
    }

    /// Entries that pass one of these.
    #[must_use]
    pub fn any(filters: &[Self]) -> Self {
        Self(format!("(|{})", filters.iter().map(Self::as_str).collect::<String>()))
    }

    /// Entries that pass both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self(format!("(&{}{})", self.0, other.0))
    }

    /// The filter as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A value as it stands in a filter. Bytes that are no text are escaped too: `objectGUID` is sixteen of them.
fn escaped_value(value: &[u8]) -> String {
    let mut text = String::with_capacity(value.len() + 8);
    for byte in value {
        if byte.is_ascii_alphanumeric() || b" ,.-_=+@:/#".contains(byte) {
            text.push(char::from(*byte));
        } else {
            text.push_str(&format!("\\{byte:02x}"));
        }
    }
    text
}

/// A value as it stands in a distinguished name (RFC 4514, section 2.4).
fn escaped_in_name(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 8);
    let last = value.chars().count().saturating_sub(1);
    for (index, c) in value.chars().enumerate() {
        match c {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' => text.extend(['\\', c]),
            '#' if index == 0 => text.push_str("\\#"),
            ' ' if index == 0 || index == last => text.push_str("\\ "),
            c if c.is_control() => {
                let mut bytes = [0; 4];
                c.encode_utf8(&mut bytes).bytes().for_each(|byte| text.push_str(&format!("\\{byte:02X}")));
            }
            c => text.push(c),
        }
    }
    text
}

/// How a user's name becomes the name to bind as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    before: String,
    behind: String,
}

impl Template {
    /// The name of the user's entry.
    #[must_use]
    pub fn name_of(&self, username: &str) -> String {
        format!("{}{}{}", self.before, escaped_in_name(username), self.behind)
    }
}

impl FromStr for Template {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (before, behind) = text.split_once(PLACEHOLDER).ok_or(NameError::Template)?;
        let template = Self { before: before.to_owned(), behind: behind.to_owned() };
        let is_value = before.ends_with('=') && (behind.is_empty() || behind.starts_with([',', '+']));
        if !is_value || behind.contains(PLACEHOLDER) || template.name_of("a").parse::<Dn>().is_err() {
            return Err(NameError::Template);
        }
        Ok(template)
    }
}

/// A distinguished name in one spelling: directories write the same name in many ways, escape the same character in three, and
/// compare without regard to case. Two names that differ here may be one for a directory whose attributes compare otherwise;
/// two that are equal here are one for every directory that people use.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dn(String);

impl Dn {
    /// The name, still a name as RFC 4514 writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Dn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Dn {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = || NameError::Distinguished(text.chars().take(128).collect());
        if text.len() > MAX_NAME_BYTES {
            return Err(wrong());
        }
        let mut names = Vec::new();
        for part in split(text, &[',', ';']) {
            let mut values = split(part, &['+']).into_iter().map(pair).collect::<Option<Vec<_>>>().ok_or_else(wrong)?;
            values.sort_unstable();
            names.push(values.join("+"));
        }
        Ok(Self(names.join(",")))
    }
}

/// The parts between separators that are neither escaped nor quoted.
fn split<'t>(text: &'t str, separators: &[char]) -> Vec<&'t str> {
    let mut parts = Vec::new();
    let (mut begin, mut escaped, mut quoted) = (0, false, false);
    for (index, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            c if !quoted && separators.contains(&c) => {
                parts.push(&text[begin..index]);
                begin = index + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    parts
}

/// `type=value` in its one spelling.
fn pair(text: &str) -> Option<String> {
    let (kind, value) = text.split_once('=')?;
    let kind: Attribute = kind.trim().parse().ok()?;
    let value = folded(&plain(value)?);
    let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
    (!value.is_empty()).then(|| format!("{}={}", kind.as_str().to_ascii_lowercase(), escaped_in_name(&value)))
}

/// A value without escapes and quotes.
fn plain(text: &str) -> Option<String> {
    let text = text.trim_start();
    let trimmed = text.trim_end();
    // A backslash holds the space behind it.
    let escaped_end = trimmed.len() < text.len() && trimmed.chars().rev().take_while(|c| *c == '\\').count() % 2 == 1;
    let text = if escaped_end { &text[..=trimmed.len()] } else { trimmed };
    let quoted = text.len() >= 2 && text.starts_with('"') && text.ends_with('"');
    let text = if quoted { &text[1..text.len() - 1] } else { text };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        match (first, behind) {
            (b'\\', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.push(hex(*high)? << 4 | hex(*low)?);
                rest = after;
            }
            (b'\\', [escaped, after @ ..]) => {
                bytes.push(*escaped);
                rest = after;
            }
            (b'\\' | b'"', _) => return None,
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests;
