//! `manifest`: single manifests.

use std::io::Write;

use clap::{Args, Subcommand};
use serde_json::json;
use shared::{command::Method, digest::Digest, repository::RepositoryName};

use super::{
    CommandError, Where,
    tags::{about, restored},
};

/// What can be done with a manifest.
#[derive(Debug, Subcommand)]
pub enum ManifestCommand {
    /// Bring a deleted manifest back.
    Restore(Restore),
}

/// Which manifest to bring back.
#[derive(Debug, Args)]
pub struct Restore {
    /// The repository.
    repository: RepositoryName,
    /// The manifest.
    digest: Digest,
    #[command(flatten)]
    registry: Where,
    /// With the tags that it carried when it was deleted.
    #[arg(long)]
    tags: bool,
    /// Take those tags from where they point by now, and an index without children that are gone.
    #[arg(long)]
    force: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl ManifestCommand {
    /// Asks, and prints the answer to `out`.
    ///
    /// # Errors
    /// [`CommandError`], to be printed.
    pub async fn run(&self, out: &mut (impl Write + Send)) -> Result<(), CommandError> {
        let Self::Restore(Restore { repository, digest, registry, tags, force, json }) = self;
        let wanted = json!({ "digest": digest, "tags": tags, "force": force });
        let path = about("manifests:restore", &[("repository", repository.as_str())]);
        let answer = registry.ask(&Method::POST, &path, Some(&wanted)).await?;
        Ok(if *json { writeln!(out, "{answer}") } else { restored(&answer, out) }?)
    }
}
