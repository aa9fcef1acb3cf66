//! One connection, from the handshake to its end.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{
        HeaderMap, Version,
        header::{EXPECT, HOST},
    },
    response::{IntoResponse, Response},
};
use hyper::{
    body::{Body as _, Incoming},
    server::conn::http1,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulConnection},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tower::{Layer as _, Service};

use super::{
    Limits, ListenError, Peer, Refuse, Unacceptable,
    progress::{Paced, Progress, Watched},
    tls::Tls,
    unread,
};
use crate::{
    shutdown::CancellationToken,
    telemetry::{AccessLog, Observe, Observed},
};

/// How much of a body a client may send ahead on one stream of HTTP/2, and on all of them. The default of 64 KiB halves the speed of an upload.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Requests of one HTTP/2 connection that run at once, as many as RFC 9113 wants at least. Their heads, at most
/// [`Limits::head_bytes`] each, are what a connection can hold in memory.
const STREAMS: u32 = 100;
/// Streams that a client may reset before they were looked at; with more the connection ends (CVE-2023-44487).
const PENDING_RESETS: usize = 20;
/// Streams that a client may make us reset, by what it sends on them; with more the connection ends.
const PROVOKED_RESETS: usize = 128;

/// hyper takes no smaller one.
const LEAST_BUFFER: usize = 8192;

/// What was accepted.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// How connections are served.
#[derive(Clone)]
pub(super) struct Server {
    tls: Option<TlsAcceptor>,
    limits: Limits,
    protocols: Arc<Protocols>,
    pub(super) observe: Observe,
    pub(super) refuse: Refuse,
}

/// Which protocol a connection speaks is known beforehand, from ALPN or from the settings; only with `h2c` is it found out from the first bytes.
struct Protocols {
    http1: http1::Builder,
    http2: Builder<TokioExecutor>,
    either: Builder<TokioExecutor>,
}

/// What a connection speaks, as far as that is known before its first byte.
#[derive(Clone, Copy)]
enum Spoken {
    Http1,
    Http2,
    Either,
}

impl Server {
    pub(super) fn new(tls: Option<&Tls>, limits: &Limits) -> Result<Self, ListenError> {
        let protocols =
            Protocols { http1: http1_builder(limits), http2: builder(limits).http2_only(), either: builder(limits) };
        let tls = tls.map(|tls| tls.acceptor(limits.http2)).transpose()?;
        Ok(Self {
            tls,
            limits: *limits,
            protocols: Arc::new(protocols),
            observe: Observe(AccessLog::Off),
            refuse: Arc::new(|_, _| None),
        })
    }

    /// Serves the connection to its end; when `stop` is cancelled, to the end of its running requests.
    pub(super) async fn serve(self, stream: Stream, peer: Peer, router: Router, stop: CancellationToken) {
        let progress = self.limits.progress;
        match (stream, self.tls.clone()) {
            (Stream::Tcp(stream), Some(tls)) => {
                let stream = Paced::new(stream, progress);
                let stream = match timeout(self.limits.handshake, tls.accept(stream)).await {
                    Ok(Ok(stream)) => stream,
                    Ok(Err(error)) => return tracing::debug!(?peer, %error, "no TLS handshake"),
                    Err(_) => return tracing::debug!(?peer, "the TLS handshake took too long"),
                };
                let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let spoken = if http2 { Spoken::Http2 } else { Spoken::Http1 };
                self.speak(spoken, stream, peer, router, stop).await;
            }
            (Stream::Tcp(stream), None) => {
                self.speak(self.plain(), Paced::new(stream, progress), peer, router, stop).await;
            }
            // The socket file never leaves the machine.
            (Stream::Unix(stream), _) => self.speak(self.plain(), stream, peer, router, stop).await,
        }
    }

    fn plain(&self) -> Spoken {
        if self.limits.h2c { Spoken::Either } else { Spoken::Http1 }
    }

