use super::acquire::Acquire;
use super::hold::Hold;
use super::permit::Permit;
use super::policy::Bulkhead;
use super::priority::Priority;
use crate::error::Error;
use crate::hold::UntilAnswer;
use crate::link::Link;
use crate::observer::Observer;
use cortex_core::{Clock, TscClock};
use pin_project_lite::pin_project;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tower_service::Service;

/// A service behind a bulkhead; made by [`BulkheadLayer`](super::BulkheadLayer).
///
/// It takes a permit when it is called, and not when it becomes ready: clones that are ready and idle hold none, however many
/// there are. The queue is bounded and refuses what is too much, so that nobody has to be held back by readiness. A call that
/// has to wait does so in its future, and takes with it the very instance of the inner service that was ready, with the permits
/// that instance may hold: who has got a permit of the bulkhead waits for nothing more. A call without readiness is answered
/// with [`Error::NotReady`].
///
/// # Examples
///
/// ```
/// use cortex_resilience::bulkhead::{Bulkhead, BulkheadLayer, BulkheadService};
/// use tower::Layer;
///
/// let layer = BulkheadLayer::new(Bulkhead::builder("search").max_concurrent(9).build()?);
/// let service: BulkheadService<&str> = layer.layer("anything, until it is called");
/// assert!(format!("{service:?}").contains("anything"));
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
pub struct BulkheadService<S, H = UntilAnswer, O = (), K = TscClock> {
    inner: S,
    bulkhead: Bulkhead<O, K>,
    priority: Priority,
    /// Whether the inner service waits for a call; a clone has not looked.
    is_ready: bool,
    hold: PhantomData<fn() -> H>,
}

impl<S, H, O, K> BulkheadService<S, H, O, K> {
    pub(super) const fn new(inner: S, bulkhead: Bulkhead<O, K>, priority: Priority) -> Self {
        Self {
            inner,
            bulkhead,
            priority,
            is_ready: false,
            hold: PhantomData,
        }
    }
}

impl<S, R, H, O, K> Service<R> for BulkheadService<S, H, O, K>
where
    S: Service<R> + Clone,
    H: Hold<S::Response, Permit<'static, O, K>>,
    O: Observer + 'static,
    K: Clock + 'static,
{
    type Response = H::Answer;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<S, R, S::Future, H, O, K>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.is_ready = false;
        ready!(self.inner.poll_ready(cx)).map_err(Error::Inner)?;
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        if !mem::take(&mut self.is_ready) {
            return ResponseFuture::at(Stage::NotReady);
        }
        let shared = || Link::Owned(Arc::clone(&self.bulkhead.inner));
        if self.bulkhead.inner.try_take() {
            let permit = Permit::new(shared()); // if the inner service panics, this passes it on
            let future = self.inner.call(request);
            let permit = Some(permit);
            return ResponseFuture::at(Stage::Running { future, permit });
        }
        // A clone would have to become ready while it holds a permit, and might wait for what this instance holds.
        let clone = self.inner.clone();
        let inner = mem::replace(&mut self.inner, clone);
        ResponseFuture::at(Stage::Waiting {
            acquire: Acquire::new(shared()).priority(self.priority),
            next: Some((inner, request)),
        })
    }
}

impl<S: Clone, H, O, K> Clone for BulkheadService<S, H, O, K> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.bulkhead.clone(), self.priority)
    }
}

impl<S: fmt::Debug, H, O, K> fmt::Debug for BulkheadService<S, H, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BulkheadService")
            .field("inner", &self.inner)
            .field("bulkhead", &self.bulkhead)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The answer of a [`BulkheadService`].
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the inner future, and then passes the permit on or gives up the place in the queue.
    #[must_use = "futures do nothing unless they are polled"]
    pub struct ResponseFuture<S, R, F, H, O, K>
    where
        O: Observer,
        O: 'static,
        K: Clock,
        K: 'static,
    {
        #[pin]
        stage: Stage<S, R, F, O, K>,
        hold: PhantomData<fn() -> H>,
    }
}

impl<S, R, F, H, O: Observer + 'static, K: Clock + 'static> ResponseFuture<S, R, F, H, O, K> {
    const fn at(stage: Stage<S, R, F, O, K>) -> Self {
        Self {
            stage,
            hold: PhantomData,
        }
    }
}

pin_project! {
    #[project = StageProj]
    pub enum Stage<S, R, F, O, K>
    where
        O: Observer,
        O: 'static,
        K: Clock,
        K: 'static,
    {
        Waiting {
            #[pin]
            acquire: Acquire<'static, O, K>,
            next: Option<(S, R)>,
        },
        Running {
            #[pin]
            future: F,
            permit: Option<Permit<'static, O, K>>,
        },
        NotReady,
        Done,
    }
}

impl<S, R, H, O, K> Future for ResponseFuture<S, R, S::Future, H, O, K>
where
    S: Service<R>,
    H: Hold<S::Response, Permit<'static, O, K>>,
    O: Observer + 'static,
    K: Clock + 'static,
{
    type Output = Result<H::Answer, Error<S::Error>>;

    /// # Panics
    ///
    /// It was ready before, has to wait for a limited time outside of a runtime of tokio with timers, or the inner future panics.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut stage = self.project().stage;
        loop {
            let next = match stage.as_mut().project() {
                StageProj::Waiting { acquire, next } => match (ready!(acquire.poll(cx)), next.take()) {
                    (Ok(permit), Some((mut inner, request))) => Stage::Running {
                        future: inner.call(request),
                        permit: Some(permit),
                    },
                    (Ok(_), None) => Stage::Done,
                    (Err(rejected), _) => {
                        stage.set(Stage::Done);
                        return Poll::Ready(Err(Error::Rejected(rejected)));
                    }
                },
                StageProj::Running { future, permit } => {
                    let result = ready!(future.poll(cx));
                    let permit = permit.take();
                    stage.set(Stage::Done);
                    return Poll::Ready(match result {
                        Ok(answer) => Ok(H::hold(answer, permit)),
                        Err(error) => Err(Error::Inner(error)),
                    });
                }
                StageProj::NotReady => {
                    stage.set(Stage::Done);
                    return Poll::Ready(Err(Error::NotReady));
                }
                StageProj::Done => panic!("a call was polled after it was ready"),
            };
            stage.set(next);
        }
    }
}

impl<S, R, F, H, O: Observer + 'static, K: Clock + 'static> fmt::Debug for ResponseFuture<S, R, F, H, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::Waiting { .. } => "waiting",
            Stage::Running { .. } => "running",
            Stage::NotReady => "not ready",
            Stage::Done => "done",
        };
        f.debug_struct("ResponseFuture")
            .field("stage", &stage)
            .finish_non_exhaustive()
    }
}
