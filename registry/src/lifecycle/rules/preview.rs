//! A preview: what rules say of every tag, and nothing happens.

use std::collections::BTreeMap;

use serde::Serialize;
use shared::{clock::Timestamp, database::WriteError, digest::Digest, random, repository::RepositoryName, tag::Tag};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::{
    About, Document, Error, Expiry, Rules,
    evaluate::{Effective, Verdict},
    ground::{Ranking, check, own_rules},
    set::Loaded,
};
use crate::{
    failpoints::{Point, reach},
    metadata::{
        manifests::ManifestId,
        rules::{
            TagFacts,
            pages::RepositoryFound,
            previews::{Ended, FillPreview, Item, OpenPreview, PreviewId, SealPreview},
        },
    },
};

/// Which rules are previewed.
#[derive(Clone, Debug)]
pub enum Previewed {
    /// Those that are set: a run can be confined to what is shown.
    Stored,
    /// Others in the place of the namespace's own: to look at before they are set.
    Candidate(Document),
}

/// What a preview tells as it goes.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
#[schema(as = PreviewEvent)]
pub enum Told {
    /// What becomes of a tag, or of an untagged manifest.
    Item(Shown),
    /// A repository is left alone, because its own rules cannot be read.
    Skipped {
        /// Which.
        repository: RepositoryName,
        /// Why.
        reason: String,
    },
    /// The end, whole.
    Done(Summary),
    /// The end, before the end.
    Failed {
        /// Why.
        detail: String,
    },
}

/// What becomes of something.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = PreviewItem)]
pub struct Shown {
    /// Where.
    pub repository: RepositoryName,
    /// Which tag; none for a manifest that has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// What the tag points at, or the manifest.
    pub digest: Digest,
    /// `kept`, `expires`, `later` or `untouched`.
    pub verdict: &'static str,
    /// The rule that says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Whose rule that is: the namespace's, or the repository's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<RepositoryName>,
    /// Why it says so.
    pub reason: String,
    /// What the annotation says that no rule could read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignored_annotation: Option<String>,
}

/// All of it in numbers.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[schema(as = PreviewSummary)]
pub struct Summary {
    /// How many there are of each verdict.
    pub verdicts: BTreeMap<&'static str, u64>,
    /// To confine a run to what would go; none for rules that are not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_expires_at: Option<Timestamp>,
}

/// A preview that is ready to be told.
pub struct Preview {
    expiry: Expiry,
    namespace: RepositoryName,
    loaded: Loaded,
    /// Where what would go is written down.
    stored: Option<(PreviewId, String)>,
    now: Timestamp,
    summary: Summary,
}

impl Expiry {
    /// Reads the rules to preview. What they say is told by [`Preview::tell`].
    ///
    /// # Errors
    /// The rules cannot be read, or no rules were ever set.
    pub async fn preview(&self, namespace: &RepositoryName, previewed: Previewed) -> Result<Preview, Error> {
        let (loaded, stored) = match previewed {
            Previewed::Stored => {
                let loaded = self.load(namespace).await?;
                let token = token();
                let open = OpenPreview { namespace: loaded.namespace, token: token.clone(), version: loaded.version };
                let id = self.metadata().write(open).await?;
                reach(Point::PreviewBegun)?;
                (loaded, Some((id, token)))
            }
            Previewed::Candidate(document) => {
                let rules = Rules::read(&About::Namespace(namespace.clone()), document)?;
                (Loaded { rules, ..self.ground(namespace).await? }, None)
            }
        };
        let now = self.0.clock.now();
        let (expiry, namespace) = (self.clone(), namespace.clone());
        Ok(Preview { expiry, namespace, loaded, stored, now, summary: Summary::default() })
    }
}

