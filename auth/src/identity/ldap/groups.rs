//! The groups that somebody is in, and the groups that those are in.

use std::{collections::BTreeSet, str::FromStr};

use tokio::sync::OnceCell;

use super::{
    config::{Config, Groups, Nested, Scope},
    connection::{Entry, Reading, Search},
    directory::Directory,
    fault::Fault,
    names::{Dn, Filter},
    person::Person,
};

/// Most groups of one person. Whoever is in more is a mistake, and half of them would be fewer rights.
const MAX_GROUPS: usize = 2000;
/// How deep groups may lie in groups.
const MAX_DEPTH: usize = 16;
/// How many groups one search asks about.
const AT_ONCE: usize = 32;
/// What Active Directory says of itself in its root.
const ACTIVE_DIRECTORY: &str = "1.2.840.113556.1.4.800";

/// What is known about how a directory nests groups.
#[derive(Debug, Default)]
pub(super) struct Nesting(OnceCell<bool>);

impl Nesting {
    /// True if the directory follows chains itself.
    async fn is_in_chain(&self, directory: &Directory, groups: &Groups) -> Result<bool, Fault> {
        match groups.nested {
            Nested::InChain => Ok(true),
            Nested::Walk | Nested::No => Ok(false),
            Nested::Auto => self.0.get_or_try_init(|| offers_chains(directory)).await.copied(),
        }
    }
}

async fn offers_chains(directory: &Directory) -> Result<bool, Fault> {
    let root = Search {
        base: String::new(),
        scope: Scope::Base,
        filter: Filter::everything(),
        attributes: vec!["supportedCapabilities".to_owned()],
        reading: Reading::AtMost(2),
    };
    let entries = directory.search(&root).await?;
    Ok(entries.iter().any(|entry| entry.texts("supportedCapabilities").any(|oid| oid == ACTIVE_DIRECTORY)))
}

/// Every group that somebody is in; all of them, or none and the reason.
pub(super) async fn of(
    directory: &Directory,
    config: &Config,
    nesting: &Nesting,
    person: &Person,
) -> Result<BTreeSet<Dn>, Fault> {
    let Some(groups) = &config.groups else { return Ok(BTreeSet::new()) };
    let name = person.entry.as_bytes();
    let mut found = BTreeSet::new();
    if nesting.is_in_chain(directory, groups).await? {
        let entries = directory.search(&search(groups, &Filter::in_chain("member", name))).await?;
        add(&mut found, &entries)?;
        return Ok(found);
    }
    if groups.member_of {
        for group in &person.member_of {
            found.insert(Dn::from_str(group).map_err(|error| Fault::Nonsense(error.to_string()))?);
        }
    }
    let mut direct = vec![Filter::equals("member", name), Filter::equals("uniqueMember", name)];
    direct.extend(person.uid.iter().map(|uid| Filter::equals("memberUid", uid.as_bytes())));
    let entries = directory.search(&search(groups, &Filter::any(&direct))).await?;
    add(&mut found, &entries)?;
    if groups.nested != Nested::No {
        walk(directory, groups, &mut found).await?;
    }
    Ok(found)
}

/// Looks level by level for groups that the ones found are in. One that was seen is not looked at again, which is where loops end.
async fn walk(directory: &Directory, groups: &Groups, found: &mut BTreeSet<Dn>) -> Result<(), Fault> {
    let mut level: Vec<Dn> = found.iter().cloned().collect();
    for _ in 0..MAX_DEPTH {
        let mut above = BTreeSet::new();
        for some in level.chunks(AT_ONCE) {
            let names = some.iter().map(|group| group.as_str().as_bytes());
            let filters: Vec<Filter> =
                names.flat_map(|name| [Filter::equals("member", name), Filter::equals("uniqueMember", name)]).collect();
            add(&mut above, &directory.search(&search(groups, &Filter::any(&filters))).await?)?;
        }
        level = above.into_iter().filter(|group| found.insert(group.clone())).collect();
        if level.is_empty() {
            return Ok(());
        }
        if found.len() > MAX_GROUPS {
            break;
        }
    }
    Err(Fault::TooMuch)
}

fn search(groups: &Groups, filter: &Filter) -> Search {
    Search {
        base: groups.base.clone(),
        scope: Scope::Subtree,
        filter: groups.filter.and(filter),
        // No attributes (RFC 4511, section 4.5.1.8): the members of a group are not asked for.
        attributes: vec!["1.1".to_owned()],
        reading: Reading::All,
    }
}

fn add(found: &mut BTreeSet<Dn>, entries: &[Entry]) -> Result<(), Fault> {
    for entry in entries {
        found.insert(entry.name.parse().map_err(|error: super::names::NameError| Fault::Nonsense(error.to_string()))?);
    }
    if found.len() > MAX_GROUPS { Err(Fault::TooMuch) } else { Ok(()) }
}
