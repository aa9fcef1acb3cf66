//! Closed sets that are stored as words.

use thiserror::Error;

/// A column holds a word that this version does not know: a newer version wrote it, or somebody's hand.
#[derive(Debug, Error)]
#[error("the database holds an unknown {set}: {word:?}")]
pub struct UnknownWord {
    /// The set that was read.
    pub set: &'static str,
    /// What stood there.
    pub word: String,
}

impl From<UnknownWord> for sqlx::Error {
    fn from(unknown: UnknownWord) -> Self {
        Self::Decode(Box::new(unknown))
    }
}

/// A column holds a text that its type does not take.
pub(crate) fn undecodable(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

/// Declares an enum whose values are stored and served as words, with `word()`, `FromStr`, `Display` and serde.
macro_rules! stored_words {
    ($(#[$meta:meta])* $set:ident { $($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $set {
            $($(#[$doc])* #[serde(rename = $word)] $variant),+
        }

        impl $set {
            /// Each of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word that is stored and served.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }

        impl std::str::FromStr for $set {
            type Err = $crate::accounts::stored::UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::accounts::stored::UnknownWord { set: stringify!($set), word: word.to_owned() }),
                }
            }
        }

        impl std::fmt::Display for $set {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }

        // Its derive takes a literal's place in a macro for no name.
        impl utoipa::PartialSchema for $set {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                shared::openapi::words([$($word),+])
            }
        }

        impl utoipa::ToSchema for $set {}
    };
}

/// Declares a number that names a row, so that one table's id cannot be passed for another's.
macro_rules! row_id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

pub(crate) use {row_id, stored_words};
