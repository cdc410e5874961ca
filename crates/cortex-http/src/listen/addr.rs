use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where a server listens.
///
/// Its `Display` is the address, as `127.0.0.1:8080`, or `unix:` and the path.
///
/// # Examples
///
/// ```
/// use cortex_http::ListenAddr;
///
/// assert_eq!(ListenAddr::Tcp(([127, 0, 0, 1], 8080).into()).to_string(), "127.0.0.1:8080");
/// assert_eq!(ListenAddr::Unix(Some("/run/shop.sock".into())).to_string(), "unix:/run/shop.sock");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenAddr {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// The path of a Unix socket; `None` if it has none, as one in Linux's abstract namespace.
    Unix(Option<PathBuf>),
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(Some(path)) => write!(f, "unix:{}", path.display()),
            Self::Unix(None) => f.write_str("unix:(no path)"),
        }
    }
}
