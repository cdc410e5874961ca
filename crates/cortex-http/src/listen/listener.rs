use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::PathBuf;
use std::sync::Arc;

use super::inherited::{Inherited, passed, take};
use crate::address::TrustedProxies;
use crate::error::{Error, ErrorKind};
#[cfg(feature = "tls")]
use crate::tls::Tls;

/// What a server listens on: an address, a Unix socket, or sockets that somebody else opened.
///
/// Whatever names a TCP address becomes one: `"127.0.0.1:8080"`, a `SocketAddr`, an IP address and a port. So does a
/// listener of the standard library.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use cortex_http::{Listener, Routes, Server, TrustedProxies};
///
/// let behind_haproxy = Listener::tcp("127.0.0.1:0").proxy_protocol(TrustedProxies::new(["10.0.0.0/8"])?);
/// let running = Server::new(Routes::new()).listen(behind_haproxy).start("127.0.0.1:0").await?;
/// assert_eq!(running.addrs().len(), 2);
/// # running.kill();
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a listener does nothing until a server starts with it"]
pub struct Listener {
    pub(super) source: Source,
    pub(super) proxies: Option<TrustedProxies>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<Tls>,
}

#[derive(Debug)]
pub(super) enum Source {
    Name(String),
    Addr(SocketAddr),
    Unix { path: PathBuf, mode: Option<u32> },
    Open(Vec<Inherited>),
}

impl Listener {
    const fn of(source: Source) -> Self {
        Self {
            source,
            proxies: None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Listens on an address; port 0 takes a free one.
    pub fn tcp(addr: impl Into<Self>) -> Self {
        addr.into()
    }

    /// Listens on a Unix socket of this path.
    ///
    /// A socket file that nobody listens on, as a killed process leaves it, is replaced; what is anything else is not
    /// touched, and the start fails. Of two that start at once, one gets the path. The file is removed at the end. Who may connect is up to the [mode](Self::mode) and
    /// the directory. Requests have no peer address; of whom
    /// a proxy speaks that connects there, is known if [`TrustedProxies`] name it `unix:`.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use cortex_http::{Listener, Routes, Server};
    ///
    /// # let directory = std::env::temp_dir().join(format!("cortex-doc-{}", std::process::id()));
    /// # std::fs::create_dir_all(&directory)?;
    /// let path = directory.join("shop.sock");
    /// let running = Server::new(Routes::new()).start(Listener::unix(&path).mode(0o660)).await?;
    /// assert_eq!(running.addrs()[0].to_string(), format!("unix:{}", path.display()));
    /// running.shutdown();
    /// running.join().await;
    /// assert!(!path.exists());
    /// # std::fs::remove_dir(directory)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self::of(Source::Unix {
            path: path.into(),
            mode: None,
        })
    }

    /// Sets the permissions of the socket file, as `0o660`, before anybody can connect. Default: as the umask says.
    /// Nothing but [`unix`](Self::unix) has them.
    pub fn mode(mut self, permissions: u32) -> Self {
        if let Source::Unix { mode, .. } = &mut self.source {
            *mode = Some(permissions);
        }
        self
    }

    /// Takes over all sockets that systemd, or whoever speaks the protocol of `sd_listen_fds(3)`, passes to this process.
    ///
    /// The port stays open while the service restarts, and needs no privilege of it. Sockets of IP and Unix are taken, of
    /// units with `Accept=no`. They can be taken once: call this early, and keep the result. They are closed on exec from
    /// then on, so that children do not keep the port open.
    ///
    /// # Errors
    ///
    /// No sockets were passed, or to another process; one is no socket that listens, or has been taken before.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_http::{ErrorKind, Listener};
    ///
    /// let listener = match Listener::systemd() {
    ///     Ok(listener) => listener,
    ///     Err(error) if error.kind() == ErrorKind::Inherited => "127.0.0.1:8080".into(), // started by hand
    ///     Err(error) => return Err(error),
    /// };
    /// # drop(listener);
    /// # Ok::<(), cortex_http::Error>(())
    /// ```
    pub fn systemd() -> Result<Self, Error> {
        Self::inherited(None)
    }

    /// As [`systemd`](Self::systemd), those sockets alone whose unit has this `FileDescriptorName=`.
    ///
    /// # Errors
    ///
    /// As [`systemd`](Self::systemd), and when none has the name.
    pub fn systemd_named(name: &str) -> Result<Self, Error> {
        Self::inherited(Some(name))
    }

    fn inherited(name: Option<&str>) -> Result<Self, Error> {
        let variable = |key: &str| -> Option<OsString> { std::env::var_os(key) };
        let fds = passed(name, std::process::id(), variable)?;
        Ok(Self::of(Source::Open(take(&fds)?)))
    }

    /// Takes over a listening socket: a `TcpListener` or `UnixListener` of the standard library, or any descriptor that
    /// is one. It is set to not block. The file of a Unix socket stays at the end.
    ///
    /// # Errors
    ///
    /// It is no stream socket of IP or Unix that listens.
    pub fn from_std(socket: impl Into<std::os::fd::OwnedFd>) -> Result<Self, Error> {
        let socket = Inherited::of(socket.into()).map_err(|error| {
            Error::new(
                ErrorKind::Inherited,
                "take over a socket that listens",
                Some(error),
            )
        })?;
        Ok(Self::of(Source::Open(vec![socket])))
    }

    /// Speaks TLS with whoever connects.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Expects connections to begin with a header of the PROXY protocol of `HAProxy`, version 1 or 2, as load balancers write
    /// it that pass bytes on: who they name is the peer of the connection then. Extensions are skipped; a checksum is
    /// compared.
    ///
    /// Whoever can write that header can be anybody, so connections from others than these proxies are closed; so are
    /// those that begin with something else. On a Unix socket, whose permissions say who connects, everybody is believed.
    pub fn proxy_protocol(mut self, proxies: TrustedProxies) -> Self {
        self.proxies = Some(proxies);
        self
    }
}

