//! Makes and keeps the keys that sign: the token authority with its leaves, and apart from it an authority for development TLS.
//!
//! Any key whose certificate lies under a registry's bundle can mint tokens, and stock registries accept even a TLS server's
//! certificate for that. So the **token authority** signs nothing but leaves that sign tokens, and the certificates of
//! servers come from a second authority that is never in the bundle.
//!
//! Leaves live 14 days, are replaced after 7, and begin a day in the past, because registries whose clocks are behind give a
//! certificate no leeway. Whatever is written appears whole, mode 0600 (`key_files`).

mod files;

use std::{
    collections::BTreeSet,
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SerialNumber,
};
use shared::{clock::Timestamp, random};
use thiserror::Error;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::{
    issuer::{KeyAlgorithm, KeySet, PublicKey, SigningKey, UnusableKey},
    key_files,
};
use files::{Certificate, Entry, at};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// How far in the past a certificate begins.
const BACKDATED: Duration = DAY;
/// How long a leaf lives, from its beginning in the past.
pub const LEAF_LIFE: Duration = Duration::from_secs(14 * 24 * 3600);
/// After what time a leaf is replaced. It outlives by far the last token that it signed.
pub const LEAF_ROTATION: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long an authority lives.
const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How long a development server's certificate lives; browsers accept no more.
const SERVER_LIFE: Duration = Duration::from_secs(397 * 24 * 3600);
/// How long before its end a server's certificate is replaced.
const SERVER_ROTATION: Duration = Duration::from_secs(30 * 24 * 3600);

/// The token authority's private key with its certificate.
const TOKEN_AUTHORITY: &str = "token-ca.key";
/// What registries are given to trust: the token authority's certificate and nothing else.
const BUNDLE: &str = "bundle.pem";
/// The key that signs tokens, with its certificate; one that was brought lies elsewhere, and only the certificate here.
const LEAF: &str = "signing.key";
/// The certificate of the key that signed before.
const PREVIOUS_LEAF: &str = "signing.previous.pem";
/// The development authority's private key with its certificate.
const TLS_AUTHORITY: &str = "tls-ca.key";
/// The certificate that a person gives a client to trust.
const TLS_ROOT: &str = "tls-ca.pem";
/// The development server's key with its certificate.
const TLS_SERVER: &str = "tls.pem";

/// Keys could not be had.
#[derive(Debug, Error)]
pub enum PkiError {
    /// A file cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// Where it lies.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// A file holds something else than what belongs there. Nothing is made anew, because registries trust what was there.
    #[error(
        "{path} does not hold a private key in PKCS #8 and its certificate: restore it, or move it away to begin anew"
    )]
    Damaged {
        /// Where it lies.
        path: PathBuf,
    },
    /// The key that was brought cannot sign tokens.
    #[error("{path}: {error}")]
    Unusable {
        /// Where it lies.
        path: PathBuf,
        /// Why not.
        error: UnusableKey,
    },
    /// A certificate was not made.
    #[error("a certificate was not made: {0}")]
    Certificate(#[from] rcgen::Error),
}

/// Which key signs tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenKey {
    /// One that is made here and changes with its leaf: ES256.
    Own,
    /// One that the operator brings, an RSA key in PKCS #8, PEM: RS256. Its leaves are made here.
    Brought(PathBuf),
}

/// The authority that signs leaves for tokens.
#[derive(Debug)]
pub struct TokenAuthority {
    directory: PathBuf,
    key: TokenKey,
    authority: Authority,
}

impl TokenAuthority {
    /// Reads the authority under the directory, or makes it if there is none.
    ///
    /// # Errors
    /// [`PkiError`]
    pub fn open(directory: &Path, key: TokenKey, now: Timestamp) -> Result<Self, PkiError> {
        let authority = Authority::open(&directory.join(TOKEN_AUTHORITY), "Portreeve token authority", now)?;
        authority.certificate.publish(&directory.join(BUNDLE))?;
        Ok(Self { directory: directory.to_owned(), key, authority })
    }

    /// What registries are to trust, in PEM: this authority, and never the one of development TLS.
    #[must_use]
    pub fn bundle(&self) -> String {
        self.authority.certificate.to_pem()
    }

