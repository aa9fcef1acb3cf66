//! Where identities come from, `/api/v1/providers`: which places there are, and whether a directory does what its settings expect. Directories
//! are added and removed here beside those of the settings, which are not changed from afar.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use shared::secret::Secret;
use utoipa::ToSchema;

use super::{
    access::SystemAdmin,
    output::{PageOf, Tagged, Versioned},
};
use crate::{
    accounts::{
        self, Refusal,
        providers::{ProviderKind, ProviderState, StoredProvider, added::Removed},
        versions::{Thing, Version},
    },
    audit::{Event, EventName},
    http::{
        App, Peer,
        error::ApiError,
        input::{Asked, Body, IfMatch, Named, Nothing, Paging},
    },
    identity::{
        Examined,
        ldap::{
            Ldap, Step, What,
            config::{Searcher, Users},
            written::RawLdap,
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
    /// Over this API.
    Added,
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

/// A provider, described as the settings would, but for files: certificates and keys are sent as they are.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ProviderWanted)]
pub(super) enum ProviderIn {
    Ldap(RawLdap),
}

/// What became of all that hung on a provider.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProviderRemoved)]
pub(super) struct RemovedOut {
    name: String,
    accounts: u64,
    disabled: u64,
    mappings: u64,
    said: String,
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
    let found = called(&app, &name).await?;
    Ok(Tagged(described(&app, found)))
}

pub(super) async fn add(
    State(app): State<App>,
    SystemAdmin(admin): SystemAdmin,
    Body(ProviderIn::Ldap(wanted)): Body<ProviderIn>,
) -> Result<(StatusCode, Tagged<ProviderOut>), ApiError> {
    let name = wanted.name.clone();
    app.identities.add_directory(&admin.actor, wanted).await?;
    let added = called(&app, &name).await?;
    Ok((StatusCode::CREATED, Tagged(described(&app, added))))
}

pub(super) async fn remove(
    State(app): State<App>,
    SystemAdmin(admin): SystemAdmin,
    Named(name): Named<String>,
    seen: IfMatch,
    _: Nothing,
) -> Result<Json<RemovedOut>, ApiError> {
    let accounts = seen.on(&app.accounts, Thing::Provider(called(&app, &name).await?.id));
    let removed =
        app.identities.remove_directory(&accounts, &admin.actor, &name).await.map_err(|error| match error {
            // As what is hidden is answered.
            accounts::Error::Refused(Refusal::ProviderUnknown) => ApiError::NotFound,
            error => error.into(),
        })?;
    Ok(Json(RemovedOut::of(name, removed)))
}

/// Asks a directory what a sign-in would ask. Whoever tries somebody's password in this way is written down.
pub(super) async fn test(
    State(app): State<App>,
    SystemAdmin(admin): SystemAdmin,
    Named(name): Named<String>,
    peer: Peer,
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
    let audited = match &user {
        Some(user) => Some(app.identities.audited(user).await?),
        None => None,
    };
    let event = Event::done(EventName::ProviderTested, &name)
        .with(serde_json::json!({ "user": audited, "password": password.is_some() }));
    app.accounts.note(&admin.actor, event).await?;
    let examined = app.identities.examine(&name, user.as_deref(), password.as_ref(), peer).await?;
    Ok(Json(told(name, examined.ok_or(ApiError::NotFound)?)))
}

impl RemovedOut {
    fn of(name: String, removed: Removed) -> Self {
        let Removed { accounts, disabled, mappings } = removed;
        let said = match (accounts, mappings) {
            (0, 0) => "nothing hung on it, and the name is free".to_owned(),
            (0, _) => format!("{mappings} of its groups feed teams again once a directory called {name:?} is added"),
            _ => format!(
                "{disabled} accounts are disabled: none of their credentials counts until a directory called {name:?} that has them is \
                 added, or somebody resumes them one by one"
            ),
        };
        Self { name, accounts, disabled, mappings, said }
    }
}

async fn called(app: &App, name: &str) -> Result<StoredProvider, ApiError> {
    app.accounts.providers().await?.into_iter().find(|provider| provider.name == name).ok_or(ApiError::NotFound)
}

fn described(app: &App, provider: StoredProvider) -> ProviderOut {
    let version = provider.version();
    let StoredProvider { name, kind, state, accounts, mappings, .. } = provider;
    let directory = app.identities.directory(&name);
    let runs =
        directory.is_some() || (kind == ProviderKind::Htpasswd && app.identities.htpasswd_generation().is_some());
    let source = match state {
        ProviderState::Added => Source::Added,
        ProviderState::Settings if runs => Source::Settings,
        ProviderState::Settings | ProviderState::Removing | ProviderState::Removed => Source::None,
    };
    let urls = directory.iter().flat_map(|ldap| &ldap.config().servers).map(ToString::to_string).collect();
    let directory = directory.as_deref().map(asked);
    ProviderOut { name, kind, source, accounts, mappings, urls, directory, version }
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
