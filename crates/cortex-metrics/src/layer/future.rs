use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use super::body::ResponseBody;
use super::during::during;
use super::error_type::ErrorType;
use super::exchange::{End, Exchange};

pin_project! {
    /// The response of a [`MetricsService`](super::MetricsService), on its way.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the future of the inner service and counts the request as cancelled.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_metrics::{Registry, layer::{MetricsLayer, ResponseFuture}};
    /// use http::{Request, Response};
    /// use http_body_util::Empty;
    /// use std::convert::Infallible;
    /// use std::future::{Ready, ready};
    /// use tower::{Layer, Service, service_fn};
    ///
    /// type Answer = Result<Response<Empty<&'static [u8]>>, Infallible>;
    ///
    /// let layer = MetricsLayer::server(&Registry::default())?;
    /// let mut service = layer.layer(service_fn(|_: Request<()>| ready::<Answer>(Ok(Response::default()))));
    /// let future: ResponseFuture<Ready<Answer>> = service.call(Request::new(()));
    /// # let response = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future);
    /// # assert!(response.unwrap().headers().is_empty());
    /// # Ok::<(), cortex_metrics::RegisterError>(())
    /// ```
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, C = ()> {
        #[pin]
        inner: F,
        // None once the response has been returned, or when there was a panic.
        exchange: Option<Exchange>,
        error_type: C,
        head_only: bool,
    }
}

impl<F, C> ResponseFuture<F, C> {
    pub(super) const fn new(inner: F, exchange: Option<Exchange>, error_type: C, head_only: bool) -> Self {
        Self {
            inner,
            exchange,
            error_type,
            head_only,
        }
    }
}

impl<F, C, B, E> Future for ResponseFuture<F, C>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
    C: ErrorType<E>,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let polled = ready!(during(this.exchange, || this.inner.poll(cx)));
        let exchange = this.exchange.take();
        Poll::Ready(match polled {
            Ok(response) => Ok(ResponseBody::wrap(response, exchange, *this.head_only)),
            Err(error) => {
                if let Some(exchange) = exchange {
                    exchange.end(End::Failed(this.error_type.error_type(&error)));
                }
                Err(error)
            }
        })
    }
}

impl<F, C> fmt::Debug for ResponseFuture<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("exchange", &self.exchange)
            .finish_non_exhaustive()
    }
}
