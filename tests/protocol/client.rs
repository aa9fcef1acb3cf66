//! A registry client that does what is asked and nothing on its own, except for fetching tokens.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use reqwest::{
    Body, Method,
    header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue},
};
use tokio::time::sleep;
use url::Url;

use super::{
    answer::{Answer, Failure},
    challenge::Challenge,
};

/// As whom the client comes.
pub(crate) enum Login {
    /// Without anything; a challenge is the answer.
    Open,
    /// With this token, whatever the challenge says.
    Token(String),
    /// A challenge is answered with a token for nobody.
    Anonymous,
    Account {
        user: String,
        password: String,
    },
}

/// One registry and one login. Tokens are kept per repository and kind of request, as real clients keep them.
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    login: Login,
    tokens: Mutex<HashMap<TokenKey, String>>,
}

type TokenKey = (String, &'static str);

impl Client {
    pub(crate) fn new(base: Url, login: Login) -> Self {
        // Ours or another test's: either is the ring provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().build().expect("a plain client can be built");
        Self { http, base, login, tokens: Mutex::default() }
    }

    /// A request to `/v2/PATH`.
    pub(crate) fn request(&self, method: Method, path: &str) -> Request<'_> {
        self.follow(method, self.base.join("/v2/").and_then(|v2| v2.join(path)).expect("paths of the suite are valid"))
    }

    /// A request to where a `Location` led.
    pub(crate) fn follow(&self, method: Method, url: Url) -> Request<'_> {
        Request { client: self, method, url, headers: HeaderMap::new(), body: Content::None }
    }

    async fn token(&self, challenge: &Challenge) -> Result<String, Failure> {
        let realm =
            Url::parse(&challenge.realm).map_err(|e| Failure::new(format!("realm {}: {e}", challenge.realm)))?;
        let mut query = vec![("service", challenge.service.as_str())];
        query.extend(challenge.scope.as_deref().map(|scope| ("scope", scope)));
        let mut request = self.http.get(realm.clone()).query(&query);
        if let Login::Account { user, password } = &self.login {
            request = request.basic_auth(user, Some(password));
        }
        let lost = |error: reqwest::Error| Failure::new(format!("GET {realm}: {error:?}"));
        let response = request.send().await.map_err(lost)?;
        let answer = read(format!("GET {realm} {query:?}"), realm.clone(), response).await?;
        let body = answer.status(&[200])?.json()?;
        let token = body["access_token"].as_str().or(body["token"].as_str());
        token.map(str::to_owned).ok_or_else(|| answer.instead_of("a token"))
    }
}

/// What a request carries.
#[derive(Clone)]
enum Content {
    None,
    /// With its length announced.
    Sized(Bytes),
    /// In chunks of unannounced number, as a client sends what it produces on the way.
    Streamed(Bytes),
    /// The same from a slow client: this pause before each piece.
    Trickled(Bytes, Duration),
}

/// A request under construction.
pub(crate) struct Request<'a> {
    client: &'a Client,
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Content,
}

