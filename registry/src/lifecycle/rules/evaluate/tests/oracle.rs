//! The rules read a second time: from the document itself, with nothing of the program's own but the facts.

use std::collections::BTreeSet;

use serde_json::Value;
use shared::clock::Timestamp;

use crate::metadata::rules::TagFacts;

/// A version as the oracle writes it: a release sorts behind its candidates.
type Version = (u64, u64, u64, u64);

/// Tags, and the versions that some of them are.
pub(super) const TAGS: [(&str, Option<Version>); 14] = [
    ("latest", None),
    ("main", None),
    ("pr-1", None),
    ("pr-2", None),
    ("pr-12", None),
    ("v1", None),
    ("1.2", None),
    ("0.9.0", Some((0, 9, 0, 9))),
    ("1.0.0", Some((1, 0, 0, 9))),
    ("v1.0.0", Some((1, 0, 0, 9))),
    ("v1.2.0-rc.1", Some((1, 2, 0, 1))),
    ("1.2.0-rc.2", Some((1, 2, 0, 2))),
    ("1.2.0", Some((1, 2, 0, 9))),
    ("1.10.0", Some((1, 10, 0, 9))),
];

pub(super) const RANGES: [&str; 5] = ["*", ">=1", "<1.2", ">=1.0, <1.10", "=1.2"];

fn in_range(range: &str, (major, minor, ..): Version) -> bool {
    match range {
        "*" => true,
        ">=1" => major >= 1,
        "<1.2" => major < 1 || (major == 1 && minor < 2),
        ">=1.0, <1.10" => major == 1 && minor < 10,
        "=1.2" => major == 1 && minor == 2,
        other => panic!("{other}"),
    }
}

/// The textbook definition of a glob.
fn glob(pattern: &str, text: &str) -> bool {
    match (pattern.chars().next(), text.chars().next()) {
        (None, None) => true,
        (Some('*'), _) if glob(&pattern[1..], text) => true,
        (Some('*'), Some(_)) => glob(pattern, &text[1..]),
        (Some('?'), Some(_)) => glob(&pattern[1..], &text[1..]),
        (Some(one), Some(other)) if one == other => glob(&pattern[1..], &text[1..]),
        _ => false,
    }
}

fn named(rule: &Value, tag: &TagFacts) -> bool {
    let Some(patterns) = rule["tags"].as_array() else { return true };
    patterns.iter().any(|pattern| glob(pattern.as_str().unwrap(), tag.tag.as_str()))
}

/// Whole days in seconds; the oracle's documents know no others, and `0s`.
fn seconds(age: &Value) -> Option<i64> {
    let text = age.as_str()?;
    let days = if text == "0s" { "0" } else { text.strip_suffix('d')? };
    days.parse::<i64>().ok().map(|days| days * 86_400)
}

/// Whether something that happened then is so long ago; true where nothing is asked.
fn long_ago(age: &Value, then: Timestamp, now: Timestamp) -> bool {
    seconds(age).is_none_or(|age| now.seconds() - then.seconds() >= age)
}

fn version(tag: &TagFacts) -> Option<Version> {
    TAGS.iter().find(|(name, _)| *name == tag.tag.as_str()).unwrap().1
}

fn kept<'t>(keep: &Value, tags: &'t [TagFacts]) -> Vec<&'t TagFacts> {
    let mut chosen: Vec<&TagFacts> = tags.iter().filter(|tag| named(keep, tag)).collect();
    if let Some(range) = keep["semver"].as_str() {
        let prereleases = keep["prereleases"] == true;
        chosen.retain(|tag| version(tag).is_some_and(|v| in_range(range, v) && (prereleases || v.3 == 9)));
    }
    let Some(newest) = keep["newest"].as_u64() else { return chosen };
    let newest = newest as usize;
    if keep["semver"].is_string() {
        let versions: BTreeSet<Version> = chosen.iter().filter_map(|tag| version(tag)).collect();
        let highest: Vec<Version> = versions.into_iter().rev().take(newest).collect();
        chosen.retain(|tag| highest.contains(&version(tag).unwrap()));
    } else {
        // Kept are those that fewer than so many others are younger than.
        let all = chosen.clone();
        chosen.retain(|tag| all.iter().filter(|other| other.pushed_at > tag.pushed_at).count() < newest);
    }
    chosen
}

fn lets_go(rule: &Value, tag: &TagFacts, now: Timestamp) -> bool {
    if rule["expire_annotated"].is_object() {
        let life = tag.expires_after.as_deref().filter(|text| *text != "soon").map(|text| Value::from(text.to_owned()));
        return life.is_some_and(|life| long_ago(&life, tag.manifest_pushed_at, now));
    }
    let expire = &rule["expire"];
    let used_at = tag.pulled_at.into_iter().chain([tag.pushed_at]).max().unwrap();
    expire.is_object()
        && named(expire, tag)
        && long_ago(&expire["not_pushed_for"], tag.pushed_at, now)
        && long_ago(&expire["not_pulled_for"], used_at, now)
}

/// The tags that go, in their order.
pub(super) fn expired(rules: &[Value], tags: &[TagFacts], now: Timestamp) -> Vec<String> {
    let keeps = rules.iter().filter(|rule| rule["keep"].is_object());
    let kept: Vec<&TagFacts> = keeps.flat_map(|rule| kept(&rule["keep"], tags)).collect();
    let gone = tags.iter().filter(|tag| !kept.contains(tag) && rules.iter().any(|rule| lets_go(rule, tag, now)));
    gone.map(|tag| tag.tag.to_string()).collect()
}
