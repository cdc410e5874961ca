use crate::body::{CompressBody, Held, Then};
use crate::coding::Coding;
use crate::content_types::essence;
use crate::dictionary::Dictionary;
use crate::encoder::Size;
use crate::headers::{describe_encoded, remove_digests, vary_on_accept_encoding, vary_on_dictionary};
use crate::observer::SkipReason;
use crate::one_shot::{ONE_SHOT_MAX, OneShot, Outcome, Read, read};
use crate::pool::Lease;
use crate::refusal::refuse;
use crate::rules::{Plan, Verdict};
use crate::shared::Shared;
use crate::stream::Stream;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::response::Parts;
use http::{HeaderMap, Method, Response};
use http_body::Body;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

/// What [`Compress`](crate::Compress) does, in two steps, for servers that hold requests and responses themselves: a
/// [`Plan`] is made of the request, and carried out on its response.
///
/// It spares each request what a service around the handler's costs: a reference count, and the moves of a future that
/// wraps another one. Clones use the same encoders.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "gzip")] {
/// use cortex_compress::{Compressing, CompressionLayer};
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use std::future::poll_fn;
/// use std::task::Poll;
///
/// let compressor = CompressionLayer::new().compressor();
/// let request = Request::builder().header("accept-encoding", "gzip").body(()).unwrap();
/// let (mut request, ()) = request.into_parts();
/// let plan = compressor.plan(&request.method, &mut request.headers);
/// assert!(compressor.refusal(&plan).is_none());
/// let text = Full::<bytes::Bytes>::from("again and ".repeat(1000));
/// let response = Response::builder().header("content-type", "text/plain").body(text).unwrap();
/// let (mut head, text) = response.into_parts();
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let mut text = Some(text);
/// let begun = poll_fn(|cx| Poll::Ready(compressor.respond(&plan, &mut head, text.take().unwrap(), cx)));
/// let body = match begun.await {
///     Compressing::Done(body) => body,
///     Compressing::Encoding(mut encoding) => poll_fn(|cx| encoding.poll(&mut head, cx)).await,
/// };
/// assert_eq!(head.headers["content-encoding"], "gzip");
/// # drop(body);
/// # });
/// # }
/// ```
#[derive(Clone)]
pub struct Compressor {
    shared: Arc<Shared>,
}

/// How far the body of a response is on its way through a [`Compressor`].
#[derive(Debug)]
pub enum Compressing<B: Body> {
    /// The response can be sent, with this body.
    Done(CompressBody<B>),
    /// The body, which was there as a whole, is still being encoded.
    Encoding(Encoding<B>),
}

/// A body that is being encoded.
///
/// # Cancel safety
///
/// Dropping it gives the encoder back; the body is lost.
pub struct Encoding<B>(Option<Box<Begun<B>>>);

struct Begun<B> {
    body: B,
    trailers: Option<HeaderMap>,
    coding: Coding,
    dictionary: Option<Dictionary>,
    shared: Arc<Shared>,
    job: OneShot,
}

impl Compressor {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Remembers of a request what decides on its response.
    ///
    /// Under [`EtagPolicy::Suffix`](crate::EtagPolicy::Suffix) it takes the suffixes out of the conditions of the request:
    /// ask before the handler sees them. It changes nothing else.
    #[inline]
    pub fn plan(&self, method: &Method, headers: &mut HeaderMap) -> Plan {
        Plan::new(method, headers, &self.shared)
    }

    /// Returns the 406 that a request is to be answered with instead of by the handler; none for most.
    ///
    /// There is none but under [`NotAcceptable::Status406BeforeHandler`](crate::NotAcceptable::Status406BeforeHandler).
    #[inline]
    pub fn refusal(&self, plan: &Plan) -> Option<Response<Bytes>> {
        plan.is_refused().then(|| self.refuse())
    }

    #[cold]
    fn refuse(&self) -> Response<Bytes> {
        self.shared.skipped(SkipReason::NotAcceptable);
        let mut refusal = refuse(self.shared.codings());
        if self.shared.dictionaries.is_some() {
            vary_on_dictionary(refusal.headers_mut());
        }
        refusal
    }

