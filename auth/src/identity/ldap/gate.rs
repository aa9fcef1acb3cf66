//! The way to a directory: connecting, TLS, and a gate that lets only whole, well-formed and bounded messages through to the client
//! library ([`super::message`]).
//!
//! The library gets one end of a pair of sockets and speaks to nobody else. Who connects here also sees to it that TLS stands before
//! the first request: there is no way back to plain text once a server does not begin it.

use std::{
    io,
    os::unix::net::UnixStream as Socket,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy},
    net::{TcpStream, UnixStream},
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;

use super::{
    config::{Security, Server},
    fault::Fault,
    message::{self, Answer, BadMessage, MAX_WEIGHT, Message},
};

/// How much is read at once.
const READ: usize = 16 * 1024;
/// `ExtendedRequest` with the name of StartTLS (RFC 4511, section 4.14), as message 1.
const START_TLS: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";

/// What the library waits for. What comes unasked is let through to nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Awaited {
    Nothing,
    Bind,
    Search,
}

/// The gate of one connection. It closes when it is dropped.
#[derive(Debug)]
pub(super) struct Gate {
    state: Arc<State>,
    pump: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    awaited: AtomicU8,
    weight: AtomicUsize,
    /// Why nothing more comes through.
    closed: OnceLock<Fault>,
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

/// A server that answered: nothing was said yet, and TLS has what is left of the time for connecting.
#[derive(Debug)]
pub(super) struct Reached {
    tcp: TcpStream,
    until: Instant,
    limit: Duration,
}

impl Reached {
    /// Connects. With what follows it may take so long.
    pub(super) async fn server(server: &Server, limit: Duration) -> Result<Self, Fault> {
        let until = Instant::now() + limit;
        let connected = timeout_at(until, TcpStream::connect((server.host.as_str(), server.port))).await;
        let tcp = connected.map_err(|_| Fault::Slow { what: "connecting", limit })?;
        let tcp = tcp.map_err(|error| Fault::unreachable(&error))?;
        tcp.set_nodelay(true).map_err(|error| Fault::unreachable(&error))?;
        Ok(Self { tcp, until, limit })
    }
}

impl Gate {
    /// Begins TLS with a server that was reached, and returns the end of the gate that the library speaks to.
    pub(super) async fn open(reached: Reached, server: &Server, tls: &TlsConnector) -> Result<(Self, Socket), Fault> {
        let Reached { tcp, until, limit } = reached;
        let secured = timeout_at(until, secure(tcp, server, tls)).await;
        let stream = secured.unwrap_or(Err(Fault::Slow { what: "beginning TLS", limit }))?;
        let (ours, theirs) = Socket::pair().map_err(|error| Fault::here(&error))?;
        ours.set_nonblocking(true).map_err(|error| Fault::here(&error))?;
        let ours = UnixStream::from_std(ours).map_err(|error| Fault::here(&error))?;
        let state = Arc::new(State {
            awaited: AtomicU8::new(Awaited::Nothing as u8),
            weight: AtomicUsize::new(0),
            closed: OnceLock::new(),
        });
        let pump = tokio::spawn(pump(stream, ours, state.clone()));
        Ok((Self { state, pump }, theirs))
    }

    /// The next operation: what its answers may be, and a new allowance for what they weigh.
    pub(super) fn expect(&self, awaited: Awaited) {
        self.state.weight.store(0, Ordering::SeqCst);
        self.state.awaited.store(awaited as u8, Ordering::SeqCst);
    }

    /// Why the connection ended, if it did.
    pub(super) fn why_closed(&self) -> Fault {
        self.state.closed.get().cloned().unwrap_or(Fault::Lost)
    }
}

/// What either kind of connection is.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn secure(mut tcp: TcpStream, server: &Server, tls: &TlsConnector) -> Result<Box<dyn Stream>, Fault> {
    match server.security {
        Security::Plain => return Ok(Box::new(tcp)),
        Security::StartTls => start_tls(&mut tcp).await?,
        Security::Ldaps => {}
    }
    let name = ServerName::try_from(server.host.clone()).map_err(|error| Fault::Tls(error.to_string()))?;
    let stream = tls.connect(name, tcp).await.map_err(|error| Fault::Tls(error.to_string()))?;
    Ok(Box::new(stream))
}

