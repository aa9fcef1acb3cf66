//! The admin API, `/api/v1`: users, tokens, robots, namespaces, teams, grants, services, explain.
//!
//! Each handler names in its parameters what its caller must be (see [`access`]); there is no other way to reach the accounts.
//! What is not the caller's is answered like what does not exist.

pub mod access;
mod audit;
mod credentials;
mod explain;
mod grants;
mod holders;
mod keys;
mod me;
mod namespaces;
mod output;
mod robots;
mod secrets;
mod services;
mod teams;
#[cfg(test)]
mod tests;
mod users;

use axum::{
    Router,
    http::{HeaderValue, header},
    response::IntoResponse,
    routing::{any, delete, get, post, put},
};
use tower_http::set_header::SetResponseHeaderLayer;

use super::{App, error::ApiError};

/// One route of this API, for the tests that try them all.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// The path, with `{…}` where names and numbers stand.
    pub path: &'static str,
    /// The methods it answers.
    pub methods: &'static [&'static str],
}

macro_rules! routes {
    ($($path:literal => $($method:ident($handler:path)),+;)+) => {
        /// Every route.
        pub const ROUTES: &[Route] = &[$(Route { path: $path, methods: &[$(stringify!($method)),+] }),+];

        fn table() -> Router<App> {
            Router::new()$(.route($path, routes!(@chain $($method($handler)),+)))+
        }
    };
    (@chain $method:ident($handler:path) $(, $more:ident($other:path))*) => {
        $method($handler)$(.$more($other))*
    };
}

routes! {
    "/api/v1/me" => get(me::show);
    "/api/v1/me/password" => put(me::set_password);
    "/api/v1/me/tokens" => get(me::tokens), post(me::create_token);
    "/api/v1/me/tokens/{token}" => delete(me::revoke_token);
    "/api/v1/users" => get(users::list), post(users::create);
    "/api/v1/users/{user}" => get(users::show), delete(users::remove);
    "/api/v1/users/{user}/suspend" => post(users::suspend);
    "/api/v1/users/{user}/resume" => post(users::resume);
    "/api/v1/users/{user}/password" => put(users::reset);
    "/api/v1/users/{user}/system-role" => put(users::set_system_role);
    "/api/v1/users/{user}/tokens" => get(users::tokens), post(users::create_token);
    "/api/v1/users/{user}/tokens/{token}" => delete(users::revoke_token);
    "/api/v1/namespaces" => get(namespaces::list), post(namespaces::create);
    "/api/v1/namespaces/{namespace}" => get(namespaces::show), patch(namespaces::change), delete(namespaces::remove);
    "/api/v1/namespaces/{namespace}/access" => get(holders::list);
    "/api/v1/namespaces/{namespace}/grants" => get(grants::list), post(grants::add);
    "/api/v1/namespaces/{namespace}/grants/{grant}" => delete(grants::remove);
    "/api/v1/namespaces/{namespace}/teams" => get(teams::list), post(teams::create);
    "/api/v1/namespaces/{namespace}/teams/{team}" => delete(teams::remove);
    "/api/v1/namespaces/{namespace}/teams/{team}/members" => get(teams::members);
    "/api/v1/namespaces/{namespace}/teams/{team}/members/{member}" => put(teams::add_member), delete(teams::remove_member);
    "/api/v1/namespaces/{namespace}/teams/{team}/mappings" => get(teams::mappings);
    "/api/v1/namespaces/{namespace}/teams/{team}/mappings/{provider}/{group}" => put(teams::map), delete(teams::unmap);
    "/api/v1/namespaces/{namespace}/robots" => get(robots::list), post(robots::create);
    "/api/v1/namespaces/{namespace}/robots/{robot}" => get(robots::show), delete(robots::remove);
    "/api/v1/namespaces/{namespace}/robots/{robot}/suspend" => post(robots::suspend);
    "/api/v1/namespaces/{namespace}/robots/{robot}/resume" => post(robots::resume);
    "/api/v1/namespaces/{namespace}/robots/{robot}/keys" => get(robots::keys), post(robots::add_key);
    "/api/v1/namespaces/{namespace}/robots/{robot}/keys/{key}" => delete(robots::revoke_key);
    "/api/v1/namespaces/{namespace}/credentials" => get(credentials::list);
    "/api/v1/credentials" => get(credentials::list_all);
    "/api/v1/grants" => get(grants::list_all), post(grants::add_system);
    "/api/v1/grants/{grant}" => delete(grants::remove_any);
    "/api/v1/services" => get(services::list), post(services::add);
    "/api/v1/audit" => get(audit::list);
    "/api/v1/audit/trail" => get(audit::trail);
    "/api/v1/keys" => get(keys::list);
    "/api/v1/keys/rotate" => post(keys::rotate);
    "/api/v1/keys/{key}" => delete(keys::revoke);
    "/api/v1/explain" => get(explain::explain);
}

/// The routes of this API. Answers may hold secrets, so nobody keeps them.
pub(super) fn router() -> Router<App> {
    let no_store = SetResponseHeaderLayer::overriding(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    table()
        .method_not_allowed_fallback(unknown_method)
        .route("/api/v1", any(nowhere))
        .route("/api/v1/{*path}", any(nowhere))
        .layer(no_store)
}

/// A path of this API asked in a way that it does not know; `Allow` names those that it does.
pub(super) async fn unknown_method() -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "no-store")], ApiError::UnknownMethod)
}

/// `/api/v1` paths that nobody serves.
async fn nowhere() -> ApiError {
    ApiError::NotFound
}