    /// Judges a response, amends its head, and begins to encode its body if it is to be encoded.
    ///
    /// # Panics
    ///
    /// The plan is of a compressor with other codings.
    #[inline]
    pub fn respond<B: Body + Unpin>(
        &self,
        plan: &Plan,
        head: &mut Parts,
        body: B,
        cx: &mut Context<'_>,
    ) -> Compressing<B> {
        let shared = &self.shared;
        match plan.apply(head, &body.size_hint(), shared) {
            Verdict::Pass(reason) | Verdict::Identity(reason) => {
                shared.skipped(reason);
                Compressing::Done(CompressBody::identity(body))
            }
            Verdict::NotModified => {
                shared.skipped(SkipReason::Status);
                // axum writes the length of the body, and that of nothing is false as it is for HEAD.
                Compressing::Done(CompressBody::absent(body))
            }
            Verdict::Head(coding, length) => {
                let dictionary = plan.dictionary(coding, &head.headers);
                let whole =
                    dictionary.is_none() && length.is_some_and(|length| shared.is_constant(coding, length));
                let variant = shared.variant(coding).with(dictionary);
                describe_encoded(&mut head.headers, variant, None, whole);
                shared.skipped(SkipReason::Head);
                Compressing::Done(CompressBody::absent(body))
            }
            Verdict::Encode(coding) => {
                let dictionary = plan.dictionary(coding, &head.headers).cloned();
                begin(&mut head.headers, body, coding, dictionary, shared, cx)
            }
        }
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

impl<B: Body> Encoding<B> {
    /// Goes on encoding; at the end the head of the response says how.
    ///
    /// # Panics
    ///
    /// It was polled to its end already.
    pub fn poll(&mut self, head: &mut Parts, cx: &mut Context<'_>) -> Poll<CompressBody<B>> {
        let mut begun = self.0.take().expect("an encoding is not polled after its end");
        let Poll::Ready(outcome) = begun.job.poll(cx) else {
            self.0 = Some(begun);
            return Poll::Pending;
        };
        Poll::Ready(end(&mut head.headers, *begun, outcome))
    }
}

impl<B> fmt::Debug for Encoding<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoding")
            .field("ended", &self.0.is_none())
            .finish_non_exhaustive()
    }
}

fn begin<B: Body + Unpin>(
    headers: &mut HeaderMap,
    mut body: B,
    coding: Coding,
    dictionary: Option<Dictionary>,
    shared: &Arc<Shared>,
    cx: &mut Context<'_>,
) -> Compressing<B> {
    let length = body.size_hint().exact();
    let chunk = match length.filter(|&length| length <= ONE_SHOT_MAX) {
        None => Bytes::new(),
        Some(length) => match read(&mut body, length, cx) {
            Read::Whole { data, trailers } => {
                return begin_whole(headers, body, (data, trailers), coding, dictionary, shared, cx);
            }
            Read::Part(chunk) => chunk,
            Read::Broken { data, error } => {
                shared.skipped(SkipReason::Failed);
                vary_on_accept_encoding(headers);
                let then = error.map_or(Then::End, Then::Error);
                return Compressing::Done(CompressBody::held(body, Held::new(data, then)));
            }
        },
    };
    let Some(lease) = Lease::take_with(shared, coding, dictionary.as_ref(), Size::Stream(length)) else {
        vary_on_accept_encoding(headers);
        shared.skipped(SkipReason::MemoryBudget);
        return Compressing::Done(CompressBody::begun(body, chunk));
    };
    let variant = shared.variant(coding).with(dictionary.as_ref());
    describe_encoded(headers, variant, None, false);
    let eager = headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| essence(value.as_bytes()).eq_ignore_ascii_case(b"text/event-stream"));
    Compressing::Done(CompressBody::stream(
        body,
        Stream::new(lease, chunk, length, eager),
    ))
}

fn begin_whole<B: Body>(
    headers: &mut HeaderMap,
    body: B,
    (data, trailers): (Bytes, Option<HeaderMap>),
    coding: Coding,
    dictionary: Option<Dictionary>,
    shared: &Arc<Shared>,
    cx: &mut Context<'_>,
) -> Compressing<B> {
    let size = Size::Whole(data.len());
    let Some(lease) = Lease::take_with(shared, coding, dictionary.as_ref(), size) else {
        vary_on_accept_encoding(headers);
        shared.skipped(SkipReason::MemoryBudget);
        return Compressing::Done(CompressBody::held(body, Held::new(data, Then::from(trailers))));
    };
    let mut begun = Begun {
        body,
        trailers,
        coding,
        dictionary,
        shared: Arc::clone(shared),
        job: OneShot::new(lease, data),
    };
    match begun.job.poll(cx) {
        Poll::Ready(outcome) => Compressing::Done(end(headers, begun, outcome)),
        Poll::Pending => Compressing::Encoding(Encoding(Some(Box::new(begun)))),
    }
}

/// Makes the response of a body that was encoded, or did not get smaller.
fn end<B: Body>(headers: &mut HeaderMap, begun: Begun<B>, outcome: Outcome) -> CompressBody<B> {
    let Begun {
        body,
        mut trailers,
        coding,
        dictionary,
        shared,
        job,
    } = begun;
    let input = job.into_input();
    let data = match outcome {
        Outcome::Smaller(data) => {
            let length = data.len() as u64;
            // 6.5: in HTTP/1.1 a body of declared length has no trailers.
            let declared = trailers.is_none().then_some(length);
            let constant = dictionary.is_none() && shared.is_constant(coding, input.len() as u64);
            let variant = shared.variant(coding).with(dictionary.as_ref());
            describe_encoded(headers, variant, declared, constant);
            if let Some(trailers) = &mut trailers {
                remove_digests(trailers);
            }
            shared.encoded(coding, dictionary.is_some(), input.len() as u64, length);
            data
        }
        Outcome::NotSmaller => {
            vary_on_accept_encoding(headers);
            shared.skipped(SkipReason::NotSmaller);
            input
        }
        Outcome::Failed => {
            vary_on_accept_encoding(headers);
            shared.skipped(SkipReason::Failed);
            input
        }
    };
    CompressBody::held(body, Held::new(data, Then::from(trailers)))
}
