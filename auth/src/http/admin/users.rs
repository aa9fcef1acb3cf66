//! `/api/v1/users`: system administrators make, suspend and delete accounts, and reset their passwords.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use shared::secret::Secret;
use utoipa::ToSchema;

use super::{
    access::{ApiCaller, SystemAdmin},
    output::{CredentialOut, PageOf, PrincipalOut, Tagged, WithSecret},
    secrets::CredentialIn,
};
use crate::{
    accounts::{
        CredentialId, NamespaceId, PrincipalId,
        credentials::{Credential, CredentialKind},
        names::Handle,
        principals::{NewUser, Page, Principal, PrincipalKind},
        versions::Thing,
    },
    http::{
        App,
        error::ApiError,
        input::{Asked, Body, IfMatch, Named, Nothing, Paging},
    },
    identity::passwords::{self, random_password},
    permissions::SystemRole,
    secrets::SecretKind,
};

pub(super) use crate::accounts::names::MAX_DISPLAY_NAME_BYTES;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UserWanted)]
pub(super) struct UserIn {
    name: String,
    #[serde(default)]
    display_name: String,
    system_role: Option<SystemRole>,
    /// Missing: one is made and answered.
    #[schema(value_type = Option<String>, format = Password)]
    password: Option<Secret<String>>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PrincipalWithPassword)]
pub(super) struct WithPassword {
    #[serde(flatten)]
    user: PrincipalOut,
    /// Missing where the caller chose it.
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
}

pub(super) async fn list(
    State(app): State<App>,
    _: SystemAdmin,
    Asked(paging): Asked<Paging>,
) -> Result<Json<PageOf<PrincipalOut>>, ApiError> {
    let limit = paging.limit()?;
    let page = Page { after: paging.after, limit };
    let users = app.accounts.accounts(PrincipalKind::User, NamespaceId::SYSTEM, &page).await?;
    Ok(Json(PageOf::new(users, limit, |user| user.principal.handle.clone(), PrincipalOut::from)))
}

pub(super) async fn create(
    State(app): State<App>,
    SystemAdmin(admin): SystemAdmin,
    Body(wanted): Body<UserIn>,
) -> Result<(StatusCode, Json<WithPassword>), ApiError> {
    let handle: Handle = wanted.name.parse()?;
    if wanted.display_name.len() > MAX_DISPLAY_NAME_BYTES || wanted.display_name.contains(char::is_control) {
        return Err(ApiError::Invalid(format!(
            "a display name has at most {MAX_DISPLAY_NAME_BYTES} bytes, no control characters"
        )));
    }
    let (password, shown) = chosen_or_made(wanted.password);
    passwords::check_new(password.expose())?;
    let hash = app.identities.passwords().hash(&password).await?;
    let user =
        NewUser { handle, display_name: wanted.display_name, system_role: wanted.system_role, password: Some(hash) };
    let user = app.accounts.create_user(&admin.actor, user).await?.id;
    Ok((StatusCode::CREATED, Json(WithPassword { user: shown_as(&app, user).await?, password: shown })))
}

pub(super) async fn show(
    State(app): State<App>,
    _: SystemAdmin,
    Named(user): Named<String>,
) -> Result<Tagged<PrincipalOut>, ApiError> {
    Ok(Tagged(shown_as(&app, find(&app, &user).await?.id).await?))
}

pub(super) async fn remove(
    State(app): State<App>,
    SystemAdmin(admin): SystemAdmin,
    Named(user): Named<String>,
    seen: IfMatch,
    _: Nothing,
) -> Result<StatusCode, ApiError> {
    let user = find(&app, &user).await?.id;
    seen.on(&app.accounts, Thing::Principal(user)).delete_principal(&admin.actor, user).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn suspend(
    State(app): State<App>,
    SystemAdmin(admin): SystemAdmin,
    Named(user): Named<String>,
    seen: IfMatch,
    _: Nothing,
) -> Result<StatusCode, ApiError> {
    let user = find(&app, &user).await?.id;
    seen.on(&app.accounts, Thing::Principal(user)).suspend(&admin.actor, user).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn resume(
    State(app): State<App>,
    SystemAdmin(admin): SystemAdmin,
    Named(user): Named<String>,
    seen: IfMatch,
    _: Nothing,
) -> Result<StatusCode, ApiError> {
    let user = find(&app, &user).await?.id;
    seen.on(&app.accounts, Thing::Principal(user)).resume(&admin.actor, user).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PasswordReset)]
pub(super) struct Reset {
    /// Missing: one is made and answered.
    #[schema(value_type = Option<String>, format = Password)]
    password: Option<Secret<String>>,
}

pub(super) async fn reset(
    State(app): State<App>,
    SystemAdmin(admin): SystemAdmin,
    Named(user): Named<String>,
    seen: IfMatch,
    Body(reset): Body<Reset>,
) -> Result<Json<WithPassword>, ApiError> {
    let user = find(&app, &user).await?;
    let (password, shown) = chosen_or_made(reset.password);
    store_password(&app, &admin, &user, seen, &password).await?;
    Ok(Json(WithPassword { user: shown_as(&app, user.id).await?, password: shown }))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SystemRoleWanted)]
