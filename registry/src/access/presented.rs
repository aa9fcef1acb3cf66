//! What a request brings to show who it is.

use shared::basic::BasicCredentials;

/// The one `Authorization` field of a request, as far as its scheme goes.
pub enum Presented<'a> {
    /// No field, or nothing behind `Bearer`.
    Nothing,
    /// The text behind `Bearer` and one space.
    Bearer(&'a str),
    /// Name and password.
    Basic(BasicCredentials),
    /// Another scheme, or Basic that cannot be read.
    Unknown,
}

impl<'a> Presented<'a> {
    /// Reads the field's value. Schemes are compared without regard to case.
    #[must_use]
    pub fn read(field: Option<&'a str>) -> Self {
        let Some(field) = field else { return Self::Nothing };
        let (scheme, rest) = field.split_once(' ').unwrap_or((field, ""));
        if scheme.eq_ignore_ascii_case("bearer") {
            // A second space would be the first character of the token, which no token has.
            return if rest.is_empty() { Self::Nothing } else { Self::Bearer(rest) };
        }
        if scheme.eq_ignore_ascii_case("basic") {
            return BasicCredentials::from_header(field).map_or(Self::Unknown, Self::Basic);
        }
        Self::Unknown
    }
}
