//! `/api/v1/me`: one's own account, password and tokens.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use shared::secret::Secret;
use utoipa::ToSchema;

use super::{
    access::ApiCaller,
    output::{CredentialOut, PageOf, PrincipalOut, Tagged, Versioned, WithSecret},
    secrets::CredentialIn,
    users,
};
use crate::{
    accounts::{
        CredentialId,
        principals::Principal,
        versions::{Thing, Version},
    },
    http::{
        App, Peer,
        error::ApiError,
        input::{Asked, Body, IfMatch, Named, Nothing, Paging},
    },
    identity::{Attempt, NotIdentified},
    permissions::ApiLevel,
};

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Me)]
pub(super) struct MeOut {
    #[serde(flatten)]
    account: Option<PrincipalOut>,
    /// What the credential shown may do here.
    api: ApiLevel,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    /// True on the data directory's socket.
    local: bool,
}

impl Versioned for MeOut {
    fn version(&self) -> Option<&Version> {
        self.account.as_ref().and_then(Versioned::version)
    }
}

pub(super) async fn show(State(app): State<App>, me: ApiCaller) -> Result<Tagged<MeOut>, ApiError> {
    let account = match &me.principal {
        Some(principal) => Some(users::shown_as(&app, principal.id).await?),
        None => None,
    };
    Ok(Tagged(MeOut {
        local: account.is_none(),
        account,
        api: me.caller.api,
        scope: me.caller.credential_scope.map(String::from),
    }))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordChange {
    #[schema(value_type = String, format = Password)]
    current: Secret<String>,
    #[schema(value_type = String, format = Password)]
    new: Secret<String>,
}

/// A token that was stolen is not enough to take the account: the current password is asked for, and throttled.
pub(super) async fn set_password(
    State(app): State<App>,
    me: ApiCaller,
    peer: Peer,
    seen: IfMatch,
    Body(change): Body<PasswordChange>,
) -> Result<StatusCode, ApiError> {
    let principal = owner(&me)?;
    let attempt = Attempt { username: Some(&principal.handle), secret: &change.current, service: None, peer };
    match app.identities.identify(&attempt).await {
        Ok(identity) if identity.principal.id == principal.id && identity.may_keep_an_identity_token() => {}
        Ok(_) | Err(NotIdentified::Wrong | NotIdentified::Void(_)) => {
            return Err(ApiError::Invalid("the current password is wrong".to_owned()));
        }
        Err(other) => return Err(other.into()),
    }
    users::store_password(&app, &me, principal, seen, &change.new).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn tokens(
    State(app): State<App>,
    me: ApiCaller,
    Asked(paging): Asked<Paging>,
) -> Result<Json<PageOf<CredentialOut>>, ApiError> {
    users::list_tokens(&app, owner(&me)?, &paging).await
}

pub(super) async fn create_token(
    State(app): State<App>,
    me: ApiCaller,
    Body(mut wanted): Body<CredentialIn>,
) -> Result<(StatusCode, Json<WithSecret<CredentialOut>>), ApiError> {
    // What is confined must not make what is not, nor what ends make what stays.
    if me.caller.credential_scope.is_some() || me.confined {
        return Err(ApiError::Level);
    }
    wanted.end_with(me.ends, me.idle)?;
    users::make_token(&app, &me, owner(&me)?, wanted).await
}

pub(super) async fn revoke_token(
    State(app): State<App>,
    me: ApiCaller,
    Named(token): Named<i64>,
    seen: IfMatch,
    _: Nothing,
) -> Result<StatusCode, ApiError> {
    let (owner, token) = (owner(&me)?.id, CredentialId(token));
    seen.on(&app.accounts, Thing::Credential(owner, token)).revoke_credential(&me.actor, owner, token).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The caller's account; the socket has none.
fn owner(me: &ApiCaller) -> Result<&Principal, ApiError> {
    me.principal.as_ref().ok_or(ApiError::NotFound)
}
