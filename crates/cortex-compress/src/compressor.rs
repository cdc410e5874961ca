use crate::adaptive::ladder;
use crate::body::{CompressBody, Held, Then};
use crate::budget::MemoryBudget;
use crate::cache::{Done, Kept, Slot, Work, serve};
use crate::choice::Choice;
use crate::content_types::essence;
use crate::dictionary::Dictionary;
use crate::encoder::Size;
use crate::headers::{
    declared, describe_encoded, remove_digests, vary_on_accept_encoding, vary_on_dictionary,
};
use crate::observer::{EncodePath, SkipReason};
use crate::one_shot::{Outcome, Read, read};
use crate::pool::Lease;
use crate::refusal::refuse;
use crate::rules::{Plan, Verdict};
use crate::shared::Shared;
use crate::stream::Stream;
use crate::tally::Tally;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::response::Parts;
use http::{HeaderMap, Method, Response, Uri};
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
    aim: Aim,
    shared: Arc<Shared>,
    job: Work,
    tally: Tally,
}

impl Compressor {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Tells whether there is an [`Observer`](crate::Observer).
    pub fn is_observed(&self) -> bool {
        self.shared.is_observed()
    }

    /// Returns the budget of memory that its encoders share.
    pub fn memory_budget(&self) -> MemoryBudget {
        MemoryBudget::around(Arc::clone(&self.shared.budget))
    }

    /// Remembers of a request what decides on its response.
    ///
    /// Under [`EtagPolicy::Suffix`](crate::EtagPolicy::Suffix) it takes the suffixes out of the conditions of the request:
    /// ask before the handler sees them. It changes nothing else.
    #[inline]
    pub fn plan(&self, method: &Method, headers: &mut HeaderMap) -> Plan {
        Plan::new(method, headers, &self.shared)
    }

    /// Remembers in a plan which resource its request asks for, so that its response can be found in the cache of
    /// [`CompressionLayer::cache`](crate::CompressionLayer::cache), or kept there.
    ///
    /// Without it, and without a cache, nothing is kept. Call it once the plan is made, and before a router has changed the
    /// URI.
    ///
    /// # Performance
    ///
    /// Nothing without a cache. With one, it shares the values of the header of each `GET` or `HEAD` that accepts a
    /// coding.
    #[inline]
    pub fn identify(&self, plan: &mut Plan, uri: &Uri, headers: &HeaderMap) {
        plan.identify(uri, headers, &self.shared);
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
            Verdict::Head(choice, _) if shared.step(choice).is_none() => press(head, body, shared),
            Verdict::Head(choice, length) => {
                let dictionary = plan.dictionary(choice.coding, &head.headers);
                let kept = if dictionary.is_some() {
                    None
                } else {
                    let length = declared(&head.headers).or_else(|| body.size_hint().exact());
                    let slot = Slot::find(plan, head, length, choice, shared);
                    slot.and_then(|slot| slot.peek(shared.step(choice).unwrap_or(0)))
                };
                let whole = match kept {
                    Some(Kept::NotSmaller) => {
                        vary_on_accept_encoding(&mut head.headers);
                        shared.skipped(SkipReason::NotSmaller);
                        return Compressing::Done(CompressBody::identity(body));
                    }
                    Some(Kept::Encoded { constant, .. }) => constant,
                    None => {
                        dictionary.is_none()
                            && length.is_some_and(|length| shared.is_constant(choice, length))
                    }
                };
                let variant = shared.variant(choice).with(dictionary);
                describe_encoded(&mut head.headers, variant, None, whole);
                shared.skipped(SkipReason::Head);
                Compressing::Done(CompressBody::absent(body))
            }
            Verdict::Encode(choice) => {
                let step = shared.step(choice);
                let dictionary = plan.dictionary(choice.coding, &head.headers).cloned();
                // What was compressed against a dictionary is only for those who have it.
                let mut slot = if dictionary.is_some() {
                    None
                } else {
                    let length = body.size_hint().exact();
                    let length = length.or_else(|| declared(&head.headers));
                    Slot::find(plan, head, length, choice, shared)
                };
                if let Some(slot) = &mut slot
                    && let Some(kept) = slot.get(step.unwrap_or(0))
                {
                    return Compressing::Done(serve(&mut head.headers, body, kept, slot, shared));
                }
                let aim = Aim {
                    choice,
                    plain: dictionary.as_ref().and_then(|_| plan.without_dictionary(head)),
                    dictionary,
                    slot,
                };
                match step {
                    None => press(head, body, shared),
                    Some(step) => begin(&mut head.headers, body, aim, step, shared, cx),
                }
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
        let Poll::Ready(done) = begun.poll(cx) else {
            begun.note();
            self.0 = Some(begun);
            return Poll::Pending;
        };
        Poll::Ready(end(&mut head.headers, *begun, done))
    }
}

impl<B> Begun<B> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Done> {
        loop {
            let polled = self.job.poll(cx);
            match &polled {
                Poll::Ready(done)
                    if matches!(done.outcome, Outcome::Cold) && self.begin_without_dictionary() => {}
                _ => return polled,
            }
        }
    }

