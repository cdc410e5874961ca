//! Spans of HTTP, served or called, as tower layers.
//!
//! [`TraceClientLayer`] goes around whatever sends requests: hyper's client, a tonic channel, any tower stack. It makes
//! a client span below what is [current](cortex_core::Context::current) and puts its ids into the request.
//! [`TraceServerLayer`] goes around whatever answers requests, for services that `cortex-http` does not run: it takes
//! the ids out of the request and makes the server span. Both run the inner service under their span, at every poll.
//!
//! # How a request can end
//!
//! Every recorded request becomes one span, however it ends.
//!
//! | end | span of the server | span of the client |
//! |---|---|---|
//! | the response was whole | error from status 500 on | error from status 400 on |
//! | the future was dropped | `error.type` `cancelled`, no status | nothing: the caller wanted no answer |
//! | the response's body was dropped | `cancelled` | over before: it ends with the head |
//! | the response's body failed | `aborted` | over before |
//! | a panic | `panic` | `panic` |
//! | the service failed | as [`ErrorType`] says, no status | as [`ErrorType`] says, no status |
//!
//! A body is whole after its last frame, its trailers, or the last of the bytes that its length declares. A response
//! without a body ends with its head: to `HEAD`, or with the status 1xx, 204 or 304, or when its body says that it has
//! ended. A panic goes on as it came: these layers do not stop it.
//!
//! # Where to put them
//!
//! The client layer inside of retries and redirects, so that each attempt is a span and is judged by
//! [`propagate_to`](TraceClientLayer::propagate_to) on its own, and outside of buffers, behind which the caller's
//! context is not current. The server layer outside of whatever gives up on a request, such as a timeout, because what
//! is dropped from outside looks like a client that left; and not inside of `cortex-http`, which makes the same span.
//!
//! # reqwest
//!
//! `reqwest::Client` is a tower service, but `RequestBuilder::send` goes past every layer. So put the layer around a
//! service that calls the client, and call that:
//!
//! ```ignore
//! let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
//! let send = tower::service_fn(move |request: http::Request<reqwest::Body>| {
//!     let (client, request) = (client.clone(), reqwest::Request::try_from(request));
//!     async move { client.execute(request?).await.map(http::Response::from) }
//! });
//! let mut traced = TraceClientLayer::new(tracer).layer(send);
//! let response = traced.call(http::Request::get("https://stock.example/7").body("".into())?).await?;
//! let text = reqwest::Response::from(response).text().await?;
//! ```
//!
//! A redirect that the client follows by itself takes the ids along, to whatever host it leads: hence the policy.
//! There is no feature for this, as reqwest brings 67 crates, a second tower-http among them.
//!
//! # gRPC
//!
//! A tonic channel or server is traced as the HTTP that it is. What a status of gRPC says, in a trailer, is not read.

mod body;
mod client_future;
mod client_layer;
mod client_service;
mod during;
mod error_type;
mod exchange;
mod handle;
mod resend;
mod route;
mod server_future;
mod server_layer;
mod server_service;
mod target;

pub use self::body::ResponseBody;
pub use self::client_future::ClientResponseFuture;
pub use self::client_layer::TraceClientLayer;
pub use self::client_service::TraceClient;
pub use self::error_type::ErrorType;
pub use self::handle::SpanHandle;
pub use self::resend::ResendCount;
pub use self::route::Route;
pub use self::server_future::ServerResponseFuture;
pub use self::server_layer::TraceServerLayer;
pub use self::server_service::TraceServer;
