use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::configs::Configs;
use super::credentials::Credentials;
use super::last_words::LastWords;
use super::name::server_name;
use super::stream::Stream;
use crate::otlp::error::{OtlpError, OtlpErrorKind as Kind};
use crate::otlp::settings::Protocol;
use crate::otlp::transport::BoxError;

/// Makes connections: TCP, then the handshake, with what is in files by then.
#[derive(Clone)]
pub(in crate::otlp) struct Connector {
    tcp: HttpConnector,
    timeout: Duration,
    configs: Arc<Configs>,
    last_words: LastWords,
}

impl Connector {
    pub(in crate::otlp) fn new(
        mut tcp: HttpConnector,
        credentials: Credentials,
        protocol: Protocol,
        timeout: Duration,
    ) -> Self {
        tcp.enforce_http(false);
        let protocols: &[&[u8]] = match protocol {
            Protocol::Grpc => &[b"h2"],
            // HTTP/2 is for servers that have nothing else: one request at a time gains nothing by it.
            Protocol::Http(_) => &[b"http/1.1", b"h2"],
        };
        Self {
            tcp,
            timeout,
            configs: Arc::new(Configs::new(credentials, protocols)),
            last_words: LastWords::default(),
        }
    }

    /// Returns what TLS said when a connection broke, once.
    pub(in crate::otlp) fn last_words(&self) -> Option<OtlpError> {
        self.last_words.take()
    }

    async fn connect(mut self, url: Uri) -> Result<TokioIo<Stream>, BoxError> {
        let name = server_name(&url).ok_or("the host cannot be in a certificate")?;

        let config = self.configs.current().await?;
        poll_fn(|cx| self.tcp.poll_ready(cx)).await?;
        let stream = self.tcp.call(url).await?.into_inner();
        let handshake = TlsConnector::from(config).connect(name, stream);
        // The request has a limit, too, but a connection can outlive the request that it was begun for.
        let stream = timeout(self.timeout, handshake)
            .await
            .map_err(|_| OtlpError::new(Kind::TimedOut))??;
        Ok(TokioIo::new(Stream::new(stream, self.last_words)))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(())) // each connection waits for itself
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        Box::pin(self.clone().connect(url))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::super::Pem;
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_handshake_that_hangs_ends_though_nobody_waits_for_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let mut credentials = Credentials::default();
        let authority = rcgen::generate_simple_self_signed(["c".to_owned()]).unwrap();
        let pem = Pem::given(authority.cert.pem().as_bytes());
        credentials.trust(pem).unwrap();
        let mut connector = Connector::new(HttpConnector::new(), credentials, Protocol::Grpc, LIMIT);
        let start = Instant::now();
        let error = connector.call(url.parse().unwrap()).await.unwrap_err();
        let error = error.downcast::<OtlpError>().unwrap();
        assert_eq!(*error.kind(), Kind::TimedOut);
        assert_eq!(start.elapsed().as_secs(), LIMIT.as_secs());
    }
}
