//! What `lifecycle` prints.

use std::io::{self, Write};

use serde_json::{Value, json};
use shared::repository::RepositoryName;

/// The rules in the form in which they are set.
pub(super) fn rules(answer: &Value, out: &mut impl Write) -> io::Result<()> {
    if let Some(reason) = answer["unreadable"].as_str() {
        return writeln!(out, "{reason}");
    }
    let document = json!({ "rules": answer["rules"] });
    writeln!(out, "{document:#}")
}

/// How a run is doing.
pub(super) fn status(run: &Value, out: &mut impl Write) -> io::Result<()> {
    if run.is_null() {
        return writeln!(out, "never run");
    }
    let [state, actor, started] = ["state", "actor", "started_at"].map(|key| text(run, key));
    writeln!(out, "run {}: {state}, asked for by {actor}, since {started}", run["number"])?;
    if let Some(ended) = run["ended_at"].as_str() {
        writeln!(out, "ended at {ended}")?;
    }
    counts(run, out)?;
    run["failure"].as_str().map_or(Ok(()), |reason| writeln!(out, "{reason}"))
}

fn counts(run: &Value, out: &mut impl Write) -> io::Result<()> {
    let [repositories, looked, expired, moved, manifests] =
        ["repositories", "looked", "expired", "moved", "manifests"].map(|key| &run[key]);
    writeln!(
        out,
        "{repositories} repositories, {looked} tags looked at: {expired} expired, {moved} moved meanwhile, {manifests} untagged manifests deleted"
    )
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

/// Prints a preview as it comes.
pub(super) struct Preview<'n> {
    form: Form,
    namespace: &'n RepositoryName,
}

enum Form {
    Lines,
    /// One document; repositories that were skipped stand behind the items, and wait for that.
    Json {
        items: u64,
        skipped: Vec<Value>,
    },
}

impl<'n> Preview<'n> {
    pub(super) const fn new(json: bool, namespace: &'n RepositoryName) -> Self {
        let form = if json { Form::Json { items: 0, skipped: Vec::new() } } else { Form::Lines };
        Self { form, namespace }
    }

    pub(super) fn print(&mut self, line: &Value, out: &mut impl Write) -> io::Result<()> {
        match &mut self.form {
            Form::Lines => sentence(line, self.namespace, out),
            Form::Json { items, skipped } => document(line, items, skipped, out),
        }
    }
}

