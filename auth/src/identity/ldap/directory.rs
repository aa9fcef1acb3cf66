//! A directory with its servers: who is asked, over which connection, and what is done when one does not answer.
//!
//! Searches share a few connections that stay open. A user's password is proved on a connection of its own, which ends with it: a
//! connection that somebody signed in on is theirs.

use std::{
    fmt::Display,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use shared::secret::Secret;
use tokio::{sync::Semaphore, time::Instant};
use tokio_rustls::TlsConnector;
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::{
    config::{Config, Limits, Password, Pem, Searcher, Server, Tls},
    connection::{Bound, Connection, Entry, Search},
    fault::Fault,
    gate::Reached,
};

/// Most connections that search at once.
const SEARCHING: usize = 4;
/// Most users whose passwords are being proved at once.
const PROVING: usize = 16;
/// How long an open connection waits for its next search. Firewalls forget connections that are silent for some minutes.
const IDLE: Duration = Duration::from_secs(60);
/// How long a server that did not answer is asked last.
const RESTING: Duration = Duration::from_secs(30);

/// A directory.
pub(super) struct Directory {
    servers: Vec<Server>,
    searcher: Searcher,
    tls: TlsConnector,
    limits: Limits,
    idle: Mutex<Vec<Idle>>,
    searching: Semaphore,
    proving: Semaphore,
    /// When each server last failed to answer.
    failed: Mutex<Vec<Option<Instant>>>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory").field("servers", &self.servers).finish_non_exhaustive()
    }
}

impl Directory {
    /// Reads what files say; nobody is asked yet.
    pub(super) fn new(config: &Config) -> Result<Self, Fault> {
        if let Searcher::Account { password, .. } = &config.searcher {
            read_password(password)?;
        }
        Ok(Self {
            servers: config.servers.clone(),
            searcher: config.searcher.clone(),
            tls: connector(&config.tls)?,
            limits: config.limits,
            idle: Mutex::default(),
            searching: Semaphore::new(SEARCHING),
            proving: Semaphore::new(PROVING),
            failed: Mutex::new(vec![None; config.servers.len()]),
        })
    }

    /// Searches as the searcher.
    pub(super) async fn search(&self, search: &Search) -> Result<Vec<Entry>, Fault> {
        let _place = self.searching.acquire().await.map_err(|_| Fault::Lost)?;
        if let Some(mut connection) = self.take_idle() {
            match connection.search(search).await {
                // It had ended while nobody looked, or ends now: a new one shows what is.
                Err(fault) if fault.is_of_the_connection() => info!(%fault, "a connection to a directory is replaced"),
                answered => return self.keep(connection, answered),
            }
        }
        let mut last = Fault::Lost;
        for index in self.order() {
            match self.searched(index, search).await {
                Ok((connection, entries)) => return self.keep(connection, Ok(entries)),
                Err(fault) if fault.is_of_the_connection() => last = self.note(index, fault),
                Err(fault) => return Err(fault),
            }
        }
        Err(last)
    }

    /// Its servers, as they are written.
    pub(super) fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// Who searches.
    pub(super) fn searcher(&self) -> &Searcher {
        &self.searcher
    }

    /// The first thing that is done with a server: connecting.
    pub(super) async fn reach(&self, server: &Server) -> Result<Reached, Fault> {
        Reached::server(server, self.limits.connect).await
    }

    /// The second: TLS.
    pub(super) async fn open(&self, reached: Reached, server: &Server) -> Result<Connection, Fault> {
        Connection::over(reached, server, &self.tls, self.limits).await
    }

