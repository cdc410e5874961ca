use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, Response, Uri, Version};
use http_body::Body as HttpBody;
use hyper_util::client::legacy;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::body::Body;
use super::builder::ClientBuilder;
use super::calling::ResponseFuture;
use super::connector::Connector;
use super::error::{BoxError, Error, ErrorKind};
use super::received::Received;
use super::service::ClientService;
use super::target::Target;

/// Calls other services over HTTP/1 and HTTP/2, traced, measured and bounded; the [module](crate::client) says how.
///
/// It keeps a pool of connections, which clones share: make one and clone it. It is a
/// [`Service`](tower_service::Service), as is a reference to it, so that any tower layer fits around it.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use axum::routing::post;
/// use cortex_http::client::ClientMetrics;
/// use cortex_http::{Client, Routes, Server};
/// use cortex_metrics::Registry;
/// use std::time::Duration;
///
/// let stock = Routes::new().route("/reserve", post(|body: String| async move { format!("{body} reserved") }));
/// let stock = Server::new(stock).start("127.0.0.1:0").await?;
///
/// let registry = Registry::default();
/// let client = Client::builder()
///     .metrics(ClientMetrics::new(&registry)?)
///     .timeout(Duration::from_secs(2))
///     .body_bytes(64 << 10)
///     .build()?;
/// let request = http::Request::post(format!("http://{}/reserve", stock.local_addr()));
/// let response = client.send(request.body("7".to_owned())?).await?;
/// assert_eq!(response.into_body().text().await?, "7 reserved");
/// assert!(registry.to_text().contains("http_client_request_duration_seconds_count{http_request_method=\"POST\""));
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Client {
    inner: ClientService<Pool>,
}

impl Client {
    /// Begins a client, with the defaults named at each setter.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    pub(super) const fn new(inner: ClientService<Pool>) -> Self {
        Self { inner }
    }

    /// Sends a request, whose address must be whole; answers with the head, whose body is read from it.
    ///
    /// The call begins now, in the context that is current now; nothing is sent until it is awaited.
    ///
    /// # Errors
    ///
    /// What [`ErrorKind`] lists. A status of failure is none.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes the connection, on HTTP/2 the stream; whether the call had an effect is not known.
    pub fn send<B>(&self, request: Request<B>) -> Calling
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let mut client = self.clone();
        client.call(request)
    }

    /// Sends a `GET` without a body; otherwise as [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and if it is no address.
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    pub async fn get<U>(&self, address: U) -> Result<Response<Body>, Error>
    where
        U: TryInto<Uri, Error: Into<http::Error>>,
    {
        let address = address.try_into().map_err(|error| {
            let error: http::Error = error.into();
            Error::new(ErrorKind::Request, &Target::default()).caused(error)
        })?;
        let mut request = Request::new(axum::body::Body::empty());
        *request.uri_mut() = address;
        self.send(request).await
    }
}

impl<B> Service<Request<B>> for Client
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Error;
    type Future = Calling;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Calling {
        Calling {
            inner: self.inner.call(request.map(axum::body::Body::new)),
        }
    }
}

impl<B> Service<Request<B>> for &Client
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Error;
    type Future = Calling;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(())) // as a pool is
    }

    fn call(&mut self, request: Request<B>) -> Calling {
        self.send(request)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

pin_project! {
    /// The answer to a [`Client`](crate::Client), on its way.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes the connection, on HTTP/2 the stream, and counts the call as `cancelled`. Whether it had an
    /// effect is not known.
    #[must_use = "futures do nothing unless polled"]
    pub struct Calling {
        #[pin]
        inner: ResponseFuture<Sending>,
    }
}

impl Future for Calling {
    type Output = Result<Response<Body>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().inner.poll(cx)
    }
}

impl fmt::Debug for Calling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calling").finish_non_exhaustive()
    }
}

/// The connections.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    client: legacy::Client<Connector, axum::body::Body>,
}

impl Pool {
    pub(super) const fn new(client: legacy::Client<Connector, axum::body::Body>) -> Self {
        Self { client }
    }
}

impl Service<Request<axum::body::Body>> for Pool {
    type Response = Response<Received>;
    type Error = BoxError;
    type Future = Sending;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(())) // requests wait for connections one by one
    }

    fn call(&mut self, mut request: Request<axum::body::Body>) -> Sending {
        let uri = request.uri();
        let is_http = [&Scheme::HTTP, &Scheme::HTTPS].map(Some).contains(&uri.scheme());
        if !is_http || uri.host().is_none_or(str::is_empty) {
            return Sending::Refused;
        }
        // What a connection speaks is its own affair; a request that is passed on came over another one.
        *request.version_mut() = Version::HTTP_11;
        Sending::Sent {
            answer: self.client.request(request),
        }
    }
}

pin_project! {
    /// A request on its way through the pool.
    #[project = SendingProjected]
    pub(super) enum Sending {
        // Its address is not one to call.
        Refused,
        Sent {
            #[pin]
            answer: legacy::ResponseFuture,
        },
    }
}

impl Future for Sending {
    type Output = Result<Response<Received>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            SendingProjected::Refused => Poll::Ready(Err(NoAddress.into())),
            SendingProjected::Sent { answer } => answer.poll(cx).map(|answer| Ok(answer?.map(Received::new))),
        }
    }
}

/// The address of a request leads nowhere.
#[derive(Debug)]
pub(super) struct NoAddress;

impl fmt::Display for NoAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("find a host to call over http or https in the address")
    }
}

impl std::error::Error for NoAddress {}
