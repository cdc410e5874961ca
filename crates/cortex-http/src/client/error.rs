use std::fmt;

use super::classify::kind_of;
use super::target::Target;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Says why a call has no answer, or not all of it.
///
/// An answer with a status of failure is no error: it is an answer.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use cortex_http::Client;
/// use cortex_http::client::ErrorKind;
///
/// // Nobody listens at a port that was just given back.
/// let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
/// let client = Client::builder().build()?;
/// let error = client.get(format!("http://127.0.0.1:{port}/stock/7?token=secret")).await.unwrap_err();
///
/// assert_eq!(error.kind(), ErrorKind::Connect);
/// assert!(error.is_unsent()); // so it may be tried again, whatever it was
/// assert!(!error.to_string().contains("secret"));
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    unsent: bool,
    message: String,
    source: Option<BoxError>,
}

/// The kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A client cannot be made so: a limit makes no sense, or a certificate or key cannot be used.
    Configuration,
    /// The request cannot be sent to anybody: its address is not whole, or not one of HTTP.
    Request,
    /// There is no connection: the name is unknown, nobody listens, or the way is barred.
    Connect,
    /// The handshake of TLS failed: the certificate is not valid, not for this host, or of an authority that is not
    /// trusted, or the other side does not want ours.
    Tls,
    /// There was no connection, handshake included, within [`connect_timeout`](super::ClientBuilder::connect_timeout).
    ConnectTimeout,
    /// The answer was not whole within the [limit of the call](super::ClientBuilder::timeout), or that of a policy around it, such as
    /// [`within`](cortex_resilience::retry::Builder::within) of a retry.
    Timeout,
    /// The deadline of the context that the call was made in has passed, which whoever asked has set: nobody waits for the answer any
    /// more. Or there was no time left to ask.
    Deadline,
    /// The answer's body paused for longer than [`body_idle`](super::ClientBuilder::body_idle).
    BodyIdle,
    /// The answer's body is larger than [`body_bytes`](super::ClientBuilder::body_bytes).
    BodyTooLarge,
    /// The answer's head is larger than [`header_bytes`](super::ClientBuilder::header_bytes).
    HeadTooLarge,
    /// The connection ended before the answer did.
    Closed,
    /// What came is not HTTP.
    Protocol,
    /// The body of the request failed, on this side.
    RequestBody,
    /// The connection that the request was given to ended before it was sent.
    Cancelled,
    /// The answer's body is not UTF-8.
    NotText,
    /// The service below a [`ClientLayer`](super::ClientLayer) failed in a way of its own.
    Inner,
}

impl ErrorKind {
    /// Returns the name in metrics and spans, `error.type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Request => "request",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::ConnectTimeout => "connect_timeout",
            Self::Timeout => "timeout",
            Self::Deadline => "deadline",
            Self::BodyIdle => "body_idle",
            Self::BodyTooLarge => "body_too_large",
            Self::HeadTooLarge => "head_too_large",
            Self::Closed => "closed",
            Self::Protocol => "protocol",
            Self::RequestBody => "request_body",
            Self::Cancelled => "cancelled",
            Self::NotText => "not_text",
            Self::Inner => "_OTHER",
        }
    }

    /// What to say, and what to do about it.
    const fn hint(self) -> &'static str {
        match self {
            Self::Configuration => "the settings make no sense",
            Self::Request => "the address needs http or https and a host",
            Self::Connect => "there is no connection; does the name resolve, and does somebody listen?",
            Self::Tls => "the TLS handshake failed; check the certificate and who is trusted",
            Self::ConnectTimeout => "there was no connection in time",
            Self::Timeout => "the answer was not whole in time",
            Self::Deadline => "the deadline of whoever asked has passed",
            Self::BodyIdle => "the body of the answer paused for too long",
            Self::BodyTooLarge => "the body of the answer is too large",
            Self::HeadTooLarge => "the head of the answer is too large",
            Self::Closed => "the connection ended before the answer did",
            Self::Protocol => "what came is not HTTP",
            Self::RequestBody => "the body of the request failed",
            Self::Cancelled => "the connection ended before the request was sent",
            Self::NotText => "the body of the answer is not UTF-8",
            Self::Inner => "the service below failed",
        }
    }
}

impl Error {
    pub(super) fn new(kind: ErrorKind, target: &Target) -> Self {
        Self::make(kind, format!("call {target}: {}", kind.hint()))
    }

    /// Makes an error that says what is allowed.
    pub(super) fn with_detail(kind: ErrorKind, target: &Target, detail: &str) -> Self {
        Self::make(kind, format!("call {target}: {}, {detail}", kind.hint()))
    }

    pub(super) fn configuration(why: &str) -> Self {
        Self::make(ErrorKind::Configuration, format!("make a client: {why}"))
    }

    /// Tells what kind of error a service below had.
    pub(super) fn below(source: BoxError, target: &Target) -> Self {
        let kind = match source.downcast::<Self>() {
            Ok(ours) => return *ours,
            Err(source) => (kind_of(&*source), source),
        };
        let (kind, source) = kind;
        Self::new(kind, target).caused(source)
    }

    fn make(kind: ErrorKind, message: String) -> Self {
        let unsent = matches!(
            kind,
            ErrorKind::Configuration
                | ErrorKind::Request
                | ErrorKind::Connect
                | ErrorKind::Tls
                | ErrorKind::ConnectTimeout
                | ErrorKind::Cancelled
        );
        Self(Box::new(Inner {
            kind,
            unsent,
            message,
            source: None,
        }))
    }

    pub(super) fn caused(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Says that it was never begun.
    pub(super) fn unsent(mut self) -> Self {
        self.0.unsent = true;
        self
    }

    /// Returns the kind, for decisions.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Says whether the request certainly did not reach anybody, so that it may be tried again even if doing it twice
    /// would do harm. If not, nobody knows.
    pub fn is_unsent(&self) -> bool {
        self.0.unsent
    }

    /// Says whether time ran out, in whichever way.
    pub fn is_timeout(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::ConnectTimeout | ErrorKind::Timeout | ErrorKind::Deadline | ErrorKind::BodyIdle
        )
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("unsent", &self.0.unsent)
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| &**source as _)
    }
}
