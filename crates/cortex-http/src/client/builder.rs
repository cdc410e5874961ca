use std::fmt;
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::time::Duration;

use cortex_trace::Tracer;
use http::HeaderName;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower_layer::Layer;

use super::connector::Connector;
use super::error::Error;
use super::layer::ClientLayer;
use super::metrics::ClientMetrics;
use super::pooled::{Client, Pool};
#[cfg(feature = "tls")]
use super::tls::Tls;

/// Makes a [`Client`](crate::Client).
///
/// # Examples
///
/// ```
/// use cortex_http::Client;
/// use std::time::Duration;
///
/// let client = Client::builder()
///     .connect_timeout(Duration::from_secs(1))
///     .timeout(Duration::from_secs(3))
///     .propagate_to(|host| host.ends_with(".internal"))
///     .build()?;
/// assert!(Client::builder().timeout(Duration::ZERO).build().is_err());
/// # drop(client);
/// # Ok::<(), cortex_http::client::Error>(())
/// ```
#[must_use = "a builder does nothing until it is built"]
#[derive(Clone)]
pub struct ClientBuilder {
    calls: ClientLayer,
    connect_timeout: Duration,
    pool_idle: Duration,
    pool_idle_per_host: usize,
    header_bytes: u32,
    protocols: Protocols,
    #[cfg(feature = "tls")]
    roots: Option<Vec<u8>>,
    #[cfg(feature = "tls")]
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocols {
    /// HTTP/2 where TLS agrees upon it, else HTTP/1.
    Either,
    Http1,
    Http2,
}

impl ClientBuilder {
    pub(super) fn new() -> Self {
        Self {
            calls: ClientLayer::new(),
            connect_timeout: Duration::from_secs(5),
            pool_idle: Duration::from_secs(50),
            pool_idle_per_host: 32,
            header_bytes: 64 << 10,
            protocols: Protocols::Either,
            #[cfg(feature = "tls")]
            roots: None,
            #[cfg(feature = "tls")]
            identity: None,
        }
    }

    /// Makes a span for each call, as [`ClientLayer::tracer`] says. Default: trace context is passed on where there is
    /// some, nothing is recorded.
    pub fn tracer(mut self, tracer: Tracer) -> Self {
        self.calls = self.calls.tracer(tracer);
        self
    }

    /// Counts and times calls, and counts connections. Default: nothing does.
    pub fn metrics(mut self, metrics: ClientMetrics) -> Self {
        self.calls = self.calls.metrics(metrics);
        self
    }

    /// Ends a call whose answer is not whole after this long, as [`ClientLayer::timeout`] says: connecting and the body
    /// of the answer included. Default 30 s.
    pub const fn timeout(mut self, limit: Duration) -> Self {
        self.calls.settings.timeout = limit;
        self
    }

    /// Gives a connection up that is not there after this long: the name looked up, TCP connected, TLS agreed upon.
    /// Default 5 s.
    pub const fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Ends an answer whose head is larger than this. Default 64 KiB; at least 8 KiB.
    pub const fn header_bytes(mut self, bytes: u32) -> Self {
        self.header_bytes = bytes;
        self
    }

    /// Ends an answer whose body is larger than this. Default 16 MiB. One that declares it is not even read.
    pub const fn body_bytes(mut self, bytes: u64) -> Self {
        self.calls.settings.body_bytes = bytes;
        self
    }

    /// Ends an answer whose body pauses for longer than this while its reader waits for more. Default 30 s.
    pub const fn body_idle(mut self, limit: Duration) -> Self {
        self.calls.settings.body_idle = limit;
        self
    }

    /// Closes a connection that nobody used for this long. Default 50 s, shorter than servers and load balancers wait
    /// (60 s and more), so that few requests meet a connection that the other side is just closing.
    pub const fn pool_idle(mut self, limit: Duration) -> Self {
        self.pool_idle = limit;
        self
    }

    /// Keeps at most this many unused connections to one host. Default 32.
    pub const fn pool_idle_per_host(mut self, count: usize) -> Self {
        self.pool_idle_per_host = count;
        self
    }

