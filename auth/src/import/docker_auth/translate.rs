//! Entries as grants. A grant that is too narrow is asked for again; one that is too wide is not noticed: in doubt accounts are named one
//! by one, and what has no form here is left out.

use std::collections::{BTreeMap, BTreeSet};

use shared::{pattern::RepositoryPattern, repository::RepositoryName, settings::Placed};

use super::{
    Warning,
    acl::{ACCOUNT, LABELS, REPOSITORY, View, labelled},
    config::{Config, Entry, Pattern, User},
    samples::Samples,
};
use crate::{
    accounts::{
        names::{Label, NamespaceName},
        setup::{Document, GrantPart, NamespacePart, SubjectName, TeamPart, UserPart},
    },
    permissions::{Actions, Visibility},
};

/// What is being put together.
struct Translation<'a> {
    config: &'a Config,
    views: &'a [View<'a>],
    samples: &'a Samples,
    warnings: &'a mut Vec<Warning>,
    namespaces: BTreeMap<String, NamespacePart>,
    system: Vec<GrantPart>,
}

/// Whom an entry gives something.
struct Given {
    users: Vec<User>,
    /// The lines before it that keep it from others, of the file or not.
    kept_by: BTreeSet<usize>,
}

/// The document that comes closest.
pub(super) fn document(
    config: &Config,
    views: &[View<'_>],
    samples: &Samples,
    named: &[RepositoryName],
    warnings: &mut Vec<Warning>,
) -> Document {
    let (namespaces, system) = (BTreeMap::new(), Vec::new());
    let mut translation = Translation { config, views, samples, warnings, namespaces, system };
    for repository in named {
        translation.namespace(repository.namespace());
    }
    for (index, entry) in config.entries.iter().enumerate() {
        translation.entry(index, entry);
    }
    let users = config.users.iter().filter_map(|user| {
        let handle = user.handle.clone()?;
        Some(Placed::nowhere(UserPart { password_hash: user.hash.clone(), ..UserPart::named(handle) }))
    });
    Document {
        users: Some(users.collect()),
        namespaces: Some(translation.namespaces.into_values().map(Placed::nowhere).collect()),
        grants: Some(translation.system.into_iter().map(Placed::nowhere).collect()),
        ..Document::default()
    }
}

impl Translation<'_> {
    fn warn(&mut self, entry: &Entry, text: impl Into<String>) {
        self.warnings.push(Warning { line: entry.line, text: text.into() });
    }

    fn entry(&mut self, index: usize, entry: &Entry) {
        if let Some(why) = entry.strange() {
            return self.left_out(index, entry, &why);
        }
        if !self.views.iter().any(|view| entry.is_about_repositories(view.user)) {
            let why = "it is not about repositories; who lists the catalog is said by a service's setting (catalog)";
            return self.warn(entry, format!("the entry is not carried over: {why}"));
        }
        self.shadows(index, entry);
        let given = entry.given();
        if given.is_empty() {
            return self.refuses(index, entry);
        }
        let actions = if given.meets(Actions::PUSH | Actions::DELETE) { given | Actions::PULL } else { given };
        if actions != given {
            self.warn(entry, format!("{given} without pull is of no use to any client; here it is {actions}"));
        }
        let about = self.about(index, entry, given);
        if about.users.is_empty() && !(entry.is_for_anybody() && about.kept_by.is_empty()) {
            return self.for_nobody(entry, &about);
        }
        for (text, users) in self.names(entry, &about.users) {
            match text.as_deref().map_or_else(everything, read) {
                Ok(pattern) => self.grant(entry, &pattern, &users, actions, &about.kept_by),
                Err(why) => {
                    let text = text.unwrap_or_default();
                    self.warn(entry, format!("the name {text} is not carried over: {why}"));
                }
            }
        }
    }

    /// An entry that nothing here can say. If it keeps shut what others behind it open, they do not open it.
    fn left_out(&mut self, index: usize, entry: &Entry, why: &str) {
        let mut text = format!("the entry is not carried over: {why}");
        let later = self.config.entries[index + 1..].iter();
        let shut = later.filter(|later| later.strange().is_none() && entry.may_keep(later, later.given()));
        let lines: Vec<String> = shut.map(|later| later.line.to_string()).collect();
        if !lines.is_empty() {
            text.push_str(&format!(
                "; it may refuse what line {} gives, so whom it may be about gets nothing from there: take it out of the file to open that to them",
                lines.join(", ")
            ));
        }
        self.warn(entry, text);
    }

    /// An entry that gives nothing.
    fn refuses(&mut self, index: usize, entry: &Entry) {
        let mut later = self.config.entries[index + 1..].iter();
        let opens = |later: &Entry| later.is_for_anybody() && entry.may_keep(later, later.given());
        if entry.may_be_about_strangers(self.config) && later.any(opens) {
            self.warn(entry, "it may refuse accounts that are not in this file: what is behind it is given to accounts by name, so they do not get it");
        }
    }

    fn for_nobody(&mut self, entry: &Entry, about: &Given) {
        let why = match entry.account.as_ref().and_then(Pattern::literal) {
            _ if !about.kept_by.is_empty() => {
                format!("entries before it decide for everybody it is about (line {})", lines(&about.kept_by))
            }
            Some(name) => format!("{name:?} is not among the users of this file"),
            None => "it is about none of the users of this file".to_owned(),
        };
        self.warn(entry, format!("the entry is not carried over: {why}"));
    }

    /// The accounts that the entry is about and that no earlier one keeps from it.
    fn about(&self, index: usize, entry: &Entry, given: Actions) -> Given {
        let earlier = &self.config.entries[..index];
        let mut kept_by = BTreeSet::new();
        let mut users = Vec::new();
        for user in self.config.users.iter().filter(|user| entry.is_about(user)) {
            match earlier.iter().find(|earlier| earlier.keeps(entry, given, user)) {
                Some(earlier) => drop(kept_by.insert(earlier.line)),
                None => users.push(user.clone()),
            }
        }
        if entry.is_for_anybody() {
            let keeps =
                |earlier: &&Entry| earlier.may_keep(entry, given) && earlier.may_be_about_strangers(self.config);
            kept_by.extend(earlier.iter().filter(keeps).map(|earlier| earlier.line));
        }
        Given { users, kept_by }
    }

    /// An entry that decides some repositories, and gives less there than one behind it would: grants add up.
    fn shadows(&mut self, index: usize, entry: &Entry) {
        if entry.is_whole() {
            return;
        }
        let behind = |view: &View<'_>, name: &str| {
            let mut matching = view.matching(name).skip_while(|(at, _)| *at < index);
            matching.next().filter(|(at, _)| *at == index)?;
            matching.next().filter(|(_, later)| !entry.given().contains(later.given())).map(|(_, later)| later.line)
        };
        let found = self.views.iter().find_map(|view| {
            self.samples.of_account(view.user).into_iter().find_map(|name| behind(view, name.as_str()))
        });
        if let Some(line) = found {
            let given = entry.given();
            let given = if given.is_empty() { "nothing".to_owned() } else { given.to_string() };
            self.warn(entry, format!("it gives {given} and keeps what line {line} gives from whom it is about; grants add up, so it cannot here"));
        }
    }

    /// The name's pattern for these accounts, with whom each is for: a label stands for another in each. None is every name.
    fn names(&mut self, entry: &Entry, users: &[User]) -> BTreeMap<Option<String>, Vec<User>> {
        let Some(pattern) = &entry.name else { return BTreeMap::from([(None, users.to_vec())]) };
        if !pattern.0.contains(LABELS) {
            return BTreeMap::from([(Some(pattern.0.clone()), users.to_vec())]);
        }
        let mut found: BTreeMap<Option<String>, Vec<User>> = BTreeMap::new();
        for user in users {
            for choice in labelled(pattern, user) {
                // Filled in as it stands it would be a pattern: whoever may set a label could open what it says.
                if let Some((_, value)) = choice.iter().find(|(_, value)| value.parse::<RepositoryName>().is_err()) {
                    self.warn(
                        entry,
                        format!("the label {value:?} of {:?} is no plain name and stands for nothing here", user.name),
                    );
                    continue;
                }
                let text = choice.iter().fold(pattern.0.clone(), |text, (key, value)| text.replace(key, value));
                found.entry(Some(text)).or_default().push(user.clone());
            }
        }
        found
    }

    fn grant(
        &mut self,
        entry: &Entry,
        pattern: &RepositoryPattern,
        users: &[User],
        actions: Actions,
        kept_by: &BTreeSet<usize>,
    ) {
        let home = pattern.namespace().map(str::to_owned);
        for subject in self.subjects(entry, home.as_deref(), users, kept_by) {
            let grant = GrantPart { subject, repositories: pattern.clone(), actions, tags: None, expires_at: None };
            match &home {
                Some(name) => {
                    let grants = self.namespace(name).and_then(|part| part.grants.as_mut());
                    grants.into_iter().for_each(|grants| grants.push(Placed::nowhere(grant.clone())));
                }
                None => self.system.push(grant),
            }
        }
        if home.is_none() {
            let text = format!(
                "{pattern} reaches into namespaces that are known here only: make those that there are (namespace add, or --repositories)"
            );
            self.warn(entry, text);
        }
        if pattern.as_str().starts_with("{username}") {
            for user in users.iter().filter(|user| user.handle.is_some()) {
                self.namespace(&user.name);
            }
        }
    }

    /// Whom it is for.
    fn subjects(
        &mut self,
        entry: &Entry,
        home: Option<&str>,
        users: &[User],
        kept_by: &BTreeSet<usize>,
    ) -> Vec<SubjectName> {
        let people: Vec<&User> = users.iter().filter(|user| user.handle.is_some()).collect();
        let known = self.config.users.iter().filter(|user| user.handle.is_some()).count();
        if people.len() < users.len() {
            if people.len() < known {
                self.warn(entry, "it is for whoever did not sign in; here that is everyone, signed in or not");
            }
            return vec![SubjectName::Everyone];
        }
        if entry.is_for_anybody() && kept_by.is_empty() {
            return vec![SubjectName::Authenticated];
        }
        if entry.is_for_anybody() {
            let text = format!(
                "line {} keeps it from some: the others in this file are named one by one, who comes later is not among them",
                lines(kept_by)
            );
            self.warn(entry, text);
        } else if entry.account.as_ref().is_some_and(|account| account.literal().is_none()) {
            self.warn(entry, "the accounts that match are named one by one; who comes later is not among them");
        }
        let names: Vec<String> = people.iter().map(|user| user.name.clone()).collect();
        match (names.as_slice(), home) {
            ([_, _, ..], Some(home)) => self.team(entry, home, &names).into_iter().collect(),
            _ => names.into_iter().map(SubjectName::Account).collect(),
        }
    }

    /// A team of the namespace with these members: one that is there, or another.
    fn team(&mut self, entry: &Entry, home: &str, names: &[String]) -> Option<SubjectName> {
        let labels: Vec<&str> = entry.labels.values().filter_map(Pattern::literal).collect();
        let wanted = if labels.is_empty() { format!("acl-line-{}", entry.line) } else { labels.join("-") };
        let teams = self.namespace(home)?.teams.as_mut()?;
        let is_it = |team: &TeamPart| team.members.iter().flatten().map(|member| &member.value).eq(names);
        if let Some(team) = teams.iter().find(|team| is_it(team)) {
            return Some(SubjectName::Team(None, team.name.clone()));
        }
        let taken = teams.iter().any(|team| team.name.as_str() == wanted);
        let name: Label = if taken { format!("{wanted}-{}", entry.line) } else { wanted }.parse().ok()?;
        let members = names.iter().cloned().map(Placed::nowhere).collect();
        teams.push(Placed::nowhere(TeamPart { name: name.clone(), members: Some(members), mappings: None }));
        Some(SubjectName::Team(None, name))
    }

    fn namespace(&mut self, name: &str) -> Option<&mut NamespacePart> {
        let parsed: NamespaceName = name.parse().ok()?;
        let part = self.namespaces.entry(name.to_owned()).or_insert_with(|| NamespacePart {
            name: parsed,
            visibility: Visibility::Private,
            teams: Some(Vec::new()),
            robots: None,
            grants: Some(Vec::new()),
        });
        Some(part)
    }
}

