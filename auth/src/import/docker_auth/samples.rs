//! Repositories to compare over: those that the patterns themselves suggest, and those that somebody names.

use std::collections::{BTreeMap, BTreeSet};

use shared::repository::RepositoryName;

use super::{
    acl::{ACCOUNT, labelled},
    config::{Config, Pattern, User},
    expression::Expression,
};

/// What stands for any name.
const ANY: &str = "sample";
/// The names that a pattern means for one account are looked at for all accounts, of so many: they tell of each other's.
const MAX_NEIGHBOURS: usize = 20;

/// Repositories.
#[derive(Debug)]
pub(super) struct Samples {
    common: BTreeSet<RepositoryName>,
    /// What patterns mean for one account, by its name.
    own: BTreeMap<String, BTreeSet<RepositoryName>>,
}

impl Samples {
    pub(super) fn of(config: &Config, named: &[RepositoryName]) -> Self {
        let parsed = |texts: Vec<String>| texts.into_iter().filter_map(|text| text.parse::<RepositoryName>().ok());
        let mut common: BTreeSet<RepositoryName> = named.iter().cloned().collect();
        common.extend(parsed(vec![ANY.to_owned(), format!("{ANY}/{ANY}")]));
        let patterns = config.entries.iter().filter_map(|entry| entry.name.as_ref());
        let (personal, general): (Vec<_>, Vec<_>) = patterns.partition(|pattern| pattern.0.contains("${"));
        let stranger = User::stranger();
        common.extend(general.iter().flat_map(|pattern| parsed(around(pattern, &stranger))));
        let of_user = |user: &User| personal.iter().flat_map(|pattern| parsed(around(pattern, user))).collect();
        let own: BTreeMap<_, BTreeSet<_>> =
            config.users.iter().map(|user| (user.name.clone(), of_user(user))).collect();
        common.extend(own.values().take(MAX_NEIGHBOURS).flatten().cloned());
        Self { common, own }
    }

    /// Those to compare an account over: sorted, none twice.
    pub(super) fn of_account(&self, user: &User) -> BTreeSet<&RepositoryName> {
        self.common.iter().chain(self.own.get(&user.name).into_iter().flatten()).collect()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &RepositoryName> {
        self.common.iter().chain(self.own.values().flatten())
    }
}

/// A name that the pattern matches for this account, one above it, and some below and beside it.
fn around(pattern: &Pattern, user: &User) -> Vec<String> {
    let filled = pattern.0.replace(ACCOUNT, &user.name);
    let mut choices = labelled(pattern, user);
    choices.push(Vec::new());
    let mut texts = Vec::new();
    for choice in choices {
        let filled =
            choice.iter().fold(filled.clone(), |text, (placeholder, value)| text.replace(placeholder.as_str(), value));
        let filled = Pattern(filled);
        let read = filled.expression().map_or_else(|| Expression::shell(&filled.0), str::parse);
        let Ok(example) = read.map(|expression| expression.example()) else { continue };
        texts.extend(example.rsplit_once('/').map(|(above, _)| above.to_owned()));
        texts.push(format!("{example}/deeper"));
        texts.push(format!("x{example}"));
        texts.push(format!("{example}x"));
        texts.push(example);
    }
    texts
}
