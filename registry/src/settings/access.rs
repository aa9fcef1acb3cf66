//! `auth`: one way of access, complete.

use std::path::PathBuf;

use shared::secret::Secret;
use url::Url;

use super::{
    SettingsError,
    http::base_url,
    raw::{RawAuth, RawCompanion, RawHtpasswd, RawToken},
};
use crate::access::{Realm, key::TokenAlgorithm};

/// Where the stock registries send clients with `autoredirect`.
const AUTOREDIRECT_PATH: &str = "/auth/token";

/// Where our own auth service answers.
const TOKEN_PATH: &str = "/token";

/// How access is controlled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessSettings {
    /// By bearer token.
    Token(Box<TokenSettings>),
    /// By a password file.
    Htpasswd {
        /// What the login prompt says.
        realm: String,
        /// The file.
        path: PathBuf,
    },
    /// Not at all.
    None,
}

/// Where a key set lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksPlace {
    /// In a file.
    File(PathBuf),
    /// At an address.
    Url(Url),
}

/// Bearer tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSettings {
    /// Where clients get them.
    pub realm: Realm,
    /// Who signs them.
    pub issuer: String,
    /// For whom they are.
    pub service: String,
    /// The certificates that are believed.
    pub bundle: Option<PathBuf>,
    /// The keys that are believed.
    pub jwks: Option<JwksPlace>,
    /// The algorithms that are accepted.
    pub algorithms: Vec<TokenAlgorithm>,
}

/// The auth service.
#[derive(Debug)]
pub struct CompanionSettings {
    /// Where it answers.
    pub url: Url,
    /// What `portreeve auth service add` printed.
    pub credential: Secret<String>,
}

impl TryFrom<RawAuth> for AccessSettings {
    type Error = SettingsError;

    fn try_from(raw: RawAuth) -> Result<Self, SettingsError> {
        if raw.silly.0.is_some() {
            let reason = "lets everybody in who sends any header, and is not offered; use none, htpasswd or token";
            return Err(SettingsError::new("auth.silly", reason));
        }
        match (raw.none.0, raw.htpasswd.0, raw.token.0) {
            (_, None, None) => Ok(Self::None),
            (None, Some(htpasswd), None) => htpasswd.try_into(),
            (None, None, Some(token)) => TokenSettings::try_from(token).map(|token| Self::Token(Box::new(token))),
            _ => Err(SettingsError::new("auth", "must provide exactly one type")),
        }
    }
}

fn text(key: &str, value: Option<String>) -> Result<String, SettingsError> {
    value.filter(|text| !text.is_empty()).ok_or_else(|| SettingsError::missing(key))
}

impl TryFrom<RawHtpasswd> for AccessSettings {
    type Error = SettingsError;

    fn try_from(raw: RawHtpasswd) -> Result<Self, SettingsError> {
        let realm = text("auth.htpasswd.realm", raw.realm)?;
        Ok(Self::Htpasswd { realm, path: text("auth.htpasswd.path", raw.path)?.into() })
    }
}

impl TryFrom<RawToken> for TokenSettings {
    type Error = SettingsError;

    fn try_from(raw: RawToken) -> Result<Self, SettingsError> {
        let bundle = raw.rootcertbundle.filter(|path| !path.is_empty()).map(PathBuf::from);
        let jwks = raw.jwks.filter(|place| !place.is_empty()).map(|place| jwks_place(&place)).transpose()?;
        if bundle.is_none() && jwks.is_none() {
            let reason = "token auth requires at least one token signing key: rootcertbundle or jwks";
            return Err(SettingsError::new("auth.token", reason));
        }
        Ok(Self {
            realm: realm(raw.realm, raw.autoredirect == Some(true), raw.autoredirectpath)?,
            issuer: text("auth.token.issuer", raw.issuer)?,
            service: text("auth.token.service", raw.service)?,
            bundle,
            jwks,
            algorithms: algorithms(raw.signingalgorithms)?,
        })
    }
}

/// Without a realm the client comes back to the host that it asked, where our own auth service would be.
fn realm(fixed: Option<String>, redirect: bool, path: Option<String>) -> Result<Realm, SettingsError> {
    if redirect {
        let path = path.filter(|path| !path.is_empty()).unwrap_or_else(|| AUTOREDIRECT_PATH.to_owned());
        if !path.starts_with('/') || path.contains(['"', '\\', ' ']) {
            return Err(SettingsError::new("auth.token.autoredirectpath", "must be a path"));
        }
        return Ok(Realm::OfRequest { path });
    }
    match fixed.filter(|realm| !realm.is_empty()) {
        Some(realm) => {
            let key = "auth.token.realm";
            let url = Url::parse(&realm).map_err(|error| SettingsError::new(key, error))?;
            if !matches!(url.scheme(), "http" | "https") {
                return Err(SettingsError::new(key, "must be an address of HTTP"));
            }
            Ok(Realm::Fixed(url))
        }
        None => Ok(Realm::OfRequest { path: TOKEN_PATH.to_owned() }),
    }
}

fn jwks_place(place: &str) -> Result<JwksPlace, SettingsError> {
    if place.contains("://") {
        let url = Url::parse(place).map_err(|error| SettingsError::new("auth.token.jwks", error))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(SettingsError::new("auth.token.jwks", "must be a path or an address of HTTP"));
        }
        return Ok(JwksPlace::Url(url));
    }
    Ok(JwksPlace::File(place.into()))
}

/// The names that Distribution knows and nobody should use are passed over, as long as one remains.
fn algorithms(given: Option<Vec<String>>) -> Result<Vec<TokenAlgorithm>, SettingsError> {
    let Some(names) = given else { return Ok(TokenAlgorithm::ALL.to_vec()) };
    let known: Vec<_> = names.iter().filter_map(|name| name.parse().ok()).collect();
    if known.is_empty() {
        let reason = "names no algorithm that is accepted here; HMAC and none never are";
        return Err(SettingsError::new("auth.token.signingalgorithms", reason));
    }
    Ok(known)
}

impl TryFrom<RawCompanion> for CompanionSettings {
    type Error = SettingsError;

    fn try_from(raw: RawCompanion) -> Result<Self, SettingsError> {
        let url = text("portreeve.companion.url", raw.url)?;
        let credential = raw.credential.filter(|credential| !credential.expose().is_empty());
        Ok(Self {
            url: base_url("portreeve.companion.url", &url)?,
            credential: credential.ok_or_else(|| SettingsError::missing("portreeve.companion.credential"))?,
        })
    }
}
