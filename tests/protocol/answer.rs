//! An answer, and what is expected of it. Every expectation that is not met says all three: request, answer,
//! expectation.

use std::fmt::{self, Display};

use bytes::Bytes;
use reqwest::header::HeaderMap;
use url::Url;

/// Bodies are shown up to here in failures.
const SHOWN_BYTES: usize = 400;

/// Why a case failed.
pub(crate) struct Failure(String);

/// A test that returns a failure prints it by this, and lines are meant to be read as lines.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What came back, read to its end.
pub(crate) struct Answer {
    /// The request in one line, for failures.
    pub(super) asked: String,
    pub(super) url: Url,
    pub(crate) status: u16,
    pub(super) headers: HeaderMap,
    pub(crate) body: Bytes,
}

type Checked<'a> = Result<&'a Answer, Failure>;

impl Answer {
    /// One of these statuses.
    pub(crate) fn status(&self, allowed: &[u16]) -> Checked<'_> {
        if allowed.contains(&self.status) {
            return Ok(self);
        }
        let expected: Vec<String> = allowed.iter().map(u16::to_string).collect();
        Err(self.instead_of(format_args!("status {}", expected.join(" or "))))
    }

    /// A header with exactly this value (one of them, where it is repeated).
    pub(crate) fn header_is(&self, name: &str, value: &str) -> Checked<'_> {
        if self.header_values(name).any(|v| v == value) {
            return Ok(self);
        }
        Err(self.instead_of(format_args!("{name}: {value}")))
    }

    pub(crate) fn body_is(&self, expected: &[u8]) -> Checked<'_> {
        if self.body == expected {
            return Ok(self);
        }
        Err(self.instead_of(format_args!("the {} bytes {}", expected.len(), shown(expected))))
    }

    /// The header that tells what was stored or served; required since version 1.1+dev.
    pub(crate) fn digest_is(&self, digest: &str) -> Checked<'_> {
        self.header_is("docker-content-digest", digest)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.header_values(name).next()
    }

    pub(crate) fn header_values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok())
    }

    /// Where `Location` leads, seen from the URL that was asked.
    pub(crate) fn location(&self) -> Result<Url, Failure> {
        let location = self.header("location").ok_or_else(|| self.instead_of("a Location"))?;
        self.url.join(location).map_err(|error| self.instead_of(format_args!("a readable Location ({error})")))
    }

    pub(crate) fn json(&self) -> Result<serde_json::Value, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| self.instead_of(format_args!("JSON ({error})")))
    }

    /// The failure of this answer to be what was expected.
    pub(crate) fn instead_of(&self, expected: impl Display) -> Failure {
        let mut text = format!("{}\n    answered {}", self.asked, self.status);
        for (name, value) in &self.headers {
            text.push_str(&format!("\n      {name}: {}", String::from_utf8_lossy(value.as_bytes())));
        }
        text.push_str(&format!("\n      {}\n    expected {expected}", shown(&self.body)));
        Failure(text)
    }
}

fn shown(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(SHOWN_BYTES)];
    match std::str::from_utf8(cut) {
        Ok(text) if cut.len() == bytes.len() => format!("{text:?}"),
        Ok(text) => format!("{text:?} and {} bytes more", bytes.len() - cut.len()),
        Err(_) => format!("({} bytes)", bytes.len()),
    }
}
