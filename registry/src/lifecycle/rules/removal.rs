//! Tags are taken away: those that are still where they were looked at.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use shared::{clock::Timestamp, database::Transaction, repository::RepositoryName, tag::Tag};
use sqlx::Error;

use crate::{
    failpoints::{Point, reach},
    metadata::{
        Metadata, RepositoryId,
        events::{self, Event},
        immutable::Written,
        manifests::{self, Affected},
        pace::Kind,
        tags::{self, Removal, State, Target},
    },
};

/// A tag that is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) tag: Tag,
    /// The version that was looked at,
    pub(super) version: i64,
    /// and when it had been pushed.
    pub(super) pushed_at: Timestamp,
    /// Who is written into history and event.
    pub(super) actor: String,
}

/// The next of some tags to go in one operation.
pub(super) fn next<'w>(rest: &mut &'w [Wanted], metadata: &Metadata) -> Option<&'w [Wanted]> {
    let most = usize::try_from(metadata.paces().batch(Kind::Tags)).unwrap_or(1);
    let (batch, later) = rest.split_at(most.min(rest.len()));
    *rest = later;
    (!batch.is_empty()).then_some(batch)
}

/// Takes away those tags of a locked repository that were neither moved nor pushed again since they were looked at and that may go, in the order of locks that everybody
/// keeps, and answers which these were. What they pointed at stays for `grace` at least.
pub(super) async fn take_away(
    tx: &mut Transaction<'_>,
    (repository, name): (RepositoryId, &RepositoryName),
    (wanted, immutable): (&[Wanted], &Written),
    grace: Duration,
) -> Result<Vec<Tag>, Error> {
    let immutable = immutable.rules()?;
    let wanted: Vec<&Wanted> = wanted.iter().filter(|wanted| immutable.rule_for(name, &wanted.tag).is_none()).collect();
    let names: BTreeSet<Tag> = wanted.iter().map(|wanted| wanted.tag.clone()).collect();
    let before = tags::read(tx, repository, &names).await?;
    let ids = before.values().filter_map(|state| state.target).map(|target| target.manifest).collect();
    manifests::lock(tx, repository, &Affected { ids, ..Affected::default() }).await?;
    let now = tags::lock(tx, repository, &names, &before).await?;
    // One that moved since the first look may point at a manifest that is not locked; it is another tag than the one that was looked at anyway.
    let standing: BTreeMap<&Tag, (&Wanted, Target)> = wanted
        .into_iter()
        .filter(|wanted| before.get(&wanted.tag) == now.get(&wanted.tag))
        .filter_map(|wanted| match now.get(&wanted.tag) {
            Some(State { version, target: Some(target), pushed_at })
                if *version == wanted.version && *pushed_at == Some(wanted.pushed_at) =>
            {
                Some((&wanted.tag, (wanted, *target)))
            }
            _ => None,
        })
        .collect();
    let removals: Vec<Removal<'_>> = standing
        .values()
        .map(|(wanted, _)| Removal { tag: &wanted.tag, version: wanted.version, actor: &wanted.actor })
        .collect();
    tags::remove(tx, repository, &removals).await?;
    reach(Point::TagsRemoved)?;
    let let_go: Vec<_> = standing.values().map(|(_, target)| target.manifest).collect();
    let until = tx.now() + grace;
    manifests::settle(tx, &let_go, until).await?;
    reach(Point::TagsSettled)?;
    let events: Vec<Event<'_>> = standing
        .iter()
        .map(|(tag, (wanted, target))| Event::TagDeleted {
            repository: name,
            tag,
            digest: &target.digest,
            actor: &wanted.actor,
        })
        .collect();
    events::record_all(tx, &events).await?;
    Ok(standing.into_keys().cloned().collect())
}
