//! An id for every request, and a line if one is wanted.

use std::{
    fmt,
    pin::Pin,
    str::FromStr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue, header},
    response::Response,
};
use tower::{Layer, Service};
use tracing::{Instrument, Span, field};

use crate::{listen::Peer, random};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

tokio::task_local! {
    static CURRENT: RequestId;
}

/// Names one request in log lines and in the answer's `X-Request-Id`; an extension of every request.
///
/// A sensible id that comes with the request is kept, so that a line here can be found by what a proxy wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of the request that this task is answering. None outside of every request, and in tasks that a request left behind.
    ///
    /// For what is written down or told about a request (the audit, an error of ours); nothing is decided by it.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }

    /// An id of our own: a number of this process and one of the request. Unique, not secret.
    fn next() -> Self {
        static PROCESS: OnceLock<u64> = OnceLock::new();
        static REQUEST: AtomicU64 = AtomicU64::new(1);
        let process = PROCESS.get_or_init(|| u64::from_ne_bytes(random::bytes()));
        Self(format!("{process:016x}-{:06x}", REQUEST.fetch_add(1, Ordering::Relaxed)).into())
    }

    /// What goes into log lines as it stands must not be able to forge one.
    fn given(value: &HeaderValue) -> Option<Self> {
        let text = value.to_str().ok().filter(|text| (1..=64).contains(&text.len()))?;
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        plain.then(|| Self(text.into()))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The trace that a request is part of, by W3C Trace Context (`traceparent`); an extension of requests that came with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// Of the whole trace; never zero.
    pub trace: u128,
    /// Of the caller's span; never zero.
    pub parent: u64,
    /// Whether the caller records it.
    pub sampled: bool,
}

/// The text is no `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent")]
pub struct InvalidTraceParent;

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    /// Version 00 has exactly four fields; a later version may have more behind them.
    fn from_str(text: &str) -> Result<Self, InvalidTraceParent> {
        let mut fields = text.split('-');
        let mut field = |digits| fields.next().and_then(|field| hex(field, digits)).ok_or(InvalidTraceParent);
        let (version, trace, parent, flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
        let more = fields.next().is_some();
        if version == 0xff || (version == 0 && more) || trace == 0 || parent == 0 {
            return Err(InvalidTraceParent);
        }
        let parent = u64::try_from(parent).map_err(|_| InvalidTraceParent)?;
        Ok(Self { trace, parent, sampled: flags & 1 == 1 })
    }
}

/// Exactly so many lower-case hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let lower = text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if text.len() == digits && lower { u128::from_str_radix(text, 16).ok() } else { None }
}

/// Whether every request is worth a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// One line each, under the target `access`, when the head of the answer is ready.
    On,
    /// None.
    Off,
}

/// Gives every request its id and its span. Every listener lays it around all that it serves ([`crate::listen::Listener`]), so that
/// no answer goes without.
#[derive(Clone, Copy, Debug)]
pub struct Observe(pub AccessLog);

impl<S> Layer<S> for Observe {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        Observed { inner, access: self.0 }
    }
}

/// What [`Observe`] makes of a service.
#[derive(Clone, Debug)]
pub struct Observed<S> {
    inner: S,
    access: AccessLog,
}

impl<S, B> Service<Request<B>> for Observed<S>
where
    S: Service<Request<B>, Response = Response>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let id = request.headers().get(X_REQUEST_ID).and_then(RequestId::given).unwrap_or_else(RequestId::next);
        let span = span(&mut request, &id);
        let visit = (self.access == AccessLog::On).then(|| Visit::of(&request));
        request.extensions_mut().insert(id.clone());
        let answer = span.in_scope(|| CURRENT.sync_scope(id.clone(), || self.inner.call(request)));
        let current = id.clone();
        Box::pin(
            CURRENT
                .scope(current, async move {
                    let mut response = answer.await?;
                    if let Some(visit) = visit {
                        visit.write(&response);
                    }
                    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
                        response.headers_mut().insert(X_REQUEST_ID, value);
                    }
                    Ok(response)
                })
                .instrument(span),
        )
    }
}

/// At the level of errors, so that the gravest line still says which request it was.
fn span<B>(request: &mut Request<B>, id: &RequestId) -> Span {
    let span = tracing::error_span!("request", %id, trace = field::Empty);
    let given = request.headers().get(TRACEPARENT).and_then(|value| value.to_str().ok()?.parse::<TraceParent>().ok());
    if let Some(parent) = given {
        span.record("trace", field::display(format_args!("{:032x}", parent.trace)));
        request.extensions_mut().insert(parent);
    }
    span
}

/// What an access line says about a request.
struct Visit {
    begun: Instant,
    method: axum::http::Method,
    path: String,
    peer: Option<Peer>,
    agent: Option<HeaderValue>,
}

impl Visit {
    fn of<B>(request: &Request<B>) -> Self {
        Self {
            begun: Instant::now(),
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            peer: request.extensions().get().copied(),
            agent: request.headers().get(header::USER_AGENT).cloned(),
        }
    }

    fn write(self, response: &Response) {
        let length = response.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        tracing::info!(
            target: "access",
            method = %self.method,
            path = self.path,
            status = response.status().as_u16(),
            length,
            micros = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX),
            peer = self.peer.map(field::display),
            agent = self.agent.as_ref().map(field::debug),
        );
    }
}

