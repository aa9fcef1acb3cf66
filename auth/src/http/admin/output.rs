//! What the admin API serves. Never a verifier, never a secret but the one that was just made.

use axum::{
    Json,
    http::header,
    response::{IntoResponse, Response},
};
use std::borrow::Cow;

use serde::Serialize;
use shared::{
    clock::Timestamp,
    openapi::{Schemas, page_of},
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Ref, RefOr,
        schema::{AllOfBuilder, ObjectBuilder, Schema, Type},
    },
};

use crate::{
    accounts::{
        credentials::Credential,
        grants::{Effect, Rule},
        memberships::Mapping,
        namespaces::Namespace,
        principals::{Account, AccountState},
        services::RegistryService,
        teams::{Member, Team},
        versions::Version,
    },
    permissions::{ApiLevel, Catalog, Role, Subject, SystemRole, Visibility},
};

/// Something with a version, served by itself: the version is its entity tag, too.
pub(super) struct Tagged<T>(pub(super) T);

/// What says its version, if it has one.
pub(super) trait Versioned {
    fn version(&self) -> Option<&Version>;
}

impl<T: Versioned + Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let tag = self.0.version().map(|version| [(header::ETAG, format!("\"{}\"", version.as_str()))]);
        match tag {
            Some(tag) => (tag, Json(self.0)).into_response(),
            None => Json(self.0).into_response(),
        }
    }
}

macro_rules! versioned {
    ($($type:ident)+) => {
        $(impl Versioned for $type {
            fn version(&self) -> Option<&Version> {
                Some(&self.version)
            }
        })+
    };
}

versioned!(PrincipalOut NamespaceOut TeamOut RuleOut);

/// A part of a list.
#[derive(Debug, Serialize)]
pub(super) struct PageOf<T> {
    items: Vec<T>,
    /// What to say as `after` for the next page; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl<T: ToSchema> PartialSchema for PageOf<T> {
    fn schema() -> RefOr<Schema> {
        page_of::<T>()
    }
}

impl<T: ToSchema> ToSchema for PageOf<T> {
    fn name() -> Cow<'static, str> {
        format!("PageOf{}", T::name()).into()
    }

    fn schemas(schemas: &mut Schemas) {
        T::schemas(schemas);
        schemas.push((T::name().into_owned(), T::schema()));
    }
}

impl<T> PageOf<T> {
    /// Turns rows into what is served; a page that is full may have a next one.
    pub(super) fn new<R>(rows: Vec<R>, limit: u32, cursor: impl Fn(&R) -> String, serve: impl Fn(R) -> T) -> Self {
        let full = rows.len() >= limit as usize;
        let next = rows.last().filter(|_| full).map(cursor);
        Self { items: rows.into_iter().map(serve).collect(), next }
    }

    /// The same of rows that were read all at once, in the order of their cursors.
    pub(super) fn of_all<R, K: Ord + ToString>(
        mut rows: Vec<R>,
        (after, limit): (Option<K>, u32),
        cursor: impl Fn(&R) -> K,
        serve: impl Fn(R) -> T,
    ) -> Self {
        rows.sort_by_key(&cursor);
        rows.retain(|row| after.as_ref().is_none_or(|after| cursor(row) > *after));
        rows.truncate(limit as usize);
        Self::new(rows, limit, |row| cursor(row).to_string(), serve)
    }
}

fn text(time: Option<Timestamp>) -> Option<String> {
    time.map(Timestamp::rfc3339)
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Principal)]
pub(super) struct PrincipalOut {
    id: i64,
    name: String,
    display_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_role: Option<SystemRole>,
    state: AccountState,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    created_at: String,
    /// What `If-Match` is compared with.
    version: Version,
}

