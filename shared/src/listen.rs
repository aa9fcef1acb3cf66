//! Listening: TCP with or without TLS, and a socket file for the machine's own people.
//!
//! ```no_run
//! # async fn example(router: axum::Router) -> Result<(), Box<dyn std::error::Error>> {
//! use shared::{
//!     listen::{Limits, Listener, Place},
//!     shutdown,
//! };
//!
//! let stop = shutdown::on_signal()?;
//! let listener = Listener::bind(&Place::Tcp(":5000".into()), None, Limits::default()).await?;
//! println!("listening on {}", listener.address());
//! listener.serve(router, stop).await;
//! # Ok(())
//! # }
//! ```

pub mod body;
mod connection;
mod peers;
mod place;
mod progress;
#[cfg(test)]
mod tests;
mod tls;
mod unread;

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    http::{StatusCode, Uri},
    response::Response,
};
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::task::TaskTracker;

use self::{
    connection::{Server, Stream},
    peers::{Admitted, Peers},
    place::Bound,
};
pub use self::{
    place::{Address, Place},
    progress::Progress,
    tls::{ClientCertificates, MinimumTls, Tls},
};
use crate::{
    shutdown::CancellationToken,
    telemetry::{AccessLog, Observe},
};

/// Who is at the other end of a connection; an extension of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Somebody on the network. An IPv4 address is one, also where the listener speaks IPv6.
    Tcp(SocketAddr),
    /// A process of this machine, as the kernel vouches.
    Unix {
        /// The user it runs as.
        uid: u32,
        /// Its group.
        gid: u32,
        /// Its number, where known.
        pid: Option<i32>,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix { uid, .. } => write!(f, "uid {uid}"),
        }
    }
}

/// For the TLS handshake, unless [`Limits`] say otherwise.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// For the head of a request, and between requests.
pub const HEAD_TIME: Duration = Duration::from_secs(60);

/// Bytes of a request's head. A token may have 16 KiB, and a proxy adds its own.
pub const MAX_HEAD_BYTES: u32 = 64 << 10;

/// What running requests get to end.
pub const DRAIN_TIME: Duration = Duration::from_secs(30);

/// Open connections at once, where nothing else is said.
pub const DEFAULT_CONNECTIONS: usize = 8192;

/// Open connections from one address, where nothing else is said: room for a build farm behind one address, and an eighth of all.
pub const DEFAULT_CONNECTIONS_EACH: usize = 1024;

/// What a client may take: time, memory, connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For the TLS handshake.
    pub handshake: Duration,
    /// For the head of a request, and between requests.
    pub head: Duration,
    /// Bytes of a request's head: target, names and values.
    pub head_bytes: u32,
    /// Open connections; more wait in the kernel's queue.
    pub connections: usize,
    /// Open connections from one address, or from one network of IPv6 (/64); more are closed at once. See [`Listener::exempting`].
    pub connections_each: usize,
    /// What a client owes that reads an answer.
    pub progress: Progress,
    /// What running requests get to end when the listener is to stop.
    pub drain: Duration,
    /// Whether HTTP/2 is offered under TLS.
    pub http2: bool,
    /// Whether HTTP/2 is understood without TLS.
    pub h2c: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: HANDSHAKE_TIME,
            head: HEAD_TIME,
            head_bytes: MAX_HEAD_BYTES,
            connections: DEFAULT_CONNECTIONS,
            connections_each: DEFAULT_CONNECTIONS_EACH,
            progress: Progress::default(),
            drain: DRAIN_TIME,
            http2: true,
            h2c: false,
        }
    }
}

