use std::io;
use std::net::SocketAddr;

use tokio::time::{Instant, timeout_at};

use super::accept::Open;
use super::proxy_protocol::{Source, read_header};
use super::sniff::Protocol;
use super::stream::Stream;
use crate::address::TrustedProxies;
use crate::listen::{Accepted, Socket};

/// A connection that is ready for HTTP.
#[derive(Debug)]
pub(super) struct Established {
    pub(super) stream: Stream,
    pub(super) peer: Option<SocketAddr>,
    /// It came over a Unix socket, and no header says for whom.
    pub(super) unix: bool,
    /// What the client and we agreed on in the handshake of TLS.
    pub(super) agreed: Option<Protocol>,
}

/// Why a connection does not get as far as HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The client left without a word: somebody looks whether the port is open.
    Left,
    /// Something is wrong; its name for the metrics.
    For(&'static str),
}

/// Reads what comes before HTTP: the header of a proxy, and the handshake of TLS. Between these the peer is known, and
/// takes its place: a handshake costs more than most requests.
///
/// # Cancel safety
///
/// Dropping it closes the connection.
pub(super) async fn establish(accepted: Accepted, open: &Open) -> Result<Established, Refused> {
    let Accepted {
        mut socket,
        mut peer,
        entry,
    } = accepted;
    let unix = matches!(socket, Socket::Unix(_)) && entry.proxies.is_none();
    let shared = &open.shared;
    let now = Instant::from_std(shared.clock.now());
    let first_byte = now + shared.limits.first_byte;
    if let Some(proxies) = &entry.proxies {
        peer = timeout_at(first_byte, speaks_for(&mut socket, peer, proxies))
            .await
            .unwrap_or(Err(Refused::For("first_byte_timeout")))?;
    }
    if !open.admit(peer) {
        return Err(Refused::For("per_peer"));
    }
    #[cfg(feature = "tls")]
    if let Some(tls) = &entry.tls {
        let has_bytes = timeout_at(first_byte, socket.has_bytes());
        match has_bytes.await {
            Err(_) => return Err(Refused::For("first_byte_timeout")),
            Ok(Err(_)) => return Err(Refused::For("io")),
            Ok(Ok(false)) => return Err(Refused::Left),
            Ok(Ok(true)) => {}
        }
        // Boxed: its state is large, and gone soon.
        let handshake = Box::pin(crate::tls::handshake(tls, socket));
        let (stream, agreed) = timeout_at(now + shared.limits.handshake, handshake)
            .await
            .unwrap_or(Err("handshake_timeout"))
            .map_err(Refused::For)?;
        return Ok(Established {
            stream: Stream::Tls(Box::new(stream)),
            peer,
            unix,
            agreed,
        });
    }
    Ok(Established {
        stream: Stream::Plain(socket),
        peer,
        unix,
        agreed: None,
    })
}

/// Returns who the proxy at the other end speaks for, if it is one to be believed.
async fn speaks_for(
    socket: &mut Socket,
    peer: Option<SocketAddr>,
    proxies: &TrustedProxies,
) -> Result<Option<SocketAddr>, Refused> {
    if peer.is_some_and(|peer| !proxies.contains(peer.ip().to_canonical())) {
        return Err(Refused::For("untrusted_proxy"));
    }
    match read_header(socket).await {
        Ok(None) => Err(Refused::Left),
        Ok(Some(Ok(Source::Itself))) => Ok(peer),
        Ok(Some(Ok(Source::Client(client)))) => Ok(Some(client)),
        Ok(Some(Ok(Source::Unix))) => Ok(None),
        Ok(Some(Err(_))) => Err(Refused::For("proxy_header")),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Refused::For("proxy_header")),
        Err(_) => Err(Refused::For("io")),
    }
}
