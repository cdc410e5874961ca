use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Tells a policy how the body of an answer ended; dropping it says that nobody knows.
///
/// The permits of breakers and of [gates](crate::gate) are ones: a body that ended is a success, and one that failed a failure.
pub trait EndVote {
    /// Looks at the headers of an answer before its body is read; by default nothing depends on them.
    fn see(&mut self, headers: &HeaderMap) {
        let _ = headers;
    }

    /// Says whether the end is judged by what comes after the body; by default, yes. If not, a body of known length has ended with
    /// its last byte, also where nobody asks whether there is more.
    fn needs_trailers(&self) -> bool {
        true
    }

    /// The body has ended, with these trailers if there were some.
    fn ended(self, trailers: Option<&HeaderMap>);

    /// The body failed, panicked, or ended before the length that it had announced.
    fn failed(self);

    /// The body failed with this error; by default that is what any failure is.
    ///
    /// It is the error of the body, which may be of another type than that of the call: see what it is by
    /// `downcast_ref`.
    fn broke(self, error: &dyn Any)
    where
        Self: Sized,
    {
        let _ = error;
        self.failed();
    }
}

pin_project! {
    /// A body that keeps a vote until it has ended.
    ///
    /// An answer is not done with its head: a connection may break in the middle of it, and gRPC says at the end how it went. The
    /// vote is given with the last frame, an error or the trailers, once; a body that is empty gives it at once. Who knows how long a
    /// body is, as a server that sends it on, may not ask for more than that: unless the vote [needs](EndVote::needs_trailers)
    /// trailers, a body with nothing left of an exact [`size_hint`](Body::size_hint) has ended. One that is dropped before its end
    /// drops the vote: its reader went away, which says nothing of the dependency.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_resilience::circuit::Breaker;
    /// use cortex_resilience::http::VoteBody;
    /// use http_body_util::{BodyExt, Full};
    ///
    /// # let done = async {
    /// let breaker = Breaker::builder("search").build()?;
    /// let answer = Full::new(&b"hello"[..]);
    /// let body = VoteBody::new(answer, breaker.try_acquire_owned()?);
    /// assert_eq!(breaker.snapshot().total, 0);
    /// assert_eq!(body.collect().await?.to_bytes(), "hello");
    /// assert_eq!(breaker.snapshot().total, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # };
    /// # let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    /// # assert!(matches!(Box::pin(done).as_mut().poll(&mut cx), std::task::Poll::Ready(Ok(()))));
    /// ```
    pub struct VoteBody<B: Body, V: EndVote> {
        #[pin]
        body: B,
        // After the body: what it holds is free before the policy hears of its end.
        keeper: Keeper<V>,
    }

    impl<B: Body, V: EndVote> PinnedDrop for VoteBody<B, V> {
        fn drop(this: Pin<&mut Self>) {
            // Who knows that there is nothing more does not ask for it.
            let this = this.project();
            this.keeper.look(&*this.body);
        }
    }
}

/// Has the vote until it is given.
struct Keeper<V: EndVote> {
    vote: Option<V>,
    /// Whether the body is asked for a frame: if nothing came of that, it panicked.
    is_polling: bool,
}

impl<V: EndVote> Keeper<V> {
    /// Gives the vote if nothing more comes that it waits for, of a body that has not panicked.
    fn look(&mut self, body: &impl Body) {
        if !self.is_polling
            && let Some(vote) = &self.vote
            && (body.is_end_stream() || body.size_hint().exact() == Some(0) && !vote.needs_trailers())
        {
            self.ended(None);
        }
    }

    fn ended(&mut self, trailers: Option<&HeaderMap>) {
        if let Some(vote) = self.vote.take() {
            vote.ended(trailers);
        }
    }

    fn broke(&mut self, error: &dyn Any) {
        if let Some(vote) = self.vote.take() {
            vote.broke(error);
        }
    }

    fn failed(&mut self) {
        if let Some(vote) = self.vote.take() {
            vote.failed();
        }
    }
}

impl<V: EndVote> Drop for Keeper<V> {
    fn drop(&mut self) {
        if self.is_polling {
            self.failed();
        }
    }
}

impl<B: Body, V: EndVote> VoteBody<B, V> {
    /// Gives a body the vote to keep; one that is empty gives it at once.
    pub fn new(body: B, vote: V) -> Self {
        Self::keep(body, Some(vote))
    }

    /// Does the same for the body of an answer, whose headers the vote sees.
    pub fn response(answer: Response<B>, vote: V) -> Response<Self> {
        Self::of(answer, Some(vote))
    }

    pub(crate) fn of(answer: Response<B>, mut vote: Option<V>) -> Response<Self> {
        if let Some(vote) = &mut vote {
            vote.see(answer.headers());
        }
        answer.map(|body| Self::keep(body, vote))
    }

    fn keep(body: B, vote: Option<V>) -> Self {
        let mut keeper = Keeper {
            vote,
            is_polling: false,
        };
        keeper.look(&body);
        Self { body, keeper }
    }

    /// Says whether the vote is still to be given.
    pub const fn is_waiting(&self) -> bool {
        self.keeper.vote.is_some()
    }
}

impl<B: Body<Error: 'static>, V: EndVote> Body for VoteBody<B, V> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        if this.keeper.vote.is_none() {
            return this.body.poll_frame(cx);
        }
        this.keeper.is_polling = true;
        let poll = this.body.as_mut().poll_frame(cx);
        this.keeper.is_polling = false;
        let frame = ready!(poll);
        match &frame {
            Some(Ok(frame)) => match frame.trailers_ref() {
                Some(trailers) => this.keeper.ended(Some(trailers)), // nothing comes after them
                None => this.keeper.look(&*this.body),
            },
            Some(Err(error)) => this.keeper.broke(error),
            // What was announced did not come: a peer that stops at an HTTP/2 stream without an error, for one.
            None if this.body.size_hint().lower() > 0 && !this.body.is_end_stream() => this.keeper.failed(),
            None => this.keeper.ended(None),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B: Body + fmt::Debug, V: EndVote> fmt::Debug for VoteBody<B, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VoteBody")
            .field("body", &self.body)
            .field("is_waiting", &self.is_waiting())
            .finish_non_exhaustive()
    }
}
