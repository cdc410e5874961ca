use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::task::{Poll, ready};

use http::Response;
use pin_project_lite::pin_project;

use super::during::{Watched, during};
use super::error_type::ErrorType;
use crate::{Captured, Span, Traced};

pin_project! {
    /// The response to a [`TraceClient`](super::TraceClient), on its way: the inner future, under its span.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the future of the inner service, under its span, and ends the span without a status.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_trace::{Tracer, layer::{ClientResponseFuture, TraceClientLayer}};
    /// use http::{Request, Response};
    /// use std::convert::Infallible;
    /// use std::future::{Ready, ready};
    /// use tower::{Layer, Service, service_fn};
    ///
    /// type Answer = Result<Response<()>, Infallible>;
    ///
    /// let layer = TraceClientLayer::new(Tracer::propagate_only());
    /// let mut service = layer.layer(service_fn(|_: Request<()>| ready::<Answer>(Ok(Response::default()))));
    /// let future: ClientResponseFuture<Ready<Answer>> = service.call(Request::new(()));
    /// # let response = tokio::runtime::Builder::new_current_thread().build()?.block_on(future);
    /// # assert!(response?.headers().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "futures do nothing unless polled"]
    pub struct ClientResponseFuture<F, C = ()> {
        #[pin]
        inner: Traced<F>,
        // None once there is a response, or when there was a panic.
        span: Option<Span>,
        error_type: C,
    }
}

impl<F, C> ClientResponseFuture<F, C> {
    pub(super) fn new(inner: F, captured: Captured, span: Option<Span>, error_type: C) -> Self {
        Self {
            inner: Traced::with(captured, inner),
            span,
            error_type,
        }
    }
}

impl<F, C, B, E> Future for ClientResponseFuture<F, C>
where
    F: Future<Output = Result<Response<B>, E>>,
    C: ErrorType<E>,
{
    type Output = Result<Response<B>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let polled = ready!(during(this.span, || this.inner.poll(cx)));
        if let Some(mut span) = this.span.take().filter(Span::is_recording) {
            match &polled {
                Ok(response) => {
                    span.set_response_status(response.status());
                    span.record_version(response.version());
                }
                Err(error) => span.set_error(Cow::Borrowed(this.error_type.error_type(error))),
            }
        }
        Poll::Ready(polled)
    }
}

impl Watched for Span {
    fn panicked(mut self) {
        self.set_error("panic");
    }
}

impl<F, C> fmt::Debug for ClientResponseFuture<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientResponseFuture")
            .field("span", &self.span)
            .finish_non_exhaustive()
    }
}
