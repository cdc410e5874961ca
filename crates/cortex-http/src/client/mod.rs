//! Calls to other services that are traced, measured and bounded without work by hand.
//!
//! [`Client`](crate::Client) is a pool of connections to make calls with. [`ClientLayer`] does the same for whatever
//! else sends requests of [`http`]: hyper's own client, a tonic channel, a service around reqwest.
//!
//! # What happens to a call
//!
//! 1. If there is a [tracer](ClientLayer::tracer), it gets a client span below what is
//!    [current](cortex_core::Context::current). The ids, `tracestate` and baggage go along in the headers.
//! 2. It may take as long as its limit, or until the deadline of the current context if that is sooner: both hold for
//!    the answer's head and body. Past the deadline it fails at once, and nothing is sent. What is left of the time
//!    goes along in `x-request-timeout-ms`, so that whoever is called can give up when nobody waits any more.
//! 3. It is counted and timed by [`ClientMetrics`], from the call to the end of the answer's body.
//! 4. The answer's head and body are bounded, in bytes and in time.
//!
//! However it ends, it ends once: with an answer, an [`Error`], or when it is dropped.
//!
//! # What it leaves to others
//!
//! - Redirects are answers like any other. Following them takes credentials and trace context to hosts that nobody
//!   named, and services that call each other have no use for it.
//! - Nothing is tried again, but for what certainly was not sent: a request for which a pooled connection was chosen that
//!   the other side had just closed. A policy of retries goes around the client, as a tower layer: the client is a
//!   [`Service`](tower_service::Service).
//! - Bodies are not decompressed, and no cookies are kept. Proxies in the environment are not used.
//! - How many calls are under way at once is not bounded, nor where they may go: addresses that a stranger chose must be
//!   checked before.

mod body;
mod builder;
mod calling;
mod classify;
mod connector;
mod error;
mod layer;
mod metrics;
pub(crate) mod pooled;
mod received;
mod service;
mod settings;
mod stream;
mod target;
mod timeout;
#[cfg(feature = "tls")]
mod tls;
mod watch;

pub use self::body::Body;
pub use self::builder::ClientBuilder;
pub use self::calling::ResponseFuture;
pub use self::error::{Error, ErrorKind};
pub use self::layer::ClientLayer;
pub use self::metrics::ClientMetrics;
pub use self::pooled::Calling;
pub use self::received::Received;
pub use self::service::ClientService;
pub use self::timeout::Timeout;
