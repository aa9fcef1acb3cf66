//! One connection to a directory. This is the one file that knows `ldap3`.

use std::{collections::HashMap, time::Duration};

use ldap3::{
    Ldap, LdapConnAsync, LdapConnSettings, LdapResult, ResultEntry, SearchEntry, SearchOptions, StdStream,
    controls::{Control, PagedResults, RawControl},
    parse_filter,
};
use shared::secret::Secret;
use tokio::{task::JoinHandle, time::timeout};
use tokio_rustls::TlsConnector;

use super::{
    config::{Limits, Scope, Server},
    fault::Fault,
    gate::{Awaited, Gate, Reached},
    message,
    names::Filter,
};

/// Entries of one page.
const PAGE: i32 = 500;
/// Most entries that are read in pages.
const MAX_ENTRIES: usize = 200_000;
/// Most that they take together, in MiB of memory: a page alone may bring [`message::MAX_WEIGHT`], and pages have no end of their own.
pub(super) const MAX_KEPT_MIB: usize = 256;
/// What a value costs in memory besides its bytes.
const VALUE_WEIGHT: usize = 128;
/// The control of paged results, RFC 2696.
const PAGED_RESULTS: &str = "1.2.840.113556.1.4.319";

/// One connection. It closes when it is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    ldap: Ldap,
    gate: Gate,
    driver: JoinHandle<()>,
    /// How long one operation may take.
    limit: Duration,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// What is searched for.
#[derive(Debug, Clone)]
pub(super) struct Search {
    pub(super) base: String,
    pub(super) scope: Scope,
    pub(super) filter: Filter,
    pub(super) attributes: Vec<String>,
    pub(super) reading: Reading,
}

/// How many entries are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// So many, in one answer. If there are more, the answer is incomplete.
    AtMost(i32),
    /// All of them, page by page.
    All,
}

/// What a bind says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bound {
    /// The password is right.
    Yes,
    /// It is not, or the account may not sign in; with the server's words for it.
    No { code: u32, text: String },
}

/// An entry of a directory.
#[derive(Debug, Clone, Default)]
pub(super) struct Entry {
    /// Its distinguished name, as the directory spells it.
    pub(super) name: String,
    /// By the attribute's name in small letters, because directories answer in their own spelling.
    attributes: HashMap<String, Vec<Vec<u8>>>,
}

impl Entry {
    /// The values of an attribute.
    pub(super) fn values(&self, attribute: &str) -> &[Vec<u8>] {
        self.attributes.get(&attribute.to_ascii_lowercase()).map_or(&[], Vec::as_slice)
    }

    /// The values that are text.
    pub(super) fn texts(&self, attribute: &str) -> impl Iterator<Item = &str> {
        self.values(attribute).iter().filter_map(|value| std::str::from_utf8(value).ok())
    }

    /// What it takes, in bytes of memory.
    fn weight(&self) -> usize {
        let values = self.attributes.values().flatten().map(|value| value.len() + VALUE_WEIGHT);
        VALUE_WEIGHT + self.name.len() + values.sum::<usize>()
    }

    /// One value that is text: values have no order, so it is the first in ours.
    pub(super) fn text(&self, attribute: &str) -> Option<&str> {
        self.texts(attribute).min()
    }
}

/// True for a password that is empty, or would be for a directory that stops reading at a NUL: a name beside it signs in nobody, and is
/// answered yes (RFC 4513, section 5.1.2).
pub(super) fn signs_in_nobody(password: &Secret<String>) -> bool {
    password.expose().split('\0').next().is_none_or(|password| password.trim().is_empty())
}

/// True if the text is a search filter.
pub(super) fn is_filter(text: &str) -> bool {
    text.starts_with('(') && parse_filter(text).is_ok()
}

impl Connection {
    /// Connects, without saying who asks.
    pub(super) async fn open(server: &Server, tls: &TlsConnector, limits: Limits) -> Result<Self, Fault> {
        Self::over(Reached::server(server, limits.connect).await?, server, tls, limits).await
    }

    /// Begins TLS with a server that was reached, without saying who asks.
    pub(super) async fn over(
        reached: Reached,
        server: &Server,
        tls: &TlsConnector,
        limits: Limits,
    ) -> Result<Self, Fault> {
        let (gate, socket) = Gate::open(reached, server, tls).await?;
        let settings = LdapConnSettings::new().set_std_stream(StdStream::Unix(socket));
        let opened = LdapConnAsync::with_settings(settings, "ldapi:///").await;
        let (connection, ldap) = opened.map_err(|error| Fault::Here(error.to_string()))?;
        let driver = tokio::spawn(async move {
            // How it ended is what the gate knows.
            let _ = connection.drive().await;
        });
        Ok(Self { ldap, gate, driver, limit: limits.operation })
    }

    /// Says who asks. A connection that was answered no is of no more use.
    pub(super) async fn bind(&mut self, name: &str, password: &Secret<String>) -> Result<Bound, Fault> {
        // The last place where it can be seen.
        if signs_in_nobody(password) || name.trim().is_empty() {
            return Ok(Bound::No { code: 49, text: String::new() });
        }
        self.gate.expect(Awaited::Bind);
        let answered = timeout(self.limit, self.ldap.simple_bind(name, password.expose())).await;
        self.bound(answered)
    }

