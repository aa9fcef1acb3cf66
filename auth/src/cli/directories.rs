//! `portreeve auth ldap …`, and what a test of a directory prints.

use std::io;

use serde_json::{Value, json};

use super::{
    CliError,
    arguments::{self, LdapCommand},
    output::{self, text},
    request::Request,
    target::Target,
};

/// Looks for somebody in one directory, or in each until one has the name, as a sign-in does.
pub(super) async fn run(
    LdapCommand::Test { user, provider, password_stdin }: LdapCommand,
    target: &Target,
    json: bool,
    out: &mut impl io::Write,
) -> Result<(), CliError> {
    let password = arguments::secret(password_stdin)?;
    let names = match provider {
        Some(name) => vec![name],
        None => directories(target).await?,
    };
    if names.is_empty() {
        return Err(CliError::Argument("no directory is set: see `ldap` in the settings".to_owned()));
    }
    let mut tests = Vec::new();
    for name in names {
        let request = arguments::test(&name, Some(&user), password.as_deref());
        let seen = super::asked(target, &request).await?;
        if !json {
            print(&seen, out)?;
        }
        let goes_on = is_unknown(&seen);
        tests.push(seen);
        if !goes_on {
            break;
        }
    }
    let ok = tests.last().is_some_and(|test| test["ok"] == true);
    if json {
        output::print(&json!({ "user": user, "ok": ok, "tests": tests }), &[], true, out)?;
    }
    if ok { Ok(()) } else { Err(CliError::NotWell) }
}

async fn directories(target: &Target) -> Result<Vec<String>, CliError> {
    let Request { method, url, .. } = Request::get(&["providers"]);
    let listed = target.ask(&method, &url, None).await?;
    let items = listed["items"].as_array().into_iter().flatten();
    let runs = items.filter(|item| item["directory"].is_object());
    Ok(runs.filter_map(|item| item["name"].as_str().map(str::to_owned)).collect())
}

/// The directory answers, and does not have the name: the next one may.
fn is_unknown(seen: &Value) -> bool {
    let failed = |step: &&Value| step["ok"] == false;
    let steps = || seen["steps"].as_array().into_iter().flatten();
    steps().any(|step| step["step"] == "user" && step["ok"] == false)
        && steps()
            .filter(failed)
            .all(|step| ["user", "connect", "tls"].contains(&step["step"].as_str().unwrap_or_default()))
}

/// Every step on a line, what failed marked; then groups with the teams that they give.
pub(super) fn print(seen: &Value, out: &mut impl io::Write) -> io::Result<()> {
    writeln!(out, "{}", text(&seen["provider"]))?;
    for step in seen["steps"].as_array().into_iter().flatten() {
        let mark = if step["ok"] == true { "ok    " } else { "FAILED" };
        let [name, about, said] = ["step", "about", "said"].map(|key| text(&step[key]));
        writeln!(out, "  {mark}  {name:8}  {about}: {said} ({} ms)", step["milliseconds"])?;
    }
    for group in seen["groups"].as_array().into_iter().flatten() {
        let teams = group["teams"].as_array().filter(|teams| !teams.is_empty());
        let gives = teams.map_or_else(|| "no team".to_owned(), |_| text(&group["teams"]));
        writeln!(out, "  group {} (by {}) gives {gives}", text(&group["group"]), text(&group["by"]))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(steps: &[(&str, bool)]) -> Value {
        let steps: Vec<Value> = steps
            .iter()
            .map(|(step, ok)| json!({ "step": step, "about": "x", "ok": ok, "said": "so", "milliseconds": 3 }))
            .collect();
        json!({ "provider": "corp", "ok": steps.iter().all(|step| step["ok"] == true), "steps": steps, "groups": [] })
    }

    /// As at a sign-in: a directory that is away may have the name.
    #[test]
    fn the_next_directory_is_asked_where_this_one_answers_and_does_not_have_the_name() {
        assert!(is_unknown(&seen(&[("bind", true), ("user", false)])));
        assert!(is_unknown(&seen(&[("connect", false), ("bind", true), ("user", false)])), "another server answered");
        assert!(!is_unknown(&seen(&[("connect", false)])));
        assert!(
            !is_unknown(&seen(&[("bind", true), ("users", false), ("user", false)])),
            "it looks in the wrong place"
        );
        assert!(!is_unknown(&seen(&[("bind", true), ("user", true), ("password", false)])));
    }

    #[test]
    fn a_step_is_a_line_and_drives_no_terminal() {
        let mut test = seen(&[("connect", true), ("user", false)]);
        test["steps"][1]["said"] = json!("nobody\u{1b}[31m");
        test["groups"] = json!([{ "group": "cn=dev", "by": "nested 1", "teams": ["acme/dev"] },
                                { "group": "cn=all", "by": "member", "teams": [] }]);
        let mut printed = Vec::new();
        print(&test, &mut printed).unwrap();
        let expected = "corp\n  ok      connect   x: so (3 ms)\n  FAILED  user      x: nobody\u{fffd}[31m (3 ms)\n  \
                        group cn=dev (by nested 1) gives acme/dev\n  group cn=all (by member) gives no team\n";
        assert_eq!(String::from_utf8(printed).unwrap(), expected);
    }
}
