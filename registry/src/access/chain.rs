//! Does a certificate chain of a token lead to the bundle?
//!
//! x509-parser reads certificates and checks one signature; building the path and RFC 5280's rules about it are
//! here. The rules are those of design.md section 3, rule 1: at most four certificates beside the bundle's own,
//! dates without leeway, CA:TRUE and path length also for the bundle's CAs, name constraints enforced, other
//! critical extensions refused. A chained leaf must be one that may sign: a TLS server's certificate under the
//! same CA is not.

mod names;
#[cfg(test)]
pub(super) mod tests;

use shared::clock::Timestamp;
use x509_parser::{
    certificate::X509Certificate,
    extensions::ParsedExtension,
    oid_registry::{OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA},
    prelude::FromDer,
    x509::SubjectPublicKeyInfo,
};

/// The most certificates that a token may bring along, the bundle's own not counted.
pub const MAX_CHAIN: usize = 4;

/// How many signatures one chain may cost. A well-formed chain needs [`MAX_CHAIN`]; certificates that share one
/// name could otherwise make us try every order.
const MAX_SIGNATURE_CHECKS: usize = 16;

/// Why a chain is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// `x5c` is there and holds nothing.
    #[error("the chain is empty")]
    Empty,
    /// More than [`MAX_CHAIN`] certificates.
    #[error("the chain has more than {MAX_CHAIN} certificates")]
    TooLong,
    /// Not a certificate, or bytes behind it, or an extension twice.
    #[error("a certificate cannot be read")]
    Unreadable,
    /// Before its first day.
    #[error("a certificate is not valid yet")]
    NotYetValid,
    /// After its last day.
    #[error("a certificate has expired")]
    Expired,
    /// No path to the bundle.
    #[error("the chain does not lead to the bundle")]
    NotTrusted,
    /// The signature is not the issuer's.
    #[error("a certificate is not signed by the one that it names")]
    Signature,
    /// An issuer without CA:TRUE, or one that may not sign certificates.
    #[error("an issuing certificate is not a certificate authority")]
    NotAnAuthority,
    /// More authorities below one than it allows.
    #[error("the chain is longer than an authority in it allows")]
    PathLength,
    /// A name outside what an authority may vouch for.
    #[error("a name is outside what an authority in the chain may vouch for")]
    Name,
    /// A critical extension that we do not know.
    #[error("a certificate has a critical extension that is not known here")]
    CriticalExtension,
    /// The leaf's keyUsage lacks digitalSignature.
    #[error("the leaf may not be used for signatures")]
    KeyUsage,
    /// The leaf's extendedKeyUsage names other purposes.
    #[error("the leaf is for other purposes")]
    ExtendedKeyUsage,
}

/// From when to when, in seconds of Unix time, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: i64,
    pub(super) not_after: i64,
}

impl Validity {
    pub(super) fn check(self, now: Timestamp) -> Result<(), ChainError> {
        if now.seconds() < self.not_before {
            Err(ChainError::NotYetValid)
        } else if now.seconds() > self.not_after {
            Err(ChainError::Expired)
        } else {
            Ok(())
        }
    }

    fn and(self, other: Self) -> Self {
        Self { not_before: self.not_before.max(other.not_before), not_after: self.not_after.min(other.not_after) }
    }
}

/// What a certificate says, read once. The names are their DER, which is what issuers repeat.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    pub(super) der: Vec<u8>,
    pub(super) spki: Vec<u8>,
    pub(super) validity: Validity,
    subject: Vec<u8>,
    issuer: Vec<u8>,
    authority: Option<Authority>,
    signs_certificates: bool,
    signs_data: bool,
    any_purpose: bool,
    constrains_names: bool,
    unknown_critical: bool,
}

#[derive(Clone, Copy, Debug)]
struct Authority {
    path_length: Option<u32>,
}

