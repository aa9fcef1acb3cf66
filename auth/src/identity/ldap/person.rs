//! A user's entry, as far as it matters here.

use ring::digest::{SHA256, digest};

use super::{
    config::{Config, Scope, Users},
    connection::{Entry, Reading, Search},
    fault::Fault,
    names::Filter,
};

/// Bit 2 of `userAccountControl`: the account is disabled.
const ACCOUNT_DISABLED: u32 = 2;
/// What says that an account is disabled, in Active Directory, OpenLDAP (ppolicy) and 389 Directory Server.
const STATE: [&str; 3] = ["userAccountControl", "pwdAccountLockedTime", "nsAccountLock"];
/// `pwdAccountLockedTime` of an account that an administrator locked for good, not one that will unlock by itself.
const LOCKED_FOR_GOOD: &str = "000001010000Z";
/// What changes when a password does, in Active Directory and in OpenLDAP.
const PASSWORD_CHANGED: [&str; 2] = ["pwdLastSet", "pwdChangedTime"];

/// A user of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The distinguished name of the entry, as the directory spells it.
    pub entry: String,
    /// What never changes about it.
    pub external_id: String,
    /// What the directory calls them.
    pub name: String,
    /// What people call them.
    pub display_name: String,
    /// True if the directory says that they may not sign in.
    pub disabled: bool,
    /// What changes when the password does, and says nothing about it; None where the directory does not tell.
    pub fingerprint: Option<String>,
    /// `uid`, by which `posixGroup` names its members.
    pub uid: Vec<String>,
    /// `memberOf`, where it is asked for.
    pub member_of: Vec<String>,
}

impl Person {
    pub(super) fn read(users: &Users, entry: &Entry) -> Result<Self, Fault> {
        let unreadable =
            |attribute: &str| Fault::Unreadable { name: entry.name.clone(), attribute: attribute.to_owned() };
        let id = users.id.attribute();
        let external_id =
            entry.values(id).first().and_then(|value| users.id.text_of(value)).ok_or_else(|| unreadable(id))?;
        let name = entry.text(users.name.as_str()).ok_or_else(|| unreadable(users.name.as_str()))?;
        Ok(Self {
            entry: entry.name.clone(),
            external_id,
            name: name.to_owned(),
            display_name: entry.text(users.display.as_str()).unwrap_or_default().chars().take(200).collect(),
            disabled: is_disabled(entry),
            fingerprint: fingerprint(entry),
            uid: entry.texts("uid").map(str::to_owned).collect(),
            member_of: entry.texts("memberOf").map(str::to_owned).collect(),
        })
    }
}

fn is_disabled(entry: &Entry) -> bool {
    let control = entry.text(STATE[0]).and_then(|value| value.parse::<i64>().ok());
    control.is_some_and(|flags| flags & i64::from(ACCOUNT_DISABLED) != 0)
        || entry.text(STATE[1]) == Some(LOCKED_FOR_GOOD)
        || entry.text(STATE[2]).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

fn fingerprint(entry: &Entry) -> Option<String> {
    let changed = PASSWORD_CHANGED.iter().find_map(|attribute| entry.text(attribute))?;
    let hex: String = digest(&SHA256, changed.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("ldap:{hex}"))
}

/// What is read of users.
pub(super) fn attributes(config: &Config) -> Vec<String> {
    let users = &config.users;
    let groups: &[&str] = match &config.groups {
        Some(groups) if groups.member_of => &["uid", "memberOf"],
        Some(_) => &["uid"],
        None => &[],
    };
    let mut attributes: Vec<String> = [users.name.as_str(), users.display.as_str(), users.id.attribute()]
        .into_iter()
        .chain(STATE)
        .chain(PASSWORD_CHANGED)
        .chain(groups.iter().copied())
        .map(str::to_owned)
        .collect();
    attributes.sort_unstable();
    attributes.dedup();
    attributes
}

/// Those who go by that name: two are enough to know that there is more than one.
pub(super) fn called(config: &Config, name: &str) -> Search {
    let users = &config.users;
    let names: Vec<Filter> =
        users.login.iter().map(|attribute| Filter::equals(attribute.as_str(), name.as_bytes())).collect();
    among_users(config, &Filter::any(&names), Reading::AtMost(2))
}

/// The one with that id.
pub(super) fn with_id(config: &Config, external_id: &str) -> Option<Search> {
    Some(among_users(config, &config.users.id.filter_of(external_id)?, Reading::AtMost(2)))
}

/// The one whose entry that is.
pub(super) fn at(config: &Config, entry: &str) -> Search {
    let attributes = attributes(config);
    let filter = config.users.filter.clone();
    Search { base: entry.to_owned(), scope: Scope::Base, filter, attributes, reading: Reading::AtMost(2) }
}

/// Any of them.
pub(super) fn anybody(config: &Config) -> Search {
    among_users(config, &Filter::everything(), Reading::AtMost(1))
}

/// All of them.
pub(super) fn everybody(config: &Config) -> Search {
    among_users(config, &Filter::everything(), Reading::All)
}

fn among_users(config: &Config, filter: &Filter, reading: Reading) -> Search {
    let users = &config.users;
    Search {
        base: users.base.clone(),
        scope: users.scope,
        filter: users.filter.and(filter),
        attributes: attributes(config),
        reading,
    }
}
