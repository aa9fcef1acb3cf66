//! Grants of a namespace, `/api/v1/namespaces/{namespace}/grants`, and of the whole system, `/api/v1/grants`. There a system administrator
//! sees and removes every rule, and writes those that are no namespace's: grants whose first segment is a wildcard, and guardrails.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use shared::{clock::Timestamp, pattern::RepositoryPattern};

use super::{
    access::{ApiCaller, NamespaceAdmin, SystemAdmin},
    output::{PageOf, RuleOut},
    secrets::{in_the_future, time},
};
use crate::{
    accounts::{
        GrantId,
        grants::{Effect, NewRule, Rule, Wanted},
        names::NamespaceName,
        namespaces::Namespace,
        principals::PrincipalKind,
        rules::Reach,
    },
    http::{
        App,
        error::ApiError,
        input::{Asked, Body, Named, Paging},
    },
    permissions::{
        Actions, ProposedGrant, ProposedGuardrail, Recipient, Subject, TagPatterns, may_write, may_write_guardrail,
    },
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleIn {
    /// `everyone`, `authenticated`, `team:<name>` or an account's name. Guardrails have none.
    subject: Option<String>,
    repositories: RepositoryPattern,
    /// A role, or actions separated by commas.
    actions: Actions,
    tags: Option<TagPatterns>,
    #[serde(default, deserialize_with = "time")]
    expires_at: Option<Timestamp>,
    #[serde(default = "allow")]
    effect: Effect,
}

fn allow() -> Effect {
    Effect::Allow
}

#[derive(Debug, Serialize)]
pub(super) struct Added {
    id: i64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    after: Option<String>,
    limit: Option<u32>,
    /// Only what is written for exactly this one: `everyone`, `authenticated`, `team:<name>` or an account's name.
    subject: Option<String>,
}

pub(super) async fn list(
    State(app): State<App>,
    admin: NamespaceAdmin,
    Asked(filter): Asked<Filter>,
) -> Result<Json<PageOf<RuleOut>>, ApiError> {
    page(&app, Some(&admin.namespace), filter).await
}

pub(super) async fn list_all(
    State(app): State<App>,
    _: SystemAdmin,
    Asked(filter): Asked<Filter>,
) -> Result<Json<PageOf<RuleOut>>, ApiError> {
    page(&app, None, filter).await
}

async fn page(app: &App, namespace: Option<&Namespace>, filter: Filter) -> Result<Json<PageOf<RuleOut>>, ApiError> {
    let paging = Paging::new(filter.after, filter.limit);
    let limit = paging.limit()?;
    let subject = match &filter.subject {
        Some(text) => Some(subject(app, namespace, Some(text)).await?.0),
        None => None,
    };
    let wanted = Wanted { namespace: namespace.map(|namespace| namespace.id), subject };
    let rules = app.accounts.rules(wanted, paging.after_number()?.map(GrantId), limit).await?;
    Ok(Json(PageOf::new(rules, limit, |rule: &Rule| rule.id.to_string(), RuleOut::from)))
}

pub(super) async fn add(
    State(app): State<App>,
    admin: NamespaceAdmin,
    Body(wanted): Body<RuleIn>,
) -> Result<(StatusCode, Json<Added>), ApiError> {
    if wanted.effect == Effect::Deny {
        return Err(ApiError::Invalid("guardrails are the system's: POST /api/v1/grants".to_owned()));
    }
    if wanted.repositories.namespace() != Some(admin.name.as_str()) {
        let name = &admin.name;
        return Err(ApiError::Invalid(format!("a grant of {name} is about {name}, or begins with {name}/")));
    }
    write(&app, &admin.caller, Some(&admin.namespace), wanted).await
}

pub(super) async fn add_system(
    State(app): State<App>,
    SystemAdmin(admin): SystemAdmin,
    Body(wanted): Body<RuleIn>,
) -> Result<(StatusCode, Json<Added>), ApiError> {
    if wanted.effect == Effect::Allow
        && let Some(name) = wanted.repositories.namespace()
    {
        return Err(ApiError::Invalid(format!(
            "a grant about one namespace is that namespace's: POST /api/v1/namespaces/{name}/grants"
        )));
    }
    write(&app, &admin, None, wanted).await
}

async fn write(
    app: &App,
    caller: &ApiCaller,
    namespace: Option<&Namespace>,
    wanted: RuleIn,
) -> Result<(StatusCode, Json<Added>), ApiError> {
    in_the_future(wanted.expires_at, app)?;
    wanted.repositories.check_reach().map_err(|error| ApiError::Invalid(error.to_string()))?;
    let subject = match wanted.effect {
        Effect::Allow => {
            let (subject, recipient) = subject(app, namespace, wanted.subject.as_deref()).await?;
            may_give(app, caller, recipient, &wanted).await?;
            subject
        }
        Effect::Deny => {
            guards(caller, &wanted)?;
            Subject::Everyone
        }
    };
    let rule = NewRule {
        namespace: namespace.map(|namespace| namespace.id),
        subject,
        pattern: wanted.repositories,
        actions: wanted.actions,
        tags: wanted.tags,
        effect: wanted.effect,
        expires_at: wanted.expires_at,
    };
    let id = app.accounts.add_rule(&caller.actor, rule).await?;
    Ok((StatusCode::CREATED, Json(Added { id: id.0 })))
}

async fn may_give(app: &App, caller: &ApiCaller, recipient: Recipient, wanted: &RuleIn) -> Result<(), ApiError> {
    let situation = caller.situation(app, &Reach::repositories(wanted.repositories.namespace())).await?;
    let grant = ProposedGrant {
        recipient,
        pattern: wanted.repositories.clone(),
        actions: wanted.actions,
        tags: wanted.tags.clone(),
    };
    Ok(may_write(app.clock.now(), &situation.caller, &situation.rules, &grant)?)
}

fn guards(caller: &ApiCaller, wanted: &RuleIn) -> Result<(), ApiError> {
    if wanted.subject.is_some() || wanted.tags.is_some() {
        return Err(ApiError::Invalid("a guardrail binds everyone and knows no tags".to_owned()));
    }
    let guardrail = ProposedGuardrail { pattern: wanted.repositories.clone(), actions: wanted.actions };
    Ok(may_write_guardrail(&caller.caller, &guardrail)?)
}

/// Whom a grant is for. A team is named within the namespace; there is none beyond one.
async fn subject(
    app: &App,
    namespace: Option<&Namespace>,
    text: Option<&str>,
) -> Result<(Subject, Recipient), ApiError> {
    match text {
        None => Err(ApiError::Invalid(
            "subject is missing: everyone, authenticated, team:<name> or an account's name".to_owned(),
        )),
        Some("everyone") => Ok((Subject::Everyone, Recipient::Everyone)),
        Some("authenticated") => Ok((Subject::Authenticated, Recipient::Authenticated)),
        Some(text) => match text.strip_prefix("team:") {
            Some(name) => team(app, namespace, name).await,
            None => {
                let found = app.accounts.principal_called(text).await?;
                let principal =
                    found.ok_or_else(|| ApiError::Invalid(format!("there is no account called {text:?}")))?;
                let recipient = match principal.kind {
                    PrincipalKind::User => Recipient::User,
                    PrincipalKind::Robot => Recipient::Robot,
                };
                Ok((Subject::Principal(principal.id.0), recipient))
            }
        },
    }
}

/// `dev`, of the grant's own namespace, or `acme/dev`.
async fn team(app: &App, namespace: Option<&Namespace>, name: &str) -> Result<(Subject, Recipient), ApiError> {
    let unknown =
        || ApiError::Invalid(format!("there is no team {name:?}; one of another namespace is team:<namespace>/<team>"));
    let (owner, team) = match name.split_once('/') {
        Some((owner, team)) => {
            let owner: NamespaceName = owner.parse().map_err(|_| unknown())?;
            (app.accounts.namespace(&owner).await?.map(|namespace| namespace.id), team)
        }
        None => (namespace.map(|namespace| namespace.id), name),
    };
    let team = app.accounts.team(owner.ok_or_else(unknown)?, team).await?.ok_or_else(unknown)?;
    Ok((Subject::Team(team.id.0), Recipient::Team))
}

pub(super) async fn remove(
    State(app): State<App>,
    admin: NamespaceAdmin,
    Named((_, grant)): Named<(String, i64)>,
) -> Result<StatusCode, ApiError> {
    app.accounts.remove_rule(&admin.caller.actor, admin.namespace.id, GrantId(grant)).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn remove_any(
    State(app): State<App>,
    SystemAdmin(admin): SystemAdmin,
    Named(grant): Named<i64>,
) -> Result<StatusCode, ApiError> {
    app.accounts.remove_any_rule(&admin.actor, GrantId(grant)).await?;
    Ok(StatusCode::NO_CONTENT)
}
