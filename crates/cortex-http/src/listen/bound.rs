use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::addr::ListenAddr;
use super::inherited::Inherited;
use super::listener::{Entry, Listener, Source};
use super::reloads::Reloads;
use super::socket::Socket;
use super::unix::{self, SocketFile};
use crate::error::Error;

/// The sockets that a server listens on.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    bound: Vec<Bound>,
    /// The one to ask first, so that a busy one does not starve the others.
    next: usize,
}

#[derive(Debug)]
struct Bound {
    /// Before the socket: while that is open nobody takes the path over.
    file: Option<SocketFile>,
    socket: BoundSocket,
    entry: Arc<Entry>,
}

#[derive(Debug)]
enum BoundSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A connection of a client.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) socket: Socket,
    /// The other end, unless it is a Unix socket.
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) entry: Arc<Entry>,
}

impl Accepted {
    /// Returns a connection of a listener without options.
    pub(crate) fn tcp(socket: TcpStream, peer: SocketAddr) -> Self {
        Self {
            socket: Socket::Tcp(socket),
            peer: Some(peer),
            entry: Arc::new(Entry::default()),
        }
    }
}

impl Listeners {
    /// Opens them in this order.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes those that are open.
    pub(crate) async fn bind(listeners: Vec<Listener>) -> Result<Self, Error> {
        let mut bound = Vec::with_capacity(listeners.len());
        for listener in listeners {
            let (source, entry) = listener.into_parts();
            let name = source.to_string();
            let refused = |error| Error::bind(&name, error);
            let mut open = |socket, file| {
                let entry = Arc::clone(&entry);
                bound.push(Bound { file, socket, entry });
            };
            match source {
                Source::Name(addr) => {
                    let socket = TcpListener::bind(addr).await.map_err(refused)?;
                    open(BoundSocket::Tcp(socket), None);
                }
                Source::Addr(addr) => {
                    let socket = TcpListener::bind(addr).await.map_err(refused)?;
                    open(BoundSocket::Tcp(socket), None);
                }
                Source::Unix { path, mode } => {
                    let refused = |error| Error::bind_unix(&path, error);
                    let (socket, file) = unix::bind(&path, mode).await.map_err(refused)?;
                    let socket = UnixListener::from_std(socket.into()).map_err(refused)?;
                    open(BoundSocket::Unix(socket), Some(file));
                }
                Source::Open(sockets) => {
                    for socket in sockets {
                        open(BoundSocket::of(socket).map_err(refused)?, None);
                    }
                }
            }
        }
        Ok(Self { bound, next: 0 })
    }

    /// Returns where they listen, in the order in which they were opened.
    pub(crate) fn addrs(&self) -> io::Result<Vec<ListenAddr>> {
        let addr = |bound: &Bound| {
            Ok(match &bound.socket {
                BoundSocket::Tcp(socket) => ListenAddr::Tcp(socket.local_addr()?),
                BoundSocket::Unix(socket) => {
                    ListenAddr::Unix(socket.local_addr()?.as_pathname().map(Into::into))
                }
            })
        };
        self.bound.iter().map(addr).collect()
    }

    /// Returns what can be read again while they are open.
    pub(crate) fn reloads(&self) -> Reloads {
        Reloads::of(self.bound.iter().map(|bound| &*bound.entry))
    }

    /// Takes the next connection of any of them.
    pub(crate) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        for asked in 0..self.bound.len() {
            let index = (self.next + asked) % self.bound.len();
            let Bound { socket, entry, .. } = &self.bound[index];
            let accepted = match socket {
                BoundSocket::Tcp(socket) => socket
                    .poll_accept(cx)
                    .map_ok(|(socket, peer)| (Socket::Tcp(socket), Some(peer))),
                BoundSocket::Unix(socket) => socket
                    .poll_accept(cx)
                    .map_ok(|(socket, _)| (Socket::Unix(socket), None)),
            };
            if let Poll::Ready(accepted) = accepted {
                self.next = index + 1;
                let entry = Arc::clone(entry);
                return Poll::Ready(accepted.map(|(socket, peer)| Accepted { socket, peer, entry }));
            }
        }
        Poll::Pending
    }

    /// Takes what the kernel has accepted already, as long as there is room, and closes them: tokio may not have heard of
    /// the latest connections yet, so the kernel is asked.
    pub(crate) fn close<R>(self, mut room: impl FnMut() -> Option<R>, mut then: impl FnMut(Accepted, R)) {
        for Bound { file, socket, entry } in self.bound {
            drop(file);
            let Ok(socket) = socket.into_std() else { continue };
            while let Some(room) = room() {
                match socket.accept() {
                    Ok((socket, peer)) => {
                        let entry = Arc::clone(&entry);
                        then(Accepted { socket, peer, entry }, room);
                    }
                    Err(error) if is_about_one_connection(&error) => {}
                    Err(_) => break,
                }
            }
        }
    }
}

impl BoundSocket {
    fn of(socket: Inherited) -> io::Result<Self> {
        match socket {
            Inherited::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                TcpListener::from_std(socket).map(Self::Tcp)
            }
            Inherited::Unix(socket) => {
                socket.set_nonblocking(true)?;
                UnixListener::from_std(socket).map(Self::Unix)
            }
        }
    }

    fn into_std(self) -> io::Result<Inherited> {
        match self {
            Self::Tcp(socket) => socket.into_std().map(Inherited::Tcp),
            Self::Unix(socket) => socket.into_std().map(Inherited::Unix),
        }
    }
}

impl Inherited {
    /// Takes a connection if there is one: it does not block.
    fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match self {
            Self::Tcp(socket) => {
                let (socket, peer) = socket.accept()?;
                socket.set_nonblocking(true)?;
                Ok((Socket::Tcp(TcpStream::from_std(socket)?), Some(peer)))
            }
            Self::Unix(socket) => {
                let (socket, _) = socket.accept()?;
                socket.set_nonblocking(true)?;
                Ok((Socket::Unix(UnixStream::from_std(socket)?), None))
            }
        }
    }
}

/// Says whether an accept failed for one connection alone, and the next may succeed at once.
pub(crate) fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}
