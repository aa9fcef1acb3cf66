//! What the files of keys hold: a certificate, mostly with its private key before it, in PEM (RFC 7468).

use std::{collections::BTreeSet, fs, io, net::IpAddr, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use shared::clock::Timestamp;
use x509_parser::{extensions::GeneralName, parse_x509_certificate, pem::Pem};
use zeroize::Zeroizing;

use super::PkiError;
use crate::key_files;

const CHARACTERS_OF_A_LINE: usize = 64;

/// A certificate, and its private key where that is ours to keep.
pub(super) struct Entry {
    /// In PKCS #8, DER.
    pub(super) key: Option<Zeroizing<Vec<u8>>>,
    pub(super) certificate: Certificate,
}

impl Entry {
    /// `None` if there is no such file; what is there and cannot be read is an error, never replaced in silence.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, PkiError> {
        let damaged = || PkiError::Damaged { path: path.to_owned() };
        let Some((key, certificate)) = read_blocks(path)? else { return Ok(None) };
        let certificate = certificate.ok_or_else(damaged)?;
        if certificate.validity().is_none() {
            return Err(damaged());
        }
        Ok(Some(Self { key, certificate }))
    }

    /// The file's text. It is to be dropped as carefully as the key.
    pub(super) fn to_pem(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::new());
        if let Some(key) = &self.key {
            text.push_str(&armoured("PRIVATE KEY", key));
        }
        text.push_str(&self.certificate.to_pem());
        text
    }
}

/// The private key that an operator brings; certificates beside it are passed over.
pub(super) fn read_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, PkiError> {
    let damaged = || PkiError::Damaged { path: path.to_owned() };
    read_blocks(path)?.and_then(|(key, _)| key).ok_or_else(damaged)
}

type Blocks = (Option<Zeroizing<Vec<u8>>>, Option<Certificate>);

fn read_blocks(path: &Path) -> Result<Option<Blocks>, PkiError> {
    let text = match fs::read(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(PkiError::File { path: path.to_owned(), error }),
    };
    let (mut key, mut certificate) = (None, None);
    for block in Pem::iter_from_buffer(&text) {
        let block = block.map_err(|_| PkiError::Damaged { path: path.to_owned() })?;
        match block.label.as_str() {
            "PRIVATE KEY" => key = Some(Zeroizing::new(block.contents)),
            "CERTIFICATE" if certificate.is_none() => certificate = Some(Certificate(block.contents)),
            _ => {}
        }
    }
    Ok(Some((key, certificate)))
}

/// A certificate in DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate(pub(super) Vec<u8>);

impl Certificate {
    /// In PEM.
    pub(super) fn to_pem(&self) -> String {
        armoured("CERTIFICATE", &self.0)
    }
    /// Writes it without its key, unless it is there: for what runs as the server's own user, since everything among the keys has mode 0600.
    /// What others are to read is copied to `token.bundle`.
    pub(super) fn publish(&self, path: &Path) -> Result<(), PkiError> {
        let text = self.to_pem();
        if fs::read_to_string(path).is_ok_and(|known| known == text) {
            return Ok(());
        }
        at(path, key_files::replace(path, text.as_bytes()))
    }

    /// When it begins and ends; `None` if it is no certificate.
    pub(super) fn validity(&self) -> Option<(Timestamp, Timestamp)> {
        let (_, certificate) = parse_x509_certificate(&self.0).ok()?;
        let validity = certificate.validity();
        let second = Timestamp::from_seconds;
        Some((second(validity.not_before.timestamp()), second(validity.not_after.timestamp())))
    }

    /// Whether the other certificate's key signed it.
    pub(super) fn is_signed_by(&self, authority: &Self) -> bool {
        let (one, authority) = (parse_x509_certificate(&self.0), parse_x509_certificate(&authority.0));
        let (Ok((_, one)), Ok((_, authority))) = (one, authority) else { return false };
        one.verify_signature(Some(authority.public_key())).is_ok()
    }

    /// Whether it is about this public key, a `SubjectPublicKeyInfo` in DER.
    pub(super) fn is_of(&self, public_key: &[u8]) -> bool {
        parse_x509_certificate(&self.0).is_ok_and(|(_, parsed)| parsed.public_key().raw == public_key)
    }

    /// The names and addresses that it is for.
    pub(super) fn names(&self) -> BTreeSet<String> {
        let Ok((_, parsed)) = parse_x509_certificate(&self.0) else { return BTreeSet::new() };
        let Ok(Some(extension)) = parsed.subject_alternative_name() else { return BTreeSet::new() };
        extension.value.general_names.iter().filter_map(name).collect()
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match *name {
        GeneralName::DNSName(name) => Some(name.to_owned()),
        GeneralName::IPAddress(bytes) => {
            let four = || <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            <[u8; 16]>::try_from(bytes).map(IpAddr::from).or_else(|_| four()).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

fn armoured(label: &str, der: &[u8]) -> String {
    let encoded = Zeroizing::new(STANDARD.encode(der));
    let mut text = format!("-----BEGIN {label}-----\n");
    for (index, character) in encoded.chars().enumerate() {
        if index > 0 && index % CHARACTERS_OF_A_LINE == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str(&format!("\n-----END {label}-----\n"));
    text
}

pub(super) fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, PkiError> {
    result.map_err(|error| PkiError::File { path: path.to_owned(), error })
}
