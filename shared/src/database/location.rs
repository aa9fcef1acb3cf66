//! Where a database is.

use std::{fmt, path::PathBuf, str::FromStr};

use url::Url;

use crate::secret::Secret;

/// Where a database is. Printing it shows no password.
#[derive(Clone, Debug)]
pub enum Location {
    /// A file, made if it is missing, with `-wal` and `-shm` files beside it.
    Sqlite {
        /// The file.
        path: PathBuf,
    },
    /// A schema of a PostgreSQL database.
    Postgres {
        /// `postgres://user:password@host:port/database?sslmode=…`
        url: Secret<String>,
        /// The schema, made if it is missing; each service has its own.
        schema: Schema,
    },
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite { path } => path.display().fmt(f),
            Self::Postgres { url, schema } => match Url::parse(url.expose()) {
                Ok(url) => {
                    let (host, port) = (url.host_str().unwrap_or_default(), url.port().unwrap_or(5432));
                    write!(f, "postgres://{host}:{port}{} (schema {schema})", url.path())
                }
                Err(_) => write!(f, "postgres (schema {schema})"),
            },
        }
    }
}

/// The name of a PostgreSQL schema: lower-case letters, digits and `_`, not beginning with a digit or `pg_`, at most 63 bytes.
///
/// Narrower than what PostgreSQL takes, so that the name means the same quoted and unquoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema(String);

impl Schema {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text is not the name of a schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a schema name (lower-case letters, digits and _, at most 63, not beginning with a digit or pg_): {0:?}")]
pub struct InvalidSchema(String);

impl FromStr for Schema {
    type Err = InvalidSchema;

    fn from_str(text: &str) -> Result<Self, InvalidSchema> {
        let shaped = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        let begins = !text.starts_with(|first: char| first.is_ascii_digit()) && !text.starts_with("pg_");
        if shaped && begins && !text.is_empty() && text.len() <= 63 {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidSchema(text.to_owned()))
        }
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_location_is_printed_without_its_password() {
        let location = Location::Postgres {
            url: "postgres://portreeve:hunter2@db.example:5433/images?sslmode=require".into(),
            schema: "registry".parse().unwrap(),
        };
        assert_eq!(location.to_string(), "postgres://db.example:5433/images (schema registry)");
        assert!(!format!("{location:?}").contains("hunter2"));
    }

    #[test]
    fn schema_names_are_plain() {
        for name in ["registry", "auth_2", "_x", &"a".repeat(63)] {
            assert_eq!(name.parse::<Schema>().map(|schema| schema.to_string()), Ok(name.to_owned()));
        }
        for name in ["", "Registry", "a-b", "a\"b", "1a", "pg_temp", &"a".repeat(64)] {
            assert!(name.parse::<Schema>().is_err(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(text in "[a-z_][a-z0-9_]{0,62}") {
            prop_assume!(!text.starts_with("pg_"));
            let schema: Schema = text.parse().unwrap();
            prop_assert_eq!(schema.to_string(), text);
        }

        /// A schema stands in statements as text: nothing that PostgreSQL would read differently gets there.
        #[test]
        fn what_is_read_means_the_same_unquoted(text in "[a-zA-Z0-9_\"';. -]{0,66}|pg_[a-z]{0,3}|.{0,70}") {
            if let Ok(schema) = text.parse::<Schema>() {
                prop_assert_eq!(schema.as_str(), &text);
                prop_assert!((1..=63).contains(&text.len()) && !text.starts_with("pg_"));
                let (first, rest) = (text.as_bytes()[0], &text.as_bytes()[1..]);
                prop_assert!(first == b'_' || first.is_ascii_lowercase());
                prop_assert!(rest.iter().all(|b| matches!(b, b'_' | b'0'..=b'9' | b'a'..=b'z')));
            }
        }
    }
}