    async fn speak<S>(&self, spoken: Spoken, stream: S, peer: Peer, router: Router, stop: CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Limits { head_bytes, progress, .. } = self.limits;
        let answers = Answers { router, refuse: Arc::clone(&self.refuse), head_bytes, progress };
        let service = Heard { peer, answers: self.observe.layer(answers) };
        let (protocols, stream) = (&self.protocols, TokioIo::new(stream));
        match spoken {
            Spoken::Http1 => to_its_end(protocols.http1.serve_connection(stream, service), peer, stop).await,
            Spoken::Http2 => to_its_end(protocols.http2.serve_connection(stream, service), peer, stop).await,
            Spoken::Either => to_its_end(protocols.either.serve_connection(stream, service), peer, stop).await,
        }
    }
}

/// What a connection asks, each request with who asks it.
struct Heard {
    peer: Peer,
    answers: Observed<Answers>,
}

impl hyper::service::Service<hyper::Request<Incoming>> for Heard {
    type Response = Response;
    type Error = Infallible;
    type Future = <Observed<Answers> as Service<hyper::Request<Incoming>>>::Future;

    fn call(&self, mut request: hyper::Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.peer);
        self.answers.clone().call(request)
    }
}

/// The router, behind what is refused before anybody reads it.
#[derive(Clone)]
struct Answers {
    router: Router,
    refuse: Refuse,
    head_bytes: u32,
    progress: Progress,
}

impl Service<hyper::Request<Incoming>> for Answers {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: hyper::Request<Incoming>) -> Self::Future {
        if let Err(reason) = acceptable(&request, self.head_bytes) {
            let refused = (self.refuse)(reason, request.uri()).unwrap_or_else(|| reason.status().into_response());
            return Box::pin(std::future::ready(Ok(refused)));
        }
        Box::pin(answer(self.router.clone(), request, self.progress))
    }
}

async fn to_its_end<C>(connection: C, peer: Peer, stop: CancellationToken)
where
    C: GracefulConnection<Error: fmt::Display>,
{
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // Clients hang up whenever they like.
        tracing::debug!(?peer, %error, "a connection ended early");
    }
}

/// What the router may be shown.
fn acceptable(request: &hyper::Request<Incoming>, most: u32) -> Result<(), Unacceptable> {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target + size(request.headers()) > usize::try_from(most).unwrap_or(usize::MAX) {
        return Err(Unacceptable::HeadTooLong);
    }
    if names_one_host(request.version(), request.headers()) { Ok(()) } else { Err(Unacceptable::Host) }
}

async fn answer(
    mut router: Router,
    request: hyper::Request<Incoming>,
    progress: Progress,
) -> Result<Response, Infallible> {
    // On HTTP/2 a body that nobody reads is its stream's own matter, and so is an answer that nobody reads.
    if request.version() >= Version::HTTP_2 {
        let answer = router.call(request.map(Body::new)).await?;
        return Ok(if answer.body().is_end_stream() {
            answer
        } else {
            answer.map(|body| Body::new(Watched::new(body, progress)))
        });
    }
    if request.body().is_end_stream() {
        return router.call(request.map(Body::new)).await;
    }
    let waits = request.headers().contains_key(EXPECT);
    let (head, body) = request.into_parts();
    let (body, loan) = unread::lend(body, waits);
    let mut answer = router.call(Request::from_parts(head, Body::new(body))).await?;
    loan.settle(&mut answer).await;
    Ok(answer)
}

/// RFC 9112, section 3.2: of two hosts a proxy before us may have read the other, and realms and locations repeat what it says.
fn names_one_host(version: Version, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(_), None) => true,
        (None, _) => version != Version::HTTP_11,
        (Some(_), Some(_)) => false,
    }
}

/// Bytes of names and values, with the four that each line adds.
fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// hyper's buffer for a head is also the one that bodies arrive in, where size is speed: `answer` measures a head, and what is
/// more than a little too large is not read to its end, because every connection could hold so much.
fn http1_builder(limits: &Limits) -> http1::Builder {
    let most = usize::try_from(limits.head_bytes).unwrap_or(usize::MAX);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.head).max_header_size(most.saturating_mul(2));
    builder
}

fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // Where the protocol is found out from the first bytes, this buffer is the only bound that a head of HTTP/1 has.
    let most = usize::try_from(limits.head_bytes).unwrap_or(usize::MAX).saturating_mul(2);
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(most.max(LEAST_BUFFER));
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(limits.head_bytes)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(PROVOKED_RESETS)
        .keep_alive_interval(limits.head);
    builder
}
