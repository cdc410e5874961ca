use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};

use bytes::Buf;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tower_service::Service;

use super::OtlpBody;

/// The most that is read of an answer; a collector needs less than a hundred bytes.
const MAX_ANSWER: usize = 64 << 10;

type BoxError = Box<dyn Error + Send + Sync>;

/// How requests get to the collector.
pub(super) struct Transport {
    send: Box<dyn Send + FnMut(Request<OtlpBody>) -> Answering>,
}

type Answering = Pin<Box<dyn Future<Output = Result<Answer, BoxError>> + Send>>;

/// What the collector said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// As much as was read.
    pub(super) body: Vec<u8>,
}

impl Transport {
    /// Makes the client that comes along: HTTP/1.1 without TLS, which keeps one connection open.
    pub(super) fn plain() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self::new(
            Client::builder(TokioExecutor::new())
                .pool_max_idle_per_host(1)
                .build::<_, OtlpBody>(connector),
        )
    }

    pub(super) fn new<S, B>(service: S) -> Self
    where
        S: Service<Request<OtlpBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let send = move |request| -> Answering {
            // A clone each, because one that was given up in the middle, or has failed, may not be used again.
            let mut service = service.clone();
            Box::pin(async move {
                poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
                let (head, body) = service.call(request).await.map_err(Into::into)?.into_parts();
                Ok(Answer {
                    status: head.status,
                    headers: head.headers,
                    body: read(body).await.map_err(Into::into)?,
                })
            })
        };
        Self { send: Box::new(send) }
    }

    pub(super) fn send(&mut self, request: Request<OtlpBody>) -> Answering {
        (self.send)(request)
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}

/// Reads a body, but no more than is allowed.
async fn read<B: Body>(body: B) -> Result<Vec<u8>, B::Error> {
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let Ok(mut data) = frame?.into_data() else {
            continue;
        };
        while data.has_remaining() {
            let chunk = data.chunk();
            let len = chunk.len().min(MAX_ANSWER - bytes.len());
            bytes.extend_from_slice(&chunk[..len]);
            if bytes.len() == MAX_ANSWER {
                return Ok(bytes);
            }
            data.advance(len);
        }
    }
    Ok(bytes)
}
