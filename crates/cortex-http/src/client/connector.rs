use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tower_service::Service;

use super::error::{BoxError, ErrorKind};
use super::metrics::ClientMetrics;
use super::stream::{Io, Open, Stream};
#[cfg(feature = "tls")]
use super::tls::Tls;

/// Makes connections: the name, TCP, and the handshake of TLS, all within one limit.
#[derive(Clone)]
pub(super) struct Connector {
    tcp: HttpConnector,
    limit: Duration,
    metrics: Option<ClientMetrics>,
    #[cfg(feature = "tls")]
    tls: Arc<Tls>,
}

/// Quiet connections are asked whether they are still there, so that a firewall does not forget them unnoticed.
const KEEP_ALIVE: Duration = Duration::from_mins(1);

impl Connector {
    pub(super) fn new(
        limit: Duration,
        metrics: Option<ClientMetrics>,
        #[cfg(feature = "tls")] tls: Arc<Tls>,
    ) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEP_ALIVE));
        tcp.set_connect_timeout(Some(limit)); // shared by the addresses of a name, so that each has its turn
        Self {
            tcp,
            limit,
            metrics,
            #[cfg(feature = "tls")]
            tls,
        }
    }

    async fn connect(mut self, url: Uri) -> Result<TokioIo<Stream>, ConnectError> {
        let limit = self.limit;
        match timeout(limit, self.connect_unlimited(url)).await {
            Ok(connected) => connected,
            Err(_) => Err(ConnectError::Timeout(limit)),
        }
    }

    async fn connect_unlimited(&mut self, url: Uri) -> Result<TokioIo<Stream>, ConnectError> {
        let secure = url.scheme() == Some(&Scheme::HTTPS);
        #[cfg(not(feature = "tls"))]
        if secure {
            return Err(ConnectError::WithoutTls);
        }
        let host = url.host().unwrap_or_default().to_owned();
        let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let tcp_failed = |error| ConnectError::Tcp(BoxError::from(error));
        poll_fn(|cx| self.tcp.poll_ready(cx)).await.map_err(tcp_failed)?;
        let tcp = self.tcp.call(url).await.map_err(tcp_failed)?.into_inner();
        #[cfg(feature = "tls")]
        let io = if secure {
            Io::Tls(Box::new(self.tls.connect(&host, tcp).await?))
        } else {
            Io::Plain(tcp)
        };
        #[cfg(not(feature = "tls"))]
        let io = Io::Plain(tcp);
        let open = self.metrics.as_ref().map(|metrics| {
            let host = host.trim_matches(['[', ']']);
            Open::new(metrics.connections(host, port))
        });
        Ok(TokioIo::new(Stream::new(io, open)))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(())) // each connection waits for itself
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        Box::pin(self.clone().connect(url))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum ConnectError {
    Tcp(BoxError),
    #[cfg(feature = "tls")]
    Tls(BoxError),
    #[cfg(not(feature = "tls"))]
    WithoutTls,
    Timeout(Duration),
}

impl ConnectError {
    pub(super) const fn kind(&self) -> ErrorKind {
        match self {
            Self::Tcp(_) => ErrorKind::Connect,
            #[cfg(feature = "tls")]
            Self::Tls(_) => ErrorKind::Tls,
            #[cfg(not(feature = "tls"))]
            Self::WithoutTls => ErrorKind::Tls,
            Self::Timeout(_) => ErrorKind::ConnectTimeout,
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(_) => f.write_str("connect"),
            #[cfg(feature = "tls")]
            Self::Tls(_) => f.write_str("agree upon TLS"),
            #[cfg(not(feature = "tls"))]
            Self::WithoutTls => f.write_str("use https, for which cortex-http needs its feature `tls`"),
            Self::Timeout(limit) => write!(f, "connect within {limit:?}"),
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Tcp(source) => Some(&**source),
            #[cfg(feature = "tls")]
            Self::Tls(source) => Some(&**source),
            #[cfg(not(feature = "tls"))]
            Self::WithoutTls => None,
            Self::Timeout(_) => None,
        }
    }
}