/// Asks for TLS. Everything but a yes ends the connection: bytes behind the yes too, which somebody on the way could have put there.
async fn start_tls(tcp: &mut TcpStream) -> Result<(), Fault> {
    tcp.write_all(START_TLS).await.map_err(|error| Fault::unreachable(&error))?;
    let mut bytes = Vec::new();
    let whole = loop {
        if let Some(whole) = message::length(&bytes)? {
            if whole > READ {
                return Err(BadMessage::Oversized.into());
            }
            if bytes.len() >= whole {
                break whole;
            }
        }
        if tcp.read_buf(&mut bytes).await.map_err(|error| Fault::unreachable(&error))? == 0 {
            return Err(Fault::Lost);
        }
    };
    match message::read(&bytes[..whole])? {
        _ if bytes.len() > whole => Err(BadMessage::Malformed.into()),
        Message { id: 1, answer: Answer::Extended, code: Some(0), .. } => Ok(()),
        Message { id: 1, answer: Answer::Extended, code: Some(code), .. } => Err(Fault::NoStartTls { code }),
        _ => Err(BadMessage::Malformed.into()),
    }
}

async fn pump(remote: Box<dyn Stream>, local: UnixStream, state: Arc<State>) {
    let (mut from_remote, mut to_remote) = tokio::io::split(remote);
    let (mut from_local, mut to_local) = local.into_split();
    let asking = async {
        let _ = copy(&mut from_local, &mut to_remote).await;
        let _ = to_remote.shutdown().await;
    };
    let answering = async {
        let fault = admit(&mut from_remote, &mut to_local, &state).await.err().unwrap_or(Fault::Lost);
        // The first reason is the reason.
        let _ = state.closed.set(fault);
    };
    tokio::select! {
        () = asking => {}
        () = answering => {}
    }
}

/// Hands on message after message, as long as each is what was asked for.
async fn admit(
    remote: &mut (impl AsyncRead + Unpin),
    local: &mut (impl AsyncWrite + Unpin),
    state: &State,
) -> Result<(), Fault> {
    let mut bytes = Vec::with_capacity(READ);
    loop {
        while let Some(whole) = message::length(&bytes)?.filter(|whole| *whole <= bytes.len()) {
            state.judge(&message::read(&bytes[..whole])?)?;
            local.write_all(&bytes[..whole]).await.map_err(|error| Fault::here(&error))?;
            bytes.drain(..whole);
        }
        bytes.reserve(READ);
        match remote.read_buf(&mut bytes).await {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            // Servers close without the farewell of TLS.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(Fault::unreachable(&error)),
        }
    }
}

impl State {
    fn judge(&self, message: &Message) -> Result<(), Fault> {
        let awaited = self.awaited.load(Ordering::SeqCst);
        let fits = match message.answer {
            Answer::Bind => awaited == Awaited::Bind as u8,
            Answer::SearchGoesOn | Answer::SearchEnds => awaited == Awaited::Search as u8,
            Answer::Extended => false,
        };
        // Unasked comes a server's word that it ends the connection (RFC 4511, section 4.4.1), with id 0.
        if message.id == 0 {
            return Err(Fault::Lost);
        }
        if !fits {
            return Err(BadMessage::Malformed.into());
        }
        if message.answer != Answer::SearchGoesOn {
            self.awaited.store(Awaited::Nothing as u8, Ordering::SeqCst);
        }
        let before = self.weight.fetch_add(message.weight, Ordering::SeqCst);
        if before + message.weight > MAX_WEIGHT { Err(Fault::TooMuch) } else { Ok(()) }
    }
}
