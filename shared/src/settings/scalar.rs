//! What a scalar means, by the rules of YAML 1.1 that Distribution's files are written to.

use std::num::{IntErrorKind, ParseIntError};

/// What a scalar is where nothing says what it should be.
#[derive(Debug, PartialEq)]
pub(super) enum Meaning {
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text,
}

pub(super) fn meaning(text: &str) -> Meaning {
    if let Some(value) = boolean(text) {
        return Meaning::Bool(value);
    }
    if let Ok(value) = integer(text) {
        return u64::try_from(value)
            .map(Meaning::Unsigned)
            .or_else(|_| i64::try_from(value).map(Meaning::Signed))
            .unwrap_or(Meaning::Text);
    }
    match float(text) {
        Some(value) => Meaning::Float(value),
        None => Meaning::Text,
    }
}

pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => Some(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => Some(false),
        _ => None,
    }
}

/// Decimal, or with `0x`, `0o`, `0b`, or octal with a leading zero; `_` between digits.
pub(super) fn integer(text: &str) -> Result<i128, ParseIntError> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, radix) = match digits.get(..2) {
        Some("0x") => (&digits[2..], 16),
        Some("0o") => (&digits[2..], 8),
        Some("0b") => (&digits[2..], 2),
        Some(two) if two.starts_with('0') => (&digits[1..], 8),
        _ => (digits, 10),
    };
    // `from_str_radix` would take a second sign.
    let digits = if digits.starts_with(['+', '-', '_']) { "" } else { digits };
    let value = i128::from_str_radix(&digits.replace('_', ""), radix)?;
    Ok(if negative { -value } else { value })
}

pub(super) fn float(text: &str) -> Option<f64> {
    // Rust would also take `inf`, `nan` and `infinity`, which are words in YAML.
    let number = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    if number && text.bytes().any(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

pub(super) fn why_no_integer(text: &str, error: &ParseIntError) -> String {
    match error.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => format!("{text} is too large"),
        _ => format!("{text:?} is not a whole number"),
    }
}

/// The value of an environment variable as text: as it stands, or without quotes where it is one quoted scalar.
pub(super) fn unquoted(raw: &str) -> String {
    let quoted = |quote: char| raw.len() >= 2 && raw.starts_with(quote) && raw.ends_with(quote);
    if (quoted('"') || quoted('\''))
        && let Ok(node) = super::yaml::parse(raw)
        && let Some(text) = node.text()
    {
        return text.to_owned();
    }
    raw.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_mean_what_yaml_1_1_says() {
        let table = [
            ("yes", Meaning::Bool(true)),
            ("off", Meaning::Bool(false)),
            ("12", Meaning::Unsigned(12)),
            ("-12", Meaning::Signed(-12)),
            ("0x1F", Meaning::Unsigned(31)),
            ("0755", Meaning::Unsigned(493)),
            ("1_000", Meaning::Unsigned(1000)),
            ("0", Meaning::Unsigned(0)),
            ("0.1", Meaning::Float(0.1)),
            ("1e3", Meaning::Float(1000.0)),
            ("nan", Meaning::Text),
            ("0x", Meaning::Text),
            ("--1", Meaning::Text),
            ("168h", Meaning::Text),
            ("99999999999999999999999999999999999999999", Meaning::Float(1e41)),
        ];
        for (text, expected) in table {
            assert_eq!(meaning(text), expected, "{text}");
        }
    }

    #[test]
    fn quotes_go_only_where_all_is_quoted() {
        assert_eq!(unquoted("\":5000\""), ":5000");
        assert_eq!(unquoted("'it''s'"), "it's");
        assert_eq!(unquoted("a \"b\" c"), "a \"b\" c");
        assert_eq!(unquoted("\"a\": \"b\""), "\"a\": \"b\"");
        assert_eq!(unquoted("p@ss: word #1"), "p@ss: word #1");
        assert_eq!(unquoted("'"), "'");
    }
}