    /// Speaks HTTP/2 from the first byte, also without TLS, to servers that are known to speak it. Default: HTTP/2
    /// where TLS agrees upon it, else HTTP/1.
    pub const fn http2_prior_knowledge(mut self) -> Self {
        self.protocols = Protocols::Http2;
        self
    }

    /// Speaks HTTP/1 only, a connection for each call under way: so a load balancer that chooses by connection spreads
    /// them.
    pub const fn http1_only(mut self) -> Self {
        self.protocols = Protocols::Http1;
        self
    }

    /// Sets the header that says how long the answer is waited for, as [`ClientLayer::deadline_header`] says.
    pub fn deadline_header(mut self, name: impl Into<Option<HeaderName>>) -> Self {
        self.calls = self.calls.deadline_header(name);
        self
    }

    /// Sets which hosts get trace context, baggage and the deadline header, as [`ClientLayer::propagate_to`] says.
    pub fn propagate_to(mut self, allows: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.calls = self.calls.propagate_to(allows);
        self
    }

    /// Trusts the authorities with these certificates in PEM instead of those that this machine trusts.
    #[cfg(feature = "tls")]
    pub fn ca_certificate_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots = Some(pem.into());
        self
    }

    /// Shows a certificate to servers that want to see one (mutual TLS): in PEM its chain, its own first, and its private
    /// key, in PKCS #8, PKCS #1 or SEC 1 and without a passphrase.
    #[cfg(feature = "tls")]
    pub fn client_identity_pem(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.identity = Some((certificate.into(), key.into()));
        self
    }

    /// Makes the client. It connects when it is called, with tokio.
    ///
    /// What this machine trusts is read for the first connection over TLS, unless
    /// [certificates](Self::ca_certificate_pem) were given.
    ///
    /// # Errors
    ///
    /// A limit makes no sense, or a certificate or key cannot be used:
    /// [`Configuration`](super::ErrorKind::Configuration).
    pub fn build(self) -> Result<Client, Error> {
        self.check()?;
        let connector = Connector::new(
            self.connect_timeout,
            self.calls.settings.metrics.clone(),
            #[cfg(feature = "tls")]
            Arc::new(Tls::new(
                self.roots.as_deref(),
                self.identity.as_ref(),
                self.protocols.alpn(),
            )?),
        );
        let header_bytes = usize::try_from(self.header_bytes).unwrap_or(usize::MAX);
        let client = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(self.pool_idle)
            .pool_max_idle_per_host(self.pool_idle_per_host)
            .http1_max_buf_size(header_bytes)
            .http2_max_header_list_size(self.header_bytes)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .http2_keep_alive_timeout(Duration::from_secs(10))
            .http2_only(self.protocols == Protocols::Http2)
            .build(connector);
        Ok(Client::new(self.calls.layer(Pool::new(client))))
    }

    fn check(&self) -> Result<(), Error> {
        let settings = &self.calls.settings;
        let limits = [self.connect_timeout, settings.timeout, settings.body_idle];
        if limits.contains(&Duration::ZERO) {
            return Err(Error::configuration(
                "a time limit is zero: allow at least a millisecond",
            ));
        }
        if self.header_bytes < 8 << 10 {
            return Err(Error::configuration(
                "header_bytes is too small: allow at least 8192",
            ));
        }
        Ok(())
    }
}

impl Protocols {
    #[cfg(feature = "tls")]
    const fn alpn(self) -> &'static [&'static [u8]] {
        match self {
            Self::Either => &[b"h2", b"http/1.1"],
            Self::Http1 => &[b"http/1.1"],
            Self::Http2 => &[b"h2"],
        }
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("calls", &self.calls)
            .field("connect_timeout", &self.connect_timeout)
            .field("pool_idle", &self.pool_idle)
            .field("pool_idle_per_host", &self.pool_idle_per_host)
            .field("header_bytes", &self.header_bytes)
            .field("protocols", &self.protocols)
            .finish_non_exhaustive()
    }
}
