//! The parameters of a token request, from a query or a form; both are written in the same way.

use shared::{basic::BasicCredentials, scope::Scopes, secret::Secret};
use url::form_urlencoded;

use super::{MAX_REQUEST_BYTES, TokenError};
use crate::accounts::names::{Label, MAX_LABEL_BYTES};

/// What a client that does not say its name is called in the list of identity tokens.
const NAMELESS_CLIENT: &str = "unnamed client";

/// The parameters that mean something here. Others are passed over, as the specification wants it.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    service: Option<String>,
    scopes: Vec<String>,
    pub(super) account: Option<String>,
    client_id: Option<String>,
    offline_token: Option<String>,
    access_type: Option<String>,
    grant_type: Option<String>,
    username: Option<String>,
    password: Option<Secret<String>>,
    refresh_token: Option<Secret<String>>,
}

/// How a POST proves who asks.
pub(super) enum Grant {
    Password(BasicCredentials),
    IdentityToken(Secret<String>),
}

impl Parameters {
    pub(super) fn parse(text: &[u8]) -> Result<Self, TokenError> {
        if text.len() > MAX_REQUEST_BYTES {
            return Err(TokenError::Invalid(format!("the request is longer than {MAX_REQUEST_BYTES} bytes")));
        }
        let mut parameters = Self::default();
        for (name, value) in form_urlencoded::parse(text) {
            let value = value.into_owned();
            match &*name {
                // `scope` may be repeated, and each may be a list.
                "scope" => parameters.scopes.push(value),
                "service" => once("service", &mut parameters.service, value)?,
                "account" => once("account", &mut parameters.account, value)?,
                "client_id" => once("client_id", &mut parameters.client_id, value)?,
                "offline_token" => once("offline_token", &mut parameters.offline_token, value)?,
                "access_type" => once("access_type", &mut parameters.access_type, value)?,
                "grant_type" => once("grant_type", &mut parameters.grant_type, value)?,
                "username" => once("username", &mut parameters.username, value)?,
                "password" => once("password", &mut parameters.password, Secret::new(value))?,
                "refresh_token" => once("refresh_token", &mut parameters.refresh_token, Secret::new(value))?,
                _ => {}
            }
        }
        Ok(parameters)
    }

    pub(super) fn service(&self) -> Result<&str, TokenError> {
        present("service", self.service.as_deref().filter(|service| !service.is_empty()))
    }

    pub(super) fn scopes(&self) -> Result<Scopes, TokenError> {
        Scopes::parse_list(self.scopes.iter().map(String::as_str))
            .map_err(|error| TokenError::Invalid(error.to_string()))
    }

    /// docker's way to ask for one on GET, and that of OAuth 2.0 on POST.
    pub(super) fn wants_identity_token(&self) -> bool {
        self.offline_token.as_deref() == Some("true") || self.access_type.as_deref() == Some("offline")
    }

    /// What the client calls itself, cut to what the list of identity tokens can show.
    pub(super) fn client(&self) -> Label {
        let mut name: String =
            self.client_id.iter().flat_map(|name| name.chars()).filter(|c| !c.is_control()).collect();
        while name.len() > MAX_LABEL_BYTES {
            name.pop();
        }
        name.parse().unwrap_or_else(|_| nameless())
    }

    /// The grant of a POST. Its secrets are taken out of the parameters.
    pub(super) fn grant(&mut self) -> Result<Grant, TokenError> {
        match self.grant_type.as_deref() {
            Some("password") => Ok(Grant::Password(BasicCredentials {
                username: present("username", self.username.take())?,
                password: present("password", self.password.take())?,
            })),
            Some("refresh_token") => Ok(Grant::IdentityToken(present("refresh_token", self.refresh_token.take())?)),
            Some(_) => Err(TokenError::UnsupportedGrant),
            None => Err(TokenError::Invalid("grant_type= is missing".into())),
        }
    }
}

#[expect(clippy::expect_used, reason = "the text is a constant, and a test parses it")]
fn nameless() -> Label {
    NAMELESS_CLIENT.parse().expect("a label")
}

/// A parameter that stands twice could be read in two ways by two programs.
fn once<T>(name: &'static str, slot: &mut Option<T>, value: T) -> Result<(), TokenError> {
    if slot.replace(value).is_some() {
        return Err(TokenError::Invalid(format!("{name}= is given more than once")));
    }
    Ok(())
}

fn present<T>(name: &'static str, value: Option<T>) -> Result<T, TokenError> {
    value.ok_or_else(|| TokenError::Invalid(format!("{name}= is missing")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> String {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("client_id", text).finish();
        Parameters::parse(query.as_bytes()).unwrap().client().as_str().to_owned()
    }

    #[test]
    fn a_client_is_listed_by_a_name_that_can_be_shown() {
        assert_eq!(client("docker"), "docker");
        assert_eq!(client("a\r\nb\u{1b}[31m"), "ab[31m");
        assert_eq!(client(""), NAMELESS_CLIENT);
        assert_eq!(Parameters::default().client().as_str(), NAMELESS_CLIENT);
        assert_eq!(client(&"ü".repeat(100)), "ü".repeat(50));
    }

    #[test]
    fn a_form_does_not_print_its_secrets() {
        let form = Parameters::parse(b"password=hunter2&refresh_token=hunter2").unwrap();
        assert!(!format!("{form:?}").contains("hunter2"));
    }
}
