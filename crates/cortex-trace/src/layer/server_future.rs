use std::fmt;
use std::pin::Pin;
use std::task::{Poll, ready};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use super::body::ResponseBody;
use super::during::during;
use super::error_type::ErrorType;
use super::exchange::{End, Exchange};
use crate::{Captured, Traced};

pin_project! {
    /// The response of a [`TraceServer`](super::TraceServer), on its way: the inner future, under its span.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the future of the inner service, under its span, and records the request as cancelled.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_trace::{Tracer, layer::{ServerResponseFuture, TraceServerLayer}};
    /// use http::{Request, Response};
    /// use http_body_util::Empty;
    /// use std::convert::Infallible;
    /// use std::future::{Ready, ready};
    /// use tower::{Layer, Service, service_fn};
    ///
    /// type Answer = Result<Response<Empty<&'static [u8]>>, Infallible>;
    ///
    /// let layer = TraceServerLayer::new(Tracer::propagate_only());
    /// let mut service = layer.layer(service_fn(|_: Request<()>| ready::<Answer>(Ok(Response::default()))));
    /// let future: ServerResponseFuture<Ready<Answer>> = service.call(Request::new(()));
    /// # let response = tokio::runtime::Builder::new_current_thread().build()?.block_on(future);
    /// # assert!(response?.headers().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "futures do nothing unless polled"]
    pub struct ServerResponseFuture<F, C = ()> {
        #[pin]
        inner: Traced<F>,
        // None once the response has been returned, or when there was a panic.
        exchange: Option<Exchange>,
        error_type: C,
        head_only: bool,
    }
}

impl<F, C> ServerResponseFuture<F, C> {
    pub(super) fn new(
        inner: F,
        captured: Captured,
        exchange: Option<Exchange>,
        error_type: C,
        head_only: bool,
    ) -> Self {
        Self {
            inner: Traced::with(captured, inner),
            exchange,
            error_type,
            head_only,
        }
    }
}

impl<F, C, B, E> Future for ServerResponseFuture<F, C>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
    C: ErrorType<E>,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let polled = ready!(during(this.exchange, || this.inner.as_mut().poll(cx)));
        let exchange = this.exchange.take();
        Poll::Ready(match polled {
            Ok(response) => Ok(ResponseBody::wrap(
                response,
                this.inner.captured().clone(),
                exchange,
                *this.head_only,
            )),
            Err(error) => {
                if let Some(exchange) = exchange.filter(Exchange::is_recording) {
                    exchange.end(End::Failed(this.error_type.error_type(&error)));
                }
                Err(error)
            }
        })
    }
}

impl<F, C> fmt::Debug for ServerResponseFuture<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerResponseFuture")
            .field("captured", self.inner.captured())
            .field("exchange", &self.exchange)
            .finish_non_exhaustive()
    }
}
