//! `/metrics` on the debug listener of an auth service alone, and the requests that are counted for it.

use std::time::Instant;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderName, header::CONTENT_TYPE},
    middleware::Next,
    response::Response,
    routing::get,
};
use shared::exposition::MEDIA_TYPE;

use super::App;
use crate::metrics::{Ended, Metrics, Route};

/// The metrics at the path of the settings.
pub(crate) fn metrics_router(path: &str, app: App) -> Router {
    Router::new().route(path, get(exposition)).with_state(app)
}

async fn exposition(State(app): State<App>) -> ([(HeaderName, &'static str); 1], String) {
    ([(CONTENT_TYPE, MEDIA_TYPE)], app.metrics())
}

impl App {
    /// What is counted, in Prometheus' text form.
    #[must_use]
    pub fn metrics(&self) -> String {
        self.identities.metrics().text(self.identities.passwords().queue().times())
    }
}

/// Counts a request when it was answered.
pub(super) async fn counted(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let (route, begun) = (route(request.uri().path()), Instant::now());
    let response = next.run(request).await;
    let status = response.status();
    let ended = match status {
        _ if status.is_server_error() => Ended::Failed,
        _ if status.is_client_error() => Ended::Refused,
        _ => Ended::Done,
    };
    metrics.request(route, ended, begun.elapsed());
    response
}

fn route(path: &str) -> Route {
    match path {
        "/token" | "/auth/token" => Route::Token,
        "/api/v1/revocations" | "/api/v1/readable" | "/certs/bundle.pem" | "/.well-known/jwks.json" => Route::Registry,
        _ => Route::Api,
    }
}
