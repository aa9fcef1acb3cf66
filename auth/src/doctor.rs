//! Looks at a live registry from outside, as its clients do, and says of each thing that must fit whether it does, and the sentence that
//! mends it. What only this server knows (what it signs with, which registries it knows) comes in as a [`Probe`].

mod judge;
#[cfg(test)]
mod tests;

use std::{net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};
use shared::{challenge::BearerChallenge, clock::Timestamp};
use url::Url;
use utoipa::ToSchema;

pub use judge::{Accepts, Observed, RealmSeen, judged};

/// How long an answer of the registry, or of the realm, is waited for.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Largest answer of a realm that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// What this server says of itself and signs, for one registry.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Probe {
    /// What time it is here.
    pub now: Timestamp,
    /// `iss` of our tokens.
    pub issuer: String,
    /// The registries that tokens are made for.
    pub services: Vec<String>,
    /// A token of ours for the registry that grants nothing; none for a service that tokens are not made for.
    pub token: Option<String>,
    /// The same, under the `iss` that was asked for, signed by nobody that anybody knows.
    pub foreign: String,
    /// The key that signs now.
    pub kid: String,
    /// When its certificate begins and ends.
    pub begins: Option<Timestamp>,
    /// When it ends.
    pub ends: Option<Timestamp>,
    /// Whether the bundle vouches for it.
    pub chained: bool,
    /// SHA-256 of the authority's certificate, in hexadecimal.
    pub bundle: String,
    /// Whether the registry has a credential for the revocation feed.
    pub credential: bool,
    /// When it last asked this server for the feed, since this began.
    pub fed_at: Option<Timestamp>,
    /// Whether other servers over the same accounts may serve the feed, too.
    pub replicas: bool,
    /// How long tokens live where nothing is revoked, in seconds.
    pub token_seconds: u64,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which.
    pub check: &'static str,
    /// How it is.
    pub state: State,
    /// What was seen, as a sentence.
    pub says: String,
    /// What mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Well,
    /// It works, and somebody should know.
    Notice,
    /// It does not work, or will not for long.
    Fault,
}

/// What a registry answered to one request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// `Date`, in seconds.
    pub date: Option<Timestamp>,
    /// The challenge, if it has a Bearer one that can be read.
    pub challenge: Option<BearerChallenge>,
}

/// A client for registries and realms that nobody vouched for: it follows nothing and waits for nobody.
///
/// # Errors
/// The certificates cannot be used.
pub fn client(authorities: Option<&[u8]>) -> Result<reqwest::Client, reqwest::Error> {
    shared::crypto::install();
    let mut client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(PATIENCE);
    if let Some(pem) = authorities {
        client = client.tls_certs_merge(reqwest::Certificate::from_pem_bundle(pem)?);
    }
    client.build()
}

/// Asks the registry for `/v2/`, with a token or without.
///
/// # Errors
/// It did not answer.
pub async fn version_check(client: &reqwest::Client, registry: &Url, token: Option<&str>) -> Result<Answer, String> {
    let url = registry.join("/v2/").map_err(|error| error.to_string())?;
    let mut request = client.get(url);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.map_err(|error| told(&error))?;
    let header = |name: &str| answer.headers().get_all(name).iter().filter_map(|value| value.to_str().ok());
    let date = header("date").next().and_then(http_date);
    let challenge = header("www-authenticate").find_map(|text| text.parse().ok());
    Ok(Answer { status: answer.status().as_u16(), date, challenge })
}

/// Asks the realm for a token that grants nothing, and looks at who signed it. The registry says where that is, and nobody vouched for it:
/// what only answers to its own machine or its own link (the metadata of clouds) is not asked.
pub async fn realm(client: &reqwest::Client, challenge: &BearerChallenge, service: &str) -> RealmSeen {
    let Ok(url) = challenge.realm.parse::<Url>() else { return RealmSeen::NoUrl };
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else { return RealmSeen::NoUrl };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match tokio::net::lookup_host((bare, port)).await {
        Ok(mut found) => {
            if found.any(|address| is_of_the_link(address.ip())) {
                return RealmSeen::OfTheLink;
            }
        }
        Err(error) => return RealmSeen::Silent(error.to_string()),
    }
    let answer = match client.get(url).query(&[("service", service)]).send().await {
        Ok(answer) => answer,
        Err(error) => return RealmSeen::Silent(told(&error)),
    };
    let status = answer.status().as_u16();
    let body: serde_json::Value = serde_json::from_slice(&beginning(answer).await).unwrap_or_default();
    let kid = body["token"].as_str().or_else(|| body["access_token"].as_str()).and_then(key_id);
    RealmSeen::Answered { status, kid }
}

/// 169.254.0.0/16 and fe80::/10, in either family's clothes.
fn is_of_the_link(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// As much of an answer as is read, whatever its length is said to be.
async fn beginning(mut answer: reqwest::Response) -> Vec<u8> {
    let mut read = Vec::new();
    while let Ok(Some(piece)) = answer.chunk().await {
        read.extend_from_slice(&piece);
        if read.len() > MAX_ANSWER_BYTES {
            break;
        }
    }
    read
}

/// The key that a token says it was signed with. Nothing is proven by it: what the registry accepts is looked at elsewhere.
fn key_id(token: &str) -> Option<String> {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let head = URL_SAFE_NO_PAD.decode(token.split('.').next()?).ok()?;
    let head: serde_json::Value = serde_json::from_slice(&head).ok()?;
    head["kid"].as_str().map(str::to_owned)
}

/// Names that registries are often told an issuer has.
#[must_use]
pub fn likely_issuers(registry: &Url, challenge: &BearerChallenge, service: &str) -> Vec<String> {
    let realm: Option<Url> = challenge.realm.parse().ok();
    let origin = realm.as_ref().map(|realm| realm.origin().ascii_serialization());
    let hosts =
        [realm.as_ref(), Some(registry)].into_iter().flatten().filter_map(|url| url.host_str().map(str::to_owned));
    let mut likely: Vec<String> =
        [service.to_owned(), challenge.realm.clone(), "portreeve".to_owned(), "auth".to_owned()].into();
    likely.extend(origin);
    likely.extend(hosts);
    likely.push("Auth service".to_owned());
    likely.push("Acme auth server".to_owned());
    likely
}

/// `Sun, 22 Nov 2026 02:00:00 GMT`.
fn http_date(text: &str) -> Option<Timestamp> {
    use time::{PrimitiveDateTime, macros::format_description};
    let form = format_description!(
        version = 2,
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let moment = PrimitiveDateTime::parse(text, form).ok()?;
    Some(Timestamp::from_seconds(moment.assume_utc().unix_timestamp()))
}

/// What went wrong, with its causes: the library's own sentence says only that something did.
fn told(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
