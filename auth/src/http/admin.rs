//! The admin API, `/api/v1`: users, tokens, robots, namespaces, teams, grants, services, explain.
//!
//! Each handler names in its parameters what its caller must be (see [`access`]); there is no other way to reach the accounts.
//! What is not the caller's is answered like what does not exist.
//!
//! To add a route: write its handler in a module below this one and add a line to `routes!`, which begins with who may call it, and a row
//! to `docs/api.md`, which says so too. The router is made of this table and of nothing else. The tests compare each line with what its
//! handler takes, and call it as everybody (`tests/walk.rs`): where its path has a name in it that is new, they must be told of one that
//! is there (`Things::path`).

pub mod access;
mod audit;
mod credentials;
#[cfg(test)]
mod described;
mod doctor;
mod explain;
mod grants;
mod holders;
mod introspect;
mod keys;
mod me;
mod namespaces;
mod output;
mod providers;
mod robots;
mod secrets;
mod services;
pub mod setup;
mod teams;
#[cfg(test)]
mod tests;
mod users;

use axum::{
    Router,
    http::{HeaderValue, header},
    response::IntoResponse,
    routing::{self, any},
};
use tower_http::set_header::SetResponseHeaderLayer;

use super::{App, error::ApiError};

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// [`access::ApiCaller`], about themselves.
    Oneself,
    /// [`access::ApiCaller`], and the answer is no more than what they may see: of one namespace who sees it, of everything who oversees the system.
    View,
    /// [`access::Inquirer`]: whoever shows something, a registry too, and the answer is no more than what they may know.
    Inquiry,
    /// [`access::NamespaceAdmin`]
    Namespace,
    /// [`access::SystemAdmin`]
    System,
}

/// One route of this API, for the tests that try them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The path, with `{…}` where names and numbers stand.
    pub path: &'static str,
    /// The method.
    pub method: &'static str,
    /// Who may call it.
    pub needs: Needs,
}

macro_rules! routes {
    ($($needs:ident $method:ident $path:literal => $handler:path;)+) => {
        /// Every route.
        pub const ROUTES: &[Route] =
            &[$(Route { path: $path, method: stringify!($method), needs: Needs::$needs }),+];

        fn table() -> Router<App> {
            Router::new()$(.route($path, routing::$method($handler)))+
        }

        /// What the handlers' own types say, in the order of [`ROUTES`].
        #[cfg(test)]
        fn described() -> Vec<shared::openapi::Said> {
            vec![$(shared::openapi::of(&$handler)),+]
        }
    };
}

