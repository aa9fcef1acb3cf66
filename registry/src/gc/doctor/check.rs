//! The checks, in the order in which a run makes them.

use std::{fmt, time::Duration};

use serde::Serialize;
use shared::clock::Timestamp;
use utoipa::ToSchema;

use super::{Depth, Doctor, Error, Fault, Rate};
use crate::metadata::{
    examine::{
        self, Position, Range, Table,
        fault::{KeyOf, Reference},
        links, manifests, tags, usage,
    },
    links::PROMISE_LIFE,
};

/// One walk through one table, or through the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Every blob's row: its file is there with its size (I1), a repository links it (I4), its digest is one and its own (I5), its key is no upload's and
    /// not in the trash (I6).
    Blobs,
    /// Every file that no row of an upload, a blob or the trash knows (I2).
    Strays,
    /// Every manifest: its payload is there and hashes to its digest (I1); the rows of what it names, its subject and its type are what the payload says
    /// (I3, I12); a living one's config and layers are linked in its repository (I3); it can expire exactly while nothing holds it.
    Manifests,
    /// Every reference to a blob belongs to a manifest of its repository (I3).
    NamedBlobs,
    /// Every entry of an index belongs to a manifest of its repository (I3).
    NamedChildren,
    /// Every link: its blob (I4) and its repository (I9) are there, no promise is longer than promises are (I7), and it can expire unless a manifest of
    /// its repository names the blob.
    Links,
    /// Every tag points at a living manifest (I8) of its repository (I9), and has a history from 1 to its version that ends where it points (I8).
    Tags,
    /// Every history has its tag (I8).
    Histories,
    /// Everything that manifests name as their subject: what is answered about its referrers is what payloads say (I12).
    Referrers,
    /// The same for what only lists under referrers tags speak of (I12).
    ListedReferrers,
    /// Every upload of this boot: its file has what it received, and the state of its hash is behind as many bytes (I11); its key is not in the trash (I6).
    Uploads,
    /// Every blob that a namespace is said to hold is linked by as many of its repositories (I10).
    Shares,
    /// Every namespace: the bytes of its blobs and manifests, and what its uploads reserve, are those that it is said to use (I10).
    Namespaces,
    /// What memory answers about blobs, tags and manifests is what the tables say (I9). Only a process that serves remembers anything.
    Memory,
    /// With `--deep`: every blob's bytes hash to its digest, those first that nobody has hashed for longest (I1).
    Bytes,
}

/// What a run is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit {
    pub(super) depth: Depth,
    /// When it began. What was verified since is not verified again.
    pub(super) begun: Timestamp,
    /// How much of the machine it may take.
    pub(super) rate: Rate,
}

/// What a look at a page came to.
pub(super) struct Looked {
    pub(super) faults: Vec<Fault>,
    /// Where the next page begins; None at the end.
    pub(super) upto: Option<Position>,
    /// How much was looked at.
    pub(super) rows: u64,
    /// How many bytes were read since the last rest.
    pub(super) bytes: u64,
    /// How long it rested on the way.
    pub(super) rested: Duration,
}

impl Looked {
    pub(super) const END: Self = Self { faults: Vec::new(), upto: None, rows: 0, bytes: 0, rested: Duration::ZERO };
}

/// How many rows a page has.
const ROWS: i64 = 500;

/// Each namespace is a sum over what it holds.
const NAMESPACES: i64 = 8;

/// Each manifest is read with its payload.
const MANIFESTS: i64 = 100;

/// Each subject is read with the payloads of its referrers.
const SUBJECTS: i64 = 20;

/// How much further ahead than the longest promise a time may be: clocks of several machines differ, and are set.
const SLACK: Duration = Duration::from_secs(24 * 60 * 60);

impl Check {
    /// All of them. What a repair lets go or finds missing is looked at behind it: links before manifests, those before blobs, blobs before files, and what
    /// is counted after what it is counted from.
    pub const ALL: [Self; 15] = [
        Self::Links,
        Self::NamedBlobs,
        Self::NamedChildren,
        Self::Manifests,
        Self::Blobs,
        Self::Strays,
        Self::Tags,
        Self::Histories,
        Self::Referrers,
        Self::ListedReferrers,
        Self::Uploads,
        Self::Shares,
        Self::Namespaces,
        Self::Memory,
        Self::Bytes,
    ];