impl From<Account> for PrincipalOut {
    fn from(Account { principal, version }: Account) -> Self {
        Self {
            version,
            id: principal.id.0,
            name: principal.handle,
            display_name: principal.display_name,
            system_role: principal.system_role,
            state: principal.state,
            expires_at: text(principal.expires_at),
            created_at: principal.created_at.rfc3339(),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Credential)]
pub(super) struct CredentialOut {
    id: i64,
    kind: &'static str,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    networks: Option<Vec<String>>,
    api: ApiLevel,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    /// After how many days without a use it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_days: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    used_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    used_from: Option<String>,
    version: Version,
}

impl From<Credential> for CredentialOut {
    fn from(credential: Credential) -> Self {
        Self {
            version: credential.version(),
            id: credential.id.0,
            kind: credential.kind.word(),
            name: credential.name,
            scope: credential.scope.map(String::from),
            networks: credential.networks.map(Vec::from),
            api: credential.api,
            created_at: credential.created_at.rfc3339(),
            expires_at: text(credential.expires_at),
            idle_days: credential.idle.map(|idle| idle.as_secs() / (24 * 60 * 60)),
            used_at: text(credential.used_at),
            used_from: credential.used_from,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Namespace)]
pub(super) struct NamespaceOut {
    id: i64,
    name: String,
    visibility: Visibility,
    created_at: String,
    version: Version,
}

impl From<Namespace> for NamespaceOut {
    fn from(namespace: Namespace) -> Self {
        Self {
            version: namespace.version(),
            id: namespace.id.0,
            name: namespace.name,
            visibility: namespace.visibility,
            created_at: namespace.created_at.rfc3339(),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Team)]
pub(super) struct TeamOut {
    id: i64,
    name: String,
    /// It changes with the members and groups that administrators put into the team.
    version: Version,
}

impl From<Team> for TeamOut {
    fn from(team: Team) -> Self {
        Self { id: team.id.0, name: team.name, version: team.version }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Member)]
pub(super) struct MemberOut {
    name: String,
    source: String,
}

impl From<Member> for MemberOut {
    fn from(member: Member) -> Self {
        Self { name: member.handle, source: member.source }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Mapping)]
pub(super) struct MappingOut {
    provider: String,
    group: String,
}

impl From<Mapping> for MappingOut {
    fn from(mapping: Mapping) -> Self {
        Self { provider: mapping.provider_name, group: mapping.group }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Rule)]
pub(super) struct RuleOut {
    id: i64,
    /// Where it was written; missing for the system's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    effect: Effect,
    subject: String,
    repositories: String,
    actions: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    given_by: Option<String>,
    created_at: String,
    version: Version,
}

impl From<Rule> for RuleOut {
    fn from(rule: Rule) -> Self {
        Self {
            version: rule.version(),
            id: rule.id.0,
            namespace: Some(rule.namespace_name).filter(|name| !name.is_empty()),
            effect: rule.effect,
            subject: subject(rule.subject, rule.subject_name.as_deref()),
            repositories: rule.pattern.to_string(),
            actions: rule.actions.iter().map(|action| action.as_str().to_owned()).collect(),
            role: Role::of(rule.actions).filter(|_| rule.effect == Effect::Allow),
            tags: rule.tags.map(|tags| tags.as_slice().iter().map(ToString::to_string).collect()),
            expires_at: text(rule.expires_at),
            given_by: rule.given_by,
            created_at: rule.created_at.rfc3339(),
        }
    }
}

/// A subject as grants name it: `everyone`, `authenticated`, `team:dev`, or an account's name.
pub(super) fn subject(subject: Subject, name: Option<&str>) -> String {
    match subject {
        Subject::Everyone => "everyone".to_owned(),
        Subject::Authenticated => "authenticated".to_owned(),
        Subject::Team(id) => format!("team:{}", name.map_or_else(|| id.to_string(), str::to_owned)),
        Subject::Principal(id) => name.map_or_else(|| format!("#{id}"), str::to_owned),
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Service)]
pub(super) struct ServiceOut {
    id: i64,
    name: String,
    catalog: Catalog,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_seconds: Option<u64>,
}

impl From<RegistryService> for ServiceOut {
    fn from(service: RegistryService) -> Self {
        Self {
            id: service.id.0,
            name: service.name,
            catalog: service.catalog,
            token_seconds: service.token_life.map(|life| life.as_secs()),
        }
    }
}

/// Something that was just made together with its secret, which is shown this once.
#[derive(Debug, Serialize)]
pub(super) struct WithSecret<T> {
    #[serde(flatten)]
    pub(super) made: T,
    /// Missing where the caller chose it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) secret: Option<String>,
}

impl<T: ToSchema> PartialSchema for WithSecret<T> {
    fn schema() -> RefOr<Schema> {
        let secret = ObjectBuilder::new().schema_type(Type::String);
        let secret = secret.description(Some("Shown this once; missing where the caller chose it"));
        let secret = ObjectBuilder::new().property("secret", secret);
        AllOfBuilder::new().item(Ref::from_schema_name(T::name())).item(secret).into()
    }
}

impl<T: ToSchema> ToSchema for WithSecret<T> {
    fn name() -> Cow<'static, str> {
        format!("{}WithSecret", T::name()).into()
    }

    fn schemas(schemas: &mut Schemas) {
        T::schemas(schemas);
        schemas.push((T::name().into_owned(), T::schema()));
    }
}
