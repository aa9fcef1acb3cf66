//! The phases of a run, each a bounded number of operations by four clients.

use std::{
    cell::RefCell,
    future::Future,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::future::try_join_all;
use reqwest::Method;
use shared::digest::Digest;

use crate::{
    catalog,
    client::{self, Client, fresh_bytes, scopes},
    measure::{self, Figures, Unit},
    server::Server,
};

const CLIENTS: usize = 4;
const TAGS: u32 = 200;
/// How many images, and how many blobs, each client pushes.
const IMAGES: u32 = 100;
const BLOBS: u32 = 200;
const GIB: f64 = (1_u64 << 30) as f64;

/// The files of the run that are downloaded, in bytes: the first is the small one, and `divide` leaves fewer of the others.
pub(crate) fn large(divide: u32) -> Vec<usize> {
    let many = (4 / divide.max(1)).max(2) as usize;
    [vec![10_000_000], vec![256 << 20; many]].concat()
}

/// Runs what a server of nothing but files can do, against one that has those of [`large`].
pub(crate) async fn run_files(server: &Server, divide: u32) -> anyhow::Result<Vec<Figures>> {
    let load = Load::new(server, divide).await?;
    let paths: Vec<String> = (0..large(divide).len()).map(|name| format!("/{name}")).collect();
    load.downloads(&paths).await
}

/// What can be measured alone.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Part {
    Pushes,
    Looks,
    Large,
    Tokens,
}

/// Runs one part of the phases.
pub(crate) async fn run_part(server: &Server, divide: u32, part: Part) -> anyhow::Result<Vec<Figures>> {
    let load = Load::new(server, divide).await?;
    match part {
        Part::Pushes => load.pushes().await,
        Part::Looks => load.looks().await,
        Part::Large => {
            push_image(&load.clients[0], TAGGED, "latest").await?;
            load.large().await
        }
        Part::Tokens => load.tokens().await,
    }
}

/// Runs every phase against the server.
pub(crate) async fn run(server: &Server, divide: u32) -> anyhow::Result<Vec<Figures>> {
    let load = Load::new(server, divide).await?;
    // The first start hashes a password, which takes more memory than all the rest.
    measure::forget_peak_memory(server.pid())?;
    let mut figures = load.pushes().await?;
    figures.extend(load.looks().await?);
    figures.extend(load.large().await?);
    figures.push(Figures {
        operation: "peak resident memory",
        value: measure::peak_memory(server.pid())?,
        unit: Unit::Memory,
    });
    if server.issues_tokens {
        figures.extend(load.tokens().await?);
        catalog::fill(&server.database()).await?;
        figures.push(load.catalog().await?);
    }
    Ok(figures)
}

/// The repository with [`TAGS`] tags.
const TAGGED: &str = "bench/tagged";

struct Load<'s> {
    server: &'s Server,
    divide: u32,
    /// One for each client.
    repositories: Vec<String>,
    clients: Vec<Client>,
}

/// An image that is there.
struct Pushed {
    manifest: String,
    layer: Digest,
}

impl<'s> Load<'s> {
    async fn new(server: &'s Server, divide: u32) -> anyhow::Result<Self> {
        let repositories: Vec<String> = (0..CLIENTS).map(|n| format!("bench/load-{n}")).collect();
        let mut load = Self { server, divide, repositories, clients: Vec::new() };
        for _ in 0..CLIENTS {
            load.clients.push(Client::connect(server, &load.names()).await?);
        }
        Ok(load)
    }

    fn names(&self) -> Vec<String> {
        self.repositories.iter().cloned().chain([TAGGED.to_owned()]).collect()
    }

    async fn pushes(&self) -> anyhow::Result<Vec<Figures>> {
        let image = |client: Client, repository: String, n: u32| async move {
            push_image(&client, &repository, &format!("t{n}")).await.map(drop)
        };
        let blob = |client: Client, repository: String, _| async move {
            client.push_blob(&repository, &fresh_bytes(1_000_000)?).await.map(drop)
        };
        let mut manifests = Vec::new();
        for (client, repository) in self.clients.iter().zip(&self.repositories) {
            manifests.push(push_image(client, repository, "latest").await?.manifest);
        }
        let manifest = |client: Client, repository: String, n: u32| {
            let mine = self.repositories.iter().position(|name| *name == repository).unwrap_or(0);
            let manifest = manifests[mine].clone();
            async move { client.push_manifest(&repository, &format!("again-{n}"), &manifest).await }
        };
        // An image is smaller than two of the blobs.
        let bytes = u64::from(2 * self.count(IMAGES) + self.count(BLOBS)) * CLIENTS as u64 * 1_000_000;
        measure::touch_memory(self.server.home(), bytes)?;
        Ok(vec![
            self.phase("push an image of 3 × 256 KiB", IMAGES, image).await?,
            self.phase("push 1 MB (POST, PATCH, PUT)", BLOBS, blob).await?,
            self.phase("PUT manifest with a new tag", 1_000, manifest).await?,
        ])
    }

