//! `lifecycle`: the rules of a namespace or a repository about what goes with time.

mod output;

use std::{
    io::{self, Write},
    path::PathBuf,
};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use shared::{
    command::{Method, NotAnswered},
    repository::RepositoryName,
};

use super::{CommandError, Where, immutable::document, tags::about};
use output::{Preview, Progress, rules, status};

/// Rules by which tags and untagged manifests go with time.
#[derive(Debug, Subcommand)]
pub enum LifecycleCommand {
    /// The rules, as `set` takes them.
    Show(Named),
    /// Replace all rules of a namespace or a repository.
    Set(Set),
    /// What the rules say of every tag; nothing happens.
    Preview(ToPreview),
    /// Run the rules now.
    Run(ToRun),
    /// The run under way, or the last one.
    Status(Named),
}

/// Whose rules.
#[derive(Debug, Args)]
pub struct Named {
    /// A namespace, or a repository for its own rules (acme/web).
    name: RepositoryName,
    #[command(flatten)]
    registry: Where,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Which rules to write.
#[derive(Debug, Args)]
pub struct Set {
    /// A namespace, or a repository for its own rules (acme/web).
    name: RepositoryName,
    /// The document, {"rules": [{"expire": {"tags": "pr-*", "not_pushed_for": "7d"}}]}; - reads it from standard input.
    file: PathBuf,
    #[command(flatten)]
    registry: Where,
    /// A rule about every tag of everything is meant.
    #[arg(long)]
    confirm: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What to preview.
#[derive(Debug, Args)]
pub struct ToPreview {
    /// The namespace.
    namespace: RepositoryName,
    #[command(flatten)]
    registry: Where,
    /// Preview these rules in the place of the namespace's own.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// What to run.
#[derive(Debug, Args)]
pub struct ToRun {
    /// The namespace.
    namespace: RepositoryName,
    #[command(flatten)]
    registry: Where,
    /// Only what a preview has shown, and as it was then: its token.
    #[arg(long, value_name = "TOKEN")]
    preview: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl LifecycleCommand {
    /// Asks, and prints the answer to `out`.
    ///
    /// # Errors
    /// [`CommandError`], to be printed.
    pub async fn run(&self, out: &mut (impl Write + Send)) -> Result<(), CommandError> {
        match self {
            Self::Show(named) => {
                let answer = named.registry.ask(&Method::GET, &place(&named.name), None).await?;
                print(named.json, &answer, out, rules)
            }
            Self::Set(set) => set.run(out).await,
            Self::Preview(preview) => preview.run(out).await,
            Self::Run(run) => run.run(out).await,
            Self::Status(named) => {
                let path = place(&namespace_of(&named.name));
                let answer = named.registry.ask(&Method::GET, &path, None).await?;
                print(named.json, &answer["run"], out, status)
            }
        }
    }
}

fn print<W: Write>(
    json: bool,
    answer: &Value,
    out: &mut W,
    lines: impl Fn(&Value, &mut W) -> io::Result<()>,
) -> Result<(), CommandError> {
    Ok(if json { writeln!(out, "{answer}") } else { lines(answer, out) }?)
}

/// Runs are a namespace's.
fn namespace_of(name: &RepositoryName) -> RepositoryName {
    name.namespace().parse().unwrap_or_else(|_| name.clone())
}

/// A name of several segments is a repository's.
fn place(name: &RepositoryName) -> String {
    if name.namespace() == name.as_str() {
        format!("/api/v1/registry/namespaces/{name}/lifecycle")
    } else {
        about("lifecycle", &[("repository", name.as_str())])
    }
}

impl Set {
    async fn run(&self, out: &mut (impl Write + Send)) -> Result<(), CommandError> {
        let mut body = document(&self.file)?;
        if let (Some(members), true) = (body.as_object_mut(), self.confirm) {
            members.insert("confirm".to_owned(), json!(true));
        }
        let answer = self.registry.ask(&Method::PUT, &place(&self.name), Some(&body)).await?;
        print(self.json, &answer, out, rules)
    }
}

impl ToPreview {
    async fn run(&self, out: &mut (impl Write + Send)) -> Result<(), CommandError> {
        let body = match &self.rules {
            Some(file) => document(file)?,
            None => json!({}),
        };
        let mut printer = Preview::new(self.json, &self.namespace);
        let path = format!("/api/v1/registry/namespaces/{}/lifecycle/preview", self.namespace);
        tell(&self.registry, &path, &body, |line| printer.print(&line, out)).await
    }
}

impl ToRun {
    async fn run(&self, out: &mut (impl Write + Send)) -> Result<(), CommandError> {
        let body = self.preview.as_ref().map_or_else(|| json!({}), |token| json!({ "preview": token }));
        let mut printer = Progress::new(self.json);
        let path = format!("/api/v1/registry/namespaces/{}/lifecycle/run", self.namespace);
        tell(&self.registry, &path, &body, |line| printer.print(&line, out)).await
    }
}

/// Asks for an answer of lines, which ends in `done` if all of it was done.
async fn tell(
    registry: &Where,
    path: &str,
    body: &Value,
    mut print: impl FnMut(Value) -> io::Result<()>,
) -> Result<(), CommandError> {
    let reached = registry.reach().await?;
    let mut ending = None;
    let each = |line: Value| {
        match line["event"].as_str() {
            Some("done") => ending = Some(line["failure"].as_str().map(str::to_owned)),
            Some("failed") => ending = Some(line["detail"].as_str().map(str::to_owned)),
            _ => {}
        }
        print(line)
    };
    let heard = reached.target.ask_for_lines(&Method::POST, path, Some(body), each).await;
    reached.close().await;
    heard?;
    match ending {
        Some(None) => Ok(()),
        Some(Some(reason)) => Err(CommandError::RulesNotRun(reason)),
        None => Err(NotAnswered::Io(io::ErrorKind::UnexpectedEof.into()).into()),
    }
}
