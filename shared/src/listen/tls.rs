//! TLS, with certificates that are read again when their files change.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::ring::{Ticketer, default_provider, sign::any_supported_type},
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio_rustls::TlsAcceptor;

use super::ListenError;
use crate::watched::Watched;

/// How TLS is spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The chain, PEM, the server's own certificate first. Read again when it changes, like the key; while the two do not fit, those before stay.
    pub certificate: PathBuf,
    /// The key, PEM.
    pub key: PathBuf,
    /// Client certificates, where wanted.
    pub clients: Option<ClientCertificates>,
    /// The oldest version that is spoken.
    pub minimum: MinimumTls,
}

/// What is asked of clients in the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificates {
    /// Files with the authorities that sign them, PEM; read once.
    pub authorities: Vec<PathBuf>,
    /// Whether a client without one is turned away.
    pub required: bool,
}

/// The oldest TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinimumTls {
    /// 1.2, and 1.3 with those that can.
    #[default]
    V1_2,
    /// 1.3 alone.
    V1_3,
}

impl Tls {
    pub(super) fn acceptor(&self, http2: bool) -> Result<TlsAcceptor, ListenError> {
        let versions: &[&'static SupportedProtocolVersion] = match self.minimum {
            MinimumTls::V1_2 => &[&TLS13, &TLS12],
            MinimumTls::V1_3 => &[&TLS13],
        };
        let unusable = |error: rustls::Error| fault(&self.certificate, error);
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .map_err(unusable)?;
        let builder = match &self.clients {
            Some(clients) => builder.with_client_cert_verifier(clients.verifier()?),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(Certificate::open(&self.certificate, &self.key)?));
        config.alpn_protocols =
            if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
        config.ticketer = Ticketer::new().map_err(unusable)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl ClientCertificates {
    fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, ListenError> {
        let mut roots = RootCertStore::empty();
        for file in &self.authorities {
            let pem = std::fs::read(file).map_err(|error| fault(file, error))?;
            for certificate in chain(&pem).map_err(|reason| fault(file, reason))? {
                roots.add(certificate).map_err(|error| fault(file, error))?;
            }
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()));
        let builder = if self.required { builder } else { builder.allow_unauthenticated() };
        let first = self.authorities.first().map_or(Path::new(""), PathBuf::as_path);
        builder.build().map_err(|error| fault(first, error))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "so that it stands in `map_err` as it is")]
fn fault(file: &Path, reason: impl ToString) -> ListenError {
    ListenError::Tls { file: file.to_owned(), reason: reason.to_string() }
}

type Chain = Vec<CertificateDer<'static>>;

fn chain(pem: &[u8]) -> Result<Chain, String> {
    let chain: Chain =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    if chain.is_empty() { Err("there is no certificate in it".to_owned()) } else { Ok(chain) }
}

fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| format!("there is no private key in it: {error}"))
}

/// The server's certificate as its two files have it.
struct Certificate {
    chain: Watched<Chain, String>,
    key: Watched<PrivateKeyDer<'static>, String>,
    /// Of chain and key, when they were last put together.
    generations: Mutex<(u64, u64)>,
    pair: ArcSwap<CertifiedKey>,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").field("chain", &self.chain).field("key", &self.key).finish_non_exhaustive()
    }
}

impl Certificate {
    fn open(chain_file: &Path, key_file: &Path) -> Result<Self, ListenError> {
        let chain = Watched::open(chain_file, chain).map_err(|error| fault(chain_file, error))?;
        let key = Watched::open(key_file, key).map_err(|error| fault(key_file, error))?;
        let pair = pair(&chain.current(), &key.current()).map_err(|reason| fault(key_file, reason))?;
        Ok(Self { chain, key, generations: Mutex::new((0, 0)), pair: ArcSwap::from_pointee(pair) })
    }

    /// Puts the two files together again if one has changed. They are written one after the other, so for a moment they may not fit.
    fn refresh(&self) {
        // Look first, then the generations, then the values: values may be newer than the generations they are noted under, never older.
        drop((self.chain.current(), self.key.current()));
        let seen = (self.chain.generation(), self.key.generation());
        let (chain, key) = (self.chain.current(), self.key.current());
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        if *generations == seen {
            return;
        }
        *generations = seen;
        match pair(&chain, &key) {
            Ok(pair) => self.pair.store(Arc::new(pair)),
            Err(reason) => tracing::warn!(
                certificate = %self.chain.path().display(),
                reason,
                "the changed certificate is not used yet; the one before stays"
            ),
        }
    }
}

fn pair(chain: &Chain, key: &PrivateKeyDer<'static>) -> Result<CertifiedKey, String> {
    let key = any_supported_type(key).map_err(|error| error.to_string())?;
    let pair = CertifiedKey::new(chain.clone(), key);
    match pair.keys_match() {
        // Unknown: a kind of key whose public half cannot be told; the handshake will show.
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(pair),
        Err(error) => Err(format!("the key is not the certificate's: {error}")),
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.refresh();
        Some(self.pair.load_full())
    }
}