    async fn looks(&self) -> anyhow::Result<Vec<Figures>> {
        let pushed = push_image(&self.clients[0], TAGGED, "latest").await?;
        for n in 1..TAGS {
            self.clients[0].push_manifest(TAGGED, &format!("v{n:03}"), &pushed.manifest).await?;
        }
        let mut unused = Vec::new();
        for _ in 0..self.count(FIRST_USES) * CLIENTS as u32 + CLIENTS as u32 {
            unused.push(self.clients[0].renewed(self.server, &self.names()).await?);
        }
        let unused = RefCell::new(unused);
        let first_use = |client: Client, _, _| {
            let client = unused.borrow_mut().pop().unwrap_or(client);
            get_manifest(client)
        };
        let head = |client: Client, _, _| {
            let path = format!("/v2/{TAGGED}/blobs/{}", pushed.layer);
            async move { client.expect(client.request(Method::HEAD, &path), 200).await.map(drop) }
        };
        let list = |client: Client, _, _| async move {
            let path = format!("/v2/{TAGGED}/tags/list?n={TAGS}");
            client.expect(client.request(Method::GET, &path), 200).await.map(drop)
        };
        let reader = [format!("repository:{TAGGED}:pull")];
        let reader = self.clients[0].asking(&self.server.realm, &self.server.robot, &reader).await?;
        let look = |_, _, _| head(reader.clone(), String::new(), 0);
        Ok(vec![
            self.phase("GET manifest by tag", 20_000, |client, _, _| get_manifest(client)).await?,
            self.phase("… with a token never seen before", FIRST_USES, first_use).await?,
            self.phase("HEAD blob, by a pusher", 20_000, head).await?,
            self.phase("HEAD blob, by a reader", 20_000, look).await?,
            self.phase("tags/list of 200", 4_000, list).await?,
        ])
    }

    async fn large(&self) -> anyhow::Result<Vec<Figures>> {
        let (client, repository) = (&self.clients[0], &self.repositories[0]);
        let path = |repository: &str, digest| format!("/v2/{repository}/blobs/{digest}");
        let lengths = large(self.divide);
        let mut paths = vec![path(TAGGED, client.push_blob(TAGGED, &fresh_bytes(lengths[0])?).await?)];
        let large: Vec<Bytes> = lengths[1..].iter().map(|length| fresh_bytes(*length)).collect::<Result<_, _>>()?;
        measure::touch_memory(self.server.home(), lengths.iter().sum::<usize>() as u64)?;
        let before = self.spent()?;
        for bytes in &large {
            paths.push(path(repository, client.push_blob(repository, bytes).await?));
        }
        let uploads = self.per_gib("upload of 256 MiB", before, large.iter().map(|bytes| bytes.len() as u64).sum())?;
        let mut figures = vec![uploads];
        figures.extend(self.downloads(&paths).await?);
        Ok(figures)
    }

    /// Reads what lies at the paths, the first of them more often.
    async fn downloads(&self, paths: &[String]) -> anyhow::Result<Vec<Figures>> {
        let get = async |client: &Client, path: &str| {
            anyhow::Ok(client.expect(client.request(Method::GET, path), 200).await?.1)
        };
        let ten = |client: Client, _, _| async move { get(&client, &paths[0]).await.map(drop) };
        let ten = self.phase("GET 10 MB blob", 400, ten).await?;
        let before = self.spent()?;
        let mut read = 0;
        for path in paths[1..].iter().cycle().take(2 * (paths.len() - 1)) {
            read += get(&self.clients[0], path).await?;
        }
        Ok(vec![ten, self.per_gib("GET 256 MiB blob", before, read)?])
    }

    /// Pages of the catalog, each beginning elsewhere.
    async fn catalog(&self) -> anyhow::Result<Figures> {
        let scopes = ["registry:catalog:*".to_owned()];
        let client = self.clients[0].asking(&self.server.realm, &self.server.admin, &scopes).await?;
        let page = |_, _, n: u32| {
            let last = format!("{}{:06}", catalog::PREFIX, n * 97 % catalog::REPOSITORIES);
            let get = client.request(Method::GET, &format!("/v2/_catalog?n=100&last={last}"));
            let client = client.clone();
            async move { client.expect(get, 200).await.map(drop) }
        };
        self.phase("catalog, 100 of 100,000", 1_000, page).await
    }

