//! The query: parameters of the specification, everything else is left alone (`_state`, `ns`).

use std::{borrow::Cow, fmt};

use shared::{
    digest::{Algorithm, Digest},
    tag::Tag,
};
use url::form_urlencoded;

use super::{
    PageQuery, ParseError, Start,
    path::{read_digest, read_tag, repository, shown},
};

/// The most tags that one PUT can set. The specification asks for ten at least.
pub const MAX_TAGS_PER_PUSH: usize = 64;

pub(super) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    pub(super) fn read(text: &'a str) -> Self {
        Self(text)
    }

    fn all(&self, name: &'static str) -> impl Iterator<Item = Cow<'a, str>> {
        form_urlencoded::parse(self.0.as_bytes()).filter(move |(key, _)| key == name).map(|(_, value)| value)
    }

    /// The value of a parameter that may stand once: of two values the wrong one might be checked.
    pub(super) fn one(&self, name: &'static str) -> Result<Option<Cow<'a, str>>, ParseError> {
        let mut values = self.all(name);
        let first = values.next();
        if values.next().is_some() { Err(ParseError::Repeated { name }) } else { Ok(first) }
    }

    pub(super) fn digest(&self, name: &'static str) -> Result<Option<Digest>, ParseError> {
        self.one(name)?.map(|text| read_digest(&text)).transpose()
    }

    pub(super) fn page(&self) -> Result<PageQuery, ParseError> {
        let limit = self.one("n")?.map(|text| count(&text)).transpose()?;
        let last = self.one("last")?.map(Cow::into_owned).filter(|last| !last.is_empty());
        Ok(PageQuery { limit, last })
    }

    pub(super) fn tags(&self) -> Result<Vec<Tag>, ParseError> {
        let mut tags = Vec::new();
        for text in self.all("tag") {
            let tag = read_tag(&text)?;
            if !tags.contains(&tag) {
                tags.push(tag);
            }
            if tags.len() > MAX_TAGS_PER_PUSH {
                return Err(ParseError::TooManyTags);
            }
        }
        Ok(tags)
    }

    pub(super) fn start(&self) -> Result<Start, ParseError> {
        if let Some(digest) = self.digest("mount")? {
            let from = self.one("from")?.map(|name| repository(&name)).transpose()?;
            return Ok(Start::Mount { digest, from });
        }
        if let Some(digest) = self.digest("digest")? {
            return Ok(Start::Whole { digest });
        }
        let algorithm = self.one("digest-algorithm")?.map(|text| algorithm(&text)).transpose()?;
        Ok(Start::Session { algorithm })
    }

    /// Media types contain `+` and never a space, so a `+` that a client forgot to escape is given back.
    pub(super) fn artifact_type(&self) -> Result<Option<String>, ParseError> {
        Ok(self.one("artifactType")?.map(|text| text.replace(' ', "+")).filter(|text| !text.is_empty()))
    }
}

fn count(text: &str) -> Result<u64, ParseError> {
    Some(text)
        .filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| ParseError::PageSize { given: shown(text) })
}

fn algorithm(text: &str) -> Result<Algorithm, ParseError> {
    text.parse().map_err(|_| ParseError::Digest { given: shown(text) })
}

/// Writes `?a=…&b=…` with the parameters that have a value.
pub(super) fn write(f: &mut fmt::Formatter<'_>, parameters: &[(&str, Option<&str>)]) -> fmt::Result {
    let mut separator = '?';
    for (name, value) in parameters {
        let Some(value) = value else { continue };
        write!(f, "{separator}{name}=")?;
        form_urlencoded::byte_serialize(value.as_bytes()).try_for_each(|piece| f.write_str(piece))?;
        separator = '&';
    }
    Ok(())
}
