//! A disk that is full: pushes are refused in the protocol's words and leave nothing behind, what was acknowledged stays, and deleting and collecting make
//! room again.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use reqwest::Method;
use serde_json::{Value, json};

use super::facts;
use crate::{
    protocol::{
        answer::{Answer, Failure},
        client::{Client, Login},
        samples::{Algorithm, Blob, Manifest, media},
    },
    support::{
        announce,
        server::{Launch, Portreeve, written},
    },
};

const REPOSITORY: &str = "acme/web";
const MIB: usize = 1 << 20;
/// What a disk is filled with, layer by layer.
const FILLING: usize = 4 * MIB;

/// What lies on the small disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    /// Bytes and facts.
    Everything,
    /// Bytes alone.
    Bytes,
}

/// A file system of 48 MiB in memory. It goes with the test.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf) -> Self {
        fs::create_dir_all(&at).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=48m,mode=700", "portreeve-test"]).arg(&at).status();
        assert!(mounted.unwrap().success(), "root can mount a file system");
        Self(at)
    }

    /// Somebody else takes every block that is left.
    fn fill(&self) -> PathBuf {
        let filler = self.0.join("filler");
        let mut file = File::create(&filler).unwrap();
        while file.write_all(&[b'x'; 4096]).is_ok() {}
        while file.write_all(b"x").is_ok() {}
        filler
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that a failed test leaves behind still has files open there.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// A registry with its disk, which goes first: nobody removes a directory that something is mounted on.
struct House {
    disk: SmallDisk,
    portreeve: Portreeve,
}

impl House {
    fn build(on: On) -> Self {
        let words = |data: &Path| {
            let config = json!({
                "version": "0.1",
                "http": {"addr": "127.0.0.1:0"},
                "storage": {"filesystem": {"rootdirectory": data.join("root")}, "delete": {"enabled": true}},
                "portreeve": {"collect": "24h", "trash": "0s"},
            });
            ["registry", "serve", &written(data, "config.yml", &config.to_string())].map(str::to_owned).to_vec()
        };
        let launch = Launch::command(words).quiet();
        let root = launch.data().join("root");
        let disk = SmallDisk::mount(if on == On::Everything { root.clone() } else { root.join("blobs") });
        Self { disk, portreeve: launch.start() }
    }

    fn root(&self) -> PathBuf {
        self.portreeve.data().join("root")
    }

    fn client(&self) -> Client {
        Client::new(self.portreeve.url().clone(), Login::Open)
    }

    async fn collect(&self) -> Value {
        let config = self.portreeve.data().join("config.yml");
        let command = crate::support::program::Program::new(crate::support::server::program());
        let outcome = command.args(["registry", "garbage-collect", "--json"]).arg(config).succeeds().await;
        serde_json::from_str(&outcome.stdout).unwrap()
    }
}

/// The admin API says it in its own form: large sets of rules are kept for one namespace after the other, until one does not fit.
async fn the_admin_api_says_so(house: &House) {
    let socket = reqwest::Client::builder().unix_socket(house.root().join("portreeve.sock")).build().unwrap();
    let patterns: Vec<String> = (0..50).map(|number| format!("{number:0>120}-*")).collect();
    let rule = |number| json!({"name": format!("rule {number}"), "keep": {"tags": patterns}});
    let rules = json!({"rules": (0..8).map(rule).collect::<Vec<Value>>()});
    for number in 0..400 {
        let path = format!("http://portreeve/api/v1/registry/namespaces/filling-{number}/lifecycle");
        let answer = socket.put(path).json(&rules).send().await.unwrap();
        if answer.status() == 200 {
            continue;
        }
        let problem: Value = answer.json().await.unwrap();
        let told = (&problem["status"], &problem["detail"]);
        assert_eq!(told, (&json!(507), &json!("the registry has no space left")));
        return;
    }
    panic!("twenty megabytes of rules fit on a full disk");
}

async fn push(client: &Client, blob: &Blob) -> Result<Answer, Failure> {
    let post = client.request(Method::POST, &format!("{REPOSITORY}/blobs/uploads/"));
    post.query("digest", &blob.digest).body(&blob.bytes).send().await
}

async fn put(client: &Client, tag: &str, image: &Manifest) -> Result<Answer, Failure> {
    let put = client.request(Method::PUT, &format!("{REPOSITORY}/manifests/{tag}"));
    put.header("content-type", media::IMAGE).body(&image.blob.bytes).send().await
}

fn image(config: &Blob, layers: &[&Blob], annotation: &str) -> Manifest {
    let layers: Vec<Value> = layers.iter().map(|layer| layer.descriptor(media::LAYER)).collect();
    let content = json!({
        "schemaVersion": 2, "mediaType": media::IMAGE, "config": config.descriptor(media::CONFIG), "layers": layers,
        "annotations": {"org.example.text": annotation},
    });
    Manifest::new(Algorithm::Sha256, &content)
}

/// 507 in the protocol's form, which tells nothing about the disk.
fn is_full(answer: &Answer) -> Result<(), Failure> {
    let error = answer.status(&[507])?.json()?["errors"][0].clone();
    let told = (error["code"].as_str(), error["message"].as_str());
    if told == (Some("UNKNOWN"), Some("the registry has no space left")) {
        Ok(())
    } else {
        Err(answer.instead_of("no space left"))
    }
}

/// What every push on a full disk comes to, and what was there before.
struct Before {
    kept: (Blob, Blob, Manifest),
    session: url::Url,
    upload: Blob,
}

impl Before {
    /// An image, and the first half of an upload.
    async fn push(client: &Client) -> Result<Self, Failure> {
        let (config, layer) = (Blob::random(Algorithm::Sha256, 500), Blob::random(Algorithm::Sha256, MIB));
        push(client, &config).await?.status(&[201])?;
        push(client, &layer).await?.status(&[201])?;
        let manifest = image(&config, &[&layer], "kept");
        put(client, "kept", &manifest).await?.status(&[201])?;
        let upload = Blob::random(Algorithm::Sha256, 2 * MIB);
        let begun = client.request(Method::POST, &format!("{REPOSITORY}/blobs/uploads/")).send().await?;
        let patch = client.follow(Method::PATCH, begun.status(&[202])?.location()?).body(&upload.bytes.slice(..MIB));
        let session = patch.send().await?.status(&[202])?.location()?;
        Ok(Self { kept: (config, layer, manifest), session, upload })
    }

    /// PATCH, both kinds of PUT, and a manifest where rows lie on the same disk are refused, and nothing of them is there.
    async fn nothing_more_goes_in(&self, client: &Client, on: On) -> Result<(), Failure> {
        let (config, layer, _) = &self.kept;
        let more = Blob::random(Algorithm::Sha256, MIB);
        is_full(&push(client, &more).await?)?;
        let rest = self.upload.bytes.slice(MIB..);
        is_full(&client.follow(Method::PATCH, self.session.clone()).body(&rest).send().await?)?;
        let close = client.follow(Method::PUT, self.session.clone()).query("digest", &self.upload.digest).body(&rest);
        is_full(&close.send().await?)?;
        let refused = image(config, &[layer], &"large ".repeat(100_000));
        if on == On::Everything {
            is_full(&put(client, "refused", &refused).await?)?;
        }
        for path in [format!("blobs/{}", more.digest), "manifests/refused".to_owned()] {
            client.request(Method::GET, &format!("{REPOSITORY}/{path}")).send().await?.status(&[404])?;
        }
        Ok(())
    }

    async fn is_there(&self, client: &Client) -> Result<(), Failure> {
        let (config, layer, manifest) = &self.kept;
        for blob in [config, layer] {
            let pull = client.request(Method::GET, &format!("{REPOSITORY}/blobs/{}", blob.digest)).send().await?;
            pull.status(&[200])?.body_is(&blob.bytes)?;
        }
        let pull = client.request(Method::GET, &format!("{REPOSITORY}/manifests/kept")).send().await?;
        pull.status(&[200])?.body_is(&manifest.blob.bytes)?;
        Ok(())
    }

    /// The upload goes on from what was acknowledged.
    async fn goes_on(&self, client: &Client) -> Result<(), Failure> {
        let status = client.follow(Method::GET, self.session.clone()).send().await?;
        let last =
            status.status(&[204])?.header("range").and_then(|range| range.strip_prefix("0-")?.parse::<usize>().ok());
        let there = last.map_or(0, |last| last + 1);
        assert!(there >= MIB, "{there} bytes of the {MIB} acknowledged");
        let close = client.follow(Method::PUT, self.session.clone()).query("digest", &self.upload.digest);
        close.body(&self.upload.bytes.slice(there..)).send().await?.status(&[201])?;
        let pull = client.request(Method::GET, &format!("{REPOSITORY}/blobs/{}", self.upload.digest)).send().await?;
        pull.status(&[200])?.body_is(&self.upload.bytes)?;
        Ok(())
    }
}

/// The registry's own bytes fill the disk: it stops in time to be able to delete.
async fn pushes_until_it_is_full(client: &Client, before: &Before) -> Result<usize, Failure> {
    let (config, ..) = &before.kept;
    for number in 0.. {
        let layer = Blob::random(Algorithm::Sha256, FILLING);
        let pushed = push(client, &layer).await?;
        if pushed.status == 507 {
            is_full(&pushed)?;
            fill_the_rest(client).await?;
            return Ok(number);
        }
        pushed.status(&[201])?;
        put(client, &format!("v{number}"), &image(config, &[&layer], "filling")).await?.status(&[201])?;
    }
    unreachable!("a disk of 48 MiB is full at some time")
}

/// What still fits, in smaller and smaller blobs.
async fn fill_the_rest(client: &Client) -> Result<(), Failure> {
    for size in [MIB, MIB / 8, MIB / 64] {
        while push(client, &Blob::random(Algorithm::Sha256, size)).await?.status(&[201, 507])?.status == 201 {}
    }
    Ok(())
}

async fn makes_room_again(on: On) -> Result<(), Failure> {
    let house = House::build(on);
    let client = house.client();
    let before = Before::push(&client).await?;
    let pushed = pushes_until_it_is_full(&client, &before).await?;
    before.nothing_more_goes_in(&client, on).await?;
    before.is_there(&client).await?;
    for number in 0..pushed {
        let path = format!("{REPOSITORY}/manifests/v{number}");
        let digest = client.request(Method::HEAD, &path).send().await?;
        let digest = digest.header("docker-content-digest").unwrap().to_owned();
        client.request(Method::DELETE, &format!("{REPOSITORY}/manifests/{digest}")).send().await?.status(&[202])?;
    }
    let freed = house.collect().await["totals"]["bytes"].as_u64().unwrap();
    assert!(freed >= (pushed * FILLING) as u64, "{freed} bytes of {pushed} layers");
    before.goes_on(&client).await?;
    before.is_there(&client).await?;
    assert_eq!(facts::findings(&house.root()).await, Vec::<String>::new());
    announce(&format!(
        "full disk ({on:?}): {pushed} images of 4 MiB until 507; {freed} bytes freed while it was full, 0 findings of the doctor"
    ));
    Ok(())
}

/// Somebody else takes the last block. Whatever cannot be written is refused, and all is well when they have gone.
async fn outlives_others(on: On) -> Result<(), Failure> {
    let house = House::build(on);
    let client = house.client();
    let before = Before::push(&client).await?;
    let filler = house.disk.fill();
    before.nothing_more_goes_in(&client, on).await?;
    if on == On::Everything {
        the_admin_api_says_so(&house).await;
    }
    before.is_there(&client).await?;
    // A row needs little room, and may find it or not; what it finds is told as it is.
    for _ in 0..20 {
        let begun = client.request(Method::POST, &format!("{REPOSITORY}/blobs/uploads/")).send().await?;
        if begun.status(&[202, 507])?.status == 507 {
            is_full(&begun)?;
        }
    }
    fs::remove_file(filler).unwrap();
    before.goes_on(&client).await?;
    before.is_there(&client).await?;
    house.collect().await;
    assert_eq!(facts::findings(&house.root()).await, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
#[ignore = "needs root, mount"]
async fn a_disk_full_of_bytes_and_facts_makes_room_again() -> Result<(), Failure> {
    makes_room_again(On::Everything).await
}

#[tokio::test]
#[ignore = "needs root, mount"]
async fn a_disk_full_of_bytes_makes_room_again() -> Result<(), Failure> {
    makes_room_again(On::Bytes).await
}

#[tokio::test]
#[ignore = "needs root, mount"]
async fn a_disk_that_others_fill_loses_nothing() -> Result<(), Failure> {
    outlives_others(On::Everything).await
}

#[tokio::test]
#[ignore = "needs root, mount"]
async fn a_disk_of_bytes_that_others_fill_loses_nothing() -> Result<(), Failure> {
    outlives_others(On::Bytes).await
}