impl Request<'_> {
    pub(crate) fn header(mut self, name: &'static str, value: impl AsRef<str>) -> Self {
        let value = HeaderValue::from_str(value.as_ref()).expect("headers of the suite are valid");
        self.headers.append(HeaderName::from_static(name), value);
        self
    }

    pub(crate) fn query(mut self, name: &str, value: &str) -> Self {
        self.url.query_pairs_mut().append_pair(name, value);
        self
    }

    /// Sends `bytes` with their length.
    pub(crate) fn body(mut self, bytes: &Bytes) -> Self {
        self.body = Content::Sized(bytes.clone());
        self.header("content-type", "application/octet-stream")
    }

    /// Sends `bytes` without their length.
    pub(crate) fn streamed(mut self, bytes: &Bytes) -> Self {
        self.body = Content::Streamed(bytes.clone());
        self
    }

    /// Sends `bytes` in pieces, with a pause before each.
    pub(crate) fn trickled(mut self, bytes: &Bytes, pause: Duration) -> Self {
        self.body = Content::Trickled(bytes.clone(), pause);
        self
    }

    /// Sends it; answers a challenge once, with a token for exactly what the challenge names.
    pub(crate) async fn send(self) -> Result<Answer, Failure> {
        let key = self.token_key();
        match &self.client.login {
            Login::Open => return self.attempt(None).await,
            Login::Token(token) => return self.attempt(Some(token)).await,
            Login::Anonymous | Login::Account { .. } => {}
        }
        let kept = self.client.tokens.lock().expect("no holder panics").get(&key).cloned();
        let answer = self.attempt(kept.as_deref()).await?;
        if answer.status != 401 {
            return Ok(answer);
        }
        let header = answer.header("www-authenticate").ok_or_else(|| answer.instead_of("a challenge"))?;
        let challenge = Challenge::parse(header).map_err(|error| answer.instead_of(error))?;
        let token = self.client.token(&challenge).await?;
        let answer = self.attempt(Some(&token)).await?;
        self.client.tokens.lock().expect("no holder panics").insert(key, token);
        Ok(answer)
    }

    async fn attempt(&self, token: Option<&str>) -> Result<Answer, Failure> {
        let mut request = self.client.http.request(self.method.clone(), self.url.clone()).headers(self.headers.clone());
        request = match &self.body {
            // PUT without a body still says so; the rest needs no length.
            Content::None if self.method == Method::GET || self.method == Method::HEAD => request,
            Content::None => request.header(CONTENT_LENGTH, 0),
            Content::Sized(bytes) => request.body(bytes.clone()),
            Content::Streamed(bytes) => request.body(in_pieces(bytes, 3, Duration::ZERO)),
            Content::Trickled(bytes, pause) => request.body(in_pieces(bytes, 100, *pause)),
        };
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let response = request.send().await.map_err(|error| Failure::new(format!("{}: {error:?}", self.shown())))?;
        read(self.shown(), self.url.clone(), response).await
    }

    /// The repository and the kind of access, by which tokens are kept.
    fn token_key(&self) -> TokenKey {
        let path = self.url.path().trim_start_matches("/v2/");
        let kinds = ["/blobs/", "/manifests/", "/tags/", "/referrers/"];
        let end = kinds.iter().find_map(|kind| path.rfind(kind)).unwrap_or(0);
        let access = match self.method {
            Method::GET | Method::HEAD => "pull",
            Method::DELETE if path.contains("/blobs/uploads/") => "push",
            Method::DELETE => "delete",
            _ => "push",
        };
        (path[..end].to_owned(), access)
    }

    fn shown(&self) -> String {
        let mut text = format!("{} {}", self.method, self.url);
        for (name, value) in &self.headers {
            text.push_str(&format!("\n      {name}: {}", String::from_utf8_lossy(value.as_bytes())));
        }
        match &self.body {
            Content::None => {}
            Content::Sized(bytes) => text.push_str(&format!("\n      ({} bytes)", bytes.len())),
            Content::Streamed(bytes) | Content::Trickled(bytes, _) => {
                text.push_str(&format!("\n      ({} bytes, streamed)", bytes.len()));
            }
        }
        text
    }
}

/// Several pieces, so that the server sees a body arrive and not one frame that happens to be whole.
fn in_pieces(bytes: &Bytes, count: usize, pause: Duration) -> Body {
    let size = bytes.len().div_ceil(count).max(1);
    let pieces: Vec<Bytes> = bytes.chunks(size).map(Bytes::copy_from_slice).collect();
    Body::wrap_stream(stream::iter(pieces).then(move |piece| async move {
        if !pause.is_zero() {
            sleep(pause).await;
        }
        Ok::<_, std::io::Error>(piece)
    }))
}

async fn read(asked: String, url: Url, response: reqwest::Response) -> Result<Answer, Failure> {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body =
        response.bytes().await.map_err(|error| Failure::new(format!("{asked}: the body broke off: {error:?}")))?;
    Ok(Answer { asked, url, status, headers, body })
}
