use super::error::Error;
use super::policy::Retry;
use super::progress::{Link, Progress};
use super::run::{Make, Run};
use crate::attempt::Attempt;
use crate::classify::{Classify, ErrIsFailure};
use crate::clone_request::{CloneRequest, Cloned};
use crate::observer::Observer;
use cortex_core::{Clock, TscClock};
use pin_project_lite::pin_project;
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tower_service::Service;

/// A service whose failures are tried again; made by [`RetryLayer`](super::RetryLayer).
///
/// It is ready when the inner service is. Each attempt waits for a readiness of its own, on the instance that made the one
/// before, and not while it waits for its turn. A call without readiness is answered with [`Error::NotReady`].
///
/// # Examples
///
/// ```
/// use cortex_resilience::Cloned;
/// use cortex_resilience::retry::{Retry, RetryLayer, RetryService};
/// use tower::Layer;
///
/// let layer = RetryLayer::new(Retry::builder("payments").build()?);
/// let service: RetryService<&str, Cloned> = layer.layer("anything, until it is called");
/// assert!(format!("{service:?}").contains("anything"));
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
pub struct RetryService<S, P = Cloned, C = ErrIsFailure, O = (), K = TscClock> {
    inner: S,
    retry: Retry<C, O, K>,
    requests: P,
    /// Whether the inner service waits for a call; a clone's has not been asked.
    is_ready: bool,
}

impl<S, P, C, O, K> RetryService<S, P, C, O, K> {
    pub(super) const fn new(inner: S, retry: Retry<C, O, K>, requests: P) -> Self {
        Self {
            inner,
            retry,
            requests,
            is_ready: false,
        }
    }
}

impl<S, R, P, C, O, K> Service<R> for RetryService<S, P, C, O, K>
where
    S: Service<R> + Clone,
    P: CloneRequest<R> + Clone,
    C: Classify<S::Response, S::Error> + Clone + 'static,
    O: Observer + 'static,
    K: Clock + 'static,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<S, R, P, C, O, K>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.is_ready = false;
        ready!(self.inner.poll_ready(cx)).map_err(Error::Inner)?;
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        let link = Link::Owned(self.retry.clone());
        let mut repeat = Repeat {
            requests: self.requests.clone(),
            again: None,
        };
        if !self.is_ready {
            return ResponseFuture {
                run: Run::refused(link, repeat, None),
            };
        }
        let mut progress = Progress::new();
        if let Err(rejected) = link.first(&mut progress) {
            // The inner service stays ready: the next call takes that up.
            return ResponseFuture {
                run: Run::refused(link, repeat, Some(rejected)),
            };
        }
        progress.is_alone = self.retry.inner.has_one_attempt();
        let copy = (!progress.is_alone)
            .then(|| self.requests.clone_request(&request))
            .flatten();
        progress.is_repeatable = progress.is_alone || copy.is_some();
        self.is_ready = false;
        let attempt = progress.run(|| self.inner.call(request));
        if let Some(request) = copy {
            // The instance that was ready makes the attempts, and a clone takes its place.
            let clone = self.inner.clone();
            let service = mem::replace(&mut self.inner, clone);
            repeat.again = Some((service, Some(request)));
        }
        ResponseFuture {
            run: Run::begun(link, repeat, progress, attempt),
        }
    }
}

impl<S: Clone, P: Clone, C: Clone, O, K> Clone for RetryService<S, P, C, O, K> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.retry.clone(), self.requests.clone())
    }
}

impl<S: fmt::Debug, P, C, O, K> fmt::Debug for RetryService<S, P, C, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryService")
            .field("inner", &self.inner)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The answer of a [`RetryService`].
    ///
    /// # Cancel safety
    ///
    /// As [`Call`](super::Call).
    #[must_use = "futures do nothing unless they are polled"]
    pub struct ResponseFuture<S, R, P, C, O, K>
    where
        S: Service<R>,
        C: 'static,
        O: 'static,
        K: 'static,
    {
        #[pin]
        run: Run<'static, Repeat<S, R, P>, S::Future, C, O, K>,
    }
}

impl<S, R, P, C, O, K> Future for ResponseFuture<S, R, P, C, O, K>
where
    S: Service<R>,
    P: CloneRequest<R>,
    C: Classify<S::Response, S::Error> + 'static,
    O: Observer + 'static,
    K: Clock + 'static,
{
    type Output = Result<S::Response, Error<S::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().run.poll(cx)
    }
}

impl<S: Service<R>, R, P, C: 'static, O: 'static, K: 'static> fmt::Debug
    for ResponseFuture<S, R, P, C, O, K>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ResponseFuture").field(&self.run).finish()
    }
}

/// Sends a request again.
struct Repeat<S, R, P> {
    requests: P,
    /// The service, and the request unless it was sent for the last time; `None` if it gets one attempt.
    again: Option<(S, Option<R>)>,
}

impl<S: Service<R>, R, P: CloneRequest<R>> Make for Repeat<S, R, P> {
    type Future = S::Future;
    type Error = S::Error;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        match &mut self.again {
            Some((service, _)) => service.poll_ready(cx),
            None => unreachable!("a request that gets one attempt is not repeated"),
        }
    }

    fn make(&mut self, attempt: Attempt) -> S::Future {
        let Some((service, kept)) = &mut self.again else {
            unreachable!("a request that gets one attempt is not repeated")
        };
        let Some(mut request) = kept.take() else {
            unreachable!("a request that was sent for the last time is not repeated")
        };
        if !attempt.is_last {
            *kept = self.requests.clone_request(&request);
        }
        self.requests.prepare(&mut request, attempt.number);
        service.call(request)
    }

    fn is_repeatable(&self) -> bool {
        matches!(self.again, Some((_, Some(_))))
    }
}
