//! `quota`: what namespaces may have, and what they have.

use std::{
    io::{self, Write},
    str::FromStr,
};

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Map, Value, json};
use shared::{command::Method, repository::RepositoryName, size::Size};

use super::{CommandError, Where};

const NAMESPACES: &str = "/api/v1/registry/namespaces";

/// How many namespaces are asked for at once.
const PAGE: u32 = 500;

/// What namespaces may have at most, in bytes, tags and repositories.
#[derive(Debug, Subcommand)]
pub enum QuotaCommand {
    /// What every namespace may have and has.
    List(List),
    /// What one namespace may have and has.
    Show(Show),
    /// Set what a namespace may have. What is not named stays.
    Set(Set),
}

/// How to list.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    registry: Where,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// Which namespace to show.
#[derive(Debug, Args)]
pub struct Show {
    /// The namespace: the first segment of repository names.
    namespace: RepositoryName,
    #[command(flatten)]
    registry: Where,
    /// Print it as JSON, with bytes as numbers.
    #[arg(long)]
    json: bool,
}

/// What to set.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("bound").required(true).multiple(true)))]
pub struct Set {
    /// The namespace: the first segment of repository names. Nobody need have pushed there yet.
    namespace: RepositoryName,
    #[command(flatten)]
    registry: Where,
    /// Bytes of distinct blobs and of manifests: 500MB, 10GiB, 0, or unlimited.
    #[arg(long, value_name = "SIZE", group = "bound")]
    bytes: Option<Bound<Size>>,
    /// How many tags there may be, or unlimited.
    #[arg(long, value_name = "NUMBER", group = "bound")]
    tags: Option<Bound<u64>>,
    /// How many repositories may hold an image, or unlimited.
    #[arg(long, value_name = "NUMBER", group = "bound")]
    repositories: Option<Bound<u64>>,
    /// Print how the namespace stands now as JSON, with bytes as numbers.
    #[arg(long)]
    json: bool,
}

/// So much, or `unlimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bound<T>(Option<T>);

impl<T: FromStr> FromStr for Bound<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        if text == "unlimited" { Ok(Self(None)) } else { text.parse().map(Some).map(Self) }
    }
}

impl QuotaCommand {
    /// Asks, and prints the answer to `out`.
    ///
    /// # Errors
    /// [`CommandError`], to be printed.
    pub async fn run(&self, out: &mut (impl Write + Send)) -> Result<(), CommandError> {
        let (answer, json) = match self {
            Self::List(List { registry, json }) => return list(registry, *json, out).await,
            Self::Show(Show { registry, namespace, json }) => {
                (registry.ask(&Method::GET, &path(namespace), None).await?, *json)
            }
            Self::Set(set) => {
                (set.registry.ask(&Method::PUT, &path(&set.namespace), Some(&set.document())).await?, set.json)
            }
        };
        Ok(if json { writeln!(out, "{answer}") } else { lines(&answer, out) }?)
    }
}

impl Set {
    /// What is named, and nothing else.
    fn document(&self) -> Value {
        let bounds = [
            ("bytes", self.bytes.map(|Bound(bytes)| bytes.map(|Size(bytes)| bytes))),
            ("tags", self.tags.map(|Bound(tags)| tags)),
            ("repositories", self.repositories.map(|Bound(repositories)| repositories)),
        ];
        let named = bounds.into_iter().filter_map(|(name, bound)| Some((name.to_owned(), json!(bound?))));
        Value::Object(named.collect::<Map<_, _>>())
    }
}

fn path(namespace: &RepositoryName) -> String {
    format!("{NAMESPACES}/{namespace}/quota")
}

/// Page after page, so that a registry of any size is answered in pieces.
async fn list(registry: &Where, json: bool, out: &mut (impl Write + Send)) -> Result<(), CommandError> {
    let (mut items, mut after) = (Vec::new(), String::new());
    loop {
        let mut page = registry.ask(&Method::GET, &format!("{NAMESPACES}?limit={PAGE}{after}"), None).await?;
        items.append(page["items"].as_array_mut().unwrap_or(&mut Vec::new()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    if json {
        return Ok(writeln!(out, "{}", json!({ "items": items }))?);
    }
    for item in &items {
        lines(item, out)?;
    }
    Ok(())
}

fn lines(standing: &Value, out: &mut impl Write) -> io::Result<()> {
    let size = |key: &str| standing["bytes"][key].as_u64().map(|bytes| Size(bytes).to_string());
    let of = |quota: Option<String>| quota.unwrap_or_else(|| "unlimited".to_owned());
    let [used, reserved, quota] = ["used", "reserved", "quota"].map(size);
    writeln!(out, "{}", standing["namespace"].as_str().unwrap_or_default())?;
    write!(out, "  bytes         {} of {}", used.unwrap_or_default(), of(quota))?;
    match standing["bytes"]["reserved"].as_u64() {
        Some(1..) => writeln!(out, ", {} reserved by uploads", reserved.unwrap_or_default())?,
        _ => writeln!(out)?,
    }
    for (key, label) in [("tags", "tags         "), ("repositories", "repositories ")] {
        let quota = standing[key]["quota"].as_u64().map(|quota| quota.to_string());
        let more = if standing[key]["more"] == true { "more than " } else { "" };
        writeln!(out, "  {label} {more}{} of {}", standing[key]["used"], of(quota))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        command: QuotaCommand,
    }

    fn set(arguments: &[&str]) -> Result<Value, String> {
        let line = ["quota", "set", "acme"].iter().chain(arguments);
        match Line::try_parse_from(line).map_err(|error| error.to_string())?.command {
            QuotaCommand::Set(set) => Ok(set.document()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_named_is_set_and_nothing_else() {
        assert_eq!(set(&["--bytes", "10GiB"]).unwrap(), json!({"bytes": 10_u64 << 30}));
        let all = ["--bytes", "unlimited", "--tags", "0", "--repositories", "25"];
        assert_eq!(set(&all).unwrap(), json!({"bytes": null, "tags": 0, "repositories": 25}));
        assert!(set(&[]).unwrap_err().contains("--bytes <SIZE>"), "nothing to set");
        assert!(set(&["--bytes", "10G"]).unwrap_err().contains("10GiB (powers of 1024)"));
        for refused in [["--tags", "-1"], ["--tags", "1k"], ["--repositories", "many"], ["--bytes", "none"]] {
            set(&refused).unwrap_err();
        }
    }

    #[test]
    fn a_namespace_is_a_few_lines() {
        let standing = json!({"namespace": "acme", "bytes": {"quota": 10_u64 << 30, "used": 3_u64 << 29, "reserved": 0},
            "tags": {"quota": null, "used": 1000, "more": true}, "repositories": {"quota": 5, "used": 2}});
        let mut out = Vec::new();
        lines(&standing, &mut out).unwrap();
        let expected = "acme\n  bytes         1.5 GiB of 10 GiB\n  tags          more than 1000 of unlimited\n  repositories  2 of 5\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
