//! What commands print: JSON as the server answered it, or text for people.

use std::io;

use serde_json::Value;
use shared::listen::Address;

use super::{CliError, directories};
use crate::{first_start::FirstPassword, server::Auth};

/// Prints an answer.
pub(super) fn print(answer: &Value, columns: &[&str], json: bool, out: &mut impl io::Write) -> Result<(), CliError> {
    if json {
        let done = Value::Object(serde_json::Map::new());
        writeln!(out, "{}", if answer.is_null() { &done } else { answer })?;
    } else if answer.is_null() {
        writeln!(out, "done")?;
    } else if let Some(items) = answer["items"].as_array() {
        table(items, columns, out)?;
        forbidden(answer, out)?;
    } else if answer["steps"].is_array() {
        directories::print(answer, out)?;
    } else if let Some(results) = answer["results"].as_array() {
        explained(answer, results, out)?;
    } else {
        fields(answer, out)?;
    }
    Ok(())
}

/// Where the server is, and how to get in after the first start.
pub(super) fn greet(out: &mut impl io::Write, address: &Address, auth: &Auth) -> io::Result<()> {
    writeln!(out, "auth is listening on {address}")?;
    if auth.made_administrator {
        let file: &FirstPassword = &auth.app().first_password;
        writeln!(out, "made the account admin; its password is in {}", file.path().display())?;
    }
    Ok(())
}

fn table(items: &[Value], columns: &[&str], out: &mut impl io::Write) -> io::Result<()> {
    let head = columns.iter().map(|column| column.to_uppercase().replace('_', " ")).collect();
    let rows = items.iter().map(|item| columns.iter().map(|column| text(&item[*column])).collect());
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// What guardrails take from everybody in a list of who holds what.
fn forbidden(answer: &Value, out: &mut impl io::Write) -> io::Result<()> {
    for one in answer["forbidden"].as_array().into_iter().flatten() {
        let [actions, repositories] = ["actions", "repositories"].map(|key| text(&one[key]));
        let by = one["guardrail"].as_i64().map(|id| format!(" (guardrail {id})")).unwrap_or_default();
        writeln!(out, "Nobody may {actions} on {repositories}{by}.")?;
    }
    Ok(())
}

fn fields(answer: &Value, out: &mut impl io::Write) -> io::Result<()> {
    let members = answer.as_object().into_iter().flatten();
    for (key, value) in members.filter(|(key, _)| !is_secret(key)) {
        writeln!(out, "{key}: {}", text(value))?;
    }
    for key in ["password", "secret"] {
        if let Some(secret) = answer[key].as_str() {
            writeln!(out, "{key}: {secret}\nIt is shown this once.")?;
        }
    }
    Ok(())
}

fn is_secret(key: &str) -> bool {
    ["password", "secret"].contains(&key)
}

fn explained(answer: &Value, results: &[Value], out: &mut impl io::Write) -> io::Result<()> {
    let state = answer["state"].as_str().filter(|state| *state != "active").map(|state| format!(" ({state})"));
    writeln!(out, "{}{}", text(&answer["principal"]), state.unwrap_or_default())?;
    for result in results {
        writeln!(out, "{}", text(&result["resource"]))?;
        for line in result["why"].as_array().into_iter().flatten() {
            let tags = line["tags"].as_str().map(|tags| format!(", only tags {tags}")).unwrap_or_default();
            writeln!(out, "  {}: yes, by {}{tags}", text(&line["action"]), rule(&line["rule"]))?;
        }
        for line in result["why_not"].as_array().into_iter().flatten() {
            write!(out, "  {}: no, {}", text(&line["action"]), text(&line["reason"]))?;
            let nearest = &line["nearest"];
            if nearest.is_object() {
                write!(
                    out,
                    "; nearest is {}, lacking {}",
                    rule(&nearest["rule"]),
                    lacking(&nearest["missing"], &line["action"])
                )?;
            }
            writeln!(out)?;
        }
    }
    Ok(())
}

fn lacking(missing: &Value, action: &Value) -> String {
    match missing.as_str() {
        Some("action") => format!("the action {}", text(action)),
        _ => text(missing),
    }
}

fn rule(rule: &Value) -> String {
    if let Some(id) = rule["grant"].as_i64() {
        let [subject, repositories, actions] = ["subject", "repositories", "actions"].map(|key| text(&rule[key]));
        return format!("grant {id} ({subject} may {actions} on {repositories})");
    }
    if rule["supposed"].as_bool() == Some(true) {
        let [subject, repositories, actions] = ["subject", "repositories", "actions"].map(|key| text(&rule[key]));
        return format!("the supposed grant ({subject} may {actions} on {repositories})");
    }
    let known = [("system_role", "the system role "), ("visibility", "the visibility "), ("elsewhere", "")];
    let named = known.iter().find_map(|(key, what)| rule[*key].as_str().map(|value| format!("{what}{value}")));
    named.unwrap_or_else(|| "a rule".to_owned())
}

/// A value as people read it.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        // Names that people chose cannot drive a terminal.
        Value::String(text) => text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_forbidden_to_everybody_stands_below_the_list() {
        let answer = json!({
            "items": [{"holder": "bob", "actions": ["pull", "push"]}],
            "forbidden": [{"actions": ["push"], "repositories": ["acme/release/**"], "guardrail": 2}],
        });
        let mut printed = Vec::new();
        print(&answer, &["holder", "actions"], false, &mut printed).unwrap();
        let expected = "HOLDER  ACTIONS\nbob     pull,push\nNobody may push on acme/release/** (guardrail 2).\n";
        assert_eq!(String::from_utf8(printed).unwrap(), expected);
    }

    #[test]
    fn what_a_nearest_miss_lacks_is_named() {
        let grant =
            json!({"grant": 1, "subject": "robot.acme.ci", "repositories": "acme/**", "actions": ["pull", "push"]});
        let line = |missing| json!({"action": "delete", "reason": "no grant allows it", "nearest": {"rule": grant, "missing": missing}});
        let results =
            [json!({"resource": "repository:acme/web", "why": [], "why_not": [line("action"), line("subject")]})];
        let mut printed = Vec::new();
        explained(&json!({"principal": "robot.acme.ci", "state": "active"}), &results, &mut printed).unwrap();
        let printed = String::from_utf8(printed).unwrap();
        assert!(printed.contains("(robot.acme.ci may pull,push on acme/**), lacking the action delete\n"), "{printed}");
        assert!(printed.contains("lacking subject\n"), "{printed}");
    }
}
