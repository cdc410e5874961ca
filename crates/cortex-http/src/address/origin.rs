use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;
use http::uri::{Authority, Scheme};

use crate::problem::Problem;
use crate::shared::Conn;

/// Where a request came from, as far as those say who are trusted: an extractor for handlers and middleware of axum.
///
/// Who that is, [`Server::client_address`](crate::Server::client_address) says; without it, extracting this answers 500
/// and logs what is missing, because no answer would be right. What a request says of itself is not looked at: only a
/// proxy that is trusted can tell whether it lies.
///
/// In a test without a [`Server`](crate::Server), put one into the extensions of the request.
///
/// # Performance
///
/// The headers are read when it is extracted. A server that is told who to trust puts a reference to the connection into
/// each request for that, one small allocation; one that is not pays nothing.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use axum::routing::get;
/// use cortex_http::{ClientAddress, Forwarded, Routes, Server, TrustedProxies};
/// # use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// async fn who(Forwarded { client, scheme, .. }: Forwarded) -> String {
///     format!("{client:?} over {scheme:?}")
/// }
/// let proxies = TrustedProxies::new(["127.0.0.1"])?;
/// let running = Server::new(Routes::new().route("/", get(who)))
///     .client_address(ClientAddress::Forwarded(proxies))
///     .start("127.0.0.1:0")
///     .await?;
///
/// # let mut socket = tokio::net::TcpStream::connect(running.local_addr()).await?;
/// let request = "GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\
///                forwarded: for=192.0.2.7;proto=https\r\n\r\n";
/// # socket.write_all(request.as_bytes()).await?;
/// # let mut response = String::new();
/// # socket.read_to_string(&mut response).await?;
/// assert!(response.ends_with(r#"Some(192.0.2.7) over Some("https")"#));
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Forwarded {
    /// Who asks: the first that is no trusted proxy. `None` if a proxy does not know or cannot be understood, on a Unix
    /// socket unless `unix:` is [trusted](crate::TrustedProxies::new), and where there is no socket.
    pub client: Option<IpAddr>,
    /// The scheme that was asked for, of the proxy that the client spoke to. `None` if none says: then it is that of the
    /// port that the request came to.
    pub scheme: Option<Scheme>,
    /// The host, perhaps with a port, that was asked for, of the proxy that the client spoke to. `None` if none says:
    /// then it is what `Host` or the address of the request says. A client can ask for any host: check it before it is
    /// made a link.
    pub host: Option<Authority>,
}

/// Says in the extensions of a request over which connection it came, for who reads its headers later.
#[derive(Clone)]
pub(crate) struct Via(pub(crate) Arc<Conn>);

impl<S: Sync> FromRequestParts<S> for Forwarded {
    type Rejection = ForwardedRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ForwardedRejection> {
        if let Some(given) = parts.extensions.get::<Self>() {
            return Ok(given.clone());
        }
        let Some(Via(conn)) = parts.extensions.get() else {
            return Err(ForwardedRejection(()));
        };
        let policy = &conn.shared.addresses.client;
        Ok(policy.forwarded(conn.other_end(), &parts.headers))
    }
}

/// Answers 500: [`Server::client_address`](crate::Server::client_address) says nothing, so that [`Forwarded`] could only
/// be a guess.
#[derive(Debug)]
pub struct ForwardedRejection(());

impl IntoResponse for ForwardedRejection {
    fn into_response(self) -> Response {
        tracing::error!("a handler asks for Forwarded, but Server::client_address does not say who to trust");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR).into_response()
    }
}