#[cfg(test)]
mod tests {
    use axum::{Extension, Router, body::Body, routing::get};
    use proptest::prelude::*;

    use super::*;
    use crate::telemetry::{Format, Level, tests::Lines};

    fn router(access: AccessLog) -> Router {
        let handler = |Extension(id): Extension<RequestId>, trace: Option<Extension<TraceParent>>| async move {
            tracing::warn!("inside");
            assert_eq!(RequestId::current().as_ref(), Some(&id), "whoever asks in passing is told the same");
            format!("{id} {}", trace.is_some())
        };
        Router::new().route("/v2/", get(handler)).layer(Observe(access))
    }

    async fn send(access: AccessLog, headers: &[(&str, &str)]) -> (String, String) {
        let mut request = Request::get("/v2/?secret=hunter2").header("user-agent", "docker/28 \"x\"");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(Peer::Tcp("192.0.2.1:4000".parse().unwrap()));
        let response = router(access).call(request).await.unwrap();
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        let body = axum::body::to_bytes(response.into_body(), 1024).await.unwrap();
        (id, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_sensible_id_is_kept_and_any_other_replaced() {
        // Where nobody listens, tracing notes that nobody does, for the other tests' threads too.
        let _guard = Lines::default().capture(Format::Text, Level::Info);
        let (id, body) = send(AccessLog::Off, &[("x-request-id", "proxy-7.a_b")]).await;
        assert_eq!((id.as_str(), body.as_str()), ("proxy-7.a_b", "proxy-7.a_b false"));
        let long = "x".repeat(65);
        let mut seen = std::collections::HashSet::new();
        for given in ["", "a b", "a\"b", "a\u{e9}", long.as_str()] {
            let (id, body) = send(AccessLog::Off, &[("x-request-id", given)]).await;
            assert_ne!(id, given);
            assert_eq!(body, format!("{id} false"));
            assert!(seen.insert(id), "no id is given twice");
        }
    }

    #[tokio::test]
    async fn an_access_line_says_who_asked_what_and_no_more() {
        let lines = Lines::default();
        let guard = lines.capture(Format::Json, Level::Info);
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let (id, body) = send(AccessLog::On, &[("traceparent", trace), ("authorization", "Bearer hunter2")]).await;
        drop(guard);
        assert_eq!(body, format!("{id} true"));
        let text = lines.text();
        assert!(!text.contains("hunter2"), "{text}");
        let written: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(written.len(), 2, "{text}");
        assert_eq!(written[0]["span"]["id"], id.as_str());
        assert_eq!(written[0]["span"]["trace"], "4bf92f3577b34da6a3ce929d0e0e4736");
        let access = &written[1];
        assert_eq!((&access["target"], &access["method"]), (&"access".into(), &"GET".into()));
        assert_eq!((&access["path"], &access["status"]), (&"/v2/".into(), &200.into()));
        assert_eq!(access["peer"], "192.0.2.1:4000");
        assert_eq!(access["span"]["id"], id.as_str());
        assert!(access["micros"].is_u64());
        assert!(access["agent"].as_str().unwrap().contains("docker/28"));
    }

    #[tokio::test]
    async fn outside_of_a_request_there_is_no_id() {
        assert_eq!(RequestId::current(), None);
        let left_behind = || async { tokio::spawn(async { format!("{:?}", RequestId::current()) }).await.unwrap() };
        let mut router = Router::new().route("/", get(left_behind)).layer(Observe(AccessLog::Off));
        let answer = router.call(Request::new(Body::empty())).await.unwrap();
        assert_eq!(axum::body::to_bytes(answer.into_body(), 1024).await.unwrap(), "None");
    }

    #[tokio::test]
    async fn no_access_line_is_written_where_none_is_wanted() {
        let lines = Lines::default();
        let guard = lines.capture(Format::Text, Level::Info);
        send(AccessLog::Off, &[]).await;
        drop(guard);
        let text = lines.text();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("inside"));
    }

    proptest! {
        #[test]
        fn a_traceparent_says_what_was_written(trace in 1_u128.., parent in 1_u64.., flags: u8, version in 0_u8..0xff) {
            let more = if version == 0 { "" } else { "-more" };
            let text = format!("{version:02x}-{trace:032x}-{parent:016x}-{flags:02x}{more}");
            let sampled = flags & 1 == 1;
            prop_assert_eq!(text.parse::<TraceParent>(), Ok(TraceParent { trace, parent, sampled }));
        }

        #[test]
        fn any_text_is_a_traceparent_or_none(text in "[0-9a-f-]{0,60}|\\PC{0,60}") {
            if let Ok(TraceParent { trace, parent, .. }) = text.parse() {
                let fields = format!("-{trace:032x}-{parent:016x}-");
                prop_assert_eq!(&text[2..53], fields);
            }
        }
    }

    #[test]
    fn traceparents_are_read_by_the_standard() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parsed: TraceParent = good.parse().unwrap();
        assert_eq!(parsed.trace, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!((parsed.parent, parsed.sampled), (0x00f0_67aa_0ba9_02b7, true));
        let later = good.replacen("00", "cc", 1) + "-what-the-future-will-be-like";
        assert!(later.parse::<TraceParent>().is_ok());
        for bad in [
            "",
            "00",
            &good.to_uppercase(),
            &good.replacen("00", "ff", 1),
            &format!("{good}-more"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(bad.parse::<TraceParent>(), Err(InvalidTraceParent), "{bad}");
        }
    }
}
