//! What a directory is asked, and how: settings that make sense.

use std::{path::PathBuf, time::Duration};

use shared::secret::Secret;
use thiserror::Error;
use url::Url;

use super::names::{Attribute, Dn, Filter, Template};
use crate::accounts::names::Label;

/// Most servers of one directory.
pub const MAX_URLS: usize = 8;

/// One directory.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the provider is called.
    pub name: Label,
    /// Its servers, in the order in which they are asked.
    pub servers: Vec<Server>,
    /// What TLS trusts and shows.
    pub tls: Tls,
    /// Who searches.
    pub searcher: Searcher,
    /// How a user's entry is named without a search.
    pub template: Option<Template>,
    /// Whose entries are users'.
    pub users: Users,
    /// Where their groups are; None: nobody asks for groups.
    pub groups: Option<Groups>,
    /// How long it is waited for.
    pub limits: Limits,
}

/// Where groups are.
#[derive(Debug, Clone)]
pub struct Groups {
    /// Where they lie.
    pub base: String,
    /// Which entries there are groups.
    pub filter: Filter,
    /// Whether `memberOf` of a user counts too.
    pub member_of: bool,
    /// What becomes of groups in groups.
    pub nested: Nested,
}

/// What becomes of groups in groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nested {
    /// The directory follows them where it says that it can, or else we do.
    Auto,
    /// The directory follows them (Active Directory).
    InChain,
    /// We follow them, level by level.
    Walk,
    /// Nobody follows them.
    No,
}

impl Nested {
    /// The word of the settings.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::InChain => "inchain",
            Self::Walk => "walk",
            Self::No => "no",
        }
    }
}

/// How long a directory is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Until a server can be asked: connecting, StartTLS and the handshake of TLS together.
    pub connect: Duration,
    /// One operation: a bind, a search, one page of a long one.
    pub operation: Duration,
    /// All pages of a reading of everybody, however quickly each comes.
    pub reading: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), operation: Duration::from_secs(10), reading: Duration::from_secs(300) }
    }
}

/// A server of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its name or address: what its certificate must say.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How passwords are kept from those on the way.
    pub security: Security,
}

/// How passwords are kept from those on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first byte.
    Ldaps,
    /// TLS before anything else is asked. A server that does not begin it is not asked anything.
    StartTls,
    /// Not at all: somebody said so by name.
    Plain,
}

/// A URL that is no directory's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not ldaps://HOST[:PORT] or ldap://HOST[:PORT]")]
pub struct NotADirectory(String);

impl Server {
    /// Reads the URL of a server. `ldap://` begins with StartTLS, unless `insecure`.
    ///
    /// # Errors
    /// [`NotADirectory`].
    pub fn from_url(text: &str, insecure: bool) -> Result<Self, NotADirectory> {
        // A user and a password in it would be printed with it, here and in every log.
        let not =
            || NotADirectory(if text.contains('@') { "…@…".to_owned() } else { text.chars().take(128).collect() });
        let url = Url::parse(text).map_err(|_| not())?;
        let (security, port) = match url.scheme() {
            "ldaps" => (Security::Ldaps, 636),
            "ldap" if insecure => (Security::Plain, 389),
            "ldap" => (Security::StartTls, 389),
            _ => return Err(not()),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(not)?;
        let bare =
            url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
        if !bare || !matches!(url.path(), "" | "/") {
            return Err(not());
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port: url.port().unwrap_or(port), security })
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.security == Security::Ldaps { "ldaps" } else { "ldap" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

/// What TLS trusts and shows.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// Authorities that sign the servers' certificates; None: those of this machine.
    pub authorities: Option<Pem>,
    /// A certificate to show, with its key.
    pub certificate: Option<(Pem, Pem)>,
}

/// Where certificates or a key stand, as PEM.
#[derive(Debug, Clone)]
pub enum Pem {
    /// In a file.
    File(PathBuf),
    /// Here.
    Text(Secret<String>),
}

/// Who searches.
#[derive(Debug, Clone)]
pub enum Searcher {
    /// Nobody in particular.
    Anonymous,
    /// An account of the directory.
    Account {
        /// Its distinguished name.
        name: String,
        /// Its password.
        password: Password,
    },
    /// Whoever the certificate says (SASL EXTERNAL).
    Certificate,
}

/// Where a password stands.
#[derive(Debug, Clone)]
pub enum Password {
    /// In the settings.
    Here(Secret<String>),
    /// In a file, read at each connection: it may be changed without a restart. One line break at its end is not the password's.
    File(PathBuf),
}

/// Whose entries are users', and what they say.
#[derive(Debug, Clone)]
pub struct Users {
    /// Where they lie.
    pub base: String,
    /// How deep.
    pub scope: Scope,
    /// Which of them are users.
    pub filter: Filter,
    /// What users may type as their name.
    pub login: Vec<Attribute>,
    /// What they are called here.
    pub name: Attribute,
    /// What never changes.
    pub id: ExternalId,
    /// What people call them.
    pub display: Attribute,
}

/// How deep a search goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// That entry alone.
    Base,
    /// What lies directly below it.
    One,
    /// Everything below it, and itself.
    Subtree,
}

/// What never changes about an entry, whatever it is called and wherever it is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExternalId {
    /// A text, in every directory that follows RFC 4530.
    EntryUuid,
    /// Sixteen bytes, in Active Directory.
    ObjectGuid,
}