    /// Those of a run.
    pub(super) fn of(depth: Depth) -> &'static [Self] {
        match depth {
            Depth::Sizes => &Self::ALL[..Self::ALL.len() - 1],
            Depth::Deep => &Self::ALL,
        }
    }

    /// Its name in rows and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blobs => "blobs",
            Self::Strays => "strays",
            Self::Manifests => "manifests",
            Self::NamedBlobs => "named_blobs",
            Self::NamedChildren => "named_children",
            Self::Links => "links",
            Self::Tags => "tags",
            Self::Histories => "histories",
            Self::Referrers => "referrers",
            Self::ListedReferrers => "listed_referrers",
            Self::Uploads => "uploads",
            Self::Shares => "shares",
            Self::Namespaces => "namespaces",
            Self::Memory => "memory",
            Self::Bytes => "bytes",
        }
    }

    /// The check of this name; None if another release had it.
    pub(super) fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|check| check.as_str() == text)
    }

    const fn table(self) -> Option<(Table, i64)> {
        Some(match self {
            Self::Blobs => (Table::Blobs, ROWS),
            Self::Manifests => (Table::Manifests, MANIFESTS),
            Self::NamedBlobs => (Table::NamedBlobs, ROWS),
            Self::NamedChildren => (Table::NamedChildren, ROWS),
            Self::Links => (Table::Links, ROWS),
            Self::Tags | Self::ListedReferrers => (Table::Tags, ROWS),
            Self::Referrers => (Table::Subjects, SUBJECTS),
            Self::Histories => (Table::Histories, ROWS),
            Self::Uploads => (Table::Uploads, ROWS),
            Self::Shares => (Table::Shares, ROWS),
            Self::Namespaces => (Table::Namespaces, NAMESPACES),
            Self::Strays | Self::Memory | Self::Bytes => return None,
        })
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Doctor {
    /// Looks at the page behind `after`, and again at a page in which something seems wrong.
    pub(super) async fn look(&self, check: Check, after: &Position, visit: Visit) -> Result<Looked, Error> {
        let Some((table, limit)) = check.table() else { return self.look_beside_tables(check, after, visit).await };
        let range = examine::page(&mut self.metadata.read().await?, table, after, limit).await?;
        let Some(range) = range else { return Ok(Looked::END) };
        let mut faults = self.faults(check, &range, visit).await?;
        if !faults.is_empty() {
            let again = self.faults(check, &range, visit).await?;
            faults = again.into_iter().filter(|fault| faults.iter().any(|first| first.is_again(fault))).collect();
        }
        Ok(Looked { faults, rows: range.rows, upto: Some(range.upto), ..Looked::END })
    }

    async fn look_beside_tables(&self, check: Check, after: &Position, visit: Visit) -> Result<Looked, Error> {
        match check {
            Check::Strays => self.strays(after).await,
            Check::Bytes => self.hash_stalest(after, visit).await,
            _ => self.memory().await,
        }
    }

    /// What is wrong with a page at this moment.
    async fn faults(&self, check: Check, range: &Range, visit: Visit) -> Result<Vec<Fault>, Error> {
        let mut reader = self.metadata.read().await?;
        let farthest = self.clock.now() + PROMISE_LIFE + SLACK;
        Ok(match check {
            Check::Links => links::wrong(&mut reader, range, farthest).await?,
            Check::NamedBlobs => manifests::orphaned(&mut reader, range, Reference::Blob).await?,
            Check::NamedChildren => manifests::orphaned(&mut reader, range, Reference::Child).await?,
            Check::Tags => tags::wrong(&mut reader, range).await?,
            Check::Histories => tags::without_tag(&mut reader, range).await?,
            Check::Shares => usage::wrong_shares(&mut reader, range).await?,
            Check::Namespaces => usage::wrong(&mut reader, range).await?,
            Check::Manifests => {
                drop(reader);
                self.manifests(range).await?
            }
            Check::Referrers => {
                drop(reader);
                self.referrers(range).await?
            }
            Check::ListedReferrers => {
                drop(reader);
                self.listed_referrers(range).await?
            }
            Check::Uploads => {
                drop(reader);
                self.uploads(range, visit).await?
            }
            Check::Blobs | Check::Strays | Check::Memory | Check::Bytes => {
                drop(reader);
                self.blobs(range, visit.depth).await?
            }
        })
    }
}

/// A key that two rows have.
pub(super) fn key_twice(key: &str, is: KeyOf, and: KeyOf) -> Fault {
    Fault::KeyTwice { key: key.to_owned(), is, and }
}