pub(super) struct SystemRoleIn {
    system_role: Option<SystemRole>,
}

pub(super) async fn set_system_role(
    State(app): State<App>,
    SystemAdmin(admin): SystemAdmin,
    Named(user): Named<String>,
    seen: IfMatch,
    Body(wanted): Body<SystemRoleIn>,
) -> Result<StatusCode, ApiError> {
    let user = find(&app, &user).await?;
    let accounts = seen.on(&app.accounts, Thing::Principal(user.id));
    accounts.set_system_role(&admin.actor, user.id, wanted.system_role).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn tokens(
    State(app): State<App>,
    _: SystemAdmin,
    Named(user): Named<String>,
    Asked(paging): Asked<Paging>,
) -> Result<Json<PageOf<CredentialOut>>, ApiError> {
    list_tokens(&app, &find(&app, &user).await?, &paging).await
}

pub(super) async fn create_token(
    State(app): State<App>,
    SystemAdmin(admin): SystemAdmin,
    Named(user): Named<String>,
    Body(wanted): Body<CredentialIn>,
) -> Result<(StatusCode, Json<WithSecret<CredentialOut>>), ApiError> {
    make_token(&app, &admin, &find(&app, &user).await?, wanted).await
}

pub(super) async fn revoke_token(
    State(app): State<App>,
    SystemAdmin(admin): SystemAdmin,
    Named((user, token)): Named<(String, i64)>,
    seen: IfMatch,
    _: Nothing,
) -> Result<StatusCode, ApiError> {
    let (user, token) = (find(&app, &user).await?, CredentialId(token));
    let accounts = seen.on(&app.accounts, Thing::Credential(user.id, token));
    accounts.revoke_credential(&admin.actor, user.id, token).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An account's tokens and the identity tokens that its clients keep.
pub(super) async fn list_tokens(
    app: &App,
    owner: &Principal,
    paging: &Paging,
) -> Result<Json<PageOf<CredentialOut>>, ApiError> {
    let mut tokens = app.accounts.credentials(owner.id, CredentialKind::Pat).await?;
    tokens.extend(app.accounts.credentials(owner.id, CredentialKind::Identity).await?);
    credentials_page(tokens, paging)
}

/// A part of an account's credentials, of which there are few.
pub(super) fn credentials_page(all: Vec<Credential>, paging: &Paging) -> Result<Json<PageOf<CredentialOut>>, ApiError> {
    let part = (paging.after_number()?, paging.limit()?);
    Ok(Json(PageOf::of_all(all, part, |one| one.id.0, CredentialOut::from)))
}

/// Makes a personal access token and shows it this once.
pub(super) async fn make_token(
    app: &App,
    caller: &ApiCaller,
    owner: &Principal,
    wanted: CredentialIn,
) -> Result<(StatusCode, Json<WithSecret<CredentialOut>>), ApiError> {
    let (new, secret) = wanted.prepare(app, owner.id, SecretKind::PersonalToken, None)?;
    let made = app.accounts.create_token(&caller.actor, new).await?;
    let secret = secret.map(|secret| secret.expose().clone());
    Ok((StatusCode::CREATED, Json(WithSecret { made: made.into(), secret })))
}

/// Replaces a password; the file that the first start left is of no use then.
pub(super) async fn store_password(
    app: &App,
    caller: &ApiCaller,
    owner: &Principal,
    seen: IfMatch,
    password: &Secret<String>,
) -> Result<(), ApiError> {
    passwords::check_new(password.expose())?;
    let hash = app.identities.passwords().hash(password).await?;
    seen.on(&app.accounts, Thing::Principal(owner.id)).set_password(&caller.actor, owner.id, hash).await?;
    app.first_password.forget(&owner.handle);
    Ok(())
}

fn chosen_or_made(password: Option<Secret<String>>) -> (Secret<String>, Option<String>) {
    match password {
        Some(password) => (password, None),
        None => {
            let made = random_password();
            let shown = made.expose().clone();
            (made, Some(shown))
        }
    }
}

/// The account, as it is now.
pub(super) async fn shown_as(app: &App, id: PrincipalId) -> Result<PrincipalOut, ApiError> {
    Ok(app.accounts.account(id).await?.ok_or(ApiError::NotFound)?.into())
}

async fn find(app: &App, name: &str) -> Result<Principal, ApiError> {
    let found = app.accounts.principal_called(name).await?;
    found.filter(|found| found.kind == PrincipalKind::User).ok_or(ApiError::NotFound)
}