impl From<&str> for Listener {
    /// Listens on an IP address or a host name, and a port.
    fn from(addr: &str) -> Self {
        addr.to_owned().into()
    }
}

impl From<String> for Listener {
    /// Listens on an IP address or a host name, and a port.
    fn from(addr: String) -> Self {
        Self::of(Source::Name(addr))
    }
}

impl From<&String> for Listener {
    /// Listens on an IP address or a host name, and a port.
    fn from(addr: &String) -> Self {
        addr.clone().into()
    }
}

impl From<SocketAddr> for Listener {
    fn from(addr: SocketAddr) -> Self {
        Self::of(Source::Addr(addr))
    }
}

impl From<(IpAddr, u16)> for Listener {
    fn from(addr: (IpAddr, u16)) -> Self {
        SocketAddr::from(addr).into()
    }
}

impl From<(Ipv4Addr, u16)> for Listener {
    fn from(addr: (Ipv4Addr, u16)) -> Self {
        SocketAddr::from(addr).into()
    }
}

impl From<(Ipv6Addr, u16)> for Listener {
    fn from(addr: (Ipv6Addr, u16)) -> Self {
        SocketAddr::from(addr).into()
    }
}

impl From<([u8; 4], u16)> for Listener {
    fn from(addr: ([u8; 4], u16)) -> Self {
        SocketAddr::from(addr).into()
    }
}

impl From<(&str, u16)> for Listener {
    /// Listens on a host name, or an IP address without brackets, and a port.
    fn from((host, port): (&str, u16)) -> Self {
        match host.parse::<IpAddr>() {
            Ok(ip) => (ip, port).into(),
            Err(_) => format!("{host}:{port}").into(),
        }
    }
}

impl From<std::net::TcpListener> for Listener {
    /// Takes over a socket that listens, as a `TcpListener` does.
    fn from(socket: std::net::TcpListener) -> Self {
        Self::of(Source::Open(vec![Inherited::Tcp(socket)]))
    }
}

impl From<StdUnixListener> for Listener {
    /// Takes over a socket that listens, as a `UnixListener` does.
    fn from(socket: StdUnixListener) -> Self {
        Self::of(Source::Open(vec![Inherited::Unix(socket)]))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Addr(addr) => addr.fmt(f),
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
            Self::Open(_) => f.write_str("a socket that was passed"),
        }
    }
}

/// How connections of one listener begin.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(crate) proxies: Option<TrustedProxies>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Tls>,
}

impl Listener {
    pub(super) fn into_parts(self) -> (Source, Arc<Entry>) {
        let entry = Entry {
            proxies: self.proxies,
            #[cfg(feature = "tls")]
            tls: self.tls,
        };
        (self.source, Arc::new(entry))
    }
}
