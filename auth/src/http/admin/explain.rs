//! `/api/v1/explain`: which grant is behind each allowed action, and which is the nearest miss behind each refused one; as the rules are
//! (`GET ?principal=&scope=`), or as they would be with one more (`POST`, with `grant`).

use std::collections::BTreeSet;

use axum::{Json, extract::State, http::Method};
use serde::{Deserialize, Serialize};
use shared::{
    access::{Access, Action, Resource},
    clock::Timestamp,
    scope::{Scope, Scopes},
};
use utoipa::ToSchema;

use super::{
    access::{ApiCaller, Looker},
    grants::{self, RuleIn},
    output::subject,
};
use crate::{
    accounts::{
        grants::{Effect, NewRule},
        rules::{About, Reach, Situation},
    },
    http::{
        App,
        error::ApiError,
        input::{Asked, Body},
    },
    permissions::{
        self, Actions, CallerKind, Explained, Grant, Guardrail, Lacking, Reason, RuleSeen, Rules, SYSTEM_NAMESPACE,
        SystemRole, TagPatterns, View, Visibility, Why, WhyNot,
    },
};

/// How one asks about those who show nothing.
const ANONYMOUS: &str = "anonymous";

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    /// Whose; missing: one's own, with the credential shown.
    principal: Option<String>,
    /// Scopes as a client asks for them, separated by spaces.
    scope: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Explanation)]
pub(super) struct Answer {
    principal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    results: Vec<ResultOut>,
}

/// The answer for one resource.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Explained)]
struct ResultOut {
    resource: String,
    /// What a token would say.
    granted: Vec<Access>,
    why: Vec<WhyOut>,
    why_not: Vec<WhyNotOut>,
}

/// A granted action, and a rule that grants it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Why)]
struct WhyOut {
    action: String,
    rule: SeenOut,
    /// The tags that it is limited to by that rule.
    tags: Option<String>,
}

/// A refused action.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WhyNot)]
struct WhyNotOut {
    action: String,
    reason: String,
    /// The grant that would have allowed it, had it not lacked something.
    nearest: Option<NearestOut>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NearestRule)]
struct NearestOut {
    rule: SeenOut,
    missing: Lacking,
}

/// A rule, as far as the caller may see it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = RuleSeen)]
enum SeenOut {
    Role { system_role: SystemRole },
    Visibility { visibility: Visibility },
    Grant(GrantOut),
    Elsewhere { elsewhere: &'static str },
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GrantSeen)]
struct GrantOut {
    /// Its number; missing where it is only supposed.
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<i64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    supposed: bool,
    subject: String,
    repositories: String,
    actions: Actions,
    tags: Option<TagPatterns>,
    expires_at: Option<String>,
}

pub(super) async fn explain(
    State(app): State<App>,
    me: ApiCaller,
    Asked(question): Asked<Question>,
) -> Result<Json<Answer>, ApiError> {
    answer(&app, &me, question, None).await
}

/// A question about a rule that nobody has written.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Supposition {
    /// Whose; missing: one's own, with the credential shown.
    principal: Option<String>,
    /// Scopes as a client asks for them, separated by spaces.
    scope: String,
    /// The rule, as it would be written.
    grant: RuleIn,
}

pub(super) async fn suppose(
    State(app): State<App>,
    Looker(me): Looker,
    Body(Supposition { principal, scope, grant }): Body<Supposition>,
) -> Result<Json<Answer>, ApiError> {
    let rule = grants::supposed(&app, &me, grant).await?;
    answer(&app, &me, Question { principal, scope }, Some(rule)).await
}

async fn answer(
    app: &App,
    me: &ApiCaller,
    question: Question,
    supposed: Option<NewRule>,
) -> Result<Json<Answer>, ApiError> {
    let scopes = Scopes::parse_list([question.scope.as_str()].into_iter())
        .map_err(|error| ApiError::Invalid(error.to_string()))?;
    let reach = Reach::repositories(scopes.iter().map(|scope| scope.resource.name.as_str())).with_others();
    let mine = me.situation(app, &reach).await?;
    let who = Who::find(app, me, question.principal.as_deref()).await?;
    let view = view(app, me, &mine, scopes.as_slice(), &who).ok_or(ApiError::NotFound)?;
    let mut situation = match &who {
        Who::Me => mine,
        Who::Somebody { about, .. } => app.accounts.rules_for(*about, &reach).await?.ok_or(ApiError::NotFound)?,
        Who::Nobody => return Err(ApiError::NotFound),
    };
    if let Some(rule) = supposed {
        situation.rules = with(situation.rules, rule);
    }
    let explained =
        permissions::explain(app.clock.now(), &situation.caller, &situation.rules, scopes.as_slice(), &view);
    let mut results = Vec::with_capacity(explained.len());
    for one in &explained {
        results.push(served(app, one).await?);
    }
    let principal = match situation.caller.kind {
        CallerKind::Anonymous => ANONYMOUS.to_owned(),
        CallerKind::User | CallerKind::Robot => situation.caller.handle,
    };
    Ok(Json(Answer { principal, state: who.state(), results }))
}

/// No stored rule has this number.
const SUPPOSED: i64 = 0;

fn with(rules: Rules, rule: NewRule) -> Rules {
    let NewRule { namespace, subject, pattern, actions, tags, effect, expires_at } = rule;
    match effect {
        Effect::Allow => {
            let namespace = namespace.map_or(SYSTEM_NAMESPACE, |namespace| namespace.0);
            rules.with_grant(Grant { id: SUPPOSED, namespace, subject, pattern, actions, tags, expires_at })
        }
        Effect::Deny => rules.with_guardrail(Guardrail { id: SUPPOSED, pattern, actions, expires_at }),
    }
}

