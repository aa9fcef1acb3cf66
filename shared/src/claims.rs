//! What a token says: its claims (Distribution token specification, "Claim set"; design: "Verifying", rules 4 and 5).

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::{
    access::{Access, AccessError},
    shortfall::Shortfall,
    strict_json::{self, StrictJsonError},
};

/// The latest time a claim may name, in seconds since 1970: the end of the year 9999 in UTC.
pub const LATEST_TIME: i64 = 253_402_300_799;

/// The earliest time a claim may name: the beginning of 1970. No token is older, and a negative time is somebody's
/// mistake or attempt. Between the two, leeway can be added and taken without overflow, and every time can be printed.
pub const EARLIEST_TIME: i64 = 0;

/// The claims of a token, well-formed, but not yet believed: that takes a verifier, a trust and a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenClaims {
    /// `iss`: who signed it.
    pub issuer: String,
    /// `sub`: who it speaks for; absent or empty if for nobody in particular.
    pub subject: Option<String>,
    /// `aud`: the services it is for.
    pub audience: Audience,
    /// `exp`: when it ends, in seconds since 1970, UTC.
    pub expires_at: i64,
    /// `nbf`: when it begins, in the same seconds.
    pub not_before: Option<i64>,
    /// `iat`: when it was made, in the same seconds. Nothing follows from it.
    pub issued_at: Option<i64>,
    /// `jti`: its own identifier.
    pub id: Option<String>,
    /// `cid`: the credential it was issued for.
    pub credential: Option<i64>,
    /// `pid`: the principal it was issued to.
    pub principal: Option<i64>,
    /// `ep`: the value of the issuer's revocation counter when it was made.
    pub epoch: Option<u64>,
    /// `access`: what it allows.
    pub access: Vec<Access>,
    /// `short`: why it allows less than was asked for. Nothing is decided by it.
    pub short: Vec<Shortfall>,
}

/// The services that a token is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Written as a plain string. Distribution 2.8 registries read nothing else.
    One(String),
    /// Written as a list.
    Many(Vec<String>),
}

impl Audience {
    /// Whether the service is among them.
    pub fn contains(&self, service: &str) -> bool {
        match self {
            Self::One(one) => one == service,
            Self::Many(many) => many.iter().any(|one| one == service),
        }
    }
}

