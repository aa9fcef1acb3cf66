//! One story that comes to every point: what clients and an operator do to a registry in a day.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use registry::failpoints::Point;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    ledger::{Ledger, Open},
    office::{OLD, Office},
};
use crate::{
    protocol::{
        answer::{Answer, Failure},
        client::{Client, Request},
        samples::{Algorithm, Blob, Manifest, media},
    },
    stories::facts::Facts,
    support::server::Portreeve,
};

/// Where images are pushed to.
pub(super) const REPOSITORY: &str = "acme/web";
/// Where blobs are pushed that no manifest names.
const SCRATCH: &str = "acme/scratch";
/// Where uploads begin that nobody comes back for.
const FORSAKEN: &str = "acme/forsaken";
/// Where a manifest is pushed that nothing holds.
const LOOSE: &str = "acme/loose";
/// What is deleted and comes back as a whole.
const WHOLE: &str = "acme/whole";
/// A repository whose namespace has a quota.
const BOUNDED: &str = "bounded/app";
/// Tags that go together when a pull request is closed.
const PULL_REQUEST: &str = "pr-";

/// Where an index is pushed that lists more than one step of a purge lets go.
const LARGE_INDEX: &str = "acme/large";
/// What it lists: a step takes on 2,000 at most.
const MANY: usize = 2_001;
/// Points that only such an index comes to.
const LARGE: [Point; 2] = [Point::ManifestStripped, Point::PurgeBegun];
/// Points of a repair.
const REPAIRS: [Point; 6] = [
    Point::FaultMended,
    Point::FaultTold,
    Point::FaultRepaired,
    Point::StrayListed,
    Point::StrayMoved,
    Point::StraySetAside,
];

/// A file in the store that no row speaks of.
pub(super) fn lay_a_stray(data: &Path, number: usize) {
    let file = data.join(format!("root/blobs/5a/{number:032x}"));
    fs::write(file, format!("stray {number}")).expect("a file can be written");
}

/// A layer that every teller of round `number` pushes.
fn layer(number: usize) -> Blob {
    Blob::of(Algorithm::Sha256, format!("layer {number} ").repeat(400))
}

/// Pushes the layer of a round with one request.
pub(super) async fn push_layer(client: &Client, repository: &str, number: usize) -> Result<(), Failure> {
    push(client, repository, &layer(number)).await
}

pub(super) async fn push(client: &Client, repository: &str, blob: &Blob) -> Result<(), Failure> {
    let post = client.request(Method::POST, &format!("{repository}/blobs/uploads/"));
    ask(post.query("digest", &blob.digest).body(&blob.bytes)).await?.status(&[201])?;
    Ok(())
}

/// A failure is told in the form of the protocol, whatever failed.
pub(super) async fn ask(request: Request<'_>) -> Result<Answer, Failure> {
    let answer = request.send().await?;
    if answer.status >= 500 && !answer.json().is_ok_and(|body| body["errors"][0]["code"].is_string()) {
        return Err(Failure::new(format!("not in the form of the protocol: {}", answer.instead_of("an error"))));
    }
    Ok(answer)
}

pub(super) struct Story<'s> {
    pub(super) portreeve: &'s Portreeve,
    pub(super) client: &'s Client,
    pub(super) office: &'s Office,
    pub(super) facts: &'s Facts,
    pub(super) ledger: &'s mut Ledger,
    pub(super) number: usize,
    /// Where something is going to happen: what takes its time is told only there.
    pub(super) point: Point,
}

