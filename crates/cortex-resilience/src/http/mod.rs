//! What policies know of HTTP: which answers are failures, what they say of further attempts, and which requests may be sent
//! more than once.
//!
//! Clients that speak in types of the crate `http`, as those of hyper do, need nothing else. Others, such as reqwest, have types of
//! their own: [`HttpClassify::answers`] and [`errors`](HttpClassify::errors) read answers and errors of any type, and
//! [`HttpRequests::of`] its requests. A client of reqwest is a service, and goes behind the same layers:
//!
//! ```
//! # #[cfg(all(feature = "tokio", feature = "tower"))]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use cortex_resilience::http::{ErrorKind, HttpClassify, HttpRequests};
//! use cortex_resilience::pipeline::Pipeline;
//! use reqwest::{Client, Method, Request, Response};
//! use tower::{Layer, Service, ServiceExt};
//!
//! fn kind(error: &reqwest::Error) -> ErrorKind {
//!     if error.is_timeout() {
//!         ErrorKind::Timeout
//!     } else if error.is_builder() {
//!         ErrorKind::Request // it was not sent
//!     } else if error.is_redirect() {
//!         ErrorKind::Permanent // it was sent round and round
//!     } else {
//!         ErrorKind::Transport
//!     }
//! }
//!
//! # // A service that is busy once.
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let url = format!("http://{}/prices", listener.local_addr()?);
//! # let server = std::thread::spawn(move || {
//! #     use std::io::{BufRead, BufReader, Write};
//! #     for answer in ["503 Service Unavailable\r\nretry-after: 0", "200 OK"] {
//! #         let (mut stream, _) = listener.accept().unwrap();
//! #         let head = BufReader::new(&stream).lines().map_while(Result::ok);
//! #         assert!(head.take_while(|line| !line.is_empty()).count() > 1);
//! #         write!(stream, "HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
//! #     }
//! # });
//! let judge = HttpClassify::new().answers(Response::status, Response::headers).errors(kind);
//! let prices = Pipeline::standard("prices").classify(judge).build()?; // a retry, a breaker, timeouts
//! let requests = HttpRequests::of(Request::method, Request::headers, Request::try_clone);
//! let client = Client::builder().no_proxy().build()?;
//! let mut client = prices.layer_for(requests).layer(client);
//!
//! let request = Request::new(Method::GET, url.parse()?);
//! let answer = client.ready().await?.call(request).await?;
//! assert_eq!(answer.status(), 200); // after a `503` with `Retry-After: 0`
//! # server.join().unwrap();
//! # Ok(())
//! # }
//! # #[cfg(not(all(feature = "tokio", feature = "tower")))]
//! # fn main() {}
//! ```
//!
//! Where a breaker is to [wait for the body](crate::circuit::BreakerLayer::until_body_end), make the client's answers ones of `http`
//! first: `tower::ServiceExt::map_response(client, http::Response::from)`.

mod answers;
mod classify;
mod classify_end;
mod errors;
mod grpc;
mod pushback;
mod requests;
mod vote_body;

pub use self::answers::{AnswersBy, ReadHead, Responses};
pub use self::classify::HttpClassify;
pub use self::classify_end::ClassifyEnd;
#[cfg(feature = "tower")]
pub(crate) use self::classify_end::judge_end;
pub use self::errors::{AllTransport, ErrorKind, KindOf};
pub use self::grpc::GrpcClassify;
pub use self::pushback::{pushback, retry_after};
pub use self::requests::{HttpRequests, RequestsBy, is_idempotent};
pub use self::vote_body::{EndVote, VoteBody};
