//! Name constraints, RFC 5280 section 4.2.1.10: what an authority may vouch for.

use std::net::IpAddr;

use url::Url;
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, NameConstraints},
    prelude::FromDer,
    x509::{AttributeTypeAndValue, X509Name},
};

use super::{Certificate, ChainError};

/// Checks every name of the certificates below `authority` (leaf first). Self-issued authorities in between are
/// exempt, as the RFC says.
pub(super) fn check(authority: &Certificate, below: &[&Certificate]) -> Result<(), ChainError> {
    let (_, parsed) = X509Certificate::from_der(&authority.der).map_err(|_| ChainError::Unreadable)?;
    let Ok(Some(constraints)) = parsed.tbs_certificate.name_constraints() else { return Err(ChainError::Unreadable) };
    for (at, certificate) in below.iter().enumerate() {
        if at == 0 || !certificate.is_self_issued() {
            check_one(constraints.value, certificate)?;
        }
    }
    Ok(())
}

fn check_one(constraints: &NameConstraints<'_>, certificate: &Certificate) -> Result<(), ChainError> {
    let (_, parsed) = X509Certificate::from_der(&certificate.der).map_err(|_| ChainError::Unreadable)?;
    let alternative = parsed.subject_alternative_name().map_err(|_| ChainError::Unreadable)?;
    let mut names: Vec<GeneralName<'_>> = alternative.map(|san| san.value.general_names.clone()).unwrap_or_default();
    // Old certificates carry their mail address in the subject alone.
    if !names.iter().any(|name| matches!(name, GeneralName::RFC822Name(_))) {
        let mails = parsed.subject().iter_email().map(|mail| mail.as_str().map_err(|_| ChainError::Name));
        names.extend(mails.collect::<Result<Vec<_>, _>>()?.into_iter().map(GeneralName::RFC822Name));
    }
    if parsed.subject().iter_rdn().next().is_some() {
        names.push(GeneralName::DirectoryName(parsed.subject().clone()));
    }
    let allowed = names.iter().all(|name| is_allowed(constraints, name));
    if allowed { Ok(()) } else { Err(ChainError::Name) }
}

fn is_allowed(constraints: &NameConstraints<'_>, name: &GeneralName<'_>) -> bool {
    let excluded = constraints
        .excluded_subtrees
        .iter()
        .flatten()
        .any(|subtree| same_form(&subtree.base, name) && lies_in(name, &subtree.base).unwrap_or(true));
    let mut permitted = constraints.permitted_subtrees.iter().flatten();
    let restricted = permitted.clone().any(|subtree| same_form(&subtree.base, name));
    let within = permitted.any(|subtree| lies_in(name, &subtree.base).unwrap_or(false));
    !excluded && (!restricted || within)
}

fn same_form(left: &GeneralName<'_>, right: &GeneralName<'_>) -> bool {
    std::mem::discriminant(left) == std::mem::discriminant(right)
}

/// Whether a name lies in a subtree; `None` where that cannot be told, which then counts against the name.
fn lies_in(name: &GeneralName<'_>, subtree: &GeneralName<'_>) -> Option<bool> {
    match (name, subtree) {
        (GeneralName::DNSName(name), GeneralName::DNSName(subtree)) => Some(domain_lies_in(name, subtree)),
        (GeneralName::RFC822Name(name), GeneralName::RFC822Name(subtree)) => mail_lies_in(name, subtree),
        (GeneralName::URI(name), GeneralName::URI(subtree)) => uri_lies_in(name, subtree),
        (GeneralName::IPAddress(name), GeneralName::IPAddress(subtree)) => address_lies_in(name, subtree),
        (GeneralName::DirectoryName(name), GeneralName::DirectoryName(subtree)) => Some(entry_lies_in(name, subtree)),
        _ => None,
    }
}

/// `example.com` holds itself and what is below it; `.example.com` only what is below; the empty text everything.
fn domain_lies_in(name: &str, subtree: &str) -> bool {
    let (name, subtree) = (name.trim_end_matches('.').to_ascii_lowercase(), subtree.to_ascii_lowercase());
    if subtree.is_empty() || name == subtree {
        return true;
    }
    let dotted = if subtree.starts_with('.') { subtree } else { format!(".{subtree}") };
    name.ends_with(&dotted)
}

/// A whole address, a host, or with a dot in front the hosts below it.
fn mail_lies_in(name: &str, subtree: &str) -> Option<bool> {
    let (mailbox, host) = name.rsplit_once('@')?;
    Some(match subtree.rsplit_once('@') {
        Some((own, at)) => own == mailbox && at.eq_ignore_ascii_case(host),
        None if subtree.starts_with('.') => domain_lies_in(host, subtree),
        None => subtree.is_empty() || subtree.eq_ignore_ascii_case(host),
    })
}

/// A host exactly, or with a dot in front the hosts below it. A URI without a named host cannot be judged.
fn uri_lies_in(name: &str, subtree: &str) -> Option<bool> {
    let url = Url::parse(name).ok()?;
    let host = url.host_str().filter(|host| host.parse::<IpAddr>().is_err() && !host.starts_with('['))?;
    Some(if subtree.starts_with('.') { domain_lies_in(host, subtree) } else { subtree.eq_ignore_ascii_case(host) })
}

/// The subtree is an address and a mask of the same length.
fn address_lies_in(name: &[u8], subtree: &[u8]) -> Option<bool> {
    if subtree.len() != 8 && subtree.len() != 32 {
        return None;
    }
    let (address, mask) = subtree.split_at(subtree.len() / 2);
    let of_this_family = name.len() == address.len();
    let mut bytes = name.iter().zip(address).zip(mask);
    Some(of_this_family && bytes.all(|((byte, base), mask)| byte & mask == base & mask))
}

/// The subtree's entries are the first ones of the name.
fn entry_lies_in(name: &X509Name<'_>, subtree: &X509Name<'_>) -> bool {
    let name: Vec<_> = name.iter_rdn().collect();
    subtree.iter_rdn().enumerate().all(|(at, base)| {
        name.get(at).is_some_and(|entry| {
            entry.iter().count() == base.iter().count()
                && base.iter().all(|wanted| entry.iter().any(|given| same_attribute(given, wanted)))
        })
    })
}

/// Texts are compared without regard to case and inner blanks (RFC 5280, 7.1), anything else bytewise.
fn same_attribute(left: &AttributeTypeAndValue<'_>, right: &AttributeTypeAndValue<'_>) -> bool {
    if left.attr_type() != right.attr_type() {
        return false;
    }
    match (left.as_str(), right.as_str()) {
        (Ok(left), Ok(right)) => folded(left) == folded(right),
        _ => left.as_slice() == right.as_slice(),
    }
}

fn folded(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}