    /// Says that the certificate says who asks.
    pub(super) async fn bind_by_certificate(&mut self) -> Result<Bound, Fault> {
        self.gate.expect(Awaited::Bind);
        let answered = timeout(self.limit, self.ldap.sasl_external_bind()).await;
        self.bound(answered)
    }

    fn bound(
        &self,
        answered: Result<ldap3::result::Result<LdapResult>, tokio::time::error::Elapsed>,
    ) -> Result<Bound, Fault> {
        let slow = |_| Fault::Slow { what: "signing in", limit: self.limit };
        let result = answered.map_err(slow)?.map_err(|_| self.gate.why_closed())?;
        match result.rc {
            0 => Ok(Bound::Yes),
            // Wrong, locked, not allowed from here or at this hour, no such entry: whatever it is, it is about this account.
            19 | 32 | 34 | 48 | 49 | 50 | 53 => Ok(Bound::No { code: result.rc, text: result.text }),
            code => Err(Fault::Refused { what: "signing in", code, text: result.text }),
        }
    }

    /// Searches. An answer that is not whole is none.
    pub(super) async fn search(&mut self, search: &Search) -> Result<Vec<Entry>, Fault> {
        match search.reading {
            Reading::AtMost(limit) => {
                let options = SearchOptions::new().sizelimit(limit);
                self.ldap.with_search_options(options);
                Ok(self.one_answer(search).await?.0)
            }
            Reading::All => self.pages(search).await,
        }
    }

    async fn pages(&mut self, search: &Search) -> Result<Vec<Entry>, Fault> {
        let (mut entries, mut kept) = (Vec::new(), 0);
        let mut cookie = Vec::new();
        loop {
            // Critical: a server that cannot page must not answer with as much as it likes.
            let control = PagedResults { size: PAGE, cookie };
            self.ldap.with_controls(RawControl { crit: true, ..control.into() });
            let (page, controls) = self.one_answer(search).await?;
            let control = controls.into_iter().find(|Control(_, raw)| raw.ctype == PAGED_RESULTS);
            let value =
                control.and_then(|Control(_, raw)| raw.val).ok_or_else(|| nonsense("a page without its mark"))?;
            let next = message::page_cookie(&value).ok_or_else(|| nonsense("a page without its mark"))?;
            // One that goes on for ever without saying anything must end as well.
            if page.is_empty() && !next.is_empty() {
                return Err(nonsense("an empty page that is not the last"));
            }
            kept += page.iter().map(Entry::weight).sum::<usize>();
            entries.extend(page);
            if kept > MAX_KEPT_MIB << 20 {
                return Err(Fault::TooMany { what: "MiB of entries", limit: MAX_KEPT_MIB });
            }
            if entries.len() > MAX_ENTRIES {
                return Err(Fault::TooMany { what: "entries", limit: MAX_ENTRIES });
            }
            if next.is_empty() {
                return Ok(entries);
            }
            cookie = next;
        }
    }

    async fn one_answer(&mut self, search: &Search) -> Result<(Vec<Entry>, Vec<Control>), Fault> {
        self.gate.expect(Awaited::Search);
        let asked = async {
            let scope = match search.scope {
                Scope::Base => ldap3::Scope::Base,
                Scope::One => ldap3::Scope::OneLevel,
                Scope::Subtree => ldap3::Scope::Subtree,
            };
            let (filter, attributes) = (search.filter.as_str(), search.attributes.as_slice());
            let mut stream = self.ldap.streaming_search(&search.base, scope, filter, attributes).await?;
            let mut entries = Vec::new();
            while let Some(entry) = stream.next().await? {
                // A continuation reference says where other parts of the tree lie. Active Directory ends every search at a
                // domain's root with some; what they point at was not asked for.
                if !entry.is_ref() {
                    entries.push(read(entry));
                }
            }
            Ok::<_, ldap3::LdapError>((entries, stream.finish().await))
        };
        let answered = timeout(self.limit, asked).await;
        let (entries, result) = answered
            .map_err(|_| Fault::Slow { what: "searching", limit: self.limit })?
            .map_err(|_| self.gate.why_closed())?;
        match result.rc {
            0 => Ok((entries, result.ctrls)),
            3 | 4 | 10 | 11 => {
                // As many as were asked for came: that there are more is an answer too.
                let all_asked_for =
                    matches!(search.reading, Reading::AtMost(limit) if usize::try_from(limit) == Ok(entries.len()));
                if result.rc == 4 && all_asked_for {
                    return Ok((entries, result.ctrls));
                }
                Err(Fault::Incomplete { code: result.rc, text: result.text })
            }
            code => Err(Fault::Refused { what: "searching", code, text: result.text }),
        }
    }
}

fn nonsense(text: &str) -> Fault {
    Fault::Nonsense(format!("its answer is {text}"))
}

fn read(entry: ResultEntry) -> Entry {
    let SearchEntry { dn, attrs, bin_attrs } = SearchEntry::construct(entry);
    let mut attributes: HashMap<String, Vec<Vec<u8>>> = HashMap::new();
    let texts = attrs.into_iter().map(|(name, values)| (name, values.into_iter().map(String::into_bytes).collect()));
    for (name, values) in texts.chain(bin_attrs) {
        let values: Vec<Vec<u8>> = values;
        attributes.entry(name.to_ascii_lowercase()).or_default().extend(values);
    }
    Entry { name: dn, attributes }
}
