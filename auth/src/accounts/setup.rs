//! The whole setup as one document: accounts without their secrets, namespaces with teams, robots and grants, guardrails.
//!
//! [`Current`] is what there is, read in one statement. [`Document`] is what somebody wants there to be. [`difference()`] compares the two
//! and says the [`Step`]s from one to the other, or which line of the document makes no sense; it is pure. One operation reads, compares
//! again and makes every step by the operations that the single commands use, so each has its audit event and its row in the
//! revocation feed; either all of it commits, or nothing does.

mod apply;
mod current;
mod difference;
mod document;
mod export;
mod rules;
mod steps;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared::settings::Place;
use utoipa::ToSchema;

use super::{Accounts, Error};
use crate::audit::Actor;
pub use current::Current;
pub use difference::{Difference, MAX_STEPS, difference};
pub use document::{
    Document, GrantPart, GuardrailPart, KeyPart, MappingPart, NamespacePart, Parts, RobotPart, Standing, SubjectName,
    TeamPart, UserPart,
};
pub use steps::{Line, Step, Verb};

/// How a document is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mode {
    /// What becomes of what there is and the document does not have.
    pub missing: Missing,
    /// What becomes of what there is and the document has otherwise.
    pub existing: Existing,
}

/// What becomes of what there is and the document does not have, in those lists that the document has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = SetupMissing)]
pub enum Missing {
    /// It stays, and is named.
    #[default]
    Keep,
    /// It is removed.
    Remove,
}

/// What becomes of what there is and the document has otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = SetupExisting)]
pub enum Existing {
    /// It becomes what the document says.
    #[default]
    Change,
    /// It stays as it is, and is named. Imports add, and overwrite nothing.
    Keep,
}

/// A line of a document that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct Unfit {
    /// Where it stands.
    pub place: Place,
    /// What is wrong with it, as a sentence.
    pub reason: String,
}

/// What the secrets of a document are stored as, by the name of their file.
#[derive(Debug, Clone, Default)]
pub struct Verifiers {
    /// Robots' keys.
    pub keys: BTreeMap<String, KeyVerifier>,
    /// Passwords, hashed. Only those that are needed; a hash takes its time.
    pub passwords: BTreeMap<String, String>,
}

/// What a chosen key is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyVerifier {
    /// The HMAC.
    pub verifier: String,
    /// The master key it hangs on.
    pub master_id: String,
    /// What it would be under an earlier master key that still lives: keys that were made under that are these.
    pub earlier: Vec<String>,
}

impl KeyVerifier {
    pub(super) fn is(&self, stored: &str) -> bool {
        self.verifier == stored || self.earlier.iter().any(|earlier| earlier == stored)
    }
}

/// What is to be applied.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The document.
    pub document: Document,
    /// How it is taken.
    pub mode: Mode,
    /// Its secrets.
    pub verifiers: Verifiers,
    /// The fingerprint of the difference that somebody has seen and agreed to; None if nobody looked.
    pub seen: Option<String>,
}

impl Accounts {
    /// What there is now.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn setup(&self) -> Result<Current, Error> {
        let mut reader = self.database.reader().await?;
        Ok(current::read(&mut reader, self.clock.now()).await?)
    }

    /// Makes there be what is wanted, all of it or nothing.
    ///
    /// # Errors
    /// [`Refusal::SetupUnfit`](super::Refusal::SetupUnfit), [`Refusal::SetupChanged`](super::Refusal::SetupChanged), and what the steps refuse.
    pub async fn apply(&self, actor: &Actor, wanted: Wanted) -> Result<Difference, Error> {
        let made = self.change(apply::Apply { actor: actor.clone(), wanted }).await;
        self.costs.forget();
        made
    }
}
