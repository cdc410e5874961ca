use std::net::SocketAddr;

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Of a socket that has addresses, or whom a header of the PROXY protocol names.
    Addr(SocketAddr),
    /// Whoever may connect to a Unix socket of ours.
    Unix,
    /// There is no socket, or nobody says who it is.
    Unknown,
}

impl Peer {
    pub(crate) const fn addr(self) -> Option<SocketAddr> {
        match self {
            Self::Addr(addr) => Some(addr),
            Self::Unix | Self::Unknown => None,
        }
    }
}

impl From<Option<SocketAddr>> for Peer {
    fn from(addr: Option<SocketAddr>) -> Self {
        addr.map_or(Self::Unknown, Self::Addr)
    }
}
