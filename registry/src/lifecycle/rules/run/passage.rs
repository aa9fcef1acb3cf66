//! The way of a run through the repositories of its namespace.

use std::collections::HashMap;

use shared::{database::WriteError, tag::Tag};
use tokio_util::sync::CancellationToken;

use super::{Broken, Run, Told};
use crate::{
    failpoints::{Point, reach},
    lifecycle::rules::{
        Error,
        evaluate::{Effective, Ranks},
        expire::{ExpireLoose, ExpireTags, Step},
        ground::{Ranking, check, own_rules},
        removal::{self, Wanted},
        rule::Rule,
    },
    metadata::{
        manifests::ManifestId,
        rules::{
            LooseFacts, TagFacts,
            pages::RepositoryFound,
            previews,
            runs::{At, LEASE, NoteRun},
        },
    },
};

impl Run {
    /// Goes through what is left of the namespace.
    pub(super) async fn pass(&mut self, stop: &CancellationToken) -> Result<(), Broken> {
        loop {
            check(stop)?;
            let page = self.expiry.repositories(&self.loaded, &self.namespace, &self.progress.behind).await?;
            if page.is_empty() {
                return Ok(());
            }
            for repository in &page {
                self.repository(repository, stop).await?;
            }
        }
    }

    async fn repository(&mut self, repository: &RepositoryFound, stop: &CancellationToken) -> Result<(), Broken> {
        match own_rules(repository) {
            Ok(own) => {
                let namespaces = self.loaded.rules.clone();
                let effective = Effective::of([&namespaces, &own], &repository.name);
                if effective.expire_tags() {
                    self.tags(&effective, repository, stop).await?;
                }
                if effective.expire_untagged() {
                    self.untagged(&effective, repository, stop).await?;
                }
            }
            Err(error @ Error::Unreadable { .. }) => self.progress.failure = Some(error.to_string()),
            Err(error) => return Err(error.into()),
        }
        self.progress.behind = repository.name.to_string();
        self.progress.at = None;
        self.progress.repositories += 1;
        self.note().await?;
        let progress = self.progress.clone();
        self.listener.tell(Told::Repository { repository: repository.name.clone(), progress });
        Ok(())
    }

    async fn tags(
        &mut self,
        effective: &Effective<'_>,
        repository: &RepositoryFound,
        stop: &CancellationToken,
    ) -> Result<(), Broken> {
        let ranks = self.rank(effective, repository, stop).await?;
        let at = self.progress.at.take().filter(|at| at.repository == repository.name.as_str());
        let mut behind = at.map_or_else(String::new, |at| at.tag);
        loop {
            check(stop)?;
            let page = self.expiry.tags(repository.id, &behind).await?;
            let Some(last) = page.last() else { return Ok(()) };
            last.tag.as_str().clone_into(&mut behind);
            self.page(effective, &ranks, repository, &page).await?;
        }
    }

    /// Goes through all tags once, if a rule asks who the newest are. That alone may take longer than a lease.
    pub(in crate::lifecycle::rules) async fn rank(
        &mut self,
        effective: &Effective<'_>,
        repository: &RepositoryFound,
        stop: &CancellationToken,
    ) -> Result<Ranks, Broken> {
        let mut ranking = Ranking::new(effective, repository.id);
        while self.expiry.rank_page(&mut ranking, effective).await? {
            check(stop)?;
            self.stay().await?;
        }
        Ok(ranking.ranks)
    }

    /// Judges a page of tags, and takes away those that go.
    async fn page(
        &mut self,
        effective: &Effective<'_>,
        ranks: &Ranks,
        repository: &RepositoryFound,
        page: &[TagFacts],
    ) -> Result<(), Broken> {
        let now = self.expiry.0.clock.now();
        let goes = |tag: &TagFacts| {
            let rule = effective.decide(ranks, tag, now).fate.expires()?;
            let stays = self.loaded.immutable.rule_for(&repository.name, &tag.tag).is_some();
            (!stays).then(|| wanted(tag, rule))
        };
        let going: Vec<Wanted> = page.iter().filter_map(goes).collect();
        let going = self.among_shown(repository, going).await?;
        self.progress.looked += page.len() as u64;
        let mut rest = going.as_slice();
        while let Some(batch) = removal::next(&mut rest, self.expiry.metadata()) {
            self.progress.at = batch.last().map(|last| at(repository, &last.tag));
            self.expire(repository, batch).await?;
        }
        if let Some(last) = page.last() {
            self.progress.at = Some(at(repository, &last.tag));
        }
        self.note().await
    }

