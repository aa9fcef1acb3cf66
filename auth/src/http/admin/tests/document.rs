//! The document for other languages, and answers held against it.

use std::{path::Path, sync::LazyLock};

use axum::http::StatusCode;
use serde_json::Value;
use shared::openapi::{self, Route};

use super::super::{ROUTES, described};

static CHECKED_IN: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../../../docs/openapi/auth.json")).unwrap());

#[test]
fn the_document_for_other_languages_is_what_the_routes_are() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let rows = openapi::rows(&std::fs::read_to_string(docs.join("api.md")).unwrap());
    let of = |(route, said): (&super::Route, _)| Route { path: route.path, method: route.method, said };
    let routes = ROUTES.iter().zip(described()).map(of).collect();
    let document = openapi::document("Portreeve auth: the admin API", routes, &rows).unwrap();
    openapi::compare(&document, &docs.join("openapi/auth.json")).unwrap();
}

/// Fails where the server answers something else than the document says.
pub(super) fn is_as_documented(method: &str, path: &str, status: StatusCode, body: &[u8]) {
    // What registries ask is no part of the admin API.
    if ["/api/v1/readable", "/api/v1/revocations"].contains(&path) {
        return;
    }
    openapi::conforms(&CHECKED_IN, method, path, status.as_u16(), body).expect("the document in docs/openapi is true");
}
