//! Requests for credentials, and the credentials that come of them.

use std::time::Duration;

use serde::Deserialize;
use shared::{clock::Timestamp, secret::Secret};
use utoipa::ToSchema;

use crate::{
    accounts::{PrincipalId, credentials::NewCredential, names::Label, networks::Networks},
    http::{App, error::ApiError},
    identity::passwords::MAX_PASSWORD_BYTES,
    permissions::{ApiLevel, CredentialScope},
    secrets::{MIN_CHOSEN_LENGTH, SecretKind, Shape, mint},
};

/// What somebody wants a token or a key to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CredentialWanted)]
pub(super) struct CredentialIn {
    /// What it is called.
    name: String,
    /// What it may be used for, as `acme/**:pull,push base/*:pull`; missing: all that its owner may.
    scope: Option<CredentialScope>,
    /// What it may do on this API.
    #[serde(default)]
    api: ApiLevel,
    /// Where it may be used from.
    networks: Option<Networks>,
    /// When it ends.
    #[serde(default, deserialize_with = "time")]
    expires_at: Option<Timestamp>,
    /// After how many days without a use it ends.
    idle_days: Option<u32>,
}

pub(super) use crate::accounts::credentials::MAX_IDLE_DAYS;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads a moment, RFC 3339.
pub(super) fn time<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(serde::de::Error::custom)).transpose()
}

impl CredentialIn {
    /// Ends it no later than what makes it, used or not.
    pub(super) fn end_with(&mut self, ends: Option<Timestamp>, idle: Option<Duration>) -> Result<(), ApiError> {
        if let Some(ends) = ends {
            if self.expires_at.is_some_and(|own| own > ends) {
                let later = format!("expires_at is later than the end of the credential that asks, {ends}");
                return Err(ApiError::Invalid(later));
            }
            self.expires_at.get_or_insert(ends);
        }
        if let Some(idle) = idle {
            let days = u32::try_from(idle.as_secs() / DAY.as_secs()).unwrap_or(MAX_IDLE_DAYS);
            if self.idle_days.is_some_and(|own| own > days) {
                return Err(ApiError::Invalid(format!(
                    "the credential that asks ends after {days} days without a use"
                )));
            }
            self.idle_days.get_or_insert(days);
        }
        Ok(())
    }

    fn idle(&self) -> Result<Option<Duration>, ApiError> {
        match self.idle_days {
            None => Ok(None),
            Some(days) if (1..=MAX_IDLE_DAYS).contains(&days) => Ok(Some(DAY * days)),
            Some(_) => Err(ApiError::Invalid(format!("idle_days is 1 to {MAX_IDLE_DAYS}"))),
        }
    }

    /// The row, and the secret if it is ours to make.
    pub(super) fn prepare(
        self,
        app: &App,
        owner: PrincipalId,
        kind: SecretKind,
        chosen: Option<Secret<String>>,
    ) -> Result<(NewCredential, Option<Secret<String>>), ApiError> {
        let name: Label = self.name.parse()?;
        in_the_future(self.expires_at, app)?;
        let idle = self.idle()?;
        let key = app.identities.keys().current();
        let under_earlier = |secret: &Secret<String>| {
            app.identities.keys().iter().skip(1).map(|key| key.verifier(secret.expose())).collect()
        };
        let earlier = chosen.as_ref().map(under_earlier).unwrap_or_default();
        let (lookup, verifier, shown) = match chosen {
            Some(secret) => {
                check_chosen(&secret)?;
                (None, key.verifier(secret.expose()), None)
            }
            None => {
                let minted = mint(kind);
                (Some(minted.lookup), key.verifier(minted.text.expose()), Some(minted.text))
            }
        };
        let new = NewCredential {
            principal: owner,
            name,
            lookup,
            verifier,
            master_id: key.id().to_owned(),
            earlier,
            scope: self.scope,
            networks: self.networks,
            api: self.api,
            idle,
            expires_at: self.expires_at,
        };
        Ok((new, shown))
    }
}

/// A moment that is to come, if any.
pub(super) fn in_the_future(time: Option<Timestamp>, app: &App) -> Result<(), ApiError> {
    if time.is_some_and(|time| time <= app.clock.now()) {
        return Err(ApiError::Invalid("expires_at is in the past".to_owned()));
    }
    Ok(())
}

/// A secret that the caller chose is compared by a fast HMAC, so it must be long; and it must not look like one of ours.
pub(super) fn check_chosen(secret: &Secret<String>) -> Result<(), ApiError> {
    let text = secret.expose();
    if text.chars().count() < MIN_CHOSEN_LENGTH || text.len() > MAX_PASSWORD_BYTES || text.contains(char::is_control) {
        let bounds = format!(
            "a chosen secret has {MIN_CHOSEN_LENGTH} characters at least and {MAX_PASSWORD_BYTES} bytes at most, no control characters"
        );
        return Err(ApiError::Invalid(bounds));
    }
    match Shape::of(text) {
        Shape::Foreign => Ok(()),
        Shape::Damaged | Shape::Ours { .. } => {
            Err(ApiError::Invalid("a chosen secret does not begin like one that this server makes".to_owned()))
        }
    }
}