impl Story<'_> {
    pub(super) async fn tell(&mut self) -> Result<(), Failure> {
        let number = self.number;
        let blob = |what: &str| Blob::of(Algorithm::Sha256, format!("{what} {number} ").repeat(200));
        let (layer, config, second) = (layer(number), blob("config"), blob("second layer"));
        self.upload_in_two(REPOSITORY, &layer).await?;
        self.keep(REPOSITORY, &config).await?;
        self.upload_over_remains(&second).await?;
        self.mount(&layer).await?;
        self.keep("other/tool", &layer).await?;
        let image = self.image(&config, &[&layer, &second], "kept");
        self.tag(&image, &format!("v{number}")).await?;
        self.tag(&image, "latest").await?;
        self.promise(&layer).await?;
        self.delete_what_is_pushed(&config, &layer).await?;
        self.close_a_pull_request(&image).await?;
        self.let_go_by_rules(&config, &image).await?;
        self.delete_and_restore_a_repository(&config, &layer).await?;
        self.push_within_a_quota(&blob("bounded")).await?;
        self.lose_and_heal(&blob("lost")).await?;
        self.forget_uploads(&blob("forsaken")).await?;
        self.delete_old_images().await?;
        if LARGE.contains(&self.point) {
            self.delete_a_large_index().await?;
        }
        if REPAIRS.contains(&self.point) {
            self.break_and_repair().await?;
        }
        self.forget_an_event().await;
        self.office.collect().await
    }

    /// An index of children that are not there yet: more than one step of a purge takes on.
    async fn delete_a_large_index(&mut self) -> Result<(), Failure> {
        let child = |nth: usize| {
            let digest = Algorithm::Sha256.digest(format!("child {nth} of {}", self.number).as_bytes());
            json!({"mediaType": media::IMAGE, "digest": digest, "size": 7})
        };
        let children: Vec<Value> = (0..MANY).map(child).collect();
        let index = json!({"schemaVersion": 2, "mediaType": media::INDEX, "manifests": children});
        let index = Manifest::new(Algorithm::Sha256, &index);
        let path = format!("{LARGE_INDEX}/manifests/{}", index.digest());
        let put = self.request(Method::PUT, &path).header("content-type", media::INDEX).body(&index.blob.bytes);
        ask(put).await?.status(&[201])?;
        self.delete(&path).await
    }

    /// Something is counted wrong and a file lies where none belongs: an operator has it put right.
    async fn break_and_repair(&mut self) -> Result<(), Failure> {
        self.ledger.broken = true;
        let counted =
            "UPDATE usage SET used = used + 1 WHERE namespace_id = (SELECT id FROM namespace WHERE name = 'bounded')";
        assert_eq!(self.facts.change(counted).await, 1);
        lay_a_stray(self.portreeve.data(), self.number);
        self.office.repair().await?;
        self.ledger.broken = false;
        Ok(())
    }

    /// What happened long ago and nobody came for.
    async fn forget_an_event(&self) {
        let old = "UPDATE event SET at = 1 WHERE id = (SELECT min(id) FROM event WHERE at > 1)";
        assert_eq!(self.facts.change(old).await, 1, "every push leaves one");
    }

    fn request(&self, method: Method, path: &str) -> Request<'_> {
        self.client.request(method, path)
    }

    /// Pushes a blob with one request, to be there from now on.
    async fn keep(&mut self, repository: &str, blob: &Blob) -> Result<(), Failure> {
        push(self.client, repository, blob).await?;
        self.ledger.keep(repository, blob);
        Ok(())
    }

    /// POST, and the path of the session.
    async fn begin(&self, repository: &str) -> Result<String, Failure> {
        let begun = ask(self.request(Method::POST, &format!("{repository}/blobs/uploads/"))).await?;
        path_of(begun.status(&[202])?)
    }

    async fn patch(&self, session: &str, start: usize, bytes: &Bytes) -> Result<String, Failure> {
        let range = format!("{start}-{}", start + bytes.len() - 1);
        let patch = self.request(Method::PATCH, session).header("content-range", range).body(bytes);
        path_of(ask(patch).await?.status(&[202])?)
    }

    async fn put(&self, session: &str, digest: &str, rest: &Bytes) -> Result<(), Failure> {
        ask(self.request(Method::PUT, session).query("digest", digest).body(rest)).await?.status(&[201])?;
        Ok(())
    }

    /// In two chunks and a closing request.
    async fn upload_in_two(&mut self, repository: &'static str, blob: &Blob) -> Result<(), Failure> {
        let (half, whole) = (blob.bytes.len() / 2, blob.bytes.len());
        let session = self.begin(repository).await?;
        let open = |received| Open { session: session.clone(), repository, blob: blob.clone(), received };
        self.ledger.upload = Some(open(0));
        self.patch(&session, 0, &blob.bytes.slice(..half)).await?;
        self.ledger.upload = Some(open(half));
        self.patch(&session, half, &blob.bytes.slice(half..)).await?;
        self.ledger.upload = Some(open(whole));
        self.put(&session, &blob.digest, &Bytes::new()).await?;
        self.ledger.finished();
        Ok(())
    }

    /// What a crash has left behind the recorded end belongs to nobody.
    async fn upload_over_remains(&mut self, blob: &Blob) -> Result<(), Failure> {
        let half = blob.bytes.len() / 2;
        let session = self.begin(REPOSITORY).await?;
        self.patch(&session, 0, &blob.bytes.slice(..half)).await?;
        self.ledger.upload =
            Some(Open { session: session.clone(), repository: REPOSITORY, blob: blob.clone(), received: half });
        let key = self.key("SELECT storage_key FROM upload WHERE received > 0 ORDER BY expires_at DESC LIMIT 1").await;
        let mut file = OpenOptions::new().append(true).open(key).expect("an upload has a file");
        file.write_all(&[b'?'; 9000]).expect("a file takes bytes");
        self.put(&session, &blob.digest, &blob.bytes.slice(half..)).await?;
        self.ledger.finished();
        Ok(())
    }

    /// The file of the only key that a query gives.
    async fn key(&self, sql: &'static str) -> PathBuf {
        let keys = self.facts.texts(sql).await;
        assert_eq!(keys.len(), 1, "{sql}: {keys:?}");
        self.portreeve.data().join("root").join(&keys[0])
    }

    async fn mount(&mut self, blob: &Blob) -> Result<(), Failure> {
        let post = self.request(Method::POST, "acme/api/blobs/uploads/").query("mount", &blob.digest);
        ask(post.query("from", REPOSITORY)).await?.status(&[201])?;
        self.ledger.keep("acme/api", blob);
        Ok(())
    }

    /// Whoever may push and asks is promised.
    async fn promise(&self, blob: &Blob) -> Result<(), Failure> {
        let head = self.request(Method::HEAD, &format!("{REPOSITORY}/blobs/{}", blob.digest));
        match head.send().await?.status {
            200 => Ok(()),
            // An answer to HEAD has no body to tell more.
            status => Err(Failure::new(format!("HEAD of a blob answered {status}"))),
        }
    }

    fn image(&self, config: &Blob, layers: &[&Blob], what: &str) -> Manifest {
        let layers: Vec<Value> = layers.iter().map(|layer| layer.descriptor(media::LAYER)).collect();
        let content = json!({
            "schemaVersion": 2, "mediaType": media::IMAGE, "config": config.descriptor(media::CONFIG), "layers": layers,
            "annotations": {"what": format!("{what} {}", self.number)},
        });
        Manifest::new(Algorithm::Sha256, &content)
    }

    /// Pushes a manifest under a tag.
    async fn tag(&mut self, image: &Manifest, tag: &str) -> Result<(), Failure> {
        self.ledger.moving(tag, image.digest());
        self.put_manifest(REPOSITORY, tag, image).await?;
        self.ledger.moved(tag, image);
        Ok(())
    }

    /// PUT, and the path of the manifest.
    async fn put_manifest(&self, repository: &str, reference: &str, image: &Manifest) -> Result<String, Failure> {
        let path = format!("{repository}/manifests/{reference}");
        let put = self.request(Method::PUT, &path).header("content-type", media::IMAGE).body(&image.blob.bytes);
        ask(put).await?.status(&[201])?;
        Ok(path)
    }

    async fn delete(&mut self, path: &str) -> Result<(), Failure> {
        ask(self.request(Method::DELETE, path)).await?.status(&[202])?;
        self.ledger.gone.push(path.to_owned());
        Ok(())
    }

    /// A tag, a manifest with its tag that comes back in between, and a blob: each is pushed and deleted.
    async fn delete_what_is_pushed(&mut self, config: &Blob, layer: &Blob) -> Result<(), Failure> {
        let (number, brief) = (self.number, self.image(config, &[layer], "brief"));
        let (by_tag, by_digest) = (format!("brief-{number}"), format!("{REPOSITORY}/manifests/{}", brief.digest()));
        self.tag(&brief, &by_tag).await?;
        self.tag(&brief, "brief").await?;
        self.ledger.lets_go(&by_tag, None);
        self.delete(&format!("{REPOSITORY}/manifests/{by_tag}")).await?;
        self.ledger.lets_go("brief", Some(brief.digest()));
        ask(self.request(Method::DELETE, &by_digest)).await?.status(&[202])?;
        self.ledger.moving("brief", brief.digest());
        let restore = format!("manifests:restore?repository={REPOSITORY}");
        self.office.order(Method::POST, &restore, &json!({"digest": brief.digest(), "tags": true})).await?;
        self.ledger.moved("brief", &brief);
        self.ledger.lets_go("brief", Some(brief.digest()));
        self.delete(&by_digest).await?;
        let blob = Blob::of(Algorithm::Sha256, format!("scratch {number}"));
        push(self.client, SCRATCH, &blob).await?;
        self.delete(&format!("{SCRATCH}/blobs/{}", blob.digest)).await
    }

    /// Every tag of a closed pull request goes in one call.
    async fn close_a_pull_request(&mut self, image: &Manifest) -> Result<(), Failure> {
        let tag = format!("{PULL_REQUEST}{}", self.number);
        self.tag(image, &tag).await?;
        self.ledger.lets_go_all(PULL_REQUEST);
        let closed = json!({"pattern": format!("{PULL_REQUEST}*"), "repositories": [REPOSITORY]});
        self.office.order(Method::POST, "namespaces/acme/tags:delete", &closed).await?;
        self.ledger.gone.push(format!("{REPOSITORY}/manifests/{tag}"));
        Ok(())
    }

    /// A tag that nobody has pushed for years, and a manifest that nothing has held for as long.
    async fn let_go_by_rules(&mut self, config: &Blob, image: &Manifest) -> Result<(), Failure> {
        let (tag, loose) = (format!("{OLD}{}", self.number), self.image(config, &[], "loose"));
        self.tag(image, &tag).await?;
        push(self.client, LOOSE, config).await?;
        let by_digest = self.put_manifest(LOOSE, loose.digest(), &loose).await?;
        for years_pass in [
            "UPDATE tag SET updated_at = 1000000000000000 WHERE name LIKE 'old-%' AND manifest_id IS NOT NULL",
            "UPDATE manifest SET expires_at = 1000000000000000 WHERE deleted_at IS NULL AND expires_at IS NOT NULL \
             AND repository_id IN (SELECT id FROM repository WHERE name = 'acme/loose')",
        ] {
            assert!(self.facts.change(years_pass).await > 0, "{years_pass}");
        }
        self.office.preview_rules().await?;
        self.ledger.lets_go_all(OLD);
        self.office.run_rules().await?;
        self.ledger.gone.extend([format!("{REPOSITORY}/manifests/{tag}"), by_digest]);
        Ok(())
    }

    /// With an image and an open upload in it; it ends deleted, and whoever collects purges it.
    async fn delete_and_restore_a_repository(&mut self, config: &Blob, layer: &Blob) -> Result<(), Failure> {
        let whole = self.image(config, &[layer], "whole");
        for blob in [config, layer] {
            push(self.client, WHOLE, blob).await?;
        }
        let by_tag = self.put_manifest(WHOLE, "v1", &whole).await?;
        let session = self.begin(WHOLE).await?;
        let (delete, nothing) = (format!("repositories?name={WHOLE}"), json!({}));
        self.office.order(Method::DELETE, &delete, &nothing).await?;
        for path in [&by_tag, &session] {
            ask(self.request(Method::GET, path)).await?.status(&[404])?;
        }
        self.office.order(Method::POST, &format!("repositories:restore?name={WHOLE}"), &nothing).await?;
        ask(self.request(Method::GET, &by_tag)).await?.status(&[200])?.body_is(&whole.blob.bytes)?;
        self.office.order(Method::DELETE, &delete, &nothing).await?;
        self.ledger.gone.push(by_tag);
        Ok(())
    }

    /// One upload uses what it has reserved, another gives it back.
    async fn push_within_a_quota(&mut self, blob: &Blob) -> Result<(), Failure> {
        self.upload_in_two(BOUNDED, blob).await?;
        let session = self.begin(BOUNDED).await?;
        self.patch(&session, 0, &blob.bytes).await?;
        ask(self.request(Method::DELETE, &session)).await?.status(&[204])?;
        Ok(())
    }

    /// A disk loses bytes, a reader notices, a push heals.
    async fn lose_and_heal(&mut self, blob: &Blob) -> Result<(), Failure> {
        push(self.client, SCRATCH, blob).await?;
        let key = self.key("SELECT storage_key FROM blob ORDER BY id DESC LIMIT 1").await;
        let file = fs::read(&key).expect("a blob has a file");
        assert_eq!(Algorithm::Sha256.digest(&file), blob.digest, "the blob that was pushed last");
        self.ledger.lost = Some((SCRATCH.to_owned(), blob.clone()));
        fs::write(&key, &file[..file.len() / 2]).expect("a file can be cut");
        self.ledger.heal(self.client).await
    }

    /// Uploads that are cancelled, and one that nobody comes back for.
    async fn forget_uploads(&mut self, blob: &Blob) -> Result<(), Failure> {
        let session = self.begin(FORSAKEN).await?;
        self.patch(&session, 0, &blob.bytes).await?;
        ask(self.request(Method::DELETE, &session)).await?.status(&[204])?;
        let session = self.begin(FORSAKEN).await?;
        self.patch(&session, 0, &blob.bytes).await?;
        let forsaken = "UPDATE upload SET expires_at = 1 WHERE repository_id IN (SELECT id FROM repository WHERE name = 'acme/forsaken')";
        assert!(self.facts.change(forsaken).await > 0, "{session} is open");
        Ok(())
    }

    /// What is two stories old goes, so that the registry does not grow for ever.
    async fn delete_old_images(&mut self) -> Result<(), Failure> {
        while let Some(old) = self.ledger.take_an_old_image(2) {
            self.delete(&format!("{REPOSITORY}/manifests/{old}")).await?;
        }
        Ok(())
    }
}

/// Where `Location` leads, without the server's name and port: the next life has others.
fn path_of(answer: &Answer) -> Result<String, Failure> {
    let url = answer.location()?;
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    Ok(format!("{}{query}", url.path()))
}
