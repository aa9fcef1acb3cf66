//! `tag`: single tags.

use std::io::Write;

use clap::{Args, Subcommand};
use serde_json::json;
use shared::{command::Method, repository::RepositoryName, tag::Tag};
use url::form_urlencoded;

use super::{CommandError, Where};

/// What can be done with a tag.
#[derive(Debug, Subcommand)]
pub enum TagCommand {
    /// Remove a tag; what it points at stays for a while.
    Delete(Delete),
}

/// Which tag to remove.
#[derive(Debug, Args)]
pub struct Delete {
    /// The repository.
    repository: RepositoryName,
    /// The tag.
    tag: Tag,
    #[command(flatten)]
    registry: Where,
    /// Although a rule of the namespace makes it immutable.
    #[arg(long)]
    force: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl TagCommand {
    /// Asks, and prints the answer to `out`.
    ///
    /// # Errors
    /// [`CommandError`], to be printed.
    pub async fn run(&self, out: &mut (impl Write + Send)) -> Result<(), CommandError> {
        match self {
            Self::Delete(delete) => delete.run(out).await,
        }
    }
}

impl Delete {
    async fn run(&self, out: &mut (impl Write + Send)) -> Result<(), CommandError> {
        let Self { repository, tag, registry, force, json } = self;
        let force = if *force { "true" } else { "false" };
        let path = about("tags", &[("repository", repository.as_str()), ("tag", tag.as_str()), ("force", force)]);
        registry.ask(&Method::DELETE, &path, None).await?;
        Ok(if *json {
            writeln!(out, "{}", json!({ "repository": repository, "deleted": tag }))
        } else {
            writeln!(out, "deleted {repository}:{tag}")
        }?)
    }
}

/// A route of the registry's admin API with a query.
pub(super) fn about(route: &str, query: &[(&str, &str)]) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    format!("/api/v1/registry/{route}?{query}")
}