    /// Writes the bundle where another service reads it, under another user perhaps: a volume that holds this file and no key.
    ///
    /// # Errors
    /// [`PkiError::File`]
    pub fn publish_bundle(&self, path: &Path) -> Result<(), PkiError> {
        at(path, key_files::publish(path, self.bundle().as_bytes()))
    }

    /// Whether the operator brings the key that signs.
    #[must_use]
    pub fn is_brought(&self) -> bool {
        matches!(self.key, TokenKey::Brought(_))
    }

    /// A new key with a leaf of its own.
    ///
    /// # Errors
    /// [`PkiError::Certificate`]
    pub fn make(&self, now: Timestamp) -> Result<Leaf, PkiError> {
        self.leaf_of(&KeyPair::generate()?, now)
    }

    /// A key that was made before, with a leaf that begins now.
    ///
    /// # Errors
    /// [`PkiError::Certificate`]
    pub fn certify(&self, pkcs8: &[u8], now: Timestamp) -> Result<Leaf, PkiError> {
        self.leaf_of(&KeyPair::try_from(pkcs8)?, now)
    }

    fn leaf_of(&self, key: &KeyPair, now: Timestamp) -> Result<Leaf, PkiError> {
        let certificate = self.authority.sign(&leaf_params(now), key)?.0;
        Ok(Leaf { pkcs8: Zeroizing::new(key.serialize_der()), certificate })
    }

    /// The key that earlier releases kept in a file, if it still signs.
    ///
    /// # Errors
    /// [`PkiError`]
    pub fn adopt(&self, now: Timestamp) -> Result<Option<Leaf>, PkiError> {
        let kept = Entry::read(&self.directory.join(LEAF))?.filter(|leaf| self.is_current(leaf, None, now));
        Ok(kept.and_then(|leaf| Some(Leaf { pkcs8: leaf.key?, certificate: leaf.certificate.0 })))
    }

