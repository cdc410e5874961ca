use crate::body::CompressBody;
use crate::compressor::{Compressing, Compressor, Encoding};
use crate::rules::Plan;
use bytes::Bytes;
use http::Response;
use http::response::Parts;
use http_body::Body;
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project! {
    /// The response of [`Compress`](crate::Compress), on its way.
    ///
    /// A body that is there at once, of known length and at most 256 KiB (or
    /// [`one_shot_max`](crate::CompressionLayer::one_shot_max)), is encoded here, so that `Content-Length` is
    /// exact; any other body is encoded while it is sent.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the future of the inner service, and gives the encoder back: at once, or when a job that an
    /// [`Offload`](crate::Offload) runs has ended.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_compress::{Compress, CompressionLayer, ResponseFuture};
    /// use http::{Request, Response};
    /// use http_body_util::Empty;
    /// use std::convert::Infallible;
    /// use std::future::Ready;
    /// use tower::{Layer, Service, service_fn};
    ///
    /// type Answer = Result<Response<Empty<&'static [u8]>>, Infallible>;
    ///
    /// let mut service = CompressionLayer::new()
    ///     .layer(service_fn(|_: Request<()>| std::future::ready::<Answer>(Ok(Response::default()))));
    /// let future: ResponseFuture<Ready<Answer>, _> = service.call(Request::new(()));
    /// # let response = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future);
    /// # assert!(response.unwrap().headers().is_empty());
    /// ```
    pub struct ResponseFuture<F, B> {
        // None where the request is not let through.
        #[pin]
        inner: Option<F>,
        refusal: Option<Box<Response<Bytes>>>,
        plan: Plan,
        compressor: Compressor,
        // With the head of its response.
        encoding: Option<Box<(Parts, Encoding<B>)>>,
    }
}

impl<F, B> ResponseFuture<F, B> {
    pub(crate) const fn new(inner: F, plan: Plan, compressor: Compressor) -> Self {
        Self {
            inner: Some(inner),
            refusal: None,
            plan,
            compressor,
            encoding: None,
        }
    }

    /// Answers without the inner service.
    #[cold]
    pub(crate) fn refused(refusal: Response<Bytes>, plan: Plan, compressor: Compressor) -> Self {
        Self {
            inner: None,
            refusal: Some(Box::new(refusal)),
            plan,
            compressor,
            encoding: None,
        }
    }
}

impl<F, B, E> Future for ResponseFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body + Unpin,
{
    type Output = Result<Response<CompressBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Some(begun) = this.encoding.as_mut() {
            let body = ready!(begun.1.poll(&mut begun.0, cx));
            let begun = this.encoding.take().expect("invariant: seen above");
            return Poll::Ready(Ok(Response::from_parts(begun.0, body)));
        }
        let Some(inner) = this.inner.as_pin_mut() else {
            let refusal = this
                .refusal
                .take()
                .expect("a response is not polled after its end");
            return Poll::Ready(Ok(refusal.map(CompressBody::own)));
        };
        let (mut head, body) = match ready!(inner.poll(cx)) {
            Ok(response) => response.into_parts(),
            Err(error) => return Poll::Ready(Err(error)),
        };
        match this.compressor.respond(this.plan, &mut head, body, cx) {
            Compressing::Done(body) => Poll::Ready(Ok(Response::from_parts(head, body))),
            Compressing::Encoding(encoding) => {
                *this.encoding = Some(Box::new((head, encoding)));
                Poll::Pending
            }
        }
    }
}

impl<F, B> fmt::Debug for ResponseFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("plan", &self.plan)
            .field("encoding", &self.encoding.is_some())
            .finish_non_exhaustive()
    }
}