    /// Begins again; tells whether there is anything to begin with.
    fn begin_without_dictionary(&mut self) -> bool {
        let input = self.job.input().clone();
        let lease = self.aim.forget_dictionary();
        let lease = lease.and_then(|()| self.aim.lease(Size::Whole(input.len()), &self.shared));
        let Some(lease) = lease else { return false };
        let constant = self.shared.is_constant(self.aim.choice, input.len() as u64);
        self.job = Work::alone(lease, input, constant, None);
        self.tally.restart(self.shared.chosen(self.aim.choice));
        true
    }

    /// Takes down what has been done so far, for the case that no more is.
    fn note(&mut self) {
        let (path, nanos) = self.job.spent();
        self.tally.went(path, nanos);
    }
}

impl<B> fmt::Debug for Encoding<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoding")
            .field("ended", &self.0.is_none())
            .finish_non_exhaustive()
    }
}

/// What a body is to be made into.
struct Aim {
    choice: Choice,
    dictionary: Option<Dictionary>,
    /// What to do without the dictionary, if there is one.
    plain: Option<Choice>,
    /// Where the cache keeps it; never with a dictionary.
    slot: Option<Slot>,
}

impl Aim {
    /// Aims at what it is so many steps down.
    fn lower(&mut self, step: u8, whole: bool, shared: &Shared) {
        self.choice = shared.lower(self.choice, step, whole);
        self.plain = self.plain.map(|plain| shared.lower(plain, step, whole));
    }

    /// Takes an encoder; none if there is no memory left for any that would do.
    fn lease(&mut self, size: Size, shared: &Arc<Shared>) -> Option<Lease> {
        Lease::take(shared, self.choice, self.dictionary.as_ref(), size)
            .or_else(|| self.make_do(size, shared))
    }

    /// Takes an encoder that needs less memory, which it aims at from now on.
    #[cold]
    fn make_do(&mut self, size: Size, shared: &Arc<Shared>) -> Option<Lease> {
        self.slot = None; // what is kept is of the level that is configured
        if self.dictionary.is_some() {
            self.forget_dictionary()?;
            if let Some(lease) = Lease::take(shared, self.choice, None, size) {
                return Some(lease);
            }
        }
        let whole = matches!(size, Size::Whole(_));
        let Choice { coding, .. } = self.choice;
        ladder(coding, shared.chosen(self.choice).level, whole).find_map(|level| {
            self.choice.level = Some(level);
            Lease::take(shared, self.choice, None, size)
        })
    }

    /// Aims at what there is without the dictionary; nothing if the client takes nothing else.
    fn forget_dictionary(&mut self) -> Option<()> {
        self.dictionary = None;
        self.choice = self.plain?;
        Some(())
    }
}

/// Sends the identity, as there is no time for anything else.
#[cold]
fn press<B: Body>(head: &mut Parts, body: B, shared: &Shared) -> Compressing<B> {
    vary_on_accept_encoding(&mut head.headers);
    shared.skipped(SkipReason::Pressure);
    Compressing::Done(CompressBody::identity(body))
}