    /// Removes what earlier releases kept in files. One that is started again makes a leaf of its own, under the same authority.
    ///
    /// # Errors
    /// [`PkiError::File`]
    pub fn remove_leaf_files(&self) -> Result<(), PkiError> {
        for name in [LEAF, PREVIOUS_LEAF] {
            let path = self.directory.join(name);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(PkiError::File { path, error }),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether this authority signed the leaf and it holds now.
    #[must_use]
    pub fn vouches_for(&self, leaf: &[u8], now: Timestamp) -> bool {
        let leaf = Certificate(leaf.to_vec());
        leaf.validity().is_some_and(|(begin, end)| begin <= now && now < end)
            && leaf.is_signed_by(&self.authority.certificate)
    }

    /// When a leaf was made: a day after it begins.
    #[must_use]
    pub fn began(&self, leaf: &[u8]) -> Option<Timestamp> {
        Certificate(leaf.to_vec()).validity().map(|(begin, _)| begin + BACKDATED)
    }

    /// When a leaf begins.
    #[must_use]
    pub fn begins(&self, leaf: &[u8]) -> Option<Timestamp> {
        Certificate(leaf.to_vec()).validity().map(|(begin, _)| begin)
    }

    /// When a leaf ends.
    #[must_use]
    pub fn ends(&self, leaf: &[u8]) -> Option<Timestamp> {
        Certificate(leaf.to_vec()).validity().map(|(_, end)| end)
    }

    /// The keys to sign with now, from files: those of a key that is brought, and of earlier releases. A leaf that is due is replaced first; another process may have done so already.
    ///
    /// # Errors
    /// [`PkiError`]
    pub fn keys(&self, now: Timestamp) -> Result<KeySet, PkiError> {
        let path = self.directory.join(LEAF);
        let brought = self.brought()?;
        let leaf = match Entry::read(&path)? {
            Some(leaf) if self.is_current(&leaf, brought.as_ref(), now) => leaf,
            old => {
                if let Some(old) = old {
                    old.certificate.publish(&self.directory.join(PREVIOUS_LEAF))?;
                }
                let leaf = self.make_leaf(brought.as_ref(), now)?;
                at(&path, key_files::replace(&path, leaf.to_pem().as_bytes()))?;
                leaf
            }
        };
        let pkcs8 = match brought {
            Some(key) => Zeroizing::new(key.serialize_der()),
            None => leaf.key.ok_or_else(|| PkiError::Damaged { path: path.clone() })?,
        };
        let signing = SigningKey::new(&pkcs8, &[leaf.certificate.0]);
        Ok(KeySet::new(signing.map_err(|error| PkiError::Unusable { path, error })?, self.retiring(now)?))
    }

    fn brought(&self) -> Result<Option<KeyPair>, PkiError> {
        let TokenKey::Brought(path) = &self.key else { return Ok(None) };
        let unusable = PkiError::Unusable { path: path.clone(), error: UnusableKey::Private(KeyAlgorithm::Rs256) };
        match KeyPair::try_from(files::read_key(path)?.as_slice()) {
            Ok(key) if key.is_compatible(&rcgen::PKCS_RSA_SHA256) => Ok(Some(key)),
            _ => Err(unusable),
        }
    }

    fn is_current(&self, leaf: &Entry, brought: Option<&KeyPair>, now: Timestamp) -> bool {
        let belongs = match brought {
            Some(key) => leaf.certificate.is_of(&key.subject_public_key_info()),
            None => leaf.key.is_some(),
        };
        // A clock that was set back stands before the beginning of a leaf; registries would refuse what it signs.
        let in_time = leaf
            .certificate
            .validity()
            .is_some_and(|(begin, _)| begin <= now && now < begin + BACKDATED + LEAF_ROTATION);
        belongs && in_time && leaf.certificate.is_signed_by(&self.authority.certificate)
    }

    fn make_leaf(&self, brought: Option<&KeyPair>, now: Timestamp) -> Result<Entry, PkiError> {
        let params = leaf_params(now);
        if let Some(key) = brought {
            return Ok(Entry { key: None, certificate: self.authority.sign(&params, key)? });
        }
        let key = KeyPair::generate()?;
        Ok(Entry { certificate: self.authority.sign(&params, &key)?, key: Some(Zeroizing::new(key.serialize_der())) })
    }

    /// The public key that signed before, while its certificate lasts.
    fn retiring(&self, now: Timestamp) -> Result<Vec<PublicKey>, PkiError> {
        let previous = Entry::read(&self.directory.join(PREVIOUS_LEAF))?.map(|entry| entry.certificate);
        let lasting = previous.filter(|one| one.validity().is_some_and(|(_, end)| now <= end));
        Ok(lasting.iter().filter_map(|one| PublicKey::of_certificate(&one.0).ok()).collect())
    }
}

/// A key that signs tokens, with its certificate.
pub struct Leaf {
    /// The private half, PKCS #8 in DER.
    pub pkcs8: Zeroizing<Vec<u8>>,
    /// The certificate, in DER.
    pub certificate: Vec<u8>,
}

impl std::fmt::Debug for Leaf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leaf").finish_non_exhaustive()
    }
}

/// A key under an authority that nobody else has, or will: what it signs is refused by whoever verifies.
///
/// # Errors
/// [`PkiError::Certificate`]
pub fn stranger(now: Timestamp) -> Result<Leaf, PkiError> {
    let Entry { key, certificate } = Authority::make("Nobody", now)?;
    let of_authority = key.unwrap_or_default();
    let authority = Authority { key: KeyPair::try_from(of_authority.as_slice())?, certificate };
    let key = KeyPair::generate()?;
    let certificate = authority.sign(&leaf_params(now), &key)?.0;
    Ok(Leaf { pkcs8: Zeroizing::new(key.serialize_der()), certificate })
}

fn leaf_params(now: Timestamp) -> CertificateParams {
    let mut params = params("Portreeve token signer", now, LEAF_LIFE);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params
}

/// The files of a development server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevelopmentTls {
    /// The server's private key and its certificate, in one file, so that no reader finds one without the other.
    pub server: PathBuf,
    /// The certificate to trust.
    pub root: PathBuf,
}