/// Why claims are malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ClaimsError {
    /// They are no JSON that can be read in one way only.
    #[error(transparent)]
    Json(#[from] StrictJsonError),
    /// They are JSON, but not an object.
    #[error("the claims are not an object")]
    NotAnObject,
    /// A claim that every token must have is missing.
    #[error("the claim {0} is missing")]
    Missing(&'static str),
    /// A claim has a value of another type than it must have.
    #[error("the claim {0} has a value of the wrong type")]
    WrongType(&'static str),
    /// A time lies outside the years 1970 to 9999.
    #[error("the claim {0} is no time between the years 1970 and 9999")]
    Time(&'static str),
    /// An entry of `access` is malformed.
    #[error(transparent)]
    Access(AccessError),
}

impl TokenClaims {
    /// Reads the claims of a token, base64url already taken off.
    ///
    /// Claims that are unknown here are passed over. An access entry that could match nothing, because no resource can
    /// have its name, is left out.
    ///
    /// # Errors
    /// [`ClaimsError`] if they are malformed.
    pub fn parse(text: &[u8]) -> Result<Self, ClaimsError> {
        let Value::Object(claims) = strict_json::parse(text)? else { return Err(ClaimsError::NotAnObject) };
        let claims = Members(&claims);
        Ok(Self {
            issuer: claims.text_or_null("iss")?.ok_or(ClaimsError::Missing("iss"))?,
            subject: claims.text_or_null("sub")?,
            audience: claims.audience("aud")?,
            expires_at: claims.time("exp")?.ok_or(ClaimsError::Missing("exp"))?,
            not_before: claims.time("nbf")?,
            issued_at: claims.time("iat")?,
            id: claims.text_or_null("jti")?,
            credential: claims.when_present("cid", Value::as_i64)?,
            principal: claims.when_present("pid", Value::as_i64)?,
            epoch: claims.when_present("ep", Value::as_u64)?,
            access: claims.access("access")?,
            short: Shortfall::read_all(claims.0.get("short")),
        })
    }

    /// The claims as a token carries them. [`TokenClaims::parse`] reads them back, provided that their times are in its
    /// range.
    pub fn to_json(&self) -> String {
        // Printed by way of `Value`, writing cannot fail: every name is a string and no number is infinite.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The members of the claims object, each read in the one way that its claim has.
struct Members<'a>(&'a Map<String, Value>);

impl Members<'_> {
    /// A member that may be absent, but not null.
    fn when_present<T>(
        &self,
        name: &'static str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, ClaimsError> {
        self.0.get(name).map(|value| read(value).ok_or(ClaimsError::WrongType(name))).transpose()
    }

    fn text_or_null(&self, name: &'static str) -> Result<Option<String>, ClaimsError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(ClaimsError::WrongType(name)),
        }
    }

    fn time(&self, name: &'static str) -> Result<Option<i64>, ClaimsError> {
        let is_integer = |value: &Value| value.is_i64() || value.is_u64();
        let Some(value) = self.when_present(name, |value| is_integer(value).then(|| value.clone()))? else {
            return Ok(None);
        };
        let in_range = |time: &i64| (EARLIEST_TIME..=LATEST_TIME).contains(time);
        value.as_i64().filter(in_range).map(Some).ok_or(ClaimsError::Time(name))
    }

    fn audience(&self, name: &'static str) -> Result<Audience, ClaimsError> {
        match self.0.get(name) {
            None => Err(ClaimsError::Missing(name)),
            Some(Value::String(one)) => Ok(Audience::One(one.clone())),
            Some(Value::Array(many)) => {
                let texts = many.iter().map(|one| one.as_str().map(str::to_owned));
                texts.collect::<Option<_>>().map(Audience::Many).ok_or(ClaimsError::WrongType(name))
            }
            Some(_) => Err(ClaimsError::WrongType(name)),
        }
    }

    fn access(&self, name: &'static str) -> Result<Vec<Access>, ClaimsError> {
        let entries = match self.0.get(name) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(entries)) => entries,
            Some(_) => return Err(ClaimsError::WrongType(name)),
        };
        let entries = entries.iter().map(Access::from_json).filter(|entry| *entry != Err(AccessError::Unnameable));
        entries.collect::<Result<_, _>>().map_err(ClaimsError::Access)
    }
}

impl Serialize for TokenClaims {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = Present(serializer.serialize_map(None)?);
        members.entry("iss", Some(&self.issuer))?;
        members.entry("sub", self.subject.as_ref())?;
        members.entry("aud", Some(&self.audience))?;
        members.entry("iat", self.issued_at)?;
        members.entry("nbf", self.not_before)?;
        members.entry("exp", Some(self.expires_at))?;
        members.entry("jti", self.id.as_ref())?;
        members.entry("cid", self.credential)?;
        members.entry("pid", self.principal)?;
        members.entry("ep", self.epoch)?;
        members.entry("access", Some(&self.access))?;
        members.entry("short", Some(&self.short).filter(|short| !short.is_empty()))?;
        members.0.end()
    }
}

/// Writes the members that are there: a null would be refused by the reader.
struct Present<M>(M);

impl<M: SerializeMap> Present<M> {
    fn entry(&mut self, name: &'static str, value: Option<impl Serialize>) -> Result<(), M::Error> {
        value.map_or(Ok(()), |value| self.0.serialize_entry(name, &value))
    }
}

impl Serialize for Audience {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::One(one) => one.serialize(serializer),
            Self::Many(many) => many.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests;
