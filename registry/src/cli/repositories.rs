//! `repository` and `deleted`: repositories as a whole, and what can come back.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use shared::{command::Method, repository::RepositoryName};

use super::{CommandError, Where, tags::about};

/// What can be done with a repository.
#[derive(Debug, Subcommand)]
pub enum RepositoryCommand {
    /// Delete a repository with everything in it.
    Delete(Delete),
    /// Bring a deleted repository back.
    Restore(Restore),
}

/// Which repository to delete.
#[derive(Debug, Args)]
pub struct Delete {
    /// The repository.
    repository: RepositoryName,
    #[command(flatten)]
    registry: Where,
    /// Although rules of the namespace make tags in it immutable.
    #[arg(long)]
    force: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Which repository to bring back.
#[derive(Debug, Args)]
pub struct Restore {
    /// The repository.
    repository: RepositoryName,
    #[command(flatten)]
    registry: Where,
    /// Which of that name, as `deleted` lists them; without it, the one that was deleted last.
    #[arg(long)]
    id: Option<i64>,
    /// Delete a repository that has the name by now.
    #[arg(long)]
    force: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl RepositoryCommand {
    /// Asks, and prints the answer to `out`.
    ///
    /// # Errors
    /// [`CommandError`], to be printed.
    pub async fn run(&self, out: &mut (impl Write + Send)) -> Result<(), CommandError> {
        match self {
            Self::Delete(Delete { repository, registry, force, json }) => {
                let force = if *force { "true" } else { "false" };
                let path = about("repositories", &[("name", repository.as_str()), ("force", force)]);
                registry.ask(&Method::DELETE, &path, None).await?;
                Ok(if *json {
                    writeln!(out, "{}", json!({ "deleted": repository }))
                } else {
                    writeln!(out, "deleted {repository}")
                }?)
            }
            Self::Restore(Restore { repository, registry, id, force, json }) => {
                let path = about("repositories:restore", &[("name", repository.as_str())]);
                let answer = registry.ask(&Method::POST, &path, Some(&json!({ "id": id, "force": force }))).await?;
                Ok(if *json { writeln!(out, "{answer}") } else { writeln!(out, "restored {repository}") }?)
            }
        }
    }
}

/// What was deleted in a namespace and can still come back, those first whose window ends first.
#[derive(Debug, Args)]
pub struct DeletedCommand {
    /// The namespace: the first segment of repository names.
    namespace: RepositoryName,
    #[command(flatten)]
    registry: Where,
    /// Only of this repository.
    #[arg(long)]
    repository: Option<RepositoryName>,
    /// How many, at most 500.
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    limit: u32,
    /// Go on behind this place.
    #[arg(long, value_name = "PLACE")]
    after: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl DeletedCommand {
    /// Asks, and prints the answer to `out`.
    ///
    /// # Errors
    /// [`CommandError`], to be printed.
    pub async fn run(&self, out: &mut (impl Write + Send)) -> Result<(), CommandError> {
        let limit = self.limit.to_string();
        let mut query = vec![("limit", limit.as_str())];
        query.extend(self.repository.as_ref().map(|repository| ("repository", repository.as_str())));
        query.extend(self.after.as_deref().map(|after| ("after", after)));
        let path = about(&format!("namespaces/{}/deleted", self.namespace), &query);
        let answer = self.registry.ask(&Method::GET, &path, None).await?;
        Ok(if self.json { writeln!(out, "{answer}") } else { lines(&answer, out) }?)
    }
}

fn lines(answer: &Value, out: &mut impl Write) -> io::Result<()> {
    for one in answer["items"].as_array().into_iter().flatten() {
        let text = |key: &str| one[key].as_str().unwrap_or_default();
        let what = match text("kind") {
            "repository" => format!("repository {} (id {})", text("repository"), one["id"]),
            _ => {
                let tags: Vec<&str> = one["tags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                let tags = if tags.is_empty() { String::new() } else { format!(" ({})", tags.join(", ")) };
                format!("manifest {}@{}{tags}", text("repository"), text("digest"))
            }
        };
        let by = one["deleted_by"].as_str().map(|by| format!(" by {by}")).unwrap_or_default();
        writeln!(out, "{what}: deleted {}{by}, until {}", text("deleted_at"), text("until"))?;
    }
    match answer["next"].as_str() {
        Some(next) => writeln!(out, "more: --after {next}"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_come_back_is_a_line_each() {
        let times = json!({"deleted_at": "2026-11-21T20:00:00Z", "until": "2026-11-28T20:00:00Z"});
        let with = |mut one: Value| {
            for (key, value) in times.as_object().unwrap() {
                one[key] = value.clone();
            }
            one
        };
        let answer = json!({"items": [
            with(json!({"kind": "repository", "repository": "acme/old", "id": 7, "deleted_by": "ada"})),
            with(json!({"kind": "manifest", "repository": "acme/web", "digest": "sha256:1", "tags": ["v1", "v2"], "deleted_by": null})),
            with(json!({"kind": "manifest", "repository": "acme/web", "digest": "sha256:2", "tags": [], "deleted_by": "bob"})),
        ], "next": "manifest-1-2"});
        let mut out = Vec::new();
        lines(&answer, &mut out).unwrap();
        let times = |by: &str| format!("deleted 2026-11-21T20:00:00Z{by}, until 2026-11-28T20:00:00Z");
        let expected = format!(
            "repository acme/old (id 7): {}\nmanifest acme/web@sha256:1 (v1, v2): {}\nmanifest acme/web@sha256:2: {}\nmore: --after manifest-1-2\n",
            times(" by ada"),
            times(""),
            times(" by bob")
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
