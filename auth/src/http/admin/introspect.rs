//! `POST /api/v1/introspect`: what a registry token or a credential is worth now (RFC 7662).
//!
//! Who oversees the system may ask about all of them, an account about its own, who sees a namespace about its robots', and a registry
//! about tokens for itself. To all others a living secret is like one that never was.

use axum::{Json, extract::State, http::Method};
use serde::{Deserialize, Serialize};
use shared::{
    access::{Access, Action},
    claims::{Audience, TokenClaims},
    clock::Timestamp,
    secret::Secret,
};
use utoipa::ToSchema;

use super::access::{ApiCaller, Inquirer};
use crate::{
    accounts::{
        NamespaceId, PrincipalId,
        credentials::Stored,
        names::{NamespaceName, RobotName},
        principals::Principal,
    },
    http::{App, error::ApiError, input::Form},
    permissions::{ApiLevel, Decision},
    tokens::Introspected,
};

/// What is asked about. The hint changes nothing: what it is can be seen.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Introspection)]
pub(super) struct Question {
    #[schema(value_type = String, format = Password)]
    token: Secret<String>,
    #[serde(rename = "token_type_hint")]
    _hint: Option<String>,
}

/// What it is worth; nothing but `active` where that is nothing.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Introspected)]
pub(super) struct Worth {
    active: bool,
    #[serde(flatten)]
    known: Option<Known>,
}

/// Times are seconds since 1970, UTC.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TokenKnown)]
struct Known {
    /// `registry`, or the kind of the credential: `pat`, `robot_key`, `identity`.
    token_type: &'static str,
    /// What it may be used for; missing where a credential may be used for all that its owner may.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    /// Whose it is; empty for a token that was made for nobody in particular.
    sub: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    /// A registry token's own id.
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    /// The number of the credential: this one, or that by which the token was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<i64>,
    /// What a credential may do on this API.
    #[serde(skip_serializing_if = "Option::is_none")]
    api: Option<ApiLevel>,
    /// What a registry token allows, as it says it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    access: Vec<Access>,
}

pub(super) async fn introspect(
    State(app): State<App>,
    inquirer: Inquirer,
    Form(question): Form<Question>,
) -> Result<Json<Worth>, ApiError> {
    let mut known = None;
    if let Some(found) = app.tokens.introspect(&question.token).await?
        && may_know(&app, &inquirer, &found).await?
    {
        known = Some(Known::from(found));
    }
    Ok(Json(Worth { active: known.is_some(), known }))
}

async fn may_know(app: &App, inquirer: &Inquirer, found: &Introspected) -> Result<bool, ApiError> {
    let caller = match (inquirer, found) {
        (Inquirer::Registry(service), Introspected::Token(claims)) => {
            return Ok(claims.audience.contains(&service.name));
        }
        (Inquirer::Registry(_), Introspected::Credential(_)) => return Ok(false),
        (Inquirer::Caller(caller), _) => caller,
    };
    if caller.oversees(&Method::GET) {
        return Ok(true);
    }
    let owner = match found {
        Introspected::Credential(stored) => Some(stored.principal.clone()),
        Introspected::Token(claims) => match claims.principal {
            Some(id) => app.accounts.principal(PrincipalId(id)).await?,
            None => None,
        },
    };
    match owner {
        Some(owner) if caller.principal.as_ref().is_some_and(|own| own.id == owner.id) => Ok(true),
        Some(owner) => sees_the_owner_of(app, caller, &owner).await,
        None => Ok(false),
    }
}

/// Whether it is a robot, of a namespace that the caller sees.
async fn sees_the_owner_of(app: &App, caller: &ApiCaller, robot: &Principal) -> Result<bool, ApiError> {
    if robot.namespace == NamespaceId::SYSTEM {
        return Ok(false);
    }
    let Some(name) = RobotName::namespace_of(&robot.handle) else { return Ok(false) };
    let Ok(name) = name.parse::<NamespaceName>() else { return Ok(false) };
    caller.may(app, &name, Action::Read).await
}

impl From<Introspected> for Known {
    fn from(found: Introspected) -> Self {
        match found {
            Introspected::Token(claims) => (*claims).into(),
            Introspected::Credential(stored) => (*stored).into(),
        }
    }
}

impl From<TokenClaims> for Known {
    fn from(claims: TokenClaims) -> Self {
        let decision = Decision { access: claims.access };
        let subject = claims.subject.unwrap_or_default();
        Self {
            token_type: "registry",
            scope: Some(decision.scopes().to_string()),
            username: Some(subject.clone()).filter(|name| !name.is_empty()),
            sub: subject,
            exp: Some(claims.expires_at),
            iat: claims.issued_at,
            nbf: claims.not_before,
            aud: match claims.audience {
                Audience::One(service) => Some(service),
                Audience::Many(services) => services.into_iter().next(),
            },
            iss: Some(claims.issuer),
            jti: claims.id,
            credential: claims.credential,
            api: None,
            access: decision.access,
        }
    }
}

impl From<Stored> for Known {
    fn from(Stored { credential, principal, .. }: Stored) -> Self {
        let ends = principal.expires_at.into_iter().chain(credential.expires_at).min();
        Self {
            token_type: credential.kind.word(),
            scope: credential.scope.map(String::from),
            sub: principal.handle.clone(),
            username: Some(principal.handle),
            exp: ends.map(Timestamp::seconds),
            iat: Some(credential.created_at.seconds()),
            nbf: None,
            aud: None,
            iss: None,
            jti: None,
            credential: Some(credential.id.0),
            api: Some(credential.api),
            access: Vec::new(),
        }
    }
}