/// 128 random bits.
fn token() -> String {
    random::bytes::<16>().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Preview {
    /// Tells what becomes of every tag, and of every untagged manifest that a rule speaks of; the last thing told is [`Told::Done`].
    ///
    /// # Errors
    /// The database failed, `stop` was cancelled, nobody listens any more, or somebody has begun a newer preview of the namespace.
    pub async fn tell(mut self, listener: &mpsc::Sender<Told>, stop: &CancellationToken) -> Result<(), Error> {
        let mut behind = String::new();
        loop {
            let page = self.expiry.repositories(&self.loaded, &self.namespace, &behind).await?;
            let Some(last) = page.last() else { break };
            last.name.as_str().clone_into(&mut behind);
            for repository in &page {
                self.repository(repository, listener, stop).await?;
            }
        }
        if let Some((preview, token)) = self.stored.take() {
            let sealed = self.expiry.metadata().write(SealPreview { preview }).await?;
            reach(Point::PreviewMade)?;
            self.summary.token_expires_at = sealed;
            self.summary.token = sealed.map(|_| token);
        }
        tell(listener, Told::Done(self.summary)).await
    }

    async fn repository(
        &mut self,
        repository: &RepositoryFound,
        listener: &mpsc::Sender<Told>,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let own = match own_rules(repository) {
            Ok(own) => own,
            Err(error) => {
                let (repository, reason) = (repository.name.clone(), error.to_string());
                return tell(listener, Told::Skipped { repository, reason }).await;
            }
        };
        let namespaces = self.loaded.rules.clone();
        let effective = Effective::of([&namespaces, &own], &repository.name);
        self.tags(&effective, repository, listener, stop).await?;
        self.untagged(&effective, repository, listener, stop).await
    }

    async fn tags(
        &mut self,
        effective: &Effective<'_>,
        repository: &RepositoryFound,
        listener: &mpsc::Sender<Told>,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let mut ranking = Ranking::new(effective, repository.id);
        while self.expiry.rank_page(&mut ranking, effective).await? {
            check(stop)?;
        }
        let mut behind = String::new();
        loop {
            check(stop)?;
            let page = self.expiry.tags(repository.id, &behind).await?;
            let Some(last) = page.last() else { return Ok(()) };
            last.tag.as_str().clone_into(&mut behind);
            let mut items = Vec::new();
            for tag in &page {
                if let Some(rule) = self.loaded.immutable.rule_for(&repository.name, &tag.tag) {
                    let rule = format!("immutable {rule}");
                    self.show_immutable(repository, tag, rule, listener).await?;
                    continue;
                }
                let verdict = effective.decide(&ranking.ranks, tag, self.now);
                if verdict.fate.expires().is_some() {
                    items.push(Item { repository: repository.id, name: tag.tag.to_string(), version: tag.version });
                }
                self.show(repository, (Some(tag.tag.clone()), tag.digest), verdict, listener).await?;
            }
            self.keep(items).await?;
        }
    }

    async fn untagged(
        &mut self,
        effective: &Effective<'_>,
        repository: &RepositoryFound,
        listener: &mpsc::Sender<Told>,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let mut behind = ManifestId(0);
        while effective.expire_untagged() {
            check(stop)?;
            let page = self.expiry.loose(repository.id, behind).await?;
            let Some(last) = page.last() else { break };
            behind = last.manifest;
            let mut items = Vec::new();
            for manifest in &page {
                let verdict = effective.decide_untagged(manifest, self.expiry.0.settings.grace, self.now);
                if verdict.fate.expires().is_some() {
                    items.push(Item { repository: repository.id, name: manifest.digest.to_string(), version: 0 });
                }
                if verdict.fate.rule().is_some() || verdict.ignored.is_some() {
                    self.show(repository, (None, manifest.digest), verdict, listener).await?;
                }
            }
            self.keep(items).await?;
        }
        Ok(())
    }

    async fn show(
        &mut self,
        repository: &RepositoryFound,
        (tag, digest): (Option<Tag>, Digest),
        Verdict { fate, ignored }: Verdict<'_>,
        listener: &mpsc::Sender<Told>,
    ) -> Result<(), Error> {
        *self.summary.verdicts.entry(fate.word()).or_default() += 1;
        let shown = Shown {
            repository: repository.name.clone(),
            tag,
            digest,
            verdict: fate.word(),
            rule: fate.rule().map(|rule| rule.name.to_string()),
            of: fate.rule().map(|rule| rule.about.name().clone()),
            reason: fate.to_string(),
            ignored_annotation: ignored,
        };
        tell(listener, Told::Item(shown)).await
    }

    /// A tag that nobody may take away is no rule's affair.
    async fn show_immutable(
        &mut self,
        repository: &RepositoryFound,
        tag: &TagFacts,
        rule: String,
        listener: &mpsc::Sender<Told>,
    ) -> Result<(), Error> {
        *self.summary.verdicts.entry("kept").or_default() += 1;
        let shown = Shown {
            repository: repository.name.clone(),
            tag: Some(tag.tag.clone()),
            digest: tag.digest,
            verdict: "kept",
            rule: Some(rule),
            of: Some(self.namespace.clone()),
            reason: "it is immutable".to_owned(),
            ignored_annotation: None,
        };
        tell(listener, Told::Item(shown)).await
    }

    /// Writes down what would go, so that a run can be confined to it.
    async fn keep(&self, items: Vec<Item>) -> Result<(), Error> {
        let Some((preview, _)) = self.stored.as_ref().filter(|_| !items.is_empty()) else { return Ok(()) };
        let fill = FillPreview { preview: *preview, items };
        self.expiry.metadata().write(fill).await.map_err(|error| match error {
            WriteError::Refused(Ended) => Error::ExpiredPreview,
            WriteError::Unavailable(error) => error.into(),
        })?;
        Ok(reach(Point::PreviewKept)?)
    }
}

async fn tell(listener: &mpsc::Sender<Told>, told: Told) -> Result<(), Error> {
    listener.send(told).await.map_err(|_| Error::Stopped)
}