impl Entry {
    /// Why nothing here can say what the entry says.
    fn strange(&self) -> Option<String> {
        if let [first, ..] = self.beyond.as_slice() {
            let instead = match *first {
                "ip" => "a key or a token can be confined to networks (--networks)",
                _ => "grants hold for every registry",
            };
            return Some(format!("it has the condition {first}; {instead}"));
        }
        let parts = || [&self.account, &self.kind, &self.name].into_iter().flatten().chain(self.labels.values());
        let unread = parts().find(|pattern| pattern.is_unread());
        if let Some(Pattern(text)) = unread {
            return Some(format!("{text} is a regular expression that is not understood here"));
        }
        parts().find_map(Pattern::placeholder).map(|shown| format!("nothing stands for {shown} here"))
    }

    /// Whether it decides every repository of whom it is about.
    fn is_whole(&self) -> bool {
        self.kind.as_ref().is_none_or(|kind| kind.is_everything() || kind.0 == REPOSITORY)
            && self.name.as_ref().is_none_or(Pattern::is_everything)
    }

    /// Whether whoever signs in is meant, in the file or not.
    fn is_for_anybody(&self) -> bool {
        let by_label = self.name.as_ref().is_some_and(|name| name.0.contains(LABELS));
        self.account.as_ref().is_none_or(Pattern::is_everything) && self.labels.is_empty() && !by_label
    }

