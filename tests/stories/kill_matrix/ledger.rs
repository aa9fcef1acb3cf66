//! What was acknowledged, and so has to be there; what was deleted, and so has not; and what is under way.

use std::collections::BTreeMap;

use reqwest::Method;

use super::story::{REPOSITORY, ask, push};
use crate::protocol::{
    answer::Failure,
    client::Client,
    samples::{Blob, Manifest},
};

/// An upload that was begun and whose end was not acknowledged.
pub(super) struct Open {
    /// The path of its session.
    pub(super) session: String,
    pub(super) repository: &'static str,
    pub(super) blob: Blob,
    /// How many bytes were acknowledged.
    pub(super) received: usize,
}

/// Where a tag may point: at the first of these, or at one that a push without an answer brought. None is nowhere.
type Targets = Vec<Option<String>>;

/// A blob that is promised, or named.
struct Kept {
    repository: String,
    blob: Blob,
    /// Whether it was looked at since it was acknowledged. Accidents of today do not touch it any more; at the end it is looked at again.
    looked: bool,
}

#[derive(Default)]
pub(super) struct Ledger {
    blobs: Vec<Kept>,
    manifests: Vec<Manifest>,
    tags: BTreeMap<String, Targets>,
    /// Paths whose deletion was acknowledged.
    pub(super) gone: Vec<String>,
    pub(super) upload: Option<Open>,
    /// A blob whose bytes a disk has lost.
    pub(super) lost: Option<(String, Blob)>,
    /// Whether something was broken on purpose and its repair was not acknowledged.
    pub(super) broken: bool,
}

impl Ledger {
    /// A push of a tag is on its way.
    pub(super) fn moving(&mut self, tag: &str, digest: &str) {
        self.tags.entry(tag.to_owned()).or_insert_with(|| vec![None]).push(Some(digest.to_owned()));
    }

    /// And was acknowledged.
    pub(super) fn moved(&mut self, tag: &str, image: &Manifest) {
        self.tags.insert(tag.to_owned(), vec![Some(image.digest().to_owned())]);
        if self.manifests.iter().all(|known| known.digest() != image.digest()) {
            self.manifests.push(image.clone());
        }
    }

    /// A tag is about to be deleted, perhaps with its manifest.
    pub(super) fn lets_go(&mut self, tag: &str, manifest: Option<&str>) {
        self.tags.entry(tag.to_owned()).or_default().push(None);
        self.manifests.retain(|known| Some(known.digest()) != manifest);
    }

    /// Tags with this prefix are about to go, all together.
    pub(super) fn lets_go_all(&mut self, prefix: &str) {
        self.tags.iter_mut().filter(|(tag, _)| tag.starts_with(prefix)).for_each(|(_, targets)| targets.push(None));
    }

    /// The open upload was acknowledged as a blob.
    pub(super) fn finished(&mut self) {
        if let Some(open) = self.upload.take() {
            self.keep(open.repository, &open.blob);
        }
    }

    /// A blob was acknowledged.
    pub(super) fn keep(&mut self, repository: &str, blob: &Blob) {
        self.blobs.push(Kept { repository: repository.to_owned(), blob: blob.clone(), looked: false });
    }

    /// An image behind which `newer` have come is about to be deleted, with all that it names.
    pub(super) fn take_an_old_image(&mut self, newer: usize) -> Option<String> {
        let image = (self.manifests.len() > newer).then(|| self.manifests.remove(0))?;
        let digest = image.digest().to_owned();
        for targets in self.tags.values_mut().filter(|targets| targets.contains(&Some(digest.clone()))) {
            targets.push(None);
        }
        let named = String::from_utf8_lossy(&image.blob.bytes).into_owned();
        self.blobs.retain(|kept| kept.repository != REPOSITORY || !named.contains(&kept.blob.digest));
        Some(digest)
    }

