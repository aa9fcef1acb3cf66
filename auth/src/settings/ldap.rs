//! What the settings say about directories.

use std::path::PathBuf;

use serde::Deserialize;
use shared::secret::Secret;

use super::SettingsError;
use crate::identity::ldap::{
    config::{
        Config, ExternalId, Groups, Limits, MAX_URLS, Nested, Password, Scope, Searcher, Server, Tls, Users,
        written_filter, written_name,
    },
    names::{Attribute, Filter},
};

/// Most directories: each is asked for a name that nobody has yet.
const MAX_DIRECTORIES: usize = 8;

/// A directory.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RawLdap {
    /// What it is called here.
    pub name: String,
    /// `ldaps://HOST[:PORT]`, or `ldap://HOST[:PORT]`, which begins with StartTLS.
    pub urls: Vec<String>,
    /// Authorities that sign the servers' certificates, PEM.
    pub ca: Option<String>,
    /// A certificate to show, PEM.
    pub certificate: Option<String>,
    /// Its key, PEM.
    pub key: Option<String>,
    /// `ldap://` without TLS, by name.
    pub insecure: bool,
    /// Who searches.
    pub bind: RawBind,
    /// The name of a user's entry, with `{username}` in it.
    pub template: Option<String>,
    /// Whose entries are users'.
    pub users: RawUsers,
    /// Where their groups are.
    pub groups: Option<RawGroups>,
}

/// Where groups are.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RawGroups {
    /// Where they lie.
    pub base: Option<String>,
    /// Which entries there are groups.
    pub filter: Option<String>,
    /// Whether `memberOf` counts too.
    pub memberof: bool,
    /// `auto`, `inchain`, `walk` or `no`.
    pub nested: Option<String>,
}

/// Who searches.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RawBind {
    /// A distinguished name.
    pub dn: Option<String>,
    /// Its password.
    pub password: Option<Secret<String>>,
    /// A file that holds it.
    pub passwordfile: Option<String>,
    /// The certificate says who searches.
    pub external: bool,
}

/// Whose entries are users'.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RawUsers {
    /// Where they lie.
    pub base: Option<String>,
    /// `base`, `one` or `subtree`.
    pub scope: Option<String>,
    /// Which of them are users.
    pub filter: Option<String>,
    /// What users may type as their name.
    pub login: Vec<String>,
    /// What they are called here.
    pub name: Option<String>,
    /// `entryUUID` or `objectGUID`.
    pub id: Option<String>,
    /// What people call them.
    pub display: Option<String>,
}

pub(super) fn directories(raw: Vec<RawLdap>) -> Result<Vec<Config>, SettingsError> {
    if raw.len() > MAX_DIRECTORIES {
        return Err(SettingsError::invalid("ldap", format_args!("at most {MAX_DIRECTORIES} directories")));
    }
    let directories = raw.into_iter().map(directory).collect::<Result<Vec<_>, _>>()?;
    let mut names: Vec<&str> = directories.iter().map(|config| config.name.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(SettingsError::invalid("ldap.name", format_args!("there are two called {:?}", twice[0])));
    }
    Ok(directories)
}

fn directory(raw: RawLdap) -> Result<Config, SettingsError> {
    let name = raw.name.parse().map_err(|error| SettingsError::invalid("ldap.name", error))?;
    // Names that other kinds of providers have.
    if ["local", "htpasswd"].contains(&raw.name.as_str()) {
        return Err(SettingsError::invalid("ldap.name", format_args!("{:?} is another provider's", raw.name)));
    }
    if raw.urls.is_empty() || raw.urls.len() > MAX_URLS {
        return Err(SettingsError::invalid("ldap.urls", format_args!("1 to {MAX_URLS} servers")));
    }
    let servers = raw.urls.iter().map(|url| Server::from_url(url, raw.insecure)).collect::<Result<_, _>>();
    let tls = tls(raw.ca, raw.certificate, raw.key)?;
    let searcher = searcher(raw.bind, tls.certificate.is_some())?;
    // By a template everybody signs in for themselves; groups are asked for while their owner is away, too.
    if raw.template.is_some() && raw.groups.is_some() && matches!(searcher, Searcher::Anonymous) {
        return Err(SettingsError::invalid(
            "ldap.groups",
            "need bind: by a template nobody signs in who could read them",
        ));
    }
    let template = raw.template.map(|text| text.parse()).transpose();
    Ok(Config {
        name,
        servers: servers.map_err(|error| SettingsError::invalid("ldap.urls", error))?,
        searcher,
        tls,
        template: template.map_err(|error| SettingsError::invalid("ldap.template", error))?,
        users: users(raw.users)?,
        groups: raw.groups.map(groups).transpose()?,
        limits: Limits::default(),
    })
}

