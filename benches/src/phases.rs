//! The phases of a run, each a bounded number of operations by four clients.

use std::future::Future;

use bytes::Bytes;
use reqwest::Method;
use shared::digest::Digest;

use crate::{
    client::{self, Client, fresh_bytes},
    measure::{self, Figures, Unit},
    server::Server,
};

const CLIENTS: usize = 4;
const GIB: f64 = (1_u64 << 30) as f64;

/// Runs every phase against the server.
pub(crate) async fn run(server: &Server, divide: u32) -> anyhow::Result<Vec<Figures>> {
    let repositories: Vec<String> = (0..CLIENTS).map(|n| format!("bench/load-{n}")).collect();
    let mut load = Load { server, divide, repositories, clients: Vec::new() };
    for _ in 0..CLIENTS {
        load.clients.push(Client::connect(server, &load.repositories).await?);
    }
    let mut figures = load.small().await?;
    figures.extend(load.large().await?);
    if server.issues_tokens {
        figures.extend(load.tokens().await?);
    }
    figures.push(Figures {
        operation: "peak resident memory",
        value: measure::peak_memory(server.pid())?,
        unit: Unit::Memory,
    });
    Ok(figures)
}

struct Load<'s> {
    server: &'s Server,
    divide: u32,
    repositories: Vec<String>,
    clients: Vec<Client>,
}

/// What one client's repository holds after the first phase.
#[derive(Clone)]
struct Pushed {
    manifest: String,
    layer: Digest,
}

impl Load<'_> {
    async fn small(&self) -> anyhow::Result<Vec<Figures>> {
        let mut figures = Vec::new();
        figures.push(self.phase("push an image of 3 × 256 KiB", 100, |client, repository, n| async move {
            push_image(&client, &repository, &format!("t{n}")).await.map(|_| ())
        }).await?);
        let mut pushed = Vec::new();
        for (client, repository) in self.clients.iter().zip(&self.repositories) {
            pushed.push(push_image(client, repository, "latest").await?);
        }
        let of = |repository: &str| pushed[self.repositories.iter().position(|name| name == repository).unwrap_or(0)].clone();
        figures.push(self.phase("GET manifest by tag", 20_000, |client, repository, _| async move {
            let get = client.request(Method::GET, &format!("/v2/{repository}/manifests/latest")).header("accept", client::MANIFEST);
            client.expect(get, 200).await.map(|_| ())
        }).await?);
        figures.push(self.phase("HEAD blob", 20_000, |client, repository, _| {
            let layer = of(&repository).layer;
            async move {
                client.expect(client.request(Method::HEAD, &format!("/v2/{repository}/blobs/{layer}")), 200).await.map(|_| ())
            }
        }).await?);
        figures.push(self.phase("PUT manifest with a new tag", 1_000, |client, repository, n| {
            let manifest = of(&repository).manifest;
            async move { client.push_manifest(&repository, &format!("again-{n}"), &manifest).await }
        }).await?);
        figures.push(self.phase("tags/list of 200", 4_000, |client, repository, _| async move {
            client.expect(client.request(Method::GET, &format!("/v2/{repository}/tags/list?n=200")), 200).await.map(|_| ())
        }).await?);
        figures.push(self.phase("push 1 MB (POST, PATCH, PUT)", 200, |client, repository, _| async move {
            client.push_blob(&repository, &fresh_bytes(1_000_000)?).await.map(|_| ())
        }).await?);
        Ok(figures)
    }

    async fn large(&self) -> anyhow::Result<Vec<Figures>> {
        let mut figures = Vec::new();
        let ten = fresh_bytes(10_000_000)?;
        let mut digest = None;
        for (client, repository) in self.clients.iter().zip(&self.repositories) {
            digest = Some(client.push_blob(repository, &ten).await?);
        }
        let Some(digest) = digest else { return Ok(figures) };
        figures.push(self.phase("GET 10 MB blob", 400, |client, repository, _| {
            let digest = digest.clone();
            async move {
                client.expect(client.request(Method::GET, &format!("/v2/{repository}/blobs/{digest}")), 200).await.map(|_| ())
            }
        }).await?);
        let large: Bytes = fresh_bytes(256 << 20)?;
        let (client, repository) = (&self.clients[0], &self.repositories[0]);
        let before = measure::processor_time(self.server.pid())?;
        let digest = client.push_blob(repository, &large).await?;
        figures.push(self.per_gib("upload of 256 MiB", before, large.len() as u64)?);
        let before = measure::processor_time(self.server.pid())?;
        let mut read = 0;
        for _ in 0..8 {
            read += client.expect(client.request(Method::GET, &format!("/v2/{repository}/blobs/{digest}")), 200).await?.1;
        }
        figures.push(self.per_gib("GET 256 MiB blob", before, read)?);
        Ok(figures)
    }

    async fn tokens(&self) -> anyhow::Result<Vec<Figures>> {
        let http = reqwest::Client::new();
        let ask = |account: &(String, String)| {
            let (http, realm, account) = (http.clone(), self.server.realm.clone(), account.clone());
            let repositories = vec![self.repositories[0].clone()];
            async move { client::token(&http, &realm, &account, &repositories).await.map(|_| ()) }
        };
        ask(&self.server.admin).await?;
        Ok(vec![
            self.phase("token by robot key", 4_000, |_, _, _| ask(&self.server.robot)).await?,
            self.phase("token by a remembered password", 4_000, |_, _, _| ask(&self.server.admin)).await?,
        ])
    }

    async fn phase<F: Future<Output = anyhow::Result<()>>>(
        &self,
        operation: &'static str,
        count: u32,
        each: impl Fn(Client, String, u32) -> F,
    ) -> anyhow::Result<Figures> {
        let count = (count / self.divide).max(1);
        let before = measure::processor_time(self.server.pid())?;
        let workers = self.clients.iter().zip(&self.repositories).map(|(client, repository)| async {
            for n in 0..count {
                each(client.clone(), repository.clone(), n).await?;
            }
            anyhow::Ok(())
        });
        futures_util::future::try_join_all(workers).await?;
        let spent = measure::processor_time(self.server.pid())?.saturating_sub(before);
        let operations = f64::from(count) * self.clients.len() as f64;
        Ok(Figures { operation, value: spent.as_secs_f64() * 1e6 / operations, unit: Unit::PerOperation })
    }

    fn per_gib(&self, operation: &'static str, before: std::time::Duration, bytes: u64) -> anyhow::Result<Figures> {
        let spent = measure::processor_time(self.server.pid())?.saturating_sub(before);
        Ok(Figures { operation, value: spent.as_secs_f64() * GIB / bytes as f64, unit: Unit::PerGib })
    }
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
    Ok(Pushed { manifest, layer: layers[0].0.clone() })
}
