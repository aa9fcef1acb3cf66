//! Places where a test makes the program die, fail or wait: one at each boundary between two steps of a push, a mount, a deletion, an expiry, a
//! restoration, a repair and a collection.
//!
//! A program built with debug assertions looks into the file that `PORTREEVE_FAILPOINT` names whenever it comes to such a place. If the file says
//! `BlobInserted die`, `BlobInserted fail` or `BlobInserted wait 300` (milliseconds; it holds the thread), the first who comes there takes the file away and
//! does so. A file that is still there was never come to. In other builds `reach` is nothing, and the points have no names that could be found in it.

use shared::database::{DatabaseError, Failure};

/// Defines the points and the list of them together, so that none can be left out of it.
macro_rules! points {
    ($($(#[doc = $doc:literal])+ $point:ident,)+) => {
        /// Between which steps. Within an operation that is between two statements of a transaction; the last point of one lies before its COMMIT.
        #[derive(Clone, Copy, PartialEq, Eq)]
        #[cfg_attr(debug_assertions, derive(Debug))]
        pub enum Point {
            $($(#[doc = $doc])+ $point,)+
        }

        #[cfg(debug_assertions)]
        impl Point {
            /// Every point there is.
            pub const ALL: &[Self] = &[$(Self::$point,)+];
        }
    };
}

points! {
    /// POST of an upload: its row is there.
    UploadInserted,
    /// POST of an upload: committed.
    UploadStarted,
    /// PATCH and PUT of an upload: its writer's number is raised.
    UploadTaken,
    /// PATCH and PUT of an upload: the file is there, and empty.
    FileCreated,
    /// PATCH and PUT of an upload: the file of an earlier request is open.
    FileReopened,
    /// PATCH and PUT of an upload: bytes are in the file.
    BytesWritten,
    /// PATCH of an upload: its row says how far it has come.
    ProgressUpdated,
    /// PATCH of an upload: that is committed.
    ProgressSaved,
    /// PUT of an upload: the bytes have the digest.
    BytesVerified,
    /// PUT of an upload: what an earlier writer left behind its end is cut off.
    FileTrimmed,
    /// PUT of an upload: the file is synced, its directory is not.
    FileSynced,
    /// PUT of an upload: both are synced.
    DirectorySynced,
    /// PUT of an upload: its row is gone.
    UploadRemoved,
    /// PUT of an upload: the blob's row is there.
    BlobInserted,
    /// PUT of an upload: the link to the new blob is there.
    BlobLinked,
    /// PUT of an upload whose digest was there: its old bytes have been looked at.
    BytesLookedAt,
    /// PUT of an upload whose digest was there: the new bytes are in the trash.
    SurplusDiscarded,
    /// PUT of an upload whose digest was damaged: the row names the new bytes.
    BlobHealed,
    /// PUT of an upload whose digest was damaged: the old bytes are in the trash.
    DamageDiscarded,
    /// PUT of an upload: committed.
    BlobPushed,
    /// The end of an upload that comes to nothing: its row is gone.
    UploadEnded,
    /// DELETE of an upload: committed.
    UploadCancelled,
    /// Mount: the link is there.
    MountLinked,
    /// Mount: committed.
    BlobMounted,
    /// HEAD of a blob by a pusher: the promise is written.
    PromiseWritten,
    /// HEAD of a blob by a pusher: committed.
    PromiseGiven,
    /// PUT of a manifest: everything that it needs is locked.
    ManifestLocked,
    /// PUT of a manifest: its links have no expiry any more.
    LinksReferenced,
    /// PUT of a manifest: row, payload and references are there.
    ManifestStored,
    /// PUT of a manifest: its tags point at it.
    TagsMoved,
    /// PUT of a manifest: expiries, event and usage are written.
    ManifestCounted,
    /// PUT of a manifest: committed.
    ManifestPushed,
    /// DELETE of a tag: it points nowhere.
    TagCleared,
    /// DELETE of a tag: committed.
    TagDeleted,
    /// DELETE of a manifest: its tags point nowhere.
    ManifestUntagged,
    /// DELETE of a manifest: it is hidden, or purged.
    ManifestHidden,
    /// DELETE of a manifest: committed.
    ManifestDeleted,
    /// DELETE of a blob: the link is gone, and with the last one the blob.
    LinkRemoved,
    /// DELETE of a blob: committed.
    BlobDeleted,
    /// A read that found no bytes: the blob is marked.
    DamageMarked,
    /// Collecting links: blobs and links are locked.
    LinksLocked,
    /// Collecting links: links without a reference are gone.
    LinksDropped,
    /// Collecting links: blobs without a link are gone.
    BlobsDropped,
    /// Collecting links: the keys of those blobs are in the trash.
    TrashFilled,
    /// Collecting links: committed.
    LinksCollected,
    /// Emptying the trash: it is known whose time has come.
    TrashListed,
    /// Emptying the trash: files are gone, their directories are not synced.
    FilesUnlinked,
    /// Emptying the trash: the store is done.
    FilesDeleted,
    /// Emptying the trash: the rows are gone.
    TrashForgotten,
    /// Emptying the trash: committed.
    TrashEmptied,
    /// Expiring uploads: their rows are gone.
    UploadsDropped,
    /// Expiring uploads: committed.
    UploadsExpired,
    /// A purge: the links that the manifest held expire in a day.
    HoldsSet,
    /// A purge in steps: some of what the manifest names is not in its rows any more.
    ManifestStripped,
    /// A purge in steps: one that is not the last is committed.
    PurgeBegun,
    /// A purge: row, payload and references of the manifest are gone.
    ManifestErased,
    /// A purge: what it held is settled, usage is written.
    ManifestPurged,
    /// A purge: committed.
    PurgeCommitted,
    /// Forgetting events: their rows are gone.
    EventsErased,
    /// Forgetting events: committed.
    EventsForgotten,
    /// An upload into a namespace with a quota: its row says what it reserves, the namespace's does not.
    UploadReserves,
    /// An upload into a namespace with a quota: both say so.
    BytesReserved,
    /// The end of such an upload: what it had reserved is given back.
    ReserveReleased,
    /// A preview of lifecycle rules: its row is there.
    PreviewOpened,
    /// A preview of lifecycle rules: that is committed.
    PreviewBegun,
    /// A preview of lifecycle rules: some of what would go is written down.
    PreviewFilled,
    /// A preview of lifecycle rules: that is committed.
    PreviewKept,
    /// A preview of lifecycle rules: it says until when it counts.
    PreviewSealed,
    /// A preview of lifecycle rules: that is committed.
    PreviewMade,
    /// A run of lifecycle rules: the namespace is taken.
    RunTaken,
    /// A run of lifecycle rules: committed.
    RunBegun,
    /// Tags that go by a rule or by a pattern: they point nowhere.
    TagsRemoved,
    /// The same: manifests that have lost a tag have their expiry.
    TagsSettled,
    /// Tags that go by a rule: how far the run has come is written.
    RunAdvanced,
    /// Tags that go by a rule: committed.
    TagsExpired,
    /// An untagged manifest that goes by a rule: it is hidden.
    LooseHidden,
    /// An untagged manifest that goes by a rule: committed.
    LooseExpired,
    /// A run of lifecycle rules: its end is written.
    RunEnded,
    /// Tags that go by a pattern: committed.
    TagsDeleted,
    /// A manifest comes back: its row is as it was.
    ManifestRevived,
    /// A manifest comes back: committed.
    ManifestRestored,
    /// DELETE of a repository: nobody sees it.
    RepositoryHidden,
    /// DELETE of a repository: committed.
    RepositoryDeleted,
    /// A repository comes back: everybody sees it.
    RepositoryShown,
    /// A repository comes back: committed.
    RepositoryRestored,
    /// Purging a repository: it cannot come back any more.
    RepositoryCondemned,
    /// Purging a repository: some of its manifests are gone.
    RepositoryEmptied,
    /// Purging a repository: a step is committed.
    RepositoryPurged,
    /// Purging a repository: its row is gone.
    RepositoryErased,
    /// The doctor repairs: what was wrong is right.
    FaultMended,
    /// The doctor repairs: the event that says so is written.
    FaultTold,
    /// The doctor repairs: committed.
    FaultRepaired,
    /// Bytes are put aside: the list of the quarantine has their line.
    StrayListed,
    /// Bytes are put aside: they are moved, their directories are not synced.
    StrayMoved,
    /// Bytes are put aside: the store is done.
    StraySetAside,
    /// Indexing found bytes: their rows are there.
    BytesIndexed,
    /// Indexing found bytes: committed.
    BytesFound,
}

/// A test has asked for a failure. No other build has a value of this.
#[derive(Clone, Copy, Debug)]
pub struct Failed(#[cfg(debug_assertions)] (), #[cfg(not(debug_assertions))] std::convert::Infallible);

impl From<Failed> for sqlx::Error {
    fn from(failed: Failed) -> Self {
        Self::Io(failed.into())
    }
}

impl From<Failed> for DatabaseError {
    fn from(failed: Failed) -> Self {
        Self::Query(failed.into())
    }
}

impl<R> From<Failed> for Failure<R> {
    fn from(failed: Failed) -> Self {
        Self::Database(failed.into())
    }
}

impl From<Failed> for std::io::Error {
    fn from(_: Failed) -> Self {
        Self::other("a test asked for this failure")
    }
}

/// The program has come to `point`.
///
/// # Errors
/// [`Failed`] if a test asks for it.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub(crate) const fn reach(_: Point) -> Result<(), Failed> {
    Ok(())
}

#[cfg(debug_assertions)]
pub(crate) use armed::reach;

#[cfg(debug_assertions)]
mod armed {
    use std::{env, fs, path::PathBuf, process, sync::OnceLock, thread, time::Duration};

    use super::{Failed, Point};

    /// What happens at a point.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Order {
        Die,
        Fail,
        Wait(Duration),
    }

    /// The program has come to `point`.
    ///
    /// # Errors
    /// [`Failed`] if a test asks for it.
    pub(crate) fn reach(point: Point) -> Result<(), Failed> {
        static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
        let Some(file) = FILE.get_or_init(|| env::var_os("PORTREEVE_FAILPOINT").map(PathBuf::from)) else {
            return Ok(());
        };
        let order = fs::read_to_string(file).ok().and_then(|text| order_at(point, &text));
        // Whoever takes the file away obeys it, and nobody else.
        match order.filter(|_| fs::remove_file(file).is_ok()) {
            None => Ok(()),
            Some(Order::Die) => process::abort(),
            Some(Order::Fail) => Err(Failed(())),
            Some(Order::Wait(time)) => {
                thread::sleep(time);
                Ok(())
            }
        }
    }

    /// What the file's text asks for at `point`.
    fn order_at(point: Point, text: &str) -> Option<Order> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            [at, ref order @ ..] if at == format!("{point:?}") => match order {
                ["die"] => Some(Order::Die),
                ["fail"] => Some(Order::Fail),
                ["wait", time] => time.parse().ok().map(Duration::from_millis).map(Order::Wait),
                _ => None,
            },
            _ => None,
        }
    }

    #[test]
    fn an_order_is_for_one_point() {
        let wait = Some(Order::Wait(Duration::from_millis(300)));
        assert_eq!(order_at(Point::TagCleared, "TagCleared die\n"), Some(Order::Die));
        assert_eq!(order_at(Point::TagCleared, "TagCleared fail"), Some(Order::Fail));
        assert_eq!(order_at(Point::TagCleared, "TagCleared wait 300"), wait);
        for other in ["TagDeleted die", "TagCleared", "TagCleared wait", "TagCleared sleep", ""] {
            assert_eq!(order_at(Point::TagCleared, other), None, "{other:?}");
        }
    }
}
