//! The name and password of HTTP's Basic scheme (RFC 7617).

use std::str;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// A name and a password, not yet proven.
#[derive(Clone, Debug)]
pub struct BasicCredentials {
    /// Who somebody says they are. It may be empty; people paste passwords here, so it is not to be logged as it is.
    pub username: String,
    /// What is to prove it. It may be empty, and may have colons.
    pub password: Secret<String>,
}

impl BasicCredentials {
    /// Reads the value of an `Authorization` header: the scheme in any case, one space, and padded standard base64 of
    /// UTF-8 text without control characters. Nothing else is Basic.
    pub fn from_header(header: &str) -> Option<Self> {
        let (scheme, encoded) = header.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("Basic") {
            return None;
        }
        let decoded = Zeroizing::new(STANDARD.decode(encoded).ok()?);
        let (username, password) = str::from_utf8(&decoded).ok()?.split_once(':')?;
        if username.chars().chain(password.chars()).any(char::is_control) {
            return None;
        }
        Some(Self { username: username.to_owned(), password: Secret::from(password) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(header: &str) -> Option<(String, String)> {
        let credentials = BasicCredentials::from_header(header)?;
        Some((credentials.username.clone(), credentials.password.expose().clone()))
    }

    fn header(text: impl AsRef<[u8]>) -> String {
        format!("Basic {}", STANDARD.encode(text))
    }

    #[test]
    fn the_name_ends_at_the_first_colon() {
        let pair = |username: &str, password: &str| Some((username.to_owned(), password.to_owned()));
        assert_eq!(read("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), pair("Aladdin", "open sesame"));
        assert_eq!(read("basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), pair("Aladdin", "open sesame"));
        assert_eq!(read(&header("a:b:c")), pair("a", "b:c"));
        assert_eq!(read(&header(":")), pair("", ""));
        assert_eq!(read(&header("zoë:pässwörd")), pair("zoë", "pässwörd"));
    }

    #[test]
    fn what_is_not_basic_is_refused() {
        let texts = [
            "",
            "Basic",
            "Basic ",
            "Bearer YTpi",
            "BasicYTpi",
            "Basic  YTpi",
            "Basic YTpi ",
            "Basic YTpi\n",
            "Basic\tYTpi",
            "Basic YTpiYw",
            "Basic YTpiYx==",
            "Basic a:b",
            "Basic YWI=",
            "Basic -_8=",
        ];
        for text in texts {
            assert_eq!(read(text), None, "{text:?}");
        }
        for text in [&b"a:\xff"[..], b"\xff:a", b"a:b\n", b"a\0:b", b"a:b\x7f", "a:\u{85}".as_bytes()] {
            assert_eq!(read(&header(text)), None, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn the_password_is_not_printed() {
        let printed = format!("{:?}", BasicCredentials::from_header(&header("alice:hunter2")));
        assert!(printed.contains("alice") && !printed.contains("hunter2"), "{printed}");
    }

    proptest! {
        #[test]
        fn every_name_and_password_comes_through(username in "[^:\\pC]{0,12}", password in "\\PC{0,12}") {
            prop_assert_eq!(read(&header(format!("{username}:{password}"))), Some((username, password)));
        }

        #[test]
        fn no_text_makes_reading_panic(text in ".{0,24}", bytes in prop::collection::vec(any::<u8>(), 0..24)) {
            let _ = read(&text);
            let _ = read(&header(bytes));
        }
    }
}
