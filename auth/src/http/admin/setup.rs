//! `/api/v1/setup`: the whole setup as one document, and what stands between it and what there is.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::{
    secret::Secret,
    settings::{Place, Placed, SettingsError, Source},
};
use thiserror::Error;
use utoipa::ToSchema;

use super::{access::SystemAdmin, secrets::check_chosen};
pub use crate::accounts::setup::Document;
use crate::{
    accounts::{
        self, Refusal,
        setup::{Existing, KeyVerifier, Line, MappingPart, Missing, Mode, Unfit, Verb, Verifiers, Wanted, difference},
    },
    http::{App, error::ApiError, input::Body},
    identity::{
        ldap::names::{Dn, NameError as NotAName},
        passwords,
    },
};

/// Largest setup, in bytes.
pub const MAX_SETUP_BYTES: usize = 1 << 20;
/// Largest body: a document with its quotes escaped, and its secrets.
pub const MAX_SETUP_BODY_BYTES: usize = 3 * MAX_SETUP_BYTES;
/// The version of the document's form.
const VERSION: &str = "1";

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SetupWanted)]
pub(super) struct SetupIn {
    /// YAML as text, or the document itself.
    setup: Value,
    /// What errors call it.
    #[serde(default = "unnamed")]
    name: String,
    /// What is in the files that the document names.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    secrets: BTreeMap<String, Secret<String>>,
    #[serde(default)]
    missing: Missing,
    #[serde(default)]
    existing: Existing,
    #[serde(default)]
    dry_run: bool,
    /// `seen` of a dry run: nothing is applied if the difference is another by now.
    seen: Option<String>,
}

fn unnamed() -> String {
    "setup".to_owned()
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SetupDifference)]
pub(super) struct SetupOut {
    changes: Vec<Line>,
    /// What is there otherwise, and stays.
    kept: Vec<Line>,
    /// To be said again by who applies just this.
    seen: String,
    applied: bool,
}

/// A text that is no setup.
#[derive(Debug, Error)]
pub enum NotASetup {
    /// It cannot be read.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// It has a name that nothing reads, or is too long.
    #[error("{0}")]
    Other(String),
}

impl From<NotASetup> for ApiError {
    fn from(error: NotASetup) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// Reads a setup from YAML; JSON is YAML too.
///
/// # Errors
/// [`NotASetup`], naming line and key.
pub fn read(name: &str, text: &str) -> Result<Document, NotASetup> {
    if text.len() >= MAX_SETUP_BYTES {
        return Err(NotASetup::Other(format!("{name}: a setup has less than {MAX_SETUP_BYTES} bytes")));
    }
    let read = Source::text(name, text)?.version(VERSION)?.read::<Document>()?;
    match read.unknown.first() {
        None => Ok(read.value),
        Some(unknown) => Err(NotASetup::Other(unknown.to_string())),
    }
}

pub(super) async fn show(State(app): State<App>, _: SystemAdmin) -> Result<Json<Document>, ApiError> {
    Ok(Json(app.accounts.setup().await?.document()?))
}

pub(super) async fn apply(
    State(app): State<App>,
    SystemAdmin(admin): SystemAdmin,
    Body(asked): Body<SetupIn, MAX_SETUP_BODY_BYTES>,
) -> Result<Json<SetupOut>, ApiError> {
    let SetupIn { setup, name, secrets, missing, existing, dry_run, seen } = asked;
    let text = match setup {
        Value::String(text) => text,
        other => other.to_string(),
    };
    let unfit = |unfit: Unfit| ApiError::Invalid(told(&name, &unfit));
    let mut document = read(&name, &text)?;
    prepare(&mut document).map_err(unfit)?;
    let mode = Mode { missing, existing };
    let mut verifiers = Verifiers { keys: keys(&app, &document, &secrets)?, ..Verifiers::default() };
    let current = app.accounts.setup().await?;
    let found = difference(&current, &document, mode, &verifiers, app.clock.now()).map_err(unfit)?;
    for file in found.password_files() {
        let password = secret(&secrets, file)?;
        passwords::check_new(password.expose())?;
        if !dry_run {
            let hash = app.identities.passwords().hash(password).await?;
            verifiers.passwords.insert(file.to_owned(), hash);
        }
    }
    if dry_run {
        return Ok(Json(SetupOut::of(&found, false)));
    }
    let wanted = Wanted { document, mode, verifiers, seen };
    match app.accounts.apply(&admin.actor, wanted).await {
        Ok(made) => Ok(Json(SetupOut::of(&made, true))),
        Err(accounts::Error::Refused(Refusal::SetupUnfit(error))) => Err(unfit(error)),
        Err(error) => Err(error.into()),
    }
}

impl SetupOut {
    fn of(difference: &accounts::setup::Difference, applied: bool) -> Self {
        let (kept, changes) = difference.lines().cloned().partition(|line| line.change == Verb::Keep);
        Self { changes, kept, seen: difference.fingerprint(), applied }
    }
}

fn told(name: &str, unfit: &Unfit) -> String {
    if unfit.place.line > 0 { format!("{name}, {unfit}") } else { unfit.to_string() }
}

/// Writes groups in their one spelling, and looks at hashes: what accounts store they do not understand.
fn prepare(document: &mut Document) -> Result<(), Unfit> {
    let unfit = |place: &Place, reason: &str| Unfit { place: place.clone(), reason: reason.to_owned() };
    for user in document.users.iter().flatten() {
        if user.password_hash.as_ref().is_some_and(|hash| !passwords::is_storable(hash)) {
            return Err(unfit(
                &user.place,
                "password_hash is neither bcrypt nor argon2, or costs more than this server grants",
            ));
        }
    }
    let teams = document.namespaces.iter_mut().flatten().flat_map(|part| part.value.teams.iter_mut().flatten());
    for mapping in teams.flat_map(|team| team.value.mappings.iter_mut().flatten()) {
        let Placed { value: MappingPart { group, .. }, place } = mapping;
        let name: Dn = group.parse().map_err(|error: NotAName| unfit(place, &error.to_string()))?;
        name.as_str().clone_into(group);
    }
    Ok(())
}

fn keys(
    app: &App,
    document: &Document,
    secrets: &BTreeMap<String, Secret<String>>,
) -> Result<BTreeMap<String, KeyVerifier>, ApiError> {
    let living = app.identities.keys();
    let key = living.current();
    let one = |file: &str| {
        let secret = secret(secrets, file)?;
        check_chosen(secret).map_err(|error| ApiError::Invalid(format!("secret_file {file}: {error}")))?;
        let verifier = KeyVerifier {
            verifier: key.verifier(secret.expose()),
            master_id: key.id().to_owned(),
            earlier: living.iter().skip(1).map(|key| key.verifier(secret.expose())).collect(),
        };
        Ok((file.to_owned(), verifier))
    };
    document.key_files().map(one).collect()
}

fn secret<'s>(secrets: &'s BTreeMap<String, Secret<String>>, file: &str) -> Result<&'s Secret<String>, ApiError> {
    secrets.get(file).ok_or_else(|| ApiError::Invalid(format!("secrets has nothing for the secret_file {file:?}")))
}
