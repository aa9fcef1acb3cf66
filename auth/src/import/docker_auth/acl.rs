//! What docker_auth answers: the first entry that matches decides.

use super::{
    config::{Config, Entry, Pattern, User},
    expression::Expression,
};
use crate::permissions::Actions;

/// The kind of resource that repositories are.
pub(super) const REPOSITORY: &str = "repository";
pub(super) const ACCOUNT: &str = "${account}";
pub(super) const LABELS: &str = "${labels:";
const KIND: &str = "${type}";
const NAME: &str = "${name}";

/// The list as one account meets it.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) user: &'a User,
    /// The entries that are about it, each with its place in the list and the names that it is about.
    entries: Vec<(usize, &'a Entry, Names<'a>)>,
}

/// Which names a condition lets through, for one account.
#[derive(Debug)]
enum Names<'a> {
    Every,
    OfThese(Vec<Expression>),
    /// It speaks of the name itself: read for each.
    OfItself(&'a Pattern),
}

impl Config {
    pub(super) fn seen_by<'a>(&'a self, user: &'a User) -> View<'a> {
        let about = self.entries.iter().enumerate().filter(|(_, entry)| {
            // A condition on the request itself never holds here: it is neither the account's nor the repository's.
            entry.beyond.is_empty() && entry.is_about(user) && holds(entry.kind.as_ref(), REPOSITORY, user)
        });
        let entries = about.map(|(index, entry)| (index, entry, Names::of(entry.name.as_ref(), user)));
        View { user, entries: entries.collect() }
    }
}

impl<'a> Names<'a> {
    fn of(pattern: Option<&'a Pattern>, user: &User) -> Self {
        match pattern {
            None => Self::Every,
            Some(pattern) if pattern.0.contains(NAME) => Self::OfItself(pattern),
            Some(pattern) => Self::OfThese(readings(pattern, user, "")),
        }
    }
}

impl<'a> View<'a> {
    /// The entries that match for the name, in their order.
    pub(super) fn matching<'s>(&'s self, name: &'s str) -> impl Iterator<Item = (usize, &'a Entry)> + 's {
        let matches = |names: &Names<'_>| match names {
            Names::Every => true,
            Names::OfThese(expressions) => expressions.iter().any(|expression| expression.matches(name)),
            Names::OfItself(pattern) => {
                readings(pattern, self.user, name).iter().any(|expression| expression.matches(name))
            }
        };
        self.entries.iter().filter(move |(_, _, names)| matches(names)).map(|(index, entry, _)| (*index, *entry))
    }

    /// What docker_auth allows of pull, push and delete.
    pub(super) fn allows(&self, name: &str) -> Actions {
        self.matching(name).next().map(|(_, entry)| entry.given()).unwrap_or_default()
    }
}

impl Entry {
    /// What it gives, of what repositories know.
    pub(super) fn given(&self) -> Actions {
        match self.actions.as_slice() {
            [all] if all == "*" => Actions::CONTENT,
            // Beside others a star is a word that nobody asks for.
            words => words.iter().filter(|word| *word != "*").map(|word| Actions::of(&word.as_str().into())).collect(),
        }
    }

    /// Whether it can be about repositories.
    pub(super) fn is_about_repositories(&self, user: &User) -> bool {
        holds(self.kind.as_ref(), REPOSITORY, user)
    }

    /// Whether it is about the account, whatever is asked.
    pub(super) fn is_about(&self, user: &User) -> bool {
        self.about(user, false)
    }

    /// The same, where a condition that is not read here may hold.
    pub(super) fn may_be_about(&self, user: &User) -> bool {
        self.about(user, true)
    }

    fn about(&self, user: &User, unread: bool) -> bool {
        let doubtful = |pattern: &Pattern| unread && pattern.is_strange();
        let labelled = |(key, pattern): (&String, &Pattern)| {
            let one = |value: &String| one_holds(pattern, value, user);
            user.labels.get(key).is_some_and(|values| doubtful(pattern) || values.iter().any(one))
        };
        let account = |pattern: &Pattern| doubtful(pattern) || holds(Some(pattern), &user.name, user);
        self.account.as_ref().is_none_or(account) && self.labels.iter().all(labelled)
    }
}

impl Pattern {
    /// What stands in it for something that neither an account nor a label is: `${name}`, `${account:1}`.
    pub(super) fn placeholder(&self) -> Option<&str> {
        let mut found = self.0.match_indices("${").map(|(at, _)| &self.0[at..]);
        let strange = found.find(|text| !text.starts_with(ACCOUNT) && !text.starts_with(LABELS))?;
        Some(strange.find('}').map_or(strange, |end| &strange[..=end]))
    }

    /// Whether it has no form here, and so may hold where it seems not to.
    pub(super) fn is_strange(&self) -> bool {
        self.is_unread() || self.placeholder().is_some()
    }
}

/// Whether a condition holds, for one of the values of every label that it names.
fn holds(pattern: Option<&Pattern>, text: &str, user: &User) -> bool {
    pattern.is_none_or(|pattern| readings(pattern, user, "").iter().any(|expression| expression.matches(text)))
}

/// Whether a condition on a label holds for one of its values.
fn one_holds(pattern: &Pattern, value: &str, user: &User) -> bool {
    read(&filled(pattern, user, "")).is_some_and(|expression| expression.matches(value))
}

/// The pattern for this account: as it stands, and for every choice of one value for each label that it names.
fn readings(pattern: &Pattern, user: &User, name: &str) -> Vec<Expression> {
    let text = filled(pattern, user, name);
    let choices = labelled(pattern, user);
    let chosen =
        choices.iter().map(|choice| choice.iter().fold(text.clone(), |text, (key, value)| text.replace(key, value)));
    [text.clone()].into_iter().chain(chosen).filter_map(|text| read(&text)).collect()
}

fn filled(pattern: &Pattern, user: &User, name: &str) -> String {
    let parts = [(ACCOUNT, user.name.as_str()), (KIND, REPOSITORY), (NAME, name)];
    parts.into_iter().fold(pattern.0.clone(), |text, (placeholder, value)| text.replace(placeholder, &quoted(value)))
}

/// None for what never matches there either, and for what is not read here.
fn read(text: &str) -> Option<Expression> {
    let pattern = Pattern(text.to_owned());
    pattern.expression().map_or_else(|| Expression::shell(text), str::parse).ok()
}

/// Every choice of one value for each label that the pattern names; none if it names none, or one that the account has not.
pub(super) fn labelled(pattern: &Pattern, user: &User) -> Vec<Vec<(String, String)>> {
    let mut choices: Vec<Vec<(String, String)>> = Vec::new();
    for (key, values) in &user.labels {
        let placeholder = format!("{LABELS}{key}}}");
        if !pattern.0.contains(&placeholder) {
            continue;
        }
        let before = if choices.is_empty() { vec![Vec::new()] } else { choices };
        let with = |chosen: &Vec<(String, String)>, value: &String| {
            [chosen.clone(), vec![(placeholder.clone(), value.clone())]].concat()
        };
        choices = before.iter().flat_map(|chosen| values.iter().map(move |value| with(chosen, value))).collect();
    }
    choices
}

/// As docker_auth fills a name in, in shell patterns too.
fn quoted(text: &str) -> String {
    let special = |c: char| r"\.+*?()|[]{}^$".contains(c);
    text.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}
