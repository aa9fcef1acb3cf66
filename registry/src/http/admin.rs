//! The registry's part of the admin API, `/api/v1/registry` (design.md sections 4 and 8).
//!
//! To add a route: write its handler in a module below this one, with that parameter of [`access`] first which its caller must be, and add a line to
//! `routes!`, which begins with who that is. Tests call every line as everybody, about what is there and about what is not. A
//! handler translates; what it decides stands in `gc`, `lifecycle` or `content`. Names of repositories contain slashes, so routes about one take it as
//! `?repository=`. A command of the command line is a request to one of these routes: see `registry/src/cli/reach.rs`.

pub mod access;
mod backup;
mod deleted;
#[cfg(test)]
mod described;
mod doctor;
pub mod error;
mod garbage;
mod immutable;
pub mod input;
mod lifecycle;
mod lines;
mod manifests;
mod page;
mod quotas;
mod repositories;
mod tags;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{
    Router,
    http::{HeaderValue, header},
    routing::{self, any},
};
use shared::clock::Clock;
use tower_http::set_header::SetResponseHeaderLayer;

use self::{access::ApiCaller, error::ApiError};
use super::origin::Addresses;
use crate::{
    access::Access,
    content::{Content, manifests::References, undelete::Restorer},
    gc::{Collector, backup::Backups, doctor::Doctor},
    lifecycle::{Lifecycle, rules::Expiry},
};

/// Where this API lies.
pub(super) const ROOT: &str = "/api/v1/registry";

/// What the handlers of this API work with. Cheap to clone.
#[derive(Clone)]
pub struct Administration(Arc<Parts>);

struct Parts {
    access: Arc<Access>,
    addresses: Addresses,
    rooms: Rooms,
    clock: Clock,
}

/// What the handlers translate for.
pub struct Rooms {
    /// What repositories hold.
    pub content: Content,
    /// What a push must find in its repository.
    pub references: References,
    /// What administrators decide about it.
    pub lifecycle: Lifecycle,
    /// What goes with time.
    pub expiry: Expiry,
    /// What becomes of the rest.
    pub collector: Collector,
    /// Copies of all of it.
    pub backups: Backups,
    /// Who looks for faults.
    pub doctor: Doctor,
}

/// Through which door a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// A listener that anybody reaches, a socket file of the settings too: proxies are at its other end.
    Anywhere,
    /// The data directory's socket: root and the server's own user are system administrators there.
    DataDirectory,
}

/// What a handler's state is: the API behind one of its doors.
#[derive(Clone)]
pub struct Desk {
    administration: Administration,
    door: Door,
}

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// [`access::LocalAdmin`]
    Local,
    /// [`access::SystemAdmin`]
    System,
    /// [`access::NamespaceAdmin`] or [`access::RepositoryAdmin`]
    Namespace,
    /// [`access::RepositoryReader`]
    Reader,
}

/// One route of this API, for the tests that try them all.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// The path, with `{…}` where names stand.
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

        fn table() -> Router<Desk> {
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
    Local post "/api/v1/registry/backup" => backup::make;
    System get "/api/v1/registry/garbage" => garbage::waiting;
    System post "/api/v1/registry/garbage-collect" => garbage::collect;
    Namespace get "/api/v1/registry/namespaces/{namespace}/immutable" => immutable::show;
    Namespace put "/api/v1/registry/namespaces/{namespace}/immutable" => immutable::set;
    System get "/api/v1/registry/namespaces" => quotas::list;
    Namespace get "/api/v1/registry/namespaces/{namespace}/quota" => quotas::show;
    System put "/api/v1/registry/namespaces/{namespace}/quota" => quotas::set;
    Namespace delete "/api/v1/registry/tags" => tags::delete;
    Reader get "/api/v1/registry/tags/history" => tags::history;
    Namespace post "/api/v1/registry/tags:restore" => tags::restore;
    Namespace post "/api/v1/registry/manifests:restore" => manifests::restore;
    System get "/api/v1/registry/doctor" => doctor::last;
    System post "/api/v1/registry/doctor" => doctor::examine;
    Namespace delete "/api/v1/registry/repositories" => repositories::delete;
    Namespace post "/api/v1/registry/repositories:restore" => repositories::restore;
    Namespace get "/api/v1/registry/namespaces/{namespace}/deleted" => deleted::list;
    Namespace get "/api/v1/registry/namespaces/{namespace}/lifecycle" => lifecycle::overview;
    Namespace put "/api/v1/registry/namespaces/{namespace}/lifecycle" => lifecycle::set;
    Namespace post "/api/v1/registry/namespaces/{namespace}/lifecycle/preview" => lifecycle::preview;
    Namespace post "/api/v1/registry/namespaces/{namespace}/lifecycle/run" => lifecycle::run;
    Namespace post "/api/v1/registry/namespaces/{namespace}/tags:delete" => lifecycle::delete_tags;
    Reader get "/api/v1/registry/lifecycle" => lifecycle::own;
    Namespace put "/api/v1/registry/lifecycle" => lifecycle::set_own;
}

impl Desk {
    fn collector(&self) -> &Collector {
        &self.administration.0.rooms.collector
    }

    fn content(&self) -> &Content {
        &self.administration.0.rooms.content
    }

    fn restorer(&self, caller: ApiCaller, force: bool) -> Restorer {
        let references = self.administration.0.rooms.references;
        Restorer { actor: caller.actor, force: force.into(), references }
    }

    fn doctor(&self) -> &Doctor {
        &self.administration.0.rooms.doctor
    }

    fn lifecycle(&self) -> &Lifecycle {
        &self.administration.0.rooms.lifecycle
    }

    fn backups(&self) -> &Backups {
        &self.administration.0.rooms.backups
    }

    fn expiry(&self) -> &Expiry {
        &self.administration.0.rooms.expiry
    }
}

impl Administration {
    /// Lets in whom `access` lets in.
    pub(super) fn new(access: Arc<Access>, addresses: Addresses, rooms: Rooms, clock: Clock) -> Self {
        Self(Arc::new(Parts { access, addresses, rooms, clock }))
    }

    /// The routes, behind one of the doors. Answers tell what not everybody may know, so nobody keeps them.
    pub fn router(&self, door: Door) -> Router {
        let no_store = SetResponseHeaderLayer::overriding(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let desk = Desk { administration: self.clone(), door };
        table()
            .method_not_allowed_fallback(unknown_method)
            .route(ROOT, any(nowhere))
            .route("/api/v1/registry/{*path}", any(nowhere))
            .layer(no_store)
            .with_state(desk)
    }
}

/// The rest of the admin API, which the auth service serves, for a registry that runs without it.
pub(super) fn elsewhere() -> Router {
    Router::new().route("/api/v1", any(nowhere)).route("/api/v1/{*path}", any(nowhere))
}

/// A path of this API asked in a way that it does not know; `Allow` names those that it does.
async fn unknown_method() -> ApiError {
    ApiError::UnknownMethod
}

/// Paths that nobody serves.
async fn nowhere() -> ApiError {
    ApiError::NotFound
}
