#[cfg(feature = "tls")]
use tokio_rustls::server::TlsStream;

use crate::listen::{Socket, delegate_io};
#[cfg(feature = "tls")]
use crate::tls::ClientCertificate;

/// What HTTP is spoken over. One type for all, so that hyper's code is there once.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(Socket),
    /// Boxed: it is a kilobyte, which connections without TLS need not have.
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream<Socket>>),
}

impl Stream {
    pub(crate) const fn is_tls(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            #[cfg(feature = "tls")]
            Self::Tls(_) => true,
        }
    }

    /// Returns the certificate that the client has shown.
    #[cfg(feature = "tls")]
    pub(crate) fn client_certificate(&self) -> Option<ClientCertificate> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(io) => ClientCertificate::new(io.get_ref().1.peer_certificates()?),
        }
    }
}

delegate_io!(Stream {
    Plain,
    #[cfg(feature = "tls")]
    Tls
});
