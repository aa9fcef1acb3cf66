//! `/api/v1/doctor`: what this server says of itself to whoever examines a registry, and the tokens to show there. They grant nothing.

use std::collections::BTreeSet;

use axum::{Json, extract::State};
use ring::digest::{SHA256, digest};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde::Deserialize;
use shared::database::Dialect;
use utoipa::ToSchema;

use super::access::SystemAdmin;
use crate::{
    accounts::{MAX_PAGE, principals::Page},
    doctor::Probe,
    http::{App, error::ApiError, input::Body},
    signing::SigningError,
};

/// Longest names that are signed, in bytes.
const MAX_NAME_BYTES: usize = 255;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ProbeWanted)]
pub(super) struct Patient {
    /// What the registry calls itself.
    service: String,
    /// The `iss` to sign under, instead of ours.
    issuer: Option<String>,
}

pub(super) async fn probe(
    State(app): State<App>,
    _: SystemAdmin,
    Body(Patient { service, issuer }): Body<Patient>,
) -> Result<Json<Probe>, ApiError> {
    let fits = |name: &str| name.len() <= MAX_NAME_BYTES && !name.contains(char::is_control);
    if !fits(&service) || !issuer.as_deref().is_none_or(fits) {
        return Err(ApiError::Invalid(format!("a name has at most {MAX_NAME_BYTES} bytes, no control characters")));
    }
    let active = app.signing.active().await?;
    let own = app.accounts.service(&service).await?;
    let some = Page { after: None, limit: MAX_PAGE };
    let known = app.accounts.services(&some).await?;
    let epoch = app.accounts.epoch().await?;
    // What a registry calls itself is its own word: nothing is signed for a name that tokens are not made for.
    let ours = own
        .as_ref()
        .map(|_| app.signing.probe(&service, issuer.as_deref(), epoch).map_err(SigningError::from))
        .transpose()?;
    let authority = CertificateDer::from_pem_slice(app.bundle.as_bytes()).map(|der| digest(&SHA256, &der));
    Ok(Json(Probe {
        now: app.clock.now(),
        issuer: app.signing.issuer().name().to_owned(),
        token: ours.map(|issued| issued.token),
        foreign: app.signing.stranger(&service, epoch)?.token,
        kid: active.kid,
        begins: active.begins,
        ends: active.ends,
        chained: active.chained,
        bundle: authority
            .map(|hash| hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
            .unwrap_or_default(),
        credential: own.as_ref().is_some_and(|own| own.follows_the_feed),
        fed_at: app.tokens.fed_at(&service),
        replicas: app.accounts.dialect() == Dialect::Postgres,
        token_seconds: own.as_ref().and_then(|own| own.token_life).unwrap_or(app.tokens.life()).as_secs(),
        services: own
            .iter()
            .chain(&known)
            .map(|known| known.name.clone())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
    }))
}
