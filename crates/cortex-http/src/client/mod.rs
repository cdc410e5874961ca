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
//!   the other side had just closed. Policies go around the client.
//! - Bodies are not decompressed: [`ResponseDecompressionLayer`](cortex_compress::ResponseDecompressionLayer) around the client
//!   asks for encoded ones and decodes them within limits. What the client counts and bounds are the encoded bytes then.
//! - No cookies are kept. Proxies in the environment are not used.
//! - How many calls are under way at once is not bounded, nor where they may go: addresses that a stranger chose must be
//!   checked before.
//!
//! # Behind policies
//!
//! The client is a [`Service`](tower_service::Service), and so goes behind any policy of [`cortex_resilience`], or a pipeline
//! of them. [`ClientClassify`] tells them what answers and errors mean, and
//! [`HttpRequests`](cortex_resilience::http::HttpRequests) sends again only what is idempotent.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! # use axum::routing::get;
//! # let stock = cortex_http::Routes::new().route("/7", get(|| async { "seven" }));
//! # let stock = cortex_http::Server::new(stock).start("127.0.0.1:0").await?;
//! # let address = format!("http://{}/7", stock.local_addr());
//! use cortex_http::Client;
//! use cortex_http::client::ClientClassify;
//! use cortex_resilience::bulkhead::{Bulkhead, BulkheadLayer};
//! use cortex_resilience::http::HttpRequests;
//! use cortex_resilience::pipeline::Pipeline;
//! use cortex_resilience::Through;
//! use std::time::Duration;
//! use tower::{Layer, ServiceExt};
//!
//! let policies = Pipeline::standard("stock")
//!     .classify(Through(ClientClassify::new())) // through the bulkhead
//!     .retry(|retry| retry.within(Duration::from_secs(3)))
//!     .attempt_timeout(Duration::from_secs(1))
//!     .build()?;
//! let bulkhead = Bulkhead::builder("stock").max_concurrent(20).build()?;
//!
//! let client = Client::builder().build()?;
//! let client = BulkheadLayer::new(bulkhead).until_body_end().layer(client);
//! let client = policies.layer_for(HttpRequests::new()).layer(client);
//!
//! let request = http::Request::get(address).body(String::new())?;
//! let response = client.oneshot(request).await?;
//! assert_eq!(response.status(), 200);
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Each attempt is a call, with a span of its own below the same parent; the second says `http.request.resend_count` 1, if it has
//! an [`Attempt`](cortex_resilience::Attempt) among its extensions, as `HttpRequests` puts there. The time that goes along is that
//! which is left: of the context's deadline, or of [`within`](cortex_resilience::retry::Builder::within) if that is sooner. The
//! other timeouts of a pipeline are not known to the client.
//!
//! The permit of the bulkhead is held until the body of the answer has ended. Whoever needs no bulkhead leaves it out, and
//! `Through` with it. In a handler, `?` makes a [`Problem`](crate::Problem) of the error.

mod body;
mod builder;
mod calling;
mod classify;
mod connector;
mod error;
mod judge;
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
pub use self::judge::ClientClassify;
pub use self::layer::ClientLayer;
pub use self::metrics::ClientMetrics;
pub use self::pooled::Calling;
pub use self::received::Received;
pub use self::service::ClientService;
pub use self::timeout::Timeout;
