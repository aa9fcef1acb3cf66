//! What the file says: users with their labels, and the entries of the list.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use shared::settings::{Placed, Unknown};

use super::{Warning, expression::Expression};
use crate::{
    accounts::names::{Handle, folded},
    identity::passwords::is_storable,
};

/// Sections that know people or rules which are not in the file.
const ELSEWHERE: [(&str, &str); 14] = [
    ("ldap_auth", "set the directory up with the setting ldap; its labels become teams by group mappings"),
    ("google_auth", "people who sign in there have no account here"),
    ("github_auth", "people who sign in there have no account here"),
    ("gitlab_auth", "people who sign in there have no account here"),
    ("oidc_auth", "people who sign in there have no account here"),
    ("mongo_auth", "its users are not in the file"),
    ("xorm_auth", "its users are not in the file"),
    ("ext_auth", "a program that knows passwords has no counterpart here"),
    ("plugin_authn", "a plugin that knows passwords has no counterpart here"),
    ("acl_mongo", "its rules are not in the file; docker_auth asks it where no entry matches"),
    ("acl_xorm", "its rules are not in the file; docker_auth asks it where no entry matches"),
    ("ext_authz", "a program that decides has no counterpart here; docker_auth asks it where no entry matches"),
    ("plugin_authz", "a plugin that decides has no counterpart here; docker_auth asks it where no entry matches"),
    ("casbin_authz", "its rules are not in the file; docker_auth asks it where no entry matches"),
];

#[derive(Debug, Deserialize)]
pub(super) struct RawConfig {
    #[serde(default)]
    users: BTreeMap<String, Placed<Option<RawUser>>>,
    #[serde(default)]
    acl: Vec<Placed<RawEntry>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawUser {
    password: Option<String>,
    labels: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct RawEntry {
    #[serde(default, rename = "match")]
    conditions: Option<RawMatch>,
    #[serde(default)]
    actions: Vec<String>,
    #[serde(default)]
    #[expect(dead_code, reason = "read so that it is known")]
    comment: Option<String>,
}

/// `account: ""` is somebody who did not sign in, and no `account` is everybody.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawMatch {
    account: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    name: Option<String>,
    ip: Option<String>,
    service: Option<String>,
    labels: BTreeMap<String, String>,
}

/// A file that was understood.
#[derive(Debug)]
pub(super) struct Config {
    /// Those who can sign in; somebody who need not is the empty name.
    pub(super) users: Vec<User>,
    pub(super) entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) name: String,
    /// What the account is called here; None for somebody who did not sign in.
    pub(super) handle: Option<Handle>,
    pub(super) hash: Option<String>,
    pub(super) labels: BTreeMap<String, Vec<String>>,
}

impl User {
    /// Somebody who can sign in and does not stand in the file: people of a directory, and who comes later.
    pub(super) fn stranger() -> Self {
        let name = "somebody.else-who-signs-in".to_owned();
        Self { handle: name.parse().ok(), name, hash: None, labels: BTreeMap::new() }
    }
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) line: usize,
    pub(super) account: Option<Pattern>,
    pub(super) kind: Option<Pattern>,
    pub(super) name: Option<Pattern>,
    pub(super) labels: BTreeMap<String, Pattern>,
    /// Conditions that a request has and an account and a repository have not.
    pub(super) beyond: Vec<&'static str>,
    pub(super) actions: Vec<String>,
}

/// A condition: a shell pattern, or a regular expression between slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(pub(super) String);

impl Pattern {
    /// The regular expression between the slashes.
    pub(super) fn expression(&self) -> Option<&str> {
        let text = self.0.strip_prefix('/')?.strip_suffix('/')?;
        (!text.is_empty()).then_some(text)
    }

    /// The text, if it stands for itself alone.
    pub(super) fn literal(&self) -> Option<&str> {
        let plain = self.expression().is_none() && !self.0.contains(['*', '?', '[', '\\', '$']);
        plain.then_some(self.0.as_str())
    }

    /// True if no text that somebody would write is left out.
    pub(super) fn is_everything(&self) -> bool {
        ["/.*/", "/.+/", "/^.*$/", "/^.+$/"].contains(&self.0.as_str())
    }

