//! What a command asks of the admin API.

use axum::http::Method;
use serde_json::Value;
use url::Url;

/// One request. The host means nothing: it goes to a socket, or nowhere.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) body: Option<Value>,
    /// The members of a list's items that people want to see, in order.
    pub(super) columns: &'static [&'static str],
    /// What it is about, to be named if there is no such thing.
    pub(super) about: Option<String>,
}

impl Request {
    fn new(method: Method, path: &[&str], body: Option<Value>) -> Self {
        let mut url = base();
        // Names are encoded here, whatever is in them.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.extend(["api", "v1"]).extend(path);
        }
        Self { method, url, body, columns: &[], about: None }
    }

    pub(super) fn get(path: &[&str]) -> Self {
        Self::new(Method::GET, path, None)
    }

    pub(super) fn list(path: &[&str], columns: &'static [&'static str]) -> Self {
        Self { columns, ..Self::new(Method::GET, path, None) }
    }

    pub(super) fn post(path: &[&str], body: Value) -> Self {
        Self::new(Method::POST, path, Some(body))
    }

    pub(super) fn put(path: &[&str], body: Value) -> Self {
        Self::new(Method::PUT, path, Some(body))
    }

    pub(super) fn patch(path: &[&str], body: Value) -> Self {
        Self::new(Method::PATCH, path, Some(body))
    }

    pub(super) fn delete(path: &[&str]) -> Self {
        Self::new(Method::DELETE, path, None)
    }

    /// The API answers alike about what is not there and what is not the caller's. Whoever uses commands may see everything, so what
    /// is not found is not there, and can be named.
    pub(super) fn about(mut self, what: &str, name: &str) -> Self {
        self.about = Some(format!("{what} {name:?}"));
        self
    }

    pub(super) fn asking(mut self, key: &str, value: &str) -> Self {
        self.url.query_pairs_mut().append_pair(key, value);
        self
    }
}

#[expect(clippy::expect_used, reason = "a constant URL is one")]
fn base() -> Url {
    Url::parse("http://localhost").expect("a URL")
}