/// Makes what a server needs to speak TLS under these names and addresses, or finds it made before.
///
/// # Errors
/// [`PkiError`]; a name that no certificate can carry is [`PkiError::Certificate`].
pub fn development_tls(directory: &Path, names: &[String], now: Timestamp) -> Result<DevelopmentTls, PkiError> {
    let authority = Authority::open(&directory.join(TLS_AUTHORITY), "Portreeve development TLS authority", now)?;
    let files = DevelopmentTls { server: directory.join(TLS_SERVER), root: directory.join(TLS_ROOT) };
    authority.certificate.publish(&files.root)?;
    let one = |name: &String| name.parse::<IpAddr>().map_or_else(|_| name.clone(), |address| address.to_string());
    let names: BTreeSet<String> = names.iter().map(one).collect();
    let serves = |entry: &Entry| {
        let validity = entry.certificate.validity();
        let lasts = validity.is_some_and(|(begin, end)| begin <= now && now + SERVER_ROTATION < end);
        lasts && entry.certificate.names() == names && entry.certificate.is_signed_by(&authority.certificate)
    };
    if !Entry::read(&files.server)?.is_some_and(|entry| entry.key.is_some() && serves(&entry)) {
        let server = make_server(&authority, names.into_iter().collect(), now)?;
        at(&files.server, key_files::replace(&files.server, server.to_pem().as_bytes()))?;
    }
    Ok(files)
}

fn make_server(authority: &Authority, names: Vec<String>, now: Timestamp) -> Result<Entry, PkiError> {
    let mut params = params("Portreeve development server", now, SERVER_LIFE);
    params.subject_alt_names = CertificateParams::new(names)?.subject_alt_names;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    Ok(Entry { certificate: authority.sign(&params, &key)?, key: Some(Zeroizing::new(key.serialize_der())) })
}

/// A private key with a certificate that may sign others.
#[derive(Debug)]
struct Authority {
    key: KeyPair,
    certificate: Certificate,
}

impl Authority {
    /// Reads the authority, or makes it. Of two processes that make it at once, both take the one that was first.
    fn open(path: &Path, name: &str, now: Timestamp) -> Result<Self, PkiError> {
        if !path.exists() {
            at(path, key_files::make_once(path, Self::make(name, now)?.to_pem().as_bytes()))?;
        }
        key_files::warn_if_open(path);
        let damaged = || PkiError::Damaged { path: path.to_owned() };
        let Entry { key, certificate } = Entry::read(path)?.ok_or_else(damaged)?;
        let key = KeyPair::try_from(key.ok_or_else(damaged)?.as_slice()).map_err(|_| damaged())?;
        if !certificate.is_of(&key.subject_public_key_info()) {
            return Err(damaged());
        }
        Ok(Self { key, certificate })
    }

    /// The name ends in random digits: two authorities of one name and different keys confuse whoever looks for an issuer by name.
    fn make(name: &str, now: Timestamp) -> Result<Entry, PkiError> {
        let digits = u32::from_be_bytes(random::bytes());
        let mut params = params(&format!("{name} {digits:08x}"), now, AUTHORITY_LIFE);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = Certificate(params.self_signed(&key)?.der().to_vec());
        Ok(Entry { key: Some(Zeroizing::new(key.serialize_der())), certificate })
    }

    fn sign(&self, params: &CertificateParams, key: &KeyPair) -> Result<Certificate, PkiError> {
        let issuer = Issuer::from_ca_cert_der(&self.certificate.0.as_slice().into(), &self.key)?;
        Ok(Certificate(params.signed_by(key, &issuer)?.der().to_vec()))
    }
}

/// What all our certificates have: a name, a serial number that nobody can guess, and a beginning in the past.
fn params(name: &str, now: Timestamp, life: Duration) -> CertificateParams {
    let moment =
        |at: Timestamp| OffsetDateTime::from_unix_timestamp(at.seconds()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = moment(now - BACKDATED);
    params.not_after = moment(now - BACKDATED + life);
    let mut serial = random::bytes::<16>();
    serial[0] &= 0x7F;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params
}

#[cfg(test)]
mod tests;
