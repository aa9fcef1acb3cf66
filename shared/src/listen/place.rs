//! Where to listen.

use std::{
    fmt, fs, io,
    net::{IpAddr, SocketAddr},
    os::unix::{fs::PermissionsExt, net::UnixStream as StdUnixStream},
    path::{Path, PathBuf},
};

use tokio::net::{TcpListener, UnixListener};

use super::{Peer, connection::Stream};
use crate::random;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `host:port`; without a host every address, with port 0 any free port.
    Tcp(String),
    /// A socket file, which only its owner can use.
    Unix(PathBuf),
}

impl Place {
    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let Self::Tcp(address) = self else { return true };
        let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Where a listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An address of the network.
    Tcp(SocketAddr),
    /// A socket file.
    Unix(PathBuf),
}

impl Address {
    /// The network address, if it is one.
    #[must_use]
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// Where clients find it: `http://127.0.0.1:5000`, `https://…`, `unix:/run/portreeve.sock`.
    #[must_use]
    pub fn url(&self, tls: bool) -> String {
        match self {
            Self::Tcp(address) if tls => format!("https://{address}"),
            Self::Tcp(address) => format!("http://{address}"),
            Self::Unix(path) => format!("unix:{}", path.display()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// A place that was taken.
pub(super) struct Bound {
    pub(super) address: Address,
    socket: Socket,
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Bound {
    pub(super) async fn at(place: &Place) -> io::Result<Self> {
        match place {
            Place::Tcp(address) => {
                let listener = bind_tcp(address).await?;
                Ok(Self { address: Address::Tcp(listener.local_addr()?), socket: Socket::Tcp(listener) })
            }
            Place::Unix(path) => {
                Ok(Self { address: Address::Unix(path.clone()), socket: Socket::Unix(bind_unix(path)?) })
            }
        }
    }

    pub(super) async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Answers are written whole; waiting to fill a packet only delays them.
                stream.set_nodelay(true)?;
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                Ok((Stream::Tcp(stream), Peer::Tcp(peer)))
            }
            Socket::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let who = stream.peer_cred()?;
                Ok((Stream::Unix(stream), Peer::Unix { uid: who.uid(), gid: who.gid(), pid: who.pid() }))
            }
        }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Address::Unix(path) = &self.address {
            // Whoever connects to what is left would only be refused.
            let _ = fs::remove_file(path);
        }
    }
}

/// `:5000` is every address, of both families where the machine has both.
async fn bind_tcp(address: &str) -> io::Result<TcpListener> {
    let Some(port) = address.strip_prefix(':') else { return TcpListener::bind(address).await };
    let port: u16 = port.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the port is no number"))?;
    match TcpListener::bind(("::", port)).await {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => TcpListener::bind(("0.0.0.0", port)).await,
        bound => bound,
    }
}

/// Makes the socket under another name, closes it to others, and only then gives it its name: there is no moment at which somebody else could connect,
/// and what a crashed process left behind is replaced.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    if StdUnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there"));
    }
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file() || metadata.is_dir()) {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something that is no socket is there"));
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{:08x}", u32::from_ne_bytes(random::bytes())));
    let draft = PathBuf::from(name);
    let listener = UnixListener::bind(&draft)?;
    let named = fs::set_permissions(&draft, fs::Permissions::from_mode(0o600)).and_then(|()| fs::rename(&draft, path));
    if let Err(error) = named {
        let _ = fs::remove_file(&draft);
        return Err(error);
    }
    Ok(listener)
}
