//! A directory as somebody describes it, in the settings or over the admin API, and whether that makes sense.

use std::fmt;

use serde::{Deserialize, Serialize};
use shared::secret::Secret;
use thiserror::Error;
use utoipa::ToSchema;

use super::{
    config::{
        Config, ExternalId, Groups, Limits, MAX_URLS, Nested, Password, Pem, Scope, Searcher, Server, Tls, Users,
        written_filter, written_name,
    },
    names::{Attribute, Filter},
};

/// A description that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{key}: {reason}")]
pub struct Unfit {
    /// Its place, `ldap.users.base`.
    pub key: &'static str,
    /// What is wrong, as a sentence.
    pub reason: String,
}

impl Unfit {
    fn new(key: &'static str, reason: impl fmt::Display) -> Self {
        Self { key, reason: reason.to_string() }
    }
}

/// What a description means by a certificate or a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// The path of a file on this machine: the settings.
    Named,
    /// The PEM text itself. Whoever describes a directory from afar names no file of this machine: what an error says about one would tell what
    /// is there, and its bytes would go to a server of theirs.
    Inline,
}

/// A directory. Written out again it has no secrets.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = DirectoryWanted)]
pub struct RawLdap {
    /// What it is called here.
    pub name: String,
    /// `ldaps://HOST[:PORT]`, or `ldap://HOST[:PORT]`, which begins with StartTLS.
    pub urls: Vec<String>,
    /// Authorities that sign the servers' certificates; see [`Files`].
    pub ca: Option<String>,
    /// A certificate to show; see [`Files`].
    pub certificate: Option<String>,
    /// Its key; see [`Files`].
    #[serde(skip_serializing)]
    #[schema(value_type = Option<String>, format = Password)]
    pub key: Option<Secret<String>>,
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
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = DirectoryGroupsWanted)]
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
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = DirectoryBindWanted)]
pub struct RawBind {
    /// A distinguished name.
    pub dn: Option<String>,
    /// Its password.
    #[serde(skip_serializing)]
    #[schema(value_type = Option<String>, format = Password)]
    pub password: Option<Secret<String>>,
    /// A file that holds it; in the settings alone.
    pub passwordfile: Option<String>,
    /// The certificate says who searches.
    pub external: bool,
}

/// Whose entries are users'.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = DirectoryUsersWanted)]
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

impl RawLdap {
    /// What is to be asked, and how.
    ///
    /// # Errors
    /// [`Unfit`], naming the first thing that makes no sense.
    pub fn config(self, files: Files) -> Result<Config, Unfit> {
        let name = self.name.parse().map_err(|error| Unfit::new("ldap.name", error))?;
        // Names that other kinds of providers have.
        if ["local", "htpasswd"].contains(&self.name.as_str()) {
            return Err(Unfit::new("ldap.name", format_args!("{:?} is another provider's", self.name)));
        }
        if self.urls.is_empty() || self.urls.len() > MAX_URLS {
            return Err(Unfit::new("ldap.urls", format_args!("1 to {MAX_URLS} servers")));
        }
        if files == Files::Inline && self.bind.passwordfile.is_some() {
            return Err(Unfit::new("ldap.bind.passwordfile", "is for the settings: send the password itself"));
        }
        let servers = self.urls.iter().map(|url| Server::from_url(url, self.insecure)).collect::<Result<_, _>>();
        let tls = tls(files, self.ca, self.certificate, self.key)?;
        let searcher = searcher(self.bind, tls.certificate.is_some())?;
        // By a template everybody signs in for themselves; groups are asked for while their owner is away, too.
        if self.template.is_some() && self.groups.is_some() && matches!(searcher, Searcher::Anonymous) {
            return Err(Unfit::new("ldap.groups", "need bind: by a template nobody signs in who could read them"));
        }
        let template = self.template.map(|text| text.parse()).transpose();
        Ok(Config {
            name,
            servers: servers.map_err(|error| Unfit::new("ldap.urls", error))?,
            searcher,
            tls,
            template: template.map_err(|error| Unfit::new("ldap.template", error))?,
            users: users(self.users)?,
            groups: self.groups.map(groups).transpose()?,
            limits: Limits::default(),
        })
    }
}

fn tls(
    files: Files,
    ca: Option<String>,
    certificate: Option<String>,
    key: Option<Secret<String>>,
) -> Result<Tls, Unfit> {
    // Certificates are stored as they were sent, and keys sealed: one file with both would put its key among what everybody may read.
    let holds_a_key = |text: &Option<String>| text.as_ref().is_some_and(|text| text.contains("PRIVATE KEY"));
    if files == Files::Inline && (holds_a_key(&ca) || holds_a_key(&certificate)) {
        return Err(Unfit::new(
            "ldap.certificate",
            "holds a private key too: send certificates alone, and the key as key",
        ));
    }
    let pem = |text: Secret<String>| match files {
        Files::Named => Pem::File(text.expose().into()),
        Files::Inline => Pem::Text(text),
    };
    let certificate = match (certificate, key) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some((pem(Secret::new(certificate)), pem(key))),
        _ => return Err(Unfit::new("ldap.certificate", "a certificate and its key come together")),
    };
    Ok(Tls { authorities: ca.map(Secret::new).map(pem), certificate })
}

