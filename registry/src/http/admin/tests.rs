//! The table of routes, held against what its handlers' types say.

use std::path::Path;

use shared::openapi::{self, Route};

use super::{ROUTES, described};

#[test]
fn every_route_says_who_its_handler_lets_in() {
    for (route, said) in ROUTES.iter().zip(described()) {
        assert!(
            route.needs.fits(said.caller),
            "{} {}: {:?} of {:?}",
            route.method,
            route.path,
            route.needs,
            said.caller
        );
    }
}

#[test]
fn the_document_for_other_languages_is_what_the_routes_are() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let rows = openapi::rows(&std::fs::read_to_string(docs.join("api.md")).unwrap());
    let of = |(route, said): (&super::Route, _)| Route { path: route.path, method: route.method, said };
    let routes = ROUTES.iter().zip(described()).map(of).collect();
    let document = openapi::document("Portreeve registry: the admin API", routes, &rows).unwrap();
    openapi::compare(&document, &docs.join("openapi/registry.json")).unwrap();
}
