//! The server is killed while images are being pushed. (The disk keeps what it was given: what power loss takes besides is the
//! business of the order of syncs.) What was acknowledged is there afterwards; what was not is no harm.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use tokio::{task::JoinHandle, time::sleep};
use url::Url;

use crate::{
    protocol::{
        Suite,
        answer::Failure,
        client::{Client, Login},
        pushes::{Expect, Way},
        samples::{Algorithm, Blob, DataSet, Manifest, Tagging, media, random},
    },
    support::server::{Launch, Portreeve},
};

const KILLS: usize = 20;

/// Pushers at work when the end comes.
const PUSHERS: usize = 2;

/// An image whose manifest was answered with 201.
#[derive(Clone)]
pub(super) struct Acknowledged {
    pub(super) repository: String,
    pub(super) image: DataSet,
}

#[tokio::test]
async fn twenty_kills_lose_nothing_that_was_acknowledged() {
    let mut portreeve = Launch::up().quiet().start();
    let mut kept: Vec<Acknowledged> = Vec::new();
    for _ in 0..KILLS {
        let pushers = push_until_the_end(&portreeve);
        let cut = CutUpload::begin(&portreeve).await;
        sleep(random_moment()).await;
        portreeve.kill();
        let mut new = Vec::new();
        for pusher in pushers {
            new.extend(pusher.await.expect("a pusher ends when its server does"));
        }
        portreeve.start_again();
        verify(&portreeve, &new).await;
        cut.resumes_or_has_ended(&portreeve).await;
        kept.extend(new);
    }
    assert!(kept.len() > KILLS, "only {} images were pushed in {KILLS} lives: the kills came too early", kept.len());
    verify(&portreeve, &kept).await;
}

pub(super) fn client(portreeve: &Portreeve) -> Client {
    let admin = portreeve.admin();
    Client::new(portreeve.url().clone(), Login::Account { user: admin.name, password: admin.secret })
}

/// Starts the pushers. They end at their first refused or broken request.
fn push_until_the_end(portreeve: &Portreeve) -> Vec<JoinHandle<Vec<Acknowledged>>> {
    let pushers = (0..PUSHERS).map(|number| {
        let client = client(portreeve);
        tokio::spawn(async move {
            let repository = format!("acme/pusher-{number}");
            let suite = Suite::new(client, &repository, "acme/unused");
            let mut acknowledged = Vec::new();
            while let Ok(image) = push(&suite, &repository).await {
                acknowledged.push(Acknowledged { repository: repository.clone(), image });
            }
            acknowledged
        })
    });
    pushers.collect()
}

pub(super) async fn push(suite: &Suite, repository: &str) -> Result<DataSet, Failure> {
    let image = image();
    for (blob, way) in image.blobs.iter().zip(Way::IN_TURN) {
        suite.push_blob(repository, blob, way, Expect::Stored).await?;
    }
    suite.put_manifest(&image.manifests[0].tags[0], &image.manifests[0], Expect::Stored).await?;
    Ok(image)
}

/// Two layers of some size and a config.
fn image() -> DataSet {
    let mut set = DataSet::new("killed");
    let layers: Vec<Blob> = (0..2).map(|_| Blob::of(Algorithm::Sha256, random(200_000))).collect();
    let config = Blob::random(Algorithm::Sha256, 300);
    let content = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media::IMAGE,
        "config": config.descriptor(media::CONFIG),
        "layers": layers.iter().map(|layer| layer.descriptor(media::LAYER)).collect::<Vec<_>>(),
    });
    layers.iter().chain([&config]).for_each(|blob| set.add(blob));
    let mut manifest = Manifest::new(Algorithm::Sha256, &content);
    manifest.tagging = Tagging::ByPath;
    manifest.tags.push(format!("t-{}", &manifest.digest()["sha256:".len()..][..12]));
    set.manifests.push(manifest);
    set
}

