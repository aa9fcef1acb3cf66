//! Where identities come from, `/api/v1/providers`: which places there are, and whether a directory does what its settings expect.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use shared::secret::Secret;
use utoipa::ToSchema;

use super::{
    access::SystemAdmin,
    output::{PageOf, Tagged, Versioned},
};
use crate::{
    accounts::{
        providers::{ProviderKind, StoredProvider},
        versions::Version,
    },
    audit::{Event, EventName},
    http::{
        App,
        error::ApiError,
        input::{Asked, Body, Named, Paging},
    },
    identity::{
        Examined,
        ldap::{
            Ldap, Step, What,
            config::{Searcher, Users},
        },
    },
};

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Provider)]
pub(super) struct ProviderOut {
    name: String,
    kind: ProviderKind,
    /// Where it is described; none: its accounts are there, and nobody proves their passwords any more.
    source: Source,
    accounts: u64,
    mappings: u64,
    /// The servers of a directory.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    urls: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    directory: Option<DirectoryOut>,
    version: Version,
}

impl Versioned for ProviderOut {
    fn version(&self) -> Option<&Version> {
        Some(&self.version)
    }
}

#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ProviderSource)]
enum Source {
    Settings,
    None,
}

/// What a directory is asked. No secret is in it, and no path of this machine.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Directory)]
struct DirectoryOut {
    /// Who searches; missing where nobody is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    bind: Option<String>,
    users: UsersOut,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<GroupsOut>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DirectoryUsers)]
struct UsersOut {
    base: String,
    filter: String,
    login: Vec<String>,
    name: String,
    id: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DirectoryGroups)]
struct GroupsOut {
    base: String,
    filter: String,
    memberof: bool,
    nested: &'static str,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TestWanted)]
pub(super) struct TestIn {
    user: Option<String>,
    #[schema(value_type = Option<String>, format = Password)]
    password: Option<Secret<String>>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Test)]
pub(super) struct TestOut {
    provider: String,
    /// True if no step failed.
    ok: bool,
    steps: Vec<StepOut>,
    groups: Vec<GroupOut>,
    teams: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TestStep)]
struct StepOut {
    step: What,
    about: String,
    ok: bool,
    said: String,
    milliseconds: u128,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TestGroup)]
struct GroupOut {
    group: String,
    by: String,
    teams: Vec<String>,
}

pub(super) async fn list(
    State(app): State<App>,
    _: SystemAdmin,
    Asked(paging): Asked<Paging>,
) -> Result<Json<PageOf<ProviderOut>>, ApiError> {
    let limit = paging.limit()?;
    let all = app.accounts.providers().await?;
    let name = |provider: &StoredProvider| provider.name.clone();
    Ok(Json(PageOf::of_all(all, (paging.after, limit), name, |provider| described(&app, provider))))
}

pub(super) async fn show(
    State(app): State<App>,
    _: SystemAdmin,
    Named(name): Named<String>,
) -> Result<Tagged<ProviderOut>, ApiError> {
    let found = app.accounts.providers().await?.into_iter().find(|provider| provider.name == name);
    Ok(Tagged(described(&app, found.ok_or(ApiError::NotFound)?)))
}

/// Asks a directory what a sign-in would ask. Whoever tries somebody's password in this way is written down.
pub(super) async fn test(
    State(app): State<App>,
    SystemAdmin(admin): SystemAdmin,
    Named(name): Named<String>,
    Body(wanted): Body<TestIn>,
) -> Result<Json<TestOut>, ApiError> {
    if app.identities.directory(&name).is_none() {
        return Err(ApiError::NotFound);
    }
    let is_named = wanted.user.as_deref().is_some_and(|user| !user.trim().is_empty());
    if !is_named && (wanted.user.is_some() || wanted.password.is_some()) {
        return Err(ApiError::Invalid("a password is somebody's, and a name is not empty: name the user".to_owned()));
    }
    let TestIn { user, password } = wanted;
    let event = Event::done(EventName::ProviderTested, &name)
        .with(serde_json::json!({ "user": user, "password": password.is_some() }));
    app.accounts.note(&admin.actor, event).await?;
    let examined = app.identities.examine(&name, user.as_deref(), password.as_ref()).await?;
    Ok(Json(told(name, examined.ok_or(ApiError::NotFound)?)))
}

fn described(app: &App, provider: StoredProvider) -> ProviderOut {
    let version = provider.version();
    let StoredProvider { name, kind, accounts, mappings, .. } = provider;
    let directory = app.identities.directory(&name);
    let runs =
        directory.is_some() || (kind == ProviderKind::Htpasswd && app.identities.htpasswd_generation().is_some());
    let urls = directory.iter().flat_map(|ldap| &ldap.config().servers).map(ToString::to_string).collect();
    ProviderOut {
        name,
        kind,
        source: if runs { Source::Settings } else { Source::None },
        accounts,
        mappings,
        urls,
        directory: directory.as_deref().map(asked),
        version,
    }
}

fn asked(ldap: &Ldap) -> DirectoryOut {
    let config = ldap.config();
    let Users { base, filter, login, name, id, .. } = &config.users;
    DirectoryOut {
        bind: match &config.searcher {
            Searcher::Anonymous => None,
            Searcher::Account { name, .. } => Some(name.clone()),
            Searcher::Certificate => Some("the certificate's name".to_owned()),
        },
        users: UsersOut {
            base: base.clone(),
            filter: filter.as_str().to_owned(),
            login: login.iter().map(|name| name.as_str().to_owned()).collect(),
            name: name.as_str().to_owned(),
            id: id.attribute(),
        },
        groups: config.groups.as_ref().map(|groups| GroupsOut {
            base: groups.base.clone(),
            filter: groups.filter.as_str().to_owned(),
            memberof: groups.member_of,
            nested: groups.nested.word(),
        }),
    }
}

fn told(provider: String, examined: Examined) -> TestOut {
    let (ok, teams) = (examined.is_well(), examined.teams().into_iter().map(str::to_owned).collect());
    let groups = examined.groups.into_iter().map(|(group, by, teams)| GroupOut {
        group: group.to_string(),
        by: by.to_string(),
        teams: teams.into_iter().collect(),
    });
    TestOut {
        provider,
        ok,
        teams,
        groups: groups.collect(),
        steps: examined.steps.into_iter().map(StepOut::from).collect(),
    }
}

impl From<Step> for StepOut {
    fn from(step: Step) -> Self {
        let Step { what, about, said, took } = step;
        let ok = said.is_ok();
        Self { step: what, about, ok, said: said.unwrap_or_else(|why| why), milliseconds: took.as_millis() }
    }
}
