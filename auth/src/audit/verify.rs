//! Whether a trail is whole: rows and checkpoints go through in their order, and the first that is not as it was sealed is named.
//!
//! It is a pure walk. The command feeds it from a server, a stranger from an exported file.

#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};
use shared::clock::Timestamp;
use thiserror::Error;
use utoipa::ToSchema;

use super::{
    EventName,
    chain::{Checkpoint, Link, PublicKey},
};

/// One line of a trail: a row, or the checkpoint behind the last row of its batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = TrailLine)]
pub enum Line {
    /// A sealed event.
    Row(Row),
    /// The end of a batch.
    Checkpoint(Checkpoint),
}

/// A sealed event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SealedEvent)]
pub struct Row {
    /// Its number.
    pub seq: i64,
    /// The hash that it carries.
    pub hash: Link,
    /// What is hashed, byte for byte.
    pub body: String,
    /// The column beside the body that says something else than the body does. Lists are read by columns, so that would be a lie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differs: Option<String>,
}

/// The last row that somebody outside the database knows to have been sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Its number.
    pub seq: i64,
    /// Its hash.
    pub hash: Link,
}

/// `NUMBER:HASH`, as it is told and kept.
impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

impl std::str::FromStr for Head {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let head = text.split_once(':').and_then(|(seq, hash)| Some((seq.parse().ok()?, hash.parse().ok()?)));
        let (seq, hash) = head.ok_or_else(|| format!("{text:?} is not NUMBER:HASH, as verify prints it"))?;
        Ok(Self { seq, hash })
    }
}

/// Where a trail is not as it was sealed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Break {
    /// Rows are gone, and no signed removal speaks of them.
    #[error("events {from} to {to} are missing")]
    Missing {
        /// The first.
        from: i64,
        /// The last.
        to: i64,
    },
    /// The body or the hash was changed, or another row was put in its place.
    #[error("event {seq} is not what was sealed: it was changed, put in or moved")]
    Changed {
        /// Which.
        seq: i64,
    },
    /// A column says something else than what was sealed.
    #[error("event {seq} is listed under another {column} than was sealed")]
    Relabelled {
        /// Which.
        seq: i64,
        /// The column.
        column: String,
    },
    /// A row that no checkpoint covers. Anybody can compute a hash.
    #[error(
        "events {from} to {to} are numbered, and no checkpoint is signed for them: they were put in, or their checkpoint was removed"
    )]
    Unsigned {
        /// The first.
        from: i64,
        /// The last.
        to: i64,
    },
    /// The signature is not by a key of this server.
    #[error("the checkpoint at {seq} is forged: none of the keys signed it")]
    Forged {
        /// Its number.
        seq: i64,
    },
    /// The checkpoint is genuine and belongs to other rows.
    #[error("the checkpoint at {seq} is about other events than stand before it")]
    Misplaced {
        /// Its number.
        seq: i64,
    },
    /// What is here ends before what is known to have been sealed.
    #[error("the end is missing: events up to {to} are known to have been sealed, and the trail ends at {from}")]
    Truncated {
        /// The last that is here.
        from: i64,
        /// The last that is known.
        to: i64,
    },
    /// The whole trail was sealed anew.
    #[error("event {seq} is known with another hash: the trail was sealed anew")]
    Resealed {
        /// Which.
        seq: i64,
    },
    /// The server itself has found its trail shorter than it knew, and said so.
    #[error(
        "the server says at event {seq} that sealed events had been lost: what came before was cut off, or restored from a backup (accept it with --accept {seq})"
    )]
    Lost {
        /// The event that says so.
        seq: i64,
    },
}

/// What a whole trail came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Whole {
    /// Events that were read and are as they were sealed.
    pub events: u64,
    /// Checkpoints.
    pub checkpoints: u64,
    /// Events that were removed because their time was over.
    pub removed: i64,
    /// The last row's number and hash: to be kept elsewhere, and shown to the next verification.
    pub head: Option<Head>,
    /// When the last checkpoint was signed.
    pub sealed_at: Option<Timestamp>,
    /// What is known from elsewhere and nothing here speaks for or against: the rows were removed, and so was the checkpoint that ended
    /// with them, because removed neighbours share the last one.
    pub passed_over: Vec<Head>,
}

/// Walks through a trail.
#[derive(Debug)]
pub struct Verifier {
    keys: Vec<PublicKey>,
    /// What is known from elsewhere and was not come to yet.
    known: Vec<Head>,
    accepted: Vec<i64>,
    /// The last row, or the last one that a removal speaks of.
    at: Head,
    /// The last row that a checkpoint covers.
    covered: i64,
    found: Whole,
}

