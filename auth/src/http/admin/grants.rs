//! Grants of a namespace, `/api/v1/namespaces/{namespace}/grants`, and of the whole system, `/api/v1/grants`. There a system administrator
//! sees and removes every rule, and writes those that are no namespace's: grants whose first segment is a wildcard, and guardrails.

use axum::{
    Json,
    extract::State,
    http::{Method, StatusCode},
};
use serde::{Deserialize, Serialize};
use shared::{access::Action, clock::Timestamp, pattern::RepositoryPattern};
use utoipa::ToSchema;

use super::{
    access::{ApiCaller, NamespaceAdmin, SystemAdmin},
    output::{PageOf, RuleOut, Tagged},
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
        versions::Thing,
    },
    http::{
        App,
        error::ApiError,
        input::{Asked, Body, IfMatch, Named, Nothing, Paging},
    },
    permissions::{
        Actions, NotGiven, ProposedGrant, ProposedGuardrail, Recipient, Subject, TagPatterns, is_sound,
        is_sound_guardrail, may_write, may_write_guardrail,
    },
};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RuleWanted)]
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

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Added {
    id: i64,
}

#[derive(Debug, Deserialize, ToSchema)]
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
    let rule = of_the_namespace(&app, &admin, wanted).await?;
    let id = app.accounts.add_rule(&admin.caller.actor, rule).await?;
    Ok((StatusCode::CREATED, Json(Added { id: id.0 })))
}

/// Another grant in the place of one, by the same rules as a new one.
pub(super) async fn replace(
    State(app): State<App>,
    admin: NamespaceAdmin,
    Named((_, grant)): Named<(String, i64)>,
    seen: IfMatch,
    Body(wanted): Body<RuleIn>,
) -> Result<Tagged<RuleOut>, ApiError> {
    // Before what is wrong with the new one: what is not this namespace's is not there.
    let grant = one(&app, Some(&admin.namespace), grant).await?.id;
    let rule = of_the_namespace(&app, &admin, wanted).await?;
    seen.on(&app.accounts, Thing::Rule(Some(admin.namespace.id), grant))
        .replace_rule(&admin.caller.actor, grant, rule)
        .await?;
    Ok(Tagged(one(&app, Some(&admin.namespace), grant.0).await?.into()))
}

pub(super) async fn show(
    State(app): State<App>,
    admin: NamespaceAdmin,
    Named((_, grant)): Named<(String, i64)>,
) -> Result<Tagged<RuleOut>, ApiError> {
    Ok(Tagged(one(&app, Some(&admin.namespace), grant).await?.into()))
}

pub(super) async fn show_any(
    State(app): State<App>,
    _: SystemAdmin,
    Named(grant): Named<i64>,
) -> Result<Tagged<RuleOut>, ApiError> {
    Ok(Tagged(one(&app, None, grant).await?.into()))
}

/// A rule of the namespace, or any.
async fn one(app: &App, namespace: Option<&Namespace>, grant: i64) -> Result<Rule, ApiError> {
    let namespace = namespace.map(|namespace| namespace.id);
    app.accounts.rule(namespace, GrantId(grant)).await?.ok_or(ApiError::NotFound)
}

/// A grant that this administrator may write there.
async fn of_the_namespace(app: &App, admin: &NamespaceAdmin, wanted: RuleIn) -> Result<NewRule, ApiError> {
    if wanted.effect == Effect::Deny {
        return Err(ApiError::Invalid("guardrails are the system's: POST /api/v1/grants".to_owned()));
    }
    if wanted.repositories.namespace() != Some(admin.name.as_str()) {
        let name = &admin.name;
        return Err(ApiError::Invalid(format!("a grant of {name} is about {name}, or begins with {name}/")));
    }
    allowed(app, &admin.caller, Some(&admin.namespace), wanted).await
}

pub(super) async fn add_system(
    State(app): State<App>,
    SystemAdmin(admin): SystemAdmin,
    Body(wanted): Body<RuleIn>,
) -> Result<(StatusCode, Json<Added>), ApiError> {
    let rule = of_the_system(&app, &admin, wanted).await?;
    let id = app.accounts.add_rule(&admin.actor, rule).await?;
    Ok((StatusCode::CREATED, Json(Added { id: id.0 })))
}

/// Another rule of the system in the place of one. A namespace's grant is replaced where it is.
pub(super) async fn replace_any(
    State(app): State<App>,
    SystemAdmin(admin): SystemAdmin,
    Named(grant): Named<i64>,
    seen: IfMatch,
    Body(wanted): Body<RuleIn>,
) -> Result<Tagged<RuleOut>, ApiError> {
    let grant = one(&app, None, grant).await?.id;
    let rule = of_the_system(&app, &admin, wanted).await?;
    seen.on(&app.accounts, Thing::Rule(None, grant)).replace_rule(&admin.actor, grant, rule).await?;
    Ok(Tagged(one(&app, None, grant.0).await?.into()))
}

/// A rule that is no namespace's, and that this administrator may write.
async fn of_the_system(app: &App, admin: &ApiCaller, wanted: RuleIn) -> Result<NewRule, ApiError> {
    if wanted.effect == Effect::Allow
        && let Some(name) = wanted.repositories.namespace()
    {
        return Err(ApiError::Invalid(format!(
            "a grant about one namespace is that namespace's: POST /api/v1/namespaces/{name}/grants"
        )));
    }
    allowed(app, admin, None, wanted).await
}

