//! How requests get to the collector.

use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;

use super::settings::{Protocol, Settings};
#[cfg(feature = "tls")]
use super::tls::Connector;

/// The most that is read of an answer; a collector needs less than a hundred bytes.
const MAX_ANSWER: usize = 64 << 10;

/// The most that the headers of an answer may take.
const MAX_HEADERS: u32 = 64 << 10;

pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// Sends one request and waits for the head of the answer.
pub(super) trait Transport {
    async fn send(
        &self,
        request: Request<Payload>,
    ) -> Result<Response<impl Body<Error: Into<BoxError>>>, BoxError>;

    /// Forgets the connection, which may have died without a sign.
    fn renew(&mut self);
}

/// The client: HTTP/1.1, or HTTP/2 for gRPC. It keeps one connection and follows no redirect.
#[derive(Debug)]
pub(super) struct Http {
    link: Link,
    protocol: Protocol,
}

#[derive(Debug)]
enum Link {
    Plain(Client<HttpConnector, Payload>, HttpConnector),
    #[cfg(feature = "tls")]
    Tls(Client<Connector, Payload>, Connector),
}

impl Http {
    pub(super) fn new(settings: &Settings) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(settings.timeout));
        Self {
            link: Self::link(tcp, settings),
            protocol: settings.protocol,
        }
    }

    fn link(tcp: HttpConnector, settings: &Settings) -> Link {
        #[cfg(feature = "tls")]
        if settings.is_secure() {
            let credentials = settings.credentials.clone();
            let tls = Connector::new(tcp, credentials, settings.protocol, settings.timeout);
            return Link::Tls(client(settings.protocol, &tls), tls);
        }
        Link::Plain(client(settings.protocol, &tcp), tcp)
    }
}

fn client<C: Connect + Clone>(protocol: Protocol, connector: &C) -> Client<C, Payload> {
    Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(1)
        .http1_max_buf_size(MAX_HEADERS as usize)
        .http2_max_header_list_size(MAX_HEADERS)
        .http2_only(protocol == Protocol::Grpc)
        .build(connector.clone())
}

impl Transport for Http {
    async fn send(
        &self,
        request: Request<Payload>,
    ) -> Result<Response<impl Body<Error: Into<BoxError>>>, BoxError> {
        Ok(match &self.link {
            Link::Plain(client, _) => client.request(request).await?,
            #[cfg(feature = "tls")]
            Link::Tls(client, connector) => {
                drop(connector.last_words()); // of a connection that nobody was waiting for
                let response = client.request(request).await;
                response.map_err(|error| {
                    connector
                        .last_words()
                        .map_or_else(|| error.into(), BoxError::from)
                })?
            }
        })
    }

    fn renew(&mut self) {
        match &mut self.link {
            Link::Plain(client, connector) => *client = self::client(self.protocol, connector),
            #[cfg(feature = "tls")]
            Link::Tls(client, connector) => *client = self::client(self.protocol, connector),
        }
    }
}

/// Reads a body and what follows it, but no more than is allowed.
pub(super) async fn read<B: Body>(body: B) -> Result<(Vec<u8>, HeaderMap), B::Error> {
    let mut body = pin!(body);
    let (mut bytes, mut trailers) = (Vec::new(), HeaderMap::new());
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let mut data = match frame?.into_data() {
            Ok(data) => data,
            Err(frame) => {
                trailers = frame.into_trailers().unwrap_or_default();
                continue;
            }
        };
        while data.has_remaining() {
            let chunk = data.chunk();
            let len = chunk.len().min(MAX_ANSWER - bytes.len());
            bytes.extend_from_slice(&chunk[..len]);
            if bytes.len() == MAX_ANSWER {
                return Ok((bytes, trailers));
            }
            data.advance(len);
        }
    }
    Ok((bytes, trailers))
}

/// The body of a request: one chunk, whose size is known, so that it is sent with a `Content-Length`.
#[derive(Clone, Debug, Default)]
pub(super) struct Payload(pub(super) Bytes);

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = std::mem::take(&mut self.0);
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}
