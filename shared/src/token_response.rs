//! What a token server answers (Distribution token specification, "Token response fields"; design: "The answer").

use std::fmt;

use serde::{Deserialize, Serialize};

/// How long a token lives if the answer does not say so, in seconds.
pub const DEFAULT_LIFETIME: u64 = 60;

/// The answer of a token server, which clients of both of its protocols read: `token` is what GET clients look at,
/// `access_token` what OAuth 2.0 clients do. Strangers may send only one of them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenResponse {
    /// The token.
    #[serde(default)]
    pub token: String,
    /// The same token.
    #[serde(default)]
    pub access_token: String,
    /// How long it lives, in seconds.
    #[serde(default = "default_lifetime")]
    pub expires_in: u64,
    /// When it was made, in RFC 3339 form, UTC.
    #[serde(default)]
    pub issued_at: String,
    /// What was granted, as a list of scopes; it may be less than was asked for.
    #[serde(default)]
    pub scope: String,
    /// The identity token, only when it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
}

const fn default_lifetime() -> u64 {
    DEFAULT_LIFETIME
}

impl TokenResponse {
    /// The token, under whichever name it was sent; none if the answer has none.
    pub fn bearer(&self) -> Option<&str> {
        [&self.token, &self.access_token].into_iter().find(|token| !token.is_empty()).map(String::as_str)
    }
}

/// Tokens are not printed.
impl fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenResponse")
            .field("expires_in", &self.expires_in)
            .field("issued_at", &self.issued_at)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn response() -> TokenResponse {
        TokenResponse {
            token: "aaa.bbb.ccc".into(),
            access_token: "aaa.bbb.ccc".into(),
            expires_in: 300,
            issued_at: "2026-08-06T06:26:40Z".into(),
            scope: "repository:acme/web:pull".into(),
            refresh_token: None,
        }
    }

    #[test]
    fn the_identity_token_is_a_member_only_when_there_is_one() {
        let text = concat!(
            r#"{"token":"aaa.bbb.ccc","access_token":"aaa.bbb.ccc","expires_in":300,"#,
            r#""issued_at":"2026-08-06T06:26:40Z","scope":"repository:acme/web:pull"}"#
        );
        assert_eq!(serde_json::to_string(&response()).unwrap(), text);
        let offline = TokenResponse { refresh_token: Some("portreeve_idt_x".into()), ..response() };
        let text = text.replace('}', r#","refresh_token":"portreeve_idt_x"}"#);
        assert_eq!(serde_json::to_string(&offline).unwrap(), text);
        assert_eq!(serde_json::from_str::<TokenResponse>(&text).unwrap(), offline);
    }

    #[test]
    fn strangers_send_less_and_more() {
        let read = |text| serde_json::from_str::<TokenResponse>(text).unwrap();
        assert_eq!(read(r#"{"token":"t"}"#).bearer(), Some("t"));
        assert_eq!(read(r#"{"token":"t"}"#).expires_in, DEFAULT_LIFETIME);
        assert_eq!(read(r#"{"access_token":"a","token_type":"Bearer"}"#).bearer(), Some("a"));
        assert_eq!(read("{}").bearer(), None);
        assert!(serde_json::from_str::<TokenResponse>(r#"{"token":1}"#).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            token in "\\PC*",
            access_token in "\\PC*",
            expires_in: u64,
            issued_at in "\\PC*",
            scope in "\\PC*",
            refresh_token in proptest::option::of("\\PC*"),
        ) {
            let response = TokenResponse { token, access_token, expires_in, issued_at, scope, refresh_token };
            let text = serde_json::to_string(&response).unwrap();
            prop_assert_eq!(serde_json::from_str::<TokenResponse>(&text).unwrap(), response);
        }
    }

    #[test]
    fn no_token_is_printed() {
        let printed = format!("{:?}", TokenResponse { refresh_token: Some("portreeve_idt_x".into()), ..response() });
        assert!(!printed.contains("aaa") && !printed.contains("idt"), "{printed}");
    }
}