/// The rule, if the caller may write it.
async fn allowed(
    app: &App,
    caller: &ApiCaller,
    namespace: Option<&Namespace>,
    wanted: RuleIn,
) -> Result<NewRule, ApiError> {
    let understood = understood(app, namespace, wanted).await?;
    match &understood.proposed {
        Proposed::Grant(grant) => {
            let situation = caller.situation(app, &Reach::repositories(grant.pattern.namespace())).await?;
            may_write(app.clock.now(), &situation.caller, &situation.rules, grant)?;
        }
        Proposed::Guardrail(guardrail) => may_write_guardrail(&caller.caller, guardrail)?,
    }
    Ok(understood.rule)
}

/// A rule, as somebody wrote it down, before it is asked whether they may.
struct Understood {
    rule: NewRule,
    proposed: Proposed,
}

/// What permissions ask about a rule.
enum Proposed {
    Grant(ProposedGrant),
    Guardrail(ProposedGuardrail),
}

/// A rule that is only supposed, by somebody who may look at what it is about. Nothing is written, so who may not write may suppose.
pub(super) async fn supposed(app: &App, looker: &ApiCaller, wanted: RuleIn) -> Result<NewRule, ApiError> {
    let oversees = looker.oversees(&Method::GET);
    let namespace = match wanted.repositories.namespace() {
        Some(name) if wanted.effect == Effect::Allow => {
            let name: NamespaceName = name.parse().map_err(|_| ApiError::NotFound)?;
            if !looker.may(app, &name, Action::Read).await? {
                return Err(ApiError::NotFound);
            }
            Some(app.accounts.namespace(&name).await?.ok_or(ApiError::NotFound)?)
        }
        Some(_) | None if oversees => None,
        Some(_) => return Err(NotGiven::NotYourGuardrail.into()),
        None => return Err(NotGiven::BeyondOneNamespace.into()),
    };
    may_name(app, looker, wanted.subject.as_deref()).await?;
    let understood = understood(app, namespace.as_ref(), wanted).await?;
    match &understood.proposed {
        Proposed::Grant(grant) => is_sound(grant)?,
        Proposed::Guardrail(guardrail) => is_sound_guardrail(guardrail)?,
    }
    Ok(understood.rule)
}

/// What a supposed grant gives tells who is in its team. So a team of a namespace that the looker does not see is like one that is not there;
/// who administers a namespace may still write a grant for it, which is written down.
async fn may_name(app: &App, looker: &ApiCaller, subject: Option<&str>) -> Result<(), ApiError> {
    let Some(name) = subject.and_then(|text| text.strip_prefix("team:")) else { return Ok(()) };
    let Some((owner, _)) = name.split_once('/') else { return Ok(()) };
    let owner: NamespaceName = owner.parse().map_err(|_| no_team(name))?;
    if looker.may(app, &owner, Action::Read).await? { Ok(()) } else { Err(no_team(name)) }
}

async fn understood(app: &App, namespace: Option<&Namespace>, wanted: RuleIn) -> Result<Understood, ApiError> {
    in_the_future(wanted.expires_at, app)?;
    wanted.repositories.check_reach().map_err(|error| ApiError::Invalid(error.to_string()))?;
    let (pattern, actions) = (wanted.repositories.clone(), wanted.actions);
    let (subject, proposed) = match wanted.effect {
        Effect::Allow => {
            let (subject, recipient) = subject(app, namespace, wanted.subject.as_deref()).await?;
            let tags = wanted.tags.clone();
            (subject, Proposed::Grant(ProposedGrant { recipient, pattern, actions, tags }))
        }
        Effect::Deny => {
            if wanted.subject.is_some() || wanted.tags.is_some() {
                return Err(ApiError::Invalid("a guardrail binds everyone and knows no tags".to_owned()));
            }
            (Subject::Everyone, Proposed::Guardrail(ProposedGuardrail { pattern, actions }))
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
    Ok(Understood { rule, proposed })
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

fn no_team(name: &str) -> ApiError {
    ApiError::Invalid(format!("there is no team {name:?}; one of another namespace is team:<namespace>/<team>"))
}

/// `dev`, of the grant's own namespace, or `acme/dev`.
async fn team(app: &App, namespace: Option<&Namespace>, name: &str) -> Result<(Subject, Recipient), ApiError> {
    let unknown = || no_team(name);
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
    seen: IfMatch,
    _: Nothing,
) -> Result<StatusCode, ApiError> {
    let accounts = seen.on(&app.accounts, Thing::Rule(Some(admin.namespace.id), GrantId(grant)));
    accounts.remove_rule(&admin.caller.actor, admin.namespace.id, GrantId(grant)).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn remove_any(
    State(app): State<App>,
    SystemAdmin(admin): SystemAdmin,
    Named(grant): Named<i64>,
    seen: IfMatch,
    _: Nothing,
) -> Result<StatusCode, ApiError> {
    seen.on(&app.accounts, Thing::Rule(None, GrantId(grant))).remove_any_rule(&admin.actor, GrantId(grant)).await?;
    Ok(StatusCode::NO_CONTENT)
}
