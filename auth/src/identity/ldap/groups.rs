//! The groups that somebody is in, and the groups that those are in.

use std::{collections::BTreeMap, fmt, str::FromStr};

use tokio::sync::OnceCell;

use super::{
    config::{Config, Groups, Nested, Scope},
    connection::{Entry, Reading, Search},
    directory::Directory,
    fault::Fault,
    names::{Dn, Filter, NameError},
    person::Person,
};

/// Most groups of one person. Whoever is in more is a mistake, and half of them would be fewer rights.
pub(super) const MAX_GROUPS: usize = 2000;
/// How deep groups may lie in groups: so many levels, the one that names the person included.
pub(super) const MAX_DEPTH: usize = 16;
/// What is said of whoever is in more.
const TOO_MANY: Fault = Fault::TooMany { what: "groups of one person", limit: MAX_GROUPS };
/// How many groups one search asks about.
const AT_ONCE: usize = 32;
/// What Active Directory says of itself in its root.
const ACTIVE_DIRECTORY: &str = "1.2.840.113556.1.4.800";

/// What is known about how a directory nests groups.
#[derive(Debug, Default)]
pub(super) struct Nesting(OnceCell<bool>);

impl Nesting {
    /// True if the directory follows chains itself.
    pub(super) async fn is_in_chain(&self, directory: &Directory, groups: &Groups) -> Result<bool, Fault> {
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

/// By which rule somebody is in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The group, or one that it is in, names them: the directory followed the chain.
    InChain,
    /// Their entry names the group.
    MemberOf,
    /// The group names their entry or their `uid`, in one of these attributes.
    Names(&'static [&'static str]),
    /// A group of theirs is in it, so many levels up.
    Nested(usize),
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InChain => f.write_str("inchain"),
            Self::MemberOf => f.write_str("memberOf"),
            Self::Names(attributes) => f.write_str(&attributes.join(" or ")),
            Self::Nested(level) => write!(f, "nested {level}"),
        }
    }
}

/// The attributes by which groups name their members.
const NAMING: [&str; 3] = ["member", "uniqueMember", "memberUid"];

/// Whether it is asked at once, or attribute by attribute to learn which one it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    AtOnce,
    OneByOne,
}

/// Every group that somebody is in, and by which rule; all of them, or none and the reason.
pub(super) async fn of(
    directory: &Directory,
    config: &Config,
    nesting: &Nesting,
    person: &Person,
    asking: Asking,
) -> Result<BTreeMap<Dn, By>, Fault> {
    let Some(groups) = &config.groups else { return Ok(BTreeMap::new()) };
    let mut found = BTreeMap::new();
    if nesting.is_in_chain(directory, groups).await? {
        let search = search(groups, &Filter::in_chain("member", person.entry.as_bytes()));
        add(&mut found, &directory.search(&search).await?, By::InChain)?;
        return Ok(found);
    }
    if groups.member_of {
        for group in &person.member_of {
            found.insert(Dn::from_str(group).map_err(|error| Fault::Nonsense(error.to_string()))?, By::MemberOf);
        }
    }
    for attributes in asked(asking) {
        let filters: Vec<Filter> = attributes.iter().flat_map(|attribute| naming(attribute, person)).collect();
        if !filters.is_empty() {
            let entries = directory.search(&search(groups, &Filter::any(&filters))).await?;
            add(&mut found, &entries, By::Names(attributes))?;
        }
    }
    if groups.nested != Nested::No {
        walk(directory, groups, &mut found).await?;
    }
    Ok(found)
}

/// In how many searches it is asked for the groups that name somebody, and by which attributes.
fn asked(asking: Asking) -> impl Iterator<Item = &'static [&'static str]> {
    match asking {
        Asking::AtOnce => NAMING.chunks(NAMING.len()),
        Asking::OneByOne => NAMING.chunks(1),
    }
}

/// `memberUid` names people by their `uid`, the others by their entry.
fn naming(attribute: &str, person: &Person) -> Vec<Filter> {
    if attribute == NAMING[2] {
        return person.uid.iter().map(|uid| Filter::equals(attribute, uid.as_bytes())).collect();
    }
    vec![Filter::equals(attribute, person.entry.as_bytes())]
}

/// Looks level by level for groups that the ones found are in. One that was seen is not looked at again, which is where loops end.
async fn walk(directory: &Directory, groups: &Groups, found: &mut BTreeMap<Dn, By>) -> Result<(), Fault> {
    let mut level: Vec<Dn> = found.keys().cloned().collect();
    for depth in 1..=MAX_DEPTH {
        let mut above = BTreeMap::new();
        for some in level.chunks(AT_ONCE) {
            let names = some.iter().map(|group| group.as_str().as_bytes());
            let filters: Vec<Filter> = names
                .flat_map(|name| NAMING[..2].iter().map(move |attribute| Filter::equals(attribute, name)))
                .collect();
            let entries = directory.search(&search(groups, &Filter::any(&filters))).await?;
            add(&mut above, &entries, By::Nested(depth))?;
        }
        above.retain(|group, _| !found.contains_key(group));
        level = above.keys().cloned().collect();
        found.append(&mut above);
        if level.is_empty() {
            return Ok(());
        }
        if found.len() > MAX_GROUPS {
            return Err(TOO_MANY);
        }
    }
    Err(Fault::TooMany { what: "levels of groups in groups", limit: MAX_DEPTH })
}

/// Any group.
pub(super) fn any(groups: &Groups) -> Search {
    Search { reading: Reading::AtMost(1), ..search(groups, &Filter::everything()) }
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

fn add(found: &mut BTreeMap<Dn, By>, entries: &[Entry], by: By) -> Result<(), Fault> {
    for entry in entries {
        let name: Dn = entry.name.parse().map_err(|error: NameError| Fault::Nonsense(error.to_string()))?;
        found.entry(name).or_insert(by);
    }
    if found.len() > MAX_GROUPS { Err(TOO_MANY) } else { Ok(()) }
}