fn begin<B: Body + Unpin>(
    headers: &mut HeaderMap,
    mut body: B,
    mut aim: Aim,
    step: u8,
    shared: &Arc<Shared>,
    cx: &mut Context<'_>,
) -> Compressing<B> {
    let length = body.size_hint().exact();
    let chunk = match length.filter(|&length| length <= shared.one_shot_max) {
        None => Bytes::new(),
        Some(length) => match read(&mut body, length, cx) {
            Read::Whole { data, trailers } => {
                aim.lower(step, true, shared);
                return begin_whole(headers, body, (data, trailers), aim, shared, cx);
            }
            Read::Part(chunk) => chunk,
            Read::Broken { data, error } => {
                shared.skipped(SkipReason::Failed);
                vary_on_accept_encoding(headers);
                return Compressing::Done(CompressBody::held(body, Held::new(data, Then::Error(error))));
            }
        },
    };
    aim.lower(step, false, shared);
    let promised = length.or_else(|| declared(headers));
    let eager = headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| essence(value.as_bytes()).eq_ignore_ascii_case(b"text/event-stream"));
    let stream = |aim: &mut Aim| {
        let lease = aim.lease(Size::Stream(promised), shared);
        let lease = lease.ok_or(SkipReason::MemoryBudget)?;
        Stream::new(lease, chunk.clone(), promised, eager).map_err(|_| SkipReason::Pressure)
    };
    let begun = match stream(&mut aim) {
        Err(SkipReason::Pressure) if aim.forget_dictionary().is_some() => stream(&mut aim),
        begun => begun,
    };
    let mut stream = match begun {
        Ok(stream) => stream,
        Err(reason) => {
            vary_on_accept_encoding(headers);
            shared.skipped(reason);
            return Compressing::Done(CompressBody::begun(body, chunk));
        }
    };
    let variant = shared.variant(aim.choice).with(aim.dictionary.as_ref());
    describe_encoded(headers, variant, None, false);
    if let Some(recorder) = aim.slot.and_then(|slot| slot.recorder(shared)) {
        stream.record(recorder);
    }
    Compressing::Done(CompressBody::stream(body, stream))
}

fn begin_whole<B: Body>(
    headers: &mut HeaderMap,
    body: B,
    (data, trailers): (Bytes, Option<HeaderMap>),
    mut aim: Aim,
    shared: &Arc<Shared>,
    cx: &mut Context<'_>,
) -> Compressing<B> {
    let Some(job) = work(&data, trailers.is_none(), &mut aim, shared) else {
        vary_on_accept_encoding(headers);
        shared.skipped(SkipReason::MemoryBudget);
        return Compressing::Done(CompressBody::held(body, Held::new(data, Then::from(trailers))));
    };
    let offer = shared.chosen(aim.choice);
    let mut begun = Begun {
        body,
        trailers,
        tally: Tally::new(shared, offer, aim.dictionary.as_ref(), EncodePath::Inline),
        aim,
        shared: Arc::clone(shared),
        job,
    };
    match begun.poll(cx) {
        Poll::Ready(done) => Compressing::Done(end(headers, begun, done)),
        Poll::Pending => {
            begun.note();
            Compressing::Encoding(Encoding(Some(Box::new(begun))))
        }
    }
}

/// Decides who encodes a whole body; none if there is no memory left for it.
fn work(data: &Bytes, bare: bool, aim: &mut Aim, shared: &Arc<Shared>) -> Option<Work> {
    let size = Size::Whole(data.len());
    let constant = |aim: &Aim| aim.dictionary.is_none() && shared.is_constant(aim.choice, data.len() as u64);
    // Trailers may be others each time, and the cache has none.
    aim.slot = aim.slot.take().filter(|_| bare);
    if shared.is_long(aim.choice, data.len())
        && let Some(slot) = aim.slot.take()
    {
        let choice = aim.choice;
        let lease = || Lease::take(shared, choice, None, size);
        let together = Work::together(slot, constant(aim), data.clone(), lease);
        if together.is_some() {
            return together;
        }
    }
    let lease = aim.lease(size, shared)?;
    Some(Work::alone(lease, data.clone(), constant(aim), aim.slot.take()))
}

/// Makes the response of a body that was encoded, or did not get smaller.
fn end<B: Body>(headers: &mut HeaderMap, mut begun: Begun<B>, done: Done) -> CompressBody<B> {
    begun.note();
    let Begun {
        body,
        mut trailers,
        aim,
        shared,
        job,
        mut tally,
    } = begun;
    let input = job.into_input();
    let data = match done.outcome {
        Outcome::Smaller(data) => {
            let length = data.len() as u64;
            // 6.5: in HTTP/1.1 a body of declared length has no trailers.
            let declared = trailers.is_none().then_some(length);
            let variant = shared.variant(aim.choice).with(aim.dictionary.as_ref());
            describe_encoded(headers, variant, declared, done.constant);
            if let Some(trailers) = &mut trailers {
                remove_digests(trailers);
            }
            tally.count(input.len() as u64, length);
            if done.own {
                tally.encoded();
            } else {
                tally.cached();
            }
            data
        }
        Outcome::NotSmaller => {
            vary_on_accept_encoding(headers);
            tally.skipped(SkipReason::NotSmaller);
            input
        }
        Outcome::Failed => {
            vary_on_accept_encoding(headers);
            tally.skipped(SkipReason::Failed);
            input
        }
        Outcome::Cold => {
            vary_on_accept_encoding(headers);
            tally.skipped(SkipReason::Pressure);
            input
        }
    };
    CompressBody::held(body, Held::new(data, Then::from(trailers)))
}
