use std::io;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::Error;
use tokio_rustls::server::TlsStream;

use super::config::Tls;
use crate::listen::Socket;
use crate::serve::Protocol;

/// Speaks TLS with a client; returns the protocol that ALPN chose, or the kind of what went wrong.
///
/// # Cancel safety
///
/// Dropping it closes the connection.
pub(crate) async fn handshake(
    tls: &Tls,
    socket: Socket,
) -> Result<(TlsStream<Socket>, Option<Protocol>), &'static str> {
    let stream = TlsAcceptor::from(tls.current())
        .accept(socket)
        .await
        .map_err(|error| kind(&error))?;
    let agreed = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Some(Protocol::Http2),
        Some(b"http/1.1" | b"http/1.0") => Some(Protocol::Http1),
        _ => None,
    };
    Ok((stream, agreed))
}

/// Names the failure of a handshake for the metrics.
fn kind(error: &io::Error) -> &'static str {
    let error = error.get_ref().and_then(|error| error.downcast_ref());
    match error {
        None => "io",
        // Whose certificate is not right: the client's, or ours in its eyes.
        Some(Error::NoCertificatesPresented | Error::InvalidCertificate(_)) => "tls_client_certificate",
        Some(Error::AlertReceived(_)) => "tls_alert",
        Some(_) => "tls",
    }
}
