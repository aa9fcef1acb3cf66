//! A stage for walks: content on a clock that stands still between ticks.

use std::{sync::Arc, time::Duration};

use model::Lives as Ticks;
use shared::{
    clock::{Clock, Timestamp},
    database::testing::Scratch,
};
use tempfile::TempDir;

use crate::{
    content::{Content, Lives},
    metadata::Metadata,
    store::{faulty::Faulty, filesystem::Filesystem},
};

/// A tick: a promise lasts for three, as a day lasts for three times eight hours. The minute more keeps what is exactly over out of the comparison, where
/// `<` and `<=` would differ and no clock could tell.
pub(super) const TICK: Duration = Duration::from_secs(8 * 60 * 60 + 60);

/// So many ticks as a time that the settings know.
pub(super) const fn ticks(count: u8) -> Duration {
    Duration::from_secs(count as u64 * 8 * 60 * 60)
}

pub(crate) struct ModelStage {
    pub(super) content: Content,
    pub(super) clock: Clock,
    pub(super) store: Faulty,
    scratch: Scratch,
    /// Removed with the stage.
    _directory: TempDir,
}

impl ModelStage {
    pub(crate) async fn sqlite() -> Self {
        Self::at(Scratch::sqlite()).await
    }

    pub(crate) async fn postgres() -> Self {
        Self::at(Scratch::postgres()).await
    }

    async fn at(scratch: Scratch) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock::fixed(Timestamp::from_seconds(1_800_000_000));
        let store = Faulty::new(Arc::new(Filesystem::open(&directory.path().join("store")).unwrap()));
        let metadata = Metadata::open(scratch.location(), clock.clone()).await.unwrap();
        let Ticks { grace, upload, .. } = super::EVERYTHING.rules.lives;
        let lives = Lives { upload: ticks(upload), grace: ticks(grace) };
        let content = Content::new(metadata, Arc::new(store.clone()), clock.clone(), lives);
        Self { content, clock, store, scratch, _directory: directory }
    }

    pub(crate) async fn clear(&mut self) {
        self.content.metadata.close().await;
        self.scratch.clear().await;
    }
}
