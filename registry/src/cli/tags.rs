//! `tag`: the history of a tag, single tags removed and restored, and many removed by a pattern.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use shared::{command::Method, repository::RepositoryName, tag::Tag};
use url::form_urlencoded;

use super::{CommandError, Where};

/// What can be done with a tag.
#[derive(Debug, Subcommand)]
pub enum TagCommand {
    /// What a tag pointed at, the newest first.
    History(History),
    /// Let a tag point again at what it pointed at.
    Restore(Restore),
    /// Remove a tag; what it points at stays for a while.
    Delete(Delete),
    /// Remove every tag of a namespace that matches a pattern: what a closed pull request leaves behind.
    DeleteMatching(DeleteMatching),
}

/// Which tag.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// The repository.
    repository: RepositoryName,
    /// The tag.
    tag: Tag,
    #[command(flatten)]
    registry: Where,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Which part of which history.
#[derive(Debug, Args)]
pub struct History {
    #[command(flatten)]
    which: Which,
    /// How many steps, at most 500.
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    limit: u32,
    /// Only steps before this version.
    #[arg(long, value_name = "VERSION")]
    after: Option<i64>,
}

/// Which tag, and where to.
#[derive(Debug, Args)]
pub struct Restore {
    #[command(flatten)]
    which: Which,
    /// The version of its history that it returns to; without it, the newest that is not where it stands.
    #[arg(long)]
    version: Option<i64>,
    /// Take it from where it points by now, although a rule of the namespace makes it immutable.
    #[arg(long)]
    force: bool,
}

/// Which tag to remove.
#[derive(Debug, Args)]
pub struct Delete {
    #[command(flatten)]
    which: Which,
    /// Although a rule of the namespace makes it immutable.
    #[arg(long)]
    force: bool,
}

impl TagCommand {
    /// Asks, and prints the answer to `out`.
    ///
    /// # Errors
    /// [`CommandError`], to be printed.
    pub async fn run(&self, out: &mut (impl Write + Send)) -> Result<(), CommandError> {
        match self {
            Self::History(history) => history.run(out).await,
            Self::Restore(restore) => restore.run(out).await,
            Self::Delete(delete) => delete.run(out).await,
            Self::DeleteMatching(delete) => delete.run(out).await,
        }
    }
}

impl History {
    async fn run(&self, out: &mut (impl Write + Send)) -> Result<(), CommandError> {
        let Self { which: Which { repository, tag, registry, json }, limit, after } = self;
        let (limit, after) = (limit.to_string(), after.map(|after| after.to_string()));
        let mut query = vec![("repository", repository.as_str()), ("tag", tag.as_str()), ("limit", &limit)];
        query.extend(after.as_deref().map(|after| ("after", after)));
        let answer = registry.ask(&Method::GET, &about("tags/history", &query), None).await?;
        Ok(if *json { writeln!(out, "{answer}") } else { steps(&answer, out) }?)
    }
}

fn steps(answer: &Value, out: &mut impl Write) -> io::Result<()> {
    for step in answer["items"].as_array().into_iter().flatten() {
        let [at, digest, actor, manifest] = ["at", "digest", "actor", "manifest"].map(|key| step[key].as_str());
        let note = match (digest, manifest) {
            (Some(_), Some("deleted")) => " (deleted, can come back)",
            (Some(_), Some("gone")) => " (gone)",
            _ => "",
        };
        let (digest, at, actor) = (digest.unwrap_or("deleted"), at.unwrap_or_default(), actor.unwrap_or_default());
        writeln!(out, "{} {at} {digest}{note} by {actor}", step["version"])?;
    }
    match answer["next"].as_str() {
        Some(next) => writeln!(out, "older ones: --after {next}"),
        None => Ok(()),
    }
}

impl Restore {
    async fn run(&self, out: &mut (impl Write + Send)) -> Result<(), CommandError> {
        let Self { which: Which { repository, tag, registry, json }, version, force } = self;
        let wanted = json!({ "tag": tag, "version": version, "force": force });
        let path = about("tags:restore", &[("repository", repository.as_str())]);
        let answer = registry.ask(&Method::POST, &path, Some(&wanted)).await?;
        Ok(if *json { writeln!(out, "{answer}") } else { restored(&answer, out) }?)
    }
}

