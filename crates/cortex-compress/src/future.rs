use crate::body::{CompressBody, Held, Then};
use crate::coding::Coding;
use crate::headers::{describe_encoded, remove_digests, vary_on_accept_encoding};
use crate::observer::SkipReason;
use crate::one_shot::{ONE_SHOT_MAX, OneShot, Outcome, Read, read};
use crate::pool::Lease;
use crate::rules::{Plan, Verdict};
use crate::shared::Shared;
use crate::stream::Stream;
use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

pin_project! {
    /// The response of [`Compress`](crate::Compress), on its way.
    ///
    /// A body that is there at once, in one frame and of at most 256 KiB, is encoded here, so that `Content-Length` is
    /// exact; any other body is encoded while it is sent.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the future of the inner service, and gives the encoder back.
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
    /// let future: ResponseFuture<Ready<Answer>> = service.call(Request::new(()));
    /// # let response = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future);
    /// # assert!(response.unwrap().headers().is_empty());
    /// ```
    pub struct ResponseFuture<F>
    where
        F: Future,
    {
        #[pin]
        inner: F,
        plan: Plan,
        shared: Arc<Shared>,
        encoding: Option<Box<Encoding<F::Output>>>,
    }
}

/// A response whose body is being encoded.
struct Encoding<R> {
    response: R,
    trailers: Option<HeaderMap>,
    job: OneShot,
}

impl<F: Future> ResponseFuture<F> {
    pub(crate) const fn new(inner: F, plan: Plan, shared: Arc<Shared>) -> Self {
        Self {
            inner,
            plan,
            shared,
            encoding: None,
        }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body + Unpin,
{
    type Output = Result<Response<CompressBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Some(mut encoding) = this.encoding.take() {
            let Poll::Ready(outcome) = encoding.job.poll(cx) else {
                *this.encoding = Some(encoding);
                return Poll::Pending;
            };
            let Encoding {
                response,
                trailers,
                job,
            } = *encoding;
            return Poll::Ready(response.map(|response| end(response, trailers, job, outcome)));
        }
        let mut response = match ready!(this.inner.poll(cx)) {
            Ok(response) => response,
            Err(error) => return Poll::Ready(Err(error)),
        };
        let coding = match this.plan.apply(&mut response, this.shared) {
            Verdict::Pass(reason) | Verdict::Identity(reason) => {
                this.shared.skipped(reason);
                return Poll::Ready(Ok(response.map(CompressBody::identity)));
            }
            Verdict::Head(coding) => {
                describe_encoded(response.headers_mut(), coding, None);
                this.shared.skipped(SkipReason::Head);
                return Poll::Ready(Ok(response.map(CompressBody::absent)));
            }
            Verdict::Encode(coding) => coding,
        };
        match begin(response, coding, this.shared, cx) {
            Begun::Done(response) => Poll::Ready(Ok(response)),
            Begun::OneShot {
                response,
                mut job,
                trailers,
            } => match job.poll(cx) {
                Poll::Ready(outcome) => Poll::Ready(Ok(end(response, trailers, job, outcome))),
                Poll::Pending => {
                    let response = Ok(response);
                    *this.encoding = Some(Box::new(Encoding {
                        response,
                        trailers,
                        job,
                    }));
                    Poll::Pending
                }
            },
        }
    }
}

/// A response whose body is to be encoded, once the body was looked at.
enum Begun<B: Body> {
    Done(Response<CompressBody<B>>),
    OneShot {
        response: Response<B>,
        job: OneShot,
        trailers: Option<HeaderMap>,
    },
}

fn begin<B: Body + Unpin>(
    mut response: Response<B>,
    coding: Coding,
    shared: &Arc<Shared>,
    cx: &mut Context<'_>,
) -> Begun<B> {
    let lease = Lease::take(shared, coding);
    let length = response.body().size_hint().exact();
    let chunk = match length.filter(|&length| length <= ONE_SHOT_MAX) {
        None => Bytes::new(),
        Some(length) => match read(response.body_mut(), length, cx) {
            Read::Whole { data, trailers } => {
                let job = OneShot::new(lease, data);
                return Begun::OneShot {
                    response,
                    job,
                    trailers,
                };
            }
            Read::Part(chunk) => chunk,
            Read::Broken { data, error } => {
                shared.skipped(SkipReason::Failed);
                vary_on_accept_encoding(response.headers_mut());
                let then = error.map_or(Then::End, Then::Error);
                return Begun::Done(response.map(|body| CompressBody::held(body, Held { data, then })));
            }
        },
    };
    describe_encoded(response.headers_mut(), coding, None);
    Begun::Done(response.map(|body| CompressBody::stream(body, Stream::new(lease, chunk))))
}

/// Makes the response of a body that was encoded, or did not get smaller.
fn end<B: Body>(
    mut response: Response<B>,
    mut trailers: Option<HeaderMap>,
    job: OneShot,
    outcome: Outcome,
) -> Response<CompressBody<B>> {
    let shared = job.lease().shared();
    let headers = response.headers_mut();
    let data = match outcome {
        Outcome::Smaller(data) => {
            let coding = job.lease().offer().coding;
            let length = data.len() as u64;
            // 6.5: in HTTP/1.1 a body of declared length has no trailers.
            describe_encoded(headers, coding, trailers.is_none().then_some(length));
            if let Some(trailers) = &mut trailers {
                remove_digests(trailers);
            }
            shared.encoded(coding, job.input().len() as u64, length);
            data
        }
        Outcome::NotSmaller => {
            vary_on_accept_encoding(headers);
            shared.skipped(SkipReason::NotSmaller);
            job.input().clone()
        }
        Outcome::Failed => {
            vary_on_accept_encoding(headers);
            shared.skipped(SkipReason::Failed);
            job.discard()
        }
    };
    let then = trailers.map_or(Then::End, |trailers| Then::Trailers(Box::new(trailers)));
    let held = Held {
        data: Some(data),
        then,
    };
    response.map(|body| CompressBody::held(body, held))
}

impl<F: Future> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("plan", &self.plan)
            .field("encoding", &self.encoding.is_some())
            .finish_non_exhaustive()
    }
}
