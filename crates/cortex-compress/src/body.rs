use crate::error::CompressError;
use crate::stream::Stream;
use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The body of a response that went through [`Compress`](crate::Compress): encoded or as it was.
///
/// Holds the inner body itself, never a box. Reads from it only when it is read from, so that back-pressure passes
/// through; holds one frame of input (up to 64 KiB and one frame if there is an [`Offload`](crate::Offload)), the output
/// of a quarter of a millisecond in frames of at most 16 KiB, and the state of the encoder.
///
/// # Errors
///
/// A body that fails, or ends before the length that it had promised, ends with a [`CompressError`]; what was sent of
/// it has no valid end.
///
/// # Cancel safety
///
/// Dropping the body at any time gives its encoder back to the layer; if a job has it, at the end of that. Between two polls
/// nothing is held back: what the inner body has yielded before a pause is flushed out, unless the
/// [`FlushPolicy`](crate::FlushPolicy) is another one.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "gzip")] {
/// use cortex_compress::{CompressBody, CompressionLayer};
/// use http::{Request, Response};
/// use http_body::Body;
/// use http_body_util::{BodyExt, Full};
/// use tower::{ServiceBuilder, ServiceExt};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let service = ServiceBuilder::new()
///     .layer(CompressionLayer::new())
///     .service_fn(async |_: Request<()>| {
///         let text = Full::from("again and ".repeat(1000));
///         Ok::<_, std::convert::Infallible>(
///             Response::builder().header("content-type", "text/plain").body(text).unwrap(),
///         )
///     });
/// let request = Request::builder().header("accept-encoding", "gzip").body(()).unwrap();
/// let body: CompressBody<Full<bytes::Bytes>> = service.oneshot(request).await.unwrap().into_body();
/// assert!(body.size_hint().exact().unwrap() < 200);
/// # });
/// # }
/// ```
pub struct CompressBody<B: Body> {
    /// None where there never was one: the answer is ours.
    inner: Option<B>,
    state: State<B::Error>,
}

enum State<E> {
    /// The inner body as it is.
    Identity,
    /// Nothing, of unknown length: the answer to `HEAD`, and a 304.
    Absent,
    /// What was read of the inner body, or made of it.
    Held(Held<E>),
    /// The beginning of the inner body, which was read already, and then the rest as it is.
    Begun(Bytes),
    /// Boxed to keep the body small: most responses are not streamed through an encoder.
    Stream(Box<Stream>),
}

/// Frames that are there already.
pub(crate) struct Held<E> {
    pub(crate) data: Option<Bytes>,
    pub(crate) then: Then<E>,
}

pub(crate) enum Then<E> {
    End,
    Trailers(Box<HeaderMap>),
    Error(CompressError<E>),
}

const HAS_INNER: &str = "invariant: only held bodies may have none inside";

impl<E> Held<E> {
    pub(crate) fn new(data: Bytes, then: Then<E>) -> Self {
        let data = Some(data).filter(|data| !data.is_empty());
        Self { data, then }
    }
}

impl<E> From<Option<HeaderMap>> for Then<E> {
    fn from(trailers: Option<HeaderMap>) -> Self {
        trailers.map_or(Self::End, |trailers| Self::Trailers(Box::new(trailers)))
    }
}

impl<B: Body> CompressBody<B> {
    pub(crate) const fn identity(inner: B) -> Self {
        Self {
            inner: Some(inner),
            state: State::Identity,
        }
    }

    pub(crate) const fn absent(inner: B) -> Self {
        Self {
            inner: Some(inner),
            state: State::Absent,
        }
    }

    pub(crate) const fn held(inner: B, held: Held<B::Error>) -> Self {
        Self {
            inner: Some(inner),
            state: State::Held(held),
        }
    }

    /// Makes a body of our own.
    pub(crate) const fn own(data: Bytes) -> Self {
        Self {
            inner: None,
            state: State::Held(Held {
                data: Some(data),
                then: Then::End,
            }),
        }
    }

