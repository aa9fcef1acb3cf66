//! What others need to believe our tokens: the bundle for registries, the JWKS document for whoever reads that.

use axum::{
    Router,
    extract::State,
    http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    response::{IntoResponse, Response},
    routing::get,
};

use super::App;

/// A verifier that fetches the keys should come back well within the week that a leaf signs before the next one.
const CACHED: &str = "public, max-age=300";

/// `/certs/bundle.pem`, the token authority alone, and `/.well-known/jwks.json`.
pub(super) fn router() -> Router<App> {
    Router::new().route("/certs/bundle.pem", get(bundle)).route("/.well-known/jwks.json", get(jwks))
}

async fn bundle(State(app): State<App>) -> Response {
    document("application/x-pem-file", app.bundle.to_string())
}

async fn jwks(State(app): State<App>) -> Response {
    document("application/json", app.tokens.issuer().jwks())
}

fn document(media_type: &'static str, text: String) -> Response {
    ([(CONTENT_TYPE, media_type), (CACHE_CONTROL, CACHED), (X_CONTENT_TYPE_OPTIONS, "nosniff")], text).into_response()
}

#[cfg(test)]
mod tests;