/// Whom a question is about.
enum Who {
    Me,
    Somebody { about: About, state: Option<&'static str> },
    Nobody,
}

impl Who {
    async fn find(app: &App, me: &ApiCaller, name: Option<&str>) -> Result<Self, ApiError> {
        let Some(name) = name else { return Ok(Self::Me) };
        let Some(principal) = app.accounts.principal_called(name).await? else {
            let anonymous = Self::Somebody { about: About::Anonymous, state: None };
            return Ok(if name == ANONYMOUS { anonymous } else { Self::Nobody });
        };
        if me.principal.as_ref().is_some_and(|mine| mine.id == principal.id) {
            return Ok(Self::Me);
        }
        Ok(Self::Somebody { about: About::Principal(principal.id), state: Some(principal.state.word()) })
    }

    fn state(&self) -> Option<&'static str> {
        match self {
            Self::Somebody { state, .. } => *state,
            Self::Me | Self::Nobody => None,
        }
    }
}

/// How much the caller may see of the rules behind an answer; None if nothing at all.
fn view(app: &App, me: &ApiCaller, mine: &Situation, scopes: &[Scope], who: &Who) -> Option<View> {
    if me.oversees(&Method::GET) {
        return Some(View::Everything);
    }
    let administered: BTreeSet<i64> = scopes
        .iter()
        .filter_map(|scope| scope.resource.name.as_str().split('/').next())
        .filter(|namespace| sees(app, mine, namespace))
        .filter_map(|namespace| mine.rules.namespaces.named(namespace).map(|namespace| namespace.id))
        .collect();
    match (administered.is_empty(), who) {
        (false, _) => Some(View::Administered(administered)),
        (true, Who::Me) => Some(View::Own),
        (true, Who::Somebody { .. } | Who::Nobody) => None,
    }
}

/// True if decide lets the caller look into the namespace.
fn sees(app: &App, mine: &Situation, namespace: &str) -> bool {
    let Ok(resource) = Resource::namespace(namespace) else { return false };
    let scope = Scope::new(resource, [Action::Read]);
    !permissions::decide(app.clock.now(), &mine.caller, &mine.rules, &[scope]).access.is_empty()
}

async fn served(app: &App, explained: &Explained) -> Result<ResultOut, ApiError> {
    let mut why = Vec::with_capacity(explained.why.len());
    for line in &explained.why {
        why.push(allowed(app, line).await?);
    }
    let mut why_not = Vec::with_capacity(explained.why_not.len());
    for line in &explained.why_not {
        why_not.push(refused(app, line).await?);
    }
    Ok(ResultOut { resource: explained.resource.to_string(), granted: explained.decision.access.clone(), why, why_not })
}

async fn allowed(app: &App, line: &Why) -> Result<WhyOut, ApiError> {
    let tags = line.tags.as_ref().map(ToString::to_string);
    Ok(WhyOut { action: line.action.as_str().to_owned(), rule: seen(app, &line.by).await?, tags })
}

async fn refused(app: &App, line: &WhyNot) -> Result<WhyNotOut, ApiError> {
    let (reason, nearest) = match &line.reason {
        Reason::Meaningless => ("there is no such action on such a resource".to_owned(), None),
        Reason::Guardrail(Some(SUPPOSED)) => ("the supposed guardrail forbids it".to_owned(), None),
        Reason::Guardrail(Some(id)) => (format!("guardrail {id} forbids it"), None),
        Reason::Guardrail(None) => ("a guardrail forbids it".to_owned(), None),
        Reason::CredentialScope => ("the credential is confined to less".to_owned(), None),
        Reason::ApiLevel => ("the credential has no such API level".to_owned(), None),
        Reason::NamespaceUnknown => ("the namespace is not known here".to_owned(), None),
        Reason::NoGrant(nearest) => ("no grant allows it".to_owned(), nearest.as_ref()),
    };
    let nearest = match nearest {
        Some(miss) => Some(NearestOut { rule: seen(app, &miss.rule).await?, missing: miss.lacking }),
        None => None,
    };
    Ok(WhyNotOut { action: line.action.as_str().to_owned(), reason, nearest })
}

async fn seen(app: &App, rule: &RuleSeen) -> Result<SeenOut, ApiError> {
    Ok(match rule {
        RuleSeen::SystemRole(role) => SeenOut::Role { system_role: *role },
        RuleSeen::Visibility(visibility) => SeenOut::Visibility { visibility: *visibility },
        RuleSeen::Grant(grant) => SeenOut::Grant(shown(app, grant).await?),
        RuleSeen::Elsewhere => SeenOut::Elsewhere { elsewhere: "a rule elsewhere" },
    })
}

async fn shown(app: &App, grant: &Grant) -> Result<GrantOut, ApiError> {
    let name = app.accounts.subject_name(grant.subject).await?;
    Ok(GrantOut {
        grant: Some(grant.id).filter(|id| *id != SUPPOSED),
        supposed: grant.id == SUPPOSED,
        subject: subject(grant.subject, name.as_deref()),
        repositories: grant.pattern.to_string(),
        actions: grant.actions,
        tags: grant.tags.clone(),
        expires_at: grant.expires_at.map(Timestamp::rfc3339),
    })
}
