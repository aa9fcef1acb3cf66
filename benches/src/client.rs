//! A registry client with nothing spared: its own time is not measured.

use anyhow::{Context, ensure};
use bytes::Bytes;
use reqwest::{Method, RequestBuilder, Response};
use shared::digest::{Algorithm, Digest};

use crate::server::Server;

/// One worker's connection, with a token for the repositories of the run.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    address: String,
    token: String,
}

impl Client {
    pub(crate) async fn connect(server: &Server, repositories: &[String]) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().tcp_nodelay(true).build()?;
        let client = Self { http, address: server.address.clone(), token: String::new() };
        client.renewed(server, repositories).await
    }

    /// The same connection with a new token.
    pub(crate) async fn renewed(&self, server: &Server, repositories: &[String]) -> anyhow::Result<Self> {
        self.asking(&server.realm, &server.robot, &scopes(repositories)).await
    }

    /// The same connection with an account's token for these scopes.
    pub(crate) async fn asking(
        &self,
        realm: &str,
        account: &(String, String),
        scopes: &[String],
    ) -> anyhow::Result<Self> {
        Ok(Self { token: self.token(realm, account, scopes).await?, ..self.clone() })
    }

    /// Asks the realm for one token over all scopes.
    pub(crate) async fn token(
        &self,
        realm: &str,
        (name, secret): &(String, String),
        scopes: &[String],
    ) -> anyhow::Result<String> {
        let mut request = self.http.get(realm).basic_auth(name, Some(secret)).query(&[("service", "portreeve")]);
        for scope in scopes {
            request = request.query(&[("scope", scope)]);
        }
        let answer: serde_json::Value = request.send().await?.error_for_status()?.json().await?;
        Ok(answer["token"].as_str().context("no token")?.to_owned())
    }

    /// Makes an account, as the administrator whose token it is, and answers its name and its password.
    pub(crate) async fn person(&self, administrator: &str, name: &str) -> anyhow::Result<(String, String)> {
        let made = self.http.post(format!("{}/api/v1/users", self.address)).bearer_auth(administrator);
        let made = made.json(&serde_json::json!({ "name": name })).send().await?.error_for_status()?;
        let made: serde_json::Value = made.json().await?;
        Ok((name.to_owned(), made["password"].as_str().context("no password")?.to_owned()))
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.address) };
        self.http.request(method, url).bearer_auth(&self.token)
    }

    /// Sends, insists on the status, and reads the body to its end.
    pub(crate) async fn expect(&self, request: RequestBuilder, status: u16) -> anyhow::Result<(Response, u64)> {
        let mut response = request.send().await?;
        ensure!(response.status().as_u16() == status, "{} {}", response.status(), response.url());
        let mut length = 0;
        while let Some(chunk) = response.chunk().await? {
            length += chunk.len() as u64;
        }
        Ok((response, length))
    }

    /// POST, PATCH, PUT, as Docker pushes a layer.
    pub(crate) async fn push_blob(&self, repository: &str, bytes: &Bytes) -> anyhow::Result<Digest> {
        let digest = Digest::of(Algorithm::Sha256, bytes);
        let post = self.request(Method::POST, &format!("/v2/{repository}/blobs/uploads/"));
        let location = self.location(post, 202).await?;
        let patch = self.request(Method::PATCH, &location).header("content-type", "application/octet-stream");
        let location = self.location(patch.body(bytes.clone()), 202).await?;
        let separator = if location.contains('?') { '&' } else { '?' };
        self.expect(self.request(Method::PUT, &format!("{location}{separator}digest={digest}")), 201).await?;
        Ok(digest)
    }

    pub(crate) async fn push_manifest(&self, repository: &str, tag: &str, manifest: &str) -> anyhow::Result<()> {
        let put = self.request(Method::PUT, &format!("/v2/{repository}/manifests/{tag}"));
        let put = put.header("content-type", MANIFEST).body(manifest.to_owned());
        self.expect(put, 201).await.map(|_| ())
    }

    async fn location(&self, request: RequestBuilder, status: u16) -> anyhow::Result<String> {
        let (response, _) = self.expect(request, status).await?;
        Ok(response.headers().get("location").context("no Location")?.to_str()?.to_owned())
    }
}

/// Pull and push in each of the repositories.
pub(crate) fn scopes(repositories: &[String]) -> Vec<String> {
    repositories.iter().map(|repository| format!("repository:{repository}:pull,push")).collect()
}

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An image manifest over the given blobs.
pub(crate) fn manifest(config: (Digest, usize), layers: &[(Digest, usize)], note: &str) -> String {
    let descriptor = |kind: &str, (digest, size): (Digest, usize)| serde_json::json!({"mediaType": kind, "digest": digest.to_string(), "size": size});
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": layers.iter().map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar+gzip", *layer)).collect::<Vec<_>>(),
        "annotations": {"note": note},
    })
    .to_string()
}

/// Bytes that no run has seen before; incompressible.
pub(crate) fn fresh_bytes(length: usize) -> anyhow::Result<Bytes> {
    use ring::rand::{SecureRandom, SystemRandom};
    let mut bytes = vec![0; length];
    SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow::anyhow!("no randomness"))?;
    Ok(bytes.into())
}
