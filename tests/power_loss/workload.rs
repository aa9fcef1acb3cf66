//! What is done to the server whose calls are traced: pushes in every way, tags that move, deletions, and a collector that hardly rests.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;

use super::replay::TRACED;
use crate::{
    protocol::{
        Suite,
        client::{Client, Login},
        pushes::{Expect, Way},
        samples::{Algorithm, Blob, Manifest, media, random},
    },
    support::server::{Launch, Portreeve, written},
};

/// Who pushes at the same time, each into a repository of its own.
const PUSHERS: usize = 3;

/// How many images each of them pushes.
const IMAGES: usize = 10;

/// The tag that moves to every image.
pub(super) const MOVING: &str = "latest";

/// Longer than any text that a call of the server has.
const LONGEST_TEXT: &str = "33554432";

/// An image, pushed under a tag of its own and then under the one that moves.
pub(super) struct Image {
    pub(super) repository: String,
    pub(super) tag: String,
    pub(super) manifest: Manifest,
    pub(super) blobs: Vec<Blob>,
}

/// What was done, and what the tracer has written of it.
pub(super) struct Workload {
    /// Where the server kept its data.
    pub(super) data: PathBuf,
    pub(super) trace: String,
    /// Images that nobody has deleted; those of one repository in the order of their pushes.
    pub(super) images: Vec<Image>,
    /// Every blob that was pushed, by its digest.
    pub(super) blobs: BTreeMap<String, Bytes>,
    /// How many answers of 201 the pushers of manifests got.
    pub(super) manifests_answered: usize,
    /// And those of blobs.
    pub(super) blobs_answered: usize,
    _room: TempDir,
}

impl Workload {
    pub(super) async fn run() -> Self {
        let room = tempfile::tempdir().expect("a directory can be made");
        let (data, trace) = (room.path().join("data"), room.path().join("trace"));
        fs::create_dir(&data).expect("a directory can be made");
        let traced = format!("trace={}", TRACED.replace([' ', '\n'], ""));
        let strace = [
            "strace",
            "-f",
            "-v",
            "-xx",
            "-s",
            LONGEST_TEXT,
            "--seccomp-bpf",
            "-e",
            &traced,
            "-e",
            "signal=none",
            "-o",
            trace.to_str().expect("a path of this test is text"),
        ];
        let mut server = serving(&data).under(&strace).start();
        let images = push_all(&server).await;
        let deleted = push_and_delete(&server).await;
        stop(&data, &mut server);
        let pushed = || images.iter().chain(&deleted).flat_map(|image| &image.blobs);
        let blobs = pushed().map(|blob| (blob.digest.clone(), blob.bytes.clone())).collect();
        let (manifests_answered, blobs_answered) = (2 * (images.len() + deleted.len()), pushed().count());
        let trace = fs::read_to_string(&trace).expect("a trace is text");
        Self { data, trace, images, blobs, manifests_answered, blobs_answered, _room: room }
    }
}

/// A registry for everybody over a data directory, whose collector hardly rests.
pub(super) fn serving(data: &Path) -> Launch {
    let data = data.display().to_string();
    Launch::command(|home| {
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: '{data}'}}, delete: {{enabled: true}}}}\n\
             http: {{addr: '127.0.0.1:0'}}\nportreeve: {{collect: 100ms, trash: 0s, grace: 100ms}}\n"
        );
        ["registry", "serve", &written(home, "config.yml", &config)].map(str::to_owned).to_vec()
    })
    .quiet()
}

pub(super) fn client(server: &Portreeve) -> Client {
    Client::new(server.url().clone(), Login::Anonymous)
}

/// The tracer is the child; the server says its own number in the lock of its directory.
fn stop(data: &Path, tracer: &mut Portreeve) {
    let lock = fs::read_to_string(data.join("lock")).expect("a server has its lock");
    let server = lock.parse().ok().and_then(Pid::from_raw).unwrap_or_else(|| panic!("no process: {lock:?}"));
    kill_process(server, Signal::TERM).expect("the server can be told");
    assert!(tracer.ended().success(), "{}", tracer.log());
}

async fn push_all(server: &Portreeve) -> Vec<Image> {
    let pushers = (0..PUSHERS).map(|number| {
        let client = client(server);
        tokio::spawn(async move {
            let repository = format!("acme/pusher-{number}");
            // One layer is everybody's, one the repository's, one the image's.
            let (common, own) = (Blob::of(Algorithm::Sha256, vec![7; 30_000]), Blob::random(Algorithm::Sha256, 9_000));
            let suite = Suite::new(client, &repository, "acme/unused");
            let mut images = Vec::new();
            for turn in 0..IMAGES {
                let image = image(&repository, &format!("t-{turn}"), vec![common.clone(), own.clone()]);
                push(&suite, &image, turn).await;
                images.push(image);
            }
            images
        })
    });
    let mut images = Vec::new();
    for pusher in pushers.collect::<Vec<_>>() {
        images.extend(pusher.await.expect("a pusher ends"));
    }
    images
}

/// Images whose manifests and blobs are removed while the collector runs.
async fn push_and_delete(server: &Portreeve) -> Vec<Image> {
    let (mut deleted, deleter) = (Vec::new(), client(server));
    let suite = Suite::new(client(server), "acme/deleted", "acme/unused");
    for turn in 0..4 {
        let image = image("acme/deleted", &format!("t-{turn}"), Vec::new());
        push(&suite, &image, turn).await;
        for path in [format!("manifests/{}", image.manifest.digest()), format!("blobs/{}", image.blobs[0].digest)] {
            let gone = deleter.request(Method::DELETE, &format!("acme/deleted/{path}")).send().await;
            gone.and_then(|answer| answer.status(&[202]).map(drop)).unwrap_or_else(|failure| panic!("{failure}"));
        }
        deleted.push(image);
        // A sweep later its bytes go.
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    deleted
}

/// An image of these layers and two of its own.
pub(super) fn image(repository: &str, tag: &str, shared: Vec<Blob>) -> Image {
    let mut blobs = vec![Blob::random(Algorithm::Sha256, 200), Blob::random(Algorithm::Sha256, 20_000)];
    blobs.extend(shared);
    let content = json!({
        "schemaVersion": 2,
        "mediaType": media::IMAGE,
        "config": blobs[0].descriptor(media::CONFIG),
        "layers": blobs[1..].iter().map(|layer| layer.descriptor(media::LAYER)).collect::<Vec<_>>(),
        "annotations": {"noise": hex::encode(random(1500))},
    });
    let manifest = Manifest::new(Algorithm::Sha256, &content);
    Image { repository: repository.to_owned(), tag: tag.to_owned(), manifest, blobs }
}

/// Pushes it under both of its tags.
pub(super) async fn push(suite: &Suite, image: &Image, turn: usize) {
    let pushed = async {
        for (number, blob) in image.blobs.iter().enumerate() {
            let way = Way::IN_TURN[(turn + number) % Way::IN_TURN.len()];
            suite.push_blob(&image.repository, blob, way, Expect::Stored).await?;
        }
        suite.put_manifest(&image.tag, &image.manifest, Expect::Stored).await?;
        suite.put_manifest(MOVING, &image.manifest, Expect::Stored).await
    };
    pushed.await.unwrap_or_else(|failure| panic!("{failure}"));
}