    /// The identity of a body whose beginning was read.
    pub(crate) fn begun(inner: B, chunk: Bytes) -> Self {
        let state = if chunk.is_empty() {
            State::Identity
        } else {
            State::Begun(chunk)
        };
        Self {
            inner: Some(inner),
            state,
        }
    }

    pub(crate) fn stream(inner: B, stream: Stream) -> Self {
        Self {
            inner: Some(inner),
            state: State::Stream(Box::new(stream)),
        }
    }
}

/// An error that waits here is never pinned.
impl<B: Body + Unpin> Unpin for CompressBody<B> {}

impl<B: Body + Unpin> Body for CompressBody<B> {
    type Data = Bytes;
    type Error = CompressError<B::Error>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Self { inner, state } = self.get_mut();
        match state {
            State::Identity => Pin::new(inner.as_mut().expect(HAS_INNER))
                .poll_frame(cx)
                .map(|next| {
                    next.map(|frame| match frame {
                        Ok(frame) => Ok(frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))),
                        Err(error) => Err(CompressError::Inner(error)),
                    })
                }),
            State::Begun(chunk) => {
                let chunk = std::mem::take(chunk);
                *state = State::Identity;
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            }
            State::Absent => Poll::Ready(None),
            State::Held(held) => Poll::Ready(held.next()),
            State::Stream(stream) => stream.poll(inner.as_mut().expect(HAS_INNER), cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Identity => self.inner.as_ref().is_none_or(Body::is_end_stream),
            // Of an answer to HEAD, an end in sight is a length of 0 to some servers.
            State::Begun(_) | State::Absent => false,
            State::Held(held) => held.data.is_none() && matches!(held.then, Then::End),
            State::Stream(stream) => stream.is_done(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Identity => self
                .inner
                .as_ref()
                .map_or_else(SizeHint::default, Body::size_hint),
            State::Begun(chunk) => {
                let inner = self
                    .inner
                    .as_ref()
                    .map_or_else(SizeHint::default, Body::size_hint);
                let read = chunk.len() as u64;
                let mut hint = SizeHint::new();
                hint.set_lower(inner.lower().saturating_add(read));
                if let Some(upper) = inner.upper().and_then(|upper| upper.checked_add(read)) {
                    hint.set_upper(upper);
                }
                hint
            }
            State::Held(Held {
                then: Then::Error(_), ..
            })
            | State::Absent => SizeHint::default(),
            // 6.5 of RFC 9112: in HTTP/1.1 a body of declared length has no trailers, and who knows the length declares it.
            State::Held(Held {
                data,
                then: Then::Trailers(_),
            }) => {
                let mut hint = SizeHint::new();
                hint.set_lower(data.as_ref().map_or(0, |data| data.len() as u64));
                hint
            }
            State::Held(held) => SizeHint::with_exact(held.data.as_ref().map_or(0, |data| data.len() as u64)),
            State::Stream(stream) if stream.is_done() => SizeHint::with_exact(0),
            State::Stream(_) => SizeHint::default(),
        }
    }
}

impl<E> Held<E> {
    fn next(&mut self) -> Option<Result<Frame<Bytes>, CompressError<E>>> {
        if let Some(data) = self.data.take() {
            return Some(Ok(Frame::data(data)));
        }
        match std::mem::replace(&mut self.then, Then::End) {
            Then::End => None,
            Then::Trailers(trailers) => Some(Ok(Frame::trailers(*trailers))),
            Then::Error(error) => Some(Err(error)),
        }
    }
}

impl<B: Body> fmt::Debug for CompressBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Identity => "identity",
            State::Absent => "absent",
            State::Begun(_) => "begun",
            State::Held(_) => "held",
            State::Stream(_) => "stream",
        };
        f.debug_struct("CompressBody")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