    /// A reader finds lost bytes, and a push brings them back.
    pub(super) async fn heal(&mut self, client: &Client) -> Result<(), Failure> {
        let Some((repository, blob)) = &self.lost else { return Ok(()) };
        let read = ask(client.request(Method::GET, &format!("{repository}/blobs/{}", blob.digest))).await?;
        // Lost, and noticed for the first time; or marked already; or healed, and the answer was lost; or the mark has failed. The push heals.
        read.status(&[500, 404, 200, 503])?;
        push(client, repository, blob).await?;
        if let Some((repository, blob)) = self.lost.take() {
            self.keep(&repository, &blob);
        }
        Ok(())
    }

    /// After an accident: what was under way goes on, and what was acknowledged since the last look is there.
    pub(super) async fn recover(&mut self, client: &Client) -> Result<(), Failure> {
        self.resume(client).await?;
        self.heal(client).await?;
        self.look(client).await
    }

    /// All of it, from the beginning.
    pub(super) async fn everything_is_there(&mut self, client: &Client) -> Result<(), Failure> {
        self.blobs.iter_mut().for_each(|kept| kept.looked = false);
        self.look(client).await
    }

    async fn look(&mut self, client: &Client) -> Result<(), Failure> {
        for Kept { repository, blob, looked } in self.blobs.iter_mut().filter(|kept| !kept.looked) {
            let pull = ask(client.request(Method::GET, &format!("{repository}/blobs/{}", blob.digest))).await?;
            pull.status(&[200])?.body_is(&blob.bytes)?;
            *looked = true;
        }
        for image in &self.manifests {
            let pull = ask(client.request(Method::GET, &format!("{REPOSITORY}/manifests/{}", image.digest()))).await?;
            pull.status(&[200])?.body_is(&image.blob.bytes)?;
        }
        self.look_at_tags(client).await?;
        for path in self.gone.drain(..) {
            ask(client.request(Method::GET, &path)).await?.status(&[404])?;
        }
        Ok(())
    }

    async fn look_at_tags(&mut self, client: &Client) -> Result<(), Failure> {
        for (tag, targets) in &mut self.tags {
            let pull = ask(client.request(Method::GET, &format!("{REPOSITORY}/manifests/{tag}"))).await?;
            let found = match pull.status(&[200, 404])?.status {
                200 => pull.header("docker-content-digest").map(str::to_owned),
                _ => None,
            };
            if !targets.contains(&found) {
                return Err(pull.instead_of(format_args!("{tag} to point at one of {targets:?}")));
            }
            *targets = vec![found];
        }
        self.tags.retain(|_, targets| *targets != [None]);
        Ok(())
    }

    /// The open upload has ended, and says so; its client pushes the blob again.
    pub(super) async fn begin_anew(&mut self, client: &Client) -> Result<(), Failure> {
        let Some(Open { session, repository, blob, .. }) = &self.upload else { return Ok(()) };
        ask(client.request(Method::GET, session)).await?.status(&[404])?;
        push(client, repository, blob).await?;
        self.finished();
        Ok(())
    }

    /// An upload goes on where it was acknowledged or behind that; or it has become a blob, and only the answer was lost.
    async fn resume(&mut self, client: &Client) -> Result<(), Failure> {
        let Some(Open { session, repository, blob, received }) = &self.upload else { return Ok(()) };
        let status = ask(client.request(Method::GET, session)).await?;
        if status.status(&[204, 404])?.status == 204 {
            let last =
                status.header("range").and_then(|range| range.strip_prefix("0-")).and_then(|last| last.parse().ok());
            // Nothing and one byte look alike.
            let there = last.filter(|last| *last > 0).map_or(0, |last: usize| last + 1);
            if there < *received {
                return Err(status.instead_of(format_args!("at least the {received} bytes acknowledged")));
            }
            if there < blob.bytes.len() {
                let range = format!("{there}-{}", blob.bytes.len() - 1);
                let rest = blob.bytes.slice(there..);
                ask(client.request(Method::PATCH, session).header("content-range", range).body(&rest))
                    .await?
                    .status(&[202])?;
            }
        }
        // Once more, if it was done already: a client whose answer was lost asks again.
        ask(client.request(Method::PUT, session).query("digest", &blob.digest)).await?.status(&[201])?;
        ask(client.request(Method::GET, &format!("{repository}/blobs/{}", blob.digest))).await?.status(&[200])?;
        self.finished();
        Ok(())
    }
}