fn sentence(line: &Value, namespace: &RepositoryName, out: &mut impl Write) -> io::Result<()> {
    let [repository, verdict, reason] = ["repository", "verdict", "reason"].map(|key| text(line, key));
    match text(line, "event") {
        "item" => {
            let name = match line["tag"].as_str() {
                Some(tag) => format!("{repository}:{tag}"),
                None => format!("{repository}@{}", text(line, "digest")),
            };
            let rule =
                line["rule"].as_str().map(|rule| format!(" by {rule} ({})", text(line, "of"))).unwrap_or_default();
            let ignored = line["ignored_annotation"].as_str();
            let ignored = ignored.map(|text| format!("; its annotation is no age: {text:?}")).unwrap_or_default();
            writeln!(out, "{verdict:<9} {name}{rule}: {reason}{ignored}")
        }
        "skipped" => writeln!(out, "skipped   {repository}: {reason}"),
        "done" => {
            let count = |key: &str| line["verdicts"][key].as_u64().unwrap_or(0);
            let [expires, kept, later, untouched] = ["expires", "kept", "later", "untouched"].map(count);
            writeln!(out, "\n{expires} would go now, {later} later; {kept} kept, {untouched} untouched")?;
            match line["token"].as_str() {
                Some(token) => writeln!(
                    out,
                    "exactly these, until {}: portreeve registry lifecycle run {namespace} --preview {token}",
                    text(line, "token_expires_at")
                ),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

fn document(line: &Value, items: &mut u64, skipped: &mut Vec<Value>, out: &mut impl Write) -> io::Result<()> {
    let mut members = line.as_object().cloned().unwrap_or_default();
    members.remove("event");
    match text(line, "event") {
        "item" => {
            out.write_all(if *items == 0 { b"{\"items\":[\n" } else { b",\n" })?;
            *items += 1;
            write!(out, "{}", Value::Object(members))
        }
        "skipped" => {
            skipped.push(Value::Object(members));
            Ok(())
        }
        "done" => {
            let begin = if *items == 0 { "{\"items\":[" } else { "\n" };
            let skipped = Value::Array(std::mem::take(skipped));
            writeln!(out, "{begin}],\n\"skipped\":{skipped},\n\"summary\":{}}}", Value::Object(members))
        }
        _ => Ok(()),
    }
}

/// Prints a run as it comes.
pub(super) struct Progress {
    json: bool,
    gone: u64,
}

impl Progress {
    pub(super) const fn new(json: bool) -> Self {
        Self { json, gone: 0 }
    }

    pub(super) fn print(&mut self, line: &Value, out: &mut impl Write) -> io::Result<()> {
        let gone = |line: &Value| ["expired", "manifests"].iter().filter_map(|key| line[*key].as_u64()).sum::<u64>();
        match text(line, "event") {
            "done" if self.json => {
                let mut members = line.as_object().cloned().unwrap_or_default();
                members.remove("event");
                writeln!(out, "{}", Value::Object(members))
            }
            "done" => counts(line, out),
            "repository" if !self.json => {
                let here = gone(line).saturating_sub(self.gone);
                self.gone = gone(line);
                if here == 0 { Ok(()) } else { writeln!(out, "{}: {here} gone", text(line, "repository")) }
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> [Value; 4] {
        [
            json!({"event": "item", "repository": "acme/web", "tag": "pr-1", "digest": "sha256:1", "verdict": "expires",
                   "rule": "pull requests", "of": "acme", "reason": "pushed at noon"}),
            json!({"event": "item", "repository": "acme/web", "digest": "sha256:2", "verdict": "untouched",
                   "reason": "no rule lets it go", "ignored_annotation": "a week"}),
            json!({"event": "skipped", "repository": "acme/api", "reason": "odd"}),
            json!({"event": "done", "verdicts": {"expires": 1, "untouched": 1}, "token": "t", "token_expires_at": "soon"}),
        ]
    }

    fn printed(json: bool, told: &[Value]) -> String {
        let namespace = "acme".parse().unwrap();
        let (mut out, mut printer) = (Vec::new(), Preview::new(json, &namespace));
        for line in told {
            printer.print(line, &mut out).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_preview_is_a_line_for_each_tag() {
        let expected = "expires   acme/web:pr-1 by pull requests (acme): pushed at noon\n\
                        untouched acme/web@sha256:2: no rule lets it go; its annotation is no age: \"a week\"\n\
                        skipped   acme/api: odd\n\
                        \n1 would go now, 0 later; 0 kept, 1 untouched\n\
                        exactly these, until soon: portreeve registry lifecycle run acme --preview t\n";
        assert_eq!(printed(false, &told()), expected);
    }

    #[test]
    fn a_preview_is_one_document_with_or_without_items() {
        let document: Value = serde_json::from_str(&printed(true, &told())).unwrap();
        assert_eq!((document["items"].as_array().unwrap().len(), &document["summary"]["token"]), (2, &json!("t")));
        assert_eq!(document["skipped"][0]["repository"], "acme/api");
        let empty: Value = serde_json::from_str(&printed(true, &told()[3..])).unwrap();
        assert_eq!(empty["items"], json!([]));
    }

    #[test]
    fn a_run_tells_where_something_went() {
        let at = |repository: &str, expired: u64| json!({"event": "repository", "repository": repository, "expired": expired, "manifests": 0});
        let done = json!({"event": "done", "repositories": 3, "looked": 9, "expired": 4, "moved": 0, "manifests": 0});
        let (mut out, mut printer) = (Vec::new(), Progress::new(false));
        for line in [at("acme/a", 0), at("acme/b", 3), at("acme/c", 4), done] {
            printer.print(&line, &mut out).unwrap();
        }
        let expected = "acme/b: 3 gone\nacme/c: 1 gone\n\
                        3 repositories, 9 tags looked at: 4 expired, 0 moved meanwhile, 0 untagged manifests deleted\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_namespace_that_was_never_run_says_so() {
        let said = |run: Value| {
            let mut out = Vec::new();
            status(&run, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(said(Value::Null), "never run\n");
        let failed = json!({"number": 2, "state": "failed", "actor": "schedule", "started_at": "t", "failure": "why",
            "repositories": 0, "looked": 0, "expired": 0, "moved": 0, "manifests": 0});
        assert!(said(failed).ends_with("why\n"));
    }
}