/// Why nobody can be heard here.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The place cannot be taken.
    #[error("cannot listen on {place}: {reason}")]
    Place {
        /// Where.
        place: Place,
        /// What stood in the way.
        reason: io::Error,
    },
    /// TLS cannot be spoken with these files.
    #[error("cannot speak TLS with {}: {reason}", file.display())]
    Tls {
        /// The file at fault.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// A place that was taken. Connections wait in the kernel's queue until it is served.
pub struct Listener {
    bound: Bound,
    server: Server,
    limits: Limits,
    peers: Peers,
}

/// After a failed accept: the process is out of files, most likely, and gets some back when connections end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

impl Listener {
    /// Takes the place.
    ///
    /// # Errors
    /// The place is taken or forbidden, or the files for TLS are unusable.
    pub async fn bind(place: &Place, tls: Option<&Tls>, limits: Limits) -> Result<Self, ListenError> {
        let server = Server::new(tls, &limits)?;
        let bound = Bound::at(place).await.map_err(|reason| ListenError::Place { place: place.clone(), reason })?;
        Ok(Self { bound, server, limits, peers: Peers::new(limits.connections_each) })
    }

    /// Does not hold [`Limits::connections_each`] against those for whom `exempt` is true: a proxy that is trusted brings everybody's
    /// requests.
    #[must_use]
    pub fn exempting(self, exempt: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self { peers: self.peers.exempting(exempt), ..self }
    }

    /// Gives those whom no router is shown an answer in the form of the protocol that they speak. Said more than once, the first counts that
    /// knows an answer; where none does, it is the status alone.
    #[must_use]
    pub fn refusing(mut self, answer: Refuse) -> Self {
        let before = self.server.refuse;
        self.server.refuse = Arc::new(move |reason, target| before(reason, target).or_else(|| answer(reason, target)));
        self
    }

    /// Writes an access line for every request, or none.
    #[must_use]
    pub fn log_requests(mut self, access: AccessLog) -> Self {
        self.server.observe = Observe(access);
        self
    }

    /// Where it is: with port 0, the port that was given.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.bound.address
    }

    /// Answers requests, each under an id of its own, until `stop` is cancelled; then takes no more connections, lets running requests end within [`Limits::drain`], and cuts off what
    /// remains.
    pub async fn serve(self, router: Router, stop: CancellationToken) {
        let Self { bound, server, limits, peers } = self;
        // With its state the router is built once and for all, not at every request.
        let router = router.with_state(());
        let (connections, cut) = (TaskTracker::new(), CancellationToken::new());
        let places = Arc::new(Semaphore::new(limits.connections));
        loop {
            let next = async {
                // The semaphore is never closed; were it, nothing would be accepted any more.
                let place = Arc::clone(&places).acquire_owned().await.ok();
                (place, bound.accept().await)
            };
            let (place, accepted) = tokio::select! {
                () = stop.cancelled() => break,
                accepted = next => accepted,
            };
            let (stream, peer): (Stream, Peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(admitted) = admit(&peers, peer) else {
                tracing::debug!(%peer, "a connection is closed: its peer has as many as it may");
                continue;
            };
            let serving = server.clone().serve(stream, peer, router.clone(), stop.clone());
            let cut = cut.clone();
            connections.spawn(async move {
                tokio::select! {
                    () = serving => {}
                    () = cut.cancelled() => {}
                }
                drop((place, admitted));
            });
        }
        drop(bound);
        connections.close();
        if timeout(limits.drain, connections.wait()).await.is_err() {
            tracing::warn!(connections = connections.len(), "cutting off requests that did not end in time");
            cut.cancel();
            connections.wait().await;
        }
    }
}

/// Why a request is shown to no router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unacceptable {
    /// Its target and fields are longer than [`Limits::head_bytes`].
    HeadTooLong,
    /// It names no host, or several (RFC 9112, section 3.2).
    Host,
}

impl fmt::Display for Unacceptable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HeadTooLong => "the request's target and headers are too long",
            Self::Host => "the request must name one host",
        })
    }
}

impl Unacceptable {
    /// The status of the answer.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::HeadTooLong => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Host => StatusCode::BAD_REQUEST,
        }
    }
}

/// Answers those whom no router is shown.
pub type Refuse = Arc<dyn Fn(Unacceptable, &Uri) -> Option<Response> + Send + Sync>;

/// Who speaks through the socket file is of this machine, and is not counted.
fn admit(peers: &Peers, peer: Peer) -> Option<Option<Admitted>> {
    match peer {
        Peer::Tcp(address) => peers.admit(address.ip()).map(Some),
        Peer::Unix { .. } => Some(None),
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("address", self.address()).finish_non_exhaustive()
    }
}