    /// Whether it keeps from the account what a later entry gives.
    fn keeps(&self, later: &Self, given: Actions, user: &User) -> bool {
        if self.given().contains(given) {
            return false;
        }
        match self.strange() {
            None => self.is_whole() && self.is_about(user) && self.is_about_repositories(user),
            Some(_) => self.may_be_about(user) && self.may_meet(later),
        }
    }

    /// Whether it keeps something from somebody that a later entry gives, or may.
    fn may_keep(&self, later: &Self, given: Actions) -> bool {
        !self.given().contains(given) && self.may_meet(later)
    }

    /// Whether one name can be both's.
    fn may_meet(&self, other: &Self) -> bool {
        let [one, other] = [self, other].map(|entry| entry.name.as_ref().map_or("", Pattern::beginning));
        one.starts_with(other) || other.starts_with(one)
    }

    /// Whether it can be about some of those who are not in the file, and not about all: then who they are is not known here.
    fn may_be_about_strangers(&self, config: &Config) -> bool {
        let account = match &self.account {
            Some(account) => match account.literal() {
                Some("") => return false,
                Some(name) => return config.users.iter().all(|user| user.name != name),
                None => !account.is_everything(),
            },
            None => false,
        };
        account || !self.labels.is_empty() || self.strange().is_some() || self.is_whole()
    }
}

