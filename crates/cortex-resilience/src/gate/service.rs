use super::admission::{Gate, Judge};
use super::call::Call;
use super::pending_vote::PendingVote;
use super::permit::Permit;
use crate::error::Error;
use crate::hold::{UntilAnswer, VoteWhen};
use crate::maybe::Maybe;
use pin_project_lite::pin_project;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use tower_service::Service;

/// A service behind a gate; made by [`GateLayer`](super::GateLayer).
///
/// While the gate [turns calls away](Gate::turns_away), it is ready at once and does not ask the inner service, so that it holds
/// none of its permits; the call is answered with the refusal. A call without readiness is answered with [`Error::NotReady`].
/// Being ready holds nothing of the gate: the call asks it.
///
/// # Examples
///
/// ```
/// use cortex_resilience::adaptive::{AdaptiveLimit, Vegas};
/// use cortex_resilience::gate::{GateLayer, GateService};
/// use tower::Layer;
///
/// let limit = AdaptiveLimit::builder("search", Vegas::new(1..=100)).build()?;
/// let service: GateService<&str, _> = GateLayer::new(limit).layer("anything, until it is called");
/// assert!(format!("{service:?}").contains("anything"));
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
pub struct GateService<S, G, H = UntilAnswer> {
    inner: S,
    gate: G,
    ready: Readiness,
    when: PhantomData<fn() -> H>,
}

/// What the last look at readiness found; a clone has not looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    Unknown,
    /// The inner service waits for a call.
    Inner,
    /// The gate refuses, and the inner service was not asked.
    Rejects,
    /// The inner service is not ready, and the gate does not wait for it.
    Busy,
}

impl<S, G, H> GateService<S, G, H> {
    pub(super) const fn new(inner: S, gate: G) -> Self {
        Self {
            inner,
            gate,
            ready: Readiness::Unknown,
            when: PhantomData,
        }
    }
}

impl<S, R, G, H> Service<R> for GateService<S, G, H>
where
    S: Service<R>,
    G: Judge<S::Response, S::Error> + Clone + 'static,
    H: VoteWhen<S::Response, PendingVote<G, S::Response, S::Error>>,
{
    type Response = H::Answer;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<S::Future, G, H>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let before = std::mem::replace(&mut self.ready, Readiness::Unknown);
        if self.gate.turns_away() {
            self.ready = match before {
                Readiness::Inner => Readiness::Inner,
                _ => Readiness::Rejects,
            };
            return Poll::Ready(Ok(()));
        }
        self.ready = match self.inner.poll_ready(cx) {
            Poll::Ready(Ok(())) => Readiness::Inner,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(Error::Inner(error))),
            Poll::Pending if self.gate.sheds_busy() => Readiness::Busy,
            // It said that it is ready, if only for a refusal, and stays so.
            Poll::Pending if before == Readiness::Rejects => Readiness::Rejects,
            Poll::Pending => return Poll::Pending,
        };
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        let refused = |why| ResponseFuture {
            call: Call::refused(self.gate.clone(), why, Maybe { future: None }),
            when: PhantomData,
        };
        match self.ready {
            Readiness::Inner => match Permit::acquire(&self.gate) {
                Ok(permit) => {
                    self.ready = Readiness::Unknown;
                    let future = self.inner.call(request); // if that panics, the permit is dropped
                    let Some(ticket) = permit.forget() else {
                        return refused(None); // a permit that was just acquired has its ticket
                    };
                    let inner = Maybe { future: Some(future) };
                    ResponseFuture {
                        call: Call::admitted(self.gate.clone(), ticket, inner),
                        when: PhantomData,
                    }
                }
                // The inner service stays ready: the next call takes that up.
                Err(rejected) => refused(Some(rejected)),
            },
            Readiness::Rejects => {
                self.ready = Readiness::Unknown;
                refused(Some(self.gate.refuse()))
            }
            Readiness::Busy => {
                self.ready = Readiness::Unknown;
                refused(Some(self.gate.refuse_busy()))
            }
            Readiness::Unknown => refused(None),
        }
    }
}

impl<S: Clone, G: Clone, H> Clone for GateService<S, G, H> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.gate.clone())
    }
}

impl<S: fmt::Debug, G: fmt::Debug, H> fmt::Debug for GateService<S, G, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GateService")
            .field("inner", &self.inner)
            .field("gate", &self.gate)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The answer of a [`GateService`].
    ///
    /// # Cancel safety
    ///
    /// As [`Call`].
    #[must_use = "futures do nothing unless they are polled"]
    pub struct ResponseFuture<F, G, H = UntilAnswer>
    where
        G: Gate,
        G: 'static,
    {
        #[pin]
        call: Call<'static, Maybe<F>, G>,
        when: PhantomData<fn() -> H>,
    }
}

impl<F, T, E, G, H> Future for ResponseFuture<F, G, H>
where
    F: Future<Output = Result<T, E>>,
    G: Judge<T, E> + Clone + 'static,
    H: VoteWhen<T, PendingVote<G, T, E>>,
{
    type Output = Result<H::Answer, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().call.poll_until::<H, T, E>(cx)
    }
}

impl<F, G: Gate + 'static, H> fmt::Debug for ResponseFuture<F, G, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.call.fmt(f)
    }
}
