//! What the audit's chain is made of, without a database: how rows hang together, and what a checkpoint's signature says.
//!
//! Row `n` carries `SHA-256(hash of row n-1 ‖ body of row n)`; before the first row stand 32 zero bytes. A checkpoint is the
//! number and the hash of the last row of a batch, signed with Ed25519 (RFC 8032). So whoever has the public key and the newest
//! checkpoint knows whether anything before it was changed, without asking this server.

use std::fmt;

use ring::{
    digest,
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use serde::{Deserialize, Serialize};
use shared::{clock::Timestamp, secret::Secret};
use utoipa::ToSchema;

use super::EventName;
use crate::accounts::stored::stored_words;

/// The hash that a row carries: everything up to it, in 32 bytes. Written in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(value_type = String)]
pub struct Link([u8; 32]);

impl Link {
    /// What stands before the first row.
    pub const START: Self = Self([0; 32]);

    /// The hash of a row with this body behind this one.
    #[must_use]
    pub fn then(self, body: &str) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&self.0);
        context.update(body.as_bytes());
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        Self(hash)
    }

    /// As it is stored; None if that is no hash.
    #[must_use]
    pub fn stored(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// As it is stored.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A hash or a key is not written as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not bytes in hexadecimal")]
pub struct NotHex;

impl std::str::FromStr for Link {
    type Err = NotHex;

    fn from_str(text: &str) -> Result<Self, NotHex> {
        from_hex(text).and_then(|bytes| Self::stored(&bytes)).ok_or(NotHex)
    }
}

impl Serialize for Link {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Link {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

stored_words! {
    /// How long a batch of events is kept.
    Kept {
        /// As changes of accounts, grants and keys are: for good, unless the settings say otherwise.
        Long = "long",
        /// As tokens and failed logins are: for weeks.
        Short = "short",
    }
}

impl Kept {
    /// How long events of this name are kept. A batch has events of one kind, so that it can go as a whole.
    #[must_use]
    pub const fn of(event: EventName) -> Self {
        match event {
            EventName::TokenIssued | EventName::TokenReduced | EventName::LoginFailed => Self::Short,
            _ => Self::Long,
        }
    }
}

/// The end of a batch, signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// The number of the batch's first row.
    pub first: i64,
    /// The number of its last.
    pub last: i64,
    /// The hash that the last row carries.
    pub hash: Link,
    /// How long its rows are kept.
    pub kept: Kept,
    /// When it was sealed.
    pub at: Timestamp,
    /// The signature of its statement.
    pub signature: Signature,
    /// That its rows have been removed, signed too: whoever removes rows and has no key cannot say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed: Option<Removed>,
}

/// That rows were removed because their time was over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RowsRemoved)]
pub struct Removed {
    /// The number of the first: that of this batch, or of an earlier one whose checkpoint this has replaced.
    pub first: i64,
    /// When.
    pub at: Timestamp,
    /// The signature of its removal.
    pub signature: Signature,
}

impl Checkpoint {
    /// What is signed.
    #[must_use]
    pub fn statement(first: i64, last: i64, hash: Link, kept: Kept, at: Timestamp) -> String {
        let at = at.rfc3339();
        format!("portreeve audit checkpoint 1\nfirst {first}\nlast {last}\nhash {hash}\nkept {kept}\nat {at}\n")
    }

    /// What is signed when the rows from `first` to `last` are removed.
    #[must_use]
    pub fn removal(first: i64, last: i64, hash: Link, at: Timestamp) -> String {
        format!("portreeve audit removal 1\nfirst {first}\nlast {last}\nhash {hash}\nat {}\n", at.rfc3339())
    }

    /// Whether one of these keys signed it, and the removal that it speaks of.
    #[must_use]
    pub fn is_signed_by(&self, keys: &[PublicKey]) -> bool {
        let Self { first, last, hash, kept, at, .. } = *self;
        let signed = |statement: &str, signature: &Signature| keys.iter().any(|key| key.verifies(statement, signature));
        let removal =
            |removed: &Removed| signed(&Self::removal(removed.first, last, hash, removed.at), &removed.signature);
        signed(&Self::statement(first, last, hash, kept, at), &self.signature)
            && self.removed.as_ref().is_none_or(removal)
    }
}

/// An Ed25519 signature. Written in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, ToSchema)]
#[schema(value_type = String)]
pub struct Signature(pub(crate) Vec<u8>);

/// A public key of Ed25519. Written in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, ToSchema)]
#[schema(value_type = String)]
pub struct PublicKey(Vec<u8>);

impl PublicKey {
    fn verifies(&self, statement: &str, signature: &Signature) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(statement.as_bytes(), &signature.0).is_ok()
    }
}

macro_rules! written_in_hexadecimal {
    ($($name:ident)+) => { $(
        impl std::str::FromStr for $name {
            type Err = NotHex;

            fn from_str(text: &str) -> Result<Self, NotHex> {
                from_hex(text).map(Self).ok_or(NotHex)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex(&self.0))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )+ };
}

written_in_hexadecimal! { Signature PublicKey }

/// Signs checkpoints. It is made from the master key, so all processes over one database have the same and none stores it.
pub struct CheckpointKey(Ed25519KeyPair);

impl CheckpointKey {
    /// The key of this seed.
    #[must_use]
    #[expect(clippy::expect_used, reason = "every 32 bytes are a seed")]
    pub fn from_seed(seed: &Secret<[u8; 32]>) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(seed.expose()).expect("32 bytes"))
    }

    /// What a stranger checks its signatures with.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.public_key().as_ref().to_vec())
    }

    /// Ends a batch.
    #[must_use]
    pub fn seal(&self, first: i64, last: i64, hash: Link, kept: Kept, at: Timestamp) -> Checkpoint {
        let signature = self.sign(&Checkpoint::statement(first, last, hash, kept, at));
        Checkpoint { first, last, hash, kept, at, signature, removed: None }
    }

    /// Says that the rows from `first` to the checkpoint's last were removed.
    #[must_use]
    pub fn remove(&self, checkpoint: &Checkpoint, first: i64, at: Timestamp) -> Removed {
        let signature = self.sign(&Checkpoint::removal(first, checkpoint.last, checkpoint.hash, at));
        Removed { first, at, signature }
    }

    fn sign(&self, statement: &str) -> Signature {
        Signature(self.0.sign(statement.as_bytes()).as_ref().to_vec())
    }
}

impl fmt::Debug for CheckpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CheckpointKey").field(&self.public()).finish()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let value = |digit: u8| char::from(digit).to_digit(16).filter(|_| !digit.is_ascii_uppercase());
    let digits = text.as_bytes().chunks_exact(2);
    if !digits.remainder().is_empty() {
        return None;
    }
    digits.map(|pair| Some(((value(pair[0])? << 4) | value(pair[1])?) as u8)).collect()
}