fn lines(lines: &BTreeSet<usize>) -> String {
    lines.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn everything() -> Result<RepositoryPattern, String> {
    "**".parse().map_err(|error| format!("{error}"))
}

/// A pattern of ours for one of theirs, where there is one that says the same.
fn read(text: &str) -> Result<RepositoryPattern, String> {
    let theirs = Pattern(text.to_owned());
    let ours = match theirs.expression() {
        Some(expression) => {
            of_expression(expression).ok_or("it is a regular expression that no pattern of ours says")?
        }
        None if text.replace(ACCOUNT, "").contains(['[', '\\', '{', '}']) => {
            return Err("there braces are letters, and our patterns have no [classes] and no backslashes".to_owned());
        }
        None => of_shell(text),
    };
    let pattern: RepositoryPattern = ours.parse().map_err(|error| format!("{error}"))?;
    pattern.check_reach().map_err(|error| error.to_string())?;
    Ok(pattern)
}

/// Two stars beside each other are one there.
fn of_shell(text: &str) -> String {
    let mut ours = String::new();
    for c in text.replace(ACCOUNT, "{username}").chars() {
        if c != '*' || !ours.ends_with('*') {
            ours.push(c);
        }
    }
    ours
}

/// `^acme/web$`, `^acme/.+$` and the like.
fn of_expression(text: &str) -> Option<String> {
    if [".*", ".+", "^.*$", "^.+$"].contains(&text) {
        return Some("**".to_owned());
    }
    let inner = text.strip_prefix('^')?;
    let (inner, rest) = [
        ("/.*$", "/**"),
        ("/.+$", "/**"),
        ("/.*", "/**"),
        ("/.+", "/**"),
        ("/[^/]+$", "/*"),
        ("/[^/]*$", "/*"),
        ("$", ""),
    ]
    .into_iter()
    .find_map(|(end, ours)| Some((inner.strip_suffix(end)?, ours)))?;
    let plain = inner.replace(r"\/", "/").replace(r"\.", ".").replace(r"\-", "-");
    let is_name =
        plain.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"/-_".contains(&byte))
            || (inner.contains(r"\.")
                && !inner.replace(r"\.", "").contains('.')
                && plain.parse::<RepositoryName>().is_ok());
    is_name.then(|| format!("{plain}{rest}"))
}
