//! What previews and runs walk over: repositories, their tags, and their manifests that nothing holds, a page at a time.

use shared::repository::RepositoryName;
use tokio_util::sync::CancellationToken;

use super::{
    About, Error, Expiry, Rules,
    evaluate::{Effective, Ranks},
    set::{Loaded, stored_rules},
};
use crate::metadata::{
    RepositoryId,
    manifests::ManifestId,
    rules::{
        LooseFacts, TagFacts,
        pages::{self, RepositoryFound, TagRange},
    },
};

/// How many tags are looked at in one query: a few hundred kilobytes of facts.
pub(super) const PAGE: i64 = 500;

/// How many repositories are looked up at a time.
const REPOSITORIES: i64 = 200;

impl Expiry {
    /// Repositories of a namespace behind a name, a page.
    pub(super) async fn repositories(
        &self,
        loaded: &Loaded,
        namespace: &RepositoryName,
        behind: &str,
    ) -> Result<Vec<RepositoryFound>, Error> {
        let mut reader = self.metadata().read().await?;
        Ok(pages::repositories(&mut reader, (loaded.namespace, namespace.as_str()), behind, REPOSITORIES).await?)
    }

    /// Tags of a repository behind one of them, a page.
    pub(super) async fn tags(&self, repository: RepositoryId, behind: &str) -> Result<Vec<TagFacts>, Error> {
        let range = TagRange { prefix: "", behind, limit: PAGE };
        Ok(pages::tags(&mut self.metadata().read().await?, repository, &range).await?)
    }

    /// Manifests of a repository that nothing holds behind one of them, a page.
    pub(super) async fn loose(&self, repository: RepositoryId, behind: ManifestId) -> Result<Vec<LooseFacts>, Error> {
        Ok(pages::loose(&mut self.metadata().read().await?, repository, behind, PAGE).await?)
    }

    /// Takes one more page of tags into a ranking; false at the end, or where no rule asks who the newest are.
    pub(super) async fn rank_page(&self, ranking: &mut Ranking, effective: &Effective<'_>) -> Result<bool, Error> {
        if !ranking.ranks.are_asked_for() {
            return Ok(false);
        }
        let page = self.tags(ranking.repository, &ranking.behind).await?;
        page.iter().for_each(|tag| effective.rank(&mut ranking.ranks, tag));
        let Some(last) = page.last() else { return Ok(false) };
        last.tag.as_str().clone_into(&mut ranking.behind);
        Ok(true)
    }
}

/// A ranking under way.
pub(super) struct Ranking {
    pub(super) ranks: Ranks,
    repository: RepositoryId,
    behind: String,
}

impl Ranking {
    pub(super) fn new(effective: &Effective<'_>, repository: RepositoryId) -> Self {
        Self { ranks: effective.ranks(), repository, behind: String::new() }
    }
}

/// A repository's own rules.
pub(super) fn own_rules(repository: &RepositoryFound) -> Result<Rules, Error> {
    stored_rules(&About::Repository(repository.name.clone()), repository.policy.as_deref())
}

pub(super) fn check(stop: &CancellationToken) -> Result<(), Error> {
    if stop.is_cancelled() { Err(Error::Stopped) } else { Ok(()) }
}