    async fn searched(&self, index: usize, search: &Search) -> Result<(Connection, Vec<Entry>), Fault> {
        let mut connection = Connection::open(&self.servers[index], &self.tls, self.limits).await?;
        self.introduce(&mut connection).await?;
        let entries = connection.search(search).await?;
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)[index] = None;
        Ok((connection, entries))
    }

    /// The third: saying who searches.
    pub(super) async fn introduce(&self, connection: &mut Connection) -> Result<(), Fault> {
        let bound = match &self.searcher {
            Searcher::Anonymous => return Ok(()),
            Searcher::Account { name, password } => connection.bind(name, &read_password(password)?).await?,
            Searcher::Certificate => connection.bind_by_certificate().await?,
        };
        match bound {
            Bound::Yes => Ok(()),
            Bound::No { code, text } => Err(Fault::Refused { what: "signing in to search", code, text }),
        }
    }

    /// Proves a user's password by signing in as them; `look` is searched as the user then.
    pub(super) async fn prove(
        &self,
        name: &str,
        password: &Secret<String>,
        look: Option<&Search>,
    ) -> Result<(Bound, Vec<Entry>), Fault> {
        let _place = self.proving.acquire().await.map_err(|_| Fault::Lost)?;
        let mut last = Fault::Lost;
        for index in self.order() {
            match self.proved(index, name, password, look).await {
                Err(fault) if fault.is_of_the_connection() => last = self.note(index, fault),
                answered => return answered,
            }
        }
        Err(last)
    }

    async fn proved(
        &self,
        index: usize,
        name: &str,
        password: &Secret<String>,
        look: Option<&Search>,
    ) -> Result<(Bound, Vec<Entry>), Fault> {
        let mut connection = Connection::open(&self.servers[index], &self.tls, self.limits).await?;
        let bound = connection.bind(name, password).await?;
        let entries = match look {
            Some(search) if bound == Bound::Yes => connection.search(search).await?,
            _ => Vec::new(),
        };
        Ok((bound, entries))
    }

    /// In which order the servers are asked: as they are written, those that did not answer a moment ago last.
    fn order(&self) -> Vec<usize> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let rests = |index: &usize| failed[*index].is_some_and(|at| at.elapsed() < RESTING);
        let (resting, ready): (Vec<usize>, Vec<usize>) = (0..self.servers.len()).partition(rests);
        ready.into_iter().chain(resting).collect()
    }

    fn note(&self, index: usize, fault: Fault) -> Fault {
        warn!(server = %self.servers[index], %fault, "a directory's server cannot be asked");
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(Instant::now());
        fault
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|idle| idle.since.elapsed() < IDLE);
        idle.pop().map(|idle| idle.connection)
    }

    fn keep<T>(&self, connection: Connection, answered: Result<T, Fault>) -> Result<T, Fault> {
        // Where more is still to come, the next answer would be the rest of this one.
        if !matches!(answered, Err(Fault::TooMuch)) {
            let idle = Idle { connection, since: Instant::now() };
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(idle);
        }
        answered
    }
}

fn read_password(password: &Password) -> Result<Secret<String>, Fault> {
    let text = match password {
        Password::Here(secret) => secret.clone(),
        Password::File(path) => {
            let read = std::fs::read_to_string(path);
            let mut text = read.map_err(|error| Fault::Here(format!("{}: {error}", path.display())))?;
            if text.ends_with('\n') {
                text.truncate(text.trim_end_matches(['\r', '\n']).len());
            }
            Secret::new(text)
        }
    };
    if text.expose().is_empty() {
        return Err(Fault::Here("the password to search with is empty".to_owned()));
    }
    Ok(text)
}

fn connector(tls: &Tls) -> Result<TlsConnector, Fault> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let unusable = |error: rustls::Error| Fault::Tls(error.to_string());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(unusable)?;
    let builder = builder.with_root_certificates(roots(tls)?);
    let config = match &tls.certificate {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let certificates = certificates(chain, "the certificate")?;
            let bytes = read_pem(key, "the key")?;
            let private = PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| unreadable(key, "the key", error))?;
            builder.with_client_auth_cert(certificates, private).map_err(unusable)?
        }
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn roots(tls: &Tls) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    let Some(authorities) = &tls.authorities else {
        // What of this machine's store cannot be read is not trusted; the handshake says what is missing.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    let what = "the authority";
    for certificate in certificates(authorities, what)? {
        roots.add(certificate).map_err(|error| unreadable(authorities, what, error))?;
    }
    if roots.is_empty() { Err(unreadable(authorities, what, "there is no certificate in it")) } else { Ok(roots) }
}

fn certificates(pem: &Pem, what: &str) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let bytes = read_pem(pem, what)?;
    let found = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    found.map_err(|error| unreadable(pem, what, error))
}

fn read_pem(pem: &Pem, what: &str) -> Result<Zeroizing<Vec<u8>>, Fault> {
    match pem {
        Pem::Text(text) => Ok(Zeroizing::new(text.expose().clone().into_bytes())),
        Pem::File(path) => std::fs::read(path).map(Zeroizing::new).map_err(|error| unreadable(pem, what, error)),
    }
}

/// Which of the settings' files cannot be used, or which text of whoever sent one.
fn unreadable(pem: &Pem, what: &str, error: impl Display) -> Fault {
    match pem {
        Pem::File(path) => Fault::Here(format!("{}: {error}", path.display())),
        Pem::Text(_) => Fault::Here(format!("{what}: {error}")),
    }
}
