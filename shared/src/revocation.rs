//! The revocation feed: what auth tells registries about tokens that must not be believed to their end.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// One row of the feed. It concerns tokens made before it: those whose epoch is less than `seq`.
///
/// On the wire `{"seq":7,"kind":"principal","id":17,"until":"2026-11-21T13:12:01Z"}`; the id of a namespace or a leaf is
/// text, and `everyone` has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// The value that the revocation counter took with this row. The feed has no gaps, and no row comes late.
    pub seq: u64,
    /// Whose tokens are refused.
    #[serde(flatten)]
    pub subject: Revoked,
    /// When the last token that the row can concern has expired: the row may be forgotten then.
    pub until: Timestamp,
}

/// Whose tokens a row refuses.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", content = "id", rename_all = "lowercase")]
pub enum Revoked {
    /// Those made with one stored secret, by its id (`cid`).
    Credential(i64),
    /// Those of one user or robot, by its id (`pid`).
    Principal(i64),
    /// Nobody's as such: operations in the namespace of this name are refused.
    Namespace(String),
    /// Those signed by the leaf certificate with this key id.
    Leaf(String),
    /// All.
    Everyone,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_written_as_the_feed_says() {
        let table = [
            (Revoked::Credential(42), r#"{"seq":7,"kind":"credential","id":42,"until":"2026-11-21T13:12:01Z"}"#),
            (Revoked::Principal(17), r#"{"seq":7,"kind":"principal","id":17,"until":"2026-11-21T13:12:01Z"}"#),
            (
                Revoked::Namespace("acme".into()),
                r#"{"seq":7,"kind":"namespace","id":"acme","until":"2026-11-21T13:12:01Z"}"#,
            ),
            (Revoked::Leaf("kid".into()), r#"{"seq":7,"kind":"leaf","id":"kid","until":"2026-11-21T13:12:01Z"}"#),
            (Revoked::Everyone, r#"{"seq":7,"kind":"everyone","until":"2026-11-21T13:12:01Z"}"#),
        ];
        for (subject, json) in table {
            let row = Revocation { seq: 7, subject, until: "2026-11-21T13:12:01Z".parse().unwrap() };
            assert_eq!(serde_json::to_string(&row).unwrap(), json);
            assert_eq!(serde_json::from_str::<Revocation>(json).unwrap(), row);
        }
    }

    #[test]
    fn a_row_that_cannot_be_understood_is_an_error_and_never_skipped() {
        for json in [
            r#"{"seq":7,"kind":"galaxy","id":1,"until":"2026-11-21T13:12:01Z"}"#,
            r#"{"seq":7,"kind":"credential","id":"42","until":"2026-11-21T13:12:01Z"}"#,
            r#"{"seq":7,"kind":"credential","until":"2026-11-21T13:12:01Z"}"#,
            r#"{"seq":-1,"kind":"everyone","until":"2026-11-21T13:12:01Z"}"#,
            r#"{"seq":7,"kind":"everyone"}"#,
        ] {
            assert!(serde_json::from_str::<Revocation>(json).is_err(), "{json}");
        }
    }
}