    async fn tokens(&self) -> anyhow::Result<Vec<Figures>> {
        let ask = |client: &Client, account: &(String, String)| {
            let (client, realm, account) = (client.clone(), self.server.realm.clone(), account.clone());
            let repositories = vec![TAGGED.to_owned()];
            async move { client.token(&realm, &account, &scopes(&repositories)).await.map(drop) }
        };
        // Once, so that the password is remembered.
        ask(&self.clients[0], &self.server.admin).await?;
        let by_key = self.worked(4_000, |client, _, _| ask(&client, &self.server.robot)).await?;
        let remembered = self.worked(2_000, |client, _, _| ask(&client, &self.server.admin)).await?;
        // Whose password was compared a moment ago is remembered: everybody comes once.
        let strangers = RefCell::new(self.people(self.count(HASHED) + 1).await?);
        let stranger = |client: Client, _, _| {
            let next = strangers.borrow_mut().pop();
            async move { ask(&client, &next.context("nobody is left who was not there")?).await }
        };
        let hashed = self.worked(HASHED, stranger).await?;
        Ok(vec![
            by_key.cost("token by robot key"),
            by_key.rate("tokens a second by robot key"),
            remembered.cost("token by a remembered password"),
            remembered.rate("tokens a second by a remembered password"),
            hashed.cost("token by a password to be hashed"),
            hashed.rate("tokens a second by a password to be hashed"),
        ])
    }

    /// So many people for each client, of whom none has been there.
    async fn people(&self, each: u32) -> anyhow::Result<Vec<(String, String)>> {
        let mut people = Vec::new();
        for number in 0..each * CLIENTS as u32 {
            people.push(self.clients[0].person(&self.server.administrator, &format!("person-{number}")).await?);
        }
        Ok(people)
    }

    /// What an operation costs of which each client makes `count`.
    async fn phase<F: Future<Output = anyhow::Result<()>>>(
        &self,
        operation: &'static str,
        count: u32,
        each: impl Fn(Client, String, u32) -> F,
    ) -> anyhow::Result<Figures> {
        Ok(self.worked(count, each).await?.cost(operation))
    }

    /// Runs `count` operations by each client at once. Each has a new token and has made one operation before that counts for nothing: what
    /// is measured is neither the token's verification nor the first growth of something.
    async fn worked<F: Future<Output = anyhow::Result<()>>>(
        &self,
        count: u32,
        each: impl Fn(Client, String, u32) -> F,
    ) -> anyhow::Result<Worked> {
        let count = self.count(count);
        let mut workers = Vec::new();
        for (client, repository) in self.clients.iter().zip(&self.repositories) {
            let client = client.renewed(self.server, &self.names()).await?;
            each(client.clone(), repository.clone(), count).await?;
            workers.push((client, repository));
        }
        let (before, begun) = (self.spent()?, Instant::now());
        try_join_all(workers.iter().map(|(client, repository)| async {
            for n in 0..count {
                each(client.clone(), (*repository).clone(), n).await?;
            }
            anyhow::Ok(())
        }))
        .await?;
        let (elapsed, spent) = (begun.elapsed(), self.spent()?.saturating_sub(before));
        Ok(Worked { operations: f64::from(count) * self.clients.len() as f64, spent, elapsed })
    }

    fn count(&self, count: u32) -> u32 {
        (count / self.divide).max(1)
    }

    fn spent(&self) -> anyhow::Result<Duration> {
        measure::processor_time(self.server.pid())
    }

    fn per_gib(&self, operation: &'static str, before: Duration, bytes: u64) -> anyhow::Result<Figures> {
        let spent = self.spent()?.saturating_sub(before);
        Ok(Figures { operation, value: spent.as_secs_f64() * GIB / bytes as f64, unit: Unit::PerGib })
    }
}

/// How many tokens each client uses once.
const FIRST_USES: u32 = 500;
/// How many people come by each client with a password that nobody has compared before.
const HASHED: u32 = 25;

/// Operations that were made.
struct Worked {
    operations: f64,
    /// The server's processor time.
    spent: Duration,
    /// Time on the wall, the clients' own work included.
    elapsed: Duration,
}

impl Worked {
    fn cost(&self, operation: &'static str) -> Figures {
        Figures { operation, value: self.spent.as_secs_f64() * 1e6 / self.operations, unit: Unit::PerOperation }
    }

    fn rate(&self, operation: &'static str) -> Figures {
        Figures { operation, value: self.operations / self.elapsed.as_secs_f64(), unit: Unit::Rate }
    }
}

async fn get_manifest(client: Client) -> anyhow::Result<()> {
    let path = format!("/v2/{TAGGED}/manifests/latest");
    let get = client.request(Method::GET, &path).header("accept", client::MANIFEST);
    client.expect(get, 200).await.map(drop)
}

async fn push_image(client: &Client, repository: &str, tag: &str) -> anyhow::Result<Pushed> {
    let mut layers = Vec::new();
    for _ in 0..3 {
        let bytes = fresh_bytes(256 << 10)?;
        layers.push((client.push_blob(repository, &bytes).await?, bytes.len()));
    }
    let config = Bytes::from(format!("{{\"architecture\":\"amd64\",\"os\":\"linux\",\"note\":\"{}\"}}", layers[0].0));
    let config = (client.push_blob(repository, &config).await?, config.len());
    let manifest = client::manifest(config, &layers, tag);
    client.push_manifest(repository, tag, &manifest).await?;
    Ok(Pushed { manifest, layer: layers[0].0 })
}