fn searcher(raw: RawBind, has_certificate: bool) -> Result<Searcher, Unfit> {
    let one = "dn with password or passwordfile; external alone; or nothing, to search without a name";
    match (raw.dn, raw.password, raw.passwordfile, raw.external) {
        (None, None, None, false) => Ok(Searcher::Anonymous),
        (None, None, None, true) if has_certificate => Ok(Searcher::Certificate),
        (None, None, None, true) => {
            Err(Unfit::new("ldap.bind.external", "there is no certificate that could say who searches"))
        }
        (Some(name), Some(password), None, false) => account(name, Password::Here(password)),
        (Some(name), None, Some(file), false) => account(name, Password::File(file.into())),
        _ => Err(Unfit::new("ldap.bind", one)),
    }
}

fn account(name: String, password: Password) -> Result<Searcher, Unfit> {
    // Active Directory also takes user@domain and DOMAIN\user.
    if name.trim().is_empty() {
        return Err(Unfit::new("ldap.bind.dn", "is empty: without a name nobody signs in"));
    }
    if matches!(&password, Password::Here(secret) if secret.expose().trim().is_empty()) {
        return Err(Unfit::new("ldap.bind.password", "is empty: a name without a password signs in nobody"));
    }
    Ok(Searcher::Account { name, password })
}

fn users(raw: RawUsers) -> Result<Users, Unfit> {
    let base = raw.base.ok_or_else(|| Unfit::new("ldap.users.base", "is required: where the users' entries lie"))?;
    let login = if raw.login.is_empty() { vec!["uid".to_owned()] } else { raw.login };
    let login = login.iter().map(|name| attribute("ldap.users.login", name)).collect::<Result<Vec<Attribute>, _>>()?;
    let name = raw.name.map_or_else(|| Ok(login[0].clone()), |name| attribute("ldap.users.name", &name))?;
    Ok(Users {
        base: written_name(&base).map_err(|error| Unfit::new("ldap.users.base", error))?,
        scope: scope("ldap.users.scope", raw.scope.as_deref())?,
        filter: filter("ldap.users.filter", raw.filter)?,
        login,
        name,
        id: external_id(raw.id.as_deref())?,
        display: attribute("ldap.users.display", raw.display.as_deref().unwrap_or("displayName"))?,
    })
}

fn groups(raw: RawGroups) -> Result<Groups, Unfit> {
    let base = raw.base.ok_or_else(|| Unfit::new("ldap.groups.base", "is required: where the groups lie"))?;
    let nested = match raw.nested.as_deref() {
        None | Some("auto") => Nested::Auto,
        Some("inchain") => Nested::InChain,
        Some("walk") => Nested::Walk,
        Some("no") => Nested::No,
        Some(_) => return Err(Unfit::new("ldap.groups.nested", "auto, inchain, walk or no")),
    };
    let base = written_name(&base).map_err(|error| Unfit::new("ldap.groups.base", error))?;
    Ok(Groups { base, filter: filter("ldap.groups.filter", raw.filter)?, member_of: raw.memberof, nested })
}

fn filter(key: &'static str, text: Option<String>) -> Result<Filter, Unfit> {
    let Some(text) = text else { return Ok(Filter::everything()) };
    written_filter(&text).ok_or_else(|| Unfit::new(key, format_args!("{text:?} is not a search filter")))
}

fn attribute(key: &'static str, name: &str) -> Result<Attribute, Unfit> {
    name.parse().map_err(|error| Unfit::new(key, error))
}

fn scope(key: &'static str, word: Option<&str>) -> Result<Scope, Unfit> {
    match word {
        None | Some("subtree") => Ok(Scope::Subtree),
        Some("one") => Ok(Scope::One),
        Some("base") => Ok(Scope::Base),
        Some(_) => Err(Unfit::new(key, "subtree, one or base")),
    }
}

fn external_id(word: Option<&str>) -> Result<ExternalId, Unfit> {
    let known = [ExternalId::EntryUuid, ExternalId::ObjectGuid];
    let Some(word) = word else { return Ok(ExternalId::EntryUuid) };
    let found = known.into_iter().find(|id| id.attribute().eq_ignore_ascii_case(word));
    found.ok_or_else(|| Unfit::new("ldap.users.id", "entryUUID or objectGUID: what else changes is no identity"))
}
