//! `immutable`: the rules of a namespace about tags that stay where they are.

use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use serde_json::Value;
use shared::{command::Method, repository::RepositoryName};

use super::{CommandError, Where};

/// Most bytes of a document of rules: the server takes no larger one.
const MAX_DOCUMENT_BYTES: u64 = 64 * 1024;

/// What stands for standard input.
const STANDARD_INPUT: &str = "-";

/// Tags that stay where they are: what is pushed there once is neither replaced nor deleted.
#[derive(Debug, Subcommand)]
pub enum ImmutableCommand {
    /// The rules of a namespace.
    Show(Show),
    /// Replace all rules of a namespace.
    Set(Set),
}

/// Which rules to show.
#[derive(Debug, Args)]
pub struct Show {
    /// The namespace: the first segment of repository names.
    namespace: RepositoryName,
    #[command(flatten)]
    registry: Where,
    /// Print the document that `set` takes.
    #[arg(long)]
    json: bool,
}

/// Which rules to write.
#[derive(Debug, Args)]
pub struct Set {
    /// The namespace: the first segment of repository names.
    namespace: RepositoryName,
    /// The document, {"rules": [{"name": "releases", "tags": ["v*"], "except": ["*-rc*"], "repositories": ["acme/**"]}]}; - reads it
    /// from standard input.
    file: PathBuf,
    #[command(flatten)]
    registry: Where,
    /// Print what the rules are now as JSON.
    #[arg(long)]
    json: bool,
}

impl ImmutableCommand {
    /// Asks, and prints the answer to `out`.
    ///
    /// # Errors
    /// [`CommandError`], to be printed.
    pub async fn run(&self, out: &mut (impl Write + Send)) -> Result<(), CommandError> {
        let (registry, namespace, json) = match self {
            Self::Show(Show { registry, namespace, json }) | Self::Set(Set { registry, namespace, json, .. }) => {
                (registry, namespace, *json)
            }
        };
        let path = format!("/api/v1/registry/namespaces/{namespace}/immutable");
        let answer = match self {
            Self::Show(_) => registry.ask(&Method::GET, &path, None).await?,
            Self::Set(Set { file, .. }) => registry.ask(&Method::PUT, &path, Some(&document(file)?)).await?,
        };
        Ok(if json { writeln!(out, "{answer}") } else { lines(namespace, &answer, out) }?)
    }
}

/// Reads a document from a file, or from standard input.
pub(super) fn document(path: &Path) -> Result<Value, CommandError> {
    let refused = |reason: String| CommandError::Document { path: path.to_owned(), reason };
    let input: io::Result<Box<dyn Read>> = match path.to_str() {
        Some(STANDARD_INPUT) => Ok(Box::new(io::stdin())),
        _ => std::fs::File::open(path).map(|file| Box::new(file) as Box<dyn Read>),
    };
    let mut text = String::new();
    let read = input.and_then(|input| input.take(MAX_DOCUMENT_BYTES + 1).read_to_string(&mut text));
    read.map_err(|error| refused(error.to_string()))?;
    if text.len() as u64 > MAX_DOCUMENT_BYTES {
        return Err(refused(format!("it has more than {MAX_DOCUMENT_BYTES} bytes")));
    }
    serde_json::from_str(&text).map_err(|error| refused(error.to_string()))
}

fn lines(namespace: &RepositoryName, answer: &Value, out: &mut impl Write) -> io::Result<()> {
    let rules = answer["rules"].as_array().map(Vec::as_slice).unwrap_or_default();
    if rules.is_empty() {
        return writeln!(out, "every tag in {namespace} may move");
    }
    for rule in rules {
        let list = |key: &str| {
            let texts = rule[key].as_array().into_iter().flatten().filter_map(Value::as_str);
            texts.collect::<Vec<_>>().join(", ")
        };
        let [tags, except, mut repositories] = ["tags", "except", "repositories"].map(list);
        let except = if except.is_empty() { String::new() } else { format!(", but not {except}") };
        if repositories.is_empty() {
            repositories = format!("all of {namespace}");
        }
        writeln!(out, "{}: {tags}{except} in {repositories}", rule["name"].as_str().unwrap_or_default())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_has_as_many_bytes_as_the_limit_says_and_no_more() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rules.json");
        let read = |bytes: u64| {
            std::fs::write(&path, format!("{{}}{}", " ".repeat(bytes as usize - 2))).unwrap();
            document(&path).map_err(|error| error.to_string())
        };
        assert_eq!(read(MAX_DOCUMENT_BYTES), Ok(json!({})));
        let refused = read(MAX_DOCUMENT_BYTES + 1).unwrap_err();
        assert!(refused.contains("more than 65536 bytes") && refused.contains("rules.json"), "{refused}");
    }

    #[test]
    fn a_rule_is_a_line() {
        let printed = |answer: Value| {
            let mut out = Vec::new();
            lines(&"acme".parse().unwrap(), &answer, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(printed(json!({"rules": []})), "every tag in acme may move\n");
        let rules = json!({"rules": [
            {"name": "releases", "tags": ["v*", "1.*"], "except": ["*-rc*"], "repositories": ["acme/**"]},
            {"name": "all", "tags": ["*"]},
        ]});
        assert_eq!(printed(rules), "releases: v*, 1.*, but not *-rc* in acme/**\nall: * in all of acme\n");
    }

    #[test]
    fn what_is_no_document_is_named() {
        let home = tempfile::tempdir().unwrap();
        let refused = |path: &Path| document(path).unwrap_err().to_string();
        let missing = home.path().join("missing.json");
        assert!(refused(&missing).starts_with(&format!("{}: ", missing.display())));
        let rubbish = home.path().join("rubbish.json");
        std::fs::write(&rubbish, "rules:\n").unwrap();
        assert!(refused(&rubbish).contains("expected value at line 1"), "{}", refused(&rubbish));
    }
}
