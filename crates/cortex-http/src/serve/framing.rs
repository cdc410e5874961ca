//! HTTP/1 requests whose end two parsers could see differently.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::Service;
use pin_project_lite::pin_project;

use crate::observe::{BodyError, PerConnection, ResponseBody, ResponseFuture};
use crate::shared::Conn;

/// The service of an HTTP/1 connection. It answers 400 to a body in another transfer coding than `chunked` once, which
/// hyper takes for chunked if that comes last: what is `gzip, chunked` would reach the handler still packed, and a proxy
/// that reads `chunked, chunked` as it is written sees another end.
#[derive(Debug)]
pub(super) struct Http1Service {
    service: PerConnection,
    conn: Arc<Conn>,
}

impl Http1Service {
    pub(super) const fn new(service: PerConnection, conn: Arc<Conn>) -> Self {
        Self { service, conn }
    }

    #[cold]
    fn refuse(&self) -> Framing {
        if let Some(metrics) = &self.conn.shared.metrics {
            metrics.connection_error("bad_request");
        }
        self.conn.leave_unread();
        Framing::Refused
    }
}

impl Service<Request<Incoming>> for Http1Service {
    type Response = Response<Framed>;
    type Error = Infallible;
    type Future = Framing;

    fn call(&self, request: Request<Incoming>) -> Framing {
        if !request.body().is_end_stream() && !is_plain(request.headers()) {
            return self.refuse();
        }
        Framing::Served {
            future: self.service.call(request),
        }
    }
}

/// Says whether a body is one of a length, or of chunks and nothing else.
fn is_plain(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let chunked = |coding: &HeaderValue| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    codings.next().is_none_or(chunked) && codings.next().is_none()
}

pin_project! {
    /// The future of a response, or of the refusal of a request.
    #[project = FramingProjection]
    pub(super) enum Framing {
        Served { #[pin] future: ResponseFuture },
        Refused,
    }
}

impl Future for Framing {
    type Output = Result<Response<Framed>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project() {
            FramingProjection::Served { future } => {
                let response = ready!(future.poll(cx))?;
                Ok(response.map(|body| Framed::Served { body }))
            }
            FramingProjection::Refused => {
                let mut response = Response::new(Framed::Nothing);
                *response.status_mut() = StatusCode::BAD_REQUEST;
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
                Ok(response)
            }
        })
    }
}

pin_project! {
    /// The body of a response, if there is one.
    #[project = FramedProjection]
    pub(super) enum Framed {
        Served { #[pin] body: ResponseBody },
        Nothing,
    }
}

impl Body for Framed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.project() {
            FramedProjection::Served { body } => body.poll_frame(cx),
            FramedProjection::Nothing => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Served { body } => body.is_end_stream(),
            Self::Nothing => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Served { body } => body.size_hint(),
            Self::Nothing => SizeHint::with_exact(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_chunks_alone_are_plain() {
        for (codings, plain) in [
            (&[][..], true),
            (&["chunked"], true),
            (&[" Chunked "], true),
            (&["chunked, chunked"], false),
            (&["chunked", "chunked"], false),
            (&["gzip, chunked"], false),
            (&["identity"], false),
            (&[""], false),
        ] {
            let mut headers = HeaderMap::new();
            for coding in codings {
                headers.append(TRANSFER_ENCODING, HeaderValue::from_static(coding));
            }
            assert_eq!(is_plain(&headers), plain, "{codings:?}");
        }
    }
}
