//! `/api/v1/explain?principal=&scope=`: which grant is behind each allowed action, and which is the nearest miss behind each refused one.

use std::collections::BTreeSet;

use axum::{Json, extract::State, http::Method};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::{
    access::{Action, Resource},
    scope::{Scope, Scopes},
};

use super::{access::ApiCaller, output::subject};
use crate::{
    accounts::rules::{About, Reach, Situation},
    http::{App, error::ApiError, input::Asked},
    permissions::{self, CallerKind, Explained, Grant, Reason, RuleSeen, View, Why, WhyNot},
};

/// How one asks about those who show nothing.
const ANONYMOUS: &str = "anonymous";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    /// Whose; missing: one's own, with the credential shown.
    principal: Option<String>,
    /// Scopes as a client asks for them, separated by spaces.
    scope: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Answer {
    principal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    results: Vec<Value>,
}

pub(super) async fn explain(
    State(app): State<App>,
    me: ApiCaller,
    Asked(question): Asked<Question>,
) -> Result<Json<Answer>, ApiError> {
    let scopes = Scopes::parse_list([question.scope.as_str()].into_iter())
        .map_err(|error| ApiError::Invalid(error.to_string()))?;
    let reach = Reach::repositories(scopes.iter().map(|scope| scope.resource.name.as_str())).with_others();
    let mine = me.situation(&app, &reach).await?;
    let who = Who::find(&app, &me, question.principal.as_deref()).await?;
    let view = view(&app, &me, &mine, scopes.as_slice(), &who).ok_or(ApiError::NotFound)?;
    let situation = match &who {
        Who::Me => mine,
        Who::Somebody { about, .. } => app.accounts.rules_for(*about, &reach).await?.ok_or(ApiError::NotFound)?,
        Who::Nobody => return Err(ApiError::NotFound),
    };
    let explained =
        permissions::explain(app.clock.now(), &situation.caller, &situation.rules, scopes.as_slice(), &view);
    let mut results = Vec::with_capacity(explained.len());
    for one in &explained {
        results.push(served(&app, one).await?);
    }
    let principal = match situation.caller.kind {
        CallerKind::Anonymous => ANONYMOUS.to_owned(),
        CallerKind::User | CallerKind::Robot => situation.caller.handle,
    };
    Ok(Json(Answer { principal, state: who.state(), results }))
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

async fn served(app: &App, explained: &Explained) -> Result<Value, ApiError> {
    let mut why = Vec::with_capacity(explained.why.len());
    for line in &explained.why {
        why.push(allowed(app, line).await?);
    }
    let mut why_not = Vec::with_capacity(explained.why_not.len());
    for line in &explained.why_not {
        why_not.push(refused(app, line).await?);
    }
    Ok(json!({
        "resource": explained.resource.to_string(),
        "granted": explained.decision.access,
        "why": why,
        "why_not": why_not,
    }))
}

async fn allowed(app: &App, line: &Why) -> Result<Value, ApiError> {
    let tags = line.tags.as_ref().map(ToString::to_string);
    Ok(json!({ "action": line.action.as_str(), "rule": seen(app, &line.by).await?, "tags": tags }))
}

async fn refused(app: &App, line: &WhyNot) -> Result<Value, ApiError> {
    let (reason, nearest) = match &line.reason {
        Reason::Meaningless => ("there is no such action on such a resource".to_owned(), None),
        Reason::Guardrail(Some(id)) => (format!("guardrail {id} forbids it"), None),
        Reason::Guardrail(None) => ("a guardrail forbids it".to_owned(), None),
        Reason::CredentialScope => ("the credential is confined to less".to_owned(), None),
        Reason::ApiLevel => ("the credential has no such API level".to_owned(), None),
        Reason::NamespaceUnknown => ("the namespace is not known here".to_owned(), None),
        Reason::NoGrant(nearest) => ("no grant allows it".to_owned(), nearest.as_ref()),
    };
    let nearest = match nearest {
        Some(miss) => json!({ "rule": seen(app, &miss.rule).await?, "missing": miss.lacking }),
        None => Value::Null,
    };
    Ok(json!({ "action": line.action.as_str(), "reason": reason, "nearest": nearest }))
}

async fn seen(app: &App, rule: &RuleSeen) -> Result<Value, ApiError> {
    Ok(match rule {
        RuleSeen::SystemRole(role) => json!({ "system_role": role }),
        RuleSeen::Visibility(visibility) => json!({ "visibility": visibility }),
        RuleSeen::Grant(grant) => shown(app, grant).await?,
        RuleSeen::Elsewhere => json!({ "elsewhere": "a rule elsewhere" }),
    })
}

async fn shown(app: &App, grant: &Grant) -> Result<Value, ApiError> {
    let name = app.accounts.subject_name(grant.subject).await?;
    Ok(json!({
        "grant": grant.id,
        "subject": subject(grant.subject, name.as_deref()),
        "repositories": grant.pattern.as_str(),
        "actions": grant.actions,
        "tags": grant.tags,
        "expires_at": grant.expires_at.map(shared::clock::Timestamp::rfc3339),
    }))
}