/// Every image is there under its tag and its digest, and every blob has its bytes.
pub(super) async fn verify(portreeve: &Portreeve, acknowledged: &[Acknowledged]) {
    for Acknowledged { repository, image } in acknowledged {
        let suite = Suite::new(client(portreeve), repository, "acme/unused");
        let manifest = &image.manifests[0];
        let checked = async {
            suite.get_manifest(&manifest.tags[0], manifest).await?;
            suite.get_manifest(manifest.digest(), manifest).await?;
            for blob in &image.blobs {
                suite.get_blob(blob).await?;
            }
            Ok::<_, Failure>(())
        };
        if let Err(failure) = checked.await {
            panic!("an acknowledged image is damaged: {failure}");
        }
    }
}

/// Between a moment in which nothing has been pushed yet and one in which much has.
fn random_moment() -> Duration {
    let bytes = random(2);
    Duration::from_millis(50 + u64::from(u16::from_le_bytes([bytes[0], bytes[1]])) % 450)
}

/// An upload of which one part was acknowledged and the next is on its way when the server dies.
struct CutUpload {
    blob: Blob,
    session: Url,
    acknowledged: usize,
}

impl CutUpload {
    const REPOSITORY: &str = "acme/cut";

    async fn begin(portreeve: &Portreeve) -> Self {
        let blob = Blob::random(Algorithm::Sha256, 3_000_000);
        let client = client(portreeve);
        let acknowledged = 1_000_000;
        let first = blob.bytes.slice(..acknowledged);
        let session = async {
            let uploads = format!("{}/blobs/uploads/", Self::REPOSITORY);
            let opened = client.request(Method::POST, &uploads).send().await?.status(&[202])?.location()?;
            let patch = client.follow(Method::PATCH, opened).header("content-range", format!("0-{}", acknowledged - 1));
            patch.body(&first).send().await?.status(&[202])?.location()
        };
        let session = session.await.unwrap_or_else(|failure| panic!("{failure}"));
        let rest = blob.bytes.slice(acknowledged..);
        tokio::spawn(Self::send_slowly(client, session.clone(), rest));
        Self { blob, session, acknowledged }
    }

    async fn send_slowly(client: Client, session: Url, rest: Bytes) {
        // Ends in an error when the server does, or not at all when the kill comes late; both are looked at later.
        let _ = client.follow(Method::PATCH, session).trickled(&rest, Duration::from_millis(20)).send().await;
    }

    async fn resumes_or_has_ended(&self, portreeve: &Portreeve) {
        if let Err(failure) = self.finish(&client(portreeve)).await {
            panic!("an upload that a kill had cut can neither be resumed nor is it gone: {failure}");
        }
    }

    async fn finish(&self, client: &Client) -> Result<(), Failure> {
        let status = client.follow(Method::GET, self.session.clone()).send().await?;
        if status.status(&[204, 404])?.status == 404 {
            return Ok(());
        }
        let last = status.header("range").and_then(|range| range.strip_prefix("0-")).and_then(|last| last.parse().ok());
        let received = last.map_or(0, |last: usize| last + 1);
        if received < self.acknowledged {
            return Err(status.instead_of(format_args!("at least the {} bytes acknowledged", self.acknowledged)));
        }
        // A token to push with comes first: a server that refuses a large body closes the connection under it.
        client.request(Method::POST, &format!("{}/blobs/uploads/", Self::REPOSITORY)).send().await?.status(&[202])?;
        let mut session = status.location()?;
        if received < self.blob.bytes.len() {
            let range = format!("{received}-{}", self.blob.bytes.len() - 1);
            let patch = client.follow(Method::PATCH, session).header("content-range", range);
            session = patch.body(&self.blob.bytes.slice(received..)).send().await?.status(&[202])?.location()?;
        }
        let closed = client.follow(Method::PUT, session).query("digest", &self.blob.digest).send().await?;
        let stored = client.follow(Method::GET, closed.status(&[201])?.location()?).send().await?;
        stored.status(&[200])?.body_is(&self.blob.bytes)?;
        Ok(())
    }
}