routes! {
    Oneself get "/api/v1/me" => me::show;
    Oneself put "/api/v1/me/password" => me::set_password;
    Oneself get "/api/v1/me/tokens" => me::tokens;
    Oneself post "/api/v1/me/tokens" => me::create_token;
    Oneself delete "/api/v1/me/tokens/{token}" => me::revoke_token;
    System get "/api/v1/users" => users::list;
    System post "/api/v1/users" => users::create;
    System get "/api/v1/users/{user}" => users::show;
    System delete "/api/v1/users/{user}" => users::remove;
    System post "/api/v1/users/{user}/suspend" => users::suspend;
    System post "/api/v1/users/{user}/resume" => users::resume;
    System put "/api/v1/users/{user}/password" => users::reset;
    System put "/api/v1/users/{user}/system-role" => users::set_system_role;
    System get "/api/v1/users/{user}/tokens" => users::tokens;
    System post "/api/v1/users/{user}/tokens" => users::create_token;
    System delete "/api/v1/users/{user}/tokens/{token}" => users::revoke_token;
    System get "/api/v1/namespaces" => namespaces::list;
    System post "/api/v1/namespaces" => namespaces::create;
    Namespace get "/api/v1/namespaces/{namespace}" => namespaces::show;
    Namespace patch "/api/v1/namespaces/{namespace}" => namespaces::change;
    System delete "/api/v1/namespaces/{namespace}" => namespaces::remove;
    Namespace get "/api/v1/namespaces/{namespace}/access" => holders::list;
    Namespace get "/api/v1/namespaces/{namespace}/grants" => grants::list;
    Namespace post "/api/v1/namespaces/{namespace}/grants" => grants::add;
    Namespace get "/api/v1/namespaces/{namespace}/grants/{grant}" => grants::show;
    Namespace put "/api/v1/namespaces/{namespace}/grants/{grant}" => grants::replace;
    Namespace delete "/api/v1/namespaces/{namespace}/grants/{grant}" => grants::remove;
    Namespace get "/api/v1/namespaces/{namespace}/teams" => teams::list;
    Namespace post "/api/v1/namespaces/{namespace}/teams" => teams::create;
    Namespace get "/api/v1/namespaces/{namespace}/teams/{team}" => teams::show;
    Namespace delete "/api/v1/namespaces/{namespace}/teams/{team}" => teams::remove;
    Namespace get "/api/v1/namespaces/{namespace}/teams/{team}/members" => teams::members;
    Namespace put "/api/v1/namespaces/{namespace}/teams/{team}/members/{member}" => teams::add_member;
    Namespace delete "/api/v1/namespaces/{namespace}/teams/{team}/members/{member}" => teams::remove_member;
    Namespace get "/api/v1/namespaces/{namespace}/teams/{team}/mappings" => teams::mappings;
    Namespace put "/api/v1/namespaces/{namespace}/teams/{team}/mappings/{provider}/{group}" => teams::map;
    Namespace delete "/api/v1/namespaces/{namespace}/teams/{team}/mappings/{provider}/{group}" => teams::unmap;
    Namespace get "/api/v1/namespaces/{namespace}/robots" => robots::list;
    Namespace post "/api/v1/namespaces/{namespace}/robots" => robots::create;
    Namespace get "/api/v1/namespaces/{namespace}/robots/{robot}" => robots::show;
    Namespace delete "/api/v1/namespaces/{namespace}/robots/{robot}" => robots::remove;
    Namespace post "/api/v1/namespaces/{namespace}/robots/{robot}/suspend" => robots::suspend;
    Namespace post "/api/v1/namespaces/{namespace}/robots/{robot}/resume" => robots::resume;
    Namespace get "/api/v1/namespaces/{namespace}/robots/{robot}/keys" => robots::keys;
    Namespace post "/api/v1/namespaces/{namespace}/robots/{robot}/keys" => robots::add_key;
    Namespace delete "/api/v1/namespaces/{namespace}/robots/{robot}/keys/{key}" => robots::revoke_key;
    Namespace get "/api/v1/namespaces/{namespace}/credentials" => credentials::list;
    System get "/api/v1/credentials" => credentials::list_all;
    System get "/api/v1/grants" => grants::list_all;
    System post "/api/v1/grants" => grants::add_system;
    System get "/api/v1/grants/{grant}" => grants::show_any;
    System put "/api/v1/grants/{grant}" => grants::replace_any;
    System delete "/api/v1/grants/{grant}" => grants::remove_any;
    System get "/api/v1/services" => services::list;
    System post "/api/v1/services" => services::add;
    System get "/api/v1/providers" => providers::list;
    System post "/api/v1/providers" => providers::add;
    System get "/api/v1/providers/{provider}" => providers::show;
    System delete "/api/v1/providers/{provider}" => providers::remove;
    System post "/api/v1/providers/{provider}/test" => providers::test;
    System get "/api/v1/setup" => setup::show;
    System put "/api/v1/setup" => setup::apply;
    View get "/api/v1/audit" => audit::list;
    System get "/api/v1/audit/trail" => audit::trail;
    System get "/api/v1/keys" => keys::list;
    System post "/api/v1/keys/rotate" => keys::rotate;
    System delete "/api/v1/keys/{key}" => keys::revoke;
    System post "/api/v1/doctor" => doctor::probe;
    View get "/api/v1/explain" => explain::explain;
    View post "/api/v1/explain" => explain::suppose;
    Inquiry post "/api/v1/introspect" => introspect::introspect;
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