impl ExternalId {
    /// The attribute.
    #[must_use]
    pub fn attribute(self) -> &'static str {
        match self {
            Self::EntryUuid => "entryUUID",
            Self::ObjectGuid => "objectGUID",
        }
    }

    /// The text that is kept, from what the directory says; the forms that administrators see in their tools.
    #[must_use]
    pub fn text_of(self, value: &[u8]) -> Option<String> {
        match self {
            Self::EntryUuid => {
                let text = std::str::from_utf8(value).ok()?.to_ascii_lowercase();
                let is_uuid = text.len() == 36 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
                is_uuid.then_some(text)
            }
            Self::ObjectGuid => {
                let bytes: [u8; 16] = value.try_into().ok()?;
                let hex = |indices: &[usize]| {
                    indices.iter().map(|index| format!("{:02x}", bytes[*index])).collect::<String>()
                };
                // Its first three numbers lie the other way round.
                let parts =
                    [hex(&[3, 2, 1, 0]), hex(&[5, 4]), hex(&[7, 6]), hex(&[8, 9]), hex(&[10, 11, 12, 13, 14, 15])];
                Some(parts.join("-"))
            }
        }
    }

    /// The filter that finds an entry again by the text that is kept.
    #[must_use]
    pub fn filter_of(self, text: &str) -> Option<Filter> {
        match self {
            Self::EntryUuid => Some(Filter::equals(self.attribute(), text.as_bytes())),
            Self::ObjectGuid => {
                let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
                let pairs =
                    digits.chunks_exact(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
                let mut bytes: [u8; 16] = pairs.collect::<Option<Vec<_>>>()?.try_into().ok()?;
                bytes[0..4].reverse();
                bytes[4..6].reverse();
                bytes[6..8].reverse();
                Some(Filter::equals(self.attribute(), &bytes))
            }
        }
    }
}

/// Reads a distinguished name of the settings as the directory is to get it: its own spelling stays.
///
/// # Errors
/// It is none.
pub fn written_name(text: &str) -> Result<String, super::names::NameError> {
    text.parse::<Dn>().map(|_| text.to_owned())
}

/// Reads a search filter of the settings; None if it is none.
#[must_use]
pub fn written_filter(text: &str) -> Option<Filter> {
    super::connection::is_filter(text).then(|| Filter::written(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_server_and_nothing_else() {
        let server = |url: &str| Server::from_url(url, false).map(|server| (server.to_string(), server.security));
        assert_eq!(server("ldaps://dc1.corp.test"), Ok(("ldaps://dc1.corp.test:636".into(), Security::Ldaps)));
        assert_eq!(server("ldap://dc1:1389/"), Ok(("ldap://dc1:1389".into(), Security::StartTls)));
        assert_eq!(server("ldap://[::1]:1389"), Ok(("ldap://[::1]:1389".into(), Security::StartTls)));
        assert_eq!(Server::from_url("ldap://dc1", true).unwrap().security, Security::Plain);
        assert_eq!(Server::from_url("ldaps://dc1", true).unwrap().security, Security::Ldaps, "TLS is not taken away");
        for url in ["", "dc1", "http://dc1", "ldapi:///run/slapd", "ldap://", "ldap://dc1/dc=x", "ldaps://dc1?uid"] {
            assert!(server(url).is_err(), "{url}");
        }
        let error = server("ldaps://admin:hunter2@dc1").unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn ids_are_written_as_administrators_know_them() {
        let guid = [0x78, 0x56, 0x34, 0x12, 0xbc, 0x9a, 0xf0, 0xde, 1, 2, 3, 4, 5, 6, 7, 8];
        let text = ExternalId::ObjectGuid.text_of(&guid).unwrap();
        assert_eq!(text, "12345678-9abc-def0-0102-030405060708");
        assert_eq!(ExternalId::ObjectGuid.filter_of(&text), Some(Filter::equals("objectGUID", &guid)));
        assert_eq!(ExternalId::ObjectGuid.text_of(&guid[1..]), None);
        let uuid = "7B1E5E2A-0000-1040-8000-ABCDEF012345";
        assert_eq!(ExternalId::EntryUuid.text_of(uuid.as_bytes()).as_deref(), Some(&*uuid.to_lowercase()));
        assert_eq!(ExternalId::EntryUuid.text_of(b"12345"), None, "an employee number is no immutable id");
    }
}