    async fn expire(&mut self, repository: &RepositoryFound, batch: &[Wanted]) -> Result<(), Broken> {
        let expire = ExpireTags {
            step: self.step(),
            id: repository.id,
            repository: repository.name.clone(),
            wanted: batch.to_vec(),
            grace: self.expiry.0.settings.grace,
            remembered: self.expiry.metadata().manifests().clone(),
        };
        let (expired, moved) = (self.progress.expired, self.progress.moved);
        self.progress = self.expiry.metadata().collect(expire).await?.progress;
        reach(Point::TagsExpired)?;
        self.noted = self.expiry.0.clock.now();
        self.expiry.0.counts.tags(self.progress.expired - expired, self.progress.moved - moved);
        Ok(())
    }

    async fn untagged(
        &mut self,
        effective: &Effective<'_>,
        repository: &RepositoryFound,
        stop: &CancellationToken,
    ) -> Result<(), Broken> {
        let mut behind = ManifestId(0);
        loop {
            check(stop)?;
            let page = self.expiry.loose(repository.id, behind).await?;
            let Some(last) = page.last() else { return Ok(()) };
            behind = last.manifest;
            self.stay().await?;
            let (grace, now) = (self.expiry.0.settings.grace, self.expiry.0.clock.now());
            for manifest in page {
                let Some(rule) = effective.decide_untagged(&manifest, grace, now).fate.expires() else { continue };
                if self.was_shown(repository, &manifest).await? {
                    self.expire_loose(repository, manifest, actor(rule)).await?;
                }
            }
        }
    }

    async fn expire_loose(
        &mut self,
        repository: &RepositoryFound,
        manifest: LooseFacts,
        actor: String,
    ) -> Result<(), Broken> {
        let settings = self.expiry.0.settings;
        let expire = ExpireLoose {
            step: self.step(),
            id: repository.id,
            repository: repository.name.clone(),
            manifest,
            actor,
            undelete: settings.undelete,
            grace: settings.grace,
            remembered: self.expiry.metadata().manifests().clone(),
        };
        let (progress, gone) = self.expiry.metadata().collect(expire).await?;
        reach(Point::LooseExpired)?;
        self.progress = progress;
        self.noted = self.expiry.0.clock.now();
        if gone {
            self.expiry.0.counts.manifest();
        }
        Ok(())
    }

    fn step(&self) -> Step {
        Step { held: self.held.clone(), version: self.loaded.version, progress: self.progress.clone() }
    }

    /// Writes where the run stands, and renews its lease.
    async fn note(&mut self) -> Result<(), Broken> {
        let Step { held, version, progress } = self.step();
        self.expiry.metadata().write(NoteRun { held, version, progress, ended: None }).await?;
        self.noted = self.expiry.0.clock.now();
        Ok(())
    }

    /// Notes it where nothing was written for long: others take a run that says nothing for one that was left lying.
    async fn stay(&mut self) -> Result<(), Broken> {
        if self.expiry.0.clock.now() < self.noted + LEASE / 6 { Ok(()) } else { self.note().await }
    }

    /// Of what would go, what the preview showed that the run is confined to, as it was then.
    async fn among_shown(&self, repository: &RepositoryFound, mut going: Vec<Wanted>) -> Result<Vec<Wanted>, Broken> {
        let Some(preview) = self.confined.filter(|_| !going.is_empty()) else { return Ok(going) };
        let names: Vec<&str> = going.iter().map(|wanted| wanted.tag.as_str()).collect();
        let mut reader = self.expiry.metadata().read().await.map_err(Error::from)?;
        let shown = previews::shown(&mut reader, preview.id, repository.id, &names).await.map_err(Error::from)?;
        let shown: HashMap<String, i64> = shown.into_iter().collect();
        going.retain(|wanted| shown.get(wanted.tag.as_str()) == Some(&wanted.version));
        Ok(going)
    }

    async fn was_shown(&self, repository: &RepositoryFound, manifest: &LooseFacts) -> Result<bool, Broken> {
        let Some(preview) = self.confined else { return Ok(true) };
        let digest = manifest.digest.to_string();
        let mut reader = self.expiry.metadata().read().await.map_err(Error::from)?;
        let shown = previews::shown(&mut reader, preview.id, repository.id, &[&digest]).await.map_err(Error::from)?;
        Ok(!shown.is_empty())
    }
}

fn at(repository: &RepositoryFound, tag: &Tag) -> At {
    At { repository: repository.name.to_string(), tag: tag.to_string() }
}

fn wanted(tag: &TagFacts, rule: &Rule) -> Wanted {
    Wanted { tag: tag.tag.clone(), version: tag.version, pushed_at: tag.pushed_at, actor: actor(rule) }
}

/// Who is written into histories and events: the rule, and whose it is.
fn actor(rule: &Rule) -> String {
    format!("lifecycle: {} ({})", rule.name, rule.about)
}

impl From<shared::database::DatabaseError> for Broken {
    fn from(error: shared::database::DatabaseError) -> Self {
        Self::Left(error.into())
    }
}

impl From<WriteError<std::convert::Infallible>> for Broken {
    fn from(error: WriteError<std::convert::Infallible>) -> Self {
        Self::Left(error.into())
    }
}
