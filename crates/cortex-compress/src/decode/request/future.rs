use super::refusal::{self, RefusalBody};
use bytes::Bytes;
use http::Response;
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

pin_project! {
    /// The response of [`RequestDecompression`](crate::RequestDecompression), on its way.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the future of the inner service, and with it the request.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_compress::{RequestBody, RequestDecompressionFuture, RequestDecompressionLayer};
    /// use http::{Request, Response};
    /// use http_body_util::Empty;
    /// use std::convert::Infallible;
    /// use std::future::Ready;
    /// use tower::{Layer, Service, service_fn};
    ///
    /// type Nothing = Empty<&'static [u8]>;
    /// type Answer = Result<Response<Nothing>, Infallible>;
    ///
    /// let mut service = RequestDecompressionLayer::new()
    ///     .layer(service_fn(|_: Request<RequestBody<Nothing>>| std::future::ready::<Answer>(Ok(Response::default()))));
    /// let future: RequestDecompressionFuture<Ready<Answer>> = service.call(Request::new(Nothing::new()));
    /// # let response = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future);
    /// # assert!(response.unwrap().status().is_success());
    /// ```
    pub struct RequestDecompressionFuture<F> {
        #[pin]
        inner: Option<F>,
        refusal: Option<Box<Response<Bytes>>>,
        // There was no memory to decode the body.
        starved: Option<Arc<AtomicBool>>,
    }
}

impl<F> RequestDecompressionFuture<F> {
    pub(super) const fn inner(future: F, starved: Option<Arc<AtomicBool>>) -> Self {
        Self {
            inner: Some(future),
            refusal: None,
            starved,
        }
    }

    pub(super) const fn refusal(response: Box<Response<Bytes>>) -> Self {
        Self {
            inner: None,
            refusal: Some(response),
            starved: None,
        }
    }
}

impl<F, R, E> Future for RequestDecompressionFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<RefusalBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Some(inner) = this.inner.as_pin_mut() {
            let response = ready!(inner.poll(cx))?;
            let status = response.status();
            let starved = this.starved.as_ref();
            // Whatever the handler makes of the error, it is not the client's.
            if starved.is_some_and(|starved| starved.load(Ordering::Relaxed))
                && (status.is_client_error() || status.is_server_error())
            {
                return Poll::Ready(Ok(refusal::starved().map(RefusalBody::refusal)));
            }
            return Poll::Ready(Ok(response.map(RefusalBody::inner)));
        }
        let refusal = this
            .refusal
            .take()
            .expect("a future was polled after it was ready");
        Poll::Ready(Ok(refusal.map(RefusalBody::refusal)))
    }
}

impl<F> fmt::Debug for RequestDecompressionFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestDecompressionFuture")
            .field("refusal", &self.refusal)
            .finish_non_exhaustive()
    }
}