/// What came back, a line for each tag, or one for the manifest where there is none.
pub(super) fn restored(answer: &Value, out: &mut impl Write) -> io::Result<()> {
    let [repository, digest] = ["repository", "digest"].map(|key| answer[key].as_str().unwrap_or_default());
    let tags = answer["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
    if tags.is_empty() {
        return writeln!(out, "restored {repository}@{digest}");
    }
    tags.iter()
        .try_for_each(|tag| writeln!(out, "restored {repository}:{} at {digest}", tag.as_str().unwrap_or_default()))
}

impl Delete {
    async fn run(&self, out: &mut (impl Write + Send)) -> Result<(), CommandError> {
        let Self { which: Which { repository, tag, registry, json }, force } = self;
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

/// Which tags to remove.
#[derive(Debug, Args)]
pub struct DeleteMatching {
    /// The namespace: the first segment of repository names.
    namespace: RepositoryName,
    /// The pattern, with * for any characters and ? for one: pr-12, or 'pr-12-*'.
    #[arg(long)]
    pattern: String,
    #[command(flatten)]
    registry: Where,
    /// Only in this repository; can be said several times.
    #[arg(long, value_name = "NAME", conflicts_with = "repositories")]
    repository: Vec<RepositoryName>,
    /// Only in repositories that match, such as 'acme/ci/**'.
    #[arg(long, value_name = "PATTERN")]
    repositories: Option<String>,
    /// Say what would go, and remove nothing.
    #[arg(short = 'd', long)]
    dry_run: bool,
    /// Every tag of every repository is meant.
    #[arg(long)]
    confirm: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl DeleteMatching {
    async fn run(&self, out: &mut (impl Write + Send)) -> Result<(), CommandError> {
        let Self { namespace, pattern, registry, repository, repositories, dry_run, confirm, json } = self;
        let mut body = json!({"pattern": pattern, "dry_run": dry_run, "confirm": confirm});
        if let Some(repositories) = repositories {
            body["repositories"] = json!(repositories);
        } else if !repository.is_empty() {
            body["repositories"] = json!(repository);
        }
        let path = format!("/api/v1/registry/namespaces/{namespace}/tags:delete");
        let answer = registry.ask(&Method::POST, &path, Some(&body)).await?;
        Ok(if *json { writeln!(out, "{answer}") } else { deleted(&answer, out) }?)
    }
}

fn deleted(answer: &Value, out: &mut impl Write) -> io::Result<()> {
    let verb = if answer["dry_run"] == true { "would go" } else { "deleted" };
    for found in answer["repositories"].as_array().into_iter().flatten() {
        let name = found["repository"].as_str().unwrap_or_default();
        writeln!(out, "{name}: {} {verb}", found["deleted"])?;
        for left in found["left"].as_array().into_iter().flatten() {
            let [tag, reason] = ["tag", "reason"].map(|key| left[key].as_str().unwrap_or_default());
            writeln!(out, "{name}:{tag} stays: {reason}")?;
        }
    }
    writeln!(out, "{} {verb}, {} left", answer["deleted"], answer["left"])
}

/// A route of the registry's admin API with a query.
pub(super) fn about(route: &str, query: &[(&str, &str)]) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    format!("/api/v1/registry/{route}?{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(print: impl Fn(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        print(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_step_is_a_line() {
        let at = "2026-11-21T20:00:00Z";
        let answer = json!({"items": [
            {"version": 9, "digest": "sha256:1", "at": at, "actor": "ada", "manifest": "living"},
            {"version": 8, "digest": null, "at": at, "actor": "ada", "manifest": "gone"},
            {"version": 7, "digest": "sha256:2", "at": at, "actor": "grace", "manifest": "deleted"},
            {"version": 6, "digest": "sha256:3", "at": at, "actor": "grace", "manifest": "gone"},
        ], "next": "6"});
        let expected = "9 2026-11-21T20:00:00Z sha256:1 by ada\n\
                        8 2026-11-21T20:00:00Z deleted by ada\n\
                        7 2026-11-21T20:00:00Z sha256:2 (deleted, can come back) by grace\n\
                        6 2026-11-21T20:00:00Z sha256:3 (gone) by grace\n\
                        older ones: --after 6\n";
        assert_eq!(printed(|out| steps(&answer, out)), expected);
    }

    #[test]
    fn what_came_back_is_named() {
        let with = |tags: Value| json!({"repository": "acme/web", "digest": "sha256:1", "tags": tags});
        let both = printed(|out| restored(&with(json!(["v1", "v2"])), out));
        assert_eq!(both, "restored acme/web:v1 at sha256:1\nrestored acme/web:v2 at sha256:1\n");
        assert_eq!(printed(|out| restored(&with(json!([])), out)), "restored acme/web@sha256:1\n");
    }

    #[test]
    fn names_are_written_as_queries() {
        assert_eq!(
            about("tags", &[("repository", "a/b"), ("x", "1&2")]),
            "/api/v1/registry/tags?repository=a%2Fb&x=1%262"
        );
    }

    #[test]
    fn what_stays_is_named() {
        let answer = json!({"dry_run": false, "deleted": 2, "left": 1, "repositories": [
            {"repository": "acme/api", "deleted": 1},
            {"repository": "acme/web", "deleted": 1, "left": [{"tag": "v1", "reason": "it moved meanwhile"}]},
        ]});
        let mut out = Vec::new();
        deleted(&answer, &mut out).unwrap();
        let expected =
            "acme/api: 1 deleted\nacme/web: 1 deleted\nacme/web:v1 stays: it moved meanwhile\n2 deleted, 1 left\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