    /// What everything that it matches begins with, as far as that can be seen.
    pub(super) fn beginning(&self) -> &str {
        let text = match self.expression() {
            Some(expression) => expression.strip_prefix('^').filter(|rest| !rest.contains('|')).unwrap_or_default(),
            None => &self.0,
        };
        let special = |c: char| !c.is_ascii_alphanumeric() && !"/-_".contains(c);
        let plain = &text[..text.find(special).unwrap_or(text.len())];
        // What is repeated, or may be missing, stands before the sign that says so.
        let sure = if self.expression().is_some() && plain.len() < text.len() {
            plain.len().saturating_sub(1)
        } else {
            plain.len()
        };
        &plain[..sure]
    }

    /// Whether it is a regular expression that is not read here.
    pub(super) fn is_unread(&self) -> bool {
        let filled = |text: &str| {
            let mut parts = text.split("${");
            let first = parts.next().unwrap_or_default().to_owned();
            parts.fold(first, |text, part| text + "x" + part.split_once('}').map_or("", |(_, rest)| rest))
        };
        self.expression().is_some_and(|text| filled(text).parse::<Expression>().is_err())
    }
}

impl Config {
    pub(super) fn of(raw: RawConfig, unknown: &[Unknown], warnings: &mut Vec<Warning>) -> Self {
        for unknown in unknown {
            let line = match &unknown.origin {
                shared::settings::Origin::File { line, .. } => *line,
                shared::settings::Origin::Variable(_) => 0,
            };
            let key = &unknown.key;
            if let Some((section, why)) = ELSEWHERE.iter().find(|(section, _)| section == key) {
                warnings.push(Warning { line, text: format!("{section} is not carried over: {why}") });
            } else if key.starts_with("acl[") || key.starts_with("users.") {
                // A condition that is misspelled is none, there too: the entry is about more than it seems.
                warnings.push(Warning { line, text: format!("{key} is unknown, and counts for nothing") });
            }
        }
        let mut seen = BTreeSet::new();
        let users =
            raw.users.into_iter().filter_map(|(name, user)| read_user(name, user, &mut seen, warnings)).collect();
        let entries = raw.acl.into_iter().map(|entry| read_entry(entry, warnings)).collect();
        Self { users, entries }
    }
}

fn read_user(
    name: String,
    user: Placed<Option<RawUser>>,
    seen: &mut BTreeSet<String>,
    warnings: &mut Vec<Warning>,
) -> Option<User> {
    let line = user.place.line;
    let mut warn = |text: String| warnings.push(Warning { line, text });
    let RawUser { password, labels } = user.value.unwrap_or_default();
    if name.is_empty() {
        return Some(User { name, handle: None, hash: None, labels });
    }
    let handle: Handle = match name.parse() {
        Ok(handle) => handle,
        Err(error) => {
            warn(format!("the user is not carried over: {error}"));
            return None;
        }
    };
    if !seen.insert(folded(&name)) {
        warn(format!(
            "the user {name:?} is not carried over: another has this name in another spelling, and here they are one"
        ));
        return None;
    }
    let hash = password.filter(|hash| !hash.is_empty());
    if hash.is_none() {
        warn(format!(
            "the user {name:?} has no password there, and any opens the account; here it gets none and nothing opens it"
        ));
    }
    let unfit = hash.as_ref().is_some_and(|hash| !is_storable(hash));
    if unfit {
        warn(format!("the password of {name:?} is not carried over: it is no bcrypt hash that this server grants"));
    }
    Some(User { name, handle: Some(handle), hash: hash.filter(|_| !unfit), labels })
}

fn read_entry(entry: Placed<RawEntry>, warnings: &mut Vec<Warning>) -> Entry {
    let line = entry.place.line;
    let RawEntry { conditions, actions, .. } = entry.value;
    let RawMatch { account, kind, name, ip, service, labels } = conditions.unwrap_or_default();
    let pattern = |text: Option<String>| text.map(Pattern);
    let (account, kind, name) = (pattern(account), pattern(kind), pattern(name));
    let labels: BTreeMap<String, Pattern> = labels.into_iter().map(|(key, text)| (key, Pattern(text))).collect();
    let mut beyond = Vec::new();
    beyond.extend(ip.map(|_| "ip"));
    beyond.extend(service.map(|_| "service"));
    for one in [&account, &kind, &name].into_iter().flatten().chain(labels.values()) {
        let Some(Ok(expression)) = one.expression().map(str::parse::<Expression>) else { continue };
        if !expression.is_anchored() && !one.is_everything() {
            let text = format!("{} is not anchored: it matches whatever has it somewhere within", one.0);
            warnings.push(Warning { line, text });
        }
    }
    Entry { line, account, kind, name, labels, beyond, actions }
}