fn tls(ca: Option<String>, certificate: Option<String>, key: Option<String>) -> Result<Tls, SettingsError> {
    let certificate = match (certificate, key) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
        _ => return Err(SettingsError::invalid("ldap.certificate", "a certificate and its key come together")),
    };
    Ok(Tls { authorities: ca.map(PathBuf::from), certificate })
}

fn searcher(raw: RawBind, has_certificate: bool) -> Result<Searcher, SettingsError> {
    let one = "dn with password or passwordfile; external alone; or nothing, to search without a name";
    match (raw.dn, raw.password, raw.passwordfile, raw.external) {
        (None, None, None, false) => Ok(Searcher::Anonymous),
        (None, None, None, true) if has_certificate => Ok(Searcher::Certificate),
        (None, None, None, true) => {
            Err(SettingsError::invalid("ldap.bind.external", "there is no certificate that could say who searches"))
        }
        (Some(name), Some(password), None, false) => account(name, Password::Here(password)),
        (Some(name), None, Some(file), false) => account(name, Password::File(file.into())),
        _ => Err(SettingsError::invalid("ldap.bind", one)),
    }
}

fn account(name: String, password: Password) -> Result<Searcher, SettingsError> {
    // Active Directory also takes user@domain and DOMAIN\user.
    if name.trim().is_empty() {
        return Err(SettingsError::invalid("ldap.bind.dn", "is empty: without a name nobody signs in"));
    }
    if matches!(&password, Password::Here(secret) if secret.expose().trim().is_empty()) {
        return Err(SettingsError::invalid(
            "ldap.bind.password",
            "is empty: a name without a password signs in nobody",
        ));
    }
    Ok(Searcher::Account { name, password })
}

fn users(raw: RawUsers) -> Result<Users, SettingsError> {
    let base = raw
        .base
        .ok_or_else(|| SettingsError::invalid("ldap.users.base", "is required: where the users' entries lie"))?;
    let login = if raw.login.is_empty() { vec!["uid".to_owned()] } else { raw.login };
    let login = login.iter().map(|name| attribute("ldap.users.login", name)).collect::<Result<Vec<Attribute>, _>>()?;
    let name = raw.name.map_or_else(|| Ok(login[0].clone()), |name| attribute("ldap.users.name", &name))?;
    Ok(Users {
        base: written_name(&base).map_err(|error| SettingsError::invalid("ldap.users.base", error))?,
        scope: scope("ldap.users.scope", raw.scope.as_deref())?,
        filter: filter("ldap.users.filter", raw.filter)?,
        login,
        name,
        id: external_id(raw.id.as_deref())?,
        display: attribute("ldap.users.display", raw.display.as_deref().unwrap_or("displayName"))?,
    })
}

fn groups(raw: RawGroups) -> Result<Groups, SettingsError> {
    let base =
        raw.base.ok_or_else(|| SettingsError::invalid("ldap.groups.base", "is required: where the groups lie"))?;
    let nested = match raw.nested.as_deref() {
        None | Some("auto") => Nested::Auto,
        Some("inchain") => Nested::InChain,
        Some("walk") => Nested::Walk,
        Some("no") => Nested::No,
        Some(_) => return Err(SettingsError::invalid("ldap.groups.nested", "auto, inchain, walk or no")),
    };
    let base = written_name(&base).map_err(|error| SettingsError::invalid("ldap.groups.base", error))?;
    Ok(Groups { base, filter: filter("ldap.groups.filter", raw.filter)?, member_of: raw.memberof, nested })
}

fn filter(key: &'static str, text: Option<String>) -> Result<Filter, SettingsError> {
    let Some(text) = text else { return Ok(Filter::everything()) };
    written_filter(&text).ok_or_else(|| SettingsError::invalid(key, format_args!("{text:?} is not a search filter")))
}

fn attribute(key: &'static str, name: &str) -> Result<Attribute, SettingsError> {
    name.parse().map_err(|error| SettingsError::invalid(key, error))
}

fn scope(key: &'static str, word: Option<&str>) -> Result<Scope, SettingsError> {
    match word {
        None | Some("subtree") => Ok(Scope::Subtree),
        Some("one") => Ok(Scope::One),
        Some("base") => Ok(Scope::Base),
        Some(_) => Err(SettingsError::invalid(key, "subtree, one or base")),
    }
}

fn external_id(word: Option<&str>) -> Result<ExternalId, SettingsError> {
    let known = [ExternalId::EntryUuid, ExternalId::ObjectGuid];
    let Some(word) = word else { return Ok(ExternalId::EntryUuid) };
    let found = known.into_iter().find(|id| id.attribute().eq_ignore_ascii_case(word));
    found.ok_or_else(|| {
        SettingsError::invalid("ldap.users.id", "entryUUID or objectGUID: what else changes is no identity")
    })
}