impl Verifier {
    /// With the keys that may sign, and what is known from elsewhere. Events in `accepted` may say that the end was lost.
    #[must_use]
    pub fn new(keys: Vec<PublicKey>, known: Vec<Head>, accepted: Vec<i64>) -> Self {
        let at = Head { seq: 0, hash: Link::START };
        Self { keys, known, accepted, at, covered: 0, found: Whole::default() }
    }

    /// Takes the next line.
    ///
    /// # Errors
    /// The trail breaks here.
    pub fn take(&mut self, line: &Line) -> Result<(), Break> {
        match line {
            Line::Row(row) => self.row(row),
            Line::Checkpoint(checkpoint) => self.checkpoint(checkpoint),
        }
    }

    fn row(&mut self, row: &Row) -> Result<(), Break> {
        self.follows(row.seq)?;
        let seq = row.seq;
        if self.at.hash.then(&row.body) != row.hash {
            return Err(Break::Changed { seq });
        }
        if let Some(column) = row.differs.clone() {
            return Err(Break::Relabelled { seq, column });
        }
        self.arrive(Head { seq, hash: row.hash })?;
        self.found.events += 1;
        if says_lost(&row.body) && !self.accepted.contains(&seq) {
            return Err(Break::Lost { seq });
        }
        Ok(())
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), Break> {
        let seq = checkpoint.last;
        if !checkpoint.is_signed_by(&self.keys) {
            return Err(Break::Forged { seq });
        }
        match &checkpoint.removed {
            Some(removed) => {
                self.covers_up_to(removed.first - 1, seq)?;
                self.follows(removed.first)?;
                self.found.removed += seq - removed.first + 1;
                self.arrive(Head { seq, hash: checkpoint.hash })?;
            }
            None => {
                self.covers_up_to(checkpoint.first - 1, seq)?;
                if self.at.seq < seq {
                    return Err(Break::Missing { from: self.at.seq + 1, to: seq });
                }
            }
        }
        if self.at != (Head { seq, hash: checkpoint.hash }) {
            return Err(Break::Misplaced { seq });
        }
        self.covered = seq;
        self.found.checkpoints += 1;
        self.found.sealed_at = Some(checkpoint.at);
        Ok(())
    }

    /// Whether `seq` is the next number.
    fn follows(&self, seq: i64) -> Result<(), Break> {
        let next = self.at.seq + 1;
        match seq {
            _ if seq == next => Ok(()),
            _ if seq > next => Err(Break::Missing { from: next, to: seq - 1 }),
            _ => Err(Break::Misplaced { seq }),
        }
    }

    /// Whether checkpoints reach to the row before the batch that ends at `seq`, and no farther.
    fn covers_up_to(&self, before: i64, seq: i64) -> Result<(), Break> {
        if before < self.covered {
            return Err(Break::Misplaced { seq });
        }
        if before > self.covered && self.at.seq > self.covered {
            return Err(Break::Unsigned { from: self.covered + 1, to: before.min(self.at.seq) });
        }
        Ok(())
    }

    /// Goes on to a row, and compares it with what is known of it.
    fn arrive(&mut self, head: Head) -> Result<(), Break> {
        self.at = head;
        let is_another = |known: &Head| known.seq == head.seq && known.hash != head.hash;
        if self.known.iter().any(is_another) {
            return Err(Break::Resealed { seq: head.seq });
        }
        self.known.retain(|known| *known != head);
        Ok(())
    }

    /// Ends the walk. What is known and was not come to is told: it is no proof of anything.
    ///
    /// # Errors
    /// What is here is not all that there was, or not all of it is signed.
    pub fn end(mut self) -> Result<Whole, Break> {
        let Head { seq, .. } = self.at;
        if seq > self.covered {
            return Err(Break::Unsigned { from: self.covered + 1, to: seq });
        }
        if let Some(to) = self.known.iter().map(|known| known.seq).filter(|known| *known > seq).max() {
            return Err(Break::Truncated { from: seq, to });
        }
        self.found.head = (seq > 0).then_some(self.at);
        self.found.passed_over = self.known;
        Ok(self.found)
    }
}

fn says_lost(body: &str) -> bool {
    #[derive(Deserialize)]
    struct Named {
        event: String,
    }
    let word = EventName::EndLost.word();
    body.contains(word) && serde_json::from_str::<Named>(body).is_ok_and(|named| named.event == word)
}
