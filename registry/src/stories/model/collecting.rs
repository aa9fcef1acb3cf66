//! What collectors and readers do, for real.

use model::{World, rows::links::Collected};
use shared::on;

use super::{
    stage::ticks,
    walk::{Walk, same},
};
use crate::{
    content::{Error, fixture::digest_of},
    metadata::{
        BlobId,
        links::collect::{self, CollectLinks, LinkDue, Loose},
        manifests::{Due, ManifestId, Purge, Purging},
        repositories::Repository,
    },
};

impl Walk<'_> {
    pub(super) async fn purge(&self, repository: u8, manifest: u8, due: Due) -> bool {
        let sql = "SELECT m.id FROM manifest m JOIN repository r ON r.id = m.repository_id WHERE r.name = $1 AND m.digest = $2";
        let (name, digest) = (self.name(repository), digest_of(&self.payload(manifest)));
        let metadata = &self.stage.content.metadata;
        let mut reader = metadata.read().await.unwrap();
        let found: Option<(ManifestId,)> = on!(reader, c => {
            sqlx::query_as(sql).bind(name.as_str()).bind(digest.to_string()).fetch_optional(c).await
        })
        .unwrap();
        drop(reader);
        let Some((manifest,)) = found else { return false };
        self.purge_in_steps(manifest, due).await
    }

    /// What the model takes for one step, one reference at a time: whatever it comes to in between, at last it is the same.
    async fn purge_in_steps(&self, manifest: ManifestId, mut due: Due) -> bool {
        let metadata = &self.stage.content.metadata;
        let (grace, remembered) = (ticks(self.scenario.rules.lives.grace), metadata.manifests().clone());
        loop {
            let purge = Purge { manifest, due, grace, most: 1, remembered: remembered.clone() };
            match metadata.write(purge).await.unwrap() {
                (Purging::Left, _) => return false,
                (Purging::Begun(_), _) => due = Due::AfterWindow,
                (Purging::Gone(_), _) => return true,
            }
        }
    }

    /// A link is collected as if it had just been listed, whether it would be or not: lists grow old.
    pub(super) async fn collect(&self, repository: u8, digest: u8, due: LinkDue, before: &World) -> Result<(), String> {
        let sql = "SELECT r.id, r.namespace_id, b.id FROM repository r, blob b WHERE r.name = $1 AND b.digest = $2";
        let (name, digest_text) = (self.name(repository), self.digest(digest).to_string());
        let metadata = &self.stage.content.metadata;
        let mut reader = metadata.read().await.unwrap();
        let found: Option<(_, _, BlobId)> =
            on!(reader, c => sqlx::query_as(sql).bind(name.as_str()).bind(&digest_text).fetch_optional(c).await)
                .unwrap();
        let Some((id, namespace, blob)) = found else { return Ok(()) };
        let (now, many, mut rows) = (self.stage.clock.now(), 1_000_000, before.rows);
        let (is_due, listed) = match due {
            LinkDue::Expired => {
                (rows.is_collectable(repository, digest), collect::expired(&mut reader, now, many).await)
            }
            LinkDue::Unpromised => {
                let listed = collect::unpromised(&mut reader, id, BlobId(0), now, many).await;
                (rows.is_unpromised(repository, digest), listed)
            }
            LinkDue::Condemned => return Err("no walk purges a repository".to_owned()),
        };
        drop(reader);
        let is_listed = listed.unwrap().iter().any(|link| link.name == name && link.digest.to_string() == digest_text);
        same("a list of links", is_due, is_listed)?;
        let loose = Loose { repository: Repository { id, namespace }, name, blob, digest: self.digest(digest) };
        let collect = CollectLinks { loose: vec![loose], due, hot: metadata.blobs().clone() };
        let collected = metadata.write(collect).await.unwrap();
        let expected = match due {
            LinkDue::Expired => rows.collect_link(&self.scenario.rules, repository, digest),
            LinkDue::Unpromised | LinkDue::Condemned => rows.collect_by_hand(&self.scenario.rules, repository, digest),
        };
        same(
            "a collected link",
            expected,
            match collected[0] {
                collect::Collected::Gone { .. } => Collected::Gone,
                collect::Collected::Needed => Collected::Needed,
                collect::Collected::Left => Collected::Left,
            },
        )
    }

    /// Any reader will do who finds that there are no bytes.
    pub(super) async fn read_damaged(&self, digest: u8) -> Result<(), String> {
        let links = (0..).zip(self.world.rows.links);
        let holder = links.filter(|(_, links)| links[usize::from(digest)].is_some()).map(|(holder, _)| holder).next();
        let name = self.name(holder.ok_or("a blob without a link")?);
        let blob =
            self.stage.content.open_blob(&name, &self.digest(digest)).await.map_err(|error| error.to_string())?;
        match self.stage.content.read_blob(&blob, 0..blob.size).await {
            Err(Error::BlobDamaged { .. }) => Ok(()),
            _ => Err("lost bytes were read".to_owned()),
        }
    }
}