impl Certificate {
    pub(super) fn read(der: &[u8]) -> Result<Self, ChainError> {
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|_| ChainError::Unreadable)?;
        // extensions_map refuses an extension that stands there twice.
        if !rest.is_empty() || parsed.extensions_map().is_err() {
            return Err(ChainError::Unreadable);
        }
        let validity = parsed.validity();
        let mut certificate = Self {
            der: der.to_vec(),
            spki: parsed.public_key().raw.to_vec(),
            validity: Validity {
                not_before: validity.not_before.timestamp(),
                not_after: validity.not_after.timestamp(),
            },
            subject: parsed.subject().as_raw().to_vec(),
            issuer: parsed.issuer().as_raw().to_vec(),
            authority: None,
            signs_certificates: true,
            signs_data: true,
            any_purpose: true,
            constrains_names: false,
            unknown_critical: false,
        };
        for extension in parsed.extensions() {
            certificate.note(extension.parsed_extension(), extension.critical)?;
        }
        Ok(certificate)
    }

    fn note(&mut self, extension: &ParsedExtension<'_>, critical: bool) -> Result<(), ChainError> {
        match extension {
            ParsedExtension::ParseError { .. } => return Err(ChainError::Unreadable),
            ParsedExtension::BasicConstraints(basic) => {
                self.authority = basic.ca.then_some(Authority { path_length: basic.path_len_constraint });
            }
            ParsedExtension::KeyUsage(usage) => {
                self.signs_certificates = usage.key_cert_sign();
                self.signs_data = usage.digital_signature();
            }
            ParsedExtension::ExtendedKeyUsage(usage) => self.any_purpose = usage.any,
            ParsedExtension::NameConstraints(_) => self.constrains_names = true,
            // Without a required policy any policy will do, critical or not (RFC 5280, 6.1.1).
            ParsedExtension::SubjectAlternativeName(_) | ParsedExtension::CertificatePolicies(_) => {}
            _ => self.unknown_critical |= critical,
        }
        Ok(())
    }

    fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    /// May this one stand alone: its days, and nothing in it that we would have to understand.
    fn check_alone(&self, now: Timestamp) -> Result<(), ChainError> {
        self.validity.check(now)?;
        if self.unknown_critical { Err(ChainError::CriticalExtension) } else { Ok(()) }
    }

    /// May this one have issued the last of `below` (leaf first)? The signature comes last, it costs most.
    fn check_issues(&self, below: &[&Self], now: Timestamp) -> Result<(), ChainError> {
        self.check_alone(now)?;
        let authority = self.authority.filter(|_| self.signs_certificates).ok_or(ChainError::NotAnAuthority)?;
        let authorities_below = below.iter().skip(1).filter(|certificate| !certificate.is_self_issued()).count();
        if authority.path_length.is_some_and(|most| authorities_below > most as usize) {
            return Err(ChainError::PathLength);
        }
        if self.constrains_names {
            names::check(self, below)?;
        }
        below.last().ok_or(ChainError::Empty)?.check_signed_by(self)
    }

    fn check_signed_by(&self, issuer: &Self) -> Result<(), ChainError> {
        let (_, parsed) = X509Certificate::from_der(&self.der).map_err(|_| ChainError::Unreadable)?;
        let (_, key) = SubjectPublicKeyInfo::from_der(&issuer.spki).map_err(|_| ChainError::Unreadable)?;
        let algorithm = &parsed.signature_algorithm;
        let sha1 = [OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA].contains(&algorithm.algorithm);
        if sha1 || *algorithm != parsed.tbs_certificate.signature {
            return Err(ChainError::Signature);
        }
        parsed.verify_signature(Some(&key)).map_err(|_| ChainError::Signature)
    }
}

/// A leaf that is believed, and for how long the whole path to the bundle is.
#[derive(Clone, Debug)]
pub(super) struct TrustedLeaf {
    pub(super) spki: Vec<u8>,
    pub(super) validity: Validity,
}

/// Judges the chain of a token, leaf first.
pub(super) fn verify(chain: &[Vec<u8>], bundle: &[Certificate], now: Timestamp) -> Result<TrustedLeaf, ChainError> {
    let leaf = Certificate::read(chain.first().ok_or(ChainError::Empty)?)?;
    if bundle.iter().any(|trusted| trusted.der == leaf.der) {
        leaf.check_alone(now)?;
        return Ok(TrustedLeaf { validity: leaf.validity, spki: leaf.spki });
    }
    let others = chain[1..].iter().filter(|der| !bundle.iter().any(|trusted| trusted.der == **der));
    let intermediates = others.map(|der| Certificate::read(der)).collect::<Result<Vec<_>, _>>()?;
    if intermediates.len() >= MAX_CHAIN {
        return Err(ChainError::TooLong);
    }
    leaf.check_alone(now)?;
    if !leaf.signs_data {
        return Err(ChainError::KeyUsage);
    }
    if !leaf.any_purpose {
        return Err(ChainError::ExtendedKeyUsage);
    }
    let mut search = Search { bundle, intermediates: &intermediates, now, checks_left: MAX_SIGNATURE_CHECKS };
    let validity = search.climb(&mut vec![&leaf])?;
    Ok(TrustedLeaf { validity, spki: leaf.spki })
}

/// The search for a path, depth first: several certificates may have the name that the last one was issued by.
struct Search<'a> {
    bundle: &'a [Certificate],
    intermediates: &'a [Certificate],
    now: Timestamp,
    checks_left: usize,
}

impl<'a> Search<'a> {
    /// Goes on from `path`, leaf first. Answers the days on which the whole path holds, or the last reason why
    /// none does.
    fn climb(&mut self, path: &mut Vec<&'a Certificate>) -> Result<Validity, ChainError> {
        let mut reason = ChainError::NotTrusted;
        for anchor in self.bundle {
            match self.check(anchor, path) {
                Ok(true) => {
                    return Ok(path.iter().fold(anchor.validity, |all, certificate| all.and(certificate.validity)));
                }
                Ok(false) => {}
                Err(error) => reason = error,
            }
        }
        for intermediate in self.intermediates {
            if path.iter().any(|used| used.der == intermediate.der) {
                continue;
            }
            match self.check(intermediate, path) {
                Ok(true) => {
                    path.push(intermediate);
                    match self.climb(path) {
                        Ok(validity) => return Ok(validity),
                        Err(error) => reason = error,
                    }
                    path.pop();
                }
                Ok(false) => {}
                Err(error) => reason = error,
            }
        }
        Err(reason)
    }

    /// Whether `issuer` is named by the end of the path, and if so, whether it may be what it is named as.
    fn check(&mut self, issuer: &Certificate, path: &[&Certificate]) -> Result<bool, ChainError> {
        if path.last().is_none_or(|last| last.issuer != issuer.subject) {
            return Ok(false);
        }
        self.checks_left = self.checks_left.checked_sub(1).ok_or(ChainError::TooLong)?;
        issuer.check_issues(path, self.now).map(|()| true)
    }
}
